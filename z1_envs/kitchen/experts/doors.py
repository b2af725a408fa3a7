"""Doors: pushed shut."""

from collections.abc import Callable

import numpy as np

from z1_envs.kitchen.experts.intent import CLOSE, Intent, forward
from z1_envs.kitchen.geometry import Geometry, dot


def _close(g: Geometry) -> Intent:
    """Go around the door's free edge to its outside, then push it along its arc with closed fingers."""
    inward, to_edge = g.target_rotation[:, :, 2], g.target_rotation[:, :, 1]
    to_target = g.target_position - g.eef_position
    ahead, beside = dot(to_target, inward), dot(to_target, to_edge)  # beside < 0: nearer the edge than the target
    outside = ahead > -0.005
    around = g.target_position + 0.18 * to_edge - 0.06 * inward
    intent = Intent.to(around, forward(g), speed=1.0, gripper=CLOSE)
    intent.where(outside, g.target_position - 0.06 * inward, speed=0.8, gripper=CLOSE)
    pushing = outside & (np.abs(beside) < 0.06) & (ahead < 0.12)
    intent.where(pushing, g.target_position + 0.05 * inward, speed=0.5, gripper=CLOSE)
    return intent


EXPERTS: dict[str, Callable[[Geometry], Intent]] = {"CloseSingleDoor": _close}
