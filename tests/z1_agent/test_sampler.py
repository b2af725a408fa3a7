"""The fast denoising loop and its recordings against the plain loop; CUDA graphs where there is a GPU."""

import pytest
import torch

from tests.z1_agent.conftest import nano_policy, observation
from z1_agent import flow
from z1_agent.flow import NO_STEP
from z1_agent.lora import Adapters, LoraConfig, insert, merge
from z1_agent.sampler import Graphs, padded_prefix, rounded, walk, with_rows

PARITY = 1e-5


def close(came, expected):
    torch.testing.assert_close(came, expected, atol=PARITY, rtol=PARITY)


def trained_policy(**options):
    """A nano policy whose outputs and modulations are not near zero, as those of a fresh one are."""
    policy = nano_policy(**options)
    with torch.no_grad():
        for name, parameter in policy.model.named_parameters():
            if "modulation" in name or "action_out" in name:
                parameter.add_(0.1 * torch.randn(parameter.shape))
    return policy


def case(policy, batch=3, *, mixed=True):
    """A prefix of rows of different lengths, or of one, and what a path needs."""
    seen = observation(batch, vision=policy.config.model.vision is not None)
    seen["instruction"] = ["open the left drawer"] * batch
    if mixed:
        seen["instruction"][-1] = "pick the apple from the counter and place it in the cabinet"
    with torch.no_grad():
        prefix = policy.encode(seen)
    assert prefix.full == (not mixed)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(batch, 10, 12, generator=generator)
    index = torch.tensor([0, NO_STEP, 2, 3, 1])[:batch]
    return prefix, noise, index, flow.draw_steps(policy.config.sde, noise, generator)


@torch.no_grad()
def plainly(policy, prefix, noise, index, draws):
    return flow.walk(policy.config.sde, lambda x, t: policy.model.velocity(prefix, x, t), noise, index, draws)


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("stochastic", ["one", "all"])
def test_modulations_of_the_whole_grid_give_the_same_path(mixed, stochastic):
    policy = trained_policy(stochastic=stochastic)
    given = case(policy, mixed=mixed)
    with torch.no_grad():
        close(walk(policy.model, policy.config.sde, *given), plainly(policy, *given))


def test_the_modulations_follow_the_weights():
    policy = trained_policy()
    given = case(policy)
    with torch.no_grad():
        before = walk(policy.model, policy.config.sde, *given)
        policy.model.expert.norm.modulation.bias.add_(0.5)
        after = walk(policy.model, policy.config.sde, *given)
    assert (after - before).abs().max() > 1e-3
    close(after, plainly(policy, *given))


def test_a_step_of_nobody_is_the_ordinary_flow():
    policy = trained_policy()
    prefix, noise, _, draws = case(policy)
    path = plainly(policy, prefix, noise, torch.full((3,), NO_STEP), draws)
    x, grid = noise, flow.time_grid(4)
    with torch.no_grad():
        for step in range(4):
            x = x - (grid[step] - grid[step + 1]) * policy.model.velocity(prefix, x, grid[step : step + 1])
    assert torch.equal(path[:, -1], x)


def test_the_loop_and_the_trunk_compile_without_a_graph_break():
    """fullgraph=True raises at the first break. The backend runs what was traced as it is: tracing is the test."""
    torch.compiler.reset()
    policy = trained_policy()
    given = case(policy)
    with torch.no_grad():
        compiled = torch.compile(walk, fullgraph=True, backend="eager")
        close(compiled(policy.model, policy.config.sde, *given), plainly(policy, *given))
        x, mask = torch.randn(3, 9, 64), torch.arange(9) < torch.tensor([[9], [4], [7]])
        trunk = torch.compile(policy.model.trunk, fullgraph=True, backend="eager")
        close(trunk(x, mask, False).keys, policy.model.trunk(x, mask, False).keys)


def test_sizes_are_rounded_up_by_hand():
    assert [rounded(batch, 968)[0] for batch in (1, 2, 3, 4, 5, 33)] == [1, 2, 4, 4, 8, 64]
    assert [rounded(1, length)[1] for length in (1, 8, 9, 968)] == [8, 8, 16, 968]


def test_what_is_added_changes_no_row():
    policy = trained_policy()
    prefix, noise, index, draws = case(policy, mixed=False)
    length = prefix.mask.shape[1]
    larger = padded_prefix(prefix, 4, length + 5)
    assert larger.mask.sum(1).tolist() == [length] * 4
    assert not larger.full
    assert padded_prefix(prefix, 4, length).full
    path = plainly(policy, larger, with_rows(noise, 4), with_rows(index, 4), with_rows(draws, 4, 1))
    close(path[:3], plainly(policy, prefix, noise, index, draws))
    assert torch.equal(path[3], path[2])


class Counted:
    """Records nothing: runs the function on buffers of the recorded shapes, as a graph would, and counts."""

    def __init__(self):
        self.made = 0

    def __call__(self, function, inputs):
        self.made += 1
        buffers = [tensor.clone() for tensor in inputs]

        def replay(given):
            for buffer, tensor in zip(buffers, given, strict=True):
                buffer.copy_(tensor)
            return tuple(made.clone() for made in function(*buffers))

        return replay


@pytest.mark.parametrize("vision", [False, True])
def test_recordings_give_what_the_network_gives(vision):
    policy, counted = trained_policy(vision=vision), Counted()
    policy._graphs = Graphs(policy.model, policy.config.sde, record=counted)
    plain = trained_policy(vision=vision)
    plain.load_state_dict(policy.state_dict())
    for batch in (3, 4, 3):
        seen = observation(batch, vision=vision, seed=batch)
        close(policy.act(seen), plain.act(seen))
        with torch.no_grad():
            ours, theirs = policy.encode(seen), plain.encode(seen)
        close((ours.keys, ours.values), (theirs.keys, theirs.values))
        came, expected = (p.sample(ours, torch.Generator().manual_seed(1)) for p in (policy, plain))
        close((came.path, came.logprob), (expected.path, expected.logprob))
    # Three and four rows share recordings; three cameras of three rows are 9 images, of four 12: both become 16.
    assert counted.made == 2 + vision


def test_gradients_do_not_pass_through_recordings():
    policy, counted = trained_policy(), Counted()
    policy._graphs = Graphs(policy.model, policy.config.sde, record=counted)
    assert policy.encode(observation(2)).keys[0].requires_grad
    assert counted.made == 0


def test_recordings_are_forgotten_when_tensors_are_replaced():
    policy, counted = trained_policy(), Counted()
    given = case(policy)
    graphs = Graphs(policy.model, policy.config.sde, record=counted)
    bias = policy.model.expert.norm.modulation.bias

    def check(made):
        close(graphs.walk(*given), plainly(policy, *given))
        assert counted.made == made

    check(1)
    bias.data.add_(0.5)  # in place, as an optimiser does
    check(1)
    bias.data = bias.data + 0.5
    check(2)
    insert(policy.model, Adapters(config=LoraConfig(rank=2), parts=("expert",)))
    check(3)
    merge(policy.model)
    check(4)
    policy.compute_in("bfloat16")
    graphs.walk(*case(policy))
    assert counted.made == 5


def test_the_longest_unused_recording_is_dropped():
    policy, counted = trained_policy(), Counted()
    graphs = Graphs(policy.model, policy.config.sde, most=2, record=counted)
    for batch, made in ((1, 1), (2, 2), (1, 2), (4, 3), (1, 3), (2, 4)):
        graphs.walk(*case(policy, batch, mixed=False))
        assert counted.made == made
        assert len(graphs.paths) <= 2


def test_without_a_gpu_it_is_said_in_words():
    policy = nano_policy()
    assert "need a CUDA device; the policy is on cpu" in policy.use_graphs()
    assert policy.act(observation(2)).shape == (2, 10, 12)


@torch.no_grad()
def check_recorded(policy, record_from_now_on, tolerance):
    """What `policy` computes once `record_from_now_on` was called is what it computed before, within `tolerance` of its
    norm: on two observations of a shape, so that a replay that does not read its inputs is noticed.
    """
    seen = [observation(batch, vision=True, seed=seed) for seed, batch in enumerate((1, 1, 3, 3, 4))]

    def computed():
        policy.reset(0)
        runner = policy._graphs or policy.model
        for one in seen:
            images = policy._read(one, policy.device).images
            prefix = policy.encode(one)
            yield from (runner.see(image) for image in images.values())
            yield from (*prefix.keys, *prefix.values, torch.from_numpy(policy.act(one)))

    expected = list(computed())
    record_from_now_on()
    for _ in range(2):
        for index, (came, wanted) in enumerate(zip(computed(), expected, strict=True)):
            assert (came - wanted).norm() <= tolerance * wanted.norm(), index


TOLERANCES = {"float32": 1e-4, "bfloat16": 5e-2}  # of the norm


@pytest.mark.parametrize("part", ["vision", "prefixes", "paths"])
def test_a_recording_that_does_not_read_its_inputs_would_be_noticed(part):
    def stale(function, inputs):
        made = function(*inputs)
        return lambda _given: made

    policy = trained_policy(vision=True)

    def record(recorder):
        policy._graphs = Graphs(policy.model, policy.config.sde, record=Counted())
        getattr(policy._graphs, part)._record = recorder

    check_recorded(policy, lambda: record(Counted()), TOLERANCES["float32"])
    policy._graphs = None
    with pytest.raises(AssertionError):
        check_recorded(policy, lambda: record(stale), TOLERANCES["bfloat16"])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("dtype", TOLERANCES)
def test_cuda_graphs_give_what_eager_gives(dtype):
    policy = trained_policy(vision=True).to("cuda")
    policy.compute_in(dtype)
    check_recorded(policy, policy.use_graphs, TOLERANCES[dtype])
    assert policy._graphs is not None
    assert all(map(len, (policy._graphs.vision, policy._graphs.prefixes, policy._graphs.paths)))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_attention_reaches_the_fast_kernels():
    """Without a mask flash, with one the memory-efficient kernel; either raises where it cannot do it."""
    q = torch.randn(2, 1, 400, 256, device="cuda", dtype=torch.bfloat16)
    k = torch.randn(2, 1, 1024, 256, device="cuda", dtype=torch.bfloat16)
    attend = torch.nn.functional.scaled_dot_product_attention
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.FLASH_ATTENTION):
        attend(q, k, k)
    mask = torch.ones(2, 1, 1, 1024, dtype=torch.bool, device="cuda")
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.EFFICIENT_ATTENTION):
        attend(q, k, k, attn_mask=mask)
