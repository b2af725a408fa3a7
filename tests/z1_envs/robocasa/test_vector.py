"""Lanes of the official RoboCasa on worker processes, for real, on the stand-in pack."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from z1_envs.evaluate import EvalProtocol, evaluate
from z1_envs.layout import ACTION
from z1_envs.robocasa.env import RoboCasaEnv
from z1_envs.robocasa.options import RoboCasaOptions
from z1_envs.robocasa.vector import RoboCasaVectorEnv
from z1_envs.snapshot import SnapshotRestore

HORIZON = 12  # [steps]


def test_unknown_tasks_and_sizes_are_refused_before_a_process_is_started() -> None:
    with pytest.raises(ValueError, match="multiple of group_size"):
        RoboCasaVectorEnv("OpenDrawer", num_envs=3, group_size=2)
    with pytest.raises(ValueError, match="did you mean OpenDrawer"):
        RoboCasaVectorEnv("OpenDrawers")


class Still:
    def act(self, observation: dict[str, np.ndarray]) -> np.ndarray:
        return np.zeros((len(observation["state"]), 4, ACTION.width), np.float32)


@pytest.fixture(scope="module")
def options(pack: Path, layouts: tuple[int, ...]) -> RoboCasaOptions:
    return RoboCasaOptions(assets=pack, horizon=HORIZON, layouts=layouts)


@pytest.fixture(scope="module")
def envs(options: RoboCasaOptions) -> Iterator[RoboCasaVectorEnv]:
    envs = RoboCasaVectorEnv("OpenDrawer", num_envs=4, group_size=2, num_workers=2, options=options)
    yield envs
    envs.close()


def chunks(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (4, 3, ACTION.width)).astype(np.float32)


@pytest.mark.robocasa
@pytest.mark.slow
def test_lanes_of_a_group_start_alike_and_branch(envs: RoboCasaVectorEnv) -> None:
    observation, infos = envs.reset(seed=0)
    assert observation in envs.observation_space
    np.testing.assert_array_equal(observation["state"][0], observation["state"][1])
    assert envs.scene_ids[0] == envs.scene_ids[1] != envs.scene_ids[2] == envs.scene_ids[3]
    assert infos["scene_id"].tolist() == envs.scene_ids
    assert set(infos["backend"]) == {envs.backend} == {"robocasa-stand-in"}
    same = np.repeat(chunks(0)[:2], 2, axis=0)
    observation, *_, infos = envs.step(same)
    np.testing.assert_array_equal(observation["state"][::2], observation["state"][1::2])
    observation, *_ = envs.step(chunks(1))
    assert (observation["state"][0] != observation["state"][1]).any()
    observation, infos = envs.branch([1, 1, 2, 2])
    after, *_ = envs.step(same)
    np.testing.assert_array_equal(after["state"][::2], after["state"][1::2])
    assert infos["elapsed"].tolist() == [6] * 4


@pytest.mark.robocasa
@pytest.mark.slow
def test_a_lane_has_the_bits_of_a_single_env(envs: RoboCasaVectorEnv, options: RoboCasaOptions) -> None:
    envs.reset(seed=0)
    saved = envs.save([3])[0]
    single = SnapshotRestore(RoboCasaEnv("OpenDrawer", options))
    try:
        single.reset(seed=1)
        single.restore(saved)
        for k in range(2):
            *_, last = [single.step(action) for action in chunks(k)[3]]  # which looks at each step
            observation, rewards, terminated, truncated, infos = envs.step(chunks(k))
            np.testing.assert_array_equal(observation["state"][3], last[0]["state"])
            assert (rewards[3], terminated[3], truncated[3]) == last[1:4]
            assert {key: column[3] for key, column in infos.items()} == last[4]
    finally:
        single.close()


@pytest.mark.robocasa
@pytest.mark.slow
def test_killed_workers_change_no_bit(envs: RoboCasaVectorEnv) -> None:
    start = envs.reset(seed=0)
    first = [envs.step(chunks(k)) for k in range(2)]
    np.testing.assert_equal(envs.reset(seed=0), start)
    before = envs.worker_pids
    again = [envs.step(chunks(0))]
    os.kill(before[0], signal.SIGKILL)  # its scene is built again from the record
    again.append(envs.step(chunks(1)))
    np.testing.assert_equal(again, first)
    assert envs.worker_pids[0] != before[0]
    assert envs.worker_pids[1] == before[1]


@pytest.mark.robocasa
@pytest.mark.slow
def test_one_worker_has_the_same_bits_and_can_be_evaluated(envs: RoboCasaVectorEnv, options: RoboCasaOptions) -> None:
    one = RoboCasaVectorEnv("OpenDrawer", num_envs=2, num_workers=1, options=options)
    try:
        start, whole = one.reset(seed=0), envs.reset(seed=0)
        np.testing.assert_array_equal(start[0]["state"], whole[0]["state"][::2])
        np.testing.assert_array_equal(start[1]["scene_id"], whole[1]["scene_id"][::2])
        for k in range(2):
            chunk = chunks(k)
            np.testing.assert_array_equal(
                one.step(chunk[::2])[0]["state"], envs.step(chunk)[0]["state"][::2], err_msg=str(k)
            )
        protocol = EvalProtocol(
            name="test",
            version=1,
            task="OpenDrawer",
            backend=one.backend,
            split=options.name,
            obs="state",
            num_episodes=2,
            seed=0,
            horizon=HORIZON,
            chunk_len=4,
        )
        report = evaluate(Still(), one, protocol)
        assert report.successes.tolist() == [False, False]
        assert report.elapsed.tolist() == [HORIZON, HORIZON]
    finally:
        one.close()
