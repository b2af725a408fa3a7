"""What stands around the task's fixture: named layouts, and how a seed varies them. Lengths in [m].

Left is +y, as the robot sees it; room.py and neighbours.py build what is said here.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

# In the run of the counter beside the range that the task needs. "plain": the counter just goes on.
Unit = Literal["plain", "drawers", "doors", "dishwasher", "fridge", "tall_cabinet", "oven_tower"]
TALL: frozenset[Unit] = frozenset({"fridge", "tall_cabinet", "oven_tower"})
# On the wall over the counter.
WallUnit = Literal["none", "cabinets", "shelf", "hood", "window"]


@dataclass(frozen=True, kw_only=True)
class Wing:
    """A second counter run at a right angle to the first, towards the robot's side of the room."""

    side: int  # +1: at the left end, -1: at the right
    length: float  # from the first run's front edge
    walled: bool  # along a side wall; else free, a peninsula


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What stands left and right of the task's fixture, over it and behind the robot."""

    left: Unit
    right: Unit
    above_left: WallUnit
    above_right: WallUnit
    wing: Wing | None = None
    island: bool = False  # behind the robot
    counter_offset: float = 0.0  # to be added to the height of the counter
    tile_top: float = 1.5  # height of the tiled band of the wall; 0 without tiles
    bars: bool = True  # bar handles; else a grip rail under the drawers' row
    module: float = 0.6  # width of the lower cabinets
    wall_bottom: float = 1.5  # of wall units
    wall_top: float = 2.2


def varied_layout(layout: Layout, rng: np.random.Generator) -> Layout:
    """`layout` with other widths of cabinets and heights of wall units and tiles."""
    shares = [float(v) for v in rng.uniform(size=4)]
    return replace(
        layout,
        module=0.5 + 0.2 * shares[0],
        wall_bottom=1.5 + 0.06 * shares[1],
        wall_top=layout.wall_top + 0.2 * (shares[2] - 0.5),
        tile_top=layout.tile_top * (1 + 0.06 * (shares[3] - 0.5)),
    )


LAYOUTS: dict[str, Layout] = {
    "galley": Layout(left="drawers", right="doors", above_left="cabinets", above_right="cabinets"),
    "corner_left": Layout(
        left="plain", right="dishwasher", above_left="cabinets", above_right="window",
        wing=Wing(side=1, length=1.7, walled=True),
    ),
    "corner_right": Layout(
        left="drawers", right="plain", above_left="cabinets", above_right="shelf",
        wing=Wing(side=-1, length=1.7, walled=True), tile_top=1.3, bars=False,
    ),
    "island": Layout(
        left="tall_cabinet", right="doors", above_left="cabinets", above_right="shelf", island=True,
        counter_offset=0.02, bars=False,
    ),
    "window": Layout(
        left="dishwasher", right="drawers", above_left="window", above_right="cabinets", tile_top=1.15,
    ),
    "peninsula": Layout(
        left="fridge", right="plain", above_left="cabinets", above_right="none",
        wing=Wing(side=-1, length=1.4, walled=False), tile_top=1.4,
    ),
    "fridge_left": Layout(left="fridge", right="dishwasher", above_left="shelf", above_right="cabinets"),
    "fridge_right": Layout(
        left="drawers", right="fridge", above_left="hood", above_right="cabinets", tile_top=2.6, bars=False,
    ),
    "oven_tower": Layout(
        left="doors", right="oven_tower", above_left="shelf", above_right="cabinets", counter_offset=0.03,
    ),
    "open_shelves": Layout(
        left="plain", right="drawers", above_left="shelf", above_right="shelf", tile_top=2.6, wall_top=2.0,
    ),
    "studio": Layout(
        left="oven_tower", right="plain", above_left="none", above_right="none", counter_offset=-0.02, tile_top=0.0,
        bars=False,
    ),
    "hood_right": Layout(
        left="tall_cabinet", right="plain", above_left="cabinets", above_right="hood", island=True, tile_top=1.7,
    ),
}  # fmt: skip

TEST_LAYOUTS = ("peninsula", "oven_tower")  # seen in no training scene
