"""Demonstrations: successes only, clean actions, chunks that end with their episode."""

import numpy as np
import pytest

from z1_envs.kitchen.demos import Demonstrations, collect
from z1_envs.kitchen.env import KitchenVectorEnv
from z1_envs.kitchen.experts.expert import expert_actions


def test_chunks_at_an_episodes_end_repeat_the_last_action_and_say_so() -> None:
    # Two episodes of 3 and 2 steps whose actions are 0, 1, 2 and 3, 4.
    demos = Demonstrations(
        task="OpenDrawer",
        backend="kitchen",
        observation={},
        actions=np.repeat(np.arange(5, dtype=np.float32)[:, None], 12, axis=1),
        episode=np.array([0, 0, 0, 1, 1]),
        attempts=2,
    )
    chunks, real = demos.chunks(3)
    assert chunks.shape == (5, 3, 12)
    assert chunks[:, :, 0].tolist() == [[0, 1, 2], [1, 2, 2], [2, 2, 2], [3, 4, 4], [4, 4, 4]]
    assert real.tolist() == [
        [True, True, True], [True, True, False], [True, False, False], [True, True, False], [True, False, False],
    ]  # fmt: skip
    assert demos.num_episodes == 2


def test_collected_episodes_are_successes_with_the_experts_own_actions() -> None:
    demos = collect("OpenDrawer", num_episodes=4, seed=0, noise=0.2)
    assert demos.num_episodes == 4
    assert demos.attempts in (4, 8)
    assert {len(column) for column in demos.observation.values()} == {len(demos.actions)}
    # Replayed from the expert's answers to a disturbed run: each is the answer to the state that was recorded.
    assert np.abs(demos.actions).max() <= 1.0
    assert set(np.unique(demos.actions[:, 6])) == {-1.0, 1.0}
    assert not demos.actions[:, 7:11].any(), "the base was disturbed, or its noise recorded"
    assert set(demos.observation["instruction"]) <= {"open the left drawer", "open the right drawer"}


def test_what_is_recorded_is_the_action_before_the_noise() -> None:
    demos = collect("OpenDrawer", num_episodes=2, seed=0, noise=0.2)
    envs = KitchenVectorEnv("OpenDrawer", num_envs=2)
    envs.reset(seed=0)
    first = expert_actions("OpenDrawer", envs.lanes.geometry(np.arange(2, dtype=np.int32)))
    starts = np.flatnonzero(np.diff(demos.episode, prepend=-1))
    assert demos.attempts == 2, "both won: the episodes are lanes 0 and 1"
    assert np.array_equal(demos.actions[starts], first)


def test_the_same_seed_collects_the_same_demonstrations() -> None:
    one, other = (collect("OpenDrawer", num_episodes=2, seed=3) for _ in range(2))
    assert one.actions.tobytes() == other.actions.tobytes()
    assert one.observation["scene"].tobytes() == other.observation["scene"].tobytes()


def test_an_expert_that_cannot_win_is_an_error_with_a_remedy() -> None:
    with pytest.raises(RuntimeError, match=r"won 0 of 16 episodes with action noise 0\.15"):
        collect("OpenDrawer", num_episodes=2, seed=0, horizon=5)
