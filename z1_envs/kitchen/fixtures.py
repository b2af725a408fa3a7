"""Fixtures that tasks are about. Each is a frozen record of numbers that adds itself to a world body.

World frame: the counter's front edge is the line x = 0, cabinets lie at x > 0, the robot stands at x < 0 and faces
+x; y is left as the robot sees it, z is up, the floor is z = 0. Lengths in [m].

A fixture that a task moves has the joint `fixture` and the site `target` (z along the approach of the gripper, y
along its opening); where it ends, or where an object goes, is the world's site `goal`.
"""

from dataclasses import dataclass

import mujoco
import numpy as np

from z1_envs.kitchen.shapes import GEOM, JOINT, MOVING, RGBA, STATIC, VISUAL, Point, box, cylinder, marker

COUNTER_DEPTH = 0.65
WALL_CABINET_DEPTH = 0.35
BOARD = 0.01  # half thickness of cabinet boards
HANDLE_RADIUS = 0.008
HANDLE_REACH = 0.05  # from the front to the handle's axis

# Orientations of `target` as quaternions wxyz: approach along +x and opening along -z, +y or -y.
FORWARD_OPENING_VERTICAL = (0.5, -0.5, 0.5, -0.5)
FORWARD_OPENING_LEFT = (0.7071067811865476, 0.0, 0.7071067811865476, 0.0)
FORWARD_OPENING_RIGHT = (0.0, 0.7071067811865476, 0.0, 0.7071067811865476)


@dataclass(frozen=True, kw_only=True)
class Style:
    """Colours of a kitchen."""

    cabinet: RGBA
    front: RGBA
    counter: RGBA
    metal: RGBA
    wall: RGBA
    floor: RGBA


@dataclass(frozen=True, kw_only=True)
class Drawer:
    """A top drawer under the counter, pulled along -x. Opens to 0.55 of its depth, as RoboCasa's."""

    y: float  # centre
    z: float  # centre height
    width: float
    height: float
    depth: float
    handle_length: float
    handle_z: float  # relative to the centre

    @property
    def travel(self) -> float:
        """Greatest opening [m]."""
        return 0.55 * self.depth

    def add(self, world: mujoco.MjsBody, style: Style) -> None:
        """The sliding body `drawer`; joint `fixture` is 0 closed, `travel` open; `target` is its handle."""
        body = world.add_body(name="drawer", pos=[0.0, self.y, self.z])
        body.add_joint(
            name="fixture", type=JOINT.mjJNT_SLIDE, axis=[-1, 0, 0], range=[0, self.travel],
            damping=[5, 0, 0], frictionloss=2, armature=0.01,
        )  # fmt: skip
        self._add_boards(body, style)
        x, half = -HANDLE_REACH, self.handle_length / 2
        _add_handle(body, "drawer_handle", (x, -half, self.handle_z), (x, half, self.handle_z), style.metal)
        marker(body, "target", (x, 0, self.handle_z), quat=FORWARD_OPENING_VERTICAL)
        marker(world, "goal", (x - self.travel, self.y, self.z + self.handle_z))

    def _add_boards(self, body: mujoco.MjsBody, style: Style) -> None:
        half_width, half_height, middle = self.width / 2, self.height / 2, self.depth / 2
        side, wall = half_width - 0.02, half_height - 0.04
        box(body, "drawer_front", (0.01, 0, 0), (0.012, half_width - 0.003, half_height), style.front, MOVING, 1.0)
        floor = (middle, 0, -half_height + 0.02)
        box(body, "drawer_floor", floor, (middle - 0.03, side, 0.008), style.cabinet, MOVING, 0.4)
        for name, y in (("left", side), ("right", -side)):
            half = (middle - 0.03, 0.008, wall)
            box(body, f"drawer_{name}", (middle, y, -0.02), half, style.cabinet, MOVING, 0.2)
        back = (self.depth - 0.04, 0, -0.02)
        box(body, "drawer_back", back, (0.008, side, wall), style.cabinet, MOVING, 0.2)


@dataclass(frozen=True, kw_only=True)
class SingleDoorCabinet:
    """A wall cabinet with one hinged door over the counter."""

    y: float  # centre
    bottom: float
    width: float
    height: float
    hinge: int  # +1: hinged on the left (+y), -1: on the right
    handle_length: float
    push_radius: float  # of the point `target` from the hinge, as a share of the width

    @property
    def front(self) -> float:
        """x of the closed door."""
        return COUNTER_DEPTH - WALL_CABINET_DEPTH

    def add(self, world: mujoco.MjsBody, style: Style) -> None:
        """The cabinet and its body `door`; joint `fixture` is 0 closed, positive open [rad].

        `target` is a point on the door's outside: z into the door, y towards its free edge.
        """
        self._add_boards(world, style)
        x, z = self.front, self.bottom + self.height / 2
        half_width, half_height, to_edge = self.width / 2, self.height / 2, -self.hinge
        body = world.add_body(name="door", pos=[x - 0.012, self.y + self.hinge * half_width, z])
        body.add_joint(
            name="fixture", type=JOINT.mjJNT_HINGE, axis=[0, 0, -self.hinge], range=[0, np.pi / 2 + 0.2],
            damping=[0.5, 0, 0], frictionloss=0.2, armature=0.01,
        )  # fmt: skip
        panel = (0.01, half_width - 0.002, half_height)
        box(body, "door_panel", (0, to_edge * half_width, 0), panel, style.front, MOVING, 1.5)
        handle_y, low = to_edge * (self.width - 0.05), -half_height + 0.05
        bottom, top = (-HANDLE_REACH, handle_y, low), (-HANDLE_REACH, handle_y, low + self.handle_length)
        _add_handle(body, "door_handle", bottom, top, style.metal)
        push_y, push_z = to_edge * self.push_radius * self.width, -half_height + 0.12
        opening = FORWARD_OPENING_RIGHT if self.hinge > 0 else FORWARD_OPENING_LEFT
        marker(body, "target", (-0.01, push_y, push_z), quat=opening)
        marker(world, "goal", (x - 0.022, self.y + self.hinge * half_width + push_y, z + push_z))

    def _add_boards(self, world: mujoco.MjsBody, style: Style) -> None:
        half_depth, half_width, half_height = WALL_CABINET_DEPTH / 2, self.width / 2, self.height / 2
        x, z = self.front + half_depth, self.bottom + half_height
        for name, dz in (("top", half_height - BOARD), ("bottom", -half_height + BOARD)):
            half = (half_depth, half_width, BOARD)
            box(world, f"cabinet_{name}", (x, self.y, z + dz), half, style.cabinet, STATIC)
        for name, dy in (("left", half_width - BOARD), ("right", -half_width + BOARD)):
            half = (half_depth, BOARD, half_height)
            box(world, f"cabinet_{name}", (x, self.y + dy, z), half, style.cabinet, STATIC)
        back = (COUNTER_DEPTH - BOARD, self.y, z)
        box(world, "cabinet_back", back, (BOARD, half_width, half_height), style.cabinet, STATIC)


@dataclass(frozen=True, kw_only=True)
class Sink:
    """A basin let into the counter, with a faucet behind it."""

    y: float  # centre
    x: float  # centre
    half_x: float  # inner half extents
    half_y: float
    depth: float

    def add(self, world: mujoco.MjsBody, style: Style, counter_top: float) -> None:
        """The basin below `counter_top`; the site `goal` is its interior, a box with the basin's half extents."""
        # The rim ends 4 mm under the counter's top, which would flicker through it otherwise.
        z, wall, half_depth = counter_top - self.depth / 2 - 0.002, 0.008, self.depth / 2 - 0.002
        floor = (self.x, self.y, counter_top - self.depth - wall)
        box(world, "sink_floor", floor, (self.half_x + wall, self.half_y + wall, wall), style.metal, STATIC)
        for name, side in (("left", 1), ("right", -1)):
            centre = (self.x, self.y + side * (self.half_y + wall), z)
            box(world, f"sink_{name}", centre, (self.half_x + wall, wall, half_depth), style.metal, STATIC)
        for name, side in (("back", 1), ("front", -1)):
            centre = (self.x + side * (self.half_x + wall), self.y, z)
            box(world, f"sink_{name}", centre, (wall, self.half_y + wall, half_depth), style.metal, STATIC)
        foot = (COUNTER_DEPTH - 0.07, self.y, counter_top)
        neck = (foot[0], foot[1], counter_top + 0.24)
        mouth = (foot[0] - 0.16, foot[1], neck[2] - 0.03)
        cylinder(world, "faucet_column", (foot, neck), 0.016, style.metal, STATIC)
        cylinder(world, "faucet_spout", (neck, mouth), 0.012, style.metal, STATIC)
        interior = [self.half_x, self.half_y, half_depth]
        world.add_site(name="goal", type=GEOM.mjGEOM_BOX, pos=[self.x, self.y, z], size=interior, group=4)


def _add_handle(body: mujoco.MjsBody, name: str, start: Point, end: Point, rgba: RGBA) -> None:
    """A bar from `start` to `end` with two stems to the front at x = 0; graspable."""
    bar = cylinder(body, name, (start, end), HANDLE_RADIUS, rgba, MOVING, mass=0.1)
    bar.friction, bar.condim = [1.5, 0.01, 0.001], 4
    for i, point in enumerate((start, end)):
        inner = np.add(np.multiply(point, 0.9), np.multiply(np.add(start, end), 0.05))
        cylinder(body, f"{name}_stem{i}", (inner, (0.0, inner[1], inner[2])), 0.006, rgba, VISUAL, mass=0.02)
