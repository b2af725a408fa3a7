"""Scripted experts, through the same 12-dim action that a policy has.

An expert is a function of the present geometry alone: it keeps no phase and no counter, so it recovers from
any perturbation and needs nothing that a snapshot does not hold. All arithmetic is over n lanes.

    actions = expert_actions("OpenDrawer", lanes.geometry(ids))     # [n, 12]
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from z1_envs.kitchen.control import EEF_POSITION_SCALE, EEF_ROTATION_SCALE
from z1_envs.kitchen.fixtures import HANDLE_RADIUS
from z1_envs.kitchen.geometry import Geometry, dot, norm, to_frame
from z1_envs.layout import ACTION

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_OPEN, _CLOSE = -1.0, 1.0
_GAIN = 0.6  # share of the error that one action closes: the arm lags by a step, so 1 would overshoot
_MAX_TURN = 0.4  # of the full rotation action
_STARTED_CLOSING = 0.074  # [m] gap of fingers that are on their way; open is 0.08


@dataclass
class Intent:
    """What n grippers want: a position to reach [n, 3], an orientation [n, 3, 3], a speed and the fingers.

    speed: largest component of the position action [n] in (0, 1]. gripper: -1 opens, +1 closes [n].
    """

    position: FloatArray
    rotation: FloatArray
    speed: FloatArray
    gripper: FloatArray

    def where(self, mask: BoolArray, position: FloatArray, *, speed: float, gripper: float) -> None:
        """Lanes of `mask` want this instead."""
        self.position = np.where(mask[:, None], position, self.position)
        self.speed = np.where(mask, speed, self.speed)
        self.gripper = np.where(mask, gripper, self.gripper)


def expert_actions(task: str, g: Geometry) -> NDArray[np.float32]:
    """The expert's actions [n, 12] for lanes with geometry `g`."""
    intent = EXPERTS[task](g)
    move = _GAIN * to_frame(g.base_rotation, intent.position - g.eef_position) / EEF_POSITION_SCALE
    move /= np.maximum(1.0, np.abs(move).max(axis=1) / intent.speed)[:, None]
    error = Rotation.from_matrix(intent.rotation @ g.eef_rotation.transpose(0, 2, 1)).as_rotvec()
    turn = _GAIN * to_frame(g.base_rotation, error) / EEF_ROTATION_SCALE
    turn /= np.maximum(1.0, np.abs(turn).max(axis=1) / _MAX_TURN)[:, None]
    n = len(move)
    action = {
        "eef_position": move,
        "eef_rotation": turn,
        "gripper": intent.gripper[:, None],
        "base": np.zeros((n, 3)),
        "torso": np.zeros((n, 1)),
        "base_mode": np.full((n, 1), -1.0),
    }
    return ACTION.join(action).astype(np.float32)


def _open_drawer(g: Geometry) -> Intent:
    """Line up before the handle, slide over it, close, pull. The fingers' gap tells how far it has come."""
    approach = g.target_rotation[:, :, 2]
    to_handle = to_frame(g.target_rotation, g.target_position + 0.006 * approach - g.eef_position)
    along, aside, ahead = np.abs(to_handle[:, 0]), np.abs(to_handle[:, 1]), to_handle[:, 2]
    closing = g.finger_gap < _STARTED_CLOSING
    around_handle = (aside < 0.028) & (along < 0.05) & (np.abs(ahead) < 0.03)
    at_handle = around_handle & (closing | ((np.abs(ahead) < 0.014) & (aside < 0.018)))
    gripped = at_handle & (g.finger_gap < 2 * HANDLE_RADIUS + 0.004)
    lined_up = (along < 0.04) & (aside < np.where(ahead < 0.06, 0.026, 0.016)) & (ahead < 0.14)
    n = len(ahead)
    intent = Intent(g.target_position - 0.10 * approach, g.target_rotation, np.full(n, 1.0), np.full(n, _OPEN))
    handle = g.target_position + 0.006 * approach
    intent.where(lined_up, handle, speed=0.4, gripper=_OPEN)
    intent.where(at_handle, handle, speed=0.3, gripper=_CLOSE)
    intent.where(gripped, g.target_position - 0.06 * approach, speed=0.5, gripper=_CLOSE)
    return intent


def _close_door(g: Geometry) -> Intent:
    """Go around the door's free edge to its outside, then push it along its arc with closed fingers."""
    inward, to_edge = g.target_rotation[:, :, 2], g.target_rotation[:, :, 1]
    to_target = g.target_position - g.eef_position
    ahead, beside = dot(to_target, inward), dot(to_target, to_edge)  # beside < 0: nearer the edge than the target
    outside = ahead > -0.005
    n = len(ahead)
    around = g.target_position + 0.18 * to_edge - 0.06 * inward
    intent = Intent(around, _forward(g), np.full(n, 1.0), np.full(n, _CLOSE))
    intent.where(outside, g.target_position - 0.06 * inward, speed=0.8, gripper=_CLOSE)
    pushing = outside & (np.abs(beside) < 0.06) & (ahead < 0.12)
    intent.where(pushing, g.target_position + 0.05 * inward, speed=0.5, gripper=_CLOSE)
    return intent


def _forward(g: Geometry) -> FloatArray:
    """The gripper pointing along +x, thin sideways, in whichever of both ways is nearer."""
    forward, up = np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, 1.0])
    opening = up * np.where(g.eef_rotation[:, 2, 1] < 0, -1.0, 1.0)[:, None]
    return np.stack([np.cross(opening, forward), opening, np.broadcast_to(forward, opening.shape)], axis=2)


def _counter_to_sink(g: Geometry) -> Intent:
    """Grasp from above, lift, carry over the goal, let go, rise."""
    up = np.array([0.0, 0.0, 1.0])
    grasp = g.target_position + g.grasp_height[:, None] * up
    to_object = grasp - g.eef_position
    aside = norm(to_object * (1 - up))
    below = -to_object[:, 2]  # how far the gripper is above the object
    closing = g.finger_gap < _STARTED_CLOSING
    close_by = (aside < 0.025) & (np.abs(below) < 0.03)
    held = close_by & (g.finger_gap < g.grasp_width + 0.0025)
    from_goal = np.abs(g.target_position - g.goal_position)[:, :2]
    over_goal = (from_goal < g.goal_half[:, :2] - 0.06).all(axis=1)
    in_goal = (np.abs(g.target_position - g.goal_position) <= g.goal_half).all(axis=1)
    n = len(aside)
    # In the hand the object turns with the gripper: following it then would be a feedback loop.
    rotation = _downwards(np.where(held[:, None], g.eef_rotation[:, :, 1], g.target_rotation[:, :, 1]), g)
    intent = Intent(grasp + 0.10 * up, rotation, np.full(n, 1.0), np.full(n, _OPEN))
    lined_up = (aside < np.where(below < 0.06, 0.024, 0.016)) & (below < 0.14)
    intent.where(lined_up, grasp, speed=0.4, gripper=_OPEN)
    at_object = close_by & (closing | ((aside < 0.018) & (np.abs(below) < 0.014)))
    intent.where(at_object, grasp, speed=0.3, gripper=_CLOSE)
    clearance = g.target_position[:, 2] - g.counter_top
    carry_height = g.counter_top + 0.20
    lift = np.concatenate([g.eef_position[:, :2], carry_height[:, None]], axis=1)
    intent.where(held, lift, speed=0.6, gripper=_CLOSE)
    carry = np.concatenate([g.goal_position[:, :2], carry_height[:, None]], axis=1)
    intent.where(held & (clearance > 0.14), carry, speed=0.6, gripper=_CLOSE)
    intent.where(held & over_goal, g.eef_position, speed=0.3, gripper=_OPEN)
    away = np.concatenate([g.eef_position[:, :2], (g.counter_top + 0.35)[:, None]], axis=1)
    intent.where(over_goal & ~held | in_goal, away, speed=0.8, gripper=_OPEN)
    return intent


def _downwards(opening: FloatArray, g: Geometry) -> FloatArray:
    """The gripper pointing down and opening along `opening` [n, 3], in whichever of both ways is nearer."""
    level = opening * np.array([1.0, 1.0, 0.0])
    level /= np.maximum(norm(level), 1e-6)[:, None]
    level *= np.where(dot(level, g.eef_rotation[:, :, 1]) < 0, -1.0, 1.0)[:, None]
    down = np.broadcast_to(np.array([0.0, 0.0, -1.0]), level.shape)
    return np.stack([np.cross(level, down), level, down], axis=2)


EXPERTS: dict[str, Callable[[Geometry], Intent]] = {
    "OpenDrawer": _open_drawer,
    "CloseSingleDoor": _close_door,
    "PnPCounterToSink": _counter_to_sink,
}
