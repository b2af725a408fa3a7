"""Both steppers give the same bits, on any number of threads, and refuse models that do not fit together."""

from pathlib import Path

import mujoco
import numpy as np
import pytest

from tests.z1_envs.kitchen.play import SOME_TASKS, all_of, follow_expert, robot_touches, started
from z1_envs.kitchen.env import KitchenVectorEnv
from z1_envs.kitchen.physics import DERIVED, BatchPhysics, PoolPhysics, mujoco_batch
from z1_envs.kitchen.scene import NUM_SUBSTEPS, make_scene

STATE = mujoco.mjtState.mjSTATE_INTEGRATION
needs_batch = pytest.mark.skipif(mujoco_batch is None, reason="mujoco.batch came with MuJoCo 3.17")
STEPPERS = [pytest.param(BatchPhysics, marks=needs_batch), PoolPhysics]


@needs_batch
@pytest.mark.parametrize("task", SOME_TASKS)
def test_both_steppers_and_any_number_of_threads_give_the_same_bits(task: str) -> None:
    lanes = started(task, range(4))
    follow_expert(lanes, 15)
    models = [scene.model for scene in lanes.scenes]
    steppers = [kind(models, threads) for kind in (BatchPhysics, PoolPhysics) for threads in (1, 2)]
    for stepper in steppers:
        stepper.rows[:] = lanes.physics.rows
        stepper.refresh(all_of(lanes))
    touched = set()
    for _ in range(40):
        follow_expert(lanes, 1)
        for stepper in steppers:
            # What a control step writes before it calls the stepper.
            stepper.ctrl[:], stepper.userdata[:] = lanes.physics.ctrl, lanes.physics.userdata
            stepper.step(all_of(lanes), NUM_SUBSTEPS)
            assert stepper.rows.tobytes() == lanes.physics.rows.tobytes()
            for name in DERIVED:
                assert stepper.derived[name].tobytes() == lanes.physics.derived[name].tobytes(), name
        touched |= set().union(*map(robot_touches, models, lanes.physics.rows))
    assert touched, "without contact these forty steps prove little"


@pytest.mark.parametrize("stepper", STEPPERS)
def test_only_the_lanes_asked_for_move(stepper: type) -> None:
    lanes = started("OpenDrawer", range(5))
    physics = stepper([scene.model for scene in lanes.scenes], 2)
    physics.rows[:] = lanes.physics.rows
    physics.step(np.array([1, 4], dtype=np.int32), NUM_SUBSTEPS)
    moved = (physics.rows != lanes.physics.rows).any(axis=1)
    assert moved.tolist() == [False, True, False, False, True]


@pytest.mark.parametrize("stepper", STEPPERS)
def test_models_of_other_sizes_are_refused(stepper: type) -> None:
    drawer, sink = (make_scene(task, 0).model for task in ("OpenDrawer", "PnPCounterToSink"))
    with pytest.raises(ValueError, match=r"equal sizes: lane 1 has .*nq=22 \(lane 0: 14\)"):
        stepper([drawer, sink], 1)
    physics = stepper([drawer, drawer], 1)
    with pytest.raises(ValueError, match="equal sizes"):
        physics.set_models([drawer, sink])


@pytest.mark.parametrize("stepper", STEPPERS)
def test_the_views_are_where_mujoco_has_them(stepper: type) -> None:
    model = make_scene("PnPCounterToSink", 0).model
    physics = stepper([model, model], 1)
    data, rng = mujoco.MjData(model), np.random.default_rng(0)
    for name in ("qpos", "qvel", "ctrl", "userdata"):
        getattr(data, name)[:] = rng.normal(size=getattr(data, name).shape)
    mujoco.mj_getState(model, data, physics.rows[1], STATE)
    for name in ("qpos", "qvel", "ctrl", "userdata"):
        assert np.array_equal(getattr(physics, name)[1], getattr(data, name)), name


@pytest.mark.parametrize("stepper", STEPPERS)
@pytest.mark.parametrize("speed", [1e8, 1e30])
def test_a_lane_that_diverges_ends_truncated_and_the_others_do_not_notice(
    stepper: type, speed: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # MuJoCo writes its warnings to a file where it is
    monkeypatch.setattr("z1_envs.kitchen.lanes.make_physics", stepper)
    envs, calm = (KitchenVectorEnv("PnPCounterToSink", num_envs=3, group_size=3, num_threads=1) for _ in range(2))
    for each in (envs, calm):
        each.reset(seed=0)
        each.step(np.full((3, 12), 0.3))
    envs.lanes.physics.qvel[1, 3:8] = speed
    now, rewards, terminated, truncated, infos = envs.step(np.full((3, 2, 12), 0.3))
    expected = calm.step(np.full((3, 2, 12), 0.3))
    assert (terminated.tolist(), truncated.tolist()) == ([False] * 3, [False, True, False])
    assert infos["elapsed"].tolist() == [3, 2, 3], "the step that diverged counts, and nothing was reset"
    assert not infos["success"].any()
    assert not rewards.any()
    assert isinstance(now, dict)
    for key, rows in now.items():
        assert np.isfinite(rows).all()
        assert np.array_equal(rows[[0, 2]], expected[0][key][[0, 2]])
    assert np.isfinite(envs.lanes.physics.rows[1]).all()
    envs.branch([0, 0, 2])
    now = envs.step(np.full((3, 12), 0.3))[0]
    assert isinstance(now, dict)
    assert np.array_equal(now["state"][1], now["state"][0])


def test_mujoco_resets_nothing_by_itself() -> None:
    model = make_scene("OpenDrawer", 0).model
    assert model.opt.disableflags & int(mujoco.mjtDisableBit.mjDSBL_AUTORESET)
