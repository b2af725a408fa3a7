"""Where the lanes of a group part: plans of splits, and the schedules that make them over a training.

    flat   ├─────────    trunk  ────┬────    tree  ──┬──┬──
           ├─────────               ├────            │  └──
           ├─────────               ├────            └──┬──
           └─────────               └────               └──

A schedule's `plan` is fixed (`BranchPlan`), or made for each group from what its own trunk shows (`ScoutedPlan`).
Either way a trunk of P decisions becomes a plan by a shape: `shared_trunk` or `halving_tree`.

Source: arXiv 2606.31846 (Z-1), shared-prefix GRPO and tree-structured prefix branching. How long the trunk of a task
is, and how phase and uncertainty are measured, the paper leaves open.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from z1_envs.arguments import check_whole


@dataclass(frozen=True)
class BranchPlan:
    """Where clusters split: (decision, width) in order of decisions; the widths' product is the group size.

    Raises ValueError where decisions do not rise or a width is below 2.
    """

    splits: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        decisions = [decision for decision, _ in self.splits]
        if any(d < 0 for d in decisions) or any(a >= b for a, b in itertools.pairwise(decisions)):
            raise ValueError(f"splits must be at rising decisions from 0 on, got {decisions}")
        if any(width < 2 for _, width in self.splits):
            raise ValueError(f"a split makes at least 2 of 1, got widths {[width for _, width in self.splits]}")

    @property
    def group_size(self) -> int:
        """Leaves of a group."""
        return int(np.prod([width for _, width in self.splits]))


Shape = Callable[[int, int], BranchPlan]
"""(decisions of the trunk P, group size) → plan."""


def flat(group_size: int) -> BranchPlan:
    """Every lane of a group runs alone from the start."""
    return BranchPlan(((0, group_size),))


def shared_trunk(decision: int, group_size: int) -> BranchPlan:
    """One lane per group runs `decision` decisions, then all do."""
    return BranchPlan(((decision, group_size),))


def binary_tree(decision: int, depth: int) -> BranchPlan:
    """2^depth leaves; every cluster splits in two at floor(decision / 2^(depth - l)), l = 1..depth.

    Splits that fall on the same decision become one, wider split.
    """
    widths: dict[int, int] = {}
    for level in range(1, depth + 1):
        at = decision // 2 ** (depth - level)
        widths[at] = widths.get(at, 1) * 2
    return BranchPlan(tuple(sorted(widths.items())))


def halving_tree(decision: int, group_size: int) -> BranchPlan:
    """The binary tree of `group_size` = 2^k leaves whose last splits are at `decision`.

    Raises ValueError where `group_size` is no power of two.
    """
    check_halves(group_size)
    return binary_tree(decision, group_size.bit_length() - 1)


def check_halves(group_size: int) -> None:
    """Raises ValueError where a group of `group_size` cannot be halved down to single lanes."""
    if group_size < 2 or group_size & (group_size - 1):
        raise ValueError(f"a tree halves its group, so group_size must be 2, 4, 8, ..., got {group_size}")


class SplitRule(Protocol):
    """Where the trunk of a group ends, from what it shows while it is rolled."""

    @property
    def num_samples(self) -> int:
        """Chunks sampled at each of the trunk's decisions, of which the first one is carried out."""
        ...

    def stops(self, infos: Mapping[str, NDArray], lanes: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of the trunks led by `lanes` [n] need not be rolled further [n]."""
        ...

    def choose(self, spreads: Sequence[float], last: int) -> int:
        """P, the decision to split at, 0..last; spreads: of the chunks sampled at each decision that was rolled."""
        ...


@dataclass(frozen=True)
class ScoutedPlan:
    """Every group has a plan of its own: its trunk is rolled for at most `longest` decisions, then `rule` chooses."""

    longest: int
    group_size: int
    rule: SplitRule
    shape: Shape

    def at(self, decision: int) -> BranchPlan:
        """The plan of a group whose trunk has `decision` decisions."""
        return self.shape(decision, self.group_size)


@dataclass(frozen=True)
class FirstManipulation:
    """Split where info["phase"] turns to "manipulation", at the latest where the trunk ends.

    stops raises ValueError where the env tells no phase.
    """

    num_samples: int = 1

    def stops(self, infos: Mapping[str, NDArray], lanes: NDArray[np.int64]) -> NDArray[np.bool_]:
        """As `SplitRule.stops`."""
        if "phase" not in infos:
            raise ValueError(
                f"the env's info has no 'phase' (it has {', '.join(sorted(infos))}); take another schedule, or an env "
                f"that tells it"
            )
        return np.asarray(infos["phase"][lanes] == "manipulation", dtype=bool)

    def choose(self, spreads: Sequence[float], last: int) -> int:
        """As `SplitRule.choose`: where the trunk stopped."""
        return last


@dataclass(frozen=True)
class LargestSpread:
    """Split at the trunk's decision whose sampled chunks spread most; the earliest of equal ones."""

    num_samples: int

    def stops(self, infos: Mapping[str, NDArray], lanes: NDArray[np.int64]) -> NDArray[np.bool_]:
        """As `SplitRule.stops`: all of the trunk is needed."""
        return np.zeros(len(lanes), dtype=bool)

    def choose(self, spreads: Sequence[float], last: int) -> int:
        """As `SplitRule.choose`."""
        return int(np.argmax(spreads)) if spreads else 0


class Schedule(Protocol):
    """Plans over a training."""

    def plan(self, progress: float, group_size: int, shape: Shape = ...) -> BranchPlan | ScoutedPlan:
        """The plan when `progress` in [0, 1] of the training is done."""
        ...


@dataclass(frozen=True, kw_only=True)
class LinearTrunk:
    """The paper's schedule: the trunk shrinks linearly from `start` decisions to 0.

    It reaches 0 after `until` of the training's iterations, a share in (0, 1].

    Raises ValueError where `start` is no whole number of at least 0, or `until` lies elsewhere.
    """

    start: int = 15
    until: float = 1.0

    def __post_init__(self) -> None:
        check_whole("start", self.start, least=0)
        if not 0 < self.until <= 1:
            raise ValueError(f"until must lie in (0, 1], got {self.until}: it is a share of the training")

    def plan(self, progress: float, group_size: int, shape: Shape = shared_trunk) -> BranchPlan:
        """The plan when `progress` in [0, 1] of the training is done."""
        decisions = round(self.start * max(0.0, 1.0 - progress / self.until))
        return shape(decisions, group_size)


@dataclass(frozen=True, kw_only=True)
class ConstantTrunk:
    """The same trunk of `decisions` decisions from the first iteration to the last."""

    decisions: int

    def plan(self, progress: float, group_size: int, shape: Shape = shared_trunk) -> BranchPlan:
        """The same plan at any `progress`."""
        return shape(self.decisions, group_size)


@dataclass(frozen=True, kw_only=True)
class PhaseTrunk:
    """Every group shares its approach: it splits where manipulation begins, at the latest after `longest` decisions.

    Rolls no step twice, but the last chunk of an episode that ended on its trunk, and what follows a tree's earlier
    splits.
    """

    longest: int

    def plan(self, progress: float, group_size: int, shape: Shape = shared_trunk) -> ScoutedPlan:
        """The same rule at any `progress`."""
        return ScoutedPlan(self.longest, group_size, FirstManipulation(), shape)


@dataclass(frozen=True, kw_only=True)
class UncertainTrunk:
    """Every group splits at that of its trunk's `longest` decisions at which the policy is least sure.

    How sure it is shows in `group_size` chunks sampled there and not simulated. The trunk is rolled to its end first,
    what follows the chosen decision is dropped and rolled again: no suffix is one that the choice has seen. That costs
    up to `longest` chunks of simulation per group.
    """

    longest: int

    def plan(self, progress: float, group_size: int, shape: Shape = shared_trunk) -> ScoutedPlan:
        """The same rule at any `progress`."""
        return ScoutedPlan(self.longest, group_size, LargestSpread(group_size), shape)
