"""What an expert wants of n grippers at the moment, and the geometry of wanting it. World frame, [m]."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from z1_envs.kitchen.geometry import BoolArray, FloatArray, Geometry, dot, norm

OPEN, CLOSE = -1.0, 1.0
STARTED_CLOSING = 0.074  # [m] gap of fingers that are on their way; open is 0.08
UP, FORWARD = np.array([0.0, 0.0, 1.0]), np.array([1.0, 0.0, 0.0])


@dataclass
class Intent:
    """What n grippers want: a position to reach [n, 3], an orientation [n, 3, 3], a speed and the fingers.

    speed: largest component of the position action [n] in (0, 1]. gripper: -1 opens, +1 closes [n].
    """

    position: FloatArray
    rotation: FloatArray
    speed: FloatArray
    gripper: FloatArray

    @staticmethod
    def to(position: FloatArray, rotation: FloatArray, *, speed: float, gripper: float) -> "Intent":
        """The same for all lanes, which `where` then narrows down, the last word winning."""
        n = len(position)
        return Intent(position, rotation, np.full(n, speed), np.full(n, gripper))

    def where(self, mask: BoolArray, position: FloatArray, *, speed: float, gripper: float) -> None:
        """Lanes of `mask` want this instead."""
        self.position = np.where(mask[:, None], position, self.position)
        self.speed = np.where(mask, speed, self.speed)
        self.gripper = np.where(mask, gripper, self.gripper)

    def turn(self, mask: BoolArray, rotation: FloatArray) -> None:
        """Lanes of `mask` want this orientation instead."""
        self.rotation = np.where(mask[:, None, None], rotation, self.rotation)


Expert = Callable[[Geometry], Intent]


def pointing(approach: FloatArray, opening: FloatArray, g: Geometry) -> FloatArray:
    """Orientations [n, 3, 3] along the unit vectors `approach` [n, 3], the fingers opening along `opening` [n, 3]
    as far as it is at a right angle to that, in whichever of both equal ways is nearer to the gripper's own.
    """
    opening = opening - approach * dot(approach, opening)[:, None]
    opening = opening / np.maximum(norm(opening), 1e-6)[:, None]
    opening = opening * np.where(dot(opening, g.eef_rotation[:, :, 1]) < 0, -1.0, 1.0)[:, None]
    return np.stack([np.cross(opening, approach), opening, approach], axis=2)


def forward(g: Geometry) -> FloatArray:
    """The gripper pointing along +x, thin sideways."""
    n = len(g.eef_position)
    return pointing(np.tile(FORWARD, (n, 1)), np.tile(UP, (n, 1)), g)
