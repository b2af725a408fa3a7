"""What an action does: hand-worked numbers, and the bounds that keep contact forces small."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.z1_envs.kitchen.play import all_of, follow_expert, started
from z1_envs.kitchen import robot
from z1_envs.kitchen.control import MAX_BASE_LEAD, MAX_LEAD, finger_opening, servo_targets
from z1_envs.kitchen.geometry import Geometry, to_frame
from z1_envs.kitchen.lanes import KitchenLanes
from z1_envs.kitchen.scene import USER_HOME
from z1_envs.layout import ACTION

READY = (0.0, -0.785, 0.0, -2.356, 0.0, 1.571, 0.785)  # far from all joint limits and singularities


def standing_free(*yaws: float) -> KitchenLanes:
    """One lane per yaw [rad]: the robot six metres from the kitchen and its island, the arm in READY."""
    lanes = started("OpenDrawer", range(len(yaws)))
    rows = lanes.physics
    rows.qpos[:, robot.BASE] = [(-6.0, 0.0, yaw) for yaw in yaws]
    rows.qpos[:, robot.TORSO], rows.qpos[:, robot.ARM] = 0.1, READY
    rows.ctrl[:] = rows.qpos[:, : robot.FINGERS.stop]
    rows.userdata[:, USER_HOME] = READY
    lanes.put_rows(all_of(lanes), rows.rows)
    return lanes


def act(lanes: KitchenLanes, part: str, values: list[float], num_steps: int, num_rests: int = 4) -> Geometry:
    """The same action `num_steps` times, then zero actions until the servos have caught up."""
    action = np.zeros((lanes.num_lanes, ACTION.width))
    action[:, ACTION[part]] = values
    for _ in range(num_steps):
        lanes.step(all_of(lanes), action)
    for _ in range(num_rests):
        lanes.step(all_of(lanes), np.zeros_like(action))
    return lanes.geometry(all_of(lanes))


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_position_action_of_1_moves_5_cm_in_the_base_frame(axis: int, sign: int) -> None:
    lanes = standing_free(0.0, 0.5)
    before = lanes.geometry(all_of(lanes))
    values = [0.0, 0.0, 0.0]
    values[axis] = sign
    after = act(lanes, "eef_position", values, 4)
    moved = to_frame(before.base_rotation, after.eef_position - before.eef_position)
    expected = np.zeros(3)
    expected[axis] = sign * 4 * 0.05
    # Steps of 5 cm leave the Jacobian's linear range, and damping gives up some of each: within 3 cm of 20.
    assert moved == pytest.approx(np.tile(expected, (2, 1)), abs=0.03)


@pytest.mark.parametrize("axis", range(3))
def test_a_rotation_action_of_1_turns_half_a_radian_in_the_base_frame(axis: int) -> None:
    lanes = standing_free(0.0, 0.5)
    before = lanes.geometry(all_of(lanes))
    values = [0.0, 0.0, 0.0]
    values[axis] = 0.2
    after = act(lanes, "eef_rotation", values, 3)  # 3 · 0.2 · 0.5 rad = 0.3 rad
    turned = after.eef_rotation @ before.eef_rotation.transpose(0, 2, 1)
    # The axis of a small rotation is in its antisymmetric part, times the sine of the angle.
    vector = np.stack([turned[:, 2, 1], turned[:, 0, 2], turned[:, 1, 0]], axis=1) - np.stack(
        [turned[:, 1, 2], turned[:, 2, 0], turned[:, 0, 1]], axis=1
    )
    expected = np.zeros(3)
    expected[axis] = np.sin(0.3)
    # The remainder is damping's: 0.01 of 0.3 rad, 4 mm where a Jacobian of another point gives 40 cm.
    assert to_frame(before.base_rotation, vector / 2) == pytest.approx(np.tile(expected, (2, 1)), abs=0.012)
    assert after.eef_position == pytest.approx(before.eef_position, abs=0.006)


def test_the_base_drives_at_1_m_per_s_and_turns_at_1_5_rad_per_s() -> None:
    lanes = standing_free(0.0, 0.5)
    before = lanes.geometry(all_of(lanes))
    after = act(lanes, "base", [1.0, 0.0, 0.0], 10, num_rests=20)
    ahead = to_frame(before.base_rotation, after.base_position - before.base_position)
    assert ahead == pytest.approx(np.tile([0.5, 0, 0], (2, 1)), abs=0.02)  # 10 steps of 50 ms at 1 m/s
    start = lanes.physics.qpos[:, 2].copy()
    act(lanes, "base", [0.0, 0.0, -1.0], 10, num_rests=20)
    assert lanes.physics.qpos[:, 2] - start == pytest.approx(-0.75, abs=0.03)  # 10 · 50 ms · 1.5 rad/s


def test_the_torso_rises_5_cm_per_step_up_to_its_end() -> None:
    lanes = standing_free(0.0)
    act(lanes, "torso", [1.0], 2, num_rests=20)  # a slow servo: 0.15 s
    assert lanes.physics.qpos[0, robot.TORSO] == pytest.approx(0.2, abs=1e-3)
    act(lanes, "torso", [1.0], 5, num_rests=20)
    assert lanes.physics.qpos[0, robot.TORSO] == pytest.approx(robot.TORSO_RANGE[1], abs=1e-3)


def test_a_full_swing_of_the_gripper_takes_ten_steps_whatever_the_magnitude() -> None:
    lanes = standing_free(0.0)
    # Fingers swing by 2 in units of the half range, at 0.2 per step.
    act(lanes, "gripper", [0.01], 9, num_rests=0)
    assert lanes.physics.ctrl[0, robot.FINGERS] != pytest.approx(finger_opening(-1.0), abs=1e-6)
    act(lanes, "gripper", [1.0], 1, num_rests=0)
    assert lanes.physics.ctrl[0, robot.FINGERS] == pytest.approx(finger_opening(-1.0), abs=1e-12)
    act(lanes, "gripper", [0.0], 3)
    assert lanes.physics.ctrl[0, robot.FINGERS] == pytest.approx(finger_opening(-1.0), abs=1e-12)
    act(lanes, "gripper", [-1.0], 10)
    assert lanes.physics.qpos[0, robot.FINGERS] == pytest.approx([0.04, -0.04], abs=1e-4)


def test_the_null_space_moves_the_elbow_and_not_the_gripper() -> None:
    lanes = standing_free(*np.zeros(6))
    elbow = np.random.default_rng(0).normal(0, 0.15, (6, 7))
    lanes.physics.userdata[:, USER_HOME] += elbow
    before, posture = lanes.geometry(all_of(lanes)), lanes.physics.qpos[:, robot.ARM].copy()
    moved = 0.0
    for _ in range(100):
        after = act(lanes, "torso", [0.0], 1, num_rests=0)
        moved = max(moved, float(np.abs(after.eef_position - before.eef_position).max()))
    assert moved < 5e-4
    assert (np.abs(lanes.physics.qpos[:, robot.ARM] - posture).max(axis=1) > 0.02).all()


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_targets_never_lead_by_more_than_they_may(seed: int) -> None:
    rng = np.random.default_rng(seed)
    num_lanes = 7
    qpos = np.zeros((13, num_lanes))
    qpos[robot.ARM] = rng.uniform(robot.ARM_LOW, robot.ARM_HIGH, (num_lanes, 7)).T
    jacobian = rng.normal(size=(6, 7, num_lanes)) * rng.choice([1e-3, 1.0])  # also close to singular
    turn = np.broadcast_to(np.eye(3)[:, :, None], (3, 3, num_lanes))
    targets = qpos + rng.uniform(-0.3, 0.3, qpos.shape)
    new = servo_targets(rng.uniform(-1, 1, (12, num_lanes)), qpos, targets, qpos[robot.ARM] + 1.0, jacobian, turn)
    rounding = 1e-12
    assert np.isfinite(new).all()
    assert np.abs(new - qpos)[robot.ARM].max() <= MAX_LEAD + rounding
    assert (np.abs(new - qpos)[robot.BASE] <= MAX_BASE_LEAD[:, None] + rounding).all()
    assert (new[robot.ARM].T >= robot.ARM_LOW).all()
    assert (new[robot.ARM].T <= robot.ARM_HIGH).all()


def test_pushing_against_the_counter_does_not_wind_up() -> None:
    lanes = started("PnPCounterToSink", range(4))
    down = np.zeros((4, ACTION.width))
    down[:, ACTION["eef_position"]] = [0, 0, -1]
    for _ in range(40):
        before = lanes.physics.qpos[:, robot.ARM].copy()
        lanes.step(all_of(lanes), down)
        assert np.abs(lanes.physics.ctrl[:, robot.ARM] - before).max() <= MAX_LEAD + 1e-12


def test_lanes_do_not_see_each_other() -> None:
    # One lane alone, and the same lane among others: the arithmetic is elementwise over lanes.
    many = started("PnPCounterToSink", range(9))
    actions = follow_expert(many, 20)
    alone = started("PnPCounterToSink", [4])
    for action in actions:
        alone.step(all_of(alone), action[4:5])
    assert alone.physics.rows[0].tobytes() == many.physics.rows[4].tobytes()
