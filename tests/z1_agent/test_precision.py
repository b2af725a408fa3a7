"""Precision: bfloat16 against the reference data, float32 masters, and layers computed again in the backward pass."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.z1_agent.conftest import ordinary_flow
from z1_agent.flow import flow_matching_error
from z1_agent.policy import Pi05Policy
from z1_agent.trainable import select

BF16 = 5e-2  # of the norm: bfloat16 has 8 bits, and the reference rounds in other places than we do


@pytest.fixture
def bf16_reference(reference):
    reference.model.compute_dtype = torch.bfloat16
    yield reference
    reference.model.compute_dtype = torch.float32


def distance(came: torch.Tensor, expected: torch.Tensor) -> float:
    return float((came - expected).norm() / expected.norm())


def test_bf16_matches_the_reference(bf16_reference):
    model, io = bf16_reference.model, bf16_reference.io
    with torch.no_grad():
        prefix = bf16_reference.encode()
        error = flow_matching_error(
            lambda x, t: model.velocity(prefix, x, t), io["in.actions"], io["in.noise"], io["in.time"]
        )
        actions = ordinary_flow(lambda x, t: model.velocity(prefix, x, t), io["in.noise"], 10)
    assert prefix.keys[0].dtype == torch.bfloat16
    # Before it is squared: squares double every deviation, and how bfloat16 products are summed differs by processor.
    assert distance(error.sqrt(), io["bf16.loss_elem"].sqrt()) < BF16
    assert distance(actions, io["bf16.actions10"]) < BF16
    # Nearer to float32 than the reference's own bfloat16, and not float32 itself.
    assert distance(actions, io["out.euler10.actions"]) > 1e-3
    assert distance(actions, io["out.euler10.actions"]) < distance(io["bf16.actions10"], io["out.euler10.actions"])


def test_stored_in_bf16_or_rounded_on_the_way_is_the_same(nano_policy, observation):
    # What stays in float32 (norms, modulations, projections) is stored in float32 here, as in the published layout.
    policy = nano_policy(vision=True)
    policy.compute_in("bfloat16")
    policy.reset(0)
    expected = policy.act(observation(2, vision=True))
    for part in (policy.model.vlm, policy.model.expert, policy.model.vision):
        for name, module in part.layers.named_modules():
            if isinstance(module, torch.nn.Linear) and not name.endswith("modulation"):
                module.to(torch.bfloat16)
    policy.reset(0)
    np.testing.assert_array_equal(policy.act(observation(2, vision=True)), expected)


def share_moved(policy: Pi05Policy, batch: dict, learning_rate: float) -> float:
    """The share of the expert's entries that one AdamW step changes, among those that have a gradient."""
    weights = list(policy.model.expert.parameters())
    optimizer = torch.optim.AdamW(weights, lr=learning_rate, weight_decay=0.0)
    before = [weight.detach().clone() for weight in weights]
    policy.loss(batch, np.full((4, 10, 12), 0.5, np.float32), torch.Generator().manual_seed(0)).backward()
    optimizer.step()
    moved = total = 0
    for weight, old in zip(weights, before, strict=True):
        assert weight.grad is not None
        has_gradient = weight.grad != 0
        moved += int(((weight != old) & has_gradient).sum())
        total += int(has_gradient.sum())
    return moved / total


def test_masters_move_where_bf16_weights_do_not(nano_policy, observation):
    # A first AdamW step is 5e-6 in every entry. Above 2^-9 = 0.00195, half the distance between neighbours in bfloat16
    # is 2^-17 = 7.6e-6: nothing moves. Below, 3.8e-6: all moves. Of weights drawn from N(0, 0.02²) that leaves
    # erf(0.0977 / √2) = 7.8 %, less the few whose gradient is so small that AdamW's eps of 1e-8 shortens their step.
    def policy():
        made = nano_policy()
        made.compute_in("bfloat16")
        for weight in made.model.expert.parameters():
            torch.nn.init.normal_(weight, std=0.02)
        select(made, "action_expert")
        return made

    masters, rounded = policy(), policy()
    rounded.model.expert.to(torch.bfloat16)
    assert share_moved(masters, observation(4), 5e-6) > 0.999
    assert share_moved(rounded, observation(4), 5e-6) == pytest.approx(0.078, abs=0.01)


def test_select_makes_masters_of_what_learns(nano_policy, observation):
    policy = nano_policy(vision=True)
    policy.compute_in("bfloat16")
    policy.model.to(torch.bfloat16)
    selected = select(policy, "action_expert")
    learning = {name for names in selected.names.values() for name in names}
    for name, parameter in policy.model.named_parameters():
        assert parameter.dtype == (torch.float32 if name in learning else torch.bfloat16), name
    loss = policy.loss(observation(2, vision=True), np.zeros((2, 10, 12), np.float32), torch.Generator())
    loss.backward()
    assert policy.model.action_in.weight.grad is not None
    assert policy.model.action_in.weight.grad.dtype == torch.float32


def kept_bytes_and_gradients(policy: Pi05Policy, batch: dict) -> tuple[int, dict[str, torch.Tensor]]:
    """The bytes that the graph of one loss keeps, weights left out, and the gradients."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in policy.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    policy.zero_grad()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = policy.loss(batch, np.full((8, 10, 12), 0.5, np.float32), torch.Generator().manual_seed(0))
    loss.backward()
    gradients = {name: p.grad.clone() for name, p in policy.model.named_parameters() if p.grad is not None}
    return sum(kept.values()), gradients


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_recomputed_layers_give_the_same_gradients_and_keep_less(nano_policy, observation, dtype):
    policy, batch = nano_policy(vision=True), observation(8, vision=True)
    policy.compute_in(dtype)
    select(policy, "all")
    whole, expected = kept_bytes_and_gradients(policy, batch)
    policy.model.recompute_layers(True)
    lean, gradients = kept_bytes_and_gradients(policy, batch)
    assert set(gradients) == set(expected)
    for name, gradient in gradients.items():
        assert torch.equal(gradient, expected[name]), name
    assert lean < 0.3 * whole, (lean, whole)


def test_unknown_precisions_are_refused(nano_policy):
    policy = nano_policy()
    with pytest.raises(ValueError, match="compute_dtype is 'float16'; choose among float32, bfloat16"):
        replace(policy.config, compute_dtype="float16")
    with pytest.raises(ValueError, match="choose among float32"):
        policy.compute_in("half")
