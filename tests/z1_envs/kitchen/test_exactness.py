"""A restored state goes on bit for bit: in place, in another process, in another lane, on any number of threads."""

import os
import pickle
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from tests.z1_envs.kitchen.play import SOME_TASKS, TASKS, robot_touches
from z1_envs.conformance import check_snapshot, first_difference
from z1_envs.kitchen.env import KitchenVectorEnv
from z1_envs.kitchen.experts.expert import expert_actions
from z1_envs.snapshot import SnapshotRestore

ROOT = Path(__file__).parents[3]


def env_id(task: str) -> str:
    """With its module, so that another process imports what registers it."""
    return f"z1_envs:Z1-RoboCasa-{task}"


def expert_run(envs: KitchenVectorEnv, num_steps: int) -> list[np.ndarray]:
    """Steps all unfinished lanes under the expert; the actions [L, 12] of each step."""
    actions = []
    everything = np.arange(envs.num_envs, dtype=np.int32)
    for _ in range(num_steps):
        if envs.finished.all():
            break
        actions.append(expert_actions(envs.lanes.task.name, envs.lanes.geometry(everything)))
        envs.step(actions[-1])
    return actions


def play(env: gym.Env, actions: list[np.ndarray]) -> list[tuple]:
    """What step returned at each of `actions`, to the end of the episode."""
    results = []
    for action in actions:
        results.append(env.step(action))
        if results[-1][2] or results[-1][3]:
            break
    return results


@pytest.mark.parametrize("task", TASKS)
def test_snapshots_of_the_registered_envs_are_exact(task: str) -> None:
    make_env = partial(gym.make, env_id(task))
    # Random actions may end an episode: a hand that bumps its door turns the microwave off.
    assert 5 <= check_snapshot(make_env(), make_env=make_env, steps=25) <= 25


@pytest.mark.parametrize("task", TASKS)
def test_snapshots_with_images_are_exact(task: str, opengl: None) -> None:
    env = gym.make(env_id(task), obs="pixels", image_px=32)
    assert check_snapshot(env, steps=4) == 4
    env.close()


RESTORE_ELSEWHERE = """
import pickle, sys
import gymnasium as gym
from z1_envs.snapshot import SnapshotRestore
results = []
for env_id, seed, snapshot, actions in pickle.load(sys.stdin.buffer):
    env = SnapshotRestore(gym.make(env_id))
    env.reset(seed=seed)
    results.append(([env.restore(snapshot)], [env.step(action) for action in actions]))
pickle.dump(results, sys.stdout.buffer)
"""


def test_a_snapshot_in_mid_grasp_goes_on_in_another_process() -> None:
    jobs: list[Any] = []
    expected = []
    for task in SOME_TASKS:
        recorder = KitchenVectorEnv(task, num_envs=1)
        recorder.reset(seed=3)
        before = expert_run(recorder, 1)
        while not robot_touches(recorder.lanes.scenes[0].model, recorder.lanes.physics.rows[0]):
            before += expert_run(recorder, 1)
            assert not recorder.finished[0], f"{task}: the expert is done without a contact"
        before += expert_run(recorder, 2)
        after = expert_run(recorder, 30)
        env = SnapshotRestore(gym.make(env_id(task)))
        env.reset(seed=3)
        play(env, [action[0] for action in before])
        snapshot, actions = env.snapshot(), [action[0] for action in after]
        expected.append(([(snapshot.observation, snapshot.info)], play(env, actions)))
        assert first_difference(expected[-1][1], [env.restore(snapshot), play(env, actions)][1]) is None
        jobs.append((env_id(task), 3, snapshot, actions[: len(expected[-1][1])]))
    found = subprocess.run(
        [sys.executable, "-c", RESTORE_ELSEWHERE], input=pickle.dumps(jobs), capture_output=True, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=60, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr.decode()
    for task, got, want in zip(SOME_TASKS, pickle.loads(found.stdout), expected, strict=True):
        assert first_difference(got, want) is None, task


@pytest.mark.parametrize("task", SOME_TASKS)
def test_one_env_equals_its_lane_among_many(task: str) -> None:
    envs = KitchenVectorEnv(task, num_envs=64, num_threads=2)
    observations = [envs.reset(seed=10)[0]]
    recorded = expert_run(envs, 20)
    envs.reset(seed=10)
    observations += [envs.step(actions)[0] for actions in recorded]
    for lane in (0, 31, 63):
        env = gym.make(env_id(task))
        alone = [env.reset(seed=10 + lane)[0]] + [env.step(actions[lane])[0] for actions in recorded]
        many = [{key: rows[lane] for key, rows in observation.items()} for observation in observations]
        assert first_difference(alone, many) is None


@pytest.mark.parametrize("task", SOME_TASKS)
def test_a_lane_goes_on_in_an_env_with_another_number_of_lanes_and_threads(task: str) -> None:
    large = KitchenVectorEnv(task, num_envs=6, num_threads=2)
    large.reset(seed=0)
    expert_run(large, 20)
    saved = large.save([1, 4])
    after = expert_run(large, 15)
    small = KitchenVectorEnv(task, num_envs=2, num_threads=1)
    small.reset(seed=[1, 4])
    small.restore(pickle.loads(pickle.dumps(saved)))
    for actions in after:
        if small.finished.all():
            break
        small.step(actions[[1, 4]])
    assert small.lanes.physics.rows.tobytes() == large.lanes.physics.rows[[1, 4]].tobytes()
    assert small.finished.tolist() == large.finished[[1, 4]].tolist()


@pytest.mark.parametrize("task", SOME_TASKS)
def test_branching_is_a_gather_of_rows_and_of_what_follows(task: str) -> None:
    envs = KitchenVectorEnv(task, num_envs=8, group_size=4)
    envs.reset(seed=0)
    noise = np.random.default_rng(0)
    for actions in (noise.uniform(-0.5, 0.5, (8, 12)) for _ in range(10)):
        envs.step(actions)
    source = np.array([2, 2, 1, 0, 7, 4, 6, 6])
    rows, saved = envs.lanes.physics.rows.copy(), envs.save()
    envs.branch(source)
    assert envs.lanes.physics.rows.tobytes() == rows[source].tobytes()
    follow = noise.uniform(-0.5, 0.5, (10, 8, 12))
    branched = [envs.step(actions[source]) for actions in follow]
    envs.restore(saved)
    direct = [envs.step(actions) for actions in follow]
    for got, want in zip(branched, direct, strict=True):
        assert first_difference(got[0], {key: rows[source] for key, rows in want[0].items()}) is None
    assert (envs.lanes.physics.rows[2] != envs.lanes.physics.rows[0]).any(), "equal lanes would prove nothing"
