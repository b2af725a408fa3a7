"""Scenes whose seed nobody knows are made again from a record, so that snapshots of unseeded episodes are of use."""

import dataclasses
import pickle
import subprocess
import sys
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from tests.z1_envs.kitchen.play import SOME_TASKS
from z1_envs.conformance import first_difference
from z1_envs.kitchen.env import KitchenEnv, KitchenVectorEnv
from z1_envs.kitchen.scene import SceneOptions
from z1_envs.snapshot import SnapshotError, SnapshotRestore

ACTIONS = np.random.default_rng(0).uniform(-1, 1, (6, 12))

ELSEWHERE = """
import pickle, sys
import gymnasium as gym
import z1_envs
from z1_envs.snapshot import SnapshotRestore
task, scene, moment, actions = pickle.load(sys.stdin.buffer)
env = SnapshotRestore(gym.make(f"Z1-RoboCasa-{task}", backend="kitchen"))
env.reset(options={"scene": scene})
env.restore(moment)
said = [env.step(action) for action in actions]
pickle.dump((said, env.reset()), sys.stdout.buffer)
"""


def make(task: str = "OpenDrawer") -> SnapshotRestore:
    return SnapshotRestore(gym.make(f"z1_envs:Z1-RoboCasa-{task}", backend="kitchen"))


def scene_of(env: gym.Env) -> Any:
    base: Any = env.unwrapped
    return base.get_scene()


def same(got: Any, want: Any) -> bool:
    """Bit for bit."""
    return first_difference(got, want) is None


@pytest.mark.parametrize("task", SOME_TASKS)
def test_a_snapshot_of_an_unseeded_episode_is_restored_into_its_remade_scene(task: str) -> None:
    env = make(task)
    env.reset(seed=0)
    first, _ = env.reset()
    scene = pickle.loads(pickle.dumps(scene_of(env)))
    env.step(ACTIONS[0])
    moment = env.snapshot()
    said = [env.step(action) for action in ACTIONS[1:]], env.reset()
    with pytest.raises(SnapshotError, match=r"reset\(options=\{\"scene\": scene\}\), where .* get_scene\(\)"):
        env.restore(moment)
    again, info = env.reset(options={"scene": scene})
    assert same(again, first)
    assert (info["scene_id"], info["elapsed"]) == (moment.scene_id, 0)
    env.restore(moment)
    assert same(([env.step(action) for action in ACTIONS[1:]], env.reset()), said)
    if task == SOME_TASKS[0]:
        sent = pickle.dumps((task, scene, moment, ACTIONS[1:]))
        answer = subprocess.run([sys.executable, "-c", ELSEWHERE], input=sent, capture_output=True, check=True).stdout
        assert same(pickle.loads(answer), said)


def test_a_scene_after_redraws_is_remade_too(monkeypatch: pytest.MonkeyPatch) -> None:
    env = KitchenEnv("OpenDrawer")
    env.reset(seed=3)
    plain = env.scene_id
    status, calls = env._sim.lanes.status, []

    def won_at_first(lanes: Any) -> Any:
        calls.append(lanes)
        found = status(lanes)
        return dataclasses.replace(found, success=np.array([True])) if len(calls) == 1 else found

    monkeypatch.setattr(env._sim.lanes, "status", won_at_first)
    env.reset(seed=3)
    scene = env.get_scene()
    assert (scene.seed, scene.redraw, scene.scene_id != plain) == (3, 1, True)
    other = KitchenEnv("OpenDrawer")
    assert other.reset(options={"scene": scene})[1]["scene_id"] == scene.scene_id


def test_scenes_that_cannot_be_held_are_refused_and_nothing_changes() -> None:
    env = KitchenEnv("OpenDrawer")
    with pytest.raises(SnapshotError, match=r"no scene yet: call reset\(\)"):
        env.get_scene()
    env.reset(seed=0)
    env.step(ACTIONS[0])
    scene, before = env.get_scene(), env.get_state()
    held_out, other_task = KitchenEnv("OpenDrawer", scenes=SceneOptions(split="test")), KitchenEnv("TurnOnStove")
    for other in (held_out, other_task):
        other.reset(seed=0)
    for wrong, words in (
        (held_out.get_scene(), "split='test'.*this env has .*split='train'.*build"),
        (other_task.get_scene(), "task TurnOnStove, this env has OpenDrawer"),
        (dataclasses.replace(scene, scene_id="OpenDrawer-0"), "seed 0 makes .* here, .*'OpenDrawer-0'.*version"),
        ("scene", r"takes what get_scene\(\) returned, got str"),
    ):
        with pytest.raises(SnapshotError, match=words):
            env.reset(seed=7, options={"scene": wrong})
    with pytest.raises(ValueError, match=r"takes the reset option 'scene', got \['scenes'\]"):
        env.reset(options={"scenes": scene})
    assert same(env.get_state(), before)


@pytest.mark.parametrize("task", SOME_TASKS)
def test_a_lane_goes_on_in_the_scene_of_its_snapshot_whatever_it_held(task: str) -> None:
    envs = KitchenVectorEnv(task, num_envs=4, group_size=2, num_threads=1)
    envs.reset(seed=0)
    envs.reset()  # scenes whose seeds nobody knows
    actions = np.repeat(ACTIONS[:, None], 4, axis=1) * np.array([1.0, -1.0, 0.5, -0.5])[:, None]
    envs.step(actions[0])
    moments = pickle.loads(pickle.dumps(envs.save()))
    said = [envs.step(action) for action in actions[1:]]
    next_ids = envs.reset()[1]["scene_id"].tolist()

    def replay(other: KitchenVectorEnv, order: list[int]) -> None:
        """Lane k goes on from the moment of lane order[k]."""
        other.restore([moments[k] for k in order])
        assert other.scene_ids == [moments[k].scene_id for k in order]
        for action, (observation, *rest, infos) in zip(actions[1:], said, strict=True):
            found, *others, found_infos = other.step(action[order])
            for got, want in ((found, observation), (found_infos, infos)):
                assert isinstance(want, dict)
                assert same(got, {key: rows[order] for key, rows in want.items()})
            assert same(others, [rows[order] for rows in rest])

    replay(envs, [0, 1, 2, 3])
    assert envs.reset()[1]["scene_id"].tolist() == next_ids, "its random stream came along"
    elsewhere = KitchenVectorEnv(task, num_envs=4, group_size=2, num_threads=1)
    elsewhere.reset(seed=77)
    replay(elsewhere, [2, 1, 3, 0])
    with pytest.raises(SnapshotError, match="lanes branch within one scene"):
        elsewhere.branch([1, 1, 2, 3])


def test_a_restore_that_fails_leaves_every_lane_in_its_scene() -> None:
    envs = KitchenVectorEnv("OpenDrawer", num_envs=2, num_threads=1)
    envs.reset(seed=0)
    moments = envs.save()
    envs.reset(seed=10)
    scene_ids, rows = envs.scene_ids, envs.lanes.physics.rows.copy()
    row, stream, scene = moments[1].states[0]
    newer = dataclasses.replace(scene, scene_id="OpenDrawer-0")
    with pytest.raises(SnapshotError, match=r"seed 1 makes .* here, .*'OpenDrawer-0'"):
        envs.restore(
            [moments[0], dataclasses.replace(moments[1], scene_id="OpenDrawer-0", states=((row, stream, newer),))]
        )
    assert envs.scene_ids == [scene.scene_id for scene in envs.lanes.scenes] == scene_ids
    assert np.array_equal(envs.lanes.physics.rows, rows)
