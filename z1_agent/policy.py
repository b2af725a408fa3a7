"""The policy: observations in, chunks and their likelihood out.

B lanes, H chunk length, A the env's 12 action entries, K denoising steps. The network works on its own
action width (12 for nano, 32 for the published weights): a path keeps that width, a chunk has the env's.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from z1_agent import flow, lora
from z1_agent.flow import FlowSDE
from z1_agent.lora import Adapters
from z1_agent.memory import micro_batches
from z1_agent.observation import Normalizer, Observation, ObservationEncoder, take
from z1_agent.pi05 import Pi05, Pi05Config, Prefix
from z1_agent.precision import ComputeDtype, as_dtype
from z1_agent.sampler import Graphs
from z1_agent.tokenizer import PromptFormat, Tokenizer
from z1_envs.layout import ACTION, CAMERAS


@dataclass(frozen=True)
class Sample:
    """One decision of B lanes.

    chunk: float32 [B, E, 12], the E steps to execute, in the env's action space. path: [B, K+1, H, A] in
    model space, noise first. index: int64 [B], the random step of each path (`flow.EVERY_STEP` for all).
    logprob: float32 [B].
    """

    chunk: NDArray
    path: Tensor
    index: Tensor
    logprob: Tensor


class Policy(Protocol):
    """What rollouts and updates need of a policy. Every policy is also an agent, through `act`."""

    def encode(self, observation: Observation) -> Prefix: ...
    def sample(self, prefix: Prefix, generator: torch.Generator) -> Sample: ...
    def log_prob(self, observation_or_prefix: Observation | Prefix, path: Tensor, index: Tensor) -> Tensor: ...
    def act(self, observation: Observation) -> NDArray: ...


@dataclass(frozen=True, kw_only=True)
class PolicyConfig:
    """model: the network. sde: how paths are sampled. executed_len: chunk steps that reach the env [steps].

    cameras: which images the policy reads, in the order of the prefix; empty for none. prompt_format: what the
    tokens say. compute_dtype: the precision that sampling, scoring and training share; see precision. adapters: which
    low-rank adapters the network has, see lora; training puts them there (`trainable.select`).

    Raises ValueError where the parts do not fit each other.
    """

    model: Pi05Config
    sde: FlowSDE
    executed_len: int
    cameras: tuple[str, ...] = ()
    prompt_format: PromptFormat = PromptFormat.STATE
    compute_dtype: ComputeDtype = "float32"
    adapters: Adapters | None = None

    def __post_init__(self) -> None:
        as_dtype(self.compute_dtype)
        if not 1 <= self.executed_len <= self.model.chunk_len:
            raise ValueError(f"executed_len is {self.executed_len}; it lies in 1..{self.model.chunk_len} (chunk_len)")
        if self.model.action_width < ACTION.width:
            raise ValueError(f"model.action_width is {self.model.action_width}; the env has {ACTION.width} entries")
        unknown = [camera for camera in self.cameras if camera not in CAMERAS]
        if unknown:
            raise ValueError(f"no camera {', '.join(unknown)}; choose among {', '.join(CAMERAS)}")
        twice = [camera for index, camera in enumerate(self.cameras) if camera in self.cameras[:index]]
        if twice:
            raise ValueError(f"cameras names {', '.join(twice)} more than once; give each camera once")
        if bool(self.cameras) != (self.model.vision is not None):
            raise ValueError(
                f"cameras is {self.cameras} and model.vision is {self.model.vision}: "
                f"a policy that reads cameras has a vision tower, and the other way round"
            )


class Pi05Policy(nn.Module):
    """π0.5 with its normalisation, prompt and Flow-SDE."""

    def __init__(self, config: PolicyConfig, normalizer: Normalizer, tokenizer: Tokenizer) -> None:
        super().__init__()
        if tokenizer.vocab_size > config.model.vocab_size:
            raise ValueError(
                f"tokenizer {tokenizer.name} has {tokenizer.vocab_size} tokens, the model's vocab_size is "
                f"{config.model.vocab_size}; raise vocab_size"
            )
        if len(normalizer.scene_mean) != config.model.scene_width:
            raise ValueError(
                f"the normalizer has {len(normalizer.scene_mean)} scene entries, the model's scene_width is "
                f"{config.model.scene_width}; fit the normalizer on the scene that the policy reads"
            )
        self.config = config
        self.normalizer = normalizer
        self.tokenizer = tokenizer
        self._executed: Tensor
        self.model = Pi05(config.model)
        if config.adapters is not None:
            lora.insert(self.model, config.adapters)
        self.compute_in(config.compute_dtype)
        self._read = ObservationEncoder(
            normalizer=normalizer,
            tokenizer=tokenizer,
            cameras=config.cameras,
            reads_scene=config.model.scene_width > 0,
            image_px=config.model.vision.image_px if config.model.vision is not None else 0,
            prompt_format=config.prompt_format,
        )
        # What of a chunk [H, A] reaches the env: its first steps, in the entries that demonstrations move.
        # Made by numpy: no checkpoint holds it, so it needs its values where a loader builds the rest on "meta".
        reaches = np.zeros((config.model.chunk_len, config.model.action_width), dtype=bool)
        reaches[: config.executed_len, : ACTION.width] = normalizer.action_moves
        self.register_buffer("_executed", torch.from_numpy(reaches), persistent=False)
        self._act_noise = torch.Generator().manual_seed(0)
        self._graphs: Graphs | None = None

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.action_out.weight.device

    def compute_in(self, dtype: ComputeDtype) -> None:
        """Sample, score and train in `dtype` from now on; the weights stay as they are stored.

        Raises ValueError where there is no such precision.
        """
        self.model.compute_dtype = as_dtype(dtype)
        self.config = replace(self.config, compute_dtype=dtype)

    def use_graphs(self) -> str:
        """Sample by CUDA graphs from now on where the weights are on a GPU. Says in words what happens instead where
        they are not.
        """
        if self.device.type != "cuda":
            return f"CUDA graphs need a CUDA device; the policy is on {self.device} and samples without them"
        self._graphs = Graphs(self.model, self.config.sde)
        return f"sampling by CUDA graphs on {torch.cuda.get_device_name(self.device)}"

    def reset(self, seed: int) -> None:
        """Seed the noise that `act` starts from."""
        self._act_noise.manual_seed(seed)

    def check(self, observation: Observation) -> None:
        """Raises ValueError where a part of `observation` does not fit, such as a long prompt; without the network."""
        self._read(observation, self.device)

    def encode(self, observation: Observation) -> Prefix:
        """The prefix of B observations, in the autograd graph where the vision-language model trains."""
        inputs = self._read(observation, self.device)
        runner = None if torch.is_grad_enabled() else self._graphs
        return self.model.encode(inputs.tokens, inputs.token_mask, inputs.images, None, inputs.scene, runner)

    @torch.no_grad()
    def sample(self, prefix: Prefix, generator: torch.Generator) -> Sample:
        """One random decision per row of `prefix`."""
        index = flow.draw_index(self.config.sde, len(prefix), generator).to(self.device)
        noise = self._noise(len(prefix), generator)
        draws = flow.draw_steps(self.config.sde, noise, generator)
        path = self._walk(prefix, noise, index, draws)
        logprob = flow.log_prob_of_draws(self.config.sde, draws, index, executed=self._executed)
        return Sample(self._env_chunk(path[:, -1]), path, index, logprob)

    def log_prob(self, observation_or_prefix: Observation | Prefix, path: Tensor, index: Tensor) -> Tensor:
        """Log-density float32 [B] of the executed part of `path` [B, K+1, H, A] at its random steps
        `index` [B].
        """
        prefix = self._prefix(observation_or_prefix)
        return flow.log_prob(self.config.sde, self._velocity(prefix), path, index, executed=self._executed)

    def loss(
        self,
        observation_or_prefix: Observation | Prefix,
        actions: NDArray,
        generator: torch.Generator,
        mask: NDArray | None = None,
    ) -> Tensor:
        """Flow-matching loss, a scalar, of demonstrated `actions` [B, H, 12] in the env's space.

        mask: bool [B, H], False for chunk steps behind the end of a demonstration.

        Raises ValueError where `actions` have another shape.
        """
        expected = (self.config.model.chunk_len, ACTION.width)
        if actions.shape[1:] != expected:
            raise ValueError(f"actions need shape [B, {expected[0]}, {expected[1]}], got {list(actions.shape)}")
        [loss] = self.loss_parts(observation_or_prefix, actions, generator, mask, micro_batch_size=None)
        return loss

    def loss_parts(
        self,
        observation_or_prefix: Observation | Prefix,
        actions: NDArray,
        generator: torch.Generator,
        mask: NDArray | None = None,
        *,
        micro_batch_size: int | None,
    ) -> Iterator[Tensor]:
        """Scalars whose sum is `loss`, one per micro-batch of at most `micro_batch_size` rows, each computed when it is
        asked for. The random draws are those of the whole batch.
        """
        target = torch.from_numpy(self.normalizer.action(actions)).to(self.device)
        target = nn.functional.pad(target, (0, self.config.model.action_width - ACTION.width))
        noise, t = flow.draw_matching(target, generator)
        real = torch.ones(target.shape[:2], dtype=torch.bool) if mask is None else torch.from_numpy(mask)
        real = real.to(self.device)
        for rows in micro_batches(len(actions), micro_batch_size):
            given = observation_or_prefix
            part = given.repeat(torch.arange(len(given))[rows]) if isinstance(given, Prefix) else take(given, rows)
            velocity = self._velocity(self._prefix(part))
            error = flow.flow_matching_error(velocity, target[rows], noise[rows], t[rows])
            yield error[real[rows]].sum() / (real.sum() * error.shape[2])

    @torch.no_grad()
    def act(self, observation: Observation) -> NDArray:
        """The chunk float32 [B, E, 12] to execute, by the ordinary flow from fresh noise."""
        prefix = self.encode(observation)
        noise = self._noise(len(prefix), self._act_noise)
        index = torch.full((len(noise),), flow.NO_STEP, device=noise.device)
        return self._env_chunk(self._walk(prefix, noise, index, torch.zeros_like(noise)[None])[:, -1])

    def _prefix(self, observation_or_prefix: Observation | Prefix) -> Prefix:
        if isinstance(observation_or_prefix, Prefix):
            return observation_or_prefix
        return self.encode(observation_or_prefix)

    def _velocity(self, prefix: Prefix) -> flow.Velocity:
        field = self.model.field(prefix)
        return lambda x, t: field(x, self.model.modulations(t))

    def _walk(self, prefix: Prefix, noise: Tensor, index: Tensor, draws: Tensor) -> Tensor:
        if self._graphs is not None:
            return self._graphs.walk(prefix, noise, index, draws)
        return flow.walk(self.config.sde, self._velocity(prefix), noise, index, draws)

    def _noise(self, batch: int, generator: torch.Generator) -> Tensor:
        shape = (batch, self.config.model.chunk_len, self.config.model.action_width)
        return torch.randn(shape, generator=generator, device=generator.device).to(self.device)

    def _env_chunk(self, actions: Tensor) -> NDArray:
        executed = actions[:, : self.config.executed_len, : ACTION.width]
        return self.normalizer.env_action(executed.float().cpu().numpy())
