"""Buttons of the coffee machine and the microwave: pressed with closed fingers, then left."""

import numpy as np

from z1_envs.kitchen.experts.intent import CLOSE, Expert, Intent, forward
from z1_envs.kitchen.geometry import BoolArray, Geometry, to_frame


def _turn_on(g: Geometry) -> Intent:
    """Press until the machine is on."""
    return _press(g, g.latch)


def _turn_off(g: Geometry) -> Intent:
    """Press until the machine is off."""
    return _press(g, ~g.latch)


def _press(g: Geometry, pressed: BoolArray) -> Intent:
    """Line up before the button, press it straight, and go back the way it came."""
    approach = g.target_rotation[:, :, 2]
    to_button = to_frame(g.target_rotation, g.target_position - g.eef_position)
    aside, ahead = np.hypot(to_button[:, 0], to_button[:, 1]), to_button[:, 2]
    intent = Intent.to(g.target_position - 0.07 * approach, forward(g), speed=0.35, gripper=CLOSE)
    # Not sideways along the machine's front, where other things stick out: first back.
    too_near = (ahead < 0.05) & (aside > 0.021)
    intent.where(too_near, g.eef_position - 0.08 * approach, speed=0.35, gripper=CLOSE)
    lined_up = (aside < np.where(ahead < 0.05, 0.021, 0.015)) & (ahead < 0.10) & (g.finger_gap < 0.01)
    intent.where(lined_up, g.target_position, speed=0.2, gripper=CLOSE)
    intent.where(pressed, g.target_position - 0.22 * approach, speed=0.5, gripper=CLOSE)
    return intent


EXPERTS: dict[str, Expert] = {
    "CoffeePressButton": _turn_on,
    "TurnOnMicrowave": _turn_on,
    "TurnOffMicrowave": _turn_off,
}
