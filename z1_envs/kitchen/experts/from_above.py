"""Pick and place by a gripper that points down: grasp, lift, carry, put down, leave. World frame, [m]."""

import numpy as np

from z1_envs.kitchen.experts.grasp import Grasp, pick, underside
from z1_envs.kitchen.experts.intent import CLOSE, OPEN, UP, Expert, Intent
from z1_envs.kitchen.geometry import BoolArray, FloatArray, Geometry, norm
from z1_envs.kitchen.goals import PAN_RADIUS, RECEPTACLE_SHARE

_CLEAR = 0.06  # what is carried passes so high over the counter: over rims of bowls and pans
_OPENED = 0.010  # gap beyond the object's width at which the fingers have let go of it
_IN_FRONT = 0.02  # of the basin's middle: there the arm passes the spout
_EASE = 0.004  # fingers that press on the floor of a dish would not open: they are raised a little
_LET_GO = 0.008  # height over the floor of what is let go


def _into_sink(g: Geometry) -> Intent:
    """The object is put down in the middle of the basin."""
    intent, grasp = pick(g)
    spot = g.goal_position - g.goal_half[:, 2:] * UP - np.array([_IN_FRONT, 0.0, 0.0])
    _put(intent, grasp, g, spot, height=0.03)
    inside = (np.abs(g.target_position - g.goal_position) <= g.goal_half).all(axis=1)
    _leave(intent, inside & ~grasp.held, grasp, g)
    return intent


def _into_container(g: Geometry) -> Intent:
    """The object is put down in the middle of a plate or bowl."""
    return _onto(g, RECEPTACLE_SHARE * g.container_radius)


def _near_middle(g: Geometry) -> Intent:
    """The object is put down in the middle of a container, which has to be hit better."""
    return _onto(g, np.full(len(g.container_radius), PAN_RADIUS))


def _onto(g: Geometry, within: FloatArray) -> Intent:
    intent, grasp = pick(g)
    _put(intent, grasp, g, g.goal_position, height=_LET_GO)
    to_goal = g.goal_position - underside(g)
    placed = ~grasp.held & (norm(to_goal * (1 - UP)) < within - 0.003) & (np.abs(to_goal[:, 2]) < 0.02)
    _leave(intent, placed, grasp, g)
    return intent


def _put(intent: Intent, grasp: Grasp, g: Geometry, spot: FloatArray, *, height: float) -> None:
    """What is held is lifted, carried over `spot` [n, 3], lowered onto it and let go at `height` over it."""
    to_spot = spot - underside(g)
    aside, above = norm(to_spot * (1 - UP)), -to_spot[:, 2]
    to_clear = (g.counter_top + _CLEAR - underside(g)[:, 2])[:, None]
    intent.where(grasp.held, g.eef_position + (to_clear + 0.03) * UP, speed=0.7, gripper=CLOSE)
    clear = grasp.held & (to_clear[:, 0] < 0.0)
    intent.where(clear, g.eef_position + to_spot * (1 - UP) + (to_clear + 0.03) * UP, speed=0.8, gripper=CLOSE)
    over = grasp.held & (aside < np.where(clear, 0.02, 0.04))
    intent.where(over, g.eef_position + to_spot - 0.005 * UP, speed=0.5, gripper=CLOSE)
    intent.where(over & (above < 0.05), g.eef_position + to_spot - 0.005 * UP, speed=0.2, gripper=CLOSE)
    intent.where(over & (above < height), g.eef_position + _EASE * UP, speed=0.3, gripper=OPEN)


def _leave(intent: Intent, placed: BoolArray, grasp: Grasp, g: Geometry) -> None:
    """Where the object is placed, open the fingers to the full, then rise straight."""
    intent.where(placed, g.eef_position + _EASE * UP, speed=0.3, gripper=OPEN)
    free = placed & (g.finger_gap > np.minimum(grasp.width + _OPENED, 0.076))
    intent.where(free, g.eef_position + 0.10 * UP, speed=0.7, gripper=OPEN)
    intent.turn(placed, g.eef_rotation)


EXPERTS: dict[str, Expert] = {
    "PnPCounterToSink": _into_sink,
    "PnPSinkToCounter": _into_container,
    "PnPCounterToStove": _near_middle,
    "PnPStoveToCounter": _near_middle,
}
