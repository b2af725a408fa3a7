"""check_snapshot lets good envs pass and names what broken ones forgot."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from tests.z1_envs.fake_env import FakeEnv
from z1_envs.conformance import check_snapshot, first_difference
from z1_envs.snapshot import SnapshotError


def make_good() -> gym.Env:
    return gym.wrappers.TimeLimit(FakeEnv(goal=1e9), 40)


class ForgetsWarmStart(FakeEnv):
    kept = ("position", "latch", "elapsed", "np_random")


class ForgetsTinyWarmStart(ForgetsWarmStart):
    """As a solver does: the warm start hardly matters."""

    def step(self, action: Any) -> Any:
        self.position = self.position + 1e-9 * self.warm_start
        self.warm_start = float(action[0])
        observation, reward, terminated, truncated, info = super().step(np.array([0.0, action[1]]))
        self.warm_start = float(action[0])
        return observation, reward, terminated, truncated, {**info, "height": float(self.position[0])}


class ForgetsRandomStream(FakeEnv):
    kept = ("position", "warm_start", "latch", "elapsed")


class ForgetsLatch(FakeEnv):
    kept = ("position", "warm_start", "elapsed", "np_random")


class ForgetsCounter(FakeEnv):
    kept = ("position", "warm_start", "latch", "np_random")


class SharesMemory(FakeEnv):
    """Hands out its own array, and then works on it in place."""

    def get_state(self) -> Any:
        return {**super().get_state(), "position": self.position}

    def step(self, action: Any) -> Any:
        inner = self.position
        result = super().step(action)
        inner[:] = self.position
        self.position = inner
        return result


class ForgetfulLimit(gym.wrappers.TimeLimit):
    """A time limit of somebody's own, which takes part but says nothing."""

    def get_state(self) -> Any:
        return ()

    def set_state(self, state: Any) -> None:
        pass


class CountsInPlace(gym.Wrapper):
    """Writes a count, which it keeps to itself, into the very info that the env inside returned."""

    count = 0

    def step(self, action: Any) -> Any:
        result = self.env.step(action)
        self.count += 1
        result[4]["count"] = self.count
        return result

    def get_state(self) -> Any:
        return ()

    def set_state(self, state: Any) -> None:
        pass


def test_good_envs_pass_here_and_in_another_process() -> None:
    # 40 steps until the limit, 5 before the snapshot.
    assert check_snapshot(make_good(), steps=50, make_env=make_good) == 35


@pytest.mark.parametrize(
    ("env", "words"),
    [
        (ForgetsWarmStart(1e9), r"step 1 of a replay in place: layer ForgetsWarmStart, observation\['state'\]"),
        (ForgetsTinyWarmStart(1e9), r"info\['height'\] differs by .*e-.*qacc_warmstart"),
        (ForgetsRandomStream(1e9), r"random stream \(np_random\) in place.*bit_generator"),
        (ForgetsLatch(1e9), r"layer ForgetsLatch, observation\['(latch|state)'\].*a latch"),
        (ForgetsCounter(1e9), r"step 1 .*layer ForgetsCounter, info\['elapsed'\].*a counter"),
        (SharesMemory(1e9), r"in place: layer SharesMemory, observation\['state'\]"),
        (ForgetfulLimit(FakeEnv(1e9), 30), r"step \d+ of a replay .*: layer ForgetfulLimit, truncated differs"),
        (CountsInPlace(FakeEnv(1e9)), r"step 1 of a replay in place: layer CountsInPlace, info\['count'\] differs"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_broken_envs_are_caught_by_what_they_forgot(env: gym.Env, words: str) -> None:
    with pytest.raises(SnapshotError, match=words):
        check_snapshot(env, steps=40)


def test_an_env_without_state_access_is_refused_at_once() -> None:
    with pytest.raises(SnapshotError, match="not Snapshottable"):
        check_snapshot(gym.make("CartPole-v1"))


def test_watching_leaves_no_trace_on_the_env() -> None:
    env = make_good()
    check_snapshot(env, steps=5)
    assert "step" not in vars(env)
    assert "step" not in vars(env.unwrapped)


def test_differences_are_bitwise_and_named_by_path() -> None:
    assert first_difference({"a": [1.0, np.nan]}, {"a": [1.0, np.nan]}) is None
    assert first_difference({"a": [1.0, 2.0]}, {"a": [1.0, 2.5]}) == ("['a'][1]", 0.5)
    assert first_difference(0.0, -0.0) == ("", 0.0)
    assert first_difference(np.float32(1), np.float64(1)) == ("", 0.0)
    assert first_difference("open", "shut") == ("", 0.0)


class CountsEpisodes(FakeEnv):
    """Each seed is a scene of its own, and the number of resets, which is in no state, shows in the infos."""

    episodes = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.episodes += 1
        result = super().reset(seed=seed, options=options)
        if seed is not None:
            self.scene_id = f"fake-{seed}"
        return result

    def step(self, action: Any) -> Any:
        *result, info = super().step(action)
        return *result, {**info, "scene_id": self.scene_id, "episodes": self.episodes}


def test_a_replay_after_a_reset_happens_also_where_each_seed_is_another_scene() -> None:
    with pytest.raises(SnapshotError, match=r"after resets with another and the same seed.*info\['episodes'\]"):
        check_snapshot(CountsEpisodes(1e9), steps=10)
