"""From outcomes to advantages: numpy, no model.

Leaves are outcomes, weighted by the lanes that share them. M leaves, G groups.
Source: arXiv 2606.31846 (Z-1), shared-prefix GRPO and success-aware reward decay.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

_EPSILON = 1e-6

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class GroupFilter:
    """A group trains only if its mean reward lies in [low, high].

    The mean is that of the rewards as they are decayed or penalised. Groups in which all leaves succeed have a mean
    undecayed reward of 1 and are, with decay, judged by their times instead: they train where these differ.

    Raises ValueError unless 0 <= low < high <= 1.
    """

    low: float = 0.1
    high: float = 0.99

    def __post_init__(self) -> None:
        if not 0 <= self.low < self.high <= 1:
            raise ValueError(f"keep must have 0 <= low < high <= 1, got low {self.low} and high {self.high}")


@dataclass(frozen=True)
class GroupCounts:
    """How many groups were dead (no success), mixed, all successful, and how many of all train."""

    dead: int
    mixed: int
    all_success: int
    trained: int


def above_slowest(rewards: FloatArray, share: FloatArray, keep: GroupFilter) -> FloatArray:
    """R - min R [m]: the slowest gets 0 and none is pushed down. share [m] of the lanes."""
    return rewards - rewards.min()


def relative(rewards: FloatArray, share: FloatArray, keep: GroupFilter) -> FloatArray:
    """(R - mean R) / (std R + ε) [m], population statistics over lanes, share [m] of them; 0 where `keep`
    drops the group and where all are equal.
    """
    mean = float((share * rewards).sum())
    if not keep.low <= mean <= keep.high or rewards.min() == rewards.max():
        return np.zeros_like(rewards)
    std = float(np.sqrt((share * (rewards - mean) ** 2).sum()))
    return (rewards - mean) / (std + _EPSILON)


GroupRule = Callable[[FloatArray, FloatArray, GroupFilter], FloatArray]
"""(rewards [m], share of the lanes [m], filter) → advantages [m] within one group."""


class Reward(Protocol):
    """What an outcome is worth."""

    @property
    def in_all_success(self) -> GroupRule:
        """The rule for groups in which all leaves succeed."""
        ...

    def __call__(self, success: NDArray[np.bool_], elapsed: IntArray, chunk_len: int) -> FloatArray:
        """Rewards [M]; elapsed [M] and chunk_len [steps]."""
        ...


@dataclass(frozen=True)
class PlainReward:
    """1 for a success, else 0. Groups in which all succeed teach nothing."""

    @property
    def in_all_success(self) -> GroupRule:
        """As `Reward.in_all_success`."""
        return above_slowest

    def __call__(self, success: NDArray[np.bool_], elapsed: IntArray, chunk_len: int) -> FloatArray:
        """As `Reward`."""
        return success.astype(np.float64)


@dataclass(frozen=True)
class DecayedReward:
    """Success-aware decay: γ^d for successes, d the chunks until then, the one it came in counted; else 0.

    Groups in which all succeed push nobody down, which is what sets it apart from a penalty.
    """

    gamma: float

    @property
    def in_all_success(self) -> GroupRule:
        """As `Reward.in_all_success`."""
        return above_slowest

    def __call__(self, success: NDArray[np.bool_], elapsed: IntArray, chunk_len: int) -> FloatArray:
        """As `Reward`."""
        return np.where(success, self.gamma ** np.ceil(elapsed / chunk_len), 0.0)


@dataclass(frozen=True)
class PenalisedReward:
    """The baseline that the paper compares with: 1 - penalty·d for successes, d as in `DecayedReward`; else 0.

    The paper says that slow successes are pushed down explicitly, and publishes no formula. We choose: the reward of
    `z1_envs.wrappers.SuccessPenalty`, and the ordinary rule, filter included, in groups in which all succeed. A penalty
    below 1 / (chunks of the longest episode) keeps every success above a failure.
    """

    penalty: float

    @property
    def in_all_success(self) -> GroupRule:
        """As `Reward.in_all_success`."""
        return relative

    def __call__(self, success: NDArray[np.bool_], elapsed: IntArray, chunk_len: int) -> FloatArray:
        """As `Reward`."""
        return np.where(success, 1 - self.penalty * np.ceil(elapsed / chunk_len), 0.0)


def group_advantages(
    rewards: FloatArray,
    success: NDArray[np.bool_],
    group: IntArray,
    weight: IntArray,
    keep: GroupFilter,
    in_all_success: GroupRule = above_slowest,
) -> tuple[FloatArray, GroupCounts]:
    """Advantage of each leaf within its group [M]; 0 in groups that do not train.

    Dead groups, in which none succeeds, do not. Mixed groups go by `relative`, all-success groups by `in_all_success`.
    """
    advantages = np.zeros(len(rewards))
    dead = mixed = all_success = trained = 0
    for g in np.unique(group):
        members = group == g
        if not success[members].any():
            dead += 1
            continue
        if success[members].all():
            all_success += 1
            rule = in_all_success
        else:
            mixed += 1
            rule = relative
        a = rule(rewards[members], weight[members] / weight[members].sum(), keep)
        trained += bool((a != 0).any())
        advantages[members] = a
    return advantages, GroupCounts(dead, mixed, all_success, trained)
