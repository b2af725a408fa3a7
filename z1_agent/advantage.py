"""From outcomes to advantages: numpy, no model.

Leaves are outcomes, weighted by the lanes that share them. M leaves, G groups.
Source: arXiv 2606.31846 (Z-1), shared-prefix GRPO and success-aware reward decay.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_EPSILON = 1e-6

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class GroupFilter:
    """A group trains only if its mean reward lies in [low, high].

    In mixed groups the mean is that of the decayed rewards. Groups in which all leaves succeed have a mean
    undecayed reward of 1 and are judged by their times instead: they train where these differ.

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


def decayed_rewards(success: NDArray[np.bool_], elapsed: IntArray, chunk_len: int, gamma: float) -> FloatArray:
    """Success-aware decay [M]: γ^d for successes, d the chunks until then, the one it came in counted; else 0.

    elapsed [M] [steps]; gamma = 1 switches the decay off.
    """
    chunks = np.ceil(elapsed / chunk_len)
    return np.where(success, gamma**chunks, 0.0)


def group_advantages(
    rewards: FloatArray, success: NDArray[np.bool_], group: IntArray, weight: IntArray, keep: GroupFilter
) -> tuple[FloatArray, GroupCounts]:
    """Advantage of each leaf within its group [M]; 0 in groups that do not train.

    Mixed groups: (R - mean R) / (std R + ε), population statistics over lanes. All-success groups:
    R - min R, so the slowest gets 0 and none is pushed down.
    """
    advantages = np.zeros(len(rewards))
    dead = mixed = all_success = trained = 0
    for g in np.unique(group):
        members = group == g
        r, w = rewards[members], weight[members] / weight[members].sum()
        mean = float((w * r).sum())
        if not success[members].any():
            dead += 1
            continue
        if success[members].all():
            all_success += 1
            a = r - r.min()
        else:
            mixed += 1
            std = float(np.sqrt((w * (r - mean) ** 2).sum()))
            a = (r - mean) / (std + _EPSILON) if keep.low <= mean <= keep.high else np.zeros_like(r)
        trained += bool((a != 0).any())
        advantages[members] = a
    return advantages, GroupCounts(dead, mixed, all_success, trained)
