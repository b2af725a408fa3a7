"""Task-wise GRPO with shared trunks: the loop.

How it differs from the textbook:
* A group of G rollouts shares scene, start and, early in training, a trunk of decisions that one lane rolls for
  all. Trunk decisions are not trained on; decisions shared by part of a group are, once, weighted by the sum of
  their leaves' advantages. The loss is a mean over chunks as if every leaf had its own copy of what it shares.
* The policy is a flow: its likelihood is that of the random denoising steps of Flow-SDE, one ratio per chunk.
* A decision is compared with what is still running of its group when it is made, not with the whole group.
* With the vision-language part of the network frozen, what it computed during the rollout (the prefix: its K/V) is
  reused by every epoch, as far as memory goes; beyond, and where that part learns, it is computed from observations.
* Old log-probs are those of sampling where training computes the same numbers. In bfloat16 it does not: other padding
  alone moves the log-prob of a chunk by more than the clip range. There they are computed again, as training will.

Source: arXiv 2606.31846 (Z-1).
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from z1_agent.advantage import (
    DecayedReward,
    FloatArray,
    GroupCounts,
    GroupFilter,
    PenalisedReward,
    PlainReward,
    Reward,
    group_advantages,
)
from z1_agent.average import MovingAverage, put
from z1_agent.checkpoint import TrainerState, optimizer_tensors, restore_optimizer
from z1_agent.divergence import DivergedError, not_finite
from z1_agent.lora import LoraConfig
from z1_agent.loss import clipped_surrogate
from z1_agent.memory import check_micro_batch_size, micro_batches
from z1_agent.policy import Pi05Policy
from z1_agent.rollout import grow
from z1_agent.schedules import (
    BranchPlan,
    ConstantTrunk,
    LinearTrunk,
    PhaseTrunk,
    Schedule,
    ScoutedPlan,
    UncertainTrunk,
    check_halves,
    flat,
    halving_tree,
    shared_trunk,
)
from z1_agent.trainable import Selection, Trainable, check_trainable, select
from z1_agent.tree import RolloutTree
from z1_envs.arguments import check_at_least_0, check_choice, check_positive, check_whole
from z1_envs.branch import BranchVectorEnv

Branching = Literal["flat", "trunk", "tree"]
ScheduleName = Literal["linear", "constant", "phase", "uncertainty"]
RewardName = Literal["decay", "plain", "penalty"]
Baseline = Literal["group", "running"]
_AVERAGE = "average."
_ROUNDING = 1e-9  # of advantages: below, a mean of equal ones equals them


@dataclass(frozen=True, kw_only=True)
class GrpoConfig:
    """One iteration rolls `num_groups` groups of `group_size` and trains `epochs` times on what they show.

    branching: whether a group is "flat", shares a "trunk" or is a "tree" (see schedules). schedule: how long the trunk
    is: trunk.start decisions where that is "constant", at most as many where "phase" or "uncertainty" chooses for each
    group; "linear" shrinks them to 0 by trunk.until. reward: success-aware "decay" by gamma per chunk, a "penalty" per
    chunk, or "plain" (see advantage). baseline: what a decision is compared with, the whole "group", or what is still
    "running" of it when the decision is made (see decision_weights). clip: of the ratio. minibatch_size: decisions per
    optimiser step. learning_rate: of the first iteration, from where it falls linearly, towards `final_rate_share` of
    it behind the last; vlm_rate_share: what the rate of all but the action expert is of it. trainable: what learns;
    lora: the adapters of selections that have some.
    ema_decay: the policy ends with a moving average of its weights over optimiser steps; 0 for the last weights.
    micro_batch_size: decisions whose activations are in memory at once, None for all of a minibatch. recompute_layers:
    less memory for more time, see Pi05.recompute_layers. prefix_memory_gib: room for prefixes that epochs reuse [GiB];
    while a tree is put together, twice that for a moment.

    Raises ValueError where a value makes no sense.
    """

    num_iterations: int = 50
    num_groups: int = 16
    group_size: int = 8
    branching: Branching = "trunk"
    schedule: ScheduleName = "linear"
    trunk: LinearTrunk = field(default_factory=lambda: LinearTrunk(start=4, until=0.5))
    reward: RewardName = "decay"
    gamma: float = 0.998
    penalty: float = 0.01
    keep: GroupFilter = field(default_factory=GroupFilter)
    baseline: Baseline = "running"
    clip: float = 0.2
    epochs: int = 2
    minibatch_size: int = 256
    learning_rate: float = 3e-4
    final_rate_share: float = 0.1
    vlm_rate_share: float = 1.0
    weight_decay: float = 0.01
    grad_clip: float = 1.0
    trainable: Trainable = "action_expert"
    lora: LoraConfig = field(default_factory=LoraConfig)
    ema_decay: float = 0.0
    micro_batch_size: int | None = None
    recompute_layers: bool = False
    prefix_memory_gib: float = 8.0

    def __post_init__(self) -> None:
        check_trainable(self.trainable)
        check_micro_batch_size(self.micro_batch_size)
        for name in ("num_iterations", "num_groups", "epochs", "minibatch_size"):
            check_whole(name, getattr(self, name), least=1)
        check_whole("group_size", self.group_size, least=2)  # a group is compared
        for name in ("gamma", "final_rate_share"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in (0, 1], got {getattr(self, name)}")
        for name, choices in (
            ("branching", Branching),
            ("schedule", ScheduleName),
            ("reward", RewardName),
            ("baseline", Baseline),
        ):
            check_choice(name, getattr(self, name), get_args(choices))
        if self.branching == "tree":
            check_halves(self.group_size)
        if not 0 < self.clip < 1:
            raise ValueError(f"clip must lie in (0, 1), got {self.clip}")
        for name in ("learning_rate", "vlm_rate_share", "grad_clip"):
            check_positive(name, getattr(self, name))
        for name in ("penalty", "weight_decay", "prefix_memory_gib"):
            check_at_least_0(name, getattr(self, name))
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay must lie in [0, 1), got {self.ema_decay}")

    def plan(self, progress: float) -> BranchPlan | ScoutedPlan:
        """Where groups split when `progress` in [0, 1] of the training is done."""
        if self.branching == "flat":
            return flat(self.group_size)
        schedules: dict[ScheduleName, Schedule] = {
            "linear": self.trunk,
            "constant": ConstantTrunk(decisions=self.trunk.start),
            "phase": PhaseTrunk(longest=self.trunk.start),
            "uncertainty": UncertainTrunk(longest=self.trunk.start),
        }
        shape = halving_tree if self.branching == "tree" else shared_trunk
        return schedules[self.schedule].plan(progress, self.group_size, shape)

    def reward_rule(self) -> Reward:
        """What an outcome is worth."""
        rewards: dict[RewardName, Reward] = {
            "decay": DecayedReward(self.gamma),
            "plain": PlainReward(),
            "penalty": PenalisedReward(self.penalty),
        }
        return rewards[self.reward]


@dataclass(frozen=True, kw_only=True)
class IterationLog:
    """What one iteration did. success and chunks are means over lanes; trunk_len is the mean over groups of the
    decisions that all of a group share; first_ratio is the mean ratio of the first minibatch, 1 unless sampling and
    training disagree about the likelihood. env_steps: simulated, a shared one counts once."""

    iteration: int
    success: float
    chunks: float
    trunk_len: float
    groups: GroupCounts
    trained_nodes: int
    first_ratio: float
    clip_fraction: float
    kl: float
    grad_norm: float
    env_steps: int


def train_grpo(
    policy: Pi05Policy,
    envs: BranchVectorEnv,
    config: GrpoConfig,
    *,
    seed: int,
    on_iteration: Callable[[IterationLog, Callable[[], TrainerState]], bool],
    resume: TrainerState | None = None,
) -> None:
    """Improves `policy` in `envs`, in place.

    on_iteration: told after each iteration, with a function that makes the state to save; returns whether to
    go on. The randomness of an iteration depends on `seed` and its number alone, so a resumed run continues
    bit for bit.

    Raises ValueError where `envs` has other groups than `config`, and DivergedError where a gradient is no longer
    finite, before any weight is not.
    """
    _check_groups(envs, config)
    selected = select(policy, config.trainable, config.lora, seed=seed)
    policy.model.recompute_layers(config.recompute_layers)
    room = 0.0 if selected.moves_prefix else config.prefix_memory_gib * 2**30
    parameters = selected.parameters(policy)
    optimizer = _optimizer(policy, selected, config)
    reward = config.reward_rule()
    first, averaged = 0, None
    if resume is not None:
        averaged = {k.removeprefix(_AVERAGE): v.clone() for k, v in resume.tensors.items() if k.startswith(_AVERAGE)}
        own = {k: v for k, v in resume.tensors.items() if not k.startswith(_AVERAGE)}
        restore_optimizer(optimizer, policy.model, own)
        first = int(resume.values["iteration"]) + 1
    average = MovingAverage(policy.model, selected, averaged or None) if config.ema_decay else None

    for iteration in range(first, config.num_iterations):
        progress = iteration / config.num_iterations
        for group in optimizer.param_groups:
            group["lr"] = group["share"] * config.learning_rate * (1 - progress * (1 - config.final_rate_share))
        rng = np.random.default_rng([seed, iteration, *b"grpo"])
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))

        # Roll: every group from a new scene, splitting where the schedule says.
        seed_of_scenes = int(rng.integers(2**62))
        tree = grow(envs, policy, config.plan(progress), seed=seed_of_scenes, generator=generator, prefix_bytes=room)

        # Judge: outcomes → advantages of leaves → weights of decisions.
        rewards = reward(tree.success, tree.elapsed, policy.config.executed_len)
        advantages, groups = group_advantages(
            rewards, tree.success, tree.leaf_group, tree.weight, config.keep, reward.in_all_success
        )
        weights, copies = decision_weights(tree, advantages, config.baseline)
        nodes = np.flatnonzero(copies)

        # Learn: a few epochs over the decisions that matter.
        weight = torch.from_numpy(weights).float().to(policy.device)
        epochs = [_minibatches(nodes, config.minibatch_size, rng) for _ in range(config.epochs)]
        old = tree.logprob if policy.config.compute_dtype == "float32" else _rescored(policy, tree, epochs[0], config)
        steps: list[NDArray] = []
        for batch in itertools.chain(*epochs):
            optimizer.zero_grad()
            measured = np.zeros(3)
            for rows in micro_batches(len(batch), config.micro_batch_size):
                part = batch[rows]
                scores = _score(policy, tree, part)
                surrogate = clipped_surrogate(scores, old[part], weight[part], config.clip, copies[batch].sum())
                surrogate.loss.backward()
                share = len(part) / len(batch)
                measured += share * np.array([surrogate.ratio, surrogate.clip_fraction, surrogate.kl])
            norm = torch.nn.utils.clip_grad_norm_(parameters, config.grad_clip).item()
            if broken := not_finite({"gradient": norm}):
                raise DivergedError(
                    f"the {broken} in iteration {iteration + 1}; train again with a lower learning rate of GRPO"
                )
            optimizer.step()
            steps.append(np.append(measured, norm))
            if average is not None:
                average.update(policy.model, config.ema_decay)
        if average is not None and iteration + 1 == config.num_iterations:
            put(policy.model, average.weights)

        _, clip_fraction, kl, grad_norm = np.mean(steps, axis=0) if steps else np.zeros(4)
        log = IterationLog(
            iteration=iteration,
            success=float(np.average(tree.success, weights=tree.weight)),
            chunks=float(np.average(tree.depth[tree.leaf] + 1, weights=tree.weight)),
            trunk_len=float((~tree.trainable).sum() / config.num_groups),
            groups=groups,
            trained_nodes=len(nodes),
            first_ratio=float(steps[0][0]) if steps else 1.0,
            clip_fraction=float(clip_fraction),
            kl=float(kl),
            grad_norm=float(grad_norm),
            env_steps=tree.num_steps,
        )
        del tree  # before the next one grows: two at a time would double the memory
        if not on_iteration(log, lambda at=iteration: _state(policy, optimizer, average, at)):
            return


def _check_groups(envs: BranchVectorEnv, config: GrpoConfig) -> None:
    if (envs.num_groups, envs.group_size) != (config.num_groups, config.group_size):
        raise ValueError(
            f"envs has {envs.num_groups} groups of {envs.group_size}, config wants {config.num_groups} of "
            f"{config.group_size}; make envs with num_envs={config.num_groups * config.group_size}, "
            f"group_size={config.group_size}"
        )


def decision_weights(tree: RolloutTree, advantages: FloatArray, baseline: Baseline) -> tuple[FloatArray, FloatArray]:
    """The weight of each decision in the loss [N], and how many chunks of how many leaves it stands for [N]: 0 where it
    teaches nothing, because all of its group share it or its weight is 0.

    advantages: of leaves [M]. With "group", the textbook's, a weight is the sum of the leaves' advantages. With
    "running", what is subtracted is not the mean of the group but of those of its lanes that still run: once the
    successes are over, a failure is compared with failures alone, and its last decisions, which had nothing to win any
    more, teach nothing. Groups that push nobody down stay as they are.
    """
    weights = tree.node_sums(advantages)
    if baseline == "group":
        return weights, tree.trainable * tree.node_sums((advantages != 0).astype(np.float64))
    is_judged = np.isin(tree.leaf_group, tree.leaf_group[advantages < 0])
    lanes = tree.node_sums(np.ones(len(advantages)))
    weights -= lanes * tree.running_means(np.where(is_judged, advantages, 0))
    return weights, np.where(tree.trainable & (np.abs(weights) > _ROUNDING), lanes, 0)


def _optimizer(policy: Pi05Policy, selected: Selection, config: GrpoConfig) -> torch.optim.AdamW:
    """AdamW with one group of parameters per learning rate; `share` is a group's rate over that of the config."""
    share_of = {
        name: 1.0 if part == "action_expert" else config.vlm_rate_share
        for part, names in selected.names.items()
        for name in names
    }
    groups = [
        {"params": [p for name, p in policy.model.named_parameters() if share_of.get(name) == share], "share": share}
        for share in sorted(set(share_of.values()))
    ]
    decay = config.weight_decay
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.95), weight_decay=decay, fused=True)


def _score(policy: Pi05Policy, tree: RolloutTree, nodes: Tensor) -> Tensor:
    """Log-probs of what was sampled at `nodes` int64 [B], as training computes them.

    From the observations where no prefix was kept at all, because what makes it may learn.
    """
    seen = tree.seen
    given = seen.observations(nodes) if seen.prefix is None else seen.prefixes(nodes, policy.encode)
    return policy.log_prob(given, tree.path[nodes], tree.index[nodes])


def _rescored(policy: Pi05Policy, tree: RolloutTree, batches: list[Tensor], config: GrpoConfig) -> Tensor:
    """Log-probs [N] of the nodes in `batches`, computed as the first epoch will: its first ratio is exactly 1."""
    old = tree.logprob.clone()
    for batch in batches:
        for rows in micro_batches(len(batch), config.micro_batch_size):
            # With gradients, although none is used: without them other kernels might answer.
            old[batch[rows]] = _score(policy, tree, batch[rows]).detach()
    return old


def _minibatches(nodes: np.ndarray, size: int, rng: np.random.Generator) -> list[Tensor]:
    """All of `nodes` in random order, in batches of about `size`, none of them much smaller than the others."""
    if len(nodes) == 0:
        return []
    count = max(1, round(len(nodes) / size))
    return [torch.from_numpy(part) for part in np.array_split(rng.permutation(nodes), count)]


def _state(
    policy: Pi05Policy, optimizer: torch.optim.AdamW, average: MovingAverage | None, iteration: int
) -> TrainerState:
    tensors = optimizer_tensors(optimizer, policy.model)
    if average is not None:
        tensors |= {_AVERAGE + name: value.clone() for name, value in average.weights.items()}
    return TrainerState(tensors=tensors, values={"stage": "grpo", "iteration": iteration})
