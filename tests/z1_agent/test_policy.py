"""The policy: what it samples, what its likelihood covers, and that it learns."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from z1_agent.observation import Normalizer
from z1_agent.pi05 import pi05_nano
from z1_agent.policy import Pi05Policy
from z1_agent.tokenizer import NanoTokenizer


@pytest.mark.parametrize("stochastic", ["one", "all"])
@pytest.mark.parametrize("vision", [False, True])
def test_recomputed_logprob_equals_the_sampled_one(nano_policy, observation, stochastic, vision):
    policy, batch = nano_policy(vision=vision, stochastic=stochastic), observation(5, vision=vision)
    sample = policy.sample(policy.encode(batch), torch.Generator().manual_seed(0))
    again = policy.log_prob(batch, sample.path, sample.index)
    torch.testing.assert_close(again, sample.logprob, atol=2e-4, rtol=1e-5)  # up to 480 terms
    assert again.requires_grad
    assert not sample.logprob.requires_grad


def test_followers_share_one_prefix(nano_policy, observation):
    policy = nano_policy()
    prefix = policy.encode(observation(2)).repeat(torch.tensor([0, 0, 0, 1]))
    sample = policy.sample(prefix, torch.Generator().manual_seed(0))
    assert len(np.unique(sample.chunk.reshape(4, -1), axis=0)) == 4
    assert sample.chunk.shape == (4, 10, 12)
    np.testing.assert_array_equal(sample.chunk, policy.normalizer.env_action(sample.path[:, -1].numpy()))


def test_only_the_executed_part_counts(nano_policy, observation):
    policy = nano_policy(executed_len=3)
    batch = observation(4)
    sample = policy.sample(policy.encode(batch), torch.Generator().manual_seed(0))
    assert sample.chunk.shape == (4, 3, 12)
    rows = torch.arange(4)
    tail, head = sample.path.clone(), sample.path.clone()
    tail[rows, sample.index + 1, 3:] += 0.3  # where the random step arrived, beyond what is executed
    head[rows, sample.index + 1, :3] += 0.3
    torch.testing.assert_close(policy.log_prob(batch, tail, sample.index), sample.logprob, atol=1e-4, rtol=1e-5)
    assert ((policy.log_prob(batch, head, sample.index) - sample.logprob).abs() > 0.1).all()


def test_same_generator_same_sample(nano_policy, observation):
    policy = nano_policy()
    prefix = policy.encode(observation(3))
    a, b, c = (policy.sample(prefix, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(a.path, b.path)
    assert not torch.equal(a.path, c.path)


def test_act_repeats_after_reset_and_keeps_the_mode(nano_policy, observation):
    policy, batch = nano_policy(), observation(3)
    policy.train()
    policy.reset(7)
    first, second = policy.act(batch), policy.act(batch)
    policy.reset(7)
    np.testing.assert_array_equal(policy.act(batch), first)
    assert not np.array_equal(first, second)
    assert np.abs(first).max() <= 1
    assert first.dtype == np.float32
    assert policy.training


def test_a_wider_model_pads_its_actions(observation, nano_policy):
    narrow = nano_policy()
    model = replace(pi05_nano(scene_width=6, vision=False), action_width=32)
    policy = Pi05Policy(replace(narrow.config, model=model), narrow.normalizer, NanoTokenizer())
    batch = observation(2)
    assert policy.act(batch).shape == (2, 10, 12)
    sample = policy.sample(policy.encode(batch), torch.Generator().manual_seed(0))
    assert sample.path.shape == (2, 5, 10, 32)
    policy.loss(batch, np.zeros((2, 10, 12), np.float32), torch.Generator().manual_seed(0)).backward()


@pytest.mark.parametrize("reads", ["observation", "prefix"])
def test_micro_batches_have_the_gradient_of_the_whole(nano_policy, observation, reads):
    policy, batch = nano_policy(vision=True), observation(7, vision=True)
    actions = np.random.default_rng(0).uniform(-1, 1, (7, 10, 12)).astype(np.float32)
    mask = np.arange(10) < np.array([10, 10, 0, 4, 9, 10, 1])[:, None]  # one row has nothing to learn from

    def gradients(size):
        policy.zero_grad()
        with torch.no_grad():
            seen = batch if reads == "observation" else policy.encode(batch)
        parts = list(policy.loss_parts(seen, actions, torch.Generator().manual_seed(0), mask, micro_batch_size=size))
        for part in parts:
            part.backward()
        return len(parts), sum(part.item() for part in parts), [p.grad for p in policy.model.expert.parameters()]

    one, loss, expected = gradients(None)
    assert one == 1
    for size, count in ((3, 3), (1, 7)):
        parts, value, came = gradients(size)
        assert parts == count
        assert value == pytest.approx(loss, rel=1e-5)
        torch.testing.assert_close(came, expected, rtol=1e-6, atol=1e-6)


def test_chunk_steps_behind_the_end_do_not_count(nano_policy, observation):
    policy, batch = nano_policy(), observation(2)
    torch.nn.init.zeros_(policy.model.action_out.weight)  # no velocity: what the steps tell each other is left out
    actions = np.zeros((2, 10, 12), np.float32)
    mask = np.arange(10) < np.array([6, 3])[:, None]
    spoiled = actions.copy()
    spoiled[~mask] = 1.0
    losses = [policy.loss(batch, a, torch.Generator().manual_seed(0), mask).item() for a in (actions, spoiled)]
    assert losses[0] != policy.loss(batch, spoiled, torch.Generator().manual_seed(0)).item()
    assert losses[0] == losses[1]


def test_rare_deviations_of_what_never_reaches_the_env_leave_the_loss_alone(nano_policy, observation):
    template = nano_policy()
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (500, 12)).astype(np.float32)
    actions[:, 11] = -1.0
    moves = Normalizer.fit(rng.normal(size=(500, 16)), actions, rng.normal(size=(500, 6)))
    policy = Pi05Policy(template.config, moves, NanoTokenizer())
    batch, chunks = observation(4), actions[:40].reshape(4, 10, 12)
    rare = chunks.copy()
    rare[2, 3, 11] = 1.0

    def loss(shown):
        return policy.loss(batch, shown, torch.Generator().manual_seed(0)).item()

    assert loss(rare) == pytest.approx(loss(chunks), rel=1e-3)


def test_imitation_learns_a_rule_of_the_scene(nano_policy, observation):
    # The action follows one scene entry, moved by the instruction: both must pass through the prefix.
    policy = nano_policy()

    def demonstrate(seed):
        batch = observation(32, seed=seed)
        sign = np.where(np.arange(32) % 2, 1.0, -1.0)
        target = 0.8 * np.tanh(batch["scene"][:, 0] + sign)
        return batch, np.broadcast_to(target[:, None, None], (32, 10, 12)).astype(np.float32)

    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-3)
    for seed in range(100):
        optimizer.zero_grad()
        policy.loss(*demonstrate(seed), generator).backward()
        optimizer.step()
    batch, actions = demonstrate(1000)
    error = np.abs(policy.act(batch) - actions).mean()
    assert error < 0.5 * np.abs(actions).mean(), error


def test_parts_that_do_not_fit_are_refused(nano_policy):
    policy = nano_policy()
    config = policy.config
    with pytest.raises(ValueError, match=r"executed_len is 11; it lies in 1\.\.10"):
        replace(config, executed_len=11)
    with pytest.raises(ValueError, match="choose among image_left"):
        replace(config, cameras=("front",))
    seeing = nano_policy(vision=True).config
    with pytest.raises(ValueError, match="cameras names image_left more than once; give each camera once"):
        replace(seeing, cameras=("image_left", "image_wrist", "image_left"))
    with pytest.raises(ValueError, match="vision tower"):
        replace(config, cameras=("image_left",))
    with pytest.raises(ValueError, match="scene_width is 7"):
        Pi05Policy(replace(config, model=pi05_nano(scene_width=7, vision=False)), policy.normalizer, NanoTokenizer())
    with pytest.raises(ValueError, match="raise vocab_size"):
        Pi05Policy(replace(config, model=replace(config.model, vocab_size=9)), policy.normalizer, NanoTokenizer())
    with pytest.raises(ValueError, match=r"\[B, 10, 12\], got \[2, 5, 12\]"):
        policy.loss({}, np.zeros((2, 5, 12)), torch.Generator())
