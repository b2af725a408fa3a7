"""A rollout as one frozen record of arrays: nodes are decisions, parents come before children.

    0 ── 1 ─┬─ 2 ── 4 ── 6*           parent = [-1, 0, 1, 1, 2, 3, 4], * leaves 6 and 5
            └─ 3 ── 5*

A lane that ran alone is a path of nodes; lanes that shared decisions share nodes. What a decision is worth is
a sum over the leaves below it, so a shared segment is stored once, whatever the number of its followers.

Axes: N nodes, M leaves, K denoising steps, H chunk length, A action width.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from z1_agent.pi05 import Prefix


@dataclass(frozen=True, kw_only=True, eq=False)
class RolloutTree:
    """Decisions of many groups with what an update needs of each.

    parent: int [N], parent[i] < i, -1 at the roots. group: int [N]. depth: int [N], decisions before it.
    trainable: bool [N], False on the trunk, which all leaves of its group share.
    prefix: what the policy saw, N rows. path, index, logprob: its sample (see policy.Sample), N rows.
    leaf: int [M], the last node of each outcome. weight: int [M], lanes that share that outcome.
    success: bool [M]. elapsed: int [M] [steps]. num_steps: control steps simulated.
    """

    parent: NDArray[np.int64]
    group: NDArray[np.int64]
    depth: NDArray[np.int64]
    trainable: NDArray[np.bool_]
    prefix: Prefix
    path: Tensor
    index: Tensor
    logprob: Tensor
    leaf: NDArray[np.int64]
    weight: NDArray[np.int64]
    success: NDArray[np.bool_]
    elapsed: NDArray[np.int64]
    num_steps: int

    def __len__(self) -> int:
        return len(self.parent)

    @property
    def leaf_group(self) -> NDArray[np.int64]:
        """The group of each leaf [M]."""
        return self.group[self.leaf]

    def node_sums(self, leaf_values: NDArray[np.float64]) -> NDArray[np.float64]:
        """For every node the sum of `leaf_values` [M] over the leaves below it, each times its weight [N]."""
        sums = np.zeros(len(self))
        np.add.at(sums, self.leaf, leaf_values * self.weight)
        for node in range(len(self) - 1, -1, -1):  # children come after parents
            if self.parent[node] >= 0:
                sums[self.parent[node]] += sums[node]
        return sums


def concatenate(trees: list[RolloutTree]) -> RolloutTree:
    """One tree of all `trees`, whose groups stay apart: they are numbered on.

    Raises ValueError for an empty list.
    """
    if not trees:
        raise ValueError("concatenate needs at least one tree, got none")
    node_starts = np.cumsum([0] + [len(tree) for tree in trees])
    group_starts = np.cumsum([0] + [int(tree.group.max()) + 1 for tree in trees])
    return RolloutTree(
        parent=np.concatenate(
            [np.where(t.parent < 0, -1, t.parent + start) for t, start in zip(trees, node_starts, strict=False)]
        ),
        group=np.concatenate([t.group + start for t, start in zip(trees, group_starts, strict=False)]),
        depth=np.concatenate([t.depth for t in trees]),
        trainable=np.concatenate([t.trainable for t in trees]),
        prefix=Prefix.cat([t.prefix for t in trees]),
        path=torch.cat([t.path for t in trees]),
        index=torch.cat([t.index for t in trees]),
        logprob=torch.cat([t.logprob for t in trees]),
        leaf=np.concatenate([t.leaf + start for t, start in zip(trees, node_starts, strict=False)]),
        weight=np.concatenate([t.weight for t in trees]),
        success=np.concatenate([t.success for t in trees]),
        elapsed=np.concatenate([t.elapsed for t in trees]),
        num_steps=sum(t.num_steps for t in trees),
    )
