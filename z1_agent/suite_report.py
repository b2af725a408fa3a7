"""The table of a suite as Markdown, JSON and HTML, with its figures."""

import dataclasses
import io
from collections.abc import Callable, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import PercentFormatter

from z1_agent.curves import BLUE, GREEN, INK, MUTED
from z1_agent.manifest import Manifest
from z1_agent.published import OTHERS, SIMULATOR, Z1_AVERAGE, Z1_ROWS
from z1_agent.statistics import Estimate, Improvement
from z1_agent.summary import SIGNIFICANT, Average, Summary, TaskRow, summarise
from z1_agent.tables import Figure, Table

_TITLE = "Z-1 open: all tasks"
ONE_SEED = "*"
UNKNOWN_SPREAD = "a task has one seed"

_TASK_NOTE = (
    "Both policies ran the same episodes, which no training has seen. Gain in points of success; interval: 95 % of a "
    "bootstrap over seeds and episodes; of SFT and RL at least as wide as Wilson's of all episodes together. "
    f"{ONE_SEED} one seed: its interval knows episodes only, not how trainings differ. p: McNemar's exact test on the "
    "episodes of all seeds together, corrected over the tasks of this table (Holm); it speaks of these policies alone. "
    "Env steps and CPU time: mean per seed, of demonstrations, SFT, GRPO and all evaluations; CPU time and memory are "
    "those of the processes."
)
_CONTROL_NOTE = (
    "More SFT: the cost-matched control, all of a training's CPU time in SFT, of whose rounds the one with the best "
    "held-out success; GRPO over it: on the same episodes, over the seeds that have a control."
)
_MODULES_NOTE = (
    "Modules: for how many decisions a group shares its start (4→0 by 50%: four, then fewer, none after the first 50 % "
    "of the training; flat: none), the reward of a success, and what learns (AE: action expert, VLM: all else)."
)
_AVERAGE_NOTE = (
    "Every task counts the same. Intervals: 95 % of a bootstrap over the seeds within each task and the episodes "
    "within each seed; in the row of a sample over tasks too, as if others had been chosen. "
    f"{ONE_SEED} some of the tasks have one seed: how their trainings differ is drawn from the tasks of the table that "
    "have several; where none has, the interval does not know it."
)


def write_suite(manifest: Manifest) -> Summary | None:
    """Writes results.md, results.json, results.html and figures/; nothing before the first training has finished."""
    summary = summarise(manifest)
    if summary is None:
        return None
    figures = [
        draw("tasks", "Success before and after GRPO, with 95 % intervals", 0.6 + 0.28 * len(summary.rows), summary),
        draw("categories", "Gain by category, with 95 % intervals", 0.9 + 0.3 * len(summary.categories), summary),
    ]
    tables = [_tasks(summary), _averages(summary), *_published()]
    values = dataclasses.asdict(summary) | {"worse": summary.worse, "published": _published_values()}
    manifest.write_results(_TITLE, lead_of(summary), [*figures, *tables], values)
    return summary


def lead_of(summary: Summary) -> list[str]:
    """The outcome in words: one sentence per paragraph."""
    found, drawn = summary.overall.found, summary.overall_drawn
    as_a_sample = "" if drawn is None else f"; with tasks drawn too: {points(drawn.found.gain)}"
    count = len(summary.rows)
    worse = ", ".join(summary.worse) if summary.worse else "none"
    lead = [
        f"Mean gain over {count} task{'s' if count > 1 else ''}: {points(found.gain)} points (95 % interval)"
        f"{as_a_sample}. Success {share(found.before)} after SFT, {share(found.after)} after GRPO.",
        f"Significantly worse than its SFT (corrected p < {SIGNIFICANT}): {worse}.",
    ]
    if summary.over_more_sft is not None:
        over = summary.over_more_sft
        lead.append(
            f"The same CPU time in SFT alone reaches {share(over.found.before)} on the {over.num_tasks} "
            f"task{'s' if over.num_tasks > 1 else ''} with that control, GRPO {share(over.found.after)}: "
            f"{points(over.found.gain)} points."
        )
    ones = sum(len(row.seeds) == 1 for row in summary.rows)
    if ones:
        lead.append(
            f"Rows with one seed, marked {ONE_SEED}: {ones} of {count}; there intervals know episodes only, not how "
            f"trainings differ."
        )
    if summary.unfinished:
        names = ", ".join(f"{task} with seed {seed}" for task, seed in summary.unfinished)
        lead.append(f"Not finished, and not in the table: {names}.")
    return lead


def share(estimate: Estimate) -> str:
    """A rate and its interval [%]."""
    low, high = estimate.interval
    return f"{100 * estimate.mean:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def points(estimate: Estimate) -> str:
    """A difference of rates and its interval [points]."""
    low, high = estimate.interval
    if not estimate.has_interval:
        return f"{100 * estimate.mean:+.1f} ({UNKNOWN_SPREAD})"
    return f"{100 * estimate.mean:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def p_in_words(p_value: float) -> str:
    """Two digits; below 0.0001 no more than that."""
    return "< 0.0001" if p_value < 1e-4 else f"{p_value:.2g}"


def modules_in_words(rows: Sequence[TaskRow]) -> str:
    """The modules that all tasks share, and whether recipes chose them."""
    words = {row.modules for row in rows}
    shared = f"All tasks have the same modules: {words.pop()}. " if len(words) == 1 else ""
    chosen = [row for row in rows if any(row.recipe_digests)]
    if not chosen:
        return f"{shared}No training follows a recipe."
    who = "Trainings follow" if len(chosen) == len(rows) else f"Trainings of {len(chosen)} of {len(rows)} tasks follow"
    whose = "the committed recipes" if all(row.is_recipe_committed for row in chosen) else "recipes"
    return f"{shared}{who} {whose} of their tasks, fixed before the final evaluation; results.json has their digests."


def _tasks(summary: Summary) -> Table:
    """With a column of modules where they differ, and columns of the control where there is one."""
    with_control = summary.over_more_sft is not None
    with_modules = len({row.modules for row in summary.rows}) > 1
    names = ("task", "category", "modules") if with_modules else ("task", "category")
    control = ("more SFT", "GRPO over it") if with_control else ()
    notes = (modules_in_words(summary.rows), _MODULES_NOTE, _TASK_NOTE, *((_CONTROL_NOTE,) if with_control else ()))
    return Table(
        title="Tasks",
        columns=(*names, "seeds", "episodes", "SFT", "RL", "gain", "p", *control, "env steps", "CPU min", "GB"),
        rows=tuple(_task_cells(row, with_modules=with_modules, with_control=with_control) for row in summary.rows),
        note=" ".join(notes),
        num_names=len(names),
    )


def _task_cells(row: TaskRow, *, with_modules: bool, with_control: bool) -> tuple[str, ...]:
    over = row.over_more_sft
    control = ("", "") if over is None else (share(over.before), points(over.gain))
    return (
        row.task,
        row.category,
        *((row.modules,) if with_modules else ()),
        f"{len(row.seeds)}{ONE_SEED if len(row.seeds) == 1 else ''}",
        f"{len(row.seeds)} × {row.episodes}",
        share(row.found.before),
        share(row.found.after),
        points(row.found.gain),
        p_in_words(row.p_holm),
        *(control if with_control else ()),
        f"{row.env_steps:,.0f}",
        f"{row.cpu_seconds / 60:.1f}",
        f"{row.peak_memory_bytes / 1e9:.2f}",
    )


def _averages(summary: Summary) -> Table:
    averages = [*summary.categories, summary.overall]
    averages += [] if summary.overall_drawn is None else [summary.overall_drawn]
    rows = tuple(_average_cells(one) for one in averages)
    columns = ("category", "tasks", "SFT", "RL", "gain")
    return Table(title="Averages", columns=columns, rows=rows, note=_AVERAGE_NOTE)


def _average_cells(one: Average) -> tuple[str, ...]:
    found: Improvement = one.found
    count = f"{one.num_tasks}{ONE_SEED if one.has_one_seed else ''}"
    return one.name, count, share(found.before), share(found.after), points(found.gain)


def _published() -> list[Table]:
    def percent(rate: float | None) -> str:
        return "not published" if rate is None else f"{rate:.1f} %"

    def gain(sft: float | None, rl: float | None) -> str:
        return "" if sft is None or rl is None else f"{rl - sft:+.1f}"

    rows = [(row.name, percent(row.sft), percent(row.rl), gain(row.sft, row.rl)) for row in (*Z1_ROWS, Z1_AVERAGE)]
    others = tuple((name, percent(rate)) for name, rate in OTHERS.items())
    return [
        Table(
            title="Published for Z-1, in another simulator",
            columns=("category or task", "SFT", "RL", "gain"),
            rows=tuple(rows),
            note=f"As arXiv 2606.31846 reports them: {SIMULATOR}",
        ),
        Table(
            title="Published for other methods, in another simulator",
            columns=("method", "average over the 24 tasks"),
            rows=others,
            note="From their own papers and arXiv 2606.31846; not comparable with the tables of this page either.",
        ),
    ]


def _published_values() -> dict[str, object]:
    rows = [dataclasses.asdict(row) for row in (*Z1_ROWS, Z1_AVERAGE)]
    return {"simulator": SIMULATOR, "z1": rows, "others": OTHERS}


def draw(name: str, caption: str, height: float, summary: Summary) -> Figure:
    """The figure `name`, `height` [inches] high."""
    paint = {"tasks": _paint_tasks, "categories": _paint_categories}[name]
    return Figure(name=name, caption=caption, svg=as_svg(name, height, lambda axes: paint(axes, summary)))


def as_svg(name: str, height: float, paint: Callable[[Axes], None]) -> str:
    """What `paint` draws, 7.5 by `height` [inches]; the same text each time."""
    canvas = Canvas(figsize=(7.5, height), layout="constrained")
    axes = canvas.add_subplot()
    paint(axes)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK, labelsize=8, color=MUTED)
    axes.grid(color="#e4e7eb", linewidth=0.7)
    axes.set_axisbelow(True)
    text = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):  # its default is drawn anew each time
        canvas.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def _paint_tasks(axes: Axes, summary: Summary) -> None:
    y = np.arange(len(summary.rows))
    for values, color, label, up in (
        ([row.found.before for row in summary.rows], MUTED, "after SFT", -0.12),
        ([row.found.after for row in summary.rows], BLUE, "after GRPO", 0.12),
    ):
        _dots(axes, values, y + up, color, label)
    axes.set_yticks(y, [row.task + (ONE_SEED if len(row.seeds) == 1 else "") for row in summary.rows])
    axes.set_ylim(len(y) - 0.5, -0.5)
    axes.set_xlim(-0.01, 1.01)
    axes.xaxis.set_major_formatter(PercentFormatter(1, 0))
    axes.legend(frameon=False, fontsize=8, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))


def _paint_categories(axes: Axes, summary: Summary) -> None:
    shown = (*summary.categories, summary.overall)
    y = np.arange(len(shown))
    _dots(axes, [one.found.gain for one in shown], y, GREEN, None)
    axes.axvline(0, color=MUTED, linewidth=0.8)
    axes.set_yticks(y, [f"{one.name} ({one.num_tasks})" for one in shown])
    axes.set_ylim(len(y) - 0.5, -0.5)
    axes.xaxis.set_major_formatter(lambda gain, _position: f"{100 * gain:+.0f}")
    axes.set_xlabel("points", size=8)


def _dots(axes: Axes, values: list[Estimate], y: np.ndarray, color: str, label: str | None) -> None:
    mean = np.array([one.mean for one in values])
    ends = np.array([one.interval for one in values])
    axes.errorbar(mean, y, xerr=np.abs(ends - mean[:, None]).T, fmt="o", color=color, markersize=4, label=label)
