"""What every kitchen has around its fixture: floor, wall, counter, lower cabinets, things that stand about.

The world frame is that of fixtures.py. Nothing here moves.
"""

from dataclasses import dataclass

import mujoco
import numpy as np

from z1_envs.kitchen.fixtures import COUNTER_DEPTH, Drawer, SingleDoorCabinet, Sink, Style
from z1_envs.kitchen.shapes import GEOM, OBJECT, RGBA, STATIC, VISUAL, box

_HALF_LENGTH = 1.6  # [m] of the counter run
_HALF_THICKNESS = 0.02  # [m] of the counter


@dataclass(frozen=True, kw_only=True)
class Clutter:
    """A fixed box on the counter: something to see and to avoid."""

    x: float
    y: float
    half: tuple[float, float, float]
    rgba: RGBA

    def add(self, world: mujoco.MjsBody, name: str, counter_top: float) -> None:
        """The box, standing on the counter."""
        box(world, name, (self.x, self.y, counter_top + self.half[2]), self.half, self.rgba, STATIC)


def add_room(world: mujoco.MjsBody, style: Style) -> None:
    """Floor and back wall."""
    world.add_geom(
        name="floor", type=GEOM.mjGEOM_PLANE, size=[4, 4, 0.1], rgba=style.floor,
        contype=STATIC[0], conaffinity=OBJECT[0],  # not the robot: its wheels are a box that hovers
    )  # fmt: skip
    box(world, "wall", (COUNTER_DEPTH + 0.05, 0, 1.3), (0.05, 2.2, 1.3), style.wall, STATIC)


def add_counter(world: mujoco.MjsBody, style: Style, top: float, fixture: Drawer | SingleDoorCabinet | Sink) -> None:
    """A counter run at height `top`, with an opening where `fixture` is a sink."""
    if not isinstance(fixture, Sink):
        x = COUNTER_DEPTH / 2
        half = (x + 0.01, _HALF_LENGTH, _HALF_THICKNESS)
        box(world, "counter", (x - 0.01, 0, top - _HALF_THICKNESS), half, style.counter, STATIC)
        return
    x0, x1 = fixture.x - fixture.half_x, fixture.x + fixture.half_x
    y0, y1 = fixture.y - fixture.half_y, fixture.y + fixture.half_y
    slabs = {
        "left": (-0.02, COUNTER_DEPTH, y1, _HALF_LENGTH),
        "right": (-0.02, COUNTER_DEPTH, -_HALF_LENGTH, y0),
        "front": (-0.02, x0, y0, y1),
        "back": (x1, COUNTER_DEPTH, y0, y1),
    }
    for name, (xa, xb, ya, yb) in slabs.items():
        half = ((xb - xa) / 2, (yb - ya) / 2, _HALF_THICKNESS)
        centre = ((xa + xb) / 2, (ya + yb) / 2, top - _HALF_THICKNESS)
        box(world, f"counter_{name}", centre, half, style.counter, STATIC)


def add_lower_cabinets(
    world: mujoco.MjsBody, style: Style, top: float, fixture: Drawer | SingleDoorCabinet | Sink
) -> None:
    """Solid cabinets under the counter at height `top`, hollow where `fixture` is a drawer or a sink."""
    under = top - 2 * _HALF_THICKNESS
    hollow = _hollow(top, fixture)
    low, left, right = hollow if hollow else (under, 0.0, 0.0)
    x, half_depth = COUNTER_DEPTH / 2 + 0.01, COUNTER_DEPTH / 2 - 0.01
    half = (half_depth, _HALF_LENGTH, low / 2 - 0.05)
    box(world, "cabinets", (x, 0, low / 2 + 0.05), half, style.cabinet, STATIC)
    plinth = (half_depth - 0.03, _HALF_LENGTH, 0.05)
    box(world, "plinth", (x + 0.03, 0, 0.05), plinth, style.metal, VISUAL)
    # A box of no height does not compile.
    z, half_height = (under + low) / 2, max((under - low) / 2, 1e-3)
    for name, y0, y1 in (("left", left, _HALF_LENGTH), ("right", -_HALF_LENGTH, right)):
        half = (half_depth, (y1 - y0) / 2, half_height)
        box(world, f"cabinets_{name}", (x, (y0 + y1) / 2, z), half, style.cabinet, STATIC)
    for i, y in enumerate(np.linspace(-1.4, 1.4, 8)):
        line = (0.006, 0.004, under / 2 - 0.06)
        box(world, f"door_line{i}", (0.012, y, under / 2), line, style.metal, VISUAL)


def _hollow(top: float, fixture: Drawer | SingleDoorCabinet | Sink) -> tuple[float, float, float] | None:
    """Lowest z, left y and right y of the room that `fixture` needs under the counter."""
    if isinstance(fixture, Drawer):
        half_width = fixture.width / 2
        return fixture.z - fixture.height / 2 - 0.005, fixture.y + half_width, fixture.y - half_width
    if isinstance(fixture, Sink):
        half_width = fixture.half_y + 0.02
        return top - fixture.depth - 0.02, fixture.y + half_width, fixture.y - half_width
    return None
