"""Flow-SDE against stored numbers, against closed forms in one dimension, and against torch.distributions."""

import copy
import itertools
import math

import pytest
import torch

from tests.z1_agent.conftest import ordinary_flow
from z1_agent import flow
from z1_agent.flow import EVERY_STEP, FlowSDE
from z1_agent.loss import clipped_surrogate

PARITY = 1e-5
GRIDS = {"n4": (4, 0.5), "n10": (10, 0.5), "n5a07": (5, 0.7)}


def part_of(shape: tuple[int, int], steps: int, entries: int) -> torch.Tensor:
    """The first `steps` of a chunk in its first `entries`, as a mask of `shape` [H, A]."""
    mask = torch.zeros(shape, dtype=torch.bool)
    mask[:steps, :entries] = True
    return mask


STORED_PART = part_of((10, 32), 8, 12)  # what the stored log-probs cover


def close(came, expected, tolerance=PARITY):
    torch.testing.assert_close(came, expected, atol=tolerance, rtol=tolerance)


def sde_of(name: str) -> FlowSDE:
    num_steps, noise = GRIDS[name]
    return FlowSDE(num_steps=num_steps, noise=noise)


@pytest.fixture
def velocity(reference, reference_prefix):
    def field(x, t):
        with torch.no_grad():
            return reference.model.velocity(reference_prefix, x, t)

    return field


@pytest.mark.parametrize("num_steps", [4, 10])
def test_euler_actions_match_reference(reference, velocity, num_steps):
    # The reference accumulates t in float32, and its last digit is visible: take its times.
    times = iter(reference.io[f"out.euler{num_steps}.t"].T)
    actions = ordinary_flow(lambda x, t: velocity(x, next(times)), reference.io["in.noise"], num_steps)
    close(actions, reference.io[f"out.euler{num_steps}.actions"])


@pytest.mark.parametrize("name", GRIDS)
def test_transitions_match_reference(reference, name):
    sde, x = sde_of(name), reference.io["in.noise"]
    for i in range(sde.num_steps):
        mean, std = flow.transition(sde, x, reference.sde[f"{name}.v.{i}"], torch.full((3,), i))
        close(mean, reference.sde[f"{name}.mean.{i}"])
        close(std.flatten(), reference.sde[f"{name}.std.{i}"], 1e-6)


@pytest.mark.parametrize("name", GRIDS)
def test_paths_and_logprobs_match_reference(reference, velocity, name):
    sde, noise = sde_of(name), reference.io["in.noise"]
    for i in (0, sde.num_steps - 1):
        stored = {key: reference.sde[f"{name}.roll{i}.{key}"] for key in ("z", "chain", "logprob")}
        index = torch.full((3,), i)
        path = flow.walk(sde, velocity, noise, index, stored["z"][None])
        close(path, stored["chain"])
        # On the stored path, so that a rounding of the path is not divided by a small std. A sum of 96 terms.
        came = flow.log_prob(sde, velocity, stored["chain"], index, executed=STORED_PART)
        close(came / 96, stored["logprob"].sum((1, 2)) / 96)


def test_every_row_has_its_own_index(reference, velocity):
    index = reference.sde["n4.mixed.inds"][:, 0]
    assert len(set(index.tolist())) > 1
    path = reference.sde["n4.mixed.chain"]
    came = flow.log_prob(sde_of("n4"), velocity, path, index, executed=STORED_PART)
    close(came / 96, reference.sde["n4.mixed.logprob"].sum((1, 2)) / 96)


def test_every_step_random_matches_reference(reference, velocity):
    sde = FlowSDE(num_steps=4, noise=0.5, stochastic="all")
    index = torch.full((3,), EVERY_STEP)
    draws = reference.sde["n4.joint.z"].transpose(0, 1)
    path = flow.walk(sde, velocity, reference.io["in.noise"], index, draws)
    close(path, reference.sde["n4.joint.chain"])
    # The stored terms begin with the density of the noise, which does not depend on the policy.
    expected = reference.sde["n4.joint.logprob_terms"][:, 1:, :8, :12].sum((1, 2, 3))
    came = flow.log_prob(sde, velocity, reference.sde["n4.joint.chain"], index, executed=STORED_PART)
    close(came / (4 * 96), expected / (4 * 96))


def test_grpo_loss_and_gradient_match_reference(reference, reference_prefix):
    """Two of three stored decisions, judged by weights that have moved a little since they were sampled."""
    sde, stored = sde_of("n4"), reference.sde
    model = copy.deepcopy(reference.model)
    weights = dict(model.named_parameters())
    moved = [name.removeprefix("n4.loss.w.") for name in stored if name.startswith("n4.loss.w.")]
    assert len(moved) == 5
    with torch.no_grad():
        for name in moved:
            ours = name.replace("_proj", "")
            weights[ours if ours in weights else f"{ours}.weight"].copy_(stored[f"n4.loss.w.{name}"])
    rows, index = slice(0, 2), torch.full((3,), 1)  # the third is masked
    assert stored["n4.loss.mask"].tolist() == [True, True, False]
    old, advantage = stored["n4.roll1.logprob"].sum((1, 2))[rows], stored["n4.loss.adv"][rows]
    new = stored["n4.loss.new_logprob"].sum((1, 2))
    close(clipped_surrogate(new[rows], old, advantage, 0.2).loss, stored["n4.loss.chunk_level"][0])
    # From our own log-probs: sums of 96 terms near -60, whose last digit is 4e-6, in the exponent of the ratio.
    came = flow.log_prob(
        sde,
        lambda x, t: model.velocity(reference_prefix, x, t),
        stored["n4.roll1.chain"],
        index,
        executed=STORED_PART,
    )
    close(came / 96, new / 96, 1e-6)
    loss = clipped_surrogate(came[rows], old, advantage, 0.2).loss
    close(loss, stored["n4.loss.chunk_level"][0], 2e-5)
    loss.backward()
    gradient, expected = weights["action_out.bias"].grad, stored["n4.loss.grad.action_out_proj.bias"]
    assert gradient is not None
    assert (gradient - expected).norm() <= 2e-5 * expected.norm()


def gaussian_velocity(std: float):
    """The exact field for a target N(0, std²): E[noise - action | x] with x = t·noise + (1-t)·action."""

    def field(x, t):
        t = t.view(-1, 1, 1)
        return x * (t - (1 - t) * std**2) / (t**2 + (1 - t) ** 2 * std**2)

    return field


def sampled(sde: FlowSDE, field: flow.Velocity, noise: torch.Tensor, index: torch.Tensor, generator: torch.Generator):
    """A path [B, K+1, H, A] from `noise`, and its draws."""
    draws = flow.draw_steps(sde, noise, generator)
    return flow.walk(sde, field, noise, index, draws), draws


def final_std(sde: FlowSDE, samples: int = 20_000) -> float:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(samples, 1, 1, generator=generator)
    index = flow.draw_index(sde, samples, generator)
    path, _ = sampled(sde, gaussian_velocity(0.5), noise, index, generator)
    return path[:, -1].std().item()


def test_random_steps_keep_the_marginal():
    # Standard error of a standard deviation of 20 000 samples: 0.5 / √40 000 = 0.0025.
    assert final_std(FlowSDE(num_steps=100, stochastic="all")) == pytest.approx(0.5, abs=0.01)


def test_the_opposite_sign_of_the_correction_triples_the_spread(monkeypatch):
    exact = flow.transition

    def flipped(sde, x, velocity, index):
        mean, std = exact(sde, x, velocity, index)
        ordinary = x - velocity / sde.num_steps
        return 2 * ordinary - mean, std

    monkeypatch.setattr(flow, "transition", flipped)
    assert final_std(FlowSDE(num_steps=100, stochastic="all")) > 1.4


def test_one_random_step_moves_only_that_step():
    sde = FlowSDE(num_steps=4)
    index = torch.tensor([0, 1, 2, 3])
    noise = torch.randn(4, 3, 2, generator=torch.Generator().manual_seed(0))
    field = gaussian_velocity(0.5)
    path, _ = sampled(sde, field, noise, index, torch.Generator().manual_seed(1))
    grid = flow.time_grid(4)
    for row in range(4):
        for step in range(4):
            x = path[row : row + 1, step]
            ordinary = x - 0.25 * field(x, grid[step : step + 1])
            same = torch.allclose(path[row : row + 1, step + 1], ordinary, atol=1e-6)
            assert same == (step != row)


def test_ordinary_flow_converges_with_order_one():
    noise = torch.linspace(-2, 2, 9, dtype=torch.float64).view(-1, 1, 1)
    field = gaussian_velocity(0.5)
    exact = 0.5 * noise  # the flow of a Gaussian scales it
    errors = [(ordinary_flow(field, noise, n) - exact).abs().max().item() for n in (20, 40, 80, 160)]
    orders = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert all(0.85 < order < 1.15 for order in orders), orders


def test_log_prob_is_the_normal_density_of_the_executed_part():
    sde = FlowSDE(num_steps=5, noise=0.7)
    field = gaussian_velocity(0.5)
    path = torch.randn(6, 6, 4, 3, generator=torch.Generator().manual_seed(0))
    index = torch.tensor([0, 1, 2, 3, 4, 2])
    came = flow.log_prob(sde, field, path, index, executed=part_of((4, 3), 2, 3))
    for row, i in enumerate(index):
        x = path[row : row + 1, i]
        mean, std = flow.transition(sde, x, field(x, flow.time_grid(5)[i : i + 1]), i[None])
        density = torch.distributions.Normal(mean, std).log_prob(path[row : row + 1, i + 1])
        assert came[row].item() == pytest.approx(density[:, :2].sum().item(), rel=1e-5)
    moved = path.clone()
    moved[:, :, 2:] += 1.0
    torch.testing.assert_close(flow.log_prob(sde, field, moved, index, executed=part_of((4, 3), 2, 3)), came)


@pytest.mark.parametrize("stochastic", ["one", "all"])
def test_the_sampled_log_density_is_that_of_the_path(stochastic):
    sde = FlowSDE(num_steps=5, stochastic=stochastic)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(7, 4, 3, generator=generator)
    index = flow.draw_index(sde, 7, generator)
    field = gaussian_velocity(0.5)
    path, draws = sampled(sde, field, noise, index, generator)
    logprob = flow.log_prob_of_draws(sde, draws, index, executed=part_of((4, 3), 2, 3))
    # (x' - mean) / std loses some 1e-7 · |x'| / 0.1 to rounding in each of up to 30 terms.
    torch.testing.assert_close(
        flow.log_prob(sde, field, path, index, executed=part_of((4, 3), 2, 3)), logprob, atol=1e-4, rtol=1e-5
    )


def test_training_times_follow_their_distribution():
    t = flow.draw_time(100_000, torch.Generator().manual_seed(0))
    assert 0.001 <= t.min() <= t.max() <= 1
    # Beta(1.5, 1): mean 0.6, P(u < 0.25) = 0.25^1.5 = 0.125. Standard errors 0.0008 and 0.001.
    u = (t - 0.001) / 0.999
    assert u.mean().item() == pytest.approx(0.6, abs=0.003)
    assert (u < 0.25).float().mean().item() == pytest.approx(0.125, abs=0.004)


def test_flow_matching_is_minimal_at_the_exact_field():
    actions = 0.5 * torch.randn(20_000, 1, 1, generator=torch.Generator().manual_seed(0))

    def loss(field):
        noise, t = flow.draw_matching(actions, torch.Generator().manual_seed(1))
        return flow.flow_matching_error(field, actions, noise, t).mean().item()

    exact = gaussian_velocity(0.5)
    best = loss(exact)
    assert best < loss(lambda x, t: exact(x, t) + 0.2)
    assert best < loss(lambda x, t: 1.2 * exact(x, t))
    assert best < loss(lambda x, t: 0.8 * exact(x, t))


def test_indices_cover_all_steps_alike():
    index = flow.draw_index(FlowSDE(num_steps=4), 40_000, torch.Generator().manual_seed(0))
    assert torch.bincount(index).tolist() == pytest.approx([10_000] * 4, rel=0.04)


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="at least 2"):
        FlowSDE(num_steps=1)
    with pytest.raises(ValueError, match="stochastic must be one of one, all, got 'some'"):
        FlowSDE(stochastic="some")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="has 5 points, got 4"):
        flow.log_prob(
            FlowSDE(),
            gaussian_velocity(1.0),
            torch.zeros(1, 4, 1, 1),
            torch.tensor([0]),
            executed=part_of((1, 1), 1, 1),
        )


@pytest.mark.parametrize("noise", [0.0, -1.0, math.nan, math.inf])
def test_paths_need_a_finite_noise(noise: float) -> None:
    with pytest.raises(ValueError, match=rf"noise must be a finite number above 0, got {noise}"):
        FlowSDE(noise=noise)
