"""Things that stand about on the counter, near the wall: to be seen and to be avoided. Nothing here moves.

Each is one solid shape and one detail that nothing collides with. Lengths in [m].
"""

from dataclasses import dataclass

import mujoco
import numpy as np

from z1_envs.kitchen.shapes import GEOM, RGBA, STATIC, VISUAL

_BOX, _CYLINDER, _ELLIPSOID = GEOM.mjGEOM_BOX, GEOM.mjGEOM_CYLINDER, GEOM.mjGEOM_ELLIPSOID
_X = (0.42, 0.56)  # where things stand
_SCALE = (0.9, 1.1)


@dataclass(frozen=True)
class _Detail:
    shape: mujoco.mjtGeom
    half: tuple[float, float, float]
    centre: tuple[float, float, float]  # from the middle of the foot
    rgba: RGBA


@dataclass(frozen=True)
class ClutterKind:
    """A kind of thing: its solid shape standing on z = 0, a detail, and the colours it comes in."""

    shape: mujoco.mjtGeom
    half: tuple[float, float, float]  # a cylinder's are radius, radius, half height
    colours: tuple[RGBA, ...]
    detail: _Detail
    lean: float = 0.0  # [rad] backwards


_WOOD: RGBA = (0.66, 0.47, 0.29, 1)
_CREAM: RGBA = (0.92, 0.88, 0.78, 1)
_RED: RGBA = (0.68, 0.16, 0.14, 1)
_STEEL: RGBA = (0.68, 0.69, 0.71, 1)
_BLACK: RGBA = (0.12, 0.12, 0.13, 1)
_TEAL: RGBA = (0.22, 0.45, 0.48, 1)
_CLAY: RGBA = (0.72, 0.42, 0.30, 1)

CLUTTER: dict[str, ClutterKind] = {
    "toaster": ClutterKind(
        _BOX, (0.070, 0.115, 0.090), (_STEEL, _CREAM, _RED, _BLACK),
        _Detail(_BOX, (0.018, 0.085, 0.004), (0, 0, 0.178), _BLACK),
    ),
    "utensil_jar": ClutterKind(
        _CYLINDER, (0.050, 0.050, 0.075), (_CREAM, _TEAL, _CLAY, _STEEL),
        _Detail(_BOX, (0.008, 0.034, 0.055), (0, 0, 0.200), _WOOD),
    ),
    "cutting_board": ClutterKind(
        _BOX, (0.010, 0.095, 0.125), (_WOOD, (0.78, 0.62, 0.42, 1), (0.45, 0.29, 0.18, 1)),
        _Detail(_BOX, (0.035, 0.050, 0.012), (0.01, 0, 0.012), _BLACK), lean=0.2,
    ),
    "canister": ClutterKind(
        _CYLINDER, (0.055, 0.055, 0.080), (_STEEL, _CREAM, _RED, _TEAL),
        _Detail(_CYLINDER, (0.057, 0.057, 0.010), (0, 0, 0.170), _WOOD),
    ),
    "bread_box": ClutterKind(
        _BOX, (0.080, 0.130, 0.075), (_WOOD, _CREAM, _TEAL),
        _Detail(_BOX, (0.004, 0.045, 0.006), (-0.083, 0, 0.090), _BLACK),
    ),
    "plant_pot": ClutterKind(
        _CYLINDER, (0.050, 0.050, 0.050), (_CLAY, _CREAM, (0.35, 0.36, 0.38, 1)),
        _Detail(_ELLIPSOID, (0.075, 0.075, 0.085), (0, 0, 0.175), (0.25, 0.46, 0.22, 1)),
    ),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Clutter:
    """A fixed thing on the counter, of a kind of `CLUTTER`."""

    kind: str
    x: float  # of its middle
    y: float
    scale: float
    rgba: RGBA

    def add(self, world: mujoco.MjsBody, name: str, counter_top: float) -> None:
        """The geoms `name`, solid, and `name`_detail, on the counter."""
        kind = CLUTTER[self.kind]
        x_half, _, z_half = kind.half
        height = z_half * np.cos(kind.lean) + x_half * np.sin(kind.lean)
        self._add_geom(world, name, kind.shape, kind.half, (0, 0, height), self.rgba, counter_top, kind.lean)
        detail = kind.detail
        geom = self._add_geom(
            world, f"{name}_detail", detail.shape, detail.half, detail.centre, detail.rgba, counter_top, 0.0
        )
        geom.contype, geom.conaffinity = VISUAL

    def _add_geom(self, world, name, shape, half, centre, rgba, counter_top, lean) -> mujoco.MjsGeom:
        size = np.multiply(half, self.scale)
        return world.add_geom(
            name=name, type=shape, size=size[[0, 2, 2]] if shape == _CYLINDER else size, rgba=rgba,
            pos=np.add(np.multiply(centre, self.scale), (self.x, self.y, counter_top)),
            quat=[np.cos(lean / 2), 0, np.sin(lean / 2), 0], contype=STATIC[0], conaffinity=STATIC[1],
        )  # fmt: skip


def draw_clutter(rng: np.random.Generator, places: tuple[float, ...]) -> tuple[Clutter, ...]:
    """One thing at each y of `places`, near the wall; neighbours are of different kinds."""
    names = tuple(CLUTTER)
    order = rng.permutation(len(names))
    things = []
    for i, place in enumerate(places):
        name = names[order[i % len(names)]]
        colours = CLUTTER[name].colours
        colour = colours[rng.integers(len(colours))]
        x, scale = float(rng.uniform(*_X)), float(rng.uniform(*_SCALE))
        things.append(Clutter(kind=name, x=x, y=float(place), scale=scale, rgba=colour))
    return tuple(things)
