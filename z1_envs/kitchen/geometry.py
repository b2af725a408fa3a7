"""Where things are in many lanes: what goals, experts and observations read. All arrays [n, …], world frame.

Built from the state rows and what MuJoCo derives from them at the same moment; never one substep late.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from z1_envs.kitchen import robot
from z1_envs.kitchen.physics import LaneIndex, Physics
from z1_envs.kitchen.scene import Scene

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """Poses of the n lanes asked for. Positions [n, 3] in m, rotations [n, 3, 3] with axes as columns."""

    base_position: FloatArray
    base_rotation: FloatArray
    eef_position: FloatArray  # the point between the finger pads
    eef_rotation: FloatArray  # z approach, y opening
    target_position: FloatArray
    target_rotation: FloatArray
    goal_position: FloatArray
    goal_half: FloatArray  # [n, 3] half extents of the goal's box
    finger_gap: FloatArray  # [n] between the pads [m]
    fixture_joint: FloatArray  # [n] share of the joint's range; a door's range is a right angle; 0 without fixture
    grasp_width: FloatArray  # [n] of the object where it is to be held, along its y [m]; 0 without object
    grasp_height: FloatArray  # [n] of that place over its centre [m]
    counter_top: FloatArray  # [n] height [m]

    @property
    def reach(self) -> FloatArray:
        """Distance from the gripper to the target [n] [m]."""
        return norm(self.target_position - self.eef_position)


class GeometryReader:
    """Looks up indices and constants of the scenes once, then reads the lanes' geometry at every step."""

    def __init__(self, physics: Physics, scenes: Sequence[Scene]):
        self._physics = physics
        model = scenes[0].model
        self._grip, self._target, self._goal = (model.site(name).id for name in (robot.GRIP_SITE, "target", "goal"))
        self._base = model.body("robot0_base").id
        self._fixture = model.jnt_qposadr[model.joint("fixture").id] if _has_fixture(model) else None
        self._goal_half = np.zeros((len(scenes), 3))
        self._joint_range = np.ones(len(scenes))
        self._grasp = np.zeros((len(scenes), 2))  # width, height
        self._counter_top = np.zeros(len(scenes))
        self.load(np.arange(len(scenes)), scenes)

    def load(self, lanes: NDArray[np.integer], scenes: Sequence[Scene]) -> None:
        """Lane lanes[i] holds scenes[i] from now on."""
        for lane, scene in zip(lanes.tolist(), scenes, strict=True):
            model = scene.model
            self._goal_half[lane] = model.site_size[self._goal]
            if self._fixture is not None:
                joint = model.joint("fixture")
                hinge = joint.type[0] == mujoco.mjtJoint.mjJNT_HINGE
                self._joint_range[lane] = np.pi / 2 if hinge else joint.range[1]
            if scene.plan.kind is not None:
                self._grasp[lane] = scene.plan.kind.grasp_width, scene.plan.kind.grasp_height
            self._counter_top[lane] = scene.plan.counter_top

    def read(self, lanes: LaneIndex) -> Geometry:
        """The geometry of `lanes` at their present states."""
        derived, qpos = self._physics.derived, self._physics.qpos
        sites, matrices = derived["site_xpos"][lanes], derived["site_xmat"][lanes]
        fingers = qpos[lanes, robot.FINGERS.start : robot.FINGERS.stop]
        joint = qpos[lanes, self._fixture] if self._fixture is not None else np.zeros(len(lanes))
        return Geometry(
            base_position=derived["xpos"][lanes, self._base],
            base_rotation=derived["xmat"][lanes, self._base].reshape(-1, 3, 3),
            eef_position=sites[:, self._grip],
            eef_rotation=matrices[:, self._grip].reshape(-1, 3, 3),
            target_position=sites[:, self._target],
            target_rotation=matrices[:, self._target].reshape(-1, 3, 3),
            goal_position=sites[:, self._goal],
            goal_half=self._goal_half[lanes],
            finger_gap=fingers[:, 0] - fingers[:, 1],
            fixture_joint=joint / self._joint_range[lanes],
            grasp_width=self._grasp[lanes, 0],
            grasp_height=self._grasp[lanes, 1],
            counter_top=self._counter_top[lanes],
        )


def _has_fixture(model: mujoco.MjModel) -> bool:
    return any(model.joint(i).name == "fixture" for i in range(model.njnt))


def dot(a: FloatArray, b: FloatArray) -> FloatArray:
    """Inner product [n] of rows [n, 3], summed in a fixed order: the same bits for any n."""
    return a[:, 0] * b[:, 0] + a[:, 1] * b[:, 1] + a[:, 2] * b[:, 2]


def norm(a: FloatArray) -> FloatArray:
    """Length [n] of rows [n, 3]."""
    return np.sqrt(dot(a, a))


def to_frame(rotation: FloatArray, vector: FloatArray) -> FloatArray:
    """World vectors [n, 3] in the frame whose axes are the columns of `rotation` [n, 3, 3]."""
    x, y, z = (rotation[:, k] * vector[:, k, None] for k in range(3))
    return x + y + z


def relative_rotation(frame: FloatArray, rotation: FloatArray) -> FloatArray:
    """frameᵀ rotation [n, 3, 3]: `rotation` as seen in `frame`."""
    x, y, z = (frame[:, k, :, None] * rotation[:, k, None, :] for k in range(3))
    return x + y + z
