"""A PandaOmron-like mobile manipulator from primitives: no meshes, no files.

The arm has the Panda's published kinematics (Franka's Denavit-Hartenberg table), joint and torque limits; the
base has the footprint, mount height and torso travel of RoboCasa's Omron base. The base frame is the arm's
mount projected to the floor: x forward, y left, z up.

Every joint is driven by a position servo, so that one `mj_step` call runs a whole control step in C.
"""

import mujoco
import numpy as np
from numpy.typing import NDArray

from z1_envs.kitchen.shapes import JOINT, ROBOT, box, capsule

MOUNT_HEIGHT = 0.70  # [m] arm base above the floor at torso 0, as RoboCasa's Omron base
TORSO_RANGE = (0.0, 0.34)  # [m]
FINGER_RANGE = (0.0, 0.04)  # [m] opening of each finger

# Franka's limits: joint range [rad] and torque [Nm].
ARM_LOW = np.array([-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973])
ARM_HIGH = np.array([2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973])
ARM_TORQUE = (87.0, 87.0, 87.0, 87.0, 12.0, 12.0, 12.0)
# Servo stiffness [Nm/rad]; damping is a twentieth of it, so the arm lags its targets by one control step.
ARM_STIFFNESS = (4500.0, 4500.0, 3500.0, 3500.0, 2000.0, 2000.0, 1000.0)

# Of the motors behind their gears [kg m²]. With 0.1 what the hand holds creeps by centimetres while the arm moves: the
# stiff servos of light links need finer substeps then.
ARM_ARMATURE = 0.5

BASE_JOINTS = ("robot0_base_forward", "robot0_base_left", "robot0_base_yaw")
TORSO_JOINT = "robot0_torso"
ARM_JOINTS = tuple(f"robot0_joint{i}" for i in range(1, 8))
FINGER_JOINTS = ("robot0_finger_left", "robot0_finger_right")
GRIP_SITE = "robot0_grip_site"

# Where the robot is in qpos, qvel and ctrl alike: it is added first and has no free joint.
BASE, TORSO, ARM, FINGERS = slice(0, 3), slice(3, 4), slice(4, 11), slice(11, 13)

# From each joint frame to the next: translation [m] and rotation about x [quarter turns].
_LINKS = (
    ((0.0, 0.0, 0.333), 0),
    ((0.0, 0.0, 0.0), -1),
    ((0.0, -0.316, 0.0), 1),
    ((0.0825, 0.0, 0.0), 1),
    ((-0.0825, 0.384, 0.0), -1),
    ((0.0, 0.0, 0.0), 1),
    ((0.088, 0.0, 0.0), 1),
)
# One capsule per link, in the link's frame: ends [m], radius [m], mass [kg] (Franka's link masses).
_CAPSULES = (
    ((0, 0, -0.22), (0, 0, -0.03), 0.070, 4.97),
    ((0, -0.06, 0), (0, 0.02, 0), 0.068, 0.65),
    ((0.02, 0, -0.12), (0.03, 0, -0.05), 0.065, 3.23),
    ((-0.03, 0.0, 0), (-0.05, 0.07, 0), 0.065, 3.59),
    ((0.0, 0.03, -0.24), (0, 0.06, -0.06), 0.052, 1.23),
    ((0, 0, 0), (0.07, 0.0, 0), 0.052, 1.67),
    ((0, 0, 0.0), (0, 0, 0.08), 0.048, 0.74),
)
_WHITE, _GREY, _DARK, _RUBBER = (0.92, 0.93, 0.95, 1), (0.55, 0.57, 0.6, 1), (0.2, 0.2, 0.22, 1), (0.1, 0.1, 0.1, 1)


def add_robot(spec: mujoco.MjSpec) -> None:
    """Add the robot, its servos, its grip site and its three cameras to `spec`, its base frame at the world's."""
    base = spec.worldbody.add_body(name="robot0_base", gravcomp=1)
    kinds = (JOINT.mjJNT_SLIDE, JOINT.mjJNT_SLIDE, JOINT.mjJNT_HINGE)
    for name, axis, kind in zip(BASE_JOINTS, ((1, 0, 0), (0, 1, 0), (0, 0, 1)), kinds, strict=True):
        base.add_joint(name=name, type=kind, axis=axis, armature=1.0, damping=[10, 0, 0])
    box(base, "robot0_wheels", (-0.20, 0, 0.20), (0.35, 0.25, 0.18), _GREY, ROBOT, mass=60)
    capsule(base, "robot0_column", ((-0.05, 0, 0.40), (-0.05, 0, 0.58)), 0.11, _DARK, ROBOT, mass=10)
    torso = base.add_body(name="robot0_torso", pos=[0, 0, MOUNT_HEIGHT], gravcomp=1)
    torso.add_joint(
        name=TORSO_JOINT, type=JOINT.mjJNT_SLIDE, axis=[0, 0, 1], range=TORSO_RANGE, armature=1.0, damping=[10, 0, 0]
    )
    capsule(torso, "robot0_torso", ((-0.05, 0, -0.22), (-0.03, 0, 0.0)), 0.10, _DARK, ROBOT, mass=8)
    hand = _add_arm(torso)
    _add_gripper(hand)
    _add_cameras(base, hand)
    _add_servos(spec)


def _add_arm(mount: mujoco.MjsBody) -> mujoco.MjsBody:
    """The seven links on `mount`; returns the hand, z along the approach direction, y along the opening."""
    body = mount
    for i, ((pos, quarter_turns), (start, end, radius, mass)) in enumerate(zip(_LINKS, _CAPSULES, strict=True)):
        half = quarter_turns * np.pi / 4
        body = body.add_body(name=f"robot0_link{i + 1}", pos=pos, quat=[np.cos(half), np.sin(half), 0, 0], gravcomp=1)
        body.add_joint(
            name=ARM_JOINTS[i], type=JOINT.mjJNT_HINGE, axis=[0, 0, 1], range=[ARM_LOW[i], ARM_HIGH[i]],
            armature=ARM_ARMATURE, damping=[1, 0, 0],
        )  # fmt: skip
        capsule(body, f"robot0_link{i + 1}", (start, end), radius, _WHITE, ROBOT, mass)
    # The flange is 107 mm along z; the hand is mounted turned by -45 degrees.
    return body.add_body(
        name="robot0_hand", pos=[0, 0, 0.107], quat=[np.cos(np.pi / 8), 0, 0, -np.sin(np.pi / 8)], gravcomp=1
    )


def _add_gripper(hand: mujoco.MjsBody) -> None:
    box(hand, "robot0_hand", (0, 0, 0.03), (0.025, 0.10, 0.033), _WHITE, ROBOT, mass=0.73)
    for name, side in zip(FINGER_JOINTS, (1, -1), strict=True):
        finger = hand.add_body(name=name, pos=[0, 0, 0.0584], gravcomp=1)
        # The gears' inertia: light fingers would push centimetres into soft contacts and joint stops.
        low, high = FINGER_RANGE if side > 0 else (-FINGER_RANGE[1], -FINGER_RANGE[0])
        finger.add_joint(
            name=name, type=JOINT.mjJNT_SLIDE, axis=[0, 1, 0], range=[low, high], damping=[10, 0, 0], armature=0.5
        )
        box(finger, f"{name}_body", (0, side * 0.014, 0.020), (0.009, 0.007, 0.026), _GREY, ROBOT, mass=0.05)
        pad = box(finger, f"{name}_pad", (0, side * 0.006, 0.045), (0.010, 0.006, 0.010), _RUBBER, ROBOT, mass=0.02)
        pad.friction = [2.0, 0.05, 0.0001]
        pad.condim = 4
    hand.add_site(name=GRIP_SITE, pos=[0, 0, 0.1034], size=[0.005, 0, 0], group=4)


def _add_cameras(base: mujoco.MjsBody, hand: mujoco.MjsBody) -> None:
    """The three cameras of RoboCasa's policies, by its names."""
    for name, side in (("robot0_agentview_left", 1), ("robot0_agentview_right", -1)):
        eye = (-0.32, side * 0.58, 1.75)  # about RoboCasa's; from drawers to wall cabinets all is in view
        base.add_camera(name=name, pos=eye, fovy=60, quat=_look_at(eye, (0.70, 0, 1.06)))
    hand.add_camera(name="robot0_eye_in_hand", pos=[0.07, 0, 0.0], fovy=75, quat=[0, 0.7071068, 0.7071068, 0])


def _look_at(eye, target) -> NDArray[np.float64]:
    """Quaternion wxyz of a camera at `eye` that looks at `target` with z up (MuJoCo: along -z, y up)."""
    z = np.subtract(eye, target).astype(np.float64)
    z /= np.linalg.norm(z)
    x = np.cross([0, 0, 1], z)
    x /= np.linalg.norm(x)
    quat = np.empty(4)
    mujoco.mju_mat2Quat(quat, np.stack([x, np.cross(z, x), z], axis=1).ravel())
    return quat


def _add_servos(spec: mujoco.MjSpec) -> None:
    """Position servos, in the order of BASE, TORSO, ARM, FINGERS."""
    for name, stiffness, damping in zip(BASE_JOINTS, (40000, 40000, 8000), (4000, 4000, 800), strict=True):
        _servo(spec, name, stiffness, damping, None, None)
    _servo(spec, TORSO_JOINT, 20000, 3000, TORSO_RANGE, None)
    for i, name in enumerate(ARM_JOINTS):
        _servo(spec, name, ARM_STIFFNESS[i], ARM_STIFFNESS[i] / 20, (ARM_LOW[i], ARM_HIGH[i]), ARM_TORQUE[i])
    # A closed target beyond contact and 30 N: with 8 N, doors slip off an 8 mm handle.
    for name, limits in zip(FINGER_JOINTS, ((-0.005, 0.04), (-0.04, 0.005)), strict=True):
        _servo(spec, name, 5000, 100, limits, 30.0)


def _servo(spec: mujoco.MjSpec, joint: str, stiffness: float, damping: float, limits, force: float | None) -> None:
    servo = spec.add_actuator(name=joint, target=joint, trntype=mujoco.mjtTrn.mjTRN_JOINT)
    servo.gaintype = mujoco.mjtGain.mjGAIN_FIXED
    servo.biastype = mujoco.mjtBias.mjBIAS_AFFINE
    servo.gainprm[0] = stiffness
    servo.biasprm[1], servo.biasprm[2] = -stiffness, -damping
    if limits is not None:
        servo.ctrlrange, servo.ctrllimited = limits, mujoco.mjtLimited.mjLIMITED_TRUE
    if force is not None:
        servo.forcerange, servo.forcelimited = (-force, force), mujoco.mjtLimited.mjLIMITED_TRUE
