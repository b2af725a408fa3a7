"""Primitive geoms, and who collides with whom. Lengths in [m], masses in [kg], in the frame of the geom's body."""

from collections.abc import Sequence

import mujoco
import numpy as np
from numpy.typing import NDArray

GEOM = mujoco.mjtGeom
JOINT = mujoco.mjtJoint

RGBA = tuple[float, float, float, float]
Point = Sequence[float] | NDArray[np.float64]  # x, y, z
Collision = tuple[int, int]  # contype, conaffinity

# The robot never with itself, static fixtures never with each other or with moving fixtures, objects with everything.
ROBOT, STATIC, OBJECT, MOVING, VISUAL = (1, 0), (2, 1), (4, 15), (8, 1), (0, 0)


def box(
    body: mujoco.MjsBody, name: str, centre: Point, half: Point, rgba: RGBA, kind: Collision, mass: float = 0.0
) -> mujoco.MjsGeom:
    """A box with half extents `half`."""
    return body.add_geom(
        name=name, type=GEOM.mjGEOM_BOX, pos=centre, size=half, rgba=rgba, mass=mass,
        contype=kind[0], conaffinity=kind[1],
    )  # fmt: skip


def cylinder(
    body: mujoco.MjsBody, name: str, ends: tuple[Point, Point], radius: float, rgba: RGBA, kind: Collision,
    mass: float = 0.0,
) -> mujoco.MjsGeom:  # fmt: skip
    """A cylinder between the two points `ends`."""
    return _rod(body, name, GEOM.mjGEOM_CYLINDER, ends, radius, rgba, kind, mass)


def capsule(
    body: mujoco.MjsBody, name: str, ends: tuple[Point, Point], radius: float, rgba: RGBA, kind: Collision,
    mass: float = 0.0,
) -> mujoco.MjsGeom:  # fmt: skip
    """A capsule whose half spheres sit on the two points `ends`."""
    return _rod(body, name, GEOM.mjGEOM_CAPSULE, ends, radius, rgba, kind, mass)


def marker(body: mujoco.MjsBody, name: str, position: Point, *, quat: Point = (1, 0, 0, 0)) -> None:
    """A site: a point that goals, experts and observations read, not seen by cameras."""
    body.add_site(name=name, pos=position, quat=quat, size=[0.005] * 3, group=4)


def _rod(body, name, shape, ends, radius, rgba, kind, mass) -> mujoco.MjsGeom:
    return body.add_geom(
        name=name, type=shape, fromto=[*ends[0], *ends[1]], size=[radius, 0, 0], rgba=rgba, mass=mass,
        contype=kind[0], conaffinity=kind[1],
    )  # fmt: skip
