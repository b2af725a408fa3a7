"""Pick and place by a gripper that points forwards and down, so that it reaches under and into things.

World frame, [m].
"""

from dataclasses import dataclass

import numpy as np

from z1_envs.kitchen.experts.grasp import underside
from z1_envs.kitchen.experts.intent import CLOSE, FORWARD, OPEN, UP, Expert, Intent, pointing
from z1_envs.kitchen.geometry import BoolArray, FloatArray, Geometry, dot, norm

_PALM = 0.038  # from the point between the pads back to the palm, with 2 mm to spare
_MAX_SETBACK = 0.005  # between the middles of pads and object: a round thing slips out of the edges of the pads
_BELOW_TOP = 0.012  # what stands high is held no nearer to its top
_MAX_YAW = 0.6  # [rad] of the gripper
_OPENED = 0.072  # gap of fingers that are open enough to back out
_MUG_PITCH, _SHELF_PITCH, _OVEN_PITCH = 0.4, 0.5, 0.4  # [rad]
_BEFORE = 0.16  # the object lines up so far in front of the place where it goes in
_FROM_FRONT = 0.08  # of the place in a cabinet from the edge of its floor
_RIM = 0.04  # height of a bowl's
_HAND_ROOM = 0.13  # between the hand's middle and a side wall


@dataclass
class _Grasp:
    """How n grippers are to hold their objects, and how far they are.

    rotation: of the gripper. place: where the point between the pads is to be. held: whether they hold it.
    """

    rotation: FloatArray
    place: FloatArray
    held: BoolArray


def _pick(g: Geometry, pitch: float) -> tuple[Intent, _Grasp]:
    """Line up behind the object, slide over it, close. `pitch` is how far the gripper points down [rad]."""
    across = _narrow_side(g)
    grasp = _Grasp(_orientation(across, pitch, g), g.target_position, np.zeros(len(across), dtype=bool))
    opening, approach = grasp.rotation[:, :, 1], grasp.rotation[:, :, 2]
    up = -g.target_rotation[:, :, 2]
    standing = up[:, 2] > 0.8
    # The palm must not push the object away: how far it would reach behind the palm, held at `height`.
    depth = sum(g.object_half[:, k] * np.abs(dot(g.target_rotation[:, :, k], approach)) for k in range(2))
    half_z, steep = g.object_half[:, 2], -approach[:, 2]
    highest = np.maximum(half_z - _BELOW_TOP, g.grasp_height)
    height = np.where(g.grasp_height > 0, np.clip(half_z - (_PALM - depth) / steep, g.grasp_height, highest), 0.0)
    height = np.where(standing, height, 0.0)
    setback = np.clip(depth + (half_z - height) * steep - _PALM, 0.0, _MAX_SETBACK)
    grasp.place = g.target_position + height[:, None] * up - setback[:, None] * approach
    to_place = grasp.place - g.eef_position
    ahead, aside = dot(to_place, approach), np.abs(dot(to_place, opening))
    off = np.abs(dot(to_place, grasp.rotation[:, :, 0]))
    width = np.where(standing, g.grasp_width, 0.070)
    between = (np.abs(ahead) < 0.025) & (aside < 0.02) & (off < 0.03)
    # It may slide up to the palm while it is carried.
    inside = (np.abs(ahead) < 0.04) & (aside < 0.03) & (off < 0.04)
    grasp.held = inside & (g.finger_gap < width) & (g.finger_gap > 0.012)
    # In the hand the object turns with the gripper: following it then would be a feedback loop.
    grasp.rotation = np.where(
        grasp.held[:, None, None], _orientation(g.eef_rotation[:, :, 1], pitch, g), grasp.rotation
    )
    intent = Intent.to(grasp.place - 0.10 * approach, grasp.rotation, speed=1.0, gripper=OPEN)
    beside = (ahead < 0.05) & (norm(to_place) < 0.12)
    intent.where(beside, g.eef_position - 0.08 * approach + 0.02 * UP, speed=0.8, gripper=OPEN)
    lined_up = (aside < np.where(ahead < 0.06, 0.016, 0.010)) & (off < 0.02) & (ahead < 0.14) & (ahead > -0.03)
    intent.where(lined_up, grasp.place, speed=0.4, gripper=OPEN)
    closing = (g.finger_gap < 0.074) & (g.finger_gap > width - 0.012)
    at_object = between & (closing | ((np.abs(ahead) < 0.008) & (off < 0.012)))
    intent.where(at_object, grasp.place, speed=0.3, gripper=CLOSE)
    return intent, grasp


def _narrow_side(g: Geometry) -> FloatArray:
    """The horizontal direction [n, 3] that the fingers are to close along: the object's y, or across what lies."""
    y, z = g.target_rotation[:, :, 1], g.target_rotation[:, :, 2]
    lying = np.abs(z[:, 2]) < 0.7
    return np.where(lying[:, None], np.cross(UP, z), y)


def _orientation(across: FloatArray, pitch: float, g: Geometry) -> FloatArray:
    """Pointing down by `pitch`, opening along `across` as far as the yaw's limit lets it."""
    held_by = np.arctan2(-across[:, 0], across[:, 1])
    yaw = np.clip((held_by + np.pi / 2) % np.pi - np.pi / 2, -_MAX_YAW, _MAX_YAW)
    flat = np.cos(pitch)
    approach = np.stack([flat * np.cos(yaw), flat * np.sin(yaw), np.full(len(yaw), -np.sin(pitch))], axis=1)
    return pointing(approach, np.stack([-np.sin(yaw), np.cos(yaw), np.zeros(len(yaw))], axis=1), g)


def _bring(intent: Intent, mask: BoolArray, g: Geometry, place: FloatArray, *, speed: float) -> None:
    """Held objects of `mask` are moved towards `place` [n, 3]."""
    intent.where(mask, g.eef_position + place - g.target_position, speed=speed, gripper=CLOSE)


def _leave(intent: Intent, placed: BoolArray, grasp: _Grasp, g: Geometry, *, rise: float = 0.0) -> None:
    """Where the object is placed, let go of it, take it between open fingers that do not touch it, then back out.

    rise: how far up for 0.12 m back, over the rim of a dish.
    """
    opening, approach = g.eef_rotation[:, :, 1], g.eef_rotation[:, :, 2]
    to_place = grasp.place - g.eef_position
    aside = dot(to_place, opening)
    around = dot(to_place, approach) < 0.06
    intent.where(placed, g.eef_position + 0.005 * UP, speed=0.3, gripper=OPEN)
    opened = placed & (g.finger_gap > _OPENED)
    intent.where(opened, g.eef_position + aside[:, None] * opening - 0.015 * FORWARD, speed=0.2, gripper=OPEN)
    free = opened & ((np.abs(aside) < 0.004) | ~around)
    intent.where(free, g.eef_position - 0.12 * FORWARD + rise * UP, speed=0.5, gripper=OPEN)
    intent.turn(placed, g.eef_rotation)


def _put_in(g: Geometry, grasp: _Grasp, intent: Intent, spot: FloatArray, *, lift: float, near: float) -> None:
    """Lift to where it goes in, line up before `spot` [n, 3], go straight in, put down, back out.

    lift: height over the spot at which it goes in. near: how far off it may stand.
    """
    standing = spot + (g.target_position - underside(g))
    off = underside(g) - spot
    flat = np.hypot(off[:, 0], off[:, 1])
    over = standing + lift * UP
    front = over - _BEFORE * FORWARD
    x = np.minimum(g.target_position[:, 0], front[:, 0] + 0.02)
    up = np.stack([x, g.target_position[:, 1], over[:, 2]], axis=1)
    high = off[:, 2] > lift - 0.015
    outside = off[:, 0] < -_BEFORE + 0.06
    _bring(intent, grasp.held, g, up, speed=0.4)
    _bring(intent, grasp.held & high, g, front, speed=0.35)
    _bring(intent, grasp.held & ~outside, g, np.concatenate([g.target_position[:, :2], over[:, 2:]], axis=1), speed=0.3)
    inwards = grasp.held & high & (~outside | (np.abs(off[:, 1]) < 0.015))
    _bring(intent, inwards, g, over, speed=0.25)
    _bring(intent, grasp.held & (flat < 0.018), g, standing - 0.01 * UP, speed=0.2)
    low = grasp.held & (g.eef_position[:, 2] < spot[:, 2] + 0.022) & (off[:, 2] < 0.04)
    _leave(intent, (flat < near) & (off[:, 2] > -0.02) & ((off[:, 2] < 0.007) | low), grasp, g)


def _take_out(g: Geometry, grasp: _Grasp, intent: Intent, *, near: float, rim: float = 0.0) -> None:
    """Lift a little, pull straight out, carry over the goal, put down, back out.

    rim: height of the edge of what it is put into.
    """
    lift = 0.03 + rim
    off = underside(g) - g.goal_position
    flat = np.hypot(off[:, 0], off[:, 1])
    over = g.goal_position + (g.target_position - underside(g)) + lift * UP
    inside = off[:, 0] > 0.02
    lifted = g.target_position + 0.02 * UP
    _bring(intent, grasp.held, g, lifted, speed=0.4)
    out = np.stack([over[:, 0], g.target_position[:, 1], g.target_position[:, 2]], axis=1)
    loose = grasp.held & (off[:, 2] > 0.022)
    _bring(intent, loose & inside, g, out, speed=0.25)
    rise = np.concatenate([g.target_position[:, :2], over[:, 2:]], axis=1)
    _bring(intent, grasp.held & ~inside, g, rise, speed=0.35)
    _bring(intent, loose & ~inside & (off[:, 2] > lift - 0.012), g, over, speed=0.35)
    _bring(intent, grasp.held & (flat < 0.03), g, over - (lift + 0.015) * UP, speed=0.3)
    # What has slipped up in the hand is let go of a little higher: the fingers must not press on the counter.
    low = grasp.held & (g.eef_position[:, 2] < g.goal_position[:, 2] + 0.022 + 0.8 * rim) & (off[:, 2] < 0.04 + rim)
    _leave(intent, (flat < near) & ((off[:, 2] < 0.007) | low), grasp, g, rise=3 * rim)


def _setup_mug(g: Geometry) -> Intent:
    """The mug is put under the dispenser."""
    intent, grasp = _pick(g, _MUG_PITCH)
    _put_in(g, grasp, intent, g.goal_position, lift=0.02, near=0.03)
    return intent


def _serve_mug(g: Geometry) -> Intent:
    """The mug is put down on the counter."""
    intent, grasp = _pick(g, _MUG_PITCH)
    _take_out(g, grasp, intent, near=0.04)
    return intent


def _into_cabinet(g: Geometry) -> Intent:
    """The object is put on the cabinet's floor, near the front."""
    intent, grasp = _pick(g, _SHELF_PITCH)
    spot = g.goal_position - g.goal_half * np.array([1.0, 0.0, 1.0]) + _FROM_FRONT * FORWARD
    room = g.goal_half[:, 1] - _HAND_ROOM
    spot[:, 1] = np.clip(g.target_position[:, 1], g.goal_position[:, 1] - room, g.goal_position[:, 1] + room)
    _put_in(g, grasp, intent, spot, lift=0.04, near=0.06)
    return intent


def _out_of_cabinet(g: Geometry) -> Intent:
    """The object is put down on the counter."""
    intent, grasp = _pick(g, _SHELF_PITCH)
    _take_out(g, grasp, intent, near=0.06)
    return intent


def _into_microwave(g: Geometry) -> Intent:
    """The object is put on the plate in the microwave."""
    intent, grasp = _pick(g, _OVEN_PITCH)
    _put_in(g, grasp, intent, g.goal_position, lift=0.04, near=0.05)
    return intent


def _out_of_microwave(g: Geometry) -> Intent:
    """The object is put on the plate or into the bowl on the counter."""
    intent, grasp = _pick(g, _OVEN_PITCH)
    _take_out(g, grasp, intent, near=0.05, rim=_RIM)
    return intent


EXPERTS: dict[str, Expert] = {
    "CoffeeSetupMug": _setup_mug,
    "CoffeeServeMug": _serve_mug,
    "PnPCounterToCab": _into_cabinet,
    "PnPCabToCounter": _out_of_cabinet,
    "PnPCounterToMicrowave": _into_microwave,
    "PnPMicrowaveToCounter": _out_of_microwave,
}
