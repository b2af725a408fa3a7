"""Where things are in many lanes: what goals, experts and observations read. All arrays [n, …], world frame.

Built from the state rows and what MuJoCo derives from them at the same moment; never one substep late.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from z1_envs.kitchen import robot
from z1_envs.kitchen.physics import LaneIndex, Physics
from z1_envs.kitchen.scene import USER_LATCH, Scene

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

NUM_JOINTS = 2  # at most so many joints of fixtures belong to a task: those of a double door


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """Poses of the n lanes asked for. Positions [n, 3] in m, rotations [n, 3, 3] with axes as columns.

    target and goal are those of the part that is due (plans/plan.py). What a task does not have is 0.
    """

    base_position: FloatArray
    base_rotation: FloatArray
    eef_position: FloatArray  # the point between the finger pads
    eef_rotation: FloatArray  # z approach, y opening
    finger_gap: FloatArray  # [n] between the pads [m]
    part: NDArray[np.intp]  # [n] index of the part that is due
    target_position: FloatArray
    target_rotation: FloatArray
    goal_position: FloatArray
    goal_rotation: FloatArray
    goal_half: FloatArray  # [n, 3] half extents of the goal's box
    joints: FloatArray  # [n, NUM_JOINTS] of the parts, in their units: shares for doors and drawers, else rad
    object_half: FloatArray  # [n, 3] half extents of the object's bounding box
    grasp_width: FloatArray  # [n] of the object where it is to be held, along its y [m]
    grasp_height: FloatArray  # [n] of that place over its centre [m]
    container_radius: FloatArray  # [n] outer [m]
    counter_top: FloatArray  # [n] height [m]
    latch: BoolArray  # [n] whether the machine is on

    @property
    def reach(self) -> FloatArray:
        """Distance from the gripper to the target [n] [m]."""
        return norm(self.target_position - self.eef_position)


class GeometryReader:
    """Looks up indices and constants of the scenes once, then reads the lanes' geometry at every step."""

    def __init__(self, physics: Physics, scenes: Sequence[Scene]):
        self._physics = physics
        model, num_lanes, num_parts = scenes[0].model, len(scenes), len(scenes[0].plan.parts)
        self._grip, self._base = model.site(robot.GRIP_SITE).id, model.body("robot0_base").id
        self._targets, self._goals = (np.zeros((num_lanes, num_parts), dtype=np.intp) for _ in range(2))
        self._goal_half = np.zeros((num_lanes, num_parts, 3))
        self._qpos_index = np.zeros((num_lanes, num_parts), dtype=np.intp)
        self._per_unit, self._done_from, self._done_to = (np.zeros((num_lanes, num_parts)) for _ in range(3))
        self._object_half = np.zeros((num_lanes, 3))
        # Width and height of the grasp, radius of the container, height of the counter.
        self._numbers = np.zeros((num_lanes, 4))
        self.load(np.arange(num_lanes), scenes)

    def load(self, lanes: NDArray[np.integer], scenes: Sequence[Scene]) -> None:
        """Lane lanes[i] holds scenes[i] from now on."""
        for lane, scene in zip(lanes.tolist(), scenes, strict=True):
            model, plan = scene.model, scene.plan
            for i, part in enumerate(plan.parts):
                goal = model.site(part.goal)
                self._targets[lane, i], self._goals[lane, i] = model.site(part.target).id, goal.id
                self._goal_half[lane, i] = goal.size
                if part.joint is not None:
                    self._qpos_index[lane, i] = model.joint(part.joint).qposadr[0]
                    self._per_unit[lane, i] = 1 / part.unit
                self._done_from[lane, i], self._done_to[lane, i] = part.done
            grasp = (0.0, 0.0)
            if plan.kind is not None:
                self._object_half[lane] = plan.kind.half
            if plan.kind is not None and plan.parts[0].target == "object":  # else it only stands there
                grasp = plan.kind.grasp_width, plan.kind.grasp_height
            radius = plan.container.radius if plan.container is not None else 0.0
            self._numbers[lane] = *grasp, radius, plan.kitchen.counter_top

    def read(self, lanes: LaneIndex) -> Geometry:
        """The geometry of `lanes` at their present states."""
        derived, qpos = self._physics.derived, self._physics.qpos
        sites, matrices = derived["site_xpos"][lanes], derived["site_xmat"][lanes].reshape(len(lanes), -1, 3, 3)
        rows = np.arange(len(lanes))
        joints = qpos[lanes[:, None], self._qpos_index[lanes]] * self._per_unit[lanes]
        part = self._part_that_is_due(lanes, joints)
        target, goal = self._targets[lanes, part], self._goals[lanes, part]
        fingers = qpos[lanes, robot.FINGERS.start : robot.FINGERS.stop]
        numbers = self._numbers[lanes]
        return Geometry(
            base_position=derived["xpos"][lanes, self._base],
            base_rotation=derived["xmat"][lanes, self._base].reshape(-1, 3, 3),
            eef_position=sites[:, self._grip],
            eef_rotation=matrices[:, self._grip],
            finger_gap=fingers[:, 0] - fingers[:, 1],
            part=part,
            target_position=sites[rows, target],
            target_rotation=matrices[rows, target],
            goal_position=sites[rows, goal],
            goal_rotation=matrices[rows, goal],
            goal_half=self._goal_half[lanes, part],
            joints=np.pad(joints, ((0, 0), (0, NUM_JOINTS - joints.shape[1]))),
            object_half=self._object_half[lanes],
            grasp_width=numbers[:, 0],
            grasp_height=numbers[:, 1],
            container_radius=numbers[:, 2],
            counter_top=numbers[:, 3],
            latch=self._physics.userdata[lanes, USER_LATCH] > 0.5,
        )

    def _part_that_is_due(self, lanes: LaneIndex, joints: FloatArray) -> NDArray[np.intp]:
        """Index [n] of the first part that is not done, of the last one where all are."""
        done = (self._done_from[lanes] <= joints) & (joints <= self._done_to[lanes])
        done[:, -1] = False
        return np.argmin(done, axis=1)


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
