"""BranchVectorEnv: groups, freezing, branching algebra, refusals. LaneVectorEnv in process: equal to single envs."""

import pickle
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ClosedEnvironmentError, ResetNeeded
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.z1_envs.fake_env import FakeEnv, FakeVectorEnv
from z1_envs.branch import BranchVectorEnv
from z1_envs.lanes import LaneVectorEnv
from z1_envs.snapshot import SnapshotError, SnapshotRestore

RIGHT = np.array([1.0, 0.0], dtype=np.float32)


def make_lanes(num_envs: int = 4, group_size: int = 2) -> LaneVectorEnv:
    return LaneVectorEnv(FakeEnv, num_envs=num_envs, group_size=group_size)


BUILDERS: dict[str, Callable[[int, int], BranchVectorEnv]] = {"batched": FakeVectorEnv, "lanes": make_lanes}


@pytest.fixture(params=BUILDERS)
def envs(request: pytest.FixtureRequest) -> BranchVectorEnv:
    return BUILDERS[request.param](4, 2)


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


def drive(envs: BranchVectorEnv, seed: int = 0, num_steps: int = 3) -> Any:
    rng = np.random.default_rng(seed)
    result = None
    for _ in range(num_steps):
        result = envs.step(rng.uniform(-0.3, 0.3, (envs.num_envs, 2)))
    return result


def test_gymnasium_s_face(envs: BranchVectorEnv) -> None:
    assert isinstance(envs, gym.vector.VectorEnv)
    assert envs.metadata["autoreset_mode"] is gym.vector.AutoresetMode.DISABLED
    observation, infos = envs.reset(seed=0)
    assert observation in envs.observation_space
    assert (envs.num_envs, envs.group_size, envs.num_groups) == (4, 2, 2)
    assert envs.group_index.tolist() == [0, 0, 1, 1]
    assert infos["instruction"].shape == (4,)


def test_lanes_of_a_group_start_alike_and_groups_from_seed_plus_g(envs: BranchVectorEnv) -> None:
    observation, _ = envs.reset(seed=7)
    state = observation["state"]
    np.testing.assert_array_equal(state[0], state[1])
    assert (state[0] != state[2]).any()
    same, _ = envs.reset(seed=[8, 7])
    np.testing.assert_array_equal(same["state"][2], state[0])
    going_on, _ = envs.reset()
    np.testing.assert_array_equal(going_on["state"][0], going_on["state"][1])
    assert (going_on["state"][0] != same["state"][0]).any()


def test_a_masked_reset_starts_those_groups_only(envs: BranchVectorEnv) -> None:
    envs.reset(seed=0)
    drive(envs)
    envs.step(np.tile(RIGHT, (4, 30, 1)), active=[True, False, True, False])
    before = moments(envs)
    seconds = np.array([False, False, True, True])
    observation, infos = envs.reset(seed=[3, 9], options={"reset_mask": seconds})
    assert moments(envs)[:2] == before[:2]
    assert envs.finished.tolist() == [True, False, False, False]
    assert infos["elapsed"].tolist()[2:] == [0, 0]
    np.testing.assert_array_equal(observation["state"][2], observation["state"][3])
    whole, _ = BUILDERS["batched" if isinstance(envs, FakeVectorEnv) else "lanes"](4, 2).reset(seed=[1, 9])
    np.testing.assert_array_equal(observation["state"][2:], whole["state"][2:])
    envs.step(np.zeros((4, 2)))
    assert moments(envs)[0] == before[0]
    assert moments(envs)[1] != before[1]


def test_a_group_s_own_stream_does_not_depend_on_the_others() -> None:
    one, other = make_lanes(), make_lanes()
    second = np.array([False, False, True, True])
    for envs in (one, other):
        envs.reset(seed=0)
    for _ in range(3):
        alone, _ = one.reset(options={"reset_mask": second})
        all_of_them, _ = other.reset()
    np.testing.assert_array_equal(alone["state"][2:], all_of_them["state"][2:])
    with pytest.raises(AssertionError):
        np.testing.assert_array_equal(alone["state"][:2], all_of_them["state"][:2])


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        ([True, False, False, False], r"only some lanes of the groups \[0\]: lanes of a group start together"),
        ([False] * 4, "with a True in it"),
        ([True, True], r"shape \(4,\)"),
        ([1, 1, 0, 0], "bool array"),
    ],
)
def test_masks_that_make_no_sense_are_refused(envs: BranchVectorEnv, mask: Any, words: str) -> None:
    envs.reset(seed=0)
    drive(envs)
    before = moments(envs)
    with pytest.raises(ValueError, match=words):
        envs.reset(options={"reset_mask": mask})
    assert moments(envs) == before


def test_the_first_reset_is_of_all_lanes(envs: BranchVectorEnv) -> None:
    with pytest.raises(ResetNeeded, match=r"call reset\(\) first"):
        envs.reset(options={"reset_mask": np.array([True, True, False, False])})
    envs.reset(seed=0, options={"reset_mask": np.ones(4, dtype=bool)})
    assert len(envs.scene_ids) == 4


@pytest.mark.parametrize(
    ("seed", "words"), [(-1, "negative"), ([1, 2, 3], "one int per group"), (1.5, "one int per group")]
)
def test_seeds_that_make_no_sense_are_refused(envs: BranchVectorEnv, seed: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        envs.reset(seed=seed)


def test_before_reset_everything_says_so(envs: BranchVectorEnv) -> None:
    for call in (lambda: envs.step(np.zeros((4, 2))), lambda: envs.branch([0] * 4), envs.save):
        with pytest.raises(ResetNeeded, match=r"call reset\(\) first"):
            call()


def test_a_lane_is_the_single_env() -> None:
    envs = LaneVectorEnv(lambda: gym.wrappers.TimeLimit(FakeEnv(), 12), num_envs=2)
    single = gym.wrappers.TimeLimit(FakeEnv(), 12)
    observation, _ = envs.reset(seed=4)
    expected, _ = single.reset(seed=5)
    np.testing.assert_array_equal(observation["state"][1], expected["state"])
    rng = np.random.default_rng(0)
    for _ in range(12):
        actions = rng.uniform(-0.2, 0.2, (2, 2)).astype(np.float32)
        got, rewards, terminated, truncated, infos = envs.step(actions)
        want, reward, done, cut, info = single.step(actions[1])
        np.testing.assert_array_equal(got["state"][1], want["state"])
        assert (rewards[1], terminated[1], truncated[1]) == (reward, done, cut)
        assert {key: infos[key][1] for key in info} == info
    assert envs.finished.all()


def test_a_chunk_is_its_steps_and_stops_when_done(envs: BranchVectorEnv) -> None:
    chunk = np.random.default_rng(0).uniform(-0.5, 0.5, (4, 12, 2)).astype(np.float32)
    chunk[0, :, 0] = 1.0
    envs.reset(seed=0)
    chunked = envs.step(chunk)
    after_chunk = moments(envs)
    envs.reset(seed=0)
    total = np.zeros(4)
    for index in range(12):
        total += envs.step(chunk[:, index], active=~envs.finished)[1]
    assert moments(envs) == after_chunk
    np.testing.assert_array_equal(total, chunked[1])
    assert chunked[2][0]
    assert chunked[4]["elapsed"][0] < 12


def test_inactive_and_finished_lanes_do_not_move(envs: BranchVectorEnv) -> None:
    envs.reset(seed=0)
    drive(envs)
    before = moments(envs)
    actions = np.tile(RIGHT, (4, 30, 1))
    actions[1:] = np.nan  # nobody looks at the rows of lanes that do not move
    _, rewards, terminated, _, _ = envs.step(actions, active=[True, False, False, False])
    after = moments(envs)
    assert after[1:] == before[1:]
    assert after[0] != before[0]
    assert (rewards.tolist(), terminated.tolist()) == ([1.0, 0, 0, 0], [True, False, False, False])
    assert envs.finished.tolist() == [True, False, False, False]
    observation, rewards, terminated, _, infos = envs.step(np.zeros((4, 2)))  # lane 0 is frozen now
    assert moments(envs)[0] == after[0]
    assert (rewards[0], terminated[0], infos["success"][0]) == (0.0, True, True)
    np.testing.assert_array_equal(observation["state"][0], envs.save([0])[0].observation["state"])


def test_finished_lanes_must_be_reset_restored_or_branched(envs: BranchVectorEnv) -> None:
    envs.reset(seed=0)
    moment = envs.save()
    envs.step(np.tile(RIGHT, (4, 30, 1)), active=[True, True, False, False])
    with pytest.raises(ResetNeeded, match=r"lanes \[0\] are finished.*reset, restore or branch"):
        envs.step(np.zeros((4, 2)), active=[True, False, False, False])
    envs.step(np.tile(RIGHT, (4, 30, 1)))
    with pytest.raises(ResetNeeded, match="all 4 lanes are finished: reset, restore or branch"):
        envs.step(np.zeros((4, 2)))
    with pytest.raises(ResetNeeded, match="holds no lane"):
        envs.step(np.zeros((4, 2)), active=[False] * 4)
    envs.restore(moment[:1], [0])
    assert envs.finished.tolist() == [False, True, True, True]
    envs.branch([0, 0, 2, 3])
    assert envs.finished.tolist() == [False, False, True, True]


BAD_ACTIONS = [
    (np.full((4, 2), np.nan), r"lanes \[0, 1, 2, 3\] are not finite.*nan"),
    (np.array([[0, 0], [0, 1.1], [0, 0], [0, 0]]), r"lanes \[1\].*\[-1, 1\].*lane 1 has 1.1"),
    (np.zeros((3, 2)), r"shape \(4, 2\), or \(4, H, 2\) for chunks; got \(3, 2\)"),
    (np.zeros((4, 0, 2)), r"got \(4, 0, 2\)"),
    (np.zeros((4, 2), dtype=complex), "dtype complex128"),
    (np.full((4, 2), "up"), "dtype <U2"),
]


@pytest.mark.parametrize(("actions", "words"), BAD_ACTIONS)
def test_bad_actions_are_refused_and_nothing_moves(envs: BranchVectorEnv, actions: Any, words: str) -> None:
    envs.reset(seed=0)
    before = moments(envs)
    with pytest.raises(ValueError, match=words):
        envs.step(actions)
    assert moments(envs) == before


def test_rounding_is_clipped(envs: BranchVectorEnv) -> None:
    envs.reset(seed=0)
    envs.step(np.full((4, 2), 1.0 + 5e-7))
    clipped = moments(envs)
    envs.reset(seed=0)
    envs.step(np.ones((4, 2)))
    assert moments(envs) == clipped


def test_a_branched_lane_is_a_copy_with_its_own_future(envs: BranchVectorEnv) -> None:
    envs.reset(seed=0)
    drive(envs)
    source = moments(envs)[0]
    observation, infos = envs.branch([0, 0, 2, 3])
    assert moments(envs)[:2] == [source, source]
    np.testing.assert_array_equal(observation["state"][0], observation["state"][1])
    assert infos["elapsed"].tolist() == [3, 3, 3, 3]
    envs.step(np.zeros((4, 2)))  # the random streams were copied too
    assert moments(envs)[0] == moments(envs)[1]
    envs.step(np.array([[0, 0], [1, 0], [0, 0], [0, 0]], dtype=float))
    assert moments(envs)[0] != moments(envs)[1]


def test_swapping_two_lanes_is_a_gather(envs: BranchVectorEnv) -> None:
    envs.reset(seed=0)
    drive(envs)
    before = moments(envs)
    envs.branch([1, 0, 2, 3])
    assert moments(envs) == [before[1], before[0], before[2], before[3]]


SOURCES = st.lists(st.integers(0, 3), min_size=8, max_size=8).map(lambda x: np.array(x) + np.repeat([0, 4], 4))


@settings(max_examples=40)
@given(p=SOURCES, q=SOURCES, kind=st.sampled_from(sorted(BUILDERS)))
def test_branching_twice_is_branching_once(p: np.ndarray, q: np.ndarray, kind: str) -> None:
    envs = BUILDERS[kind](8, 4)
    envs.reset(seed=0)
    envs.step(np.tile(RIGHT, (8, 30, 1)), active=np.arange(8) % 3 == 0)  # some lanes are finished
    drive(envs)
    start = envs.save()
    envs.branch(p)
    envs.branch(q)
    twice = moments(envs)
    envs.restore(start)
    envs.branch(p[q])
    assert moments(envs) == twice


def test_sources_across_groups_are_refused_by_name(envs: BranchVectorEnv) -> None:
    envs.reset(seed=0)
    with pytest.raises(ValueError, match=r"lane 1 \(group 0\) cannot become lane 2.*lanes 0 to 1"):
        envs.branch([0, 2, 2, 0])
    for source in ([0, 1], [0.0, 1.0, 2.0, 3.0]):
        with pytest.raises(ValueError, match=r"int \[4\]"):
            envs.branch(source)


def test_save_and_restore_go_anywhere_in_the_same_scene(envs: BranchVectorEnv) -> None:
    envs.reset(seed=0)
    drive(envs)
    saved = pickle.loads(pickle.dumps(envs.save()))
    before = moments(envs)
    last = drive(envs, seed=1)
    envs.restore(saved)
    assert moments(envs) == before
    again = drive(envs, seed=1)
    np.testing.assert_array_equal(again[0]["state"], last[0]["state"])
    np.testing.assert_array_equal(again[1], last[1])
    with pytest.raises(ValueError, match="got 4 snapshots for 2 lanes"):
        envs.restore(saved, [0, 1])
    with pytest.raises(ValueError, match="distinct"):
        envs.save([1, 1])
    with pytest.raises(ValueError, match="run from 0 to 3"):
        envs.save([4])


def test_a_snapshot_of_another_scene_is_refused_and_nothing_changes() -> None:
    envs = make_lanes()
    envs.reset(seed=[0, 100])
    assert envs.scene_ids == ["fake-0", "fake-0", "fake-1", "fake-1"]
    before = moments(envs)
    with pytest.raises(SnapshotError, match=r"lane 1: .*'fake-1'.*'fake-0'"):
        envs.restore(envs.save([2, 2 + 1]), [3, 1])
    assert moments(envs) == before


def test_a_restore_that_fails_halfway_is_undone() -> None:
    envs = FakeVectorEnv(4, 2)
    envs.reset(seed=0)
    drive(envs)
    saved = envs.save([0, 1])
    saved[1].states[0][0] = np.nan
    drive(envs)
    before = moments(envs)
    with pytest.raises(ValueError, match="broken record for lane 1"):
        envs.restore(saved, [0, 1])
    assert moments(envs) == before


class Fragile(FakeEnv):
    """Fails in the middle of a step that pushes down, and in resets with an option."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        result = super().reset(seed=seed)
        if options:
            raise RuntimeError("no such option")
        return result

    def step(self, action: Any) -> Any:
        result = super().step(action)
        if action[1] < -0.9:
            raise RuntimeError("renderer lost")
        return result


class FragileVectorEnv(FakeVectorEnv):
    """The same for all lanes at once."""

    def _step_lanes(self, actions: Any, lanes: Any) -> Any:
        result = super()._step_lanes(actions, lanes)
        if (actions[..., 1] < -0.9).any():
            raise RuntimeError("renderer lost")
        return result


FRAGILE: dict[str, Callable[[], BranchVectorEnv]] = {
    "batched": lambda: FragileVectorEnv(4, 2),
    "lanes": lambda: LaneVectorEnv(Fragile, num_envs=4, group_size=2),
}


@pytest.mark.parametrize("kind", FRAGILE)
def test_lanes_of_a_step_that_failed_need_another_state(kind: str) -> None:
    envs, calm = FRAGILE[kind](), BUILDERS[kind](4, 2)
    for each in (envs, calm):
        each.reset(seed=0)
        drive(each)
    saved = envs.save([1])
    actions = np.zeros((4, 2))
    actions[1, 1] = -1.0
    with pytest.raises(RuntimeError, match="renderer lost"):
        envs.step(actions, active=[True, True, False, False])
    needs = r"lanes \[0, 1\] .*a call that failed.*: reset or restore them, or branch"
    for ask in (envs.save, lambda: envs.step(np.zeros((4, 2))), lambda: envs.branch([1, 0, 2, 3])):
        with pytest.raises(ResetNeeded, match=needs):
            ask()
    envs.step(np.zeros((4, 2)), active=[False, False, True, True])
    calm.step(np.zeros((4, 2)), active=[False, False, True, True])
    envs.restore(saved, [1])
    with pytest.raises(ResetNeeded, match=r"lanes \[0\] "):
        envs.save()
    envs.branch([1, 1, 2, 3])
    calm.branch([1, 1, 2, 3])
    assert moments(envs) == moments(calm)


@pytest.mark.parametrize("kind", FRAGILE)
def test_several_lanes_of_a_step_that_failed_are_restored_at_once(kind: str) -> None:
    envs = FRAGILE[kind]()
    envs.reset(seed=0)
    drive(envs)
    before, saved = moments(envs), envs.save()
    actions = np.zeros((4, 2))
    actions[1, 1] = -1.0
    with pytest.raises(RuntimeError, match="renderer lost"):
        envs.step(actions, active=[True, True, False, False])
    envs.restore(saved)
    assert moments(envs) == before


@pytest.mark.parametrize("kind", BUILDERS)
def test_a_closed_vector_env_refuses_all_that_moves(kind: str) -> None:
    envs = BUILDERS[kind](4, 2)
    envs.reset(seed=0)
    saved = envs.save()
    envs.close()
    for ask in (
        lambda: envs.reset(seed=0),
        lambda: envs.step(np.zeros((4, 2))),
        lambda: envs.branch([0, 0, 2, 2]),
        envs.save,
        lambda: envs.restore(saved),
    ):
        with pytest.raises(ClosedEnvironmentError, match="was closed: make another one"):
            ask()


def test_lanes_of_a_reset_that_failed_need_another() -> None:
    envs = LaneVectorEnv(Fragile, num_envs=4, group_size=2)
    envs.reset(seed=0)
    second = np.array([False, False, True, True])
    with pytest.raises(RuntimeError, match="no such option"):
        envs.reset(options={"reset_mask": second, "colour": "red"})
    with pytest.raises(ResetNeeded, match=r"lanes \[2, 3\] "):
        envs.save()
    envs.reset(options={"reset_mask": second})
    assert [saved.info["elapsed"] for saved in envs.save()] == [0] * 4


def test_lane_and_single_env_exchange_snapshots() -> None:
    envs, single = make_lanes(), SnapshotRestore(FakeEnv())
    envs.reset(seed=0)
    drive(envs)
    single.reset(seed=0)
    observation, _ = single.restore(envs.save([3])[0])
    np.testing.assert_array_equal(observation["state"], envs.save([3])[0].observation["state"])
    action = np.array([0.2, 0.2], dtype=np.float32)
    after, *_ = envs.step(np.tile(action, (4, 1)))
    np.testing.assert_array_equal(single.step(action)[0]["state"], after["state"][3])


def test_followers_in_another_scene_are_reset_with_the_group_s_seed() -> None:
    envs = make_lanes()
    envs.reset(seed=0)
    observation, _ = envs.reset(seed=250)
    assert envs.scene_ids == ["fake-2"] * 4
    np.testing.assert_array_equal(observation["state"][2], observation["state"][3])
    assert moments(envs)[2] == moments(envs)[3]


class Chatty(FakeEnv):
    """Gives other info keys at reset than in a step, as Gymnasium's MuJoCo envs do."""

    def step(self, action: Any) -> Any:
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, reward, terminated, truncated, {**info, "effort": 0.5, "count": 3, "tool": "hand"}


def test_gymnasium_s_statistics_count_an_episode_once_where_its_lane_is_reset_at_once() -> None:
    def counted(mends: bool) -> tuple[list[int], list[int]]:
        """Lengths of the episodes, as counted and as they were: a lane ends when it has been pushed beyond 3."""
        envs = gym.wrappers.vector.RecordEpisodeStatistics(FakeVectorEnv(3, 1))
        envs.reset(seed=[0, 100, 200])  # starts at 0, 1 and 2: the last one ends first
        counts, lengths = np.zeros(3, dtype=int), []
        for _ in range(6):
            done = envs.step(np.tile([0.7, 0.0], (3, 1)))
            ended = done[2] | done[3]
            counts += 1
            if mends and ended.any():
                lengths += counts[ended].tolist()
                counts[ended] = 0
                envs.reset(options={"reset_mask": ended})
            elif ended.all():
                break
        return list(envs.length_queue), lengths

    found, expected = counted(mends=True)
    assert found == expected
    assert len(found) > 3, "episodes that follow are counted too"
    found, _ = counted(mends=False)
    assert len(found) > 3, "three episodes, each counted again at every step until the last lane is done"


def test_every_info_key_is_there_for_all_lanes() -> None:
    envs = LaneVectorEnv(Chatty, num_envs=2)
    envs.reset(seed=0)
    *_, infos = envs.step(np.zeros((2, 2)), active=[True, False])
    assert infos["effort"][0] == 0.5
    assert np.isnan(infos["effort"][1])
    assert infos["count"].tolist() == [3, -1]
    assert infos["tool"].tolist() == ["hand", None]
    envs.branch([0, 1])
    envs.restore(envs.save())
    assert envs.save([1])[0].info["tool"] is None


class Pointing(FakeEnv):
    """Its info holds an array, always the same one, that it writes into."""

    def __init__(self) -> None:
        super().__init__()
        self.pose = np.zeros(3)

    def _info(self) -> dict[str, Any]:
        self.pose[:] = self.position
        return {**super()._info(), "pose": self.pose, "tools": ["hand"]}


def test_infos_share_no_memory() -> None:
    envs = LaneVectorEnv(Pointing, num_envs=2, group_size=2)
    _, infos = envs.reset(seed=0)
    start = infos["pose"][0].copy()

    def poses() -> list[list[float]]:
        return [saved.info["pose"].tolist() for saved in envs.save()]

    infos["pose"][0][:] = 9.0
    infos["tools"][0].append("spoon")
    assert poses() == [start.tolist()] * 2
    assert envs.save()[1].info["tools"] == ["hand"]
    *_, infos = envs.step(np.full((2, 2), 0.5), active=[True, False])
    assert poses() == [infos["pose"][0].tolist(), start.tolist()]
    saved = envs.save()
    _, infos = envs.restore(saved)
    infos["pose"][1][:] = 9.0
    saved[1].info["pose"][:] = 9.0
    assert poses()[1] == start.tolist()


@pytest.mark.parametrize(
    ("make_env", "words"),
    [
        ("MyEnv-v0", r"callable such as `lambda: gym\.make\('MyEnv-v0'\)`; got 'MyEnv-v0'"),
        (FakeEnv(), r"callable such as `lambda: gym\.make\(\"MyEnv-v0\"\)`; got FakeEnv"),
        ([FakeEnv, FakeEnv()], r"callable such as `lambda: .*; got FakeEnv"),
    ],
)
def test_lanes_are_built_by_callables(make_env: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        LaneVectorEnv(make_env, num_envs=2)


def never_built() -> gym.Env:
    pytest.fail("an env is built before the numbers are checked")


def test_construction_says_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="multiple of group_size, got 4 and 3"):
        FakeVectorEnv(4, 3)
    with pytest.raises(ValueError, match="multiple of group_size, got 4 and 3"):
        LaneVectorEnv(never_built, num_envs=4, group_size=3)
    for num_envs in (0, 2.5):
        bad: Any = num_envs
        with pytest.raises(ValueError, match=f"num_envs must be a whole number of at least 1, got {num_envs}"):
            LaneVectorEnv(never_built, num_envs=bad)
    with pytest.raises(ValueError, match="got no callables to build lanes from"):
        LaneVectorEnv([])
    with pytest.raises(ValueError, match="workers must be 0"):
        LaneVectorEnv(FakeEnv, num_envs=4, workers=2)
    with pytest.raises(ValueError, match=r"lane 1 has the stack.*built alike"):
        LaneVectorEnv([FakeEnv, lambda: gym.wrappers.TimeLimit(FakeEnv(), 5)])
    with pytest.raises(SnapshotError, match="CartPoleEnv is not Snapshottable"):
        LaneVectorEnv(lambda: gym.make("CartPole-v1"), num_envs=2)
