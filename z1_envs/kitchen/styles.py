"""Colours of kitchens."""

from dataclasses import dataclass

from z1_envs.kitchen.shapes import RGBA


@dataclass(frozen=True, kw_only=True)
class Style:
    """Colours of a kitchen."""

    cabinet: RGBA
    front: RGBA
    counter: RGBA
    metal: RGBA
    wall: RGBA
    floor: RGBA
