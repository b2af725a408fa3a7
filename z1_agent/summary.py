"""What the trainings of a suite have found: one row per task, averages by category and over all, with intervals."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from z1_agent.cost_control import control_counts
from z1_agent.jobs import cost_of
from z1_agent.manifest import Manifest
from z1_agent.presets import TrainConfig
from z1_agent.recipe import AUTO, Modules, RecipeError, find_recipe
from z1_agent.result import paired_counts
from z1_agent.run import Run
from z1_agent.statistics import (
    Improvement,
    PairedCounts,
    holm,
    improvement,
    improvement_of_task,
    pooled_mcnemar,
)
from z1_agent.taken_over import taken_over_seconds
from z1_envs.tasks import TASKS

SIGNIFICANT = 0.05
_SAMPLE = 3  # tasks


@dataclass(frozen=True, kw_only=True)
class TaskRow:
    """One task: success before and after with the intervals over its seeds and episodes.

    over_more_sft: the same from the cost-matched control's best policy to GRPO's, over the seeds that have a control;
    None without any.

    modules: of its trainings, in words. recipe_digests: of the recipe that chose those of each, None without one;
    is_recipe_committed: whether it is for all of them the one which belongs to this program.
    p_value: McNemar's exact test on the episodes of all seeds together; p_holm: corrected over the tasks of the table.
    env_steps, cpu_seconds: mean per seed, over all stages. peak_memory_bytes: of the process that took most.
    """

    task: str
    category: str
    modules: str
    recipe_digests: tuple[str | None, ...]
    is_recipe_committed: bool
    seeds: tuple[int, ...]
    episodes: int
    found: Improvement
    over_more_sft: Improvement | None
    p_value: float
    p_holm: float
    env_steps: float
    cpu_seconds: float
    peak_memory_bytes: int

    @property
    def is_worse(self) -> bool:
        """Whether reinforcement learning has made the task worse, beyond chance."""
        return self.p_holm < SIGNIFICANT and self.found.gain.mean < 0


@dataclass(frozen=True, kw_only=True)
class Average:
    """Several tasks, each counting the same. has_one_seed: one of them has no other."""

    name: str
    num_tasks: int
    has_one_seed: bool
    found: Improvement


@dataclass(frozen=True, kw_only=True)
class Summary:
    """All there is to say. overall: over these tasks; overall_drawn: as if the tasks themselves were a sample; None
    for fewer than three, which tell nothing of others. over_more_sft: from the cost-matched control to GRPO, over the
    tasks that have one; None without any.

    unfinished: planned trainings without a result, as (task, seed).
    """

    rows: tuple[TaskRow, ...]
    categories: tuple[Average, ...]
    overall: Average
    overall_drawn: Average | None
    over_more_sft: Average | None
    unfinished: tuple[tuple[str, int], ...]

    @property
    def worse(self) -> tuple[str, ...]:
        """Tasks that reinforcement learning has made significantly worse."""
        return tuple(row.task for row in self.rows if row.is_worse)


@dataclass(frozen=True, kw_only=True)
class _Finished:
    seed: int
    recipe: str | None
    recipe_digest: str | None
    counts: PairedCounts
    control: PairedCounts | None
    env_steps: int
    cpu_seconds: float
    peak_memory_bytes: int


def summarise(manifest: Manifest) -> Summary | None:
    """What the finished trainings have found; None before the first."""
    found = {task: [] for task in TASKS if task in manifest.planned}
    unfinished = []
    for task, seed in manifest.in_order():
        run = Run(manifest.run_path(task, seed))
        if run.result.exists():
            found[task].append(_read(run))
        else:
            unfinished.append((task, seed))
    found = {task: runs for task, runs in found.items() if runs}
    if not found:
        return None
    counts = {task: [run.counts for run in runs] for task, runs in found.items()}
    p_values = [pooled_mcnemar(of_task) for of_task in counts.values()]
    rows = tuple(
        _row(task, manifest.config(task), runs, p_value, p_holm)
        for (task, runs), p_value, p_holm in zip(found.items(), p_values, holm(p_values), strict=True)
    )
    names = dict.fromkeys(row.category for row in rows)
    members = {name: [counts[row.task] for row in rows if row.category == name] for name in names}
    everything = list(counts.values())
    controls = [of_task for runs in found.values() if (of_task := _controls(runs))]
    as_a_sample = "all tasks, as a sample of tasks"
    return Summary(
        rows=rows,
        categories=tuple(_average(name, of_name, among=everything) for name, of_name in members.items()),
        overall=_average("all tasks", everything),
        overall_drawn=_average(as_a_sample, everything, draw_tasks=True) if len(everything) >= _SAMPLE else None,
        over_more_sft=_average("over more SFT", controls) if controls else None,
        unfinished=tuple(unfinished),
    )


def _controls(runs: Sequence[_Finished]) -> list[PairedCounts]:
    return [run.control for run in runs if run.control is not None]


def _average(
    name: str,
    tasks: Sequence[Sequence[PairedCounts]],
    *,
    draw_tasks: bool = False,
    among: Sequence[Sequence[PairedCounts]] = (),
) -> Average:
    several = len(tasks) > 1
    found = improvement(tasks, draw_tasks=draw_tasks, among=among) if several else improvement_of_task(tasks[0])
    return Average(name=name, num_tasks=len(tasks), has_one_seed=any(len(runs) == 1 for runs in tasks), found=found)


def _row(task: str, config: TrainConfig, runs: Sequence[_Finished], p_value: float, p_holm: float) -> TaskRow:
    controls, committed = _controls(runs), _committed_digest(task)
    return TaskRow(
        task=task,
        category=TASKS[task].category,
        modules=Modules.of(config).in_words,
        recipe_digests=tuple(run.recipe_digest for run in runs),
        is_recipe_committed=all(run.recipe == AUTO and run.recipe_digest == committed for run in runs),
        seeds=tuple(run.seed for run in runs),
        episodes=min(run.counts.trials for run in runs),
        found=improvement_of_task([run.counts for run in runs]),
        over_more_sft=improvement_of_task(controls) if controls else None,
        p_value=p_value,
        p_holm=p_holm,
        env_steps=sum(run.env_steps for run in runs) / len(runs),
        cpu_seconds=sum(run.cpu_seconds for run in runs) / len(runs),
        peak_memory_bytes=max(run.peak_memory_bytes for run in runs),
    )


def _committed_digest(task: str) -> str | None:
    """None where `task` has no recipe any more: a table is about what was trained, and is written all the same."""
    try:
        return find_recipe(AUTO, task).digest
    except RecipeError:
        return None


def _read(run: Run) -> _Finished:
    result, config = json.loads(run.result.read_text(encoding="utf-8")), run.about()["config"]
    measured = cost_of(run.path)
    return _Finished(
        seed=result["seed"],
        recipe=config["recipe"],
        recipe_digest=config["recipe_digest"],
        counts=paired_counts(result["sft"], result["paired"]),
        control=control_counts(run),
        env_steps=sum(result["env_steps"].values()),
        # Of a process that was killed together with the suite, only the stages' own times are known.
        cpu_seconds=max(measured.cpu_seconds + taken_over_seconds(run), sum(result["cpu_seconds"].values())),
        peak_memory_bytes=max(measured.peak_memory_bytes, result["peak_memory_bytes"]),
    )
