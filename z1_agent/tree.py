"""A rollout as one frozen record of arrays: nodes are decisions, parents come before children.

    0 ── 1 ─┬─ 2 ── 4 ── 6*           parent = [-1, 0, 1, 1, 2, 3, 4], * leaves 6 and 5
            └─ 3 ── 5*

A lane that ran alone is a path of nodes; lanes that shared decisions share nodes. What a decision is worth is
a sum over the leaves below it, so a shared segment is stored once, whatever the number of its followers.

Axes: N nodes, M leaves, K denoising steps, H chunk length, A action width.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from z1_agent.observation import Observation, join, take
from z1_agent.pi05 import Prefix


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """What the policy saw at N nodes: of each the prefix, as long as there was room, or else the observation.

    has_prefix: bool [N]. prefix: one row per node that has one. observation: one row per other node. Both in the order
    of nodes, None where there is no such node.
    """

    has_prefix: NDArray[np.bool_]
    prefix: Prefix | None
    observation: Observation | None

    def __len__(self) -> int:
        return len(self.has_prefix)

    def prefixes(self, nodes: Tensor, encode: Callable[[Observation], Prefix]) -> Prefix:
        """The prefixes of `nodes` int64 [B]; those that were not kept are made again, outside of any graph."""
        chosen = nodes.numpy()
        kept = self.has_prefix[chosen]
        parts: list[Prefix] = []
        if self.prefix is not None and kept.any():
            rows = (np.cumsum(self.has_prefix) - 1)[chosen[kept]]
            parts.append(self.prefix.repeat(torch.from_numpy(rows)))
        if not kept.all():
            with torch.no_grad():
                parts.append(encode(self.observations(nodes[torch.from_numpy(~kept)])))
        if len(parts) == 1:
            return parts[0]
        order = np.argsort(np.concatenate([np.flatnonzero(kept), np.flatnonzero(~kept)]))
        return Prefix.cat(parts).repeat(torch.from_numpy(order))

    def observations(self, nodes: Tensor) -> Observation:
        """The observations of `nodes` int64 [B]. Raises ValueError where only the prefix of one was kept."""
        chosen = nodes.numpy()
        if self.observation is None or self.has_prefix[chosen].any():
            raise ValueError("of these nodes only prefixes were kept; grow the tree with prefix_bytes=0")
        return take(self.observation, (np.cumsum(~self.has_prefix) - 1)[chosen])

    @staticmethod
    def cat(parts: "list[Seen]") -> "Seen":
        """The nodes of all `parts` in order."""
        prefixes = [part.prefix for part in parts if part.prefix is not None]
        observations = [part.observation for part in parts if part.observation is not None]
        return Seen(
            has_prefix=np.concatenate([part.has_prefix for part in parts]),
            prefix=Prefix.cat(prefixes) if prefixes else None,
            observation=join(observations) if observations else None,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class RolloutTree:
    """Decisions of many groups with what an update needs of each.

    parent: int [N], parent[i] < i, -1 at the roots. group: int [N]. depth: int [N], decisions before it.
    trainable: bool [N], False on the trunk, which all leaves of its group share.
    seen: what the policy saw, N rows. path, index, logprob: its sample (see policy.Sample), N rows.
    leaf: int [M], the last node of each outcome. weight: int [M], lanes that share that outcome.
    success: bool [M]. elapsed: int [M] [steps]. num_steps: control steps simulated.
    """

    parent: NDArray[np.int64]
    group: NDArray[np.int64]
    depth: NDArray[np.int64]
    trainable: NDArray[np.bool_]
    seen: Seen
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

    def running_means(self, leaf_values: NDArray[np.float64]) -> NDArray[np.float64]:
        """For every node the mean of `leaf_values` [M] over the lanes of its group that still run there: those that
        make at least as many decisions before their end [N]."""
        num_groups, most = int(self.group.max()) + 1, int(self.depth.max()) + 1
        lanes, sums = np.zeros((num_groups, most)), np.zeros((num_groups, most))
        ends = self.leaf_group, self.depth[self.leaf]
        np.add.at(lanes, ends, self.weight)
        np.add.at(sums, ends, leaf_values * self.weight)
        lanes, sums = (np.cumsum(values[:, ::-1], axis=1)[:, ::-1] for values in (lanes, sums))
        return (sums / np.maximum(lanes, 1))[self.group, self.depth]
