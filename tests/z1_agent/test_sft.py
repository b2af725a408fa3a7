"""SFT: it learns, stops when success stops rising, keeps the best, and resumes bit for bit."""

import numpy as np
import torch

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
        return len(progress.success) != stop_after

    progress = train_sft(
        policy, demonstrations(), config, seed=1, validate=lambda _: next(given), on_round=on_round, resume=resume
    )
    return progress, states


def test_stops_after_patience_and_keeps_the_best_round(nano_policy):
    policy = nano_policy()
    progress, states = run(policy, [0.1, 0.4, 0.3, 0.4])
    # Round 2 (0.3) and round 3 (0.4, a tie is no improvement) exhaust a patience of 2 after round 1.
    assert progress.success == [0.1, 0.4, 0.3, 0.4]
    assert progress.best_round == 1
    for name, tensor in policy.model.state_dict().items():
        assert torch.equal(tensor, states[1].tensors[f"average.{name}"]), name


def test_stopping_rule_by_hand():
    assert not SftProgress(success=[0.2, 0.1]).is_over(CONFIG)
    assert SftProgress(success=[0.2, 0.1, 0.1]).is_over(CONFIG)
    assert SftProgress(success=[0.1, 0.2, 0.3, 0.4]).is_over(CONFIG)  # max_rounds


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
