"""L lanes of one task: scenes, state rows, and one control step of any subset of them.

    lanes = KitchenLanes("OpenDrawer", num_lanes=64)
    lanes.load(np.arange(64), scenes)       # lane i starts in scenes[i]
    result = lanes.step(np.arange(64), actions)
    lanes.observe(np.arange(64))            # {"state": [64, 16], "scene": [64, 42]}

A lane's whole state is its row: the simulator's integration state, with the arm's home posture, the steps taken
and the machine's latch in its userdata. Copying a row copies the lane.
"""

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import mujoco
import numpy as np
from numpy.typing import NDArray

from z1_envs.kitchen import goals, robot
from z1_envs.kitchen.contacts import Contacts
from z1_envs.kitchen.control import jacobian, servo_targets
from z1_envs.kitchen.geometry import Geometry, GeometryReader, relative_rotation, to_frame
from z1_envs.kitchen.physics import LaneIndex, Physics, make_physics
from z1_envs.kitchen.scene import (
    NUM_SUBSTEPS,
    TRAIN,
    USER_ELAPSED,
    USER_HOME,
    USER_LATCH,
    Scene,
    SceneOptions,
    make_scene,
)
from z1_envs.layout import SCENE, STATE
from z1_envs.processes import num_cores
from z1_envs.tasks import get_task

_MAX_DRAWS = 20  # of a start; hardly any is won at once
_MAX_SPEED = 1e3  # [m/s, rad/s] of any joint: far beyond what happens in a kitchen, far below overflow


@dataclass(frozen=True)
class StepResult:
    """What one control step did to n lanes: success, elapsed [steps] and whether the gripper manipulates.

    diverged: lanes whose simulation blew up. They hold the state before that step, and are not to be stepped on.
    """

    success: NDArray[np.bool_]
    elapsed: NDArray[np.int64]
    manipulating: NDArray[np.bool_]
    diverged: NDArray[np.bool_]


class KitchenLanes:
    """See the module. `num_threads` None: all cores this process may use; bits do not depend on it.

    Who writes to `physics` calls `put_rows`: what was read of the lanes before is kept until something moves.
    """

    def __init__(self, task: str, num_lanes: int, *, options: SceneOptions = TRAIN, num_threads: int | None = None):
        """Raises ImportError where MuJoCo is too old, as beside RoboCasa v0.2."""
        self.task = get_task(task)
        if tuple(map(int, mujoco.__version__.split(".")[:2])) < (3, 8):
            raise ImportError(
                f"the embedded kitchen needs mujoco 3.8 or newer, installed is {mujoco.__version__}: "
                "take backend='robocasa', or in another environment: pip install 'mujoco>=3.8'"
            )
        self.num_lanes = num_lanes
        self.options = options
        first = make_scene(self.task.name, 0, 0, options)
        self.scenes: list[Scene] = [first] * num_lanes
        threads = min(num_cores() if num_threads is None else num_threads, num_lanes)
        self.physics: Physics = make_physics([first.model] * num_lanes, threads)
        self._reader = GeometryReader(self.physics, self.scenes)
        self._contacts = Contacts(self.physics, self.scenes)
        self._is_success = goals.SUCCESS[self.task.name]
        self._latch = goals.LATCHES.get(self.task.name)
        self.num_redraws = 0
        # Ids, not positions in the source: MuJoCo numbers the world's sites before the robot's.
        self._grip, self._base = first.model.site(robot.GRIP_SITE).id, first.model.body("robot0_base").id
        arm = first.model.joint(robot.ARM_JOINTS[0]).id
        self._arm = slice(arm, arm + len(robot.ARM_JOINTS))
        # Lanes whose derived quantities are older than their rows: refreshed when somebody looks.
        self._stale = np.zeros(num_lanes, dtype=bool)
        # What was read and judged last, and of which lanes: a step, its infos and its observations ask for the same.
        self._seen: tuple[LaneIndex, Geometry] | None = None
        self._judged: tuple[LaneIndex, StepResult] | None = None

    def load(self, lanes: LaneIndex, scenes: Sequence[Scene]) -> None:
        """Lane lanes[i] holds scenes[i], at its start, with 0 steps taken."""
        for lane, scene in zip(lanes.tolist(), scenes, strict=True):
            self.scenes[lane] = scene
        self.physics.set_models([scene.model for scene in self.scenes])
        self._reader.load(lanes, scenes)
        self.physics.rows[lanes] = 0.0
        for lane, scene in zip(lanes.tolist(), scenes, strict=True):
            qpos = scene.qpos()
            self.physics.qpos[lane] = qpos
            self.physics.ctrl[lane] = qpos[: self.physics.ctrl.shape[1]]
            self.physics.userdata[lane, USER_HOME] = qpos[robot.ARM]
            self.physics.userdata[lane, USER_LATCH] = scene.start.latch
        self._stale[lanes] = True
        self._forget()

    def put_rows(self, lanes: NDArray[np.integer], rows: NDArray[np.float64]) -> None:
        """Lane lanes[i] goes on from the state rows[i]."""
        self.physics.rows[lanes] = rows
        self._stale[lanes] = True
        self._forget()

    def start(self, seeds: Sequence[int], copies: int, lanes: LaneIndex | None = None) -> None:
        """`copies` consecutive ones of `lanes` (all, where None) start from each of `seeds`.

        A start that is successful already is drawn again, with the same seed, and counted in `num_redraws`.
        """
        lanes = np.arange(self.num_lanes, dtype=np.int32) if lanes is None else lanes
        leaders = lanes[::copies]
        scenes = [make_scene(self.task.name, seed, 0, self.options) for seed in seeds]
        self.load(leaders, scenes)
        for redraw in itertools.count(1):
            done = np.flatnonzero(self.status(leaders).success)
            if len(done) == 0:
                break
            if redraw == _MAX_DRAWS:
                raise RuntimeError(f"{self.task.name}: no start without success in {_MAX_DRAWS} draws")
            self.num_redraws += len(done)
            for g in done.tolist():
                scenes[g] = make_scene(self.task.name, seeds[g], redraw, self.options)
            self.load(leaders[done], [scenes[g] for g in done.tolist()])
        self.load(lanes, [scene for scene in scenes for _ in range(copies)])

    def geometry(self, lanes: LaneIndex) -> Geometry:
        """Where things are in `lanes` now."""
        if self._seen is None or not np.array_equal(self._seen[0], lanes):
            self._refresh(lanes)
            self._seen = lanes.copy(), self._reader.read(lanes)
        return self._seen[1]

    def step(self, lanes: LaneIndex, actions: NDArray) -> StepResult:
        """One control step of `lanes` [n] under actions [n, 12] in [-1, 1]."""
        self._refresh(lanes)
        physics, derived = self.physics, self.physics.derived
        before = physics.rows[lanes]
        jac = jacobian(
            derived["site_xpos"][lanes, self._grip].T,
            derived["xanchor"][lanes, self._arm].transpose(2, 1, 0),
            derived["xaxis"][lanes, self._arm].transpose(2, 1, 0),
        )
        base_rotation = derived["xmat"][lanes, self._base].reshape(-1, 3, 3).transpose(1, 2, 0)
        physics.ctrl[lanes] = servo_targets(
            np.asarray(actions, dtype=np.float64).T,
            physics.qpos[lanes, : robot.FINGERS.stop].T,
            physics.ctrl[lanes].T,
            physics.userdata[lanes, USER_HOME].T,
            jac,
            base_rotation,
        ).T
        physics.userdata[lanes, USER_ELAPSED] += 1
        physics.step(lanes, NUM_SUBSTEPS)
        self._forget()
        diverged = self._take_back_diverged(lanes, before)
        if self._latch is not None:
            touches = partial(self._contacts.between, lanes)
            physics.userdata[lanes, USER_LATCH] = self._latch(self.geometry(lanes), touches)
            self._forget()
        return dataclasses.replace(self.status(lanes), diverged=diverged)

    def _take_back_diverged(self, lanes: LaneIndex, before: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Gives lanes that blew up their row of `before` the step, which counts all the same; says which [n]."""
        physics = self.physics
        # Comparisons with nan are false.
        good = (np.abs(physics.qvel[lanes]) < _MAX_SPEED).all(axis=1) & np.isfinite(physics.qpos[lanes]).all(axis=1)
        diverged = np.logical_not(good)
        if diverged.any():
            self.put_rows(lanes[diverged], before[diverged])
            physics.userdata[lanes[diverged], USER_ELAPSED] += 1
        return diverged

    def status(self, lanes: LaneIndex) -> StepResult:
        """Success, elapsed and phase of `lanes` now."""
        if self._judged is None or not np.array_equal(self._judged[0], lanes):
            geometry = self.geometry(lanes)
            success = self._is_success(geometry, partial(self._contacts.between, lanes))
            elapsed = self.physics.userdata[lanes, USER_ELAPSED].astype(np.int64)
            diverged = np.zeros(len(lanes), dtype=bool)
            manipulating = goals.is_manipulating(self.task.name, geometry)
            self._judged = lanes.copy(), StepResult(success, elapsed, manipulating, diverged)
        return self._judged[1]

    def _forget(self) -> None:
        """Something has moved: what was read and judged last holds no more."""
        self._seen = self._judged = None

    def observe(self, lanes: LaneIndex) -> dict[str, NDArray[np.float32]]:
        """`state` [n, 16] and `scene` [n, 42], in the order of layout.STATE and layout.SCENE."""
        g = self.geometry(lanes)
        base = g.base_rotation
        arm = self.physics.qpos[lanes, robot.ARM]
        eef_rotation = relative_rotation(base, g.eef_rotation)
        eef_position = to_frame(base, g.eef_position - g.base_position)
        fingers = self.physics.qpos[lanes, robot.FINGERS]
        state = {
            "base_position": g.base_position,
            "base_quaternion": _quaternions(base),
            "eef_position": eef_position,
            "eef_quaternion": _quaternions(eef_rotation),
            "gripper_qpos": fingers,
        }
        scene = {
            "eef_position": eef_position,
            "eef_rotation": _two_columns(eef_rotation),
            "arm_qpos": arm,
            "arm_lead": self.physics.ctrl[lanes, robot.ARM] - arm,
            "gripper_qpos": fingers,
            "target_from_eef": to_frame(base, g.target_position - g.eef_position),
            "target_rotation": _two_columns(relative_rotation(base, g.target_rotation)),
            "goal_from_target": to_frame(base, g.goal_position - g.target_position),
            "fixture_joints": g.joints,
            "latch": g.latch[:, None],
            "grasp": np.stack([g.grasp_width, g.grasp_height], axis=1),
        }
        return {"state": STATE.join(state).astype(np.float32), "scene": SCENE.join(scene).astype(np.float32)}

    def _refresh(self, lanes: LaneIndex) -> None:
        stale = lanes[self._stale[lanes]]
        if len(stale) > 0:
            self.physics.refresh(stale)
            self._stale[stale] = False


def _two_columns(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([rotation[:, :, 0], rotation[:, :, 1]], axis=1)


def _quaternions(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """xyzw [n, 4] of rotations [n, 3, 3]."""
    wxyz = np.empty((len(rotation), 4))
    for matrix, quaternion in zip(rotation.reshape(-1, 9), wxyz, strict=True):
        mujoco.mju_mat2Quat(quaternion, matrix)
    return wxyz[:, [1, 2, 3, 0]]
