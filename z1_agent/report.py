"""One HTML page about a training, with everything in it: it can be mailed."""

import base64
import html
import json
import subprocess
from pathlib import Path
from typing import Any

from imageio_ffmpeg import get_ffmpeg_exe

from z1_agent.curves import figures
from z1_agent.run import STAGES, Run, write_text
from z1_envs.kitchen.simulation import BACKEND as KITCHEN

_STAGE_NAMES = dict(
    zip(STAGES, ("Demonstrations", "SFT", "Evaluation of SFT", "GRPO", "Evaluation after GRPO"), strict=True)
)
_SIGNIFICANT = 0.05

_STYLE = """
:root { color-scheme: light; --ink: #1f2933; --soft: #616e7c; --line: #e4e7eb; --paper: #fff; --wash: #f6f7f9; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--wash); color: var(--ink);
       font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 62rem; margin: 2.5rem auto; padding: 2.5rem 3rem; background: var(--paper); border-radius: 12px;
       box-shadow: 0 1px 3px rgb(0 0 0 / 8%); }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0; letter-spacing: -.02em; }
h2 { font-size: 1.1rem; margin: 2.6rem 0 .8rem; padding-top: 1.2rem; border-top: 1px solid var(--line); }
.under { color: var(--soft); margin: .4rem 0 0; }
.lead { font-size: 1.15rem; margin: 1.6rem 0 1rem; }
.lead b { font-size: 1.35rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; font-size: .85rem; color: var(--soft); }
th, td { padding: .45rem 1rem .45rem 0; border-bottom: 1px solid var(--line); vertical-align: baseline; }
td.number, th.number { text-align: right; }
.interval { position: relative; height: .7rem; min-width: 12rem; background: var(--wash); border-radius: 4px; }
.interval i { position: absolute; top: 0; bottom: 0; border-radius: 4px; background: #b9d0f8; }
.interval b { position: absolute; top: -2px; bottom: -2px; width: 3px; margin-left: -1px; background: #2f6fde; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(22rem, 1fr)); gap: 1.4rem 2rem; }
.films figure + figure { max-width: 30rem; margin-top: 1.6rem; }
figure { margin: 0; }
figcaption { font-size: .9rem; color: var(--soft); margin-bottom: .3rem; }
figure img, figure video { width: 100%; display: block; }
figure video { border-radius: 6px; background: #000; }
code, pre { font: .85rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
pre { background: var(--wash); padding: .8rem 1rem; border-radius: 6px; overflow-x: auto; margin: .5rem 0; }
details { margin: .8rem 0; } summary { cursor: pointer; color: var(--soft); }
@media (max-width: 40rem) { main { margin: 0; padding: 1.2rem; border-radius: 0; }
                            .figures { grid-template-columns: 1fr; } }
"""


def write_report(run: Run) -> None:
    """report.html from what the run's directory holds; videos that are not there are left out."""
    result = json.loads(run.result.read_text(encoding="utf-8"))
    about = run.about()
    parts = [
        _head(result, about),
        _outcome(result, about),
        _videos(run),
        _curves(run.log()),
        _cost(result),
        _origin(result, about),
    ]
    _write_page(run, result["task"], parts)


def write_sft_report(run: Run) -> None:
    """report.html of a fine-tuning, from what the run's directory holds."""
    result = json.loads(run.result.read_text(encoding="utf-8"))
    about = run.about()
    parts = [_head(result, about), _losses(result), _curves(run.log()), _cost(result), _origin(result, about)]
    _write_page(run, result["task"], parts)


def _write_page(run: Run, name: str, parts: list[str]) -> None:
    title = html.escape(f"Z-1 open: {name}")
    write_text(
        run.report,
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width, initial-scale=1"><title>{title}</title><style>{_STYLE}</style></head>'
        f"<body><main>{''.join(parts)}</main></body></html>\n",
    )


def paired_in_words(paired: dict[str, Any]) -> str:
    """What McNemar's test says about before and after, in one sentence."""
    gained, lost, p_value = paired["gained"], paired["lost"], paired["p_value"]
    counts = f"GRPO won {gained} episodes that the policy before it had lost, and lost {lost} that it had won"
    if gained + lost == 0:
        return "Both policies won exactly the same episodes: the evaluation sees no difference."
    p_text = "p < 0.0001" if p_value < 1e-4 else f"p = {p_value:.2g}"
    if p_value >= _SIGNIFICANT:
        return f"{counts}: that may well be chance (McNemar's exact test, {p_text})."
    verdict = "better" if gained > lost else "worse"
    return f"{counts}: GRPO is {verdict} on these episodes, beyond chance (McNemar's exact test, {p_text})."


def _head(result: dict[str, Any], about: dict[str, Any]) -> str:
    under = f"backend {result['backend']}, preset {about['preset']}, seed {result['seed']}"
    return f'<h1>{html.escape(result["task"])}</h1><p class="under">{html.escape(under)}</p>'


def _losses(result: dict[str, Any]) -> str:
    began = html.escape(result["policy"] or "a fresh network")
    kept = f"Round {result['best_round'] + 1} of {result['rounds']} was kept, training loss "
    kept += f"{result['losses'][result['best_round']]:.4f}."
    if result["held_out_loss"] is not None:
        kept = f"Flow-matching loss <b>{result['held_out_loss']:.4f}</b> on held-out episodes. {kept}"
    return (
        f'<p class="lead">{kept}</p><p>Begun with <code>{began}</code>, on {result["episodes"]} episodes '
        f"({result['steps']} steps) of <code>{html.escape(result['data'])}</code>; {result['held_out_episodes']} "
        f"episodes were held out. A loss is no success rate: <code>z1 eval</code> measures that.</p>"
    )


def _outcome(result: dict[str, Any], about: dict[str, Any]) -> str:
    given = about["config"].get("policy") is not None
    first, in_words = ("before GRPO", "of the given policy") if given else ("after SFT", "after supervised fine-tuning")
    before, after = result["sft"], result["rl"]
    protocol = result["protocol"]
    rows = "".join(
        f'<tr><td>{name}</td><td class="number">{rate["successes"]} / {rate["episodes"]}</td>'
        f'<td class="number"><b>{_percent(rate["rate"])}</b></td>'
        f'<td class="number">{_percent(rate["interval"][0])} – {_percent(rate["interval"][1])}</td>'
        f"<td>{_interval(rate)}</td></tr>"
        for name, rate in ((first, before), ("after GRPO", after))
    )
    head = (
        '<tr><th>policy</th><th class="number">episodes won</th><th class="number">success</th>'
        '<th class="number">95 % interval (Wilson)</th><th></th></tr>'
    )
    note = (
        f"Both policies ran the same {protocol['num_episodes']} episodes of at most {protocol['horizon']} steps, which "
        f"no training has seen. Protocol {html.escape(protocol['name'])}, version {protocol['version']}, "
        f"hash <code>{html.escape(result['protocol_hash'])}</code>."
    )
    return (
        f'<p class="lead">Success <b>{_percent(before["rate"])}</b> {in_words}, '
        f"<b>{_percent(after['rate'])}</b> after reinforcement learning.</p>"
        f"<table>{head}{rows}</table><p>{html.escape(paired_in_words(result['paired']))}</p>"
        f'<p class="under">{note}</p>'
    )


def _interval(rate: dict[str, Any]) -> str:
    low, high = rate["interval"]
    mark = "" if rate["rate"] is None else f'<b style="left:{100 * rate["rate"]:.1f}%"></b>'
    return f'<div class="interval"><i style="left:{100 * low:.1f}%;width:{100 * (high - low):.1f}%"></i>{mark}</div>'


def _videos(run: Run) -> str:
    captions = {
        run.tree_video: "A tree: all tiles share the blue trunk, then each explores on its own. "
        "Green has succeeded, red has failed.",
        run.rollout_video: "Four episodes of the trained policy.",
    }
    shown = [_video(path, caption) for path, caption in captions.items() if path.exists()]
    return f'<h2>Videos</h2><div class="films">{"".join(shown)}</div>' if shown else ""


def _video(path: Path, caption: str) -> str:
    last_second = ["-sseof", "-1", "-i", str(path), "-frames:v", "1", "-f", "mjpeg", "pipe:1"]
    poster = subprocess.run([get_ffmpeg_exe(), "-loglevel", "error", *last_second], capture_output=True, check=True)
    return (
        f"<figure><figcaption>{html.escape(caption)}</figcaption><video controls loop muted playsinline "
        f'poster="{_data("image/jpeg", poster.stdout)}" src="{_data("video/mp4", path.read_bytes())}"></video>'
        "</figure>"
    )


def _curves(log: list[dict[str, Any]]) -> str:
    shown = "".join(
        f'<figure><figcaption>{html.escape(caption)}</figcaption><img alt="{html.escape(caption)}" '
        f'src="{_data("image/svg+xml", svg.encode())}"></figure>'
        for caption, svg in figures(log).items()
    )
    return f'<h2>Curves</h2><div class="figures">{shown}</div>'


def _cost(result: dict[str, Any]) -> str:
    columns = ("env_steps", "wall_seconds", "cpu_seconds")
    rows = [(_STAGE_NAMES[stage], [result[column][stage] for column in columns]) for stage in result[columns[0]]]
    rows.append(("<b>Total</b>", [sum(result[column].values()) for column in columns]))
    body = "".join(
        f'<tr><td>{name}</td><td class="number">{steps:,.0f}</td><td class="number">{_seconds(wall)}</td>'
        f'<td class="number">{_seconds(cpu)}</td></tr>'
        for name, (steps, wall, cpu) in rows
    )
    head = (
        '<tr><th>stage</th><th class="number">env steps</th><th class="number">time</th>'
        '<th class="number">processor time</th></tr>'
    )
    memory = f"Peak memory {result['peak_memory_bytes'] / 1e9:.2f} GB."
    if "rl" in result and result["backend"] != KITCHEN:
        memory += " That is the training's alone; processor time counts the simulator's worker processes too."
    return f'<h2>What it took</h2><table>{head}{body}</table><p class="under">{memory}</p>'


def _origin(result: dict[str, Any], about: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    commit = (
        ", then ".join(map(str, result.get("commits", [result["commit"]])))
        if result["commit"]
        else "not from a git checkout"
    )
    if "sft_commit" in result:
        commit += f"; SFT by {result['sft_commit']}"
    config = json.dumps(about["config"], indent=2)
    return (
        f"<h2>How to make this page again</h2><pre>{html.escape(about['command'])}</pre>"
        f'<p class="under">Commit <code>{html.escape(commit)}</code>. {html.escape(versions)}.</p>'
        f"<details><summary>Configuration</summary><pre>{html.escape(config)}</pre></details>"
    )


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def _seconds(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
