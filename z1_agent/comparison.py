"""What the runs of an ablation have found: every variant against the default, pair by pair of task and seed.

Learning curves are the success of GRPO's own rollouts, whose noise is the policy's. Two runs are compared where both
have spent as much: env steps or CPU time of GRPO, as much as the one of them that spent less.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from z1_agent.ablation import CONTROL, CONTROL_SENTENCE, DEFAULT, FLAT, NOISE, VARIANTS, name_of
from z1_agent.cost_control import control_counts
from z1_agent.manifest import Manifest
from z1_agent.result import as_rate, paired_counts
from z1_agent.run import RL, Run
from z1_agent.statistics import (
    Estimate,
    Improvement,
    PairedCounts,
    cost_to_reach,
    holm,
    improvement,
    improvement_of_task,
    mean_over_tasks,
    mean_until,
    median_over_runs,
    pooled_mcnemar,
    smoothed,
    value_at,
)
from z1_envs.evaluate import Report, compare

WINDOW = 10  # iterations in the mean that a learning curve is read by
Budget = Literal["env_steps", "cpu_seconds"]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A run's learning curve. env_steps, cpu_seconds, success: of each iteration."""

    env_steps: tuple[float, ...]
    cpu_seconds: tuple[float, ...]
    success: tuple[float, ...]

    @property
    def window(self) -> int:
        """WINDOW, or less where the training is short: a fifth of it."""
        return max(1, min(WINDOW, len(self.success) // 5))

    def cost(self, budget: Budget) -> tuple[float, ...]:
        """What each iteration spent of `budget`."""
        return self.env_steps if budget == "env_steps" else self.cpu_seconds


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A variant minus the default, at the end of the smaller budget and averaged over all of it."""

    at_the_end: Estimate
    on_average: Estimate


@dataclass(frozen=True, kw_only=True)
class VariantRow:
    """One variant against the default, over tasks and seeds. task: None where it is a mean over several.

    is_default: the variant is what the default does. has_one_seed: a task has no other, so that intervals of what is
    final know episodes alone there. final: the final evaluations on the same episodes, default first.
    p_value: McNemar's exact test on them, all pooled; p_holm: corrected over the rows of the same task. equal: what is
    different at equal cost. cost_share: GRPO's env steps and CPU time, as shares of the default's. None: the control
    has no iterations, the default no difference from itself, and rollouts with another noise no curve to compare.
    """

    task: str | None
    factor: str
    variant: str
    sentence: str
    is_default: bool
    num_tasks: int
    num_runs: int
    has_one_seed: bool
    final: Improvement
    p_value: float
    p_holm: float
    equal: dict[str, Difference] | None
    cost_share: dict[str, float] | None


@dataclass(frozen=True, kw_only=True)
class ReachRow:
    """By which share of the flat variant's env steps a variant reaches the flat variant's final success.

    share: the median over runs; infinite where it never does. num_reached: runs that do.
    """

    task: str | None
    variant: str
    num_runs: int
    num_reached: int
    share: Estimate


@dataclass(frozen=True, kw_only=True)
class Found:
    """A finished run: its final evaluation and its curve."""

    report: Report
    curve: Curve


Runs = dict[str, dict[int, Found]]
"""Variant → seed → run, of one task."""


def read_curve(run: Run) -> Curve:
    """The learning curve that the log of `run` holds."""
    lines = [line for line in run.log() if line["stage"] == RL]
    columns = {name: tuple(float(line[name]) for line in lines) for name in ("env_steps", "cpu_seconds", "success")}
    return Curve(**columns)


def read_runs(manifest: Manifest) -> dict[str, Runs]:
    """The finished runs by task, variant and seed; of each task and variant those whose default has finished too."""
    found: dict[str, Runs] = {}
    for name, seed in manifest.in_order():
        task, _, variant = name.partition("-")
        run = Run(manifest.run_path(name, seed))
        default = Run(manifest.run_path(name_of(task, DEFAULT), seed))
        if run.result.exists() and default.result.exists():
            report = Report.from_json(run.eval_rl.read_text(encoding="utf-8"))
            of_task = found.setdefault(task, {})
            of_task.setdefault(variant, {})[seed] = Found(report=report, curve=read_curve(run))
    return found


def read_controls(manifest: Manifest, task: str, seeds: Sequence[int]) -> list[PairedCounts]:
    """What the controls of `task` have found, as far as there are some: the default first, the control second."""
    defaults = [Run(manifest.run_path(name_of(task, DEFAULT), seed)) for seed in seeds]
    return [found.swapped for run in defaults if (found := control_counts(run)) is not None]


def counts_between(before: Report, after: Report) -> PairedCounts:
    """The four counts of two evaluations on the same episodes. Raises ValueError where they are not the same."""
    return paired_counts(as_rate(before), dataclasses.asdict(compare(before, after)))


def compare_variants(manifest: Manifest) -> list[VariantRow]:
    """Rows of means over tasks, then rows of every task; empty before the first variant has finished."""
    runs = read_runs(manifest)
    controls = {task: read_controls(manifest, task, list(of_task[DEFAULT])) for task, of_task in runs.items()}
    rows = _corrected([_row(None, runs, controls, name) for name in _names(runs, controls)])
    if len(runs) > 1:
        for task in runs:
            alone = {task: runs[task]}, {task: controls[task]}
            rows += _corrected([_row(task, *alone, name) for name in _names(*alone)])
    return rows


def _names(runs: dict[str, Runs], controls: dict[str, list[PairedCounts]]) -> list[str]:
    there = {name for of_task in runs.values() for name in of_task}
    names = [name for name in (DEFAULT, *(variant.name for variant in VARIANTS)) if name in there]
    return names + ([CONTROL] if any(controls.values()) else [])


def _row(task: str | None, runs: dict[str, Runs], controls: dict[str, list[PairedCounts]], name: str) -> VariantRow:
    known = {variant.name: (variant.factor, variant.sentence) for variant in VARIANTS}
    known |= {CONTROL: (CONTROL, CONTROL_SENTENCE), DEFAULT: (DEFAULT, "what the others are changed from")}
    counts: list[list[PairedCounts]] = []
    pairs: list[list[tuple[Curve, Curve]]] = []
    for of_task, of_controls in zip(runs.values(), controls.values(), strict=True):
        default = of_task[DEFAULT]
        if name == CONTROL:
            own = of_controls
        else:
            own = [counts_between(default[seed].report, run.report) for seed, run in of_task.get(name, {}).items()]
            pairs.append([(default[seed].curve, run.curve) for seed, run in of_task.get(name, {}).items()])
        counts.append(own)
    counts, pairs = [of_task for of_task in counts if of_task], [of_task for of_task in pairs if of_task]
    pooled = [count for of_task in counts for count in of_task]
    budgets: tuple[Budget, ...] = ("env_steps", "cpu_seconds")
    has_curve = bool(pairs) and name != DEFAULT and known[name][0] != NOISE
    return VariantRow(
        task=task,
        factor=known[name][0],
        variant=name,
        sentence=known[name][1],
        is_default=name == DEFAULT,
        num_tasks=len(counts),
        num_runs=len(pooled),
        has_one_seed=any(len(of_task) == 1 for of_task in counts),
        final=improvement_of_task(counts[0]) if len(counts) == 1 else improvement(counts, draw_tasks=False),
        p_value=pooled_mcnemar(pooled),
        p_holm=1.0,
        equal={budget: difference(pairs, budget) for budget in budgets} if has_curve else None,
        cost_share={budget: _cost_share(pairs, budget) for budget in budgets} if pairs else None,
    )


def _corrected(rows: list[VariantRow]) -> list[VariantRow]:
    """With the p-values of all but the default corrected."""
    tested = [row.p_value for row in rows if not row.is_default]
    corrected = iter(holm(tested))
    values = [1.0 if row.is_default else next(corrected) for row in rows]
    return [dataclasses.replace(row, p_holm=value) for row, value in zip(rows, values, strict=True)]


def difference(tasks: Sequence[Sequence[tuple[Curve, Curve]]], budget: Budget) -> Difference:
    """Success of the second curve of each pair minus the first's, at equal cost: of `tasks` their runs' pairs."""
    ends, means = [], []
    for pairs in tasks:
        ends.append([_between(pair, budget)[0] for pair in pairs])
        means.append([_between(pair, budget)[1] for pair in pairs])
    return Difference(at_the_end=mean_over_tasks(ends), on_average=mean_over_tasks(means))


def _between(pair: tuple[Curve, Curve], budget: Budget) -> tuple[float, float]:
    spent = min(sum(curve.cost(budget)) for curve in pair)
    window = min(curve.window for curve in pair)
    first, second = (value_at(one.cost(budget), one.success, spent, window=window) for one in pair)
    before, after = (mean_until(one.cost(budget), one.success, spent) for one in pair)
    return second - first, after - before


def _cost_share(tasks: Sequence[Sequence[tuple[Curve, Curve]]], budget: Budget) -> float:
    return float(np.mean([np.mean([sum(b.cost(budget)) / sum(a.cost(budget)) for a, b in of]) for of in tasks]))


def share_to_reach(flat: Curve, other: Curve) -> float:
    """Env steps until `other` first has the final success of `flat`, divided by those until `flat` first has it.

    Final success is the mean of the last iterations (`Curve.window`), and so is what is read on the way; `flat` is
    read as `other` is, so that a lucky stretch helps neither. Infinity where `other` never has it.
    """
    window = min(flat.window, other.window)
    level = float(smoothed(flat.success, window)[-1])
    own = cost_to_reach(flat.env_steps, flat.success, level, window=window)
    return cost_to_reach(other.env_steps, other.success, level, window=window) / own


def reach_rows(manifest: Manifest) -> list[ReachRow]:
    """All variants with a trunk against the flat one, over all tasks and of each; empty without a flat one."""
    runs = read_runs(manifest)
    flat = {task: _flat_of(manifest, task) for task in runs}
    rows: list[ReachRow] = []
    names = (DEFAULT, *(one.name for one in VARIANTS if one.factor in ("branching", "schedule")))
    for task in (None, *(runs if len(runs) > 1 else ())):
        for name in names:
            shares = [_shares(runs[one], flat[one], name) for one in runs if task in (None, one) and name != flat[one]]
            if any(shares):
                rows.append(_reach_row(task, name, [of_task for of_task in shares if of_task]))
    return rows


def _flat_of(manifest: Manifest, task: str) -> str | None:
    """The variant of `task` that is flat, which may be its default; None where there is none."""
    if name_of(task, FLAT) in manifest.planned:
        return FLAT
    return DEFAULT if manifest.config(name_of(task, DEFAULT)).grpo.branching == FLAT else None


def _shares(runs: Runs, flat: str | None, name: str) -> list[float]:
    if flat is None:
        return []
    seeds = sorted(runs.get(flat, {}).keys() & runs.get(name, {}).keys())
    return [share_to_reach(runs[flat][seed].curve, runs[name][seed].curve) for seed in seeds]


def _reach_row(task: str | None, name: str, shares: list[list[float]]) -> ReachRow:
    pooled = [share for of_task in shares for share in of_task]
    return ReachRow(
        task=task,
        variant=name,
        num_runs=len(pooled),
        num_reached=sum(math.isfinite(share) for share in pooled),
        share=median_over_runs(shares),
    )
