"""Who touches whom at the lanes' present states, asked for a few lanes at a time.

The state rows hold no contacts, and those of the last substep are one substep old. So collisions are computed anew
from the row, and only for lanes where all else of a predicate holds already: at most a few per step.
"""

from collections.abc import Sequence

import mujoco
import numpy as np
from numpy.typing import NDArray

from z1_envs.kitchen.geometry import BoolArray
from z1_envs.kitchen.physics import Physics
from z1_envs.kitchen.scene import Scene

_STATE = mujoco.mjtState.mjSTATE_INTEGRATION
GRIPPER = "robot0_hand", "robot0_finger"


class Contacts:
    """Collisions of the lanes of `physics`, which hold `scenes`."""

    def __init__(self, physics: Physics, scenes: Sequence[Scene]):
        self._physics, self._scenes = physics, scenes
        self._data = mujoco.MjData(scenes[0].model)

    def between(
        self, lanes: NDArray[np.integer], asked: BoolArray, one: str | tuple[str, ...], other: str
    ) -> BoolArray:
        """Whether geoms whose names begin with `one` touch geoms whose names begin with `other` [n].

        Computed for the lanes of the mask `asked` [n] alone, false elsewhere. Touching is what MuJoCo calls a contact:
        no gap between the surfaces.
        """
        touching = np.zeros(len(lanes), dtype=bool)
        for i in np.flatnonzero(asked):
            touching[i] = self._touch(int(lanes[i]), one, other)
        return touching

    def _touch(self, lane: int, one: str | tuple[str, ...], other: str) -> bool:
        scene, data = self._scenes[lane], self._data
        model = scene.model
        mujoco.mj_setState(model, data, self._physics.rows[lane], _STATE)
        mujoco.mj_kinematics(model, data)
        mujoco.mj_collision(model, data)
        pairs = data.contact.geom[data.contact.dist <= 0]
        a, b = scene.geoms(one), scene.geoms(other)
        return bool((a[pairs[:, 0]] & b[pairs[:, 1]] | b[pairs[:, 0]] & a[pairs[:, 1]]).any())
