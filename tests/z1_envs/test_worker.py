"""Lanes in processes of their own: the same bits, remote errors, death and recovery, nothing left behind."""

import os
import pickle
import runpy
import signal
import time
from collections.abc import Iterator
from multiprocessing import active_children
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.error import ResetNeeded

from tests.z1_envs.dying_parent import run_until_killed
from tests.z1_envs.fake_env import FakeEnv
from z1_envs import shared_memory
from z1_envs.lanes import LaneVectorEnv
from z1_envs.shared_memory import ObservationBlock
from z1_envs.worker import WorkerError

EXAMPLE = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "branch_any_env.py"))
DEV_SHM = Path("/dev/shm")


class Touchy(FakeEnv):
    """Raises or dies on command: the second entry of the action says which."""

    def step(self, action: Any) -> Any:
        if action[1] == -1.0:
            raise RuntimeError("the gripper is stuck")
        if action[1] == -0.5:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step(action)


class Meeting(FakeEnv):
    """Closes when `num_envs` of them have begun to, in whatever processes; not before."""

    def __init__(self, folder: Path, num_envs: int) -> None:
        super().__init__()
        self.folder, self.num_envs = folder, num_envs

    def close(self) -> None:
        (self.folder / f"closing-{os.getpid()}").touch()
        while len(list(self.folder.glob("closing-*"))) < self.num_envs:
            time.sleep(0.01)
        (self.folder / f"closed-{os.getpid()}").touch()


class Unbuildable(FakeEnv):
    def __init__(self) -> None:
        super().__init__()
        raise FileNotFoundError("no kitchen.xml here")


class Moving(FakeEnv):
    """Every reset, also one without a seed, draws another scene; states of other scenes are refused."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.scene_id = f"moving-{self.np_random.integers(2**40)}"
        return self._observation(), self._info()


class Slow(FakeEnv):
    """Takes its time for a step; leaves a file where it is closed."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def step(self, action: Any) -> Any:
        (self.folder / "stepping").touch()
        time.sleep(0.5)
        return super().step(action)

    def close(self) -> None:
        (self.folder / "closed").touch()


def limited_touchy() -> gym.Env:
    return gym.wrappers.TimeLimit(Touchy(goal=1e9), 25)


@pytest.fixture
def nothing_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Of the memory that this test's process makes; tests in other processes make some at the same time."""
    made: list[str] = []

    class Noted(SharedMemory):
        def __init__(self, name: str | None = None, create: bool = False, size: int = 0) -> None:
            super().__init__(name, create, size)
            if create:
                made.append(self.name)

    monkeypatch.setattr(shared_memory, "SharedMemory", Noted)
    yield
    assert made, "no memory was made: this fixture watches the wrong class"
    assert [name for name in made if (DEV_SHM / name).exists()] == []
    assert active_children() == []


def pid_of(envs: LaneVectorEnv, lane: int) -> int:
    worker: Any = envs._lanes[lane]
    return worker.pid


def run_and_branch(envs: LaneVectorEnv) -> list[Any]:
    """A trunk, a branch, a restore; everything that was returned, as bytes."""
    seen: list[Any] = []

    def note(observation: Any, *rest: Any) -> None:
        seen.append((np.asarray(observation).tobytes(), *(np.asarray(x).tobytes() for x in rest[:3])))

    envs.action_space.seed(0)
    note(envs.reset(seed=3)[0])
    for _ in range(3):
        note(*envs.step(envs.action_space.sample())[:4])
    saved = envs.save()
    note(envs.branch([1, 0, 2])[0])
    for _ in range(4):
        note(*envs.step(envs.action_space.sample(), active=~envs.finished)[:4])
    note(envs.restore(saved[:1], [2])[0])
    note(*envs.step(envs.action_space.sample(), active=~envs.finished)[:4])
    return seen


@pytest.mark.parametrize("name", ["make_cartpole", "make_pendulum"])
def test_branching_across_processes_is_bit_exact(name: str, nothing_left: None) -> None:
    in_process = LaneVectorEnv(EXAMPLE[name], num_envs=3, group_size=3)
    expected = run_and_branch(in_process)
    in_process.close()
    # run_path's module is not importable in a worker: cloudpickle sends the functions and classes by value.
    in_workers = LaneVectorEnv(EXAMPLE[name], num_envs=3, group_size=3, workers=3)
    try:
        assert run_and_branch(in_workers) == expected
    finally:
        in_workers.close()


def test_a_worker_that_is_killed_comes_back_exactly(nothing_left: None) -> None:
    chunks = np.random.default_rng(0).uniform(0.0, 0.5, (8, 2, 3, 2)).astype(np.float32)
    calm = LaneVectorEnv(limited_touchy, num_envs=2, group_size=2)
    envs = LaneVectorEnv(limited_touchy, num_envs=2, group_size=2, workers=2)
    try:
        for each in (calm, envs):
            each.reset(seed=0)
        for index, chunk in enumerate(chunks):
            if index == 2:  # after steps that nobody saved
                os.kill(pid_of(envs, 1), signal.SIGKILL)
            if index == 4:  # right after a branch
                calm.branch([1, 1])
                envs.branch([1, 1])
                os.kill(pid_of(envs, 0), signal.SIGKILL)
            want, got = calm.step(chunk), envs.step(chunk)
            np.testing.assert_array_equal(got[0]["state"], want[0]["state"])
            np.testing.assert_array_equal(got[4]["elapsed"], want[4]["elapsed"])
        assert envs.step(chunks[0])[3].tolist() == [True, True]  # 9 chunks of 3 > 25: the limit came back too
        os.kill(pid_of(envs, 0), signal.SIGKILL)
        envs.reset(seed=150)  # a new scene, on a worker that has just died
        assert envs.scene_ids == ["fake-1", "fake-1"]
        # A remote error arrives with its type, its text, and the remote traceback.
        with pytest.raises(RuntimeError, match="the gripper is stuck") as caught:
            envs.step(np.full((2, 2), -1.0))
        assert "in the worker of lane 0" in caught.value.__notes__[0]
        assert "raise RuntimeError" in caught.value.__notes__[0]
        envs.reset(seed=150)
        # A command that kills every worker is not repeated for ever.
        with pytest.raises(WorkerError, match=r"lane 0 was ended by SIGKILL at 'step', and its successor"):
            envs.step(np.array([[0.0, -0.5], [0.0, 0.0]]))
    finally:
        envs.close()  # lane 0 has no worker any more
    envs.close()


def test_a_first_reset_without_a_seed_is_one_that_can_be_repeated(nothing_left: None) -> None:
    # Each of these draws a scene from its own random stream, and a new process has another one.
    envs = LaneVectorEnv(Moving, num_envs=2, group_size=2, workers=2)
    chunk = np.full((2, 3, 2), 0.05, dtype=np.float32)
    try:
        envs.reset()
        assert len(set(envs.scene_ids)) == 1
        envs.step(chunk)
        scenes, saved = envs.scene_ids, envs.save()
        want = envs.step(chunk)
        os.kill(pid_of(envs, 1), signal.SIGKILL)
        envs.restore(saved)
        np.testing.assert_array_equal(envs.step(chunk)[0]["state"], want[0]["state"])
        assert envs.scene_ids == scenes
    finally:
        envs.close()


@pytest.mark.parametrize("make", [FakeEnv, Moving])
def test_a_worker_comes_back_after_resets_without_a_seed(make: type[FakeEnv], nothing_left: None) -> None:
    chunk = np.full((2, 3, 2), 0.05, dtype=np.float32)
    calm = LaneVectorEnv(make, num_envs=2)
    envs = LaneVectorEnv(make, num_envs=2, workers=2)
    try:
        for each in (calm, envs):
            each.reset(seed=0)
        for episode in range(6):
            for index in range(3):
                if episode in (3, 4) and index == episode - 2:
                    os.kill(pid_of(envs, 0), signal.SIGKILL)
                want, got = calm.step(chunk), envs.step(chunk)
                np.testing.assert_array_equal(got[0]["state"], want[0]["state"])
            mask = {"reset_mask": np.array([True, episode % 2 == 0])}
            np.testing.assert_array_equal(envs.reset(options=mask)[0]["state"], calm.reset(options=mask)[0]["state"])
            assert envs.scene_ids == calm.scene_ids
        assert len(set(calm.scene_ids)) == (1 if make is FakeEnv else 2)
    finally:
        envs.close()


def test_the_log_of_a_worker_forgets_episodes_of_the_same_scene(nothing_left: None) -> None:
    envs = LaneVectorEnv(FakeEnv, num_envs=2, workers=2)
    lane: Any = envs._lanes[0]
    lengths: list[int] = []
    try:
        envs.reset(seed=0)
        for _ in range(5):
            for _ in range(4):
                envs.step(np.full((2, 2), 0.05, dtype=np.float32))
            envs.reset(options={"reset_mask": np.array([True, True])})
            lengths.append(len(lane._log))
    finally:
        envs.close()
    assert lengths == [2] * 5  # the seeded reset, and the state that the group's first lane handed out


def test_what_cannot_travel_is_refused_and_forgotten(nothing_left: None) -> None:
    envs = LaneVectorEnv(FakeEnv, num_envs=1, workers=1)
    chunk = np.full((1, 2), 0.1, dtype=np.float32)
    try:
        envs.reset(seed=0)
        with pytest.raises((AttributeError, TypeError, pickle.PicklingError), match="lambda"):
            envs.reset(seed=1, options={"note": lambda: 0})
        envs.reset(seed=0)
        envs.step(chunk)
        os.kill(pid_of(envs, 0), signal.SIGKILL)
        assert envs.step(chunk)[4]["elapsed"].tolist() == [2]
    finally:
        envs.close()


def test_an_env_that_cannot_be_built_says_so_and_leaves_nothing(nothing_left: None) -> None:
    with pytest.raises(FileNotFoundError, match=r"no kitchen\.xml here"):
        LaneVectorEnv([FakeEnv, Unbuildable], workers=2)


def test_workers_close_side_by_side(tmp_path: Path, nothing_left: None) -> None:
    envs = LaneVectorEnv(lambda: Meeting(tmp_path, 3), num_envs=3, workers=3)
    envs.close()  # one after the other they would wait for each other until they are killed
    assert len(list(tmp_path.glob("closed-*"))) == 3


def test_a_block_carries_observations_and_refuses_other_shapes() -> None:
    space = spaces.Dict(
        {"image": spaces.Box(0, 255, (5, 7, 3), np.uint8), "state": spaces.Box(-1, 1, (3,), np.float64)}
    )
    block = ObservationBlock(space, None)
    other = ObservationBlock(space, block.name)
    rng = np.random.default_rng(0)
    observation = {"image": rng.integers(0, 255, (5, 7, 3), np.uint8), "state": rng.normal(size=3)}
    other.write(observation)
    got = block.read()
    for key, value in observation.items():
        np.testing.assert_array_equal(got[key], value)
    with pytest.raises(ValueError, match=r"'state' has shape \(4,\).*says \(3,\)"):
        other.write({**observation, "state": np.zeros(4)})
    other.release()
    block.release()
    block.release()
    with pytest.raises(ValueError, match="closed"):
        block.read()


class Interrupted:
    """Stands in for a lane's connection: Ctrl-C while the answer to the next command is awaited."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)

    def recv(self) -> Any:
        raise KeyboardInterrupt


def test_after_ctrl_c_every_lane_answers_what_it_is_asked(nothing_left: None) -> None:
    calm = LaneVectorEnv(limited_touchy, num_envs=2)
    envs = LaneVectorEnv(limited_touchy, num_envs=2, workers=2)
    chunk = np.full((2, 2, 2), 0.25, dtype=np.float32)
    try:
        for each in (calm, envs):
            each.reset(seed=0)
        begun = envs.save()
        first: Any = envs._lanes[0]
        first._connection = Interrupted(first._connection)
        with pytest.raises(KeyboardInterrupt):
            envs.step(chunk)  # neither answer is read
        first._connection = first._connection.connection
        with pytest.raises(ResetNeeded, match=r"lanes \[0, 1\] were to move in a call that failed"):
            envs.save()
        envs.restore(begun)
        os.kill(pid_of(envs, 1), signal.SIGKILL)
        for _ in range(2):
            want, got = calm.step(chunk), envs.step(chunk)
            np.testing.assert_array_equal(got[0]["state"], want[0]["state"])
            np.testing.assert_array_equal(got[4]["elapsed"], want[4]["elapsed"])
        assert [saved.info["elapsed"] for saved in envs.save()] == [4, 4]
        first._connection = Interrupted(first._connection)
        with pytest.raises(KeyboardInterrupt):
            envs.step(np.full((2, 2), -1.0))  # an error that nobody has read
        first._connection = first._connection.connection
        envs.reset(seed=1)
        calm.reset(seed=1)
        want, got = calm.step(chunk), envs.step(chunk)
        np.testing.assert_array_equal(got[0]["state"], want[0]["state"])
    finally:
        envs.close()


def test_a_worker_whose_parent_dies_closes_its_env_without_a_traceback(tmp_path: Path) -> None:
    code = (
        "import functools, os, time\nfrom pathlib import Path\nimport numpy as np\n"
        "from tests.z1_envs.test_worker import Slow\nfrom z1_envs.lanes import LaneVectorEnv\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "if __name__ == '__main__':\n    envs = LaneVectorEnv(functools.partial(Slow, folder), num_envs=1, workers=1)\n"
        "    envs.reset(seed=0)\n    envs._lanes[0].send('step', np.zeros(2))\n"
        "    while not (folder / 'stepping').exists():\n        time.sleep(0.01)\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    assert "Traceback" not in run_until_killed(code).stderr
    assert (tmp_path / "closed").exists()
