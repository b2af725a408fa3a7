"""The envs keep Gymnasium's and SB3's contracts; what they cannot do they refuse in words that help, unchanged."""

import dataclasses
import re
import warnings
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import NameNotFound, ResetNeeded
from gymnasium.utils.env_checker import check_env as gymnasium_check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from tests.z1_envs.kitchen.play import TASKS
from z1_envs.conformance import first_difference
from z1_envs.kitchen.env import KitchenEnv, KitchenVectorEnv
from z1_envs.kitchen.scene import SceneOptions, make_scene
from z1_envs.snapshot import SnapshotError, SnapshotRestore
from z1_envs.tasks import get_task

INFO = {"success": bool, "elapsed": int, "phase": str, "backend": str, "scene_id": str, "instruction": str}


def make(task: str = "OpenDrawer", **options: Any) -> gym.Env:
    return gym.make(f"z1_envs:Z1-RoboCasa-{task}", **options)


def row_of(env: gym.Env) -> bytes:
    base: Any = env.unwrapped
    return base.get_state()[0].tobytes()


def check(env: gym.Env, *, skip_render_check: bool) -> None:
    with warnings.catch_warnings():
        # Proprioception has no bounds, which the checkers advise against; render modes need a spec of their own.
        warnings.filterwarnings("ignore", message=r".*(infinity|Inf|-inf|spec is not).*")
        gymnasium_check_env(env.unwrapped, skip_render_check=skip_render_check)
        sb3_check_env(env.unwrapped, skip_render_check=skip_render_check)


@pytest.mark.parametrize("task", TASKS)
def test_state_envs_keep_the_contracts(task: str) -> None:
    check(make(task), skip_render_check=True)


@pytest.mark.parametrize("task", TASKS)
def test_pixel_envs_keep_the_contracts(task: str, opengl: None) -> None:
    env = make(task, obs="pixels", image_px=36, render_mode="rgb_array")
    check(env, skip_render_check=False)
    env.close()


def test_a_vector_env_renders_its_lanes_as_gymnasium_s_wrappers_expect(opengl: None) -> None:
    task, seeds = "z1_envs:Z1-RoboCasa-OpenDrawer", (0, 1)
    envs = gym.make_vec(task, num_envs=2, render_mode="rgb_array")
    singles = [gym.make(task, render_mode="rgb_array") for _ in seeds]
    envs.reset(seed=list(seeds))
    for env, seed in zip(singles, seeds, strict=True):
        env.reset(seed=seed)
    assert (envs.render_mode, envs.metadata["render_fps"]) == ("rgb_array", 20)
    np.testing.assert_array_equal(np.array(envs.render()), np.array([env.render() for env in singles]))
    unseen = gym.make_vec(task, num_envs=1)
    unseen.reset(seed=0)
    assert unseen.render() is None
    for env in (envs, unseen, *singles):
        env.close()


def test_infos_have_the_same_keys_and_plain_types_on_reset_and_step() -> None:
    env = make()
    _, first = env.reset(seed=0)
    _, reward, terminated, truncated, second = env.step(np.zeros(12))
    for info, elapsed in ((first, 0), (second, 1)):
        assert {key: type(value) for key, value in info.items()} == INFO
        assert (info["elapsed"], info["success"], info["backend"]) == (elapsed, False, "kitchen")
    assert (reward, terminated, truncated) == (0.0, False, False)
    base: Any = env.unwrapped
    assert first["instruction"] == base.instruction
    assert first["scene_id"] == base.scene_id


def test_an_episode_ends_at_the_horizon_and_not_before() -> None:
    env = make(horizon=3)
    env.reset(seed=0)
    assert [env.step(np.zeros(12))[3] for _ in range(3)] == [False, False, True]
    before = row_of(env)
    with pytest.raises(ResetNeeded, match=r"call reset\(\) or restore a snapshot"):
        env.step(np.zeros(12))
    assert row_of(env) == before
    own: Any = make("PnPCounterToSink").unwrapped
    assert own.horizon == get_task("PnPCounterToSink").horizon == 700


BAD_OPTIONS = [
    ({"obs": "rgb"}, "obs must be 'state' or 'pixels', got 'rgb'"),
    ({"obs": "pixels", "image_px": 31}, r"image_px must lie in \[32, 640\], got 31"),
    ({"obs": "pixels", "image_px": 641}, r"image_px must lie in \[32, 640\], got 641"),
    ({"obs": "pixels", "image_px": 64.5}, "image_px must be a whole number of at least 1, got 64.5"),
    ({"horizon": 0}, "horizon must be a whole number of at least 1, got 0"),
    ({"horizon": 2.5}, "horizon must be a whole number of at least 1, got 2.5"),
    ({"horizon": "10"}, "horizon must be a whole number of at least 1, got '10'"),
    ({"horizon": True}, "horizon must be a whole number of at least 1, got True"),
    ({"split": "validation"}, "split must be 'train', 'test' or 'all', got 'validation'"),
    ({"layouts": ["galley", "loft"]}, r"unknown layout in \['galley', 'loft'\]; there are galley, corner_left"),
    ({"layouts": "galley"}, r"layouts takes a sequence of names, got the text 'galley': write \['galley'\]"),
    ({"layouts": 3}, "layouts takes a sequence of names, or None for the split's own; got 3"),
    ({"styles": []}, "styles is empty; name at least one of "),
    ({"layouts": [3]}, "the kitchen's layouts are names, got 3; numbers are for backend='robocasa'"),
    ({"backend": "gazebo"}, "backend must be 'auto', 'kitchen' or 'robocasa', got 'gazebo'"),
]


@pytest.mark.parametrize(("options", "message"), BAD_OPTIONS)
def test_bad_options_are_refused_by_both_envs(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**options)
    with pytest.raises(ValueError, match=message):
        gym.make_vec("z1_envs:Z1-RoboCasa-OpenDrawer", num_envs=2, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_envs": 0}, "num_envs must be a whole number of at least 1, got 0"),
        ({"num_envs": 2.0}, "num_envs must be a whole number of at least 1, got 2.0"),
        ({"num_envs": 6, "group_size": 4}, "num_envs must be a multiple of group_size, got 6 and 4"),
        ({"num_envs": 2, "num_threads": 0}, "num_threads must be a whole number of at least 1, got 0"),
    ],
)
def test_bad_numbers_of_lanes_and_threads_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gym.make_vec("z1_envs:Z1-RoboCasa-OpenDrawer", **options)


def test_scenes_take_tuples_of_names_and_seeds_from_0_on() -> None:
    with pytest.raises(ValueError, match=r"layouts must be a tuple of names, .* got \['galley'\]"):
        SceneOptions(layouts=["galley"])  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="seed must be a whole number of at least 0, got -1"):
        make_scene("OpenDrawer", -1)


def test_an_older_mujoco_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mujoco.__version__", "3.2.6")
    with pytest.raises(ImportError, match=r"needs mujoco 3\.8 or newer, installed is 3\.2\.6: take backend='robocasa'"):
        KitchenEnv("OpenDrawer")


def test_unknown_options_and_tasks_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"backend 'kitchen' has no option 'colour': there are backend, obs, .*styles"):
        make(colour="red")
    with pytest.raises(ValueError, match="no option 'style': did you mean 'styles'"):
        make(style="sage")
    with pytest.raises(ValueError, match=r"no option 'group': .*backend, num_envs, group_size"):
        gym.make_vec("z1_envs:Z1-RoboCasa-OpenDrawer", num_envs=2, group=2)
    with pytest.raises(ValueError, match=r"no option 'state_width': it is one of backend 'robocasa'; there are"):
        make(state_width=25)
    with pytest.raises(ValueError, match=r"no option 'num_envs': gymnasium\.make_vec has it; there are"):
        make(num_envs=4)
    with pytest.raises(ValueError, match=r"no option 'num_workers': gymnasium\.make_vec has it for backend 'robocasa'"):
        make(num_workers=4)
    with pytest.raises(ValueError, match=r"no option 'max_episode_steps': it is called horizon; there are"):
        gym.make_vec("z1_envs:Z1-RoboCasa-OpenDrawer", num_envs=2, max_episode_steps=50)
    with pytest.raises(ValueError, match=r"unknown task 'OpenDrawr': did you mean OpenDrawer"):
        KitchenEnv("OpenDrawr")
    with pytest.raises(NameNotFound, match="Z1-RoboCasa-OpenDrawer"):
        make("OpenDrawr")
    with pytest.raises(ValueError, match="render_mode"):
        KitchenEnv("OpenDrawer", render_mode="human")
    with pytest.raises(ValueError, match="render_mode"):
        gym.make_vec("z1_envs:Z1-RoboCasa-OpenDrawer", num_envs=2, render_mode="human")


NAN = np.r_[np.nan, np.zeros(11)]
BAD_ACTIONS = [
    (np.zeros(7), r"shape \(12,\), got \(7,\)"),
    (np.zeros((5, 12)), r"shape \(12,\), got \(5, 12\): step a chunk"),
    (NAN, "finite|nan"),
    (np.full(12, 1.01), r"1\.01|\[-1"),
    (np.array(["0"] * 12), "dtype|str"),
]


@pytest.mark.parametrize(("action", "message"), BAD_ACTIONS, ids=["shape", "chunk", "nan", "range", "dtype"])
def test_bad_actions_leave_the_state_bitwise_unchanged(action: np.ndarray, message: str) -> None:
    env = KitchenEnv("OpenDrawer")
    env.reset(seed=0)
    env.step(np.full(12, 0.5))
    before = row_of(env)
    with pytest.raises(ValueError, match=re.compile(message, re.IGNORECASE)):
        env.step(action)
    assert row_of(env) == before
    env.step(np.full(12, 0.5))


def test_stepping_before_a_reset_is_refused() -> None:
    with pytest.raises(ResetNeeded, match=r"call reset\(\)"):
        KitchenEnv("OpenDrawer").step(np.zeros(12))


def test_before_a_reset_there_is_no_scene() -> None:
    env = KitchenEnv("OpenDrawer")
    assert (env.scene_id, env.instruction) == ("", "")
    env.reset(seed=0)
    assert env.scene_id.startswith("OpenDrawer-")
    assert env.instruction.startswith("open the ")
    with pytest.raises(ResetNeeded, match="hold no scene yet"):
        KitchenVectorEnv("OpenDrawer", render_mode="rgb_array").render()


class Broken:
    """Stands in for a function: raises `error` at the call number `at`, counted from 1."""

    def __init__(self, function: Any, error: BaseException, at: int) -> None:
        self.function, self.error, self.left = function, error, at

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        self.left -= 1
        if self.left == 0:
            raise self.error
        return self.function(*arguments, **options)


def test_lanes_that_were_under_way_are_not_saved_after_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    envs = KitchenVectorEnv("OpenDrawer", num_envs=3, num_threads=1)
    envs.reset(seed=0)
    chunk, still = np.full((3, 5, 12), 0.3), np.array([True, True, False])
    begun = envs.save()
    with monkeypatch.context() as patch:
        patch.setattr(envs.lanes, "step", Broken(envs.lanes.step, KeyboardInterrupt(), at=4))
        with pytest.raises(KeyboardInterrupt):
            envs.step(chunk, active=still)  # three steps of five are done
    with pytest.raises(ResetNeeded, match=r"lanes \[0, 1\] were to move in a call that failed"):
        envs.save()
    assert envs.save([2])[0].states[0][0].tobytes() == begun[2].states[0][0].tobytes()
    envs.restore(begun)
    calm = KitchenVectorEnv("OpenDrawer", num_envs=3)
    calm.reset(seed=0)
    np.testing.assert_equal(envs.step(chunk), calm.step(chunk))


def test_lanes_whose_reset_failed_are_not_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    envs = KitchenVectorEnv("OpenDrawer", num_envs=2, num_threads=1)
    envs.reset(seed=0)
    with monkeypatch.context() as patch:
        patch.setattr(envs.lanes, "observe", Broken(envs.lanes.observe, RuntimeError("no memory"), at=1))
        with pytest.raises(RuntimeError, match="no memory"):
            envs.reset(seed=7)
    with pytest.raises(ResetNeeded, match=r"lanes \[0, 1\]"):
        envs.save()
    envs.reset(seed=7)
    calm = KitchenVectorEnv("OpenDrawer", num_envs=2)
    calm.reset(seed=7)
    assert envs.lanes.physics.rows.tobytes() == calm.lanes.physics.rows.tobytes()
    assert [saved.scene_id for saved in envs.save()] == calm.scene_ids


def test_a_single_env_is_not_snapshotted_where_ctrl_c_met_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    env = SnapshotRestore(make())
    env.reset(seed=0)
    here = env.snapshot()
    base: Any = env.unwrapped
    with monkeypatch.context() as patch:
        patch.setattr(base, "_info", Broken(base._info, KeyboardInterrupt(), at=1))  # the physics have moved
        with pytest.raises(KeyboardInterrupt):
            env.step(np.zeros(12))
    with pytest.raises(SnapshotError, match=r"call reset.* or restore"):
        env.snapshot()
    env.restore(here)
    assert env.snapshot().states[-1][0].tobytes() == here.states[-1][0].tobytes()


def test_reset_takes_no_options_but_a_scene() -> None:
    with pytest.raises(ValueError, match=r"takes the reset option 'scene', got \['layout'\]"):
        KitchenEnv("OpenDrawer").reset(options={"layout": 3})
    with pytest.raises(ValueError, match=r"no reset options, got \['layout'\]"):
        KitchenVectorEnv("OpenDrawer").reset(options={"layout": 3})


def test_a_state_of_another_scene_is_refused() -> None:
    env = SnapshotRestore(make())
    env.reset(seed=0)
    elsewhere = env.snapshot()
    env.reset(seed=1)
    before = row_of(env)
    with pytest.raises(SnapshotError, match=elsewhere.scene_id):
        env.restore(elsewhere)
    assert row_of(env) == before


def test_a_state_of_another_size_is_refused_and_nothing_changes() -> None:
    drawer, sink = KitchenEnv("OpenDrawer"), KitchenEnv("PnPCounterToSink")
    drawer.reset(seed=0)
    sink.reset(seed=0)
    before = row_of(drawer)
    stream = drawer.np_random.bit_generator.state
    with pytest.raises(SnapshotError, match="numbers here"):
        drawer.set_state(sink.get_state())
    assert row_of(drawer) == before
    assert drawer.np_random.bit_generator.state == stream


@pytest.mark.parametrize("task", TASKS)
def test_a_masked_reset_leaves_the_other_groups_bitwise_unchanged(task: str) -> None:
    envs, whole = (KitchenVectorEnv(task, num_envs=6, group_size=2) for _ in range(2))
    action = np.full((6, 12), 0.3)
    for each in (envs, whole):
        each.reset(seed=0)
        each.step(action)
    before = envs.lanes.physics.rows.copy()
    envs.reset(options={"reset_mask": np.array([False, False, True, True, False, False])})
    whole.reset()
    rows = envs.lanes.physics.rows
    assert np.array_equal(rows[[0, 1, 4, 5]], before[[0, 1, 4, 5]])
    assert np.array_equal(rows[2:4], whole.lanes.physics.rows[2:4]), "its own stream"
    streams = [saved.states[0][1] for saved in envs.save()]
    assert streams == [(0, 0)] * 2 + [(1, 1)] * 2 + [(2, 0)] * 2
    assert envs.scene_ids[2:4] == whole.scene_ids[2:4]
    assert envs.scene_ids[:2] != whole.scene_ids[:2]
    envs.step(action)
    whole.step(action)
    assert np.array_equal(rows[2:4], whole.lanes.physics.rows[2:4])
    whole.reset(seed=0)
    whole.step(action)
    whole.step(action)
    assert np.array_equal(rows[[0, 1, 4, 5]], whole.lanes.physics.rows[[0, 1, 4, 5]])


def test_a_refused_first_reset_leaves_a_usable_env() -> None:
    env = gym.make("Z1-RoboCasa-OpenDrawer", backend="kitchen")
    with pytest.raises(ValueError, match=r"takes the reset option 'scene', got \['layout'\]"):
        env.reset(seed=0, options={"layout": "island"})
    for seed in (True, -1, 1.5, "0"):
        with pytest.raises(ValueError, match="seed must be a whole number of at least 0"):
            env.reset(seed=seed)  # pyright: ignore[reportArgumentType]
    first, _ = env.reset(seed=3)
    again, _ = env.reset(seed=np.int64(3))  # pyright: ignore[reportArgumentType]
    np.testing.assert_array_equal(first["scene"], again["scene"])
    with pytest.raises(ValueError, match=r"the action must be finite numbers in \[-1, 1\] \(it has nan\)"):
        env.step(np.full(12, np.nan))
    env.step(np.zeros(12))


def test_only_snapshots_are_restored() -> None:
    env = SnapshotRestore(KitchenEnv("OpenDrawer"))
    env.reset(seed=0)
    with pytest.raises(SnapshotError, match=r"expected a Snapshot, as snapshot\(\) or save\(\) returns it, got str"):
        env.restore("x")  # pyright: ignore[reportArgumentType]
    envs = KitchenVectorEnv("OpenDrawer", num_envs=2)
    envs.reset(seed=0)
    with pytest.raises(ValueError, match=r"write restore\(\[snapshot\], \[lane\]\)"):
        envs.restore(envs.save()[0])  # pyright: ignore[reportArgumentType]


def test_unseeded_resets_follow_the_seed() -> None:
    env = make()
    env.reset(seed=5)
    ids = [env.reset()[1]["scene_id"] for _ in range(3)]
    env.reset(seed=5)
    assert [env.reset()[1]["scene_id"] for _ in range(3)] == ids
    assert len(set(ids)) == 3


def test_a_reward_comes_once_with_success() -> None:
    env = make("CloseSingleDoor")
    env.reset(seed=0)
    base: Any = env.unwrapped
    row, running, stream = base.get_state()
    # The joint's place in the row: after time come the positions, robot first.
    closed = row.copy()
    assert closed[1 + 13] > 1.0
    closed[1 + 13] = 0.0
    base.set_state((closed, running, stream))
    _, reward, terminated, truncated, info = env.step(np.zeros(12))
    assert (reward, terminated, truncated, info["success"]) == (1.0, True, False, True)


def test_layers_are_named_with_what_they_were_built_with() -> None:
    assert SnapshotRestore(KitchenEnv("OpenDrawer", horizon=30)).stack == (
        "KitchenEnv(OpenDrawer, obs=state, horizon=30, SceneOptions(split='train', layouts=None, styles=None))",
    )
    held_out = SceneOptions(split="test", styles=("sage",))
    pixels = KitchenVectorEnv("CloseSingleDoor", obs="pixels", image_px=64, horizon=30, scenes=held_out)
    assert pixels.stack == (f"KitchenLane(CloseSingleDoor, obs=pixels, image_px=64, horizon=30, {held_out})",)


def test_snapshots_of_envs_built_otherwise_are_refused_and_nothing_changes() -> None:
    envs = KitchenVectorEnv("OpenDrawer", num_envs=2, group_size=2, horizon=30)
    envs.reset(seed=0)
    single = SnapshotRestore(KitchenEnv("OpenDrawer", horizon=30))
    single.reset(seed=0)
    longer = KitchenVectorEnv("OpenDrawer", horizon=31)
    longer.reset(seed=0)
    before = envs.lanes.physics.rows.copy()
    for moment in (single.snapshot(), longer.save()[0]):
        with pytest.raises(SnapshotError, match="taken from the stack"):
            envs.restore([moment, moment])
        assert np.array_equal(envs.lanes.physics.rows, before)
    before_single = row_of(single)
    with pytest.raises(SnapshotError, match=r"KitchenLane.*this env is KitchenEnv"):
        single.restore(envs.save()[0])
    assert row_of(single) == before_single


def test_a_snapshot_with_another_observation_is_refused_before_any_lane_moves() -> None:
    envs = KitchenVectorEnv("OpenDrawer", num_envs=2, group_size=2)
    envs.reset(seed=0)
    moments = envs.save()
    envs.step(np.full((2, 12), 0.5))
    before = envs.lanes.physics.rows.copy()
    good = moments[1].observation
    for observation, words in (
        ({"state": good["state"], "front": good["scene"]}, r"lane 1: .*\['front', 'state'\].*\['scene', 'state'\]"),
        ({**good, "scene": good["scene"][:5]}, r"lane 1: .*'scene'.*\(5,\).*\(42,\)"),
        (None, "lane 1: "),
    ):
        with pytest.raises(SnapshotError, match=words):
            envs.restore([moments[0], dataclasses.replace(moments[1], observation=observation)])
        assert np.array_equal(envs.lanes.physics.rows, before)


def test_a_branch_takes_the_random_stream_along() -> None:
    envs = KitchenVectorEnv("OpenDrawer", num_envs=2, group_size=2)
    envs.reset(seed=3)
    moment = envs.save([1])[0]
    row, _, scene = moment.states[0]
    envs.restore([dataclasses.replace(moment, states=((row, (77, 4), scene),))], [1])  # the same scene, drawn elsewhere
    envs.branch([1, 1])
    assert [saved.states[0][1] for saved in envs.save()] == [(77, 4), (77, 4)]


def test_before_the_first_reset_there_is_nothing_to_see_to_save_or_to_continue() -> None:
    env = KitchenEnv("OpenDrawer", render_mode="rgb_array")
    with pytest.raises(gym.error.ResetNeeded, match="nothing to show yet"):
        env.render()
    with pytest.raises(SnapshotError, match="nothing to save yet"):
        env.get_state()
    env.reset(seed=0)
    state = env.get_state()
    with pytest.raises(SnapshotError, match="no scene yet to continue in"):
        KitchenEnv("OpenDrawer").set_state(state)


@pytest.mark.parametrize("bad", [None, (1, 2), "stream"])
def test_what_is_no_state_is_refused_and_nothing_changes(bad: object) -> None:
    env = KitchenEnv("OpenDrawer")
    env.reset(seed=0)
    before = env.get_state()
    state = (before[0] + 1.0, False, np.random.MT19937(0).state) if bad == "stream" else bad
    with pytest.raises(SnapshotError, match=r"random stream|expected what get_state\(\) returned"):
        env.set_state(state)
    assert first_difference(env.get_state(), before) is None


@pytest.mark.parametrize("make", [gym.make, gym.make_vec])
def test_an_id_s_task_cannot_be_overridden(make: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="no option 'task': the id names the task; there are backend"):
        make("Z1-RoboCasa-OpenDrawer", backend="kitchen", task="CloseDrawer")


def test_a_vector_env_that_refuses_its_arguments_can_be_closed() -> None:
    envs = KitchenVectorEnv.__new__(KitchenVectorEnv)
    with pytest.raises(ValueError, match="multiple of group_size"):
        envs.__init__("OpenDrawer", num_envs=3, group_size=2)
    envs.close()  # as older releases of Gymnasium do when it is collected
