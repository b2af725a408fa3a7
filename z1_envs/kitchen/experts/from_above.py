"""Pick and place by a gripper that points down: grasp, lift, carry, let go, leave."""

from collections.abc import Callable

import numpy as np

from z1_envs.kitchen.experts.intent import CLOSE, OPEN, STARTED_CLOSING, UP, FloatArray, Intent, pointing
from z1_envs.kitchen.geometry import Geometry, norm


def _counter_to_sink(g: Geometry) -> Intent:
    """Grasp from above, lift, carry over the goal, let go, rise."""
    grasp = g.target_position + g.grasp_height[:, None] * UP
    to_object = grasp - g.eef_position
    aside = norm(to_object * (1 - UP))
    below = -to_object[:, 2]  # how far the gripper is above the object
    closing = g.finger_gap < STARTED_CLOSING
    close_by = (aside < 0.025) & (np.abs(below) < 0.03)
    held = close_by & (g.finger_gap < g.grasp_width + 0.0025)
    from_goal = np.abs(g.target_position - g.goal_position)[:, :2]
    over_goal = (from_goal < g.goal_half[:, :2] - 0.06).all(axis=1)
    in_goal = (np.abs(g.target_position - g.goal_position) <= g.goal_half).all(axis=1)
    # In the hand the object turns with the gripper: following it then would be a feedback loop.
    rotation = _downwards(np.where(held[:, None], g.eef_rotation[:, :, 1], g.target_rotation[:, :, 1]), g)
    intent = Intent.to(grasp + 0.10 * UP, rotation, speed=1.0, gripper=OPEN)
    lined_up = (aside < np.where(below < 0.06, 0.024, 0.016)) & (below < 0.14)
    intent.where(lined_up, grasp, speed=0.4, gripper=OPEN)
    at_object = close_by & (closing | ((aside < 0.018) & (np.abs(below) < 0.014)))
    intent.where(at_object, grasp, speed=0.3, gripper=CLOSE)
    clearance = g.target_position[:, 2] - g.counter_top
    carry_height = g.counter_top + 0.20
    lift = np.concatenate([g.eef_position[:, :2], carry_height[:, None]], axis=1)
    intent.where(held, lift, speed=0.6, gripper=CLOSE)
    carry = np.concatenate([g.goal_position[:, :2], carry_height[:, None]], axis=1)
    intent.where(held & (clearance > 0.14), carry, speed=0.6, gripper=CLOSE)
    intent.where(held & over_goal, g.eef_position, speed=0.3, gripper=OPEN)
    away = np.concatenate([g.eef_position[:, :2], (g.counter_top + 0.35)[:, None]], axis=1)
    intent.where(over_goal & ~held | in_goal, away, speed=0.8, gripper=OPEN)
    return intent


def _downwards(opening: FloatArray, g: Geometry) -> FloatArray:
    """The gripper pointing down and opening along `opening` [n, 3]."""
    return pointing(np.tile(-UP, (len(opening), 1)), opening, g)


EXPERTS: dict[str, Callable[[Geometry], Intent]] = {"PnPCounterToSink": _counter_to_sink}
