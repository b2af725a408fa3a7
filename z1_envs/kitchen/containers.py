"""Plates, bowls and pans: a square floor and eight slanted walls round it, and one more geom: all have ten.

    add_container(world, "container", CONTAINERS["white bowl"])                     # a free body
    add_fixed_container(world, "source", CONTAINERS["red plate"], (0.3, 0, 0.91))   # part of the world

The origin is the centre of the underside, z up. Lengths in [m], masses in [kg].
"""

from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from z1_envs.kitchen.fixtures.fixture import DOWN
from z1_envs.kitchen.objects import DECOR
from z1_envs.kitchen.shapes import GEOM, JOINT, OBJECT, RGBA, STATIC, Collision, Point, marker

NUM_WALLS = 8
_FLOOR_SHARE, _WALLS_SHARE = 0.6, 0.35  # of the mass; the rest is the handle's or the disc's
_HALF_WALL = 0.002  # half the thickness of the walls


@dataclass(frozen=True, kw_only=True)
class Container:
    """What objects are put into. `name` as in instructions; `handle` is its length at -x, 0 without.

    floor_radius: where the floor ends and the walls begin. inner_radius: of the opening, inside. Both from the axis
    to the middle of a wall. floor, height: of the floor's and the rim's top over the underside.
    """

    name: str
    mass: float
    floor_radius: float
    inner_radius: float
    floor: float
    height: float
    rgba: RGBA
    inside: RGBA
    handle: float = 0.0

    @property
    def slant(self) -> float:
        """Of the walls, from upright [rad]."""
        return float(np.arctan2(self.inner_radius - self.floor_radius, self.height - self.floor))

    @property
    def radius(self) -> float:
        """Of the opening, outside, from the axis to the middle of a wall; the handle does not count."""
        return self.inner_radius + 2 * _HALF_WALL * float(np.cos(self.slant))


def add_container(world: mujoco.MjsBody, name: str, container: Container) -> None:
    """The free body `name` with the free joint and the site of that name: on its floor, z down."""
    body = world.add_body(name=name)
    body.add_joint(name=name, type=JOINT.mjJNT_FREE, damping=[2e-4, 0, 0])
    _add_geoms(body, name, container, OBJECT)
    marker(body, name, (0, 0, container.floor), quat=DOWN)


def add_fixed_container(
    world: mujoco.MjsBody, name: str, container: Container, position: Point, *, yaw: float = 0.0
) -> None:
    """The same at `position` [m] and `yaw` [rad] as static geoms and a site of the world itself."""
    quat = (float(np.cos(yaw / 2)), 0.0, 0.0, float(np.sin(yaw / 2)))
    frame = world.add_frame(pos=position, quat=quat)
    for geom in _add_geoms(world, name, container, STATIC):
        geom.set_frame(frame)
    x, y, z = position
    marker(world, name, (x, y, z + container.floor), quat=DOWN)


def _add_geoms(body: mujoco.MjsBody, name: str, container: Container, kind: Collision) -> list[mujoco.MjsGeom]:
    """Floor, walls, and a handle or a disc that shows the inside's colour."""
    c = container
    # A box: on one, things rest with few and steady contacts. Its corners lie below the walls.
    half = (c.floor_radius, c.floor_radius, c.floor / 2)
    geoms = [
        body.add_geom(
            name=f"{name}_floor", type=GEOM.mjGEOM_BOX, size=half, pos=(0, 0, half[2]), rgba=c.rgba,
            mass=_FLOOR_SHARE * c.mass,
        )
    ]  # fmt: skip
    length = float(np.hypot(c.inner_radius - c.floor_radius, c.height - c.floor))
    size = (_HALF_WALL, c.radius * np.tan(np.pi / NUM_WALLS), length / 2)
    out = (c.floor_radius + c.inner_radius) / 2 + _HALF_WALL * np.cos(c.slant)
    up = (c.floor + c.height) / 2 - _HALF_WALL * np.sin(c.slant)
    for i in range(NUM_WALLS):
        angle = 2 * np.pi * i / NUM_WALLS
        quat = np.empty(4)
        mujoco.mju_mulQuat(quat, _turn(angle, (0, 0, 1)), _turn(c.slant, (0, 1, 0)))
        wall = body.add_geom(
            name=f"{name}_wall{i}", type=GEOM.mjGEOM_BOX, size=size, quat=quat, rgba=c.rgba,
            pos=(out * np.cos(angle), out * np.sin(angle), up), mass=_WALLS_SHARE * c.mass / NUM_WALLS,
        )  # fmt: skip
        geoms.append(wall)
    extra = body.add_geom(
        name=f"{name}_extra", type=GEOM.mjGEOM_CYLINDER, rgba=c.inside, mass=(1 - _FLOOR_SHARE - _WALLS_SHARE) * c.mass
    )
    if c.handle:
        start, z = c.radius - 0.004, c.height - 0.008
        extra.fromto, extra.size = [-start, 0, z, -start - c.handle, 0, z + 0.015], [0.009, 0, 0]
    else:
        extra.size, extra.pos = [0.9 * c.floor_radius, 0.0005, 0], (0, 0, c.floor)
    for geom in geoms:
        geom.contype, geom.conaffinity = kind
    extra.contype, extra.conaffinity = kind if c.handle else DECOR
    geoms.append(extra)
    for geom in geoms:
        geom.condim, geom.solref, geom.friction = 3, [0.01, 1], [1.0, 0.01, 0.002]
    return geoms


def _turn(angle: float, axis: Point) -> NDArray[np.float64]:
    """The quaternion wxyz of a turn by `angle` [rad] about `axis`."""
    quat = np.empty(4)
    mujoco.mju_axisAngle2Quat(quat, np.array(axis, dtype=np.float64), angle)
    return quat


CONTAINERS: dict[str, Container] = {
    "white plate": Container(
        name="plate", mass=0.40, floor_radius=0.075, inner_radius=0.112, floor=0.007, height=0.017,
        rgba=(0.93, 0.93, 0.92, 1), inside=(0.80, 0.82, 0.86, 1),
    ),
    "blue plate": Container(
        name="plate", mass=0.32, floor_radius=0.070, inner_radius=0.102, floor=0.007, height=0.018,
        rgba=(0.35, 0.50, 0.75, 1), inside=(0.90, 0.90, 0.92, 1),
    ),
    "white bowl": Container(
        name="bowl", mass=0.40, floor_radius=0.062, inner_radius=0.090, floor=0.008, height=0.048,
        rgba=(0.93, 0.92, 0.88, 1), inside=(0.70, 0.30, 0.25, 1),
    ),
    "green bowl": Container(
        name="bowl", mass=0.35, floor_radius=0.060, inner_radius=0.084, floor=0.008, height=0.044,
        rgba=(0.45, 0.62, 0.50, 1), inside=(0.85, 0.88, 0.80, 1),
    ),
    "black pan": Container(
        name="pan", mass=0.80, floor_radius=0.080, inner_radius=0.114, floor=0.006, height=0.038,
        rgba=(0.13, 0.13, 0.14, 1), inside=(0.30, 0.20, 0.13, 1), handle=0.14,
    ),
    "steel pan": Container(
        name="pan", mass=0.70, floor_radius=0.076, inner_radius=0.108, floor=0.006, height=0.040,
        rgba=(0.62, 0.63, 0.65, 1), inside=(0.12, 0.12, 0.13, 1), handle=0.13,
    ),
}  # fmt: skip

PLATES, BOWLS, PANS = (
    tuple(container for container in CONTAINERS.values() if container.name == name) for name in ("plate", "bowl", "pan")
)
DISHES = PLATES + BOWLS
