"""The arm is a Panda: Franka's published Denavit-Hartenberg table and joint limits."""

import mujoco
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.z1_envs.kitchen.play import all_of, started
from z1_envs.kitchen import robot
from z1_envs.kitchen.scene import make_scene

# Franka's table in Craig's convention: a [m], d [m], alpha [quarter turns] of joints 1 to 7.
CRAIG = (
    (0, 0.333, 0), (0, 0, -1), (0, 0.316, 1), (0.0825, 0, 1), (-0.0825, 0.384, -1), (0, 0, 1), (0.088, 0, 1),
)  # fmt: skip
FLANGE = 0.107  # [m] behind joint 7
ROUNDING = 1e-12  # [m] a chain of eight matrix products in double precision


def flange_by_table(q: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pose [4, 4] of the flange over the mount, from the table alone."""
    pose = np.eye(4)
    for (a, d, turns), theta in zip(CRAIG, q, strict=True):
        ca, sa = np.cos(turns * np.pi / 2), np.sin(turns * np.pi / 2)
        ct, st = np.cos(theta), np.sin(theta)
        link = [[ct, -st, 0, a], [st * ca, ct * ca, -sa, -d * sa], [st * sa, ct * sa, ca, d * ca], [0, 0, 0, 1]]
        pose = pose @ np.array(link)
    pose[:3, 3] += FLANGE * pose[:3, 2]
    return pose


def placed(q: NDArray[np.float64]) -> tuple[mujoco.MjModel, mujoco.MjData]:
    """The robot at the origin with arm joints `q` [7]."""
    model = make_scene("OpenDrawer", 0).model
    data = mujoco.MjData(model)
    data.qpos[robot.ARM] = q
    mujoco.mj_kinematics(model, data)
    return model, data


def test_the_ready_posture_puts_the_tool_where_franka_says() -> None:
    _, data = placed(np.array([0, -np.pi / 4, 0, -3 * np.pi / 4, 0, np.pi / 2, np.pi / 4]))
    flange, grip = data.body("robot0_hand").xpos, data.site(robot.GRIP_SITE).xpos
    # The published pose, to the four digits in which it is given.
    assert flange == pytest.approx([0.3069, 0, robot.MOUNT_HEIGHT + 0.5903], abs=5e-5)
    assert grip == pytest.approx([0.3069, 0, robot.MOUNT_HEIGHT + 0.4869], abs=5e-5)
    assert data.site(robot.GRIP_SITE).xmat.reshape(3, 3)[:, 2] == pytest.approx([0, 0, -1], abs=ROUNDING)


def test_kinematics_equal_the_table_at_any_posture() -> None:
    rng = np.random.default_rng(0)
    for q in rng.uniform(robot.ARM_LOW, robot.ARM_HIGH, (20, 7)):
        _, data = placed(q)
        expected = flange_by_table(q)
        assert data.body("robot0_hand").xpos - [0, 0, robot.MOUNT_HEIGHT] == pytest.approx(
            expected[:3, 3], abs=ROUNDING
        )
        approach = data.body("robot0_hand").xmat.reshape(3, 3)[:, 2]
        assert approach == pytest.approx(expected[:3, 2], abs=ROUNDING)


def test_joint_and_torque_limits_are_frankas() -> None:
    model, _ = placed(np.zeros(7))
    joints = [model.joint(name) for name in robot.ARM_JOINTS]
    assert [joint.range[0] for joint in joints] == [-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973]
    assert [joint.range[1] for joint in joints] == [2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973]
    servos = [model.actuator(name) for name in robot.ARM_JOINTS]
    assert [servo.forcerange[1] for servo in servos] == [87, 87, 87, 87, 12, 12, 12]


def test_the_slices_are_where_the_model_has_the_joints() -> None:
    model, _ = placed(np.zeros(7))
    names = (*robot.BASE_JOINTS, robot.TORSO_JOINT, *robot.ARM_JOINTS, *robot.FINGER_JOINTS)
    assert [model.joint(name).qposadr[0] for name in names] == list(range(robot.FINGERS.stop))
    assert [model.actuator(i).name for i in range(model.nu)] == list(names)
    assert names[robot.BASE] == robot.BASE_JOINTS
    assert names[robot.ARM] == robot.ARM_JOINTS
    assert names[robot.FINGERS] == robot.FINGER_JOINTS


def test_full_actions_do_not_leave_the_joint_ranges() -> None:
    lanes = started("OpenDrawer", range(8))
    rng = np.random.default_rng(0)
    direction = rng.choice([-1.0, 1.0], (8, 12))
    direction[:, 7:10] = 0.0
    worst = 0.0
    for _ in range(60):
        lanes.step(all_of(lanes), direction)
        q = lanes.physics.qpos[:, robot.ARM]
        worst = max(worst, float(np.maximum(robot.ARM_LOW - q, q - robot.ARM_HIGH).max()))
    # MuJoCo's limits are soft: at full speed a joint dips in by up to 0.03 rad and comes back.
    assert worst < 0.05
