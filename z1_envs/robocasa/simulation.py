"""The official env between two resets: one control step, what is seen and touched, without RoboCasa's observables.

Physics, controllers, fixtures and sensors are RoboCasa's own code, called in its own order: bits are those of its
`step`. Left out is what only its observations need: they are sampled by clocks that lag and shift
(robosuite/utils/observables.py:209-267), so that equal states would be seen differently.
"""

from collections.abc import Mapping
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

_ROBOT = "right"  # the only arm of PandaOmron
_BLOWN_UP = (mujoco.mjtWarning.mjWARN_BADQPOS, mujoco.mjtWarning.mjWARN_BADQVEL, mujoco.mjtWarning.mjWARN_BADQACC)


class Simulation:
    """One scene of an official env; build a new one after each of its resets."""

    def __init__(self, official: Any):
        """`official` has been reset."""
        self.official = official
        self.model: mujoco.MjModel = official.sim.model._model
        self.data: mujoco.MjData = official.sim.data._data
        self._robot = official.robots[0]
        self._num_substeps = int(official.control_timestep / official.model_timestep)
        limits = self.model.actuator_ctrlrange
        self._actuators = [
            (part, np.asarray(index), *limits[np.asarray(index)].T)
            for part, index in self._robot._ref_actuators_indexes_dict.items()
            if part in self._robot.composite_controller.part_controllers
        ]
        self._gripper, self._robot_root = _gripper_geoms(official)

    def step(self, action: NDArray[np.float64]) -> bool:
        """One control step of 50 ms under `action` [12], which the base's controller overwrites.

        Returns whether the physics has stayed finite: MuJoCo otherwise puts all joints back to where the model has
        them, in the middle of the step, and goes on.

        As robosuite/environments/base.py:427, without the assertion on the action's length, which builds the limits of
        all controllers three times per substep, and without buffers of the past, which no controller of ours reads.
        """
        official, composite = self.official, self._robot.composite_controller
        model, data, ctrl = self.model, self.data, self.data.ctrl
        for kind in _BLOWN_UP:
            self.data.warning[kind].number = 0
        official.timestep += 1
        for substep in range(self._num_substeps):
            mujoco.mj_step1(model, data)
            if substep == 0:
                composite.set_goal(action)
            applied = composite.run_controller(self._robot._enabled_parts)
            for part, index, low, high in self._actuators:
                ctrl[index] = np.clip(applied[part], low, high)
            mujoco.mj_step2(model, data)
        official.cur_time += official.control_timestep
        official.update_state()
        return not any(self.data.warning[kind].number for kind in _BLOWN_UP)

    def is_done(self) -> bool:
        """RoboCasa's own predicate, on contacts and poses of the last substep's start as in its own step."""
        return bool(self.official._check_success())

    def touches(self) -> bool:
        """Whether the gripper is in contact with anything but the robot."""
        geoms = self.data.contact.geom
        others = self.model.body_rootid[self.model.geom_bodyid][geoms] != self._robot_root
        return bool((self._gripper[geoms] & others[:, ::-1]).any())

    def find_contacts(self) -> None:
        """Computes contacts and all else that follows from the state, and overwrites the warm start."""
        mujoco.mj_forward(self.model, self.data)

    def refresh(self) -> None:
        """Brings poses of bodies, sites, cameras and lights up to the joints, which after a step are one substep ahead.

        The next substep computes all of them again: what follows has the same bits with and without.
        """
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_comPos(self.model, self.data)
        mujoco.mj_camlight(self.model, self.data)

    def sense(self, key: str) -> NDArray:
        """RoboCasa's observation `key` of what `refresh` computed last."""
        return self.official._observables[key]._sensor({})

    def image(self, camera: str, px: int) -> NDArray[np.uint8]:
        """What `camera` sees of what `refresh` computed last, upright, [px, px, 3]."""
        make_current(self.official)
        # RoboCasa's images stand on their heads.
        return np.ascontiguousarray(self.official.sim.render(camera_name=camera, width=px, height=px)[::-1])


def make_current(official: Any) -> None:
    """Makes the env's own OpenGL context the current one, where it has one.

    robosuite takes it for granted (utils/binding_utils.py:129,191): with two envs in a process it would draw with, and
    free, the other's textures.
    """
    context = None if official.sim is None else official.sim._render_context_offscreen
    if context is not None:
        context.gl_ctx.make_current()


def check_contact(official: Any, geoms_1: Any, geoms_2: Any = None) -> bool:
    """As robosuite/utils/sim_utils.py:8, which goes through all contacts in Python for each button of the scene."""
    contacts = official.sim.data._data.contact.geom
    if len(contacts) == 0:
        return False
    in_1 = _mask(official, geoms_1)[contacts]
    if geoms_2 is None:
        return bool(in_1.any())
    return bool((in_1 & _mask(official, geoms_2)[contacts][:, ::-1]).any())


def _mask(official: Any, geoms: Any) -> NDArray[np.bool_]:
    """Which geoms are meant by a name, names, or a model with contact geoms [ngeom]; names without a geom mean none."""
    names = [geoms] if isinstance(geoms, str) else getattr(geoms, "contact_geoms", geoms)
    ids: Mapping[str, int] = official.sim.model._geom_name2id
    mask = np.zeros(official.sim.model._model.ngeom, dtype=bool)
    mask[[ids[name] for name in names if name in ids]] = True
    return mask


def _gripper_geoms(official: Any) -> tuple[NDArray[np.bool_], int]:
    """Which geoms are the gripper's [ngeom], and the robot's root body."""
    model = official.sim.model._model
    is_gripper = _mask(official, official.robots[0].gripper[_ROBOT])
    first = int(np.flatnonzero(is_gripper)[0])
    return is_gripper, int(model.body_rootid[model.geom_bodyid[first]])
