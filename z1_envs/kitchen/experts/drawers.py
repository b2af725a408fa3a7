"""OpenDrawer and CloseDrawer."""

import numpy as np

from z1_envs.kitchen.experts.intent import CLOSE, OPEN, STARTED_CLOSING, Expert, Intent, forward
from z1_envs.kitchen.fixtures.fixture import HANDLE_RADIUS
from z1_envs.kitchen.geometry import Geometry, to_frame


def _open(g: Geometry) -> Intent:
    """Line up before the handle, slide over it, close, pull. The fingers' gap tells how far it has come."""
    approach = g.target_rotation[:, :, 2]
    to_handle = to_frame(g.target_rotation, g.target_position + 0.006 * approach - g.eef_position)
    along, aside, ahead = np.abs(to_handle[:, 0]), np.abs(to_handle[:, 1]), to_handle[:, 2]
    closing = g.finger_gap < STARTED_CLOSING
    around_handle = (aside < 0.028) & (along < 0.05) & (np.abs(ahead) < 0.03)
    at_handle = around_handle & (closing | ((np.abs(ahead) < 0.014) & (aside < 0.018)))
    gripped = at_handle & (g.finger_gap < 2 * HANDLE_RADIUS + 0.004)
    lined_up = (along < 0.04) & (aside < np.where(ahead < 0.06, 0.026, 0.016)) & (ahead < 0.14)
    intent = Intent.to(g.target_position - 0.10 * approach, g.target_rotation, speed=1.0, gripper=OPEN)
    handle = g.target_position + 0.006 * approach
    intent.where(lined_up, handle, speed=0.4, gripper=OPEN)
    intent.where(at_handle, handle, speed=0.3, gripper=CLOSE)
    intent.where(gripped, g.target_position - 0.06 * approach, speed=0.5, gripper=CLOSE)
    return intent


def _close(g: Geometry) -> Intent:
    """Come before the front beside the handle, then push it home with closed fingers."""
    approach = g.target_rotation[:, :, 2]
    to_front = to_frame(g.target_rotation, g.target_position - g.eef_position)
    aside, ahead = np.hypot(to_front[:, 0], to_front[:, 1]), to_front[:, 2]
    intent = Intent.to(g.target_position - 0.09 * approach, forward(g), speed=0.6, gripper=CLOSE)
    # Not through the front or the handle: first back to where the way to the side is free.
    too_near = (ahead < 0.07) & (aside > 0.05)
    intent.where(too_near, g.eef_position - (0.12 - ahead)[:, None] * approach, speed=0.6, gripper=CLOSE)
    pushing = (aside < 0.04) & (ahead > -0.03)
    intent.where(pushing, g.target_position + 0.06 * approach, speed=0.4, gripper=CLOSE)
    return intent


EXPERTS: dict[str, Expert] = {"OpenDrawer": _open, "CloseDrawer": _close}
