"""Which differences are beyond chance, over seeds and tasks. numpy and scipy; episodes are paired.

A training of one task with one seed is four counts: both evaluations ran the same episodes. Intervals are percentiles
of a bootstrap with a seed of its own: the same counts give the same interval. What is drawn again is said with each.
Means of n values drawn again vary too little, by √((n - 1) / n): drawn means are stretched by as much. Of a single task
with few seeds an interval still covers less often than it says (three: 4 times in 5); over many tasks it does not.
Sources: Holm 1979 (step-down correction); Agarwal et al. 2021, arXiv 2108.13264 (intervals over runs within tasks).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from z1_envs.evaluate import mcnemar, wilson

Interval = tuple[float, float]

NUM_DRAWS = 10_000
_LEVEL = 0.95
_UNKNOWN = (-math.inf, math.inf)


@dataclass(frozen=True, kw_only=True)
class PairedCounts:
    """Episodes that both policies won, that only the second (gained), only the first (lost), or neither won.

    Raises ValueError where a count is negative or there is no episode.
    """

    both: int
    gained: int
    lost: int
    neither: int

    def __post_init__(self) -> None:
        counts = (self.both, self.gained, self.lost, self.neither)
        if min(counts) < 0 or sum(counts) == 0:
            raise ValueError(f"counts of episodes must not be negative, nor all be 0, got {counts}")

    @property
    def trials(self) -> int:
        """Episodes in all."""
        return self.both + self.gained + self.lost + self.neither

    @property
    def swapped(self) -> "PairedCounts":
        """The same episodes with the second policy as the first."""
        return PairedCounts(both=self.both, gained=self.lost, lost=self.gained, neither=self.neither)

    @property
    def before(self) -> float:
        """Success of the first policy."""
        return (self.both + self.lost) / self.trials

    @property
    def after(self) -> float:
        """Success of the second policy."""
        return (self.both + self.gained) / self.trials


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean and its 95 % interval."""

    mean: float
    interval: Interval

    @property
    def has_interval(self) -> bool:
        """Whether anything is known about the spread: of single seeds nothing is, and the interval has no ends."""
        return self.interval != _UNKNOWN


@dataclass(frozen=True, kw_only=True)
class Improvement:
    """Success of the first and of the second policy, and the gain between them."""

    before: Estimate
    after: Estimate
    gain: Estimate


def pooled_mcnemar(runs: Sequence[PairedCounts]) -> float:
    """Two-sided p-value of McNemar's exact test on the discordant episodes of all `runs` together.

    It speaks of these trained policies on further episodes: that seeds of training differ, it does not see.
    """
    return mcnemar(sum(run.gained for run in runs), sum(run.lost for run in runs))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: each p-value such that comparing it with α bounds the chance of any false alarm."""
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def improvement(
    tasks: Sequence[Sequence[PairedCounts]], *, draw_tasks: bool, among: Sequence[Sequence[PairedCounts]] = ()
) -> Improvement:
    """Means over `tasks` of means over their runs, one run per seed.

    Drawn again are seeds within a task, and episodes within a run; with `draw_tasks` tasks too, as if others of their
    kind had been met. Without it the tasks are these and no others. A single run does not tell how trainings of its
    task differ: that is drawn from the runs of those tasks `among` which `tasks` are (all of them, by default) that
    have several. Where none has, the interval knows episodes alone.

    Raises ValueError where there is no task, or one without a run.
    """
    if not tasks or not all(tasks):
        raise ValueError("an interval needs at least one task, and one run of each")
    rng = np.random.default_rng(NUM_DRAWS)
    apart = _between_trainings(among or tasks)
    drawn = np.stack([_draw_rates(runs, apart, rng) for runs in tasks])  # [T, D, 2]
    of_tasks = np.array([np.mean([[run.before, run.after] for run in runs], axis=0) for runs in tasks])  # [T, 2]
    means = of_tasks.mean(axis=0)
    if draw_tasks:
        chosen = rng.integers(len(tasks), size=(len(tasks), NUM_DRAWS))
        within = drawn[chosen, rng.integers(NUM_DRAWS, size=chosen.shape)] - of_tasks[chosen]
        drawn = means + _stretch(len(tasks)) * (of_tasks[chosen] - means) + within
    before, after = np.clip(drawn.mean(axis=0), 0, 1).T
    return Improvement(
        before=_estimate(means[0], before),
        after=_estimate(means[1], after),
        gain=_estimate(means[1] - means[0], after - before),
    )


def improvement_of_task(runs: Sequence[PairedCounts]) -> Improvement:
    """`improvement` of one task, with intervals at least as wide as Wilson's: where all episodes are won, or none
    differs, a bootstrap draws nothing else. That of the gain holds what is gained, at its most, less what was lost, and
    the reverse.
    """
    found = improvement([runs], draw_tasks=False)
    trials = sum(run.trials for run in runs)
    gained, lost = sum(run.gained for run in runs), sum(run.lost for run in runs)
    both = sum(run.both for run in runs)
    most_gained, most_lost = wilson(gained, trials)[1], wilson(lost, trials)[1]
    return Improvement(
        before=_widened(found.before, wilson(both + lost, trials)),
        after=_widened(found.after, wilson(both + gained, trials)),
        gain=_widened(found.gain, (gained / trials - most_lost, most_gained - lost / trials)),
    )


def _widened(estimate: Estimate, interval: Interval) -> Estimate:
    low, high = estimate.interval
    return Estimate(mean=estimate.mean, interval=(min(low, interval[0]), max(high, interval[1])))


def _between_trainings(tasks: Sequence[Sequence[PairedCounts]]) -> NDArray[np.float64]:
    """How far success of both policies is from its task's mean, of each run whose task has several [R, 2]."""
    apart = [np.zeros((0, 2))]
    for runs in tasks:
        if len(runs) > 1:
            rates = np.array([[run.before, run.after] for run in runs])
            apart.append(_stretch(len(runs)) * (rates - rates.mean(axis=0)))
    return np.concatenate(apart)


def _draw_rates(
    runs: Sequence[PairedCounts], apart: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Success of both policies in a bootstrap over seeds and episodes [D, 2]; of a single run, over episodes and
    `apart` [R, 2], how far single runs are from the mean of many."""
    trials = np.array([run.trials for run in runs])
    shares = np.array([[run.both, run.gained, run.lost, run.neither] for run in runs]) / trials[:, None]
    seeds = rng.integers(len(runs), size=(NUM_DRAWS, len(runs)))
    counts = rng.multinomial(trials[seeds], shares[seeds]) / trials[seeds][..., None]
    mean, of_seeds, of_episodes = (_both_rates(values) for values in (shares.mean(axis=0), shares[seeds], counts))
    luck = (of_episodes - of_seeds).mean(axis=1)
    if len(runs) == 1 and len(apart):
        return mean + luck + apart[rng.integers(len(apart), size=NUM_DRAWS)]
    return np.clip(mean + _stretch(len(runs)) * (of_seeds.mean(axis=1) - mean) + luck, 0, 1)


def _both_rates(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Success of the first and of the second policy [..., 2], from shares of (both, gained, lost, neither) [..., 4]."""
    return np.stack([shares[..., 0] + shares[..., 2], shares[..., 0] + shares[..., 1]], axis=-1)


def _stretch(count: int) -> float:
    """By how much the mean of `count` values, drawn again from themselves, has to vary more."""
    return math.sqrt(count / (count - 1)) if count > 1 else 1.0


def mean_over_tasks(values: Sequence[Sequence[float]]) -> Estimate:
    """Mean over tasks of means over seeds; seeds are drawn again within each task, and no task may have a single one
    for an interval to be known.

    Raises ValueError where there is no task, or one without a value.
    """
    drawn = _means(values)
    interval = _bounds(drawn) if _have_spread(values) else _UNKNOWN
    return Estimate(mean=float(np.mean([np.mean(of_task) for of_task in values])), interval=interval)


def median_over_runs(values: Sequence[Sequence[float]]) -> Estimate:
    """Median over all runs of all tasks, where values may be infinite; seeds are drawn as in `mean_over_tasks`, without
    a stretch.

    Raises ValueError where there is no task, or one without a value.
    """
    pooled = np.concatenate(_drawn_seeds(values), axis=1)
    interval = _bounds(np.array([_middle(row) for row in pooled])) if _have_spread(values) else _UNKNOWN
    return Estimate(mean=_middle(np.concatenate(values)), interval=interval)


def _have_spread(values: Sequence[Sequence[float]]) -> bool:
    return all(len(of_task) > 1 for of_task in values)


def _middle(values: NDArray[np.float64]) -> float:
    """The median; of an even number the upper of the two in the middle, which is the worse one where less is better."""
    return float(np.sort(values)[len(values) // 2])


def _means(values: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    means = []
    for of_task, drawn in zip(values, _drawn_seeds(values), strict=True):
        middle = np.mean(of_task)
        means.append(middle + _stretch(len(of_task)) * (drawn.mean(axis=1) - middle))
    return np.mean(means, axis=0)


def _drawn_seeds(values: Sequence[Sequence[float]]) -> list[NDArray[np.float64]]:
    """Of each task, its values drawn again [D, seeds]."""
    if not values or not all(len(of_task) for of_task in values):
        raise ValueError("an interval needs at least one task, and one value of each")
    rng = np.random.default_rng(NUM_DRAWS)
    return [np.asarray(one, dtype=float)[rng.integers(len(one), size=(NUM_DRAWS, len(one)))] for one in values]


def _estimate(mean: float, drawn: NDArray[np.float64]) -> Estimate:
    return Estimate(mean=float(mean), interval=_bounds(drawn))


def _bounds(drawn: NDArray[np.float64]) -> Interval:
    """The middle 95 %, both ends values that were drawn: between a number and infinity there is nothing."""
    tail = (1 - _LEVEL) / 2
    low = np.quantile(drawn, tail, method="lower")
    high = np.quantile(drawn, 1 - tail, method="higher")
    return float(low), float(high)


def smoothed(success: Sequence[float] | NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Mean of the last `window` iterations at each one; of those that there are, before."""
    values = np.asarray(success, dtype=float)
    return np.array([values[max(0, i + 1 - window) : i + 1].mean() for i in range(len(values))])


def cost_to_reach(cost: Sequence[float], success: Sequence[float], level: float, *, window: int) -> float:
    """What had been spent when the mean of `window` iterations first was `level` or more; infinity where it never was.

    cost: of each iteration. Before `window` iterations have run nothing counts as reached.
    """
    reached = np.flatnonzero(smoothed(success, window) >= level - 1e-12)
    reached = reached[reached >= min(window, len(success)) - 1]
    return float(np.cumsum(cost)[reached[0]]) if len(reached) else math.inf


def value_at(cost: Sequence[float], success: Sequence[float], budget: float, *, window: int) -> float:
    """Mean success of the last `window` iterations that had ended within `budget`, or else of the first."""
    count = int(np.searchsorted(np.cumsum(cost), budget * (1 + 1e-12), side="right"))
    return float(smoothed(success, window)[max(count, 1) - 1])


def mean_until(cost: Sequence[float], success: Sequence[float], budget: float) -> float:
    """Success averaged over what was spent, up to `budget`: the area under the learning curve, divided by it.

    Raises ValueError where less than the budget was spent.
    """
    ends = np.cumsum(cost)
    if ends[-1] < budget * (1 - 1e-12):
        raise ValueError(f"{ends[-1]} were spent, less than the budget of {budget}")
    spent = np.diff(np.minimum(ends, budget), prepend=0.0)
    return float(np.dot(spent, np.asarray(success, dtype=float)) / budget)
