"""Tables and pages of results: the same rows as Markdown and as HTML with the figures inside."""

import html
from collections.abc import Sequence
from dataclasses import dataclass

_STYLE = """
body { margin: 0; background: #f6f7f9; color: #1f2933; font: 16px/1.5 system-ui, Roboto, Arial, sans-serif; }
main { max-width: 80rem; margin: 2rem auto; padding: 2rem 2.5rem; background: #fff; border-radius: 12px; }
h2 { font-size: 1.15rem; margin: 2.4rem 0 .6rem; padding-top: 1rem; border-top: 1px solid #e4e7eb; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
th { text-align: left; color: #616e7c; } td, th { padding: .35rem .9rem .35rem 0; border-bottom: 1px solid #e4e7eb; }
.number { text-align: right; } .note { color: #616e7c; max-width: 60rem; }
.wide { overflow-x: auto; } figure { margin: 1.2rem 0; } svg { max-width: 100%; height: auto; }
"""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Texts in rows under `columns`, with a note below; the first `num_names` columns are names, the others numbers.

    Raises ValueError where a row has another width than the head.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str
    num_names: int = 1

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"{self.title} has {len(self.columns)} columns, a row has {len(row)}: {row}")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A picture. name: of its file, without suffix."""

    name: str
    caption: str
    svg: str


Part = Table | Figure


def markdown(title: str, lead: Sequence[str], parts: Sequence[Part], folder: str) -> str:
    """The whole as Markdown, `parts` in their order; the figures are files in `folder`."""
    texts = [_markdown_table(part) if isinstance(part, Table) else _markdown_figure(part, folder) for part in parts]
    return "\n\n".join([f"# {title}", *lead, *texts]) + "\n"


def page(title: str, lead: Sequence[str], parts: Sequence[Part]) -> str:
    """The whole as one HTML page, `parts` in their order."""
    name = html.escape(title)
    texts = [f"<h1>{name}</h1>", *(f"<p>{html.escape(text)}</p>" for text in lead)]
    texts += [_html_table(part) if isinstance(part, Table) else _html_figure(part) for part in parts]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width, initial-scale=1"><title>{name}</title><style>{_STYLE}</style></head>'
        f"<body><main>{''.join(texts)}</main></body></html>\n"
    )


def _markdown_table(table: Table) -> str:
    rule = ["---" if i < table.num_names else "---:" for i in range(len(table.columns))]
    lines = ["| " + " | ".join(_cell(text) for text in row) + " |" for row in (table.columns, rule, *table.rows)]
    return f"## {table.title}\n\n" + "\n".join(lines) + f"\n\n{table.note}"


def _markdown_figure(figure: Figure, folder: str) -> str:
    return f"![{figure.caption}]({folder}/{figure.name}.svg)\n\n{figure.caption}"


def _html_figure(figure: Figure) -> str:
    svg = figure.svg[figure.svg.index("<svg") :]
    return f"<figure>{svg}<figcaption>{html.escape(figure.caption)}</figcaption></figure>"


def _html_table(table: Table) -> str:
    def row(tag: str, texts: Sequence[str]) -> str:
        kinds = ["name" if i < table.num_names else "number" for i in range(len(texts))]
        cells = (f'<{tag} class="{k}">{html.escape(text)}</{tag}>' for k, text in zip(kinds, texts, strict=True))
        return f"<tr>{''.join(cells)}</tr>"

    body = row("th", table.columns) + "".join(row("td", texts) for texts in table.rows)
    return (
        f'<h2>{html.escape(table.title)}</h2><div class="wide"><table>{body}</table></div>'
        f'<p class="note">{html.escape(table.note)}</p>'
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
