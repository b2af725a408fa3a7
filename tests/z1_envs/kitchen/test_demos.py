"""Demonstrations: successes only, clean actions, chunks that end with their episode."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from z1_envs.demos import Demonstrations, DemosError, join, one_episode
from z1_envs.kitchen import demos as kitchen_demos
from z1_envs.kitchen.demos import collect, collect_parts
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
    assert demos.ends.tolist() == [3, 5]


def test_an_episode_as_it_was_played_is_a_part_and_one_that_failed_is_counted() -> None:
    # Three observations for two actions: what the last action led to was not acted upon.
    seen = [{"state": np.full(16, step, np.float32)} for step in range(3)]
    actions = [np.full(12, step / 10) for step in range(2)]
    info = {"success": True, "backend": "kitchen", "instruction": "open the drawer"}
    won = one_episode("OpenDrawer", seen, actions, info, seed=7)
    assert won.observation["state"][:, 0].tolist() == [0, 1]
    assert won.observation["instruction"].tolist() == ["open the drawer"] * 2
    assert won.actions.dtype == np.float32
    assert won.actions[:, 0].tolist() == [0, np.float32(0.1)]
    assert (won.num_episodes, won.attempts, won.simulated_steps, won.seeds) == (1, 1, 2, (7,))

    lost = one_episode("OpenDrawer", seen, actions, info | {"success": False}, seed=8)
    assert (lost.num_episodes, lost.attempts, lost.simulated_steps, lost.seeds) == (0, 1, 2, ())
    both = join([lost, won])
    assert (both.num_episodes, both.attempts, both.simulated_steps, both.seeds) == (1, 2, 4, (7,))

    with pytest.raises(DemosError, match="the episode of OpenDrawer with seed 9 has no actions"):
        one_episode("OpenDrawer", seen, [], info, seed=9)
    with pytest.raises(DemosError, match="seed 9 has 5 actions and 3 observations"):
        one_episode("OpenDrawer", seen, [actions[0]] * 5, info, seed=9)
    with pytest.raises(DemosError, match=r"OpenDrawer, episode 0, step 1: action is \[nan"):
        one_episode("OpenDrawer", seen, [actions[0], np.full(12, np.nan)], info, seed=9)
    blown_up = [seen[0], {"state": np.full(16, np.inf, np.float32)}, seen[2]]
    with pytest.raises(
        DemosError, match=r"episode 0, step 1: state is \[inf.* \(1 such steps\); leave that episode out"
    ):
        one_episode("OpenDrawer", blown_up, actions, info, seed=9)


def test_joined_parts_are_one_set_of_episodes() -> None:
    one, two = (collect("CloseSingleDoor", num_episodes=n, seed=s) for n, s in ((2, 0), (1, 7)))
    both = join([one, two])
    assert both.num_episodes == 3
    assert both.ends.tolist() == [*one.ends.tolist(), len(one.actions) + len(two.actions)]
    assert np.array_equal(both.actions, np.concatenate([one.actions, two.actions]))
    assert (both.seeds, both.attempts) == (one.seeds + two.seeds, one.attempts + two.attempts)
    assert both.simulated_steps == one.simulated_steps + two.simulated_steps


def test_many_episodes_come_in_parts_of_consecutive_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kitchen_demos, "_MAX_LANES", 2)
    told: list[tuple[int, int]] = []
    parts = list(
        collect_parts("CloseSingleDoor", num_episodes=5, seed=3, progress=lambda won, steps: told.append((won, steps)))
    )
    assert max(part.num_episodes for part in parts) == 2
    all_parts = join(parts)
    assert all_parts.num_episodes == len(all_parts.seeds) == 5
    assert set(all_parts.seeds) <= set(range(3, 3 + all_parts.attempts))
    assert list(all_parts.seeds) == sorted(set(all_parts.seeds))
    assert [won for won, _ in told] == sorted({won for won, _ in told})
    assert told[-1][0] == 5
    assert told[-1][1] <= all_parts.simulated_steps


def test_an_episode_is_that_of_its_seed() -> None:
    demos = collect("PnPCounterToSink", num_episodes=3, seed=5, noise=0.0)
    envs = KitchenVectorEnv("PnPCounterToSink", num_envs=3)
    starts = np.flatnonzero(np.diff(demos.episode, prepend=-1))
    observation, infos = envs.reset(seed=list(demos.seeds))
    assert isinstance(observation, dict)
    assert np.array_equal(observation["scene"], demos.observation["scene"][starts])
    assert list(infos["instruction"]) == list(demos.observation["instruction"][starts])


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
    with pytest.raises(DemosError, match=r"won 0 of 16 episodes with action noise 0\.15"):
        collect("OpenDrawer", num_episodes=2, seed=0, horizon=5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_episodes": 0, "seed": 0}, "num_episodes must be a whole number of at least 1, got 0"),
        ({"num_episodes": 1, "seed": -1}, "seed must be a whole number of at least 0, got -1"),
        ({"num_episodes": 1, "seed": 0, "noise": -0.1}, r"noise must be a number from 0 on, got -0\.1"),
    ],
)
def test_bad_numbers_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        collect("OpenDrawer", **options)
    with pytest.raises(ValueError, match=message):
        collect_parts("OpenDrawer", **options)  # at the call, not at the first part


def test_parts_of_several_tasks_are_not_joined() -> None:
    part = Demonstrations(
        task="OpenDrawer",
        backend="kitchen",
        observation={"state": np.zeros((1, 16), np.float32)},
        actions=np.zeros((1, 12), np.float32),
        episode=np.zeros(1, np.int64),
        attempts=1,
    )
    with pytest.raises(DemosError, match=r"got \[\('CloseDrawer', 'kitchen', 'state'\), \('OpenDrawer', 'kitchen', 's"):
        join([part, dataclasses.replace(part, task="CloseDrawer")])
    with pytest.raises(DemosError, match=r"'kitchen', 'scene', 'state'\)"):  # nothing is dropped in silence
        join([part, dataclasses.replace(part, observation=part.observation | {"scene": np.zeros((1, 3))})])
    with pytest.raises(DemosError, match=r"every step has an action and an observation, got .*'state': 2"):
        dataclasses.replace(part, observation={"state": np.zeros((2, 16), np.float32)})
    with pytest.raises(DemosError, match="got none"):
        join([])
