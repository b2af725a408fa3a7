"""Lanes on a pool of workers: the bits of one env per lane, whoever does the work and whoever dies."""

import functools
import os
import pickle
import signal
import time
from collections.abc import Callable, Iterator
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import z1_envs.pool_jobs
from tests.z1_envs.dying_parent import run_until_killed
from tests.z1_envs.fake_env import FakeEnv
from z1_envs.branch import BranchVectorEnv
from z1_envs.lanes import LaneVectorEnv
from z1_envs.pool import PoolVectorEnv
from z1_envs.processes import WorkerError
from z1_envs.snapshot import SnapshotError, SnapshotRestore

RAISE, DIE, DIE_ONCE, GROW = -1.0, -0.5, -0.25, -0.125  # second entries of an action
BALLAST = 300 * 2**20  # [bytes]


class Scenic(FakeEnv):
    """Ten seeds make a scene, which pulls with a force of its own. Fails on command. Notes its resets in a file."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 30}  # noqa: RUF012 (gymnasium's)
    render_mode = "rgb_array"

    def __init__(self, log: Path | None = None) -> None:
        super().__init__(goal=4.0)
        self.log = log
        self.pull = 0.0
        self.ballast = np.zeros(0)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        observation, info = super().reset(seed=seed)
        if options:
            self.scene_id, self.pull = options["scene"]
        elif seed is not None:
            self.scene_id, self.pull = f"scene-{seed // 10}", 1e-3 * (1 + seed // 10)
        self._note(f"built {self.scene_id}" if options else f"reset {seed}")
        return observation, {**info, "scene_id": self.scene_id}

    def step(self, action: Any) -> Any:
        if action[1] == RAISE:
            raise RuntimeError("the gripper is stuck")
        if action[1] == DIE or (action[1] == DIE_ONCE and self.log is not None and "dead" not in self.log.read_text()):
            self._note("dead")
            os.kill(os.getpid(), signal.SIGKILL)
        if action[1] == GROW:
            self.ballast = np.ones(BALLAST // 8)
        self.position = self.position + self.pull
        return super().step(action)

    def get_scene(self) -> Any:
        return self.scene_id, self.pull

    def set_state(self, state: dict[str, Any]) -> None:
        if not np.isfinite(state["position"]).all():
            raise ValueError("broken record")
        super().set_state(state)

    def render(self) -> Any:
        return self.position.copy()

    def _note(self, words: str) -> None:
        if self.log is not None:
            with self.log.open("a") as file:
                print(words, file=file)


class Unbuildable(Scenic):
    def __init__(self) -> None:
        super().__init__()
        raise FileNotFoundError("no kitchen.xml here")


class Hidden(Scenic):
    """Gives an info that cannot travel."""

    def step(self, action: Any) -> Any:
        *rest, info = super().step(action)
        return *rest, {**info, "handle": lambda: None}


class Hasty(Scenic):
    """Takes chunks whole, and looks only at their end. Counts how often it has looked."""

    num_looks = 0

    def step_chunk(self, chunk: np.ndarray) -> Any:
        for action in chunk:
            result = super().step(action)
        observation, *rest, info = result
        self.num_looks += 1
        return observation, *rest, {**info, "num_looks": self.num_looks}


def hasty_with_limit() -> gym.Env:
    return gym.wrappers.TimeLimit(Hasty(), 25)


def limited(log: Path | None = None) -> gym.Env:
    return gym.wrappers.TimeLimit(Scenic(log), 25)


def moments(envs: BranchVectorEnv) -> list[Any]:
    """Everything about every lane, comparable."""
    return [
        (
            [np.asarray(value).tobytes() for value in s.observation.values()],
            [str(value) for value in s.info.values()],
            repr(s.states),
            (s.terminated, s.truncated, s.scene_id),
        )
        for s in envs.save()
    ]


def chunks(envs: BranchVectorEnv, rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(0.0, 0.4, (envs.num_envs, int(rng.integers(1, 5)), 2)).astype(np.float32)


def resets(log: Path) -> list[str]:
    """The seeds of all resets so far."""
    return sorted(line.removeprefix("reset ") for line in log.read_text().splitlines() if line.startswith("reset"))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    (tmp_path / "log").touch()
    return tmp_path / "log"


@pytest.fixture
def build() -> Iterator[Callable[..., PoolVectorEnv]]:
    built: list[PoolVectorEnv] = []

    def make(make_env: Callable[[], gym.Env] = limited, **options: Any) -> PoolVectorEnv:
        envs = PoolVectorEnv(make_env, **{"num_envs": 4, "group_size": 2, "num_workers": 2, **options})
        built.append(envs)
        return envs

    yield make
    for envs in built:
        envs.close()
    assert active_children() == []


SIZES = {
    "groups that straddle": {"num_envs": 8, "group_size": 4, "num_workers": 3},
    "more groups than room": {"num_envs": 6, "group_size": 1, "num_workers": 2, "scenes_per_worker": 1},
    "no starts remembered": {"num_envs": 6, "group_size": 2, "num_workers": 1, "remembered_starts": 0},
}


@pytest.mark.parametrize("name", SIZES)
def test_a_pool_has_the_bits_of_an_env_per_lane(name: str, build: Callable[..., PoolVectorEnv]) -> None:
    size = SIZES[name]
    pool, calm = build(**size), LaneVectorEnv(limited, num_envs=size["num_envs"], group_size=size["group_size"])
    rng = np.random.default_rng(0)
    saved: list[list[Any]] = []
    for turn in range(40):
        kind = rng.choice(["step", "step", "branch", "restore", "reset", "mask", "kill"]) if turn else "reset"
        if kind == "step" and not calm.finished.all():
            actions, active = chunks(calm, rng), (rng.random(calm.num_envs) < 0.7) & ~calm.finished
            active[np.flatnonzero(~calm.finished)[0]] = True
            for got, want in zip(
                pool.step(actions, active=active)[:4], calm.step(actions, active=active), strict=False
            ):
                np.testing.assert_equal(got, want)
            saved = [pool.save(), calm.save()]
        elif kind == "branch":
            source = rng.integers(0, calm.group_size, calm.num_envs) + calm.group_index * calm.group_size
            for envs in (pool, calm):
                envs.branch(source)
        elif kind == "restore" and saved and saved[0][0].scene_id == pool.scene_ids[0]:
            np.testing.assert_equal(pool.restore(saved[0][:1], [0]), calm.restore(saved[1][:1], [0]))
        elif kind == "reset":
            seeds = None if turn and rng.random() < 0.4 else (10 * rng.permutation(calm.num_groups)).tolist()
            np.testing.assert_equal(pool.reset(seed=seeds), calm.reset(seed=seeds))
        elif kind == "mask":
            options = {"reset_mask": calm.group_index == calm.num_groups - 1}
            np.testing.assert_equal(pool.reset(seed=3, options=options), calm.reset(seed=3, options=options))
        elif kind == "kill" and pool._pool._workers[0].num_done > 0:  # not while it starts: once is forgiven, twice not
            os.kill(pool.worker_pids[0], signal.SIGKILL)
        assert moments(pool) == moments(calm), (turn, kind)


def test_a_worker_that_dies_in_a_step_is_not_missed(build: Callable[..., PoolVectorEnv], log: Path) -> None:
    pool, calm = build(functools.partial(limited, log)), LaneVectorEnv(limited, num_envs=4, group_size=2)
    for envs in (pool, calm):
        envs.reset(seed=[7, 42])
    before = pool.worker_pids
    actions = np.zeros((4, 3, 2), np.float32)
    actions[2, 1, 1] = DIE_ONCE  # in the middle of a chunk
    np.testing.assert_equal(pool.step(actions), calm.step(actions))
    assert moments(pool) == moments(calm)
    assert "dead" in log.read_text()
    assert [a == b for a, b in zip(before, pool.worker_pids, strict=True)] == [True, False]


def test_what_fails_says_where_and_moves_nothing(build: Callable[..., PoolVectorEnv]) -> None:
    pool = build()
    pool.reset(seed=[7, 42])
    pool.step(np.full((4, 2), 0.1))
    before = moments(pool)
    actions = np.full((4, 2), 0.25)
    actions[3, 1] = RAISE
    with pytest.raises(RuntimeError, match="the gripper is stuck") as caught:
        pool.step(actions)
    assert "in worker 1 of the pool" in caught.value.__notes__[0]
    assert "lane 3:" in caught.value.__notes__[0]
    assert "raise RuntimeError" in caught.value.__notes__[0]
    assert moments(pool) == before
    actions[3, 1] = DIE
    with pytest.raises(WorkerError, match=r"lane 3: .* was ended by SIGKILL at 'step', as had another"):
        pool.step(actions)
    assert moments(pool) == before
    actions[3, 1] = 0.0
    assert pool.step(actions)[4]["elapsed"].tolist() == [2, 2, 2, 2]
    saved = pool.save()
    with pytest.raises(SnapshotError, match=r"lane 2: .*'scene-0'.*'scene-4'"):
        pool.restore(saved[:2], [1, 2])
    before = moments(pool)
    saved[1].states[-1]["position"][0] = np.nan
    with pytest.raises(ValueError, match="broken record"):
        pool.restore(saved[:2], [0, 1])
    assert moments(pool) == before
    for envs in (pool, LaneVectorEnv(limited, num_envs=4, group_size=2)):
        with pytest.raises((IndexError, KeyError, TypeError)):
            envs.reset(seed=0, options={"colour": "red"})
    assert moments(pool) == before


def test_a_worker_that_grows_too_big_is_replaced_and_nobody_notices(build: Callable[..., PoolVectorEnv]) -> None:
    pool = build(worker_memory_gib=0.25, scenes_per_worker=4)
    calm = LaneVectorEnv(limited, num_envs=4, group_size=2)
    for envs in (pool, calm):
        envs.reset(seed=[7, 42])
    before = pool.worker_pids
    actions = np.zeros((4, 2), np.float32)
    actions[1, 1] = GROW
    np.testing.assert_equal(pool.step(actions), calm.step(actions))
    assert [a == b for a, b in zip(before, pool.worker_pids, strict=True)] == [False, True]
    actions[1, 1] = 0.0
    np.testing.assert_equal(pool.step(actions), calm.step(actions))
    assert moments(pool) == moments(calm)


def test_a_start_that_was_seen_needs_no_reset(build: Callable[..., PoolVectorEnv], log: Path) -> None:
    pool = build(functools.partial(limited, log), remembered_starts=2)
    first = pool.reset(seed=[7, 42])
    pool.step(np.full((4, 5, 2), 0.2))
    assert resets(log) == ["42", "7"]
    np.testing.assert_equal(pool.reset(seed=[7, 42]), first)
    assert resets(log) == ["42", "7"]
    unseeded = pool.reset()
    pool.reset(seed=[7, 42])
    np.testing.assert_equal(pool.reset(), unseeded)  # the random stream came back too
    log.write_text("")
    pool.reset(seed=[5, 5])  # one reset serves two groups, and 7 is forgotten
    assert resets(log) == ["5"]
    pool.reset(seed=[7, 42])
    assert resets(log) == ["5", "7"]


def test_the_record_of_a_scene_is_kept_once(build: Callable[..., PoolVectorEnv]) -> None:
    pool = build()
    pool.reset(seed=[7, 42])
    pool.reset(seed=[8, 43])  # of the same two scenes
    assert sorted(pool._scenes) == ["scene-0", "scene-4"]
    assert sorted(pool._starts) == [7, 8, 42, 43]
    assert all(start.scene is None for start in pool._starts.values())


def test_scenes_are_built_where_lanes_need_them_and_only_there(build: Callable[..., PoolVectorEnv], log: Path) -> None:
    pool = build(functools.partial(limited, log), num_envs=6, group_size=3, num_workers=3)
    pool.reset(seed=[7, 42])  # workers 0 and 2 reset, lanes 2 and 3 are worker 1's
    for _ in range(3):
        pool.step(np.zeros((6, 2)))
    lines = log.read_text().splitlines()
    assert sorted(lines) == ["built scene-0", "built scene-4", "reset 42", "reset 7"]


def test_a_scene_is_built_on_a_second_worker_before_a_lane_there_moves(
    build: Callable[..., PoolVectorEnv], log: Path
) -> None:
    pool = build(functools.partial(limited, log), num_envs=2, group_size=2)
    pool.reset(seed=7)
    deadline = time.monotonic() + 10
    while "built" not in log.read_text() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert log.read_text() == "reset 7\nbuilt scene-0\n"


class Interrupted:
    """Stands in for `wait`, or for a connection's `recv`: Ctrl-C at the first call."""

    def __init__(self, original: Callable[..., Any]) -> None:
        self.original, self.calls = original, 0

    def __call__(self, *arguments: Any) -> Any:
        self.calls += 1
        if self.calls == 1:
            raise KeyboardInterrupt
        return self.original(*arguments)


def test_after_ctrl_c_every_lane_is_where_it_was(
    build: Callable[..., PoolVectorEnv], monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, calm = build(), LaneVectorEnv(limited, num_envs=4, group_size=2)
    for envs in (pool, calm):
        envs.reset(seed=[7, 42])
    before, pids = moments(pool), pool.worker_pids
    with monkeypatch.context() as patch:
        patch.setattr(z1_envs.pool_jobs, "wait", Interrupted(z1_envs.pool_jobs.wait))
        with pytest.raises(KeyboardInterrupt):
            pool.step(np.full((4, 3, 2), 0.3))
    assert moments(pool) == before
    with monkeypatch.context() as patch:
        patch.setattr(pool._pool, "prepare", Interrupted(pool._pool.prepare))  # scenes travel while it is pressed
        with pytest.raises(KeyboardInterrupt):
            pool.reset(seed=[8, 43])
    assert moments(pool) == before
    actions = np.full((4, 3, 2), 0.2)
    np.testing.assert_equal(pool.step(actions), calm.step(actions))  # the workers first answer what nobody awaits
    assert pool.worker_pids == pids
    worker: Any = pool._pool._workers[0]
    with monkeypatch.context() as patch:
        patch.setattr(worker.connection, "recv", Interrupted(worker.connection.recv))
        with pytest.raises(KeyboardInterrupt):
            pool.step(actions)  # half of an answer is lost: that worker's pipe is of no use
    np.testing.assert_equal(pool.step(actions), calm.step(actions))
    assert pool.worker_pids[0] != pids[0]
    assert moments(pool) == moments(calm)


def test_a_pool_and_a_single_env_exchange_snapshots(build: Callable[..., PoolVectorEnv]) -> None:
    pool, single = build(), SnapshotRestore(limited())
    pool.reset(seed=[7, 42])
    pool.step(np.full((4, 2), 0.1))
    single.reset(seed=42)
    single.restore(pool.save([3])[0])
    action = np.array([0.2, 0.2], dtype=np.float32)
    after, *_ = pool.step(np.tile(action, (4, 1)))
    np.testing.assert_array_equal(single.step(action)[0]["state"], after["state"][3])
    frames = pool.render()
    np.testing.assert_array_equal(frames[3], single.render())
    assert (pool.render_mode, pool.metadata["render_fps"]) == ("rgb_array", 30)
    assert pool.step(np.tile(action, (4, 1)))[0]["state"].tobytes() != after["state"].tobytes()


def test_an_env_that_takes_chunks_whole_looks_once(build: Callable[..., PoolVectorEnv]) -> None:
    pool, calm = build(Hasty, num_envs=1, group_size=1), LaneVectorEnv(Scenic, num_envs=1)
    wrapped = LaneVectorEnv(hasty_with_limit, num_envs=1)
    actions = np.full((1, 5, 2), 0.1)
    for envs in (pool, calm, wrapped):
        envs.reset(seed=7)
    got, want = pool.step(actions), calm.step(actions)
    np.testing.assert_equal(got[:4], want[:4])
    assert got[4]["num_looks"].tolist() == [1]
    assert "num_looks" not in wrapped.step(actions)[4]  # a wrapper must see every step


def test_an_info_that_cannot_travel_is_an_error_and_no_hang(build: Callable[..., PoolVectorEnv]) -> None:
    pool = build(Hidden)
    pool.reset(seed=0)
    with pytest.raises((AttributeError, TypeError, WorkerError), match="lambda"):
        pool.step(np.zeros((4, 2)))


@pytest.mark.timeout(60)
def test_options_that_cannot_travel_are_refused_and_nobody_waits(build: Callable[..., PoolVectorEnv]) -> None:
    pool = build()
    pool.reset(seed=[7, 42])
    before = moments(pool)
    with pytest.raises((AttributeError, TypeError, pickle.PicklingError), match="lambda") as caught:
        pool.reset(seed=1, options={"scene": ("scene-9", 0.1), "note": lambda: 0})
    assert "group 0: what 'reset' takes has to be picklable" in caught.value.__notes__[0]
    assert moments(pool) == before
    assert pool.step(np.zeros((4, 2)))[4]["elapsed"].tolist() == [1, 1, 1, 1]
    assert pool.reset(seed=50)[1]["elapsed"].tolist() == [0, 0, 0, 0]


def test_construction_says_what_is_wrong(build: Callable[..., PoolVectorEnv]) -> None:
    with pytest.raises(FileNotFoundError, match=r"no kitchen\.xml here"):
        build(Unbuildable)
    with pytest.raises(SnapshotError, match=r"FakeEnv has no get_scene\(\).*LaneVectorEnv"):
        build(FakeEnv)
    with pytest.raises(SnapshotError, match="CartPoleEnv is not Snapshottable"):
        build(functools.partial(gym.make, "CartPole-v1"))
    for name, value in (("num_workers", 0), ("scenes_per_worker", 0), ("remembered_starts", -1)):
        with pytest.raises(ValueError, match=f"{name} must be"):
            build(**{name: value})
    with pytest.raises(ValueError, match="worker_memory_gib must be a finite number above 0"):
        build(worker_memory_gib=0.0)
    with pytest.raises(ValueError, match="multiple of group_size"):
        build(num_envs=3)


def test_too_many_scenes_for_the_workers_are_told(
    build: Callable[..., PoolVectorEnv], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("WARNING", logger="z1_envs"):
        build(num_envs=4, group_size=1, num_workers=1, scenes_per_worker=3)
    assert "4 groups on 1 workers: each runs lanes of 4 scenes and holds 3" in caplog.text


def test_a_closed_pool_says_so(build: Callable[..., PoolVectorEnv]) -> None:
    pool = build()
    pool.reset(seed=0)
    pool.close()
    pool.close()
    with pytest.raises(gym.error.ClosedEnvironmentError, match="was closed"):
        pool.step(np.zeros((4, 2)))


def test_workers_die_with_their_parent() -> None:
    code = (
        "import os\nfrom tests.z1_envs.test_pool import limited\nfrom z1_envs.pool import PoolVectorEnv\n"
        "if __name__ == '__main__':\n    envs = PoolVectorEnv(limited, num_envs=2, num_workers=2)\n"
        "    print(*envs.worker_pids, flush=True)\n    os.kill(os.getpid(), 9)\n"
    )
    pids = [int(pid) for pid in run_until_killed(code).stdout.split()]
    assert len(pids) == 2
    deadline = time.monotonic() + 10
    while any(_is_alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [_is_alive(pid) for pid in pids] == [False, False]


def _is_alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    try:
        return "zombie" not in status.read_text()
    except OSError:
        return False
