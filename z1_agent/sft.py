"""Supervised fine-tuning on demonstrations, until a held-out score stops rising.

How it differs from the textbook: what is evaluated and kept is an exponential moving average of the weights
(so no learning-rate schedule has to know the end), and the stopping rule is the caller's. Where the env is at hand that
is success in it, not the loss: with few demonstrations the loss goes on falling long after the policy has begun to get
worse.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from z1_agent.average import MovingAverage, put
from z1_agent.checkpoint import TrainerState, optimizer_tensors, restore_optimizer
from z1_agent.divergence import DivergedError, not_finite
from z1_agent.lora import LoraConfig
from z1_agent.memory import check_micro_batch_size
from z1_agent.observation import take
from z1_agent.policy import Pi05Policy
from z1_agent.trainable import Trainable, check_trainable, select
from z1_envs.arguments import check_at_least_0, check_positive, check_whole
from z1_envs.demos import Demonstrations


@dataclass(frozen=True, kw_only=True)
class SupervisedConfig:
    """Steps are optimiser steps.

    Every `steps_per_round` steps the averaged weights are evaluated; after `patience` rounds without a better
    one, or `max_rounds`, training ends with the best. trainable: what learns; lora: the adapters of selections that
    have some. micro_batch_size: rows whose activations are in memory at once, None for all. recompute_layers: less
    memory for more time, see Pi05.recompute_layers. Both leave the gradients what they are.

    Raises ValueError where a value makes no sense.
    """

    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    grad_clip: float = 1.0
    warmup_steps: int = 50
    ema_decay: float = 0.99
    steps_per_round: int = 200
    patience: int = 3
    max_rounds: int = 10
    trainable: Trainable = "all"
    lora: LoraConfig = field(default_factory=LoraConfig)
    micro_batch_size: int | None = None
    recompute_layers: bool = False

    def __post_init__(self) -> None:
        check_trainable(self.trainable)
        check_micro_batch_size(self.micro_batch_size)
        for name in ("batch_size", "warmup_steps", "steps_per_round", "patience", "max_rounds"):
            check_whole(name, getattr(self, name), least=1)
        check_at_least_0("weight_decay", self.weight_decay)
        for name in ("learning_rate", "grad_clip"):
            check_positive(name, getattr(self, name))
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay must lie in [0, 1), got {self.ema_decay}")


@dataclass(frozen=True, kw_only=True)
class SftConfig(SupervisedConfig):
    """Learns from `num_demos` episodes of the scripted expert, with action noise `demo_noise`.

    Every `steps_per_round` optimiser steps an average of the weights over steps (`ema_decay`) is tried on held-out
    episodes; after `patience` rounds without a better one, or `max_rounds`, SFT ends with the best. The other settings
    are SupervisedConfig's. More demonstrations do not make rounds longer by themselves.

    Raises ValueError where a value makes no sense.
    """

    num_demos: int = 20
    demo_noise: float = 0.15

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("num_demos", self.num_demos, least=1)
        check_at_least_0("demo_noise", self.demo_noise)


@dataclass
class SftProgress:
    """Where SFT is: rounds done, held-out score after each, mean loss of each, and the weights that
    learn: their moving average, and the best round's. diverged: in words, where that has ended it."""

    score: list[float] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    average: dict[str, Tensor] = field(default_factory=dict)
    best: dict[str, Tensor] = field(default_factory=dict)
    diverged: str | None = None

    @property
    def best_round(self) -> int:
        """Index of the first round with the highest score; -1 before any."""
        return int(np.argmax(self.score)) if self.score else -1

    def is_over(self, config: SupervisedConfig) -> bool:
        """Whether the stopping rule has fired."""
        rounds = len(self.score)
        return rounds >= config.max_rounds or rounds - 1 - self.best_round >= config.patience


def train_sft(
    policy: Pi05Policy,
    demos: Demonstrations,
    config: SupervisedConfig,
    *,
    seed: int,
    validate: Callable[[Pi05Policy], float],
    on_round: Callable[[SftProgress, Callable[[], TrainerState]], bool],
    resume: TrainerState | None = None,
) -> SftProgress:
    """Trains `policy` on `demos`; it ends with the weights of its best round.

    validate: what is to rise, such as held-out success, or the negative of a held-out loss. on_round: told after each
    round, with a function that makes the state to save; returns whether to go on (where not, `policy` keeps the weights
    to go on from). The randomness of a round depends on `seed` and its number alone.

    A round in which loss, gradient or score are no longer finite is the last one, and counts for nothing. Raises
    DivergedError where it is the first.
    """
    selected = select(policy, config.trainable, config.lora, seed=seed)
    policy.model.recompute_layers(config.recompute_layers)
    parameters = selected.parameters(policy)
    # Fused, or its many small operations take a sixth of the time.
    optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)
    progress = SftProgress() if resume is None else _restore(policy, optimizer, resume)
    average = MovingAverage(policy.model, selected, progress.average or None)
    progress.average = average.weights
    actions, real = demos.chunks(policy.config.model.chunk_len)
    while not progress.is_over(config):
        round_index = len(progress.score)
        rng = np.random.default_rng([seed, round_index, *b"sft batches"])
        noise = torch.Generator().manual_seed(int(rng.integers(2**62)))
        losses, score, broken = [], math.nan, None
        for step in range(config.steps_per_round):
            total = round_index * config.steps_per_round + step
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * min(1.0, (total + 1) / config.warmup_steps)
            batch = rng.integers(len(actions), size=config.batch_size)
            seen, shown, counts = take(demos.observation, batch), actions[batch], real[batch]
            optimizer.zero_grad()
            losses.append(0.0)
            for part in policy.loss_parts(seen, shown, noise, counts, micro_batch_size=config.micro_batch_size):
                part.backward()
                losses[-1] += part.item()
            norm = torch.nn.utils.clip_grad_norm_(parameters, config.grad_clip).item()
            broken = not_finite({"loss": losses[-1], "gradient": norm})
            if broken:
                break
            optimizer.step()
            average.update(policy.model, min(config.ema_decay, (total + 1) / (total + 10)))
        else:
            with average.in_place_in(policy.model):
                score = validate(policy)
            broken = not_finite({"held-out score": score})
        if broken:
            _end_diverged(progress, f"{broken} in round {round_index + 1}")
            break
        _judge(progress, score)
        progress.loss.append(float(np.mean(losses)))
        if not on_round(progress, lambda: _state(policy, optimizer, progress)):
            return progress
    put(policy.model, progress.best)
    return progress


def _end_diverged(progress: SftProgress, how: str) -> None:
    if not progress.score:
        raise DivergedError(f"the {how}; lower the learning rate")
    kept = f"round {progress.best_round + 1} is kept"
    progress.diverged = f"The {how}: {kept}, and with a lower learning rate there might be a better one"


def _judge(progress: SftProgress, score: float) -> None:
    if not progress.score or score > max(progress.score):
        progress.best = {name: value.clone() for name, value in progress.average.items()}
    progress.score.append(score)


def _state(policy: Pi05Policy, optimizer: torch.optim.AdamW, progress: SftProgress) -> TrainerState:
    tensors = optimizer_tensors(optimizer, policy.model)
    tensors |= {f"average.{name}": value.clone() for name, value in progress.average.items()}
    tensors |= {f"best.{name}": value for name, value in progress.best.items()}
    return TrainerState(tensors=tensors, values={"stage": "sft", "score": progress.score, "loss": progress.loss})


def _restore(policy: Pi05Policy, optimizer: torch.optim.AdamW, state: TrainerState) -> SftProgress:
    def part(prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): v.clone() for k, v in state.tensors.items() if k.startswith(prefix)}

    own = {k: v for k, v in state.tensors.items() if not k.startswith(("average.", "best."))}
    restore_optimizer(optimizer, policy.model, own)
    return SftProgress(
        score=list(state.values["score"]),
        loss=list(state.values["loss"]),
        average=part("average."),
        best=part("best."),
    )
