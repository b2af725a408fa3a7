"""Every success threshold from both sides, on real lanes: joints, object and gripper put where they matter."""

import numpy as np
import pytest

from tests.z1_envs.kitchen.play import all_of, started
from z1_envs.kitchen import goals, robot
from z1_envs.kitchen.lanes import KitchenLanes

STEP_ASIDE = 1e-3  # [m, share] far above rounding, far below what a task distinguishes


def set_qpos(lanes: KitchenLanes, index: int | slice, values: object) -> None:
    """Writes joint positions of lane 0."""
    lanes.physics.qpos[0, index] = values
    lanes.put_rows(all_of(lanes), lanes.physics.rows)  # says that the geometry is to be read anew


def succeeds(lanes: KitchenLanes) -> bool:
    return bool(lanes.status(all_of(lanes)).success[0])


@pytest.mark.parametrize(("share", "success"), [(0.0, False), (0.949, False), (0.951, True), (1.0, True)])
def test_a_drawer_is_open_from_095_of_its_travel(share: float, success: bool) -> None:
    lanes = started("OpenDrawer", [0])
    model = lanes.scenes[0].model
    set_qpos(lanes, model.joint("fixture").qposadr[0], share * model.joint("fixture").range[1])
    assert lanes.geometry(all_of(lanes)).fixture_joint[0] == pytest.approx(share)
    assert succeeds(lanes) == success


@pytest.mark.parametrize(("share", "success"), [(1.0, False), (0.051, False), (0.049, True), (0.0, True)])
def test_a_door_is_closed_from_005_of_a_right_angle(share: float, success: bool) -> None:
    lanes = started("CloseSingleDoor", [0])
    set_qpos(lanes, lanes.scenes[0].model.joint("fixture").qposadr[0], share * np.pi / 2)
    assert lanes.geometry(all_of(lanes)).fixture_joint[0] == pytest.approx(share)
    assert succeeds(lanes) == success


def sink_with(offset: np.ndarray, reach: float) -> KitchenLanes:
    """A sink lane: the object `offset` [3] from the sink's centre, the gripper at `reach` [m] beside it."""
    lanes = started("PnPCounterToSink", [0])
    g = lanes.geometry(all_of(lanes))
    set_qpos(lanes, slice(13, 16), g.goal_position[0] + offset)
    g = lanes.geometry(all_of(lanes))
    # The base's slides move along the world's x and y, the torso along z, whatever the yaw.
    move = g.target_position[0] + [reach, 0, 0] - g.eef_position[0]
    qpos = lanes.physics.qpos[0]
    set_qpos(lanes, slice(0, 2), qpos[:2] + move[:2])
    set_qpos(lanes, robot.TORSO, qpos[robot.TORSO] + move[2])
    assert lanes.geometry(all_of(lanes)).reach[0] == pytest.approx(reach)
    return lanes


def test_an_object_in_the_middle_of_the_sink_with_the_gripper_away_is_placed() -> None:
    assert succeeds(sink_with(np.zeros(3), 0.5))


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("side", [-1, 1])
def test_each_face_of_the_sink_is_a_border(axis: int, side: int) -> None:
    half = started("PnPCounterToSink", [0]).geometry(np.zeros(1, dtype=np.int32)).goal_half[0]
    for beyond, success in ((-STEP_ASIDE, True), (STEP_ASIDE, False)):
        offset = np.zeros(3)
        offset[axis] = side * (half[axis] + beyond)
        assert succeeds(sink_with(offset, 0.5)) == success


@pytest.mark.parametrize(("reach", "success"), [(0.05, False), (0.249, False), (0.251, True)])
def test_the_gripper_has_to_be_a_quarter_of_a_metre_away(reach: float, success: bool) -> None:
    assert succeeds(sink_with(np.zeros(3), reach)) == success


@pytest.mark.parametrize(("reach", "manipulating"), [(0.079, True), (0.081, False)])
def test_the_phase_changes_with_the_distance_to_the_target(reach: float, manipulating: bool) -> None:
    lanes = sink_with(np.array([0, 0, 1.0]), reach)
    assert lanes.status(all_of(lanes)).manipulating[0] == manipulating


def test_thresholds_are_robocasas() -> None:
    assert (goals.DRAWER_OPEN, goals.DOOR_CLOSED, goals.GRIPPER_FAR) == (0.95, 0.05, 0.25)
