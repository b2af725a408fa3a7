"""Task-wise GRPO with shared trunks: the loop.

How it differs from the textbook:
* A group of G rollouts shares scene, start and, early in training, a trunk of decisions that one lane rolls for
  all. Trunk decisions are not trained on; decisions shared by part of a group are, once, weighted by the sum of
  their leaves' advantages.
* The policy is a flow: its likelihood is that of the random denoising steps of Flow-SDE, one ratio per chunk.
* With the vision-language part of the network frozen, what it computed during the rollout (the prefix: its K/V) is
  reused by every epoch.

Source: arXiv 2606.31846 (Z-1).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from z1_agent.advantage import GroupCounts, GroupFilter, decayed_rewards, group_advantages
from z1_agent.checkpoint import TrainerState, optimizer_tensors, restore_optimizer
from z1_agent.loss import clipped_surrogate
from z1_agent.policy import Pi05Policy
from z1_agent.rollout import LinearTrunk, grow
from z1_agent.trainable import select
from z1_envs.branch import BranchVectorEnv


@dataclass(frozen=True, kw_only=True)
class GrpoConfig:
    """One iteration rolls `num_groups` groups of `group_size` and trains `epochs` times on what they show.

    trunk: schedule of the shared decisions. gamma: success-aware decay per chunk. clip: of the ratio.
    minibatch_size: decisions per optimiser step. learning_rate: of the first iteration, from where it falls linearly
    to `final_rate_share` of it in the last.

    Raises ValueError where a value makes no sense.
    """

    num_iterations: int = 90
    num_groups: int = 16
    group_size: int = 8
    trunk: LinearTrunk = field(default_factory=lambda: LinearTrunk(start=2, until=0.2))
    gamma: float = 0.998
    keep: GroupFilter = field(default_factory=GroupFilter)
    clip: float = 0.2
    epochs: int = 2
    minibatch_size: int = 256
    learning_rate: float = 2e-4
    final_rate_share: float = 0.1
    weight_decay: float = 0.01
    grad_clip: float = 1.0

    def __post_init__(self) -> None:
        for name in ("num_iterations", "num_groups", "epochs", "minibatch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}; give a larger number")
        if self.group_size < 2:
            raise ValueError(f"group_size must be at least 2, got {self.group_size}: a group is compared")
        for name in ("gamma", "final_rate_share"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in (0, 1], got {getattr(self, name)}")
        if not 0 < self.clip < 1:
            raise ValueError(f"clip must lie in (0, 1), got {self.clip}")
        for name in ("learning_rate", "grad_clip"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        if not self.weight_decay >= 0:
            raise ValueError(f"weight_decay must not be negative, got {self.weight_decay}")


@dataclass(frozen=True, kw_only=True)
class IterationLog:
    """What one iteration did. success and chunks are means over lanes; first_ratio is the mean ratio of the
    first minibatch, 1 unless sampling and training disagree about the likelihood."""

    iteration: int
    success: float
    chunks: float
    trunk_len: int
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
    """
    select(policy, "action_expert")
    parameters = [p for p in policy.model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        parameters, lr=config.learning_rate, betas=(0.9, 0.95), weight_decay=config.weight_decay
    )
    first = 0
    if resume is not None:
        restore_optimizer(optimizer, policy.model, resume.tensors)
        first = int(resume.values["iteration"]) + 1

    for iteration in range(first, config.num_iterations):
        progress = iteration / config.num_iterations
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * (1 - progress * (1 - config.final_rate_share))
        rng = np.random.default_rng([seed, iteration, *b"grpo"])
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))

        # Roll: every group from a new scene, splitting where the schedule says.
        plan = config.trunk.plan(progress, config.group_size)
        tree = grow(envs, policy, plan, seed=int(rng.integers(2**62)), generator=generator)

        # Judge: outcomes → advantages of leaves → weights of decisions.
        rewards = decayed_rewards(tree.success, tree.elapsed, policy.config.executed_len, config.gamma)
        advantages, groups = group_advantages(rewards, tree.success, tree.leaf_group, tree.weight, config.keep)
        weights = tree.node_sums(advantages)
        nodes = np.flatnonzero(tree.trainable & (weights != 0))

        # Learn: a few epochs over the decisions that matter.
        weight = torch.from_numpy(weights).float()
        steps: list[tuple[float, float, float]] = []
        first_ratio = 1.0
        for _ in range(config.epochs):
            for batch in _minibatches(nodes, config.minibatch_size, rng):
                logprob = policy.log_prob(tree.prefix.repeat(batch), tree.path[batch], tree.index[batch])
                if not steps:
                    first_ratio = (logprob - tree.logprob[batch]).exp().mean().item()
                surrogate = clipped_surrogate(logprob, tree.logprob[batch], weight[batch], config.clip)
                optimizer.zero_grad()
                surrogate.loss.backward()
                norm = torch.nn.utils.clip_grad_norm_(parameters, config.grad_clip)
                optimizer.step()
                steps.append((surrogate.clip_fraction, surrogate.kl, norm.item()))

        clip_fraction, kl, grad_norm = np.mean(steps, axis=0) if steps else (0.0, 0.0, 0.0)
        log = IterationLog(
            iteration=iteration,
            success=float(np.average(tree.success, weights=tree.weight)),
            chunks=float(np.average(tree.depth[tree.leaf] + 1, weights=tree.weight)),
            trunk_len=plan.splits[0][0],
            groups=groups,
            trained_nodes=len(nodes),
            first_ratio=first_ratio,
            clip_fraction=float(clip_fraction),
            kl=float(kl),
            grad_norm=float(grad_norm),
            env_steps=tree.num_steps,
        )
        del tree  # before the next one grows: two at a time would double the memory
        if not on_iteration(log, lambda at=iteration: _state(policy, optimizer, at)):
            return


def _minibatches(nodes: np.ndarray, size: int, rng: np.random.Generator) -> list[Tensor]:
    """All of `nodes` in random order, in batches of about `size`, none of them much smaller than the others."""
    if len(nodes) == 0:
        return []
    count = max(1, round(len(nodes) / size))
    return [torch.from_numpy(part) for part in np.array_split(rng.permutation(nodes), count)]


def _state(policy: Pi05Policy, optimizer: torch.optim.AdamW, iteration: int) -> TrainerState:
    tensors = optimizer_tensors(optimizer, policy.model)
    return TrainerState(tensors=tensors, values={"stage": "grpo", "iteration": iteration})
