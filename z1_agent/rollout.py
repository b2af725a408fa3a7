"""Growing a rollout tree: where lanes split, and the loop that rolls them.

    plan = shared_trunk(decision=3, width=8)
    tree = grow(envs, policy, plan, seed=0, generator=torch.Generator().manual_seed(0))

A group of G lanes starts as one cluster of G, of which only the first lane moves. At a split every cluster
falls into `width` clusters, whose first lanes continue from the state of the old one: one `branch` call.
"""

import itertools
import math
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from z1_agent.observation import Observation, take
from z1_agent.pi05 import Prefix
from z1_agent.policy import Policy, Sample
from z1_agent.tree import RolloutTree, Seen
from z1_envs.branch import BranchVectorEnv
from z1_envs.evaluate import agent_rows


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


@dataclass(frozen=True, kw_only=True)
class LinearTrunk:
    """The paper's schedule: the shared trunk shrinks linearly from `start` decisions to 0.

    It reaches 0 after `until` of the training's iterations, a share in (0, 1].

    Raises ValueError where `start` is negative or `until` lies elsewhere.
    """

    start: int = 15
    until: float = 1.0

    def __post_init__(self) -> None:
        if self.start < 0:
            raise ValueError(f"start must not be negative, got {self.start}: it counts decisions")
        if not 0 < self.until <= 1:
            raise ValueError(f"until must lie in (0, 1], got {self.until}: it is a share of the training")

    def plan(self, progress: float, group_size: int) -> BranchPlan:
        """The plan when `progress` in [0, 1] of the training is done."""
        decisions = round(self.start * max(0.0, 1.0 - progress / self.until))
        return shared_trunk(decisions, group_size)


@dataclass
class _Growth:
    """Nodes so far, and for each lane its last node and cluster size. room: for further prefixes [bytes]."""

    last_node: NDArray[np.int64]
    cluster: NDArray[np.int64]  # lanes that move as one with this lane; 0 for those that follow another
    room: float
    parent: list[NDArray[np.int64]] = field(default_factory=list)
    group: list[NDArray[np.int64]] = field(default_factory=list)
    depth: list[NDArray[np.int64]] = field(default_factory=list)
    trainable: list[NDArray[np.bool_]] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    num_nodes: int = 0

    def see(self, observation: Observation, prefix: Prefix) -> None:
        """What the next nodes are decided on."""
        fits = prefix.num_bytes <= self.room
        self.room -= prefix.num_bytes if fits else 0
        has_prefix = np.full(len(prefix), fits)
        kept = (prefix, None) if fits else (None, observation)
        self.seen.append(Seen(has_prefix=has_prefix, prefix=kept[0], observation=kept[1]))

    def add(
        self, lanes: NDArray[np.int64], groups: NDArray[np.int64], depth: int, sample: Sample, group_size: int
    ) -> None:
        """One decision of `lanes`."""
        self.parent.append(self.last_node[lanes])
        self.group.append(groups)
        self.depth.append(np.full(len(lanes), depth))
        self.trainable.append(self.cluster[lanes] < group_size)
        self.samples.append(sample)
        self.last_node[lanes] = np.arange(self.num_nodes, self.num_nodes + len(lanes))
        self.num_nodes += len(lanes)


@torch.no_grad()
def grow(
    envs: BranchVectorEnv,
    policy: Policy,
    plan: BranchPlan,
    *,
    seed: int,
    generator: torch.Generator,
    prefix_bytes: float = math.inf,
) -> RolloutTree:
    """Rolls every group of `envs` to its end, splitting as `plan` says; group g starts from seed + g.

    prefix_bytes: room for the prefixes of the tree's nodes; of decisions for which it is too small the observations
    are kept instead.

    Raises ValueError where the plan's group size is not that of `envs`.
    """
    if plan.group_size != envs.group_size:
        raise ValueError(f"the plan has groups of {plan.group_size}, the envs have groups of {envs.group_size}")
    observation, infos = envs.reset(seed=seed)
    growth = _Growth(
        last_node=np.full(envs.num_envs, -1),
        cluster=np.where(np.arange(envs.num_envs) % envs.group_size == 0, envs.group_size, 0),
        room=prefix_bytes,
    )
    splits = dict(plan.splits)
    depth = num_steps = 0
    while True:
        source = np.arange(envs.num_envs)
        if depth in splits:
            source = _split(growth, splits[depth], envs.finished)
            observation, infos = envs.branch(source)
        moving = (growth.cluster > 0) & ~envs.finished
        if not moving.any():
            break
        lanes = np.flatnonzero(moving)
        seen = agent_rows(observation, infos, lanes)
        prefix = _encode(policy, seen, source[lanes])
        sample = policy.sample(prefix, generator)
        growth.see(seen, prefix)
        growth.add(lanes, envs.group_index[lanes], depth, sample, envs.group_size)
        before = infos["elapsed"][lanes].sum()
        chunks = np.zeros((envs.num_envs, *sample.chunk.shape[1:]), dtype=np.float32)
        chunks[lanes] = sample.chunk
        observation, _, _, _, infos = envs.step(chunks, active=moving)
        num_steps += int(infos["elapsed"][lanes].sum() - before)
        depth += 1
    return _tree(growth, infos, num_steps)


def _split(growth: _Growth, width: int, finished: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Every unfinished cluster becomes `width` clusters. A finished one stays whole: its outcome is decided.

    Returns for each lane the lane whose state it gets [L].
    """
    source = np.arange(len(finished))
    for leader in np.flatnonzero((growth.cluster > width - 1) & ~finished):
        size = int(growth.cluster[leader]) // width
        followers = leader + size * np.arange(width)
        source[followers] = leader
        growth.cluster[followers] = size
        growth.last_node[followers] = growth.last_node[leader]
    return source


def _encode(policy: Policy, seen: Observation, source: NDArray[np.int64]) -> Prefix:
    """The prefixes of what n lanes see; lanes that have just become copies of one lane, `source` [n], share one."""
    _, first, inverse = np.unique(source, return_index=True, return_inverse=True)
    if len(first) == len(source):
        return policy.encode(seen)
    return policy.encode(take(seen, first)).repeat(torch.from_numpy(inverse))


def _tree(growth: _Growth, infos: dict[str, NDArray], num_steps: int) -> RolloutTree:
    leaders = np.flatnonzero(growth.cluster > 0)
    return RolloutTree(
        parent=np.concatenate(growth.parent),
        group=np.concatenate(growth.group),
        depth=np.concatenate(growth.depth),
        trainable=np.concatenate(growth.trainable),
        seen=Seen.cat(growth.seen),
        path=torch.cat([sample.path for sample in growth.samples]),
        index=torch.cat([sample.index for sample in growth.samples]),
        logprob=torch.cat([sample.logprob for sample in growth.samples]),
        leaf=growth.last_node[leaders],
        weight=growth.cluster[leaders],
        success=infos["success"][leaders],
        elapsed=infos["elapsed"][leaders],
        num_steps=num_steps,
    )
