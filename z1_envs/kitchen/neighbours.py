"""What a layout puts around the task's part of the counter: units, wall units, wing, island, side walls.

World frame of fixtures/fixture.py; lengths in [m]. Nothing here moves. What is far from the arm or thin is for the
eye only; tall things, wall units and the wing are solid.
"""

import mujoco

from z1_envs.kitchen.fixtures.fixture import COUNTER_DEPTH, WALL_CABINET_DEPTH
from z1_envs.kitchen.layouts import TALL, Layout
from z1_envs.kitchen.room import (
    CEILING,
    COUNTER_FRONT,
    COUNTER_THICKNESS,
    GAP,
    GAP_SHADE,
    HALF_LENGTH,
    PLINTH,
    Range,
    slab,
)
from z1_envs.kitchen.shapes import GEOM, RGBA, STATIC, VISUAL, Collision
from z1_envs.kitchen.styles import Style, shaded

_UNIT_WIDTH, _TALL_WIDTH = 0.6, 0.68
_TALL_FRONT = -0.03  # x; in front of the counter's slab, which runs through tall units
_FRIDGE_TOP = 1.85
_WING_FROM = 1.25  # least |y|: the robot's base needs the room before it
_SIDE_WALL_LENGTH = 0.9  # from the counter's front
_ISLAND_X = (-2.6, -1.9)
_WALL_FRONT = COUNTER_DEPTH - WALL_CABINET_DEPTH
_LEAST_WIDTH = 0.25  # of wall units
_DARK: RGBA = (0.08, 0.08, 0.09, 1)
_SKY: RGBA = (0.72, 0.86, 0.96, 1)
_FRAME: RGBA = (0.96, 0.96, 0.95, 1)


def add_neighbours(
    world: mujoco.MjsBody, layout: Layout, style: Style, top: float, clear: Range, wall_clear: Range
) -> None:  # fmt: skip
    """All that `layout` names, around a counter at height `top`.

    clear: the y-range with nothing but the plain counter, within ±1.6. wall_clear: the y-range without wall units.
    """
    for side in (1, -1):
        _Side(world, layout, style, top, side, clear, wall_clear).add()
    if layout.island:
        y, body = (-0.9, 0.9), shaded(style.front, 0.9)
        slab(world, "island", _ISLAND_X, y, (0, top - COUNTER_THICKNESS), body)
        x = (_ISLAND_X[0] - 0.02, _ISLAND_X[1] + 0.02)
        slab(world, "island_top", x, (-0.92, 0.92), (top - COUNTER_THICKNESS, top), style.counter)


class _Side:
    """Builder of one side of the kitchen. Distances along it are measured from y = 0 outwards."""

    def __init__(
        self, world: mujoco.MjsBody, layout: Layout, style: Style, top: float, side: int, clear: Range,
        wall_clear: Range,
    ):  # fmt: skip
        self.world, self.layout, self.style, self.top, self.side = world, layout, style, top, side
        self.name = "left" if side > 0 else "right"
        self.unit, self.above = (layout.left, layout.above_left) if side > 0 else (layout.right, layout.above_right)
        self.wing = layout.wing if layout.wing is not None and layout.wing.side == side else None
        index = 1 if side > 0 else 0
        self.wall_from = side * wall_clear[index]
        self.start = side * clear[index]
        if self.unit in TALL:
            self.start = max(self.start, self.wall_from)
        if self.wing is not None:
            self.start = max(self.start, _WING_FROM)

    def add(self) -> None:
        """The unit, what hangs over the counter, the wing and the side wall."""
        end = HALF_LENGTH
        if self.unit in TALL:
            end = self.start + _TALL_WIDTH
            self._add_tall(self.start, end)
        elif self.unit != "plain":
            self._add_unit(self.start, self.start + _UNIT_WIDTH)
        if self.wing is not None:
            self._add_wing(self.start, self.wing.length)
            end = self.start + COUNTER_DEPTH if self.wing.walled else HALF_LENGTH
        self._add_wall_unit(self.start if self.unit in TALL else end)
        # A plane is half transparent from behind, and this one ends beside the robot: films are taken from outside.
        half, length = 2**-0.5, COUNTER_DEPTH + (self.wing.length if self.wing is not None else _SIDE_WALL_LENGTH)
        self.world.add_geom(
            name=f"side_wall_{self.name}", type=GEOM.mjGEOM_PLANE, size=[length / 2, CEILING / 2, 0.1],
            pos=[COUNTER_DEPTH - length / 2, self.side * end, CEILING / 2], quat=[half, self.side * half, 0, 0],
            rgba=shaded(self.style.wall, 0.94), contype=VISUAL[0], conaffinity=VISUAL[1],
        )  # fmt: skip

    def _slab(self, name: str, x: Range, y: Range, z: Range, rgba: RGBA, kind: Collision = VISUAL) -> None:
        """A box on this side, y as distances outwards."""
        ends = (self.side * y[0], self.side * y[1])
        slab(self.world, f"{name}_{self.name}", x, (min(ends), max(ends)), z, rgba, kind)

    def _add_tall(self, near: float, far: float) -> None:
        style, middle = self.style, (near + far) / 2
        body = style.appliance if self.unit == "fridge" else style.front
        height = _FRIDGE_TOP if self.unit == "fridge" else self.layout.wall_top
        self._slab(self.unit, (_TALL_FRONT, COUNTER_DEPTH), (near, far), (0, height), body, STATIC)
        line, bar = (_TALL_FRONT - 0.002, 0), (_TALL_FRONT - 0.04, _TALL_FRONT - 0.025)
        dark, inner = shaded(body, GAP_SHADE), (near + 0.06, far - 0.06)
        if self.unit == "fridge":
            self._slab("fridge_line", line, (near, far), (0.75 - GAP, 0.75 + GAP), dark)
            self._slab("fridge_bar", bar, (near + 0.05, near + 0.07), (0.85, 1.45), style.metal)
        elif self.unit == "tall_cabinet":
            self._slab("tall_line", line, (middle - GAP, middle + GAP), (PLINTH, height), dark)
            self._slab("tall_bar", bar, (middle - 0.05, middle - 0.035), (0.95, 1.35), style.metal)
        else:
            self._slab("oven_glass", line, inner, (0.75, 1.20), _DARK)
            self._slab("oven_bar", bar, (near + 0.1, far - 0.1), (1.12, 1.14), style.metal)
            self._slab("microwave_glass", line, inner, (1.30, 1.62), _DARK)

    def _add_unit(self, near: float, far: float) -> None:
        """A panel before the fronts that the lower cabinets have anyway, with what makes it a unit."""
        style, under, middle = self.style, self.top - COUNTER_THICKNESS, (near + far) / 2
        body = style.appliance if self.unit == "dishwasher" else style.front
        dark = shaded(body, GAP_SHADE)
        self._slab(self.unit, (-0.016, 0), (near + GAP, far - GAP), (PLINTH, under - 0.005), body)
        line, bar = (-0.018, 0), (-0.034, -0.020)
        if self.unit == "dishwasher":
            self._slab("dishwasher_panel", line, (near + GAP, far - GAP), (under - 0.09, under - 0.005), _DARK)
            self._slab("dishwasher_bar", bar, (near + 0.08, far - 0.08), (under - 0.14, under - 0.125), style.metal)
        elif self.unit == "drawers":
            for i, z in enumerate((0.36, 0.62)):
                self._slab(f"drawers_line{i}", line, (near + GAP, far - GAP), (z - GAP, z + GAP), dark)
        else:
            self._slab("doors_line", line, (middle - GAP, middle + GAP), (PLINTH, under - 0.005), dark)
            bar_y = (middle - 0.05, middle - 0.035)
            self._slab("doors_bar", bar, bar_y, (under - 0.25, under - 0.07), style.metal)

    def _add_wing(self, near: float, length: float) -> None:
        under, far = self.top - COUNTER_THICKNESS, near + COUNTER_DEPTH
        x, front, dark = (-length, 0.0), self.style.front, shaded(self.style.front, GAP_SHADE)
        self._slab("wing", x, (near + 0.02, far), (0, under), front, STATIC)
        over, z = (-length - 0.02, COUNTER_FRONT), (under, self.top)
        self._slab("wing_top", over, (near, far), z, self.style.counter, STATIC)
        self._slab("wing_plinth", x, (near + 0.018, near + 0.03), (0, PLINTH), shaded(front, 0.3))
        line = (near + 0.018, near + 0.03)
        self._slab("wing_line", (-0.6 - GAP, -0.6 + GAP), line, (PLINTH, under), dark)

    def _add_wall_unit(self, end: float) -> None:
        near = self.wall_from
        if self.above == "hood":
            near = max(near, self.start)  # its hob takes the counter
        if end - near < _LEAST_WIDTH:
            return
        match self.above:
            case "cabinets":
                self._add_wall_cabinets(near, end)
            case "shelf":
                self._add_shelves(near, end)
            case "hood":
                self._add_hood(near, end)
            case "window":
                self._add_window(near, end)

    def _add_wall_cabinets(self, near: float, end: float) -> None:
        z, front = (self.layout.wall_bottom, self.layout.wall_top), self.style.front
        self._slab("wall_cabinets", (_WALL_FRONT, COUNTER_DEPTH), (near, end), z, front, STATIC)
        width = self.layout.module * 0.8
        for i in range(1, 3):
            y = near + i * width
            if y < end - 0.1:
                line = (y - GAP, y + GAP)
                x = (_WALL_FRONT - 0.002, _WALL_FRONT + 0.01)
                self._slab(f"wall_line{i}", x, line, z, shaded(front, GAP_SHADE))

    def _add_shelves(self, near: float, end: float) -> None:
        far, bottom = min(near + 1.1, end), self.layout.wall_bottom
        x = (COUNTER_DEPTH - 0.24, COUNTER_DEPTH)
        for i, z in enumerate((bottom, bottom + 0.35)):
            self._slab(f"shelf{i}", x, (near, far), (z, z + 0.03), self.style.cabinet, STATIC)
        dishes = (near + 0.08, near + 0.08 + 0.4 * (far - near))
        self._slab("dishes", (x[0] + 0.05, x[1] - 0.03), dishes, (bottom + 0.03, bottom + 0.15), self.style.front)

    def _add_hood(self, near: float, end: float) -> None:
        far, bottom, style = min(near + 0.7, end), self.layout.wall_bottom, self.style
        middle = (near + far) / 2
        hob, flue = (near + 0.06, far - 0.06), (middle - 0.14, middle + 0.14)
        canopy, x = (bottom, bottom + 0.09), COUNTER_DEPTH
        self._slab("hood", (_WALL_FRONT, x), (near, far), canopy, style.appliance, STATIC)
        self._slab("flue", (x - 0.26, x), flue, (canopy[1], CEILING), style.appliance, STATIC)
        self._slab("hob", (0.07, 0.57), hob, (self.top, self.top + 0.004), _DARK)

    def _add_window(self, near: float, end: float) -> None:
        near, far = near + 0.06, min(near + 1.1, end - 0.06)
        z, middle, x = (self.top + 0.2, 2.15), (near + far) / 2, COUNTER_DEPTH
        self._slab("window", (x - 0.02, x), (near, far), z, _FRAME)
        pane = (near + 0.05, far - 0.05)
        self._slab("window_pane", (x - 0.022, x), pane, (z[0] + 0.05, z[1] - 0.05), _SKY)
        self._slab("window_bar", (x - 0.026, x), (middle - 0.015, middle + 0.015), z, _FRAME)
