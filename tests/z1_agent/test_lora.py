"""Adapters: nothing at the start, the same when merged, and bit for bit across a checkpoint."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch

from z1_agent import checkpoint, lora
from z1_agent.lora import Adapters, LoraConfig, LoraLinear
from z1_agent.policy import Pi05Policy
from z1_agent.trainable import merge_adapters, select

SMALL = LoraConfig(rank=4, alpha=8.0)


def act(policy: Pi05Policy, batch: dict) -> np.ndarray:
    policy.reset(0)
    return policy.act(batch)


def train(policy: Pi05Policy, batch: dict, generator: torch.Generator, num_steps: int = 3, optimizer=None):
    """The optimizer after `num_steps`."""
    if optimizer is None:
        optimizer = torch.optim.AdamW([p for p in policy.parameters() if p.requires_grad], lr=3e-3)
    actions = np.linspace(-1, 1, len(batch["state"]) * 120, dtype=np.float32).reshape(-1, 10, 12)
    for _ in range(num_steps):
        optimizer.zero_grad()
        policy.loss(batch, actions, generator).backward()
        optimizer.step()
    return optimizer


@pytest.mark.parametrize("trainable", ["action_expert_lora", "vlm_lora", "all_lora"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_fresh_adapters_change_no_bit(nano_policy, observation, trainable, dtype):
    policy, batch = nano_policy(vision=True), observation(3, vision=True)
    policy.compute_in(dtype)
    before = act(policy, batch)
    select(policy, trainable, SMALL)
    np.testing.assert_array_equal(act(policy, batch), before)


def test_merged_weights_compute_the_same(nano_policy, observation):
    policy, batch = nano_policy(vision=True), observation(4, vision=True)
    plain, before = set(policy.model.state_dict()), act(policy, batch)
    select(policy, "all_lora", SMALL)
    train(policy, batch, torch.Generator().manual_seed(0))
    with torch.no_grad():
        adapted = policy.encode(batch)
        x, t = torch.randn(4, 10, 12, generator=torch.Generator().manual_seed(1)), torch.full((4,), 0.5)
        velocity = policy.model.velocity(adapted, x, t)
        assert np.abs(act(policy, batch) - before).max() > 1e-2
        merge_adapters(policy)
        torch.testing.assert_close(policy.model.velocity(policy.encode(batch), x, t), velocity, atol=1e-6, rtol=1e-6)
    assert set(policy.model.state_dict()) == plain
    assert policy.config.adapters is None
    assert not any(isinstance(module, LoraLinear) for module in policy.modules())


def test_merging_into_bf16_weights_keeps_small_changes(nano_policy):
    policy = nano_policy()
    policy.model.to(torch.bfloat16)
    select(policy, "action_expert_lora", SMALL)
    layer = policy.model.expert.layers[0].attention.q
    layer.lora_b.data.fill_(1e-5)
    expected = layer.weight.float() + 2.0 * layer.lora_b @ layer.lora_a
    assert layer.lora_a.dtype == torch.float32
    merge_adapters(policy)
    assert torch.equal(policy.model.expert.layers[0].attention.q.weight, expected)


def test_training_resumed_from_a_checkpoint_equals_a_straight_one(tmp_path, nano_policy, observation):
    batch = observation(4)
    whole, generator = nano_policy(), torch.Generator().manual_seed(0)
    select(whole, "vlm_lora", SMALL, seed=5)
    train(whole, batch, generator, 6)

    first, generator = nano_policy(), torch.Generator().manual_seed(0)
    select(first, "vlm_lora", SMALL, seed=5)
    optimizer = train(first, batch, generator, 3)
    state = checkpoint.TrainerState(tensors=checkpoint.optimizer_tensors(optimizer, first.model))
    checkpoint.save(tmp_path / "run", first, task="OpenDrawer", backend="kitchen", trainer=state)
    loaded = checkpoint.load(tmp_path / "run")
    assert loaded.policy.config.adapters == Adapters(config=SMALL, parts=("vlm",))
    select(loaded.policy, "vlm_lora", SMALL, seed=6)  # they are there: nothing is drawn
    resumed = torch.optim.AdamW([p for p in loaded.policy.parameters() if p.requires_grad])
    checkpoint.restore_optimizer(resumed, loaded.policy.model, checkpoint.load_trainer(tmp_path / "run").tensors)
    train(loaded.policy, batch, generator, 3, resumed)
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, loaded.policy.model.state_dict()[name]), name


def test_other_adapters_are_merged_before_new_ones(nano_policy, observation):
    policy, batch = nano_policy(), observation(4)
    select(policy, "action_expert_lora", SMALL)
    train(policy, batch, torch.Generator().manual_seed(0))
    before = act(policy, batch)
    select(policy, "all_lora", SMALL)
    assert policy.config.adapters == Adapters(config=SMALL, parts=("expert", "vlm"))  # it has no vision tower
    np.testing.assert_allclose(act(policy, batch), before, atol=1e-5)
    select(policy, "all")
    assert policy.config.adapters is None
    np.testing.assert_allclose(act(policy, batch), before, atol=1e-5)


def test_adapters_are_drawn_from_their_seed_alone(nano_policy):
    def drawn(seed: int, others: int) -> torch.Tensor:
        policy = nano_policy()
        torch.manual_seed(others)
        state = torch.get_rng_state()
        select(policy, "action_expert_lora", SMALL, seed=seed)
        assert torch.equal(torch.get_rng_state(), state)
        return policy.model.expert.layers[1].mlp.up.lora_a

    assert torch.equal(drawn(3, others=0), drawn(3, others=1))
    assert not torch.equal(drawn(3, others=0), drawn(4, others=0))


def test_bad_configurations_are_refused(nano_policy):
    with pytest.raises(ValueError, match="rank must be a whole number of at least 1, got 0"):
        LoraConfig(rank=0)
    with pytest.raises(ValueError, match="alpha must be a finite number above 0"):
        LoraConfig(alpha=float("nan"))
    with pytest.raises(ValueError, match="choose among q, k, v"):
        LoraConfig(targets=("query",))
    with pytest.raises(ValueError, match="choose among q, k, v"):
        LoraConfig(targets=())
    with pytest.raises(ValueError, match="vlm has no layer among targets"):
        lora.insert(nano_policy().model, Adapters(config=LoraConfig(targets=("modulation",)), parts=("vlm",)))
    assert LoraConfig(**json.loads(json.dumps(asdict(SMALL)))) == SMALL
