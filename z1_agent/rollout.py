"""Growing a rollout tree: the loop that rolls lanes and splits them as a plan says.

    plan = shared_trunk(decision=3, group_size=8)
    tree = grow(envs, policy, plan, seed=0, generator=torch.Generator().manual_seed(0))

A group of G lanes starts as one cluster of G, of which only the first lane moves. At a split every cluster
falls into `width` clusters, whose first lanes continue from the state of the old one: one `branch` call.

Where a plan is made from what the trunks show, these are rolled first, with a snapshot at every decision. Each group
then goes back to its first split. All that is trained on is rolled after the plan is known: no choice has looked at it.
Where it begins was chosen by what followed, so the success of such rollouts is not quite the policy's.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from z1_agent.observation import Observation, take
from z1_agent.pi05 import Prefix
from z1_agent.policy import Policy, Sample
from z1_agent.schedules import BranchPlan, ScoutedPlan
from z1_agent.tree import RolloutTree, Seen
from z1_envs.agents import agent_rows
from z1_envs.branch import BranchVectorEnv
from z1_envs.lane_rows import Infos
from z1_envs.lane_rows import Observation as LaneObservation
from z1_envs.snapshot import Snapshot


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
        self,
        lanes: NDArray[np.int64],
        groups: NDArray[np.int64],
        depth: NDArray[np.int64],
        sample: Sample,
        group_size: int,
    ) -> None:
        """One decision of `lanes` [n], at depths [n]."""
        self.parent.append(self.last_node[lanes])
        self.group.append(groups)
        self.depth.append(depth)
        self.trainable.append(self.cluster[lanes] < group_size)
        self.samples.append(sample)
        self.last_node[lanes] = np.arange(self.num_nodes, self.num_nodes + len(lanes))
        self.num_nodes += len(lanes)


@torch.no_grad()
def grow(
    envs: BranchVectorEnv,
    policy: Policy,
    plan: BranchPlan | ScoutedPlan,
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
    depth, num_steps = np.zeros(envs.num_groups, dtype=np.int64), 0
    if isinstance(plan, ScoutedPlan):
        start = (observation, infos)
        plans, observation, infos, num_steps = _scout(envs, policy, plan, growth, start, generator)
        depth = np.array([own.splits[0][0] for own in plans])
    else:
        plans = [plan] * envs.num_groups
    splits = [dict(own.splits) for own in plans]
    while True:
        widths = np.array([splits[group].get(int(depth[group]), 1) for group in range(envs.num_groups)])
        source = _split(growth, widths[envs.group_index], envs.finished)
        if (widths > 1).any():
            observation, infos = envs.branch(source)
        lanes = np.flatnonzero((growth.cluster > 0) & ~envs.finished)
        if len(lanes) == 0:
            break
        seen = agent_rows(observation, infos, lanes)
        prefix = _encode(policy, seen, source[lanes])
        sample = policy.sample(prefix, generator)
        growth.see(seen, prefix)
        groups = envs.group_index[lanes]
        growth.add(lanes, groups, depth[groups], sample, envs.group_size)
        observation, infos, steps = _move(envs, lanes, sample.chunk, infos)
        num_steps += steps
        depth += 1
    return _tree(growth, infos, num_steps)


def _move(
    envs: BranchVectorEnv, lanes: NDArray[np.int64], chunk: NDArray, infos: Infos
) -> tuple[LaneObservation, Infos, int]:
    """Carries out `chunk` [n, E, A] in `lanes` [n], and counts the control steps."""
    before = infos["elapsed"][lanes].sum()
    chunks = np.zeros((envs.num_envs, *chunk.shape[1:]), dtype=np.float32)
    chunks[lanes] = chunk
    moving = np.zeros(envs.num_envs, dtype=bool)
    moving[lanes] = True
    observation, _, _, _, infos = envs.step(chunks, active=moving)
    return observation, infos, int(infos["elapsed"][lanes].sum() - before)


def _split(growth: _Growth, widths: NDArray[np.int64], finished: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Every unfinished cluster becomes `widths` [L] clusters. A finished one stays whole: its outcome is decided.

    Returns for each lane the lane whose state it gets [L].
    """
    source = np.arange(len(finished))
    for leader in np.flatnonzero((growth.cluster > 1) & (widths > 1) & ~finished):
        size = int(growth.cluster[leader]) // int(widths[leader])
        followers = leader + size * np.arange(widths[leader])
        source[followers] = leader
        growth.cluster[followers] = size
        growth.last_node[followers] = growth.last_node[leader]
    return source


@dataclass(frozen=True)
class _Scouted:
    """One decision of the trunks of n groups, not yet nodes: what their leaders saw and did, and where they stood."""

    groups: NDArray[np.int64]
    seen: Observation
    prefix: Prefix
    sample: Sample
    before: Sequence[Snapshot]


def _scout(
    envs: BranchVectorEnv,
    policy: Policy,
    plan: ScoutedPlan,
    growth: _Growth,
    start: tuple[LaneObservation, Infos],
    generator: torch.Generator,
) -> tuple[list[BranchPlan], LaneObservation, Infos, int]:
    """Rolls the trunks, chooses a plan for each group, and puts every leader back to its first split.

    Returns plans [G], observations and infos [L, …], and the control steps, those that are rolled again included.
    """
    observation, infos = start
    leaders = np.arange(0, envs.num_envs, envs.group_size)
    spreads: list[list[float]] = [[] for _ in leaders]
    rounds: list[_Scouted] = []
    rolling, num_steps = np.ones(envs.num_groups, dtype=bool), 0
    while len(rounds) < plan.longest:
        rolling &= ~envs.finished[leaders] & ~plan.rule.stops(infos, leaders)
        if not rolling.any():
            break
        groups = np.flatnonzero(rolling)
        lanes = leaders[groups]
        seen = agent_rows(observation, infos, lanes)
        prefix = policy.encode(seen)
        sample, spread = _sample_and_spread(policy, prefix, plan.rule.num_samples, generator)
        for group, value in zip(groups, spread, strict=True):
            spreads[group].append(float(value))
        rounds.append(_Scouted(groups, seen, prefix, sample, envs.save(lanes)))
        observation, infos, steps = _move(envs, lanes, sample.chunk, infos)
        num_steps += steps
    rolled = np.array([len(values) for values in spreads])
    # An episode that ended on its trunk has nothing to split; its last decision has.
    last = np.maximum(rolled - envs.finished[leaders], 0)
    plans = [plan.at(plan.rule.choose(values, int(at))) for values, at in zip(spreads, last, strict=True)]
    first = np.array([chosen.splits[0][0] for chosen in plans])
    back = np.flatnonzero(first < rolled)
    if len(back) > 0:
        snapshots = [_before(rounds, int(group), int(first[group])) for group in back]
        observation, infos = envs.restore(snapshots, leaders[back])
    _plant(growth, envs, rounds, first)
    return plans, observation, infos, num_steps


def _sample_and_spread(
    policy: Policy, prefix: Prefix, num_samples: int, generator: torch.Generator
) -> tuple[Sample, NDArray]:
    """One sample per row of `prefix`, and how far `num_samples` of them spread [n].

    The spread is the standard deviation of what reaches the env, in its action units, mean over the chunk's entries.
    """
    samples = policy.sample(prefix.repeat(torch.arange(len(prefix)).repeat_interleave(num_samples)), generator)
    chunks = samples.chunk.reshape(len(prefix), num_samples, -1)
    return _rows(samples, torch.arange(0, len(samples.chunk), num_samples)), chunks.std(axis=1).mean(axis=1)


def _before(rounds: Sequence[_Scouted], group: int, depth: int) -> Snapshot:
    """Where `group` stood before decision `depth`."""
    scouted = rounds[depth]
    return scouted.before[int(np.flatnonzero(scouted.groups == group)[0])]


def _plant(growth: _Growth, envs: BranchVectorEnv, rounds: Sequence[_Scouted], first: NDArray[np.int64]) -> None:
    """The decisions before each group's `first` split [G] become nodes."""
    for depth, scouted in enumerate(rounds):
        kept = np.flatnonzero(first[scouted.groups] > depth)
        if len(kept) == 0:
            continue
        rows, groups = torch.from_numpy(kept), scouted.groups[kept]
        growth.see(take(scouted.seen, kept), scouted.prefix.repeat(rows))
        depths = np.full(len(kept), depth)
        growth.add(groups * envs.group_size, groups, depths, _rows(scouted.sample, rows), envs.group_size)


def _rows(sample: Sample, rows: Tensor) -> Sample:
    return Sample(sample.chunk[rows.numpy()], sample.path[rows], sample.index[rows], sample.logprob[rows])


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
