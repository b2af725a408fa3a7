"""Colours of kitchens: named sets, and how a seed varies them."""

from dataclasses import dataclass, fields

import numpy as np

from z1_envs.kitchen.shapes import RGBA

_LIGHT_STEP = 0.08  # most that a colour as a whole gets brighter or darker, as a share
_HUE_STEP = 0.025  # most that one of its channels moves by itself, as a share


@dataclass(frozen=True, kw_only=True)
class Style:
    """Colours of a kitchen."""

    cabinet: RGBA  # insides and boards
    front: RGBA  # doors and drawers
    counter: RGBA
    metal: RGBA  # handles, taps, basins
    wall: RGBA
    floor: RGBA
    tile: RGBA  # the wall just over the counter
    appliance: RGBA  # fridge, dishwasher, hood


def varied(style: Style, rng: np.random.Generator) -> Style:
    """`style` with every colour a little brighter or darker and a little off in hue."""
    return Style(**{field.name: _varied_colour(getattr(style, field.name), rng) for field in fields(Style)})


def shaded(rgba: RGBA, share: float) -> RGBA:
    """The colour at `share` of its brightness: gaps and undersides."""
    return (rgba[0] * share, rgba[1] * share, rgba[2] * share, rgba[3])


def _varied_colour(rgba: RGBA, rng: np.random.Generator) -> RGBA:
    light = 1 + rng.uniform(-_LIGHT_STEP, _LIGHT_STEP)
    hue = 1 + rng.uniform(-_HUE_STEP, _HUE_STEP, 3)
    r, g, b = (float(v) for v in np.clip(np.array(rgba[:3]) * light * hue, 0.0, 1.0))
    return (r, g, b, rgba[3])


_STEEL: RGBA = (0.62, 0.64, 0.66, 1)
_BRASS: RGBA = (0.72, 0.56, 0.28, 1)
_BLACK: RGBA = (0.10, 0.10, 0.11, 1)
_WHITE: RGBA = (0.93, 0.93, 0.92, 1)

STYLES: dict[str, Style] = {
    "white_oak": Style(
        cabinet=(0.74, 0.60, 0.43, 1), front=(0.80, 0.66, 0.48, 1), counter=(0.82, 0.81, 0.78, 1), metal=_BLACK,
        wall=(0.92, 0.90, 0.86, 1), floor=(0.62, 0.58, 0.53, 1), tile=(0.95, 0.94, 0.92, 1), appliance=_STEEL,
    ),
    "walnut": Style(
        cabinet=(0.33, 0.22, 0.15, 1), front=(0.38, 0.25, 0.17, 1), counter=(0.78, 0.76, 0.72, 1), metal=_BRASS,
        wall=(0.88, 0.85, 0.79, 1), floor=(0.58, 0.55, 0.50, 1), tile=(0.80, 0.76, 0.68, 1), appliance=_BLACK,
    ),
    "navy": Style(
        cabinet=(0.66, 0.55, 0.42, 1), front=(0.13, 0.19, 0.33, 1), counter=(0.84, 0.83, 0.81, 1), metal=_BRASS,
        wall=(0.91, 0.92, 0.93, 1), floor=(0.60, 0.46, 0.32, 1), tile=(0.96, 0.96, 0.95, 1), appliance=_STEEL,
    ),
    "sage": Style(
        cabinet=(0.70, 0.60, 0.46, 1), front=(0.55, 0.63, 0.51, 1), counter=(0.66, 0.50, 0.33, 1), metal=_BRASS,
        wall=(0.93, 0.91, 0.85, 1), floor=(0.70, 0.63, 0.52, 1), tile=(0.90, 0.92, 0.87, 1), appliance=_WHITE,
    ),
    "white_gloss": Style(
        cabinet=(0.86, 0.86, 0.86, 1), front=(0.95, 0.95, 0.95, 1), counter=(0.30, 0.30, 0.32, 1), metal=_STEEL,
        wall=(0.78, 0.81, 0.84, 1), floor=(0.45, 0.46, 0.48, 1), tile=(0.58, 0.68, 0.74, 1), appliance=_STEEL,
    ),
    "charcoal": Style(
        cabinet=(0.30, 0.30, 0.31, 1), front=(0.22, 0.23, 0.25, 1), counter=(0.62, 0.47, 0.31, 1), metal=_STEEL,
        wall=(0.82, 0.81, 0.79, 1), floor=(0.52, 0.49, 0.46, 1), tile=(0.72, 0.71, 0.69, 1), appliance=_BLACK,
    ),
    "terracotta": Style(
        cabinet=(0.78, 0.68, 0.54, 1), front=(0.91, 0.86, 0.76, 1), counter=(0.55, 0.42, 0.32, 1), metal=_BLACK,
        wall=(0.93, 0.88, 0.80, 1), floor=(0.66, 0.37, 0.26, 1), tile=(0.78, 0.45, 0.32, 1), appliance=_WHITE,
    ),
    "cherry": Style(
        cabinet=(0.50, 0.26, 0.17, 1), front=(0.56, 0.29, 0.18, 1), counter=(0.20, 0.21, 0.20, 1), metal=_STEEL,
        wall=(0.90, 0.86, 0.74, 1), floor=(0.74, 0.68, 0.58, 1), tile=(0.84, 0.79, 0.68, 1), appliance=_STEEL,
    ),
    "concrete": Style(
        cabinet=(0.46, 0.44, 0.42, 1), front=(0.60, 0.57, 0.53, 1), counter=(0.36, 0.36, 0.36, 1), metal=_BLACK,
        wall=(0.84, 0.84, 0.83, 1), floor=(0.66, 0.52, 0.37, 1), tile=(0.62, 0.63, 0.64, 1), appliance=_BLACK,
    ),
    "pastel_blue": Style(
        cabinet=(0.84, 0.80, 0.72, 1), front=(0.64, 0.76, 0.83, 1), counter=(0.80, 0.76, 0.68, 1), metal=_STEEL,
        wall=(0.96, 0.95, 0.91, 1), floor=(0.76, 0.66, 0.52, 1), tile=(0.86, 0.90, 0.92, 1), appliance=_WHITE,
    ),
    "forest": Style(
        cabinet=(0.52, 0.40, 0.28, 1), front=(0.14, 0.27, 0.21, 1), counter=(0.77, 0.75, 0.70, 1), metal=_BRASS,
        wall=(0.86, 0.86, 0.80, 1), floor=(0.50, 0.38, 0.27, 1), tile=(0.72, 0.78, 0.72, 1), appliance=_BLACK,
    ),
    "butter": Style(
        cabinet=(0.82, 0.72, 0.52, 1), front=(0.95, 0.86, 0.58, 1), counter=(0.42, 0.44, 0.46, 1), metal=_STEEL,
        wall=(0.88, 0.91, 0.90, 1), floor=(0.56, 0.54, 0.52, 1), tile=(0.94, 0.94, 0.90, 1), appliance=_STEEL,
    ),
}  # fmt: skip

TEST_STYLES = ("walnut", "sage")  # seen in no training scene
