"""Graspable objects from primitives, in realistic sizes and weights.

    select("train", "sink_food")          # kinds of food that may be washed, without the held-out ones
    add_object(world, KINDS["apple"])     # the free body `object`

Every kind has exactly three geoms and every mug four, so that scenes with different kinds have
models of equal sizes and can share one block of state rows. Lengths in [m], masses in [kg]; z is up, the origin is
the centre of the bounding box (of a mug: the body's axis, half way up).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import mujoco
import numpy as np
from numpy.typing import NDArray

from z1_envs.kitchen.fixtures.fixture import DOWN
from z1_envs.kitchen.shapes import GEOM, JOINT, OBJECT, RGBA, marker

# Touches nothing; not (0, 0), for MuJoCo's collision trees hold all geoms with any bit and must be of equal sizes.
DECOR = (16, 0)
# The centre of mass lies this share of the half height below the centre and under the middle of the first shape: so
# round things right themselves. Never at the origin: MuJoCo lays out such bodies differently.
_LOW = 0.15
MAX_DEPTH = 0.028  # [m] between the tips of the fingers and the top of what they hold; the palm is over that

_WHITE, _CREAM, _YELLOW, _ORANGE = (
    (0.95, 0.95, 0.93, 1),
    (0.96, 0.88, 0.72, 1),
    (0.95, 0.85, 0.15, 1),
    (0.95, 0.5, 0.1, 1),
)
_RED, _GREEN, _DARK_GREEN, _BROWN = (
    (0.8, 0.1, 0.1, 1),
    (0.35, 0.65, 0.2, 1),
    (0.12, 0.32, 0.12, 1),
    (0.45, 0.28, 0.14, 1),
)
_CRUST, _METAL, _PURPLE, _BLUE = (
    (0.8, 0.56, 0.28, 1),
    (0.72, 0.73, 0.75, 1),
    (0.45, 0.12, 0.4, 1),
    (0.15, 0.35, 0.75, 1),
)
_COFFEE, _PINK = (0.13, 0.08, 0.05, 1), (0.95, 0.6, 0.7, 1)


Vector = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A primitive of a kind: MuJoCo's type, size and pose. Not solid: for the eye only."""

    type: mujoco.mjtGeom
    size: tuple[float, ...]
    centre: Vector
    quat: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 0.0)
    rgba: RGBA
    solid: bool = True


@dataclass(frozen=True, kw_only=True)
class ObjectKind:
    """A kind of object: its name in instructions, mass, half extents of its bounding box (y is the narrow side).

    neck: where it is to be held, as height over the centre and width there; None: near its top, over its whole width.
    food, washable, cookable, microwavable: RoboCasa's groups that it is in.
    """

    name: str
    mass: float
    half: Vector
    shapes: tuple[Shape, ...]
    neck: tuple[float, float] | None = None
    food: bool = False
    washable: bool = False
    cookable: bool = False
    microwavable: bool = False

    @property
    def grasp_height(self) -> float:
        """Over the centre. Tall things are held near their top, or the gripper's palm would land on them."""
        return self.neck[0] if self.neck else max(self.half[2] - MAX_DEPTH, 0.0)

    @property
    def grasp_width(self) -> float:
        """Between the finger pads when it is held."""
        return self.neck[1] if self.neck else 2 * self.half[1]


def select(split: str, attribute: str | None = None) -> tuple[ObjectKind, ...]:
    """The kinds of a split ("train", "test" or "all") that have `attribute`.

    Attributes: "washable"; "sink_food", food that may be washed; "cookable"; "microwave_food"; None, all kinds. Those
    that are food are at most 7.5 cm high and 9 cm long, so that they can be taken out of sinks, bowls and pans.
    Raises ValueError for other words.
    """
    if attribute not in _FILTERS:
        raise ValueError(f"unknown attribute {attribute!r}; there are {', '.join(map(repr, _FILTERS))}")
    return tuple(kind for kind in _of_split(KINDS, TEST_KINDS, split) if _FILTERS[attribute](kind))


def mugs(split: str) -> tuple[ObjectKind, ...]:
    """The mugs of a split, "train", "test" or "all". Raises ValueError for other words."""
    return _of_split(MUGS, TEST_MUGS, split)


def add_object(world: mujoco.MjsBody, kind: ObjectKind) -> None:
    """The free body, joint and site `object` of `kind`; site at its origin, approach down and opening along y."""
    x, y, z = np.square(kind.half)
    body = world.add_body(
        name="object", explicitinertial=True, mass=kind.mass, ipos=(*kind.shapes[0].centre[:2], -_LOW * kind.half[2]),
        inertia=kind.mass / 4 * np.array([y + z, x + z, x + y]),  # between an ellipsoid's (1/5) and a box's (1/3)
    )  # fmt: skip
    body.add_joint(name="object", type=JOINT.mjJNT_FREE, damping=[2e-4, 0, 0])
    for i, shape in enumerate(kind.shapes):
        bits = OBJECT if shape.solid else DECOR
        geom = body.add_geom(
            name=f"object{i}", type=shape.type, size=[*shape.size, 0, 0][:3], pos=shape.centre, quat=shape.quat,
            rgba=shape.rgba, contype=bits[0], conaffinity=bits[1], friction=[1.0, 0.01, 0.005],
        )  # fmt: skip
        # Round things roll for ever without rolling friction (condim 6).
        geom.condim = 4 if shape.type in (GEOM.mjGEOM_BOX, GEOM.mjGEOM_CYLINDER) else 6
        geom.solref = [0.01, 1]
    marker(body, "object", (0, 0, 0), quat=DOWN)


def extent(shape: Shape) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lowest and highest coordinates of `shape` in its body's frame."""
    rotation = np.empty(9)
    mujoco.mju_quat2Mat(rotation, np.array(shape.quat))
    rotation = rotation.reshape(3, 3)
    size = np.array([*shape.size, 0, 0][:3])
    if shape.type == GEOM.mjGEOM_BOX:
        reach = np.abs(rotation) @ size
    elif shape.type == GEOM.mjGEOM_ELLIPSOID:
        reach = np.sqrt(rotation**2 @ size**2)
    elif shape.type == GEOM.mjGEOM_CAPSULE:
        reach = size[0] + np.abs(rotation[:, 2]) * size[1]
    else:
        assert shape.type == GEOM.mjGEOM_CYLINDER, shape.type
        side = np.sqrt(np.maximum(1 - rotation[:, 2] ** 2, 0))
        reach = size[0] * side + np.abs(rotation[:, 2]) * size[1]
    return np.array(shape.centre) - reach, np.array(shape.centre) + reach


def _of_split(kinds: dict[str, ObjectKind], held_out: tuple[str, ...], split: str) -> tuple[ObjectKind, ...]:
    if split not in ("train", "test", "all"):
        raise ValueError(f"unknown split {split!r}; there are 'train', 'test', 'all'")
    return tuple(kind for key, kind in kinds.items() if split == "all" or (key in held_out) == (split == "test"))


def _kind(
    name: str, mass: float, *shapes: Shape, neck: tuple[float, float] | None = None, on_axis: bool = False
) -> ObjectKind:
    """Moves the shapes so that the origin is the bounding box's centre (`on_axis`: in z only). neck: before that."""
    lows, highs = zip(*(extent(shape) for shape in shapes), strict=True)
    low, high = np.min(lows, axis=0), np.max(highs, axis=0)
    middle = (low + high) / 2
    if on_axis:
        middle[:2] = 0.0
    moved = tuple(replace(shape, centre=_rounded(np.subtract(shape.centre, middle))) for shape in shapes)
    return ObjectKind(
        name=name, mass=mass, half=_rounded(np.maximum(high - middle, middle - low)), shapes=moved,
        neck=None if neck is None else (round(neck[0] - float(middle[2]), 6), neck[1]),
        food=name not in _NOT_FOOD, washable=name in _WASHABLE, cookable=name in _COOKABLE,
        microwavable=name in _MICROWAVABLE,
    )  # fmt: skip


def _rounded(vector: NDArray[np.float64]) -> Vector:
    x, y, z = (round(float(value), 6) for value in vector)
    return x, y, z


def _ball(half: Vector, rgba: RGBA, centre: Vector = (0, 0, 0), *, solid: bool = True) -> Shape:
    return Shape(type=GEOM.mjGEOM_ELLIPSOID, size=half, centre=centre, rgba=rgba, solid=solid)


def _block(half: Vector, rgba: RGBA, centre: Vector = (0, 0, 0), *, solid: bool = True) -> Shape:
    return Shape(type=GEOM.mjGEOM_BOX, size=half, centre=centre, rgba=rgba, solid=solid)


def _rod(start: Vector, end: Vector, radius: float, rgba: RGBA, *, flat: bool = False, solid: bool = True) -> Shape:
    """A capsule whose half spheres sit on `start` and `end`; `flat`: a cylinder between them."""
    along = np.subtract(end, start)
    length = float(np.linalg.norm(along))
    quat = np.empty(4)
    mujoco.mju_quatZ2Vec(quat, along / length)
    w, x, y, z = (round(float(q), 9) for q in quat)
    return Shape(
        type=GEOM.mjGEOM_CYLINDER if flat else GEOM.mjGEOM_CAPSULE, size=(radius, length / 2),
        centre=_rounded(np.add(start, end) / 2),
        quat=(w, x, y, z), rgba=rgba, solid=solid,
    )  # fmt: skip


def _disc(radius: float, low: float, high: float, rgba: RGBA, *, solid: bool = True) -> Shape:
    """An upright cylinder between two heights."""
    return _rod((0, 0, low), (0, 0, high), radius, rgba, flat=True, solid=solid)


def _foot(radius: float, rgba: RGBA) -> Shape:
    """What a round body stands on: on a box it rests, on a cylinder's edge it rocks for ever (and costs twice)."""
    return _block((0.71 * radius, 0.71 * radius, 0.004), rgba, (0, 0, 0.003))


def _fruit(half: Vector, rgba: RGBA, top: RGBA = _BROWN) -> tuple[Shape, Shape, Shape]:
    """Wider than high, so that it rights itself; with a stem and a leaf of colour `top`."""
    stem = _rod((0, 0, half[2] - 0.004), (0, 0, half[2] + 0.004), 0.003, _BROWN, flat=True, solid=False)
    return _ball(half, rgba), stem, _ball((0.010, 0.005, 0.0015), top, (0.009, 0, half[2] + 0.001), solid=False)


def _lying(half: Vector, rgba: RGBA, ends: RGBA) -> tuple[Shape, Shape, Shape]:
    """Longer than wide, with knobs of colour `ends` at both ends."""
    (x, y, z), r = half, 0.25 * half[1]
    front, back = (_ball((r, r, r), ends, (sign * (x - r), 0, 0), solid=False) for sign in (1, -1))
    return _ball((x - 0.006, y, z), rgba), front, back


def _can(radius: float, height: float, label: RGBA, lid: RGBA) -> tuple[Shape, Shape, Shape]:
    """Upright, with a lid that is a bit narrower."""
    body = _disc(radius, 0.001, height - 0.004, label)
    return body, _foot(radius, lid), _disc(0.92 * radius, height - 0.004, height, lid, solid=False)


def _carton(half: Vector, rgba: RGBA, band: RGBA, top: RGBA) -> tuple[Shape, Shape, Shape]:
    """A box with a band around the lower half and something on its top."""
    x, y, z = half
    sleeve = _block((x + 0.0005, y + 0.0005, 0.3 * z), band, (0, 0, -0.3 * z), solid=False)
    return _block(half, rgba), sleeve, _block((0.45 * x, 0.45 * y, 0.001), top, (0, 0, z + 0.001), solid=False)


def _slab(half: Vector, rgba: RGBA, layer: RGBA, spot: RGBA) -> tuple[Shape, Shape, Shape]:
    """A flat box with a layer on its top and a spot on that."""
    x, y, z = half
    top = _block((0.96 * x, 0.96 * y, 0.0015), layer, (0, 0, z + 0.0005), solid=False)
    return _block(half, rgba), top, _block((0.5 * x, 0.25 * y, 0.001), spot, (0.1 * x, 0, z + 0.0018), solid=False)


def _mug(radius: float, height: float, rgba: RGBA) -> ObjectKind:
    """Upright round the z axis with its handle at +x, full of coffee."""
    body = _disc(radius, 0.001, height - 0.001, rgba)
    handle = _block((0.011, 0.005, 0.28 * height), rgba, (radius + 0.009, 0, 0.52 * height))
    coffee = _disc(0.86 * radius, height - 0.002, height, _COFFEE, solid=False)
    return _kind("mug", 0.25, body, _foot(radius, rgba), handle, coffee, on_axis=True)


_NOT_FOOD = ("soap bar", "sponge", "cup", "bottle", "mug")
_WASHABLE = (
    "apple", "orange", "lemon", "lime", "tomato", "potato", "sweet potato", "carrot", "cucumber", "corn", "bell pepper",
    "onion", "avocado", "mushroom", "eggplant", "broccoli", "pear", "soap bar", "sponge", "cup", "bottle",
)  # fmt: skip
_COOKABLE = (
    "tomato", "potato", "sweet potato", "carrot", "corn", "bell pepper", "onion", "garlic", "mushroom", "egg", "steak",
    "drumstick", "eggplant", "broccoli", "hot dog",
)  # fmt: skip
_MICROWAVABLE = (
    "potato", "sweet potato", "carrot", "corn", "steak", "drumstick", "bread roll", "burger", "broccoli",
    "hot dog",
)  # fmt: skip
TEST_KINDS = ("pear", "broccoli", "eggplant", "hot dog", "burger", "cup", "sponge", "tea box", "spice shaker")
TEST_MUGS = ("green",)

KINDS: dict[str, ObjectKind] = {
    kind.name: kind
    for kind in (
        _kind("apple", 0.16, *_fruit((0.032, 0.032, 0.030), _RED, _GREEN)),
        _kind("orange", 0.17, *_fruit((0.032, 0.032, 0.031), _ORANGE, _DARK_GREEN)),
        _kind("tomato", 0.12, *_fruit((0.031, 0.031, 0.025), (0.9, 0.2, 0.1, 1), _GREEN)),
        _kind("onion", 0.11, *_fruit((0.029, 0.029, 0.026), (0.6, 0.25, 0.4, 1), _CREAM)),
        _kind("bell pepper", 0.15, _ball((0.032, 0.032, 0.031), _YELLOW),
              _ball((0.020, 0.030, 0.016), _YELLOW, (0, 0, 0.018)),
              _rod((0, 0, 0.03), (0, 0, 0.0385), 0.005, _GREEN, solid=False), neck=(0.0, 0.064)),
        _kind("lemon", 0.10, *_lying((0.038, 0.025, 0.025), _YELLOW, _YELLOW)),
        _kind("lime", 0.07, *_lying((0.030, 0.022, 0.022), _GREEN, _GREEN)),
        _kind("potato", 0.17, *_lying((0.042, 0.028, 0.025), (0.68, 0.53, 0.32, 1), _BROWN)),
        _kind("sweet potato", 0.18, *_lying((0.045, 0.024, 0.022), (0.65, 0.3, 0.25, 1), _BROWN)),
        _kind("avocado", 0.17, _ball((0.034, 0.030, 0.028), _DARK_GREEN),
              _ball((0.020, 0.017, 0.017), _DARK_GREEN, (0.026, 0, 0)),
              _ball((0.004, 0.004, 0.004), _BROWN, (0.045, 0, 0), solid=False)),
        _kind("pear", 0.16, _ball((0.032, 0.032, 0.028), (0.75, 0.8, 0.25, 1)),
              _ball((0.018, 0.018, 0.022), (0.75, 0.8, 0.25, 1), (0, 0, 0.022)),
              _rod((0, 0, 0.041), (0, 0, 0.047), 0.003, _BROWN, flat=True, solid=False), neck=(0.0, 0.064)),
        _kind("garlic", 0.05, _ball((0.025, 0.025, 0.020), _WHITE), _ball((0.008, 0.008, 0.012), _CREAM, (0, 0, 0.016)),
              _rod((0, 0, 0.026), (0, 0, 0.032), 0.003, _CREAM, solid=False), neck=(0.0, 0.050)),
        _kind("mushroom", 0.04, _disc(0.013, 0.002, 0.030, _CREAM), _foot(0.018, _CREAM),
              _ball((0.028, 0.028, 0.014), (0.75, 0.6, 0.45, 1), (0, 0, 0.034)), neck=(0.034, 0.056)),
        _kind("broccoli", 0.12, _disc(0.014, 0.002, 0.040, _GREEN), _foot(0.024, _GREEN),
              _ball((0.030, 0.030, 0.022), _DARK_GREEN, (0, 0, 0.045)), neck=(0.043, 0.060)),
        _kind("carrot", 0.07, _rod((-0.020, 0, 0), (0.004, 0, 0), 0.017, _ORANGE),
              _ball((0.032, 0.012, 0.012), _ORANGE, (0.014, 0, 0)),
              _rod((-0.037, 0, 0), (-0.032, 0, 0), 0.007, _GREEN, solid=False), neck=(0.0, 0.034)),
        _kind("cucumber", 0.15, _rod((-0.024, 0, 0), (0.024, 0, 0), 0.019, _DARK_GREEN),
              _ball((0.004, 0.008, 0.008), _GREEN, (-0.041, 0, 0), solid=False),
              _ball((0.004, 0.008, 0.008), _GREEN, (0.041, 0, 0), solid=False)),
        _kind("corn", 0.14, _rod((-0.012, 0, 0), (0.022, 0, 0), 0.021, _YELLOW),
              _ball((0.018, 0.020, 0.020), _GREEN, (-0.022, 0, 0)),
              _rod((-0.041, 0, 0), (-0.036, 0, 0), 0.006, _GREEN, solid=False)),
        _kind("eggplant", 0.17, _ball((0.036, 0.027, 0.027), _PURPLE),
              _ball((0.022, 0.018, 0.018), _PURPLE, (0.02, 0, 0)),
              _rod((0.040, 0, 0), (0.047, 0, 0), 0.007, _GREEN, solid=False)),
        _kind("banana", 0.13, _rod((-0.018, 0, 0), (0.018, 0, 0), 0.016, _YELLOW),
              _rod((0.018, 0, 0), (0.040, 0.010, 0), 0.015, _YELLOW),
              _rod((-0.018, 0, 0), (-0.040, 0.010, 0), 0.015, _YELLOW), neck=(0.0, 0.032)),
        _kind("egg", 0.06, _ball((0.029, 0.022, 0.022), _CREAM),
              _ball((0.02, 0.016, 0.016), _CREAM, (0.004, 0, 0), solid=False),
              _ball((0.02, 0.016, 0.016), _CREAM, (0.004, 0, 0), solid=False)),
        _kind("bread roll", 0.08, _ball((0.044, 0.031, 0.024), _CRUST),
              _ball((0.006, 0.018, 0.003), _CREAM, (0.014, 0, 0.0215), solid=False),
              _ball((0.006, 0.018, 0.003), _CREAM, (-0.014, 0, 0.0215), solid=False)),
        _kind("baguette", 0.12, _rod((-0.027, 0, 0), (0.027, 0, 0), 0.027, _CRUST),
              _ball((0.005, 0.016, 0.003), _CREAM, (0.016, 0, 0.0255), solid=False),
              _ball((0.005, 0.016, 0.003), _CREAM, (-0.016, 0, 0.0255), solid=False), neck=(0.0, 0.054)),
        _kind("hot dog", 0.12, _ball((0.040, 0.029, 0.020), _CRUST),
              _rod((-0.035, 0, 0.013), (0.035, 0, 0.013), 0.010, (0.65, 0.2, 0.12, 1)),
              _rod((-0.028, 0, 0.0225), (0.028, 0, 0.0225), 0.0025, _YELLOW, solid=False), neck=(0.0, 0.058)),
        _kind("burger", 0.18, _ball((0.031, 0.031, 0.026), _CRUST), _disc(0.032, -0.005, 0.003, _BROWN),
              _disc(0.0318, 0.003, 0.006, _GREEN, solid=False), neck=(0.0, 0.064)),
        _kind("drumstick", 0.11, _ball((0.032, 0.025, 0.022), (0.7, 0.4, 0.18, 1)),
              _rod((0.02, 0, 0), (0.046, 0, 0), 0.007, _CREAM),
              _ball((0.006, 0.010, 0.008), _CREAM, (0.052, 0, 0), solid=False), neck=(0.0, 0.050)),
        _kind("steak", 0.20, *_slab((0.042, 0.030, 0.014), (0.5, 0.15, 0.12, 1), (0.65, 0.25, 0.2, 1), _CREAM)),
        _kind("cheese", 0.15, *_slab((0.038, 0.026, 0.018), _YELLOW, (0.98, 0.75, 0.2, 1), _ORANGE)),
        _kind("butter", 0.20, *_slab((0.045, 0.028, 0.017), (0.95, 0.92, 0.7, 1), _WHITE, _BLUE)),
        _kind("soap bar", 0.10, *_slab((0.040, 0.024, 0.016), _PINK, (0.98, 0.75, 0.82, 1), _WHITE)),
        _kind("sponge", 0.04, *_slab((0.045, 0.028, 0.016), _YELLOW, _GREEN, _DARK_GREEN)),
        _kind("can", 0.30, *_can(0.030, 0.100, _RED, _METAL)),
        _kind("jar", 0.25, *_can(0.031, 0.080, (0.45, 0.1, 0.2, 1), _WHITE)),
        _kind("yogurt cup", 0.14, *_can(0.030, 0.070, _WHITE, _PINK)),
        _kind("cup", 0.12, *_can(0.031, 0.085, (0.3, 0.75, 0.8, 1), (0.1, 0.3, 0.35, 1))),
        _kind("spice shaker", 0.08, *_can(0.021, 0.090, _BROWN, _RED)),
        _kind("bottle", 0.25, _disc(0.028, 0.001, 0.105, _BLUE), _foot(0.028, _BLUE),
              _disc(0.013, 0.105, 0.155, _WHITE), neck=(0.130, 0.026)),
        _kind("juice box", 0.20, *_carton((0.028, 0.024, 0.055), _ORANGE, _GREEN, _WHITE)),
        _kind("milk carton", 0.30, *_carton((0.030, 0.029, 0.070), _WHITE, _BLUE, _RED)),
        _kind("tea box", 0.08, *_carton((0.040, 0.030, 0.040), _DARK_GREEN, _YELLOW, _RED)),
    )
}  # fmt: skip

MUGS: dict[str, ObjectKind] = {
    "white": _mug(0.032, 0.085, _WHITE),
    "blue": _mug(0.034, 0.080, _BLUE),
    "red": _mug(0.030, 0.092, _RED),
    "green": _mug(0.033, 0.088, _GREEN),
}

_FILTERS: dict[str | None, Callable[[ObjectKind], bool]] = {
    None: lambda kind: True,
    "washable": lambda kind: kind.washable,
    "sink_food": lambda kind: kind.food and kind.washable,
    "cookable": lambda kind: kind.cookable,
    "microwave_food": lambda kind: kind.food and kind.microwavable,
}
