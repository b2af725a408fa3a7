"""SFT: it learns, stops when success stops rising, keeps the best, and resumes bit for bit."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from z1_agent import checkpoint
from z1_agent.divergence import DivergedError
from z1_agent.lora import LoraConfig
from z1_agent.sft import SftConfig, SftProgress, train_sft
from z1_envs.demos import Demonstrations

CONFIG = SftConfig(batch_size=16, steps_per_round=8, patience=2, max_rounds=4, warmup_steps=4)


def demonstrations() -> Demonstrations:
    """Two episodes of 12 and 9 steps whose action is a function of the scene."""
    rng = np.random.default_rng(0)
    scene = rng.normal(size=(21, 6)).astype(np.float32)
    return Demonstrations(
        task="OpenDrawer",
        backend="kitchen",
        observation={
            "state": rng.uniform(-1, 1, (21, 16)).astype(np.float32),
            "scene": scene,
            "instruction": np.array(["open the left drawer"] * 21, dtype=object),
        },
        actions=np.tanh(np.concatenate([scene, scene], axis=1)).astype(np.float32),
        episode=np.repeat([0, 1], [12, 9]),
        attempts=2,
    )


def run(policy, successes, *, config=CONFIG, stop_after=None, resume=None):
    states = []
    given = iter(successes)

    def on_round(progress, state) -> bool:
        states.append(state())
        return len(progress.score) != stop_after

    progress = train_sft(
        policy, demonstrations(), config, seed=1, validate=lambda _: next(given), on_round=on_round, resume=resume
    )
    return progress, states


def test_stops_after_patience_and_keeps_the_best_round(nano_policy):
    policy = nano_policy()
    progress, states = run(policy, [0.1, 0.4, 0.3, 0.4])
    # Round 2 (0.3) and round 3 (0.4, a tie is no improvement) exhaust a patience of 2 after round 1.
    assert progress.score == [0.1, 0.4, 0.3, 0.4]
    assert progress.best_round == 1
    learning = {name: tensor for name, tensor in policy.model.named_parameters() if tensor.requires_grad}
    for name, tensor in learning.items():
        assert torch.equal(tensor, states[1].tensors[f"average.{name}"]), name
    averaged = {name for name in states[1].tensors if name.startswith("average.")}
    assert averaged == {f"average.{name}" for name in learning}


def test_stopping_rule_by_hand():
    assert not SftProgress(score=[0.2, 0.1]).is_over(CONFIG)
    assert SftProgress(score=[0.2, 0.1, 0.1]).is_over(CONFIG)
    assert SftProgress(score=[0.1, 0.2, 0.3, 0.4]).is_over(CONFIG)  # max_rounds


@pytest.mark.parametrize("what", ["loss", "held-out score"])
def test_a_round_that_diverges_ends_it_with_the_best_before(nano_policy, what):
    policy, states = nano_policy(), []
    scores = iter([0.3, 0.2, -np.inf])

    def on_round(progress, state) -> bool:
        states.append(state())
        if what == "loss" and len(states) == 2:
            policy.model.action_out.bias.data[0] = torch.nan
        return True

    config = replace(CONFIG, patience=9, max_rounds=9)
    progress = train_sft(policy, demonstrations(), config, seed=1, validate=lambda _: next(scores), on_round=on_round)
    assert (progress.score, len(progress.loss), progress.best_round) == ([0.3, 0.2], 2, 0)
    assert progress.diverged is not None
    assert progress.diverged.startswith(f"The {what} became {'nan' if what == 'loss' else '-inf'} in round 3: ")
    assert "round 1 is kept" in progress.diverged
    for name, tensor in policy.model.named_parameters():
        if tensor.requires_grad:
            assert torch.equal(tensor, states[0].tensors[f"best.{name}"]), name


def test_one_that_diverges_at_once_is_refused(nano_policy):
    with pytest.raises(DivergedError, match=r"the \w+ became (nan|inf) in round 1; lower the learning rate"):
        run(nano_policy(), [], config=replace(CONFIG, learning_rate=1e38))


def test_the_loss_falls(nano_policy):
    progress, _ = run(nano_policy(), [0.1, 0.2, 0.3, 0.4])
    assert progress.loss[-1] < 0.6 * progress.loss[0]


def test_resumed_sft_equals_a_straight_one(nano_policy):
    straight, parts = nano_policy(), nano_policy()
    run(straight, [0.1, 0.2, 0.3, 0.4])
    _, states = run(parts, [0.1, 0.2], stop_after=2)
    run(parts, [0.3, 0.4], resume=states[-1])
    for name, tensor in parts.model.state_dict().items():
        assert torch.equal(tensor, straight.model.state_dict()[name]), name


def test_each_selection_learns_and_leaves_the_rest(nano_policy):
    for trainable in ("action_expert", "action_expert_lora", "all_lora"):
        policy = nano_policy()
        config = replace(CONFIG, trainable=trainable, max_rounds=2, learning_rate=3e-3)
        before = {name: tensor.clone() for name, tensor in policy.model.state_dict().items()}
        progress, _ = run(policy, [0.1, 0.2], config=config)
        assert progress.loss[1] < progress.loss[0]
        learned = {name for name, tensor in policy.model.named_parameters() if tensor.requires_grad}
        for name, tensor in policy.model.state_dict().items():
            assert name in learned or torch.equal(tensor, before[name]), name


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_resumed_training_of_adapters_equals_a_straight_one(tmp_path, nano_policy, dtype):
    config = replace(CONFIG, trainable="all_lora", lora=LoraConfig(rank=4), steps_per_round=3)
    straight, parts = nano_policy(), nano_policy()
    for policy in (straight, parts):
        policy.compute_in(dtype)
    run(straight, [0.1, 0.2, 0.3, 0.4], config=config)
    _, states = run(parts, [0.1, 0.2], config=config, stop_after=2)
    checkpoint.save(tmp_path / "run", parts, task="OpenDrawer", backend="kitchen", trainer=states[-1])
    loaded, trainer = checkpoint.load_policy(tmp_path / "run"), checkpoint.load_trainer(tmp_path / "run")
    run(loaded, [0.3, 0.4], config=config, resume=trainer)
    assert loaded.config == straight.config
    for name, tensor in loaded.model.state_dict().items():
        assert torch.equal(tensor, straight.model.state_dict()[name]), name


def test_micro_batches_and_recomputed_layers_change_only_memory(nano_policy):
    def weights(**options):
        policy = nano_policy()
        run(policy, [0.1, 0.2], config=replace(CONFIG, max_rounds=2, steps_per_round=4, **options))
        return policy.model.state_dict()

    expected = weights()
    torch.testing.assert_close(weights(recompute_layers=True), expected, rtol=0, atol=0)
    torch.testing.assert_close(weights(micro_batch_size=5), expected, rtol=1e-3, atol=1e-4)


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="no selection 'vlm'; choose among action_expert, all"):
        SftConfig(trainable="vlm")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="micro_batch_size must be a whole number of at least 1, got"):
        SftConfig(micro_batch_size=0)
