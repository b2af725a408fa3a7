"""Doors: pushed shut."""

from collections.abc import Callable

import numpy as np

from z1_envs.kitchen.experts.intent import (
    CLOSE,
    OPEN,
    STARTED_CLOSING,
    UP,
    BoolArray,
    FloatArray,
    Intent,
    forward,
    pointing,
)
from z1_envs.kitchen.fixtures.fixture import HANDLE_RADIUS
from z1_envs.kitchen.geometry import Geometry, dot, norm, to_frame

FORWARD = np.array([1.0, 0.0, 0.0])
_AJAR, _PULLED = 0.38, 0.50  # shares of a right angle: wide enough to go in behind the door; so far it is pulled
_MISSED = 0.006  # [m] gap of fingers that hold nothing


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


def _open(g: Geometry) -> Intent:
    """Grasp the handle and pull until the door is ajar, let go, go around its free edge and push it from inside."""
    share = g.joints[np.arange(len(g.part)), g.part]
    from_handle = to_frame(g.target_rotation, g.eef_position - g.target_position)
    height, beyond, inside = np.abs(from_handle[:, 0]), from_handle[:, 1], from_handle[:, 2]
    around_handle = (np.abs(beyond) < 0.028) & (height < 0.05) & (np.abs(inside) < 0.03)
    held = around_handle & (_MISSED < g.finger_gap) & (g.finger_gap < 2 * HANDLE_RADIUS)
    ajar = (share > _PULLED) | (share > _AJAR) & ~held
    pull, push = _pull(g, from_handle, around_handle, held), _push_from_inside(g, from_handle)
    pull.where(ajar, push.position, speed=push.speed, gripper=push.gripper)
    pull.turn(ajar, push.rotation)
    return pull


def _pull(g: Geometry, from_handle: FloatArray, around_handle: BoolArray, held: BoolArray) -> Intent:
    """As with a drawer, the gripper turning with the door a little."""
    to_edge, into = g.target_rotation[:, :, 1], g.target_rotation[:, :, 2]
    height, aside, ahead = np.abs(from_handle[:, 0]), np.abs(from_handle[:, 1]), -from_handle[:, 2]
    handle = g.target_position + 0.002 * into
    closing = (_MISSED < g.finger_gap) & (g.finger_gap < STARTED_CLOSING)
    at_handle = around_handle & (closing | ((np.abs(ahead) < 0.014) & (aside < 0.018)))
    empty = around_handle & (g.finger_gap < _MISSED)
    lined_up = ~empty & (height < 0.04) & (aside < np.where(ahead < 0.06, 0.026, 0.016)) & (ahead < 0.14)
    rotation = pointing(_unit(FORWARD + 1 * into), to_edge, g)
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

    rotation = pointing(_unit(FORWARD - to_edge), np.tile(UP, (len(beyond), 1)), g)
    intent = Intent.to(place(0.13, -0.08), rotation, speed=1.0, gripper=CLOSE)
    intent.where(beyond > 0.085, place(0.12, 0.12), speed=0.8, gripper=CLOSE)
    behind = inside > 0.075
    intent.where(behind, place(-0.02, 0.12), speed=0.8, gripper=CLOSE)
    intent.where(behind & (beyond < 0.03), place(-0.01, 0.0), speed=0.5, gripper=CLOSE)
    at_handle = (np.abs(beyond) < 0.07) & (-0.07 < inside) & (inside < 0.035)
    intent.where(at_handle, g.eef_position - 0.08 * g.eef_rotation[:, :, 2], speed=0.6, gripper=OPEN)
    intent.turn(at_handle, g.eef_rotation)
    return intent


def _unit(vector: FloatArray) -> FloatArray:
    return vector / norm(vector)[:, None]


EXPERTS: dict[str, Callable[[Geometry], Intent]] = {"OpenSingleDoor": _open, "CloseSingleDoor": _close}
