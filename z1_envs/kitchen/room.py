"""What every kitchen has around its fixture: floor, wall, counter, lower cabinets. Nothing here moves.

World frame of fixtures/fixture.py; lengths in [m].
"""

import mujoco
import numpy as np

from z1_envs.kitchen.fixtures.fixture import COUNTER_DEPTH, Hole
from z1_envs.kitchen.layouts import Layout
from z1_envs.kitchen.shapes import GEOM, OBJECT, RGBA, STATIC, VISUAL, Collision, box
from z1_envs.kitchen.styles import Style, shaded

HALF_LENGTH = 2.3  # of the counter run
CEILING = 2.7
COUNTER_THICKNESS = 0.04
COUNTER_FRONT = -0.02  # x of the slab's front; the cabinets' is 0
PLINTH = 0.10  # height
GAP = 0.004  # half width of the line between two doors
GAP_SHADE = 0.55
_DRAWER_ROW = 0.17  # height of the row of drawers under the counter
_NUM_BORDERS, _NUM_BARS = 3, 2  # on each side of the fixture: further out nobody sees them

Range = tuple[float, float]


def slab(
    world: mujoco.MjsBody, name: str, x: Range, y: Range, z: Range, rgba: RGBA, kind: Collision = STATIC
) -> mujoco.MjsGeom:  # fmt: skip
    """A box from its least to its greatest coordinates."""
    low, high = np.array([x, y, z]).T
    return box(world, name, (low + high) / 2, (high - low) / 2, rgba, kind)


def add_room(world: mujoco.MjsBody, layout: Layout, style: Style) -> None:
    """Floor and back wall with its tiles."""
    world.add_geom(
        name="floor", type=GEOM.mjGEOM_PLANE, size=[4, 4, 0.1], rgba=style.floor,
        contype=STATIC[0], conaffinity=OBJECT[0],  # not the robot: its wheels are a box that hovers
    )  # fmt: skip
    run = (-HALF_LENGTH, HALF_LENGTH)
    slab(world, "wall", (COUNTER_DEPTH, COUNTER_DEPTH + 0.1), run, (0, CEILING), style.wall)
    if layout.tile_top > 0:
        x = (COUNTER_DEPTH - 0.004, COUNTER_DEPTH)
        slab(world, "tiles", x, run, (0.8, layout.tile_top), style.tile, VISUAL)


def add_counter(world: mujoco.MjsBody, style: Style, top: float, hole: Hole | None) -> None:
    """A counter run at height `top`, with the rectangle of `hole` cut out."""
    depth, run = (COUNTER_FRONT, COUNTER_DEPTH), (-HALF_LENGTH, HALF_LENGTH)
    pieces = {"": (depth, run)}
    if hole is not None and hole.x[1] > hole.x[0]:
        (x0, x1), (y0, y1) = hole.x, hole.y
        pieces = {
            "_left": (depth, (y1, HALF_LENGTH)),
            "_right": (depth, (-HALF_LENGTH, y0)),
            "_front": ((COUNTER_FRONT, x0), hole.y),
            "_back": ((x1, COUNTER_DEPTH), hole.y),
        }
    for name, (x, y) in pieces.items():
        if x[1] - x[0] > 1e-3:  # a hole of the full depth leaves neither front nor back
            slab(world, f"counter{name}", x, y, (top - COUNTER_THICKNESS, top), style.counter)


def add_lower_cabinets(world: mujoco.MjsBody, layout: Layout, style: Style, top: float, hole: Hole | None) -> None:
    """Solid cabinets under the counter at height `top`, with nothing over hole.low along hole.y."""
    under, depth = top - COUNTER_THICKNESS, (0.0, COUNTER_DEPTH)
    y0, y1 = hole.y if hole is not None else (0.0, 0.0)
    plinths = {"": (-HALF_LENGTH, HALF_LENGTH)}
    if hole is None:
        slab(world, "cabinets", depth, (-HALF_LENGTH, HALF_LENGTH), (0, under), style.front)
    else:
        slab(world, "cabinets_left", depth, (y1, HALF_LENGTH), (0, under), style.front)
        slab(world, "cabinets_right", depth, (-HALF_LENGTH, y0), (0, under), style.front)
        if hole.low > 0:
            slab(world, "cabinets_middle", depth, (y0, y1), (0, hole.low), style.front)
        else:
            plinths = {"_left": (y1, HALF_LENGTH), "_right": (-HALF_LENGTH, y0)}
        if hole.low > 0 and hole.x[1] > hole.x[0] and hole.x[0] > 0.05:  # a basin is not seen from in front
            slab(world, "cabinets_apron", (0, 0.018), (y0, y1), (hole.low, under), style.front)
    for name, y in plinths.items():
        slab(world, f"plinth{name}", (-0.002, 0.05), y, (0, PLINTH), shaded(style.front, 0.3), VISUAL)
    edges = {"left": (1, y1), "right": (-1, y0)}
    for name, (side, edge) in edges.items():
        _add_fronts(world, layout, style, name, side, edge, under)


def _add_fronts(
    world: mujoco.MjsBody, layout: Layout, style: Style, name: str, side: int, edge: float, under: float
) -> None:  # fmt: skip
    """Doors and drawers from y = `edge` to the end of the run on `side`, told apart by lines, and their handles."""
    dark, row = shaded(style.front, GAP_SHADE), under - _DRAWER_ROW
    end = side * HALF_LENGTH
    if layout.bars:
        _across(world, f"drawer_line_{name}", (-0.002, 0.01), (edge, end), row, GAP, dark)
    else:
        _across(world, f"grip_{name}", (-0.006, 0.01), (edge, end), row, 0.012, style.metal)
    borders = [edge + side * i * layout.module for i in range(_NUM_BORDERS)]
    for i, y in enumerate(borders):
        if side < 0 and y == 0:
            continue  # without a hole the two sides meet and share a line
        slab(world, f"door_line_{name}{i}", (-0.002, 0.01), (y - GAP, y + GAP), (PLINTH, under), dark, VISUAL)
    if layout.bars:
        for i, y in enumerate(borders[:_NUM_BARS]):
            middle = y + side * layout.module / 2
            bar = (middle - 0.09, middle + 0.09)
            _across(world, f"bar_{name}{i}", (-0.014, 0), bar, row + _DRAWER_ROW / 2, 0.006, style.metal)


def _across(
    world: mujoco.MjsBody, name: str, x: Range, y: Range, z: float, half: float, rgba: RGBA
) -> None:  # fmt: skip
    """A strip along y at height `z`, for the eye only."""
    slab(world, name, x, (min(y), max(y)), (z - half, z + half), rgba, VISUAL)
