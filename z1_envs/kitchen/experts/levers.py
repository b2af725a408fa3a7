"""Levers and knobs: the sink's faucet and spout are pushed, the stove's knobs are grasped and turned."""

import numpy as np

from z1_envs.kitchen.experts.intent import CLOSE, OPEN, STARTED_CLOSING, UP, Expert, Intent, pointing
from z1_envs.kitchen.fixtures.stove import KNOB_THICKNESS
from z1_envs.kitchen.geometry import FloatArray, Geometry, dot, to_frame

_LEANING = np.array([0.5, 0.0, -(0.75**0.5)])  # the gripper's approach: down, and 30 degrees forward
_IN_FRONT = np.array([-0.20, 0.0, 0.10])  # [m] from the place beside the lever
_LOW = 0.008  # [m] under the lever's axis: the height at which it is pushed


def _push(g: Geometry) -> Intent:
    """Come down behind the lever's end with closed fingers, then push it along its arc to the goal.

    The way to another side leads past the front, where nothing stands in the way.
    """
    n = len(g.part)
    ahead = g.target_rotation[:, :, 1]
    ahead = ahead * np.where(dot(ahead, g.goal_position - g.target_position) < 0, -1.0, 1.0)[:, None]
    outwards = np.cross(ahead, UP)
    from_lever = g.eef_position - g.target_position
    behind, along, height = -dot(from_lever, ahead), np.abs(dot(from_lever, outwards)), from_lever[:, 2]
    rotation = pointing(np.tile(_LEANING, (n, 1)), np.tile(UP, (n, 1)), g)
    before = g.target_position - 0.06 * ahead
    intent = Intent.to(before + 0.08 * UP, rotation, speed=0.4, gripper=CLOSE)
    past_front = np.abs((before - g.eef_position)[:, 1]) > 0.07
    intent.where(past_front, before + _IN_FRONT, speed=0.4, gripper=CLOSE)
    # Not sideways into the lever or the column: first up.
    beside = (np.abs(behind - 0.06) < 0.032) & (along < 0.03)
    too_low = (height < 0.045) & ~beside
    intent.where(too_low, g.eef_position + (0.08 - height)[:, None] * UP, speed=0.4, gripper=CLOSE)
    closed = g.finger_gap < 0.01
    intent.where(beside & closed, before - _LOW * UP, speed=0.3, gripper=CLOSE)
    pushing = (behind > 0.005) & (behind < 0.095) & (along < 0.035) & (np.abs(height + _LOW) < 0.02) & closed
    intent.where(pushing, g.target_position + 0.03 * ahead - _LOW * UP, speed=0.2, gripper=CLOSE)
    return intent


def _turn_on(g: Geometry) -> Intent:
    """On, whichever way is nearer."""
    return _turn(g, np.where(g.joints[:, 0] < -0.05, -0.2, 0.2))


def _turn_off(g: Geometry) -> Intent:
    """Upright."""
    return _turn(g, -np.clip(g.joints[:, 0], -0.2, 0.2))


def _turn(g: Geometry, by: FloatArray) -> Intent:
    """Grasp the knob's bar and turn it with the gripper `by` [n] rad, clockwise positive. The gap tells the grasp."""
    approach, across = g.target_rotation[:, :, 2], g.target_rotation[:, :, 1]
    to_bar = to_frame(g.target_rotation, g.target_position - g.eef_position)
    along, aside, ahead = np.abs(to_bar[:, 0]), np.abs(to_bar[:, 1]), to_bar[:, 2]
    aligned = np.abs(dot(across, g.eef_rotation[:, :, 1])) > 0.985
    closing = g.finger_gap < STARTED_CLOSING
    around_bar = (aside < 0.02) & (along < 0.02) & (np.abs(ahead) < 0.025)
    at_bar = around_bar & (closing | ((np.abs(ahead) < 0.012) & (aside < 0.012) & aligned))
    gripped = around_bar & (g.finger_gap < KNOB_THICKNESS + 0.004)
    lined_up = (np.hypot(along, aside) < np.where(ahead < 0.06, 0.020, 0.014)) & (ahead < 0.12) & aligned
    intent = Intent.to(g.target_position - 0.08 * approach, pointing(approach, across, g), speed=0.4, gripper=OPEN)
    intent.where(lined_up, g.target_position, speed=0.25, gripper=OPEN)
    intent.where(at_bar, g.target_position, speed=0.3, gripper=CLOSE)
    turned = np.cos(by)[:, None] * across + np.sin(by)[:, None] * np.cross(approach, across)
    intent.turn(gripped, pointing(approach, turned, g))
    return intent


EXPERTS: dict[str, Expert] = {
    "TurnOnSinkFaucet": _push,
    "TurnOffSinkFaucet": _push,
    "TurnSinkSpout": _push,
    "TurnOnStove": _turn_on,
    "TurnOffStove": _turn_off,
}
