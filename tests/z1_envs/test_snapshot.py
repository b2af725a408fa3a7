"""Snapshots of a whole wrapper stack: exact, complete, or refused with the remedy."""

import pickle
import re
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import wrappers

import z1_envs  # noqa: F401 (registers the ids)
from tests.z1_envs.fake_env import FakeEnv
from z1_envs.actions import ActionError
from z1_envs.conformance import first_difference
from z1_envs.snapshot import GYMNASIUM_LAYERS, Snapshot, SnapshotError, SnapshotRestore, Stateless


def stack(limit: int = 20) -> SnapshotRestore:
    return SnapshotRestore(wrappers.TimeLimit(FakeEnv(goal=1e9), limit))


def play(env: gym.Env, num_steps: int) -> list:
    return [env.step(np.array([0.1 * (k % 5), 0.95], dtype=np.float32)) for k in range(num_steps)]


def same(a: list, b: list) -> bool:
    return pickle.dumps([_plain(x) for x in a]) == pickle.dumps([_plain(x) for x in b])


def _plain(result: tuple) -> tuple:
    observation, reward, terminated, truncated, info = result
    if isinstance(observation, dict):
        return observation["state"].tobytes(), reward, terminated, truncated, sorted(info.items())
    return np.asarray(observation).tobytes(), reward, terminated, truncated, sorted(info.items())


def test_replay_is_exact_and_a_snapshot_can_be_used_again() -> None:
    env = stack()
    env.reset(seed=3)
    play(env, 4)
    moment = env.snapshot()
    first = play(env, 6)
    for _ in range(2):
        env.restore(moment)
        assert same(play(env, 6), first)


def test_restoring_brings_back_the_time_limit() -> None:
    # The classic bug: the base env is restored, the limit goes on counting and truncates the resumed episode.
    env = stack(limit=10)
    env.reset(seed=0)
    play(env, 2)
    moment = env.snapshot()
    play(env, 7)
    env.restore(moment)
    truncated = [result[3] for result in play(env, 8)]
    assert truncated == [False] * 7 + [True]  # 2 + 8 steps


def test_restore_returns_what_the_env_showed_and_keeps_it_from_the_caller() -> None:
    env = stack()
    env.reset(seed=0)
    observation, _, _, _, info = play(env, 3)[-1]
    shown = observation["state"].copy()
    moment = env.snapshot()
    observation["state"][:] = 99.0  # the caller normalises in place
    play(env, 1)
    restored, restored_info = env.restore(moment)
    np.testing.assert_array_equal(restored["state"], shown)
    assert restored_info == info
    restored["state"][:] = 99.0
    np.testing.assert_array_equal(env.restore(moment)[0]["state"], shown)


def test_a_snapshot_crosses_processes_as_bytes() -> None:
    env, other = stack(), stack()
    env.reset(seed=5)
    play(env, 3)
    moment = pickle.loads(pickle.dumps(env.snapshot()))
    other.restore(moment)  # never reset: a restore is a start as well
    assert same(play(other, 5), play(env, 5))


def test_another_scene_and_another_stack_are_refused_with_both_values() -> None:
    env = stack()
    env.reset(seed=0)
    moment = env.snapshot()
    env.reset(seed=100)
    with pytest.raises(SnapshotError, match=r"'fake-0'.*'fake-1'.*reset the env"):
        env.restore(moment)
    longer = stack(limit=30)
    longer.reset(seed=0)
    with pytest.raises(SnapshotError, match=r"max_episode_steps=20.*max_episode_steps=30"):
        longer.restore(moment)


def test_stacks_are_told_apart_by_the_layers_that_differ() -> None:
    def moment(*layers: Any) -> Snapshot:
        return built(*layers).snapshot()

    def built(*layers: Any) -> SnapshotRestore:
        env: gym.Env = FakeEnv(goal=1e9)
        for layer in layers:
            env = layer(env)
        env = SnapshotRestore(env)
        env.reset(seed=0)
        return env

    def limit(steps: int) -> Any:
        return lambda env: wrappers.TimeLimit(env, steps)

    order, long, short = wrappers.OrderEnforcing, limit(30), limit(20)
    env = built(short, order)
    for layers, words in (
        (
            (long, order),
            "stack … > TimeLimit(max_episode_steps=30) > …, this env is … > TimeLimit(max_episode_steps=20) >",
        ),
        ((short,), "the stack nothing > …, this env is OrderEnforcing(disable_render_order_enforcing=False) > …; "),
        (
            (short, order, order),
            "OrderEnforcing(disable_render_order_enforcing=False) > …, this env is … > nothing > …; ",
        ),
    ):
        with pytest.raises(SnapshotError, match=re.escape(words)):
            env.restore(moment(*layers))


def test_before_reset_there_is_nothing_to_snapshot() -> None:
    with pytest.raises(SnapshotError, match=r"call reset\(\) first"):
        stack().snapshot()


class Breaks(FakeEnv):
    """Where `error` is set, a step moves on and then fails with it."""

    error: BaseException | None = None

    def step(self, action: Any) -> Any:
        result = super().step(action)
        if self.error is not None:
            raise self.error
        return result


def test_after_a_step_that_failed_there_is_nothing_to_snapshot() -> None:
    base = Breaks()
    env = SnapshotRestore(base)
    env.reset(seed=0)
    moment = env.snapshot()
    # A ValueError may come from anywhere; an ActionError says that nothing has moved.
    for base.error in (RuntimeError("the simulation is unstable"), ValueError("no solution"), KeyboardInterrupt()):
        env.restore(moment)
        with pytest.raises(type(base.error)):
            play(env, 1)
        with pytest.raises(SnapshotError, match=r"call reset\(\) first, or restore"):
            env.snapshot()  # the state has moved, and what is shown of it was never returned
    env.restore(moment)
    base.error = ActionError("action must have 2 entries")
    with pytest.raises(ValueError, match="2 entries"):
        play(env, 1)
    env.snapshot()


def test_a_reset_that_is_refused_leaves_the_episode_as_it_was() -> None:
    # TimeLimit sets its count to 0 before the env is asked, and would let the episode run three steps longer.
    env = SnapshotRestore(gym.make("Z1-RoboCasa-OpenDrawer", backend="kitchen", max_episode_steps=5))
    env.reset(seed=0)
    still = np.zeros(12, np.float32)
    for _ in range(3):
        env.step(still)
    before = env.snapshot()
    for bad in ({"seed": -1}, {"options": {"colour": "red"}}, {"options": {"scene": b"no scene"}}):
        with pytest.raises((ValueError, SnapshotError), match=r"seed|option|scene"):
            env.reset(**bad)
        assert first_difference(env.snapshot().states, before.states) is None
    assert [env.step(still)[3] for _ in range(2)] == [False, True]


def test_a_snapshot_shares_nothing_with_the_env_nor_with_the_next_one() -> None:
    env = SnapshotRestore(FakeEnv())
    env.reset(seed=0)
    first = env.snapshot()
    expected = first.observation["state"].copy()
    first.observation["state"][:] = 7.0
    first.info["elapsed"] = 7
    assert np.array_equal(env.snapshot().observation["state"], expected)
    assert env.snapshot().info["elapsed"] == 0
    kept = env.snapshot()
    env.restore(kept)
    kept.observation["state"][:] = 7.0
    assert np.array_equal(env.snapshot().observation["state"], expected)


class Picky(gym.Wrapper):
    """A wrapper with state of its own, which refuses what it does not like."""

    mood = 0

    def get_state(self) -> int:
        return self.mood

    def set_state(self, state: int) -> None:
        if state == 13:
            raise ValueError("not thirteen")
        self.mood = state


def test_a_refused_restore_changes_nothing() -> None:
    env = SnapshotRestore(Picky(wrappers.TimeLimit(FakeEnv(goal=1e9), 20)))
    env.reset(seed=0)
    play(env, 2)
    moment = env.snapshot()
    bad = Snapshot(
        scene_id=moment.scene_id,
        stack=moment.stack,
        states=(13, *moment.states[1:]),
        observation=moment.observation,
        info=moment.info,
    )
    play(env, 3)
    here = env.snapshot()
    expected = play(env, 4)
    env.restore(here)
    with pytest.raises(ValueError, match="not thirteen"):
        env.restore(bad)
    assert same(play(env, 4), expected)


class Latching(gym.Wrapper):
    """Neither state access nor a declaration."""


class Doubling(Stateless, gym.RewardWrapper):
    def reward(self, reward: float) -> float:
        return 2.0 * reward


class Heir(Doubling):
    """A subclass of a stateless wrapper may keep anything."""


def test_an_unknown_layer_is_refused_by_name_with_the_remedy() -> None:
    with pytest.raises(SnapshotError, match=r"Latching may keep state.*get_state\(\).*Stateless"):
        SnapshotRestore(Latching(FakeEnv()))
    with pytest.raises(SnapshotError, match="Heir"):
        SnapshotRestore(Heir(FakeEnv()))
    assert SnapshotRestore(Doubling(FakeEnv())).stack == ("Doubling", "FakeEnv")


def test_a_base_env_without_state_access_is_refused_with_the_remedy() -> None:
    with pytest.raises(SnapshotError, match=r"CartPoleEnv is not Snapshottable, it lacks get_state.*subclass"):
        SnapshotRestore(gym.make("CartPole-v1"))


def test_recording_wrappers_and_a_second_snapshot_layer_are_refused() -> None:
    frames = wrappers.RenderCollection.__new__(wrappers.RenderCollection)
    gym.Wrapper.__init__(frames, FakeEnv())
    with pytest.raises(SnapshotError, match="RenderCollection cannot be snapshotted"):
        SnapshotRestore(frames)
    with pytest.raises(SnapshotError, match="in the stack already"):
        SnapshotRestore(wrappers.TimeLimit(stack(), 5))


def test_the_table_knows_every_wrapper_of_gymnasium() -> None:
    assert set(wrappers.__all__) - {"vector"} == set(GYMNASIUM_LAYERS)


def flat(env: gym.Env) -> gym.Env:
    return wrappers.FlattenObservation(env)


STATEFUL = {
    "OrderEnforcing": wrappers.OrderEnforcing,
    "PassiveEnvChecker": wrappers.PassiveEnvChecker,
    "Autoreset": wrappers.Autoreset,
    "TimeAwareObservation": lambda env: wrappers.TimeAwareObservation(wrappers.TimeLimit(flat(env), 50)),
    "DelayObservation": lambda env: wrappers.DelayObservation(flat(env), 3),
    "FrameStackObservation": lambda env: wrappers.FrameStackObservation(flat(env), 4),
    "FrameStackReset": lambda env: wrappers.FrameStackObservation(flat(env), 4, padding_type="reset"),
    "MaxAndSkipObservation": lambda env: wrappers.MaxAndSkipObservation(flat(env), 2),
    "NormalizeObservation": lambda env: wrappers.NormalizeObservation(flat(env)),
    "NormalizeReward": lambda env: wrappers.NormalizeReward(env),
    "StickyAction": lambda env: wrappers.StickyAction(env, 0.5),
}


@pytest.mark.parametrize("name", STATEFUL)
def test_gymnasium_s_stateful_wrappers_replay_exactly(name: str) -> None:
    env = SnapshotRestore(STATEFUL[name](FakeEnv(goal=2.0)))
    env.reset(seed=1)
    play(env, 3)
    moment = env.snapshot()
    first = play(env, 4)
    play(env, 3)
    env.restore(moment)
    assert same(play(env, 4), first)
    env.reset(seed=2)
    env.restore(moment)
    assert same(play(env, 4), first)


def test_episode_statistics_resume_where_they_were() -> None:
    env = SnapshotRestore(wrappers.RecordEpisodeStatistics(wrappers.TimeLimit(FakeEnv(goal=1e9), 6)))
    env.reset(seed=0)
    play(env, 4)
    moment = env.snapshot()
    play(env, 1)
    env.restore(moment)
    assert play(env, 2)[-1][4]["episode"]["l"] == 6
