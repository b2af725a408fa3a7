"""Flow matching and Flow-SDE: the likelihood of a flow policy. Pure functions of a velocity field.

t = 1 is noise, t = 0 is the action; the flow follows dx = v(x, t) dt from 1 to 0 on the grid 1, (K-1)/K,
…, 1/K, 0. At index i, with t = grid[i] and δ = grid[i] - grid[i+1]:

    ordinary step    x ← x - δ·v
    random step      x ← μ + std·z,   μ = x - δ·v - (σ²δ / 2t)·(x + (1-t)·v),   std = σ·√δ
                     σ = a·√(t / (1-t)), with grid[1] for the t of the denominator where t = 1

x + (1-t)·v estimates the noise end of the path, so the correction is the score term that keeps every
marginal where the ordinary flow has it, as far as steps are small: few steps with much noise end wider. With the
opposite sign the final standard deviation triples.
Sources: Flow-GRPO, arXiv 2505.05470; πRL, arXiv 2510.25889.

Axes: B batch, K denoising steps, H chunk length, A action width. A path is [B, K+1, H, A], noise first.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from z1_envs.arguments import check_choice, check_positive, check_whole

Velocity = Callable[[Tensor, Tensor], Tensor]
"""(x [B, H, A], t [B], or [1] where all rows share it) → dx/dt [B, H, A]."""

EVERY_STEP = -1
"""The value of `index` for a path whose every step was random."""

NO_STEP = -2
"""The value of `index` for a path of the ordinary flow."""

# Beta(1.5, 1) favours noisy times; the offset keeps t away from 0, where the target no longer depends on x.
# Source: π0, arXiv 2410.24164, appendix B.
_BETA_CONCENTRATION, _TIME_SCALE, _TIME_OFFSET = 1.5, 0.999, 0.001


@dataclass(frozen=True, kw_only=True)
class FlowSDE:
    """How a path is sampled.

    num_steps: K. noise: the level a > 0. stochastic: "one" draws one random step per
    sample, "all" makes every step random. The Z-1 paper states both (D.4 and D.3).
    """

    num_steps: int = 4
    noise: float = 0.5
    stochastic: Literal["one", "all"] = "one"

    def __post_init__(self) -> None:
        check_whole("num_steps", self.num_steps, least=2)  # a random first step needs another
        check_positive("noise", self.noise)  # without it paths have no likelihood
        check_choice("stochastic", self.stochastic, ("one", "all"))


def time_grid(num_steps: int, device: torch.device | None = None) -> Tensor:
    """The K+1 times 1, (K-1)/K, …, 1/K, 0."""
    grid = torch.linspace(1, 1 / num_steps, num_steps, device=device)
    return torch.cat([grid, grid.new_zeros(1)])


def transition(sde: FlowSDE, x: Tensor, velocity: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [B, H, A] and standard deviation [B, 1, 1] of the random step from x [B, H, A] at `index`
    int64 [B].
    """
    t, delta, sigma = _coefficients(sde, index)
    correction = sigma**2 * delta / (2 * t)
    return x - delta * velocity - correction * (x + (1 - t) * velocity), sigma * delta.sqrt()


def _coefficients(sde: FlowSDE, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    grid = time_grid(sde.num_steps, index.device)
    t = grid[index].view(-1, 1, 1)
    delta = t - grid[index + 1].view(-1, 1, 1)
    return t, delta, sde.noise * (t / (1 - torch.where(t == 1, grid[1], t))).sqrt()


def draw_index(sde: FlowSDE, batch: int, generator: torch.Generator) -> Tensor:
    """Which step of each sample is random, int64 [B]; EVERY_STEP for stochastic="all"."""
    if sde.stochastic == "all":
        return torch.full((batch,), EVERY_STEP, device=generator.device)
    return torch.randint(sde.num_steps, (batch,), generator=generator, device=generator.device)


def draw_steps(sde: FlowSDE, noise: Tensor, generator: torch.Generator) -> Tensor:
    """The standard normal draws of the random steps from `noise` [B, H, A]: [K, B, H, A] for "all", [1, B, H, A] for
    "one".
    """
    num_draws = sde.num_steps if sde.stochastic == "all" else 1
    return torch.randn((num_draws, *noise.shape), generator=generator, device=generator.device).to(noise.device)


def log_prob_of_draws(sde: FlowSDE, draws: Tensor, index: Tensor, *, executed: Tensor) -> Tensor:
    """The log-density [B], as `log_prob` defines it, of the path that `draws` (see `draw_steps`) make at `index`."""
    logprobs = []
    for z, step in zip(draws, _random_steps(sde, index), strict=True):
        _, delta, sigma = _coefficients(sde, step)
        logprobs.append(_log_density(z, sigma * delta.sqrt(), executed))
    return torch.stack(logprobs).sum(0)


def walk(sde: FlowSDE, velocity: Velocity, noise: Tensor, index: Tensor, draws: Tensor) -> Tensor:
    """A path [B, K+1, H, A] from `noise` [B, H, A], random at `index` (int64 [B], see `draw_index`) by `draws` (see
    `draw_steps`).
    """
    times = time_grid(sde.num_steps, noise.device)[:-1]
    return walk_along(sde, [_at(velocity, t) for t in times], noise, index, draws)


def _at(velocity: Velocity, t: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda x: velocity(x, t[None])


def walk_along(
    sde: FlowSDE, velocities: Sequence[Callable[[Tensor], Tensor]], noise: Tensor, index: Tensor, draws: Tensor
) -> Tensor:
    """As `walk`, with a velocity of x alone for each of the K times. Where `index` is NO_STEP, the ordinary flow."""
    grid = time_grid(sde.num_steps, noise.device)
    path = [noise]
    for step, velocity in enumerate(velocities):
        x, t = path[-1], grid[step]
        v = velocity(x)
        mean, std = transition(sde, x, v, torch.full_like(index, step))
        chosen = ((index == step) | (index == EVERY_STEP)).view(-1, 1, 1)
        path.append(torch.where(chosen, mean + std * draws[step % len(draws)], x - (t - grid[step + 1]) * v))
    return torch.stack(path, dim=1)


def log_prob(sde: FlowSDE, velocity: Velocity, path: Tensor, index: Tensor, *, executed: Tensor) -> Tensor:
    """Log-density float32 [B] of the random steps of `path` [B, K+1, H, A] at `index` int64 [B].

    Summed where `executed` (bool [H, A]) is true: what is predicted but never reaches the env must not move
    the ratio.

    Raises ValueError where `path` does not have K+1 points.
    """
    if path.shape[1] != sde.num_steps + 1:
        raise ValueError(f"a path of {sde.num_steps} steps has {sde.num_steps + 1} points, got {path.shape[1]}")
    rows = torch.arange(len(path), device=path.device)
    grid = time_grid(sde.num_steps, path.device)
    logprobs = []
    for step in _random_steps(sde, index):
        x, following = path[rows, step], path[rows, step + 1]
        mean, std = transition(sde, x, velocity(x, grid[step]).float(), step)
        logprobs.append(_log_density((following - mean) / std, std, executed))
    return torch.stack(logprobs).sum(0)


def _random_steps(sde: FlowSDE, index: Tensor) -> list[Tensor]:
    if sde.stochastic == "one":
        return [index]
    return [torch.full_like(index, step) for step in range(sde.num_steps)]


def _log_density(z: Tensor, std: Tensor, executed: Tensor) -> Tensor:
    density = -0.5 * z**2 - std.log() - 0.5 * math.log(2 * math.pi)
    return (density * executed).sum((1, 2))


def draw_time(batch: int, generator: torch.Generator) -> Tensor:
    """Training times [B] in [0.001, 1]: Beta(1.5, 1) scaled and shifted, by inversion of its
    distribution t^1.5.
    """
    uniform = torch.rand(batch, generator=generator, device=generator.device)
    return uniform ** (1 / _BETA_CONCENTRATION) * _TIME_SCALE + _TIME_OFFSET


def draw_matching(actions: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """For `flow_matching_error`: noise as `actions` [B, H, A] and training times [B]."""
    t = draw_time(len(actions), generator).to(actions.device)
    noise = torch.randn(actions.shape, generator=generator, device=generator.device).to(actions.device)
    return noise, t


def flow_matching_error(velocity: Velocity, actions: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """Squared error [B, H, A] of the velocity on the straight path t·noise + (1-t)·actions at t [B]."""
    along = t.view(-1, 1, 1)
    predicted = velocity(along * noise + (1 - along) * actions, t)
    return (noise - actions - predicted.float()).square()
