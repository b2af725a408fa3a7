"""The tables of an ablation as Markdown, JSON and HTML, with its figures."""

import dataclasses
import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from z1_agent.ablation import DEFAULT, NOISE, VARIANTS, name_of
from z1_agent.comparison import ReachRow, Runs, VariantRow, compare_variants, reach_rows, read_runs
from z1_agent.curves import BLUE, GREEN, INK, MUTED, RED, SAND
from z1_agent.manifest import Manifest
from z1_agent.recipe import Modules
from z1_agent.statistics import Estimate, smoothed
from z1_agent.suite_report import ONE_SEED, UNKNOWN_SPREAD, as_svg, p_in_words, points, share
from z1_agent.tables import Figure, Part, Table

_TITLE = "Z-1 open: what each part is worth"
_COLORS = (BLUE, GREEN, RED, SAND, INK, "#8e5cd9")
_NOTE = (
    "One factor differs from the default, all else is the same: SFT policy, scenes, order, iterations. Final: the same "
    "evaluation episodes after all iterations, however much they cost; p: McNemar's exact test on them, all tasks and "
    "seeds pooled, corrected over the variants (Holm). At equal env steps, and at equal CPU time: success of GRPO's "
    "rollouts (mean of the last iterations) where both runs of a pair have spent what the cheaper one spent in all; "
    "average: over all of that spending, the area under the learning curve. Differences in points from the default, "
    "with 95 % of a bootstrap over the seeds within each task (and, for final, episodes); final values marked "
    f"{ONE_SEED}: a task has one seed; how its trainings differ is drawn from the tasks of the row that have several, "
    "and where none has, the interval does not know it. Cost: GRPO's env steps and CPU time as shares of the "
    "default's. The control costs the CPU time of the default by construction. How many denoising steps are random "
    "changes the noise of rollouts, whatever the policy: there only the final evaluations are compared. With the "
    "schedules phase and uncertainty, where a trunk splits is chosen by what follows it, so their rollouts' success is "
    "not quite the policy's."
)
_REACH_NOTE = (
    "Env steps of GRPO until the mean of the last iterations first has the flat variant's final value, divided by "
    "those of the flat variant until it first has it itself. Median over runs (of an even number the worse of the two "
    "in the middle), 95 % of a bootstrap over the seeds within each task; never: infinite."
)


def write_ablation(manifest: Manifest) -> list[VariantRow]:
    """Writes results.md, results.json, results.html and figures/; nothing before the first training has finished."""
    rows, reach, runs = compare_variants(manifest), reach_rows(manifest), read_runs(manifest)
    if not rows:
        return rows
    shown = [row for row in rows if row.task is None]
    parts: list[Part] = [_differences(shown)] if len(shown) > 1 else []
    parts.append(_variants("All tasks", shown, _NOTE))
    if reach:
        parts.append(_reach(reach))
    for task, of_task in runs.items():
        if len(runs) > 1:
            parts.append(_variants(task, [row for row in rows if row.task == task], "Columns as above."))
        parts += [_curves(task, of_task, factor) for factor in _factors(of_task)]
    values = {
        "defaults": {task: _default(manifest, task) for task in runs},
        "variants": [dataclasses.asdict(row) for row in rows],
        "reach": [dataclasses.asdict(row) for row in reach],
    }
    manifest.write_results(_TITLE, ablation_lead(manifest, runs, reach), parts, _finite(values))
    return rows


def ablation_lead(manifest: Manifest, runs: dict[str, Runs], reach: Sequence[ReachRow]) -> list[str]:
    """How much was run, around what, and how soon branching is where flat rollouts end."""
    seeds = ", ".join(f"{task} ({len(of_task[DEFAULT])})" for task, of_task in runs.items())
    iterations = sorted({len(run.curve.success) for of_task in runs.values() for run in of_task[DEFAULT].values()})
    lead = [f"Tasks, and seeds of each: {seeds}. Iterations of GRPO: {', '.join(map(str, iterations))}."]
    if runs:
        lead.append(_defaults_in_words({task: _default(manifest, task) for task in runs}))
    for row in reach:
        if row.task is None:
            reached = f"{row.num_reached} of {row.num_runs} runs reach it"
            lead.append(f"{row.variant}: flat's final success at {times(row.share)} of its env steps; {reached}.")
    return lead


def _default(manifest: Manifest, task: str) -> dict[str, str | None]:
    config = manifest.config(name_of(task, DEFAULT))
    return {"modules": Modules.of(config).in_words, "recipe_digest": config.recipe_digest}


def _defaults_in_words(defaults: dict[str, dict[str, str | None]]) -> str:
    alike = len({tuple(default.values()) for default in defaults.values()}) == 1
    if alike:
        (default, *_) = defaults.values()
        return f"The default: {_default_in_words(default)}."
    each = "; ".join(f"{task}: {_default_in_words(default)}" for task, default in defaults.items())
    return f"The default of {each}. A variant that is a task's default is not trained on it again."


def _default_in_words(default: dict[str, str | None]) -> str:
    recipe = f" (recipe {default['recipe_digest']})" if default["recipe_digest"] is not None else ""
    return f"{default['modules']}{recipe}"


def times(estimate: Estimate) -> str:
    """A ratio and its interval."""
    low, high = estimate.interval
    if not estimate.has_interval:
        return f"{_times(estimate.mean)} ({UNKNOWN_SPREAD})"
    if math.isinf(low):
        return _times(estimate.mean)  # in no draw
    return f"{_times(estimate.mean)} ({_times(low)} to {_times(high)})"


def _times(value: float) -> str:
    return "never" if math.isinf(value) else f"{value:.2f} ×"


def _variants(title: str, rows: Sequence[VariantRow], note: str) -> Table:
    columns = ("factor", "variant", "what it does", "tasks", "runs", "final", "difference", "p")
    columns += ("equal env steps", "average", "equal CPU time", "average", "env steps", "CPU time")
    cells = tuple(_variant_cells(row) for row in rows)
    return Table(title=title, columns=columns, rows=cells, note=note, num_names=3)


def _variant_cells(row: VariantRow) -> tuple[str, ...]:
    mark = ONE_SEED if row.has_one_seed else ""
    test = ("", "") if row.is_default else (f"{points(row.final.gain)}{mark}", p_in_words(row.p_holm))
    equal = ("", "", "", "")
    if row.equal is not None:
        parts = [row.equal[budget] for budget in ("env_steps", "cpu_seconds")]
        equal = tuple(points(one) for part in parts for one in (part.at_the_end, part.on_average))
    cost = ("", "")
    if row.cost_share is not None:
        cost = tuple(f"{row.cost_share[budget]:.2f} ×" for budget in ("env_steps", "cpu_seconds"))
    names = (row.factor, row.variant, row.sentence, str(row.num_tasks), str(row.num_runs))
    return (*names, f"{share(row.final.after)}{mark}", *test, *equal, *cost)


def _reach(rows: Sequence[ReachRow]) -> Table:
    cells = tuple(
        (row.task or "all tasks", row.variant, f"{row.num_reached} of {row.num_runs}", times(row.share)) for row in rows
    )
    columns = ("task", "variant", "runs that reach it", "share of flat's env steps")
    return Table(
        title="Env steps to the flat variant's success", columns=columns, rows=cells, note=_REACH_NOTE, num_names=2
    )


def _differences(rows: Sequence[VariantRow]) -> Figure:
    others = [row for row in rows if not row.is_default]

    def paint(axes: Axes) -> None:
        for i, row in enumerate(others):
            low, high = row.final.gain.interval
            axes.plot([low, high], [i, i], color=BLUE)
            axes.plot([row.final.gain.mean], [i], "o", color=BLUE, markersize=5)
        axes.axvline(0, color=MUTED, linewidth=0.8)
        axes.set_yticks(range(len(others)), [f"{row.factor}: {row.variant}" for row in others])
        axes.set_ylim(len(others) - 0.5, -0.5)
        axes.xaxis.set_major_formatter(lambda gain, _position: f"{100 * gain:+.0f}")
        axes.set_xlabel("points", size=8)

    caption = "Final success of each variant, as difference from the default, with 95 % intervals"
    return Figure(name="differences", caption=caption, svg=as_svg("differences", 0.9 + 0.3 * len(others), paint))


def _factors(runs: Runs) -> list[str]:
    """Factors with a variant that has been trained, and whose curves can be compared."""
    return list(dict.fromkeys(one.factor for one in VARIANTS if one.name in runs and one.factor != NOISE))


def _curves(task: str, runs: Runs, factor: str) -> Figure:
    names = (DEFAULT, *(one.name for one in VARIANTS if one.factor == factor and one.name in runs))

    def paint(axes: Axes) -> None:
        for color, name in zip(_COLORS, names, strict=False):
            for i, found in enumerate(runs[name].values()):
                steps = np.cumsum(found.curve.env_steps) / 1000
                success = smoothed(found.curve.success, found.curve.window)
                axes.plot(steps, success, color=color, linewidth=1.3, alpha=0.8, label=None if i else name)
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(PercentFormatter(1, 0))
        axes.set_xlabel("env steps of GRPO [thousands]", size=8)
        axes.legend(frameon=False, fontsize=8, loc="best")

    caption = f"{task}, {factor}: success of GRPO's rollouts, one line per seed"
    return Figure(name=f"{task}-{factor}", caption=caption, svg=as_svg(f"{task}-{factor}", 2.8, paint))


def _finite(values: Any) -> Any:
    """With null where a number is infinite: JSON has no infinity."""
    return json.loads(json.dumps(values), parse_constant=lambda _name: None)
