"""Doors: pushed shut."""

import numpy as np

from z1_envs.kitchen.experts.intent import (
    CLOSE,
    FORWARD,
    OPEN,
    STARTED_CLOSING,
    UP,
    Expert,
    Intent,
    forward,
)
from z1_envs.kitchen.fixtures.fixture import HANDLE_RADIUS
from z1_envs.kitchen.geometry import BoolArray, FloatArray, Geometry, norm, to_frame

_LEFT = np.array([0.0, 1.0, 0.0])
_AJAR, _PULLED = 0.38, 0.50  # shares of a right angle: wide enough to go in behind the door; so far it is pulled
_PAST_EDGE = 0.24  # [m] from the outer push point, where no door ends so late
_MISSED = 0.006  # [m] gap of fingers that hold nothing


def _close(g: Geometry) -> Intent:
    """Go around the door's free edge to its outside, then push it along its arc with closed fingers."""
    to_edge, into = g.target_rotation[:, :, 1], g.target_rotation[:, :, 2]
    from_target = to_frame(g.target_rotation, g.eef_position - g.target_position)
    beyond, inside = from_target[:, 1], from_target[:, 2]

    def place(beyond: float | FloatArray, inside: float | FloatArray) -> FloatArray:
        return g.target_position + np.multiply(to_edge.T, beyond).T + np.multiply(into.T, inside).T

    # Beside the edge there is the handle, which the hand goes around.
    intent = Intent.to(place(0.0, np.where(beyond > 0.05, -0.11, -0.06)), forward(g), speed=0.6, gripper=CLOSE)
    pushing = (np.abs(beyond) < 0.06) & (inside > -0.12)
    intent.where(pushing, place(beyond, 0.05), speed=0.5, gripper=CLOSE)
    at_edge = (beyond > 0.06) & (inside > -0.085)
    intent.where(at_edge, place(beyond, -0.11), speed=0.6, gripper=CLOSE)
    within = inside > 0.005
    intent.where(within, place(_PAST_EDGE + 0.04, -0.09), speed=0.6, gripper=CLOSE)
    enclosed = within & (beyond < _PAST_EDGE)
    intent.where(enclosed, place(_PAST_EDGE + 0.04, np.maximum(inside, 0.08)), speed=0.6, gripper=CLOSE)
    return intent


def _open(g: Geometry) -> Intent:
    """Grasp the handle and pull until the door is ajar, let go, go around its free edge and push it from inside."""
    share = g.joints[np.arange(len(g.part)), g.part]
    from_handle = to_frame(g.target_rotation, g.eef_position - g.target_position)
    height, beyond, inside = np.abs(from_handle[:, 0]), from_handle[:, 1], from_handle[:, 2]
    around_handle = (np.abs(beyond) < 0.028) & (height < 0.05) & (np.abs(inside) < 0.03)
    held = around_handle & (g.finger_gap > _MISSED) & (g.finger_gap < 2 * HANDLE_RADIUS + 0.004)
    ajar = (share > _PULLED) | (share > _AJAR) & ~held
    pull, push = _pull(g, from_handle, around_handle, held), _push_from_inside(g, from_handle)
    return Intent(
        position=np.where(ajar[:, None], push.position, pull.position),
        rotation=np.where(ajar[:, None, None], push.rotation, pull.rotation),
        speed=np.where(ajar, push.speed, pull.speed),
        gripper=np.where(ajar, push.gripper, pull.gripper),
    )


def _pull(g: Geometry, from_handle: FloatArray, around_handle: BoolArray, held: BoolArray) -> Intent:
    """As with a drawer, the gripper turning with the door a little."""
    to_edge, into = g.target_rotation[:, :, 1], g.target_rotation[:, :, 2]
    height, aside, ahead = np.abs(from_handle[:, 0]), np.abs(from_handle[:, 1]), -from_handle[:, 2]
    handle = g.target_position + 0.002 * into
    closing = (g.finger_gap > _MISSED) & (g.finger_gap < STARTED_CLOSING)
    at_handle = around_handle & (closing | ((np.abs(ahead) < 0.014) & (aside < 0.018)))
    empty = around_handle & (g.finger_gap < _MISSED)
    lined_up = ~empty & (height < 0.04) & (aside < np.where(ahead < 0.06, 0.026, 0.016)) & (ahead < 0.14)
    rotation = _pointing(FORWARD + 0.3 * into, _LEFT, g)
    intent = Intent.to(g.target_position - 0.10 * into, rotation, speed=1.0, gripper=OPEN)
    intent.where(lined_up, handle, speed=0.4, gripper=OPEN)
    intent.where(at_handle, handle, speed=0.3, gripper=CLOSE)
    # The handle's arc bends towards the hinge.
    intent.where(held, g.target_position - 0.05 * into - 0.006 * to_edge, speed=0.25, gripper=CLOSE)
    return intent


def _push_from_inside(g: Geometry, from_handle: FloatArray) -> Intent:
    """Off the handle, around the free edge, in behind it and outwards."""
    to_edge, into = g.target_rotation[:, :, 1], g.target_rotation[:, :, 2]
    beyond, inside = from_handle[:, 1], from_handle[:, 2]

    def place(beyond: float, inside: float) -> FloatArray:
        return g.target_position + beyond * to_edge + inside * into

    rotation = _pointing(FORWARD - to_edge, UP, g)
    intent = Intent.to(place(0.13, -0.08), rotation, speed=0.8, gripper=CLOSE)
    intent.where(beyond > 0.085, place(0.12, 0.12), speed=0.5, gripper=CLOSE)
    behind = inside > 0.075
    intent.where(behind, place(-0.02, 0.12), speed=0.5, gripper=CLOSE)
    intent.where(behind & (beyond < 0.03), place(-0.01, 0.0), speed=0.4, gripper=CLOSE)
    at_handle = (np.abs(beyond) < 0.07) & (inside > -0.07) & (inside < 0.035)
    intent.where(at_handle, g.eef_position - 0.08 * g.eef_rotation[:, :, 2], speed=0.6, gripper=OPEN)
    intent.turn(at_handle, g.eef_rotation)
    return intent


def _pointing(approach: FloatArray, opening: FloatArray, g: Geometry) -> FloatArray:
    """Along `approach` [n, 3], opening along `opening` [3], _LEFT or UP.

    Of both equal ways not the nearer one: from grasp to push the wrist turns a quarter, and the same quarter back, not
    on and on.
    """
    approach = approach / norm(approach)[:, None]
    way = np.where(g.eef_rotation[:, 1, 1] + g.eef_rotation[:, 2, 1] < 0, -1.0, 1.0)[:, None]
    opening = way * (opening - approach * (approach @ opening)[:, None])
    opening = opening / norm(opening)[:, None]
    return np.stack([np.cross(opening, approach), opening, approach], axis=2)


EXPERTS: dict[str, Expert] = {
    "OpenSingleDoor": _open,
    "CloseSingleDoor": _close,
    "OpenDoubleDoor": _open,
    "CloseDoubleDoor": _close,
}
