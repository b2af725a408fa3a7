"""Kitchen fixtures from primitives. Each is a frozen record of numbers that adds itself to a world body.

World frame: the counter's front edge is the line x = 0, cabinets lie at x > 0, the robot stands at x < 0 and faces
+x; y is left as the robot sees it, z is up, the floor is z = 0. Lengths in [m].

A fixture that a task moves carries the site `target` (z along the approach of the gripper, y along its opening)
and, where the task is about a place, the world has the site `goal`.
"""

from dataclasses import dataclass

import mujoco
import numpy as np

from z1_envs.kitchen.robot import GEOM, JOINT, MOVING, OBJECT, STATIC, VISUAL

RGBA = tuple[float, float, float, float]

COUNTER_DEPTH = 0.65
WALL_CABINET_DEPTH = 0.35
BOARD = 0.01  # half thickness of cabinet boards
HANDLE_RADIUS = 0.008
HANDLE_REACH = 0.05  # from the front to the handle's axis

# Orientations of `target` as quaternions wxyz: approach along +x and opening along -z, +y or -y;
# approach down and opening along y.
FORWARD_OPENING_VERTICAL = (0.5, -0.5, 0.5, -0.5)
FORWARD_OPENING_LEFT = (0.7071067811865476, 0.0, 0.7071067811865476, 0.0)
FORWARD_OPENING_RIGHT = (0.0, 0.7071067811865476, 0.0, 0.7071067811865476)
DOWN = (0.0, 1.0, 0.0, 0.0)


@dataclass(frozen=True, kw_only=True)
class Style:
    """Colours of a kitchen."""

    cabinet: RGBA
    front: RGBA
    counter: RGBA
    metal: RGBA
    wall: RGBA
    floor: RGBA


def box(body, name: str, centre, half, rgba: RGBA, kind: tuple[int, int], mass: float = 0.0) -> mujoco.MjsGeom:
    """A box geom on `body`; `kind` says with whom it collides (robot.py)."""
    return body.add_geom(
        name=name,
        type=GEOM.mjGEOM_BOX,
        pos=centre,
        size=half,
        rgba=rgba,
        mass=mass,
        contype=kind[0],
        conaffinity=kind[1],
    )


def cylinder(body, name: str, start, end, radius: float, rgba: RGBA, kind, mass: float = 0.0) -> mujoco.MjsGeom:
    """A cylinder geom between two points of `body`'s frame."""
    return body.add_geom(
        name=name,
        type=GEOM.mjGEOM_CYLINDER,
        fromto=[*start, *end],
        size=[radius, 0, 0],
        rgba=rgba,
        mass=mass,
        contype=kind[0],
        conaffinity=kind[1],
    )


def _handle(body, name: str, start, end, front_x: float, rgba: RGBA) -> None:
    """A bar from `start` to `end` with two stems to the front at `front_x`; graspable."""
    bar = cylinder(body, name, start, end, HANDLE_RADIUS, rgba, MOVING, mass=0.1)
    bar.friction, bar.condim = [1.5, 0.01, 0.001], 4
    for i, point in enumerate((start, end)):
        inner = np.add(np.multiply(point, 0.9), np.multiply(np.add(start, end), 0.05))
        cylinder(body, f"{name}_stem{i}", inner, (front_x, inner[1], inner[2]), 0.006, rgba, VISUAL, mass=0.02)


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
        """The sliding body `drawer` with joint `fixture`, 0 closed, `travel` open, and the site `target`."""
        body = world.add_body(name="drawer", pos=[0.0, self.y, self.z])
        body.add_joint(
            name="fixture", type=JOINT.mjJNT_SLIDE, axis=[-1, 0, 0], range=[0, self.travel],
            damping=[5, 0, 0], frictionloss=2, armature=0.01,
        )  # fmt: skip
        half_width, half_height, middle = self.width / 2, self.height / 2, self.depth / 2
        side = half_width - 0.02
        box(
            body,
            "drawer_front",
            (0.01, 0, 0),
            (0.012, half_width - 0.003, half_height),
            style.front,
            MOVING,
            1.0,
        )
        box(
            body,
            "drawer_floor",
            (middle, 0, -half_height + 0.02),
            (middle - 0.03, side, 0.008),
            style.cabinet,
            MOVING,
            0.4,
        )
        for name, y in (("left", side), ("right", -side)):
            box(
                body,
                f"drawer_{name}",
                (middle, y, -0.02),
                (middle - 0.03, 0.008, half_height - 0.04),
                style.cabinet,
                MOVING,
                0.2,
            )
        box(
            body,
            "drawer_back",
            (self.depth - 0.04, 0, -0.02),
            (0.008, side, half_height - 0.04),
            style.cabinet,
            MOVING,
            0.2,
        )
        half_handle, x = self.handle_length / 2, -HANDLE_REACH
        _handle(
            body,
            "drawer_handle",
            (x, -half_handle, self.handle_z),
            (x, half_handle, self.handle_z),
            0.0,
            style.metal,
        )
        body.add_site(
            name="target", pos=[x, 0, self.handle_z], quat=FORWARD_OPENING_VERTICAL, size=[0.005] * 3, group=4
        )
        world.add_site(name="goal", pos=[x - self.travel, self.y, self.z + self.handle_z], size=[0.005] * 3, group=4)


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
        """Body `door` with joint `fixture`, 0 closed, positive open [rad], and the site `target` on its outside: z into the door,
        y towards its edge."""
        x, z = self.front, self.bottom + self.height / 2
        half_width, half_height, half_depth = self.width / 2, self.height / 2, WALL_CABINET_DEPTH / 2
        centre_x = x + half_depth
        for name, dz in (("top", half_height - BOARD), ("bottom", -half_height + BOARD)):
            box(
                world,
                f"cabinet_{name}",
                (centre_x, self.y, z + dz),
                (half_depth, half_width, BOARD),
                style.cabinet,
                STATIC,
            )
        for name, dy in (("left", half_width - BOARD), ("right", -half_width + BOARD)):
            box(
                world,
                f"cabinet_{name}",
                (centre_x, self.y + dy, z),
                (half_depth, BOARD, half_height),
                style.cabinet,
                STATIC,
            )
        box(
            world,
            "cabinet_back",
            (COUNTER_DEPTH - BOARD, self.y, z),
            (BOARD, half_width, half_height),
            style.cabinet,
            STATIC,
        )
        body = world.add_body(name="door", pos=[x - 0.012, self.y + self.hinge * half_width, z])
        body.add_joint(
            name="fixture", type=JOINT.mjJNT_HINGE, axis=[0, 0, -self.hinge], range=[0, np.pi / 2 + 0.2],
            damping=[0.5, 0, 0], frictionloss=0.2, armature=0.01,
        )  # fmt: skip
        towards_edge = -self.hinge
        box(
            body,
            "door_panel",
            (0, towards_edge * half_width, 0),
            (0.01, half_width - 0.002, half_height),
            style.front,
            MOVING,
            1.5,
        )
        edge, low = towards_edge * (self.width - 0.05), -half_height + 0.05
        x_handle = -HANDLE_REACH
        _handle(
            body,
            "door_handle",
            (x_handle, edge, low),
            (x_handle, edge, low + self.handle_length),
            0.0,
            style.metal,
        )
        push = towards_edge * self.push_radius * self.width
        pushed_z = -half_height + 0.12
        to_edge = FORWARD_OPENING_RIGHT if self.hinge > 0 else FORWARD_OPENING_LEFT
        body.add_site(name="target", pos=[-0.01, push, pushed_z], quat=to_edge, size=[0.005] * 3, group=4)
        world.add_site(
            name="goal",
            pos=[x - 0.022, self.y + self.hinge * half_width + push, z + pushed_z],
            size=[0.005] * 3,
            group=4,
        )


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
        z, wall = counter_top - self.depth / 2, 0.008
        floor = (self.x, self.y, counter_top - self.depth - wall)
        box(world, "sink_floor", floor, (self.half_x + wall, self.half_y + wall, wall), style.metal, STATIC)
        for name, side in (("left", 1), ("right", -1)):
            centre = (self.x, self.y + side * (self.half_y + wall), z)
            box(world, f"sink_{name}", centre, (self.half_x + wall, wall, self.depth / 2), style.metal, STATIC)
        for name, side in (("back", 1), ("front", -1)):
            centre = (self.x + side * (self.half_x + wall), self.y, z)
            box(world, f"sink_{name}", centre, (wall, self.half_y + wall, self.depth / 2), style.metal, STATIC)
        foot = (COUNTER_DEPTH - 0.07, self.y, counter_top)
        neck = (foot[0], foot[1], counter_top + 0.24)
        cylinder(world, "faucet_column", foot, neck, 0.016, style.metal, STATIC)
        cylinder(world, "faucet_spout", neck, (foot[0] - 0.16, foot[1], neck[2] - 0.03), 0.012, style.metal, STATIC)
        world.add_site(
            name="goal", type=GEOM.mjGEOM_BOX, pos=[self.x, self.y, z],
            size=[self.half_x, self.half_y, self.depth / 2], group=4,
        )  # fmt: skip


def add_room(world: mujoco.MjsBody, style: Style) -> None:
    """Floor and back wall."""
    world.add_geom(
        name="floor", type=GEOM.mjGEOM_PLANE, size=[4, 4, 0.1], rgba=style.floor,
        contype=STATIC[0], conaffinity=OBJECT[0],  # not the robot: its wheels are a box that hovers
    )  # fmt: skip
    box(world, "wall", (COUNTER_DEPTH + 0.05, 0, 1.3), (0.05, 2.2, 1.3), style.wall, STATIC)


def add_counter(
    world: mujoco.MjsBody, style: Style, *, top: float, gap: tuple[float, float, float, float] | None
) -> None:
    """A counter run of 3.2 m at height `top`; `gap` is the opening (x0, x1, y0, y1) over a sink."""
    half_length, thick = 1.6, 0.02
    z, half_depth = top - thick, COUNTER_DEPTH / 2
    if gap is None:
        box(
            world,
            "counter",
            (half_depth - 0.01, 0, z),
            (half_depth + 0.01, half_length, thick),
            style.counter,
            STATIC,
        )
        return
    x0, x1, y0, y1 = gap
    slabs = {
        "left": (-0.02, COUNTER_DEPTH, y1, half_length),
        "right": (-0.02, COUNTER_DEPTH, -half_length, y0),
        "front": (-0.02, x0, y0, y1),
        "back": (x1, COUNTER_DEPTH, y0, y1),
    }
    for name, (xa, xb, ya, yb) in slabs.items():
        half = ((xb - xa) / 2, (yb - ya) / 2, thick)
        box(world, f"counter_{name}", ((xa + xb) / 2, (ya + yb) / 2, z), half, style.counter, STATIC)


def add_lower_cabinets(
    world: mujoco.MjsBody, style: Style, *, top: float, bay: Drawer | None, sink: Sink | None
) -> None:
    """Solid cabinets under the counter at height `top`, hollow where a drawer or a sink is."""
    under = top - 0.04
    floor_of_bay = min(
        bay.z - bay.height / 2 - 0.005 if bay else under,
        top - sink.depth - 0.02 if sink else under,
    )
    x, half_depth = COUNTER_DEPTH / 2 + 0.01, COUNTER_DEPTH / 2 - 0.01
    box(
        world,
        "cabinets",
        (x, 0, floor_of_bay / 2 + 0.05),
        (half_depth, 1.6, floor_of_bay / 2 - 0.05),
        style.cabinet,
        STATIC,
    )
    box(world, "plinth", (x + 0.03, 0, 0.05), (half_depth - 0.03, 1.6, 0.05), style.metal, VISUAL)
    centre, half_width = (bay.y, bay.width / 2) if bay else (sink.y, sink.half_y + 0.02) if sink else (0.0, 0.0)
    z, half_height = (under + floor_of_bay) / 2, (under - floor_of_bay) / 2
    for name, y0, y1 in (("left", centre + half_width, 1.6), ("right", -1.6, centre - half_width)):
        box(
            world, f"cabinets_{name}", (x, (y0 + y1) / 2, z), (half_depth, (y1 - y0) / 2, max(half_height, 1e-3)),
            style.cabinet, STATIC,
        )  # fmt: skip
    for i, y in enumerate(np.linspace(-1.4, 1.4, 8)):
        box(
            world,
            f"door_line{i}",
            (0.012, y, under / 2),
            (0.006, 0.004, under / 2 - 0.06),
            style.metal,
            VISUAL,
        )
