"""Grasps by a gripper that points down, for objects in whatever way they lie. World frame, [m]."""

from dataclasses import dataclass

import numpy as np

from z1_envs.kitchen.experts.intent import CLOSE, OPEN, STARTED_CLOSING, UP, Intent, pointing
from z1_envs.kitchen.geometry import BoolArray, FloatArray, Geometry, dot, norm, to_frame
from z1_envs.kitchen.objects import MAX_DEPTH

_HOVER = 0.08  # of the gripper over the place of the grasp, before it comes down
_OVER_COUNTER = 0.10  # the same over the counter, for what lies lower
_SLACK = 0.004  # of the gap round what is held
_SIDEWAYS = np.array([0.0, 1.0, 0.0])


@dataclass
class Grasp:
    """How n grippers are to hold their objects, and whether they do.

    rotation: of the gripper. place: where the point between the pads is to be. width: of the object between them.
    """

    rotation: FloatArray
    place: FloatArray
    width: FloatArray
    held: BoolArray


def half_extent(g: Geometry, direction: FloatArray) -> FloatArray:
    """Of the object along unit vectors [n, 3], as if it were an ellipsoid of its size [n]."""
    return np.sqrt(sum((g.object_half[:, k] * dot(g.target_rotation[:, :, k], direction)) ** 2 for k in range(3)))


def underside(g: Geometry) -> FloatArray:
    """The point [n, 3] right under the object's centre at the height of its lowest point."""
    return g.target_position - half_extent(g, np.tile(UP, (len(g.object_half), 1)))[:, None] * UP


def pick(g: Geometry) -> tuple[Intent, Grasp]:
    """Hover over the object, turn with it, come down round it, close."""
    grasp = _find(g)
    to_place = grasp.place - g.eef_position
    above, flat = -to_place[:, 2], to_place * (1 - UP)
    aside, across = np.abs(dot(flat, grasp.rotation[:, :, 1])), np.abs(dot(flat, grasp.rotation[:, :, 0]))
    far = norm(flat) > 0.05
    hover = grasp.place + _HOVER * UP
    hover[:, 2] = np.where(far, np.maximum(hover[:, 2], g.counter_top + _OVER_COUNTER), hover[:, 2])
    intent = Intent.to(hover, grasp.rotation, speed=1.0, gripper=OPEN)
    low = far & (g.eef_position[:, 2] < hover[:, 2] - 0.03) & (norm(flat) < 0.25)
    straight_up = np.concatenate([g.eef_position[:, :2], hover[:, 2:]], axis=1)
    intent.where(low, straight_up, speed=0.8, gripper=OPEN)
    near = above < 0.05
    turned = dot(g.eef_rotation[:, :, 1], grasp.rotation[:, :, 1]) > np.where(near, 0.93, 0.985)
    upright = -g.eef_rotation[:, 2, 2] > 0.985
    lined_up = turned & upright & (aside < np.where(near, 0.016, 0.010)) & (across < np.where(near, 0.020, 0.013))
    lined_up &= above > -0.03
    intent.where(lined_up, grasp.place, speed=0.6, gripper=OPEN)
    intent.where(lined_up & (above < 0.07), grasp.place, speed=0.35, gripper=OPEN)
    close_by = (aside < 0.025) & (across < 0.025) & (np.abs(above) < 0.03)
    ready = (aside < 0.014) & (across < 0.012) & (np.abs(above) < 0.010)
    at_object = close_by & ((g.finger_gap < STARTED_CLOSING) | ready)
    intent.where(at_object, grasp.place, speed=0.3, gripper=CLOSE)
    return intent, grasp


def _find(g: Geometry) -> Grasp:
    """Standing objects are held along their narrow side at their place for it, others where they are narrowest."""
    n = len(g.eef_position)
    up = np.tile(UP, (n, 1))
    standing = -g.target_rotation[:, 2, 2] > 0.9
    height = np.where(standing, g.grasp_height, np.maximum(half_extent(g, up) - MAX_DEPTH, 0.0))
    opening = np.where(standing[:, None], g.target_rotation[:, :, 1], _narrowest(g))
    # In the hand the object turns with the gripper: following it then would be a feedback loop.
    held, held_width = _held(g)
    opening = np.where(held[:, None], g.eef_rotation[:, :, 1], opening)
    rotation = pointing(-up, opening, g)
    width = np.where(standing, g.grasp_width, 2 * half_extent(g, rotation[:, :, 1]))
    return Grasp(rotation, g.target_position + height[:, None] * UP, np.where(held, held_width, width), held)


def _held(g: Geometry) -> tuple[BoolArray, FloatArray]:
    """Whether the fingers are shut on the object, at any place of it, and how wide it is there."""
    inside = np.abs(to_frame(g.target_rotation, g.eef_position - g.target_position)) < g.object_half + 0.006
    opening = g.eef_rotation[:, :, 1]
    along_narrow_side = np.abs(dot(opening, g.target_rotation[:, :, 1])) > 0.9
    width = np.where(along_narrow_side, g.grasp_width, 2 * half_extent(g, opening))
    return inside.all(axis=1) & (g.finger_gap < np.minimum(width + _SLACK, STARTED_CLOSING)), width


def _narrowest(g: Geometry) -> FloatArray:
    """The horizontal direction [n, 3] along which the object is narrowest; along y where it is round."""
    xx, xy, yy = (
        sum((g.object_half[:, k] ** 2 * g.target_rotation[:, i, k] * g.target_rotation[:, j, k]) for k in range(3))
        for i, j in ((0, 0), (0, 1), (1, 1))
    )
    # The longer axis of the ellipse of second moments; what is narrow is at a right angle to it.
    angle = 0.5 * np.arctan2(2 * xy, xx - yy)
    spread = np.hypot(xx - yy, 2 * xy) / (xx + yy)
    narrow = np.stack([-np.sin(angle), np.cos(angle), np.zeros(len(angle))], axis=1)
    return np.where((spread > 0.1)[:, None], narrow, _SIDEWAYS)
