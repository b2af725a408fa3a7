"""Graspable objects from primitives, in realistic sizes and weights.

Every kind has exactly `NUM_GEOMS` geoms, so that scenes with different kinds have models of equal sizes and can
share one block of state rows. Lengths in [m], masses in [kg]; z is up, the origin is the centre of the bounding box.
"""

from dataclasses import dataclass

import mujoco

from z1_envs.kitchen.shapes import GEOM, OBJECT, RGBA, marker

NUM_GEOMS = 3
_DOWN = (0.0, 1.0, 0.0, 0.0)  # quaternion wxyz of `target`: approach down and opening along y
# Unequal, so that no kind's centre of mass is the body's origin: MuJoCo lays out such bodies differently.
_MASS_SHARES = (0.8, 0.12, 0.08)

Shape = tuple[mujoco.mjtGeom, tuple[float, ...], tuple[float, float, float]]  # type, size, centre

_SPHERE, _ELLIPSOID, _CYLINDER, _BOX = (
    GEOM.mjGEOM_SPHERE, GEOM.mjGEOM_ELLIPSOID, GEOM.mjGEOM_CYLINDER, GEOM.mjGEOM_BOX,
)  # fmt: skip


@dataclass(frozen=True)
class ObjectKind:
    """A kind of object: its name in instructions, mass, half extents (y is the narrow side), colour, shapes.

    neck: where it is to be held, as height over the centre and width, where that is not its body.
    """

    name: str
    mass: float
    half: tuple[float, float, float]
    rgba: RGBA
    shapes: tuple[Shape, Shape, Shape]
    neck: tuple[float, float] | None = None

    @property
    def grasp_height(self) -> float:
        """Over the centre. Tall things are held near their top, or the gripper's palm would land on them."""
        return self.neck[0] if self.neck else max(self.half[2] - 0.028, 0.0)

    @property
    def grasp_width(self) -> float:
        """Between the finger pads when it is held."""
        return self.neck[1] if self.neck else 2 * self.half[1]


def _box(half):
    inner = tuple(0.5 * h for h in half)
    return (_BOX, half, (0, 0, 0)), (_BOX, inner, (0, 0, -0.001)), (_BOX, inner, (0, 0, -0.001))


def _can(radius, half_height):
    body = (_CYLINDER, (radius, half_height - 0.003, 0), (0, 0, 0))
    rim = (_CYLINDER, (radius * 0.9, 0.0015, 0), (0, 0, half_height - 0.0015))
    foot = (_CYLINDER, (radius * 0.9, 0.0015, 0), (0, 0, -half_height + 0.0015))
    return body, rim, foot


def _bottle(radius, half_height):
    body = (_CYLINDER, (radius, half_height * 0.65, 0), (0, 0, -half_height * 0.35))
    neck = (_CYLINDER, (radius * 0.45, half_height * 0.25, 0), (0, 0, half_height * 0.55))
    cap = (_CYLINDER, (radius * 0.55, half_height * 0.1, 0), (0, 0, half_height * 0.9))
    return body, neck, cap


def _fruit(half):
    stem = (_CYLINDER, (0.003, 0.006, 0), (0, 0, half[2]))
    return (_ELLIPSOID, half, (0, 0, 0)), (_SPHERE, (half[2] * 0.5,), (0, 0, 0)), stem


KINDS: dict[str, ObjectKind] = {
    kind.name: kind
    for kind in (
        ObjectKind("soap bar", 0.10, (0.040, 0.022, 0.016), (0.85, 0.80, 0.95, 1), _box((0.040, 0.022, 0.016))),
        ObjectKind("sponge", 0.04, (0.045, 0.028, 0.018), (0.95, 0.85, 0.25, 1), _box((0.045, 0.028, 0.018))),
        ObjectKind("juice box", 0.20, (0.028, 0.024, 0.055), (0.95, 0.55, 0.15, 1), _box((0.028, 0.024, 0.055))),
        ObjectKind("can", 0.25, (0.028, 0.028, 0.050), (0.80, 0.15, 0.15, 1), _can(0.028, 0.050)),
        ObjectKind("jar", 0.20, (0.030, 0.030, 0.040), (0.35, 0.60, 0.35, 1), _can(0.030, 0.040)),
        ObjectKind("bottle", 0.22, (0.027, 0.027, 0.080), (0.20, 0.45, 0.80, 1), _bottle(0.027, 0.080),
                   neck=(0.046, 0.0243)),
        ObjectKind("apple", 0.15, (0.032, 0.032, 0.030), (0.75, 0.10, 0.12, 1), _fruit((0.032, 0.032, 0.030))),
        ObjectKind("lemon", 0.10, (0.034, 0.024, 0.024), (0.95, 0.90, 0.20, 1), _fruit((0.034, 0.024, 0.024))),
        ObjectKind("potato", 0.17, (0.042, 0.028, 0.025), (0.65, 0.50, 0.30, 1), _fruit((0.042, 0.028, 0.025))),
    )
}  # fmt: skip


def add_object(world: mujoco.MjsBody, kind: ObjectKind) -> None:
    """The free body `object` of `kind`, with the site `target` at its centre (approach down, opening along y)."""
    body = world.add_body(name="object")
    body.add_joint(name="object", type=mujoco.mjtJoint.mjJNT_FREE, damping=[2e-4, 0, 0])
    for i, (shape, size, centre) in enumerate(kind.shapes):
        geom = body.add_geom(
            name=f"object{i}", type=shape, size=[*size, 0, 0][:3], pos=centre, rgba=kind.rgba,
            mass=kind.mass * _MASS_SHARES[i], contype=OBJECT[0], conaffinity=OBJECT[1],
            friction=[1.0, 0.01, 0.002],
        )  # fmt: skip
        # Round things roll for ever without rolling friction (condim 6).
        geom.condim = 6 if shape in (_ELLIPSOID, _SPHERE) else 4
        geom.solref = [0.01, 1]
    marker(body, "target", (0, 0, 0), quat=_DOWN)
