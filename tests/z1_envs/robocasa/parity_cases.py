"""Poses on both sides of every threshold of the 24 tasks, and what RoboCasa v0.2's definition says of each.

A pose is told in words of the task, so that it can be set in either backend: lengths in [m], angles in [rad], doors in
shares of a right angle, drawers in shares of their travel. Lines are v0.2's, in `environments/kitchen/single_stage`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

INSIDE_SLACK = 0.05  # [m²] over the length of the interior's edge (utils/object_utils.py:12)
_JUST = 0.003  # [m] inside or outside of a box
_TURN = 2 * np.pi

Direction = Literal["above", "ahead", "beside"]  # of the object or button; ahead: on the robot's side of its fixture


@dataclass(frozen=True, kw_only=True)
class InBox:
    """The object in the fixture's interior, `beyond` its limit (inside where negative) along one axis, else central.

    axis: 0 to 2 in the fixture's frame, side: +1 or -1.
    """

    axis: int = 0
    side: int = 1
    beyond: float | None = None


@dataclass(frozen=True, kw_only=True)
class InContainer:
    """The object in the container, off its axis by `aside` and by `radii` of RoboCasa's radius of it.

    That radius is half the diagonal of the bounding box (utils/object_utils.py, models/objects/objects.py:149).
    touching: 1 mm into its floor, else 1 cm over its rim. standing: the container 1 mm into what it stands on, else
    1 cm over it.
    """

    aside: float = 0.0
    radii: float = 0.0
    angle: float = 0.0
    touching: bool = True
    standing: bool = True


@dataclass(frozen=True, kw_only=True)
class OnCounter:
    """The object 1 mm into the counter's top (touching), else 5 mm over it."""

    touching: bool


@dataclass(frozen=True, kw_only=True)
class UnderDispenser:
    """The mug's middle `aside` of the coffee machine's place for it, `up` over it."""

    aside: float = 0.0
    up: float = 0.03
    angle: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Hand:
    """What the closed hand does before it goes away: touches buttons (open, where two), or hovers 4 cm before one.

    machine_on: before that.
    """

    machine_on: bool
    touches: tuple[str, ...] = ()
    hovers: bool = False


@dataclass(frozen=True, kw_only=True)
class Case:
    """One pose. success: by v0.2's definition. distance: of the gripper from object or button, `direction` of it."""

    what: str
    success: bool
    joints: tuple[float, ...] = ()
    place: InBox | InContainer | OnCounter | UnderDispenser | None = None
    hand: Hand | None = None
    distance: float = 0.4
    direction: Direction = "above"


def _doors(opens: bool, fails: Iterable[tuple[float, ...]], holds: Iterable[tuple[float, ...]]) -> tuple[Case, ...]:
    """fails: shares at which the goal does not hold; holds: those at which it does."""
    verb = "open" if opens else "still open"
    rows = [(joints, False) for joints in fails] + [(joints, True) for joints in holds]
    return tuple(
        Case(what=f"{' and '.join(f'{share:g}' for share in joints)} {verb}", joints=joints, success=success)
        for joints, success in rows
    )


def _angles(rows: Sequence[tuple[str, float, bool]], *, inverted: bool = False) -> tuple[Case, ...]:
    return tuple(Case(what=what, joints=(angle,), success=holds != inverted) for what, angle, holds in rows)


# Knobs count either way from upright, whole turns do not (kitchen_stove.py:105, models/fixtures/stove.py:99).
_KNOB = (
    ("upright", 0.0, False), ("0.34", 0.34, False), ("0.36", 0.36, True), ("half a turn", np.pi, True),
    ("a turn less 0.36", _TURN - 0.36, True), ("a turn less 0.34", _TURN - 0.34, False), ("-0.34", -0.34, False),
    ("-0.36", -0.36, True), ("a turn and 0.34", _TURN + 0.34, False), ("a turn and 0.36", _TURN + 0.36, True),
    ("minus a turn less 0.34", -_TURN + 0.34, False), ("minus a turn less 0.36", -_TURN + 0.36, True),
)  # fmt: skip
# (kitchen_sink.py:92, models/fixtures/sink.py:90)
_LEVER = (
    ("closed", 0.0, False), ("0.39", 0.39, False), ("0.41", 0.41, True), ("before half a turn", np.pi - 0.01, True),
    ("beyond half a turn", np.pi + 0.01, False), ("-0.01", -0.01, False), ("-0.41", -0.41, False),
    ("a turn and 0.39", _TURN + 0.39, False), ("a turn and 0.41", _TURN + 0.41, True),
    ("minus a turn less 0.41", -_TURN + 0.41, True), ("minus half a turn and more", -np.pi - 0.01, True),
    ("minus half a turn less", -np.pi + 0.01, False),
)  # fmt: skip
# Towards the side that is asked for (kitchen_sink.py:208, models/fixtures/sink.py:100-103).
_SPOUT = (
    ("ahead", 0.0, False), ("29 degrees", np.pi / 6 - 0.02, False), ("31 degrees", np.pi / 6 + 0.02, True),
    ("a right angle", np.pi / 2, True), ("before half a turn", np.pi - 0.01, True),
    ("beyond half a turn", np.pi + 0.01, False), ("31 degrees the other way", -np.pi / 6 - 0.02, False),
    ("the other way, before half a turn", -np.pi + 0.01, False),
    ("the other way, beyond half a turn", -np.pi - 0.01, True),
    ("the other way, a turn less 31 degrees", -_TURN + np.pi / 6 + 0.02, True),
    ("the other way, a turn less 29 degrees", -_TURN + np.pi / 6 - 0.02, False),
    ("a turn and 31 degrees", _TURN + np.pi / 6 + 0.02, True),
)  # fmt: skip


def _gripper(place: InBox | InContainer | OnCounter | UnderDispenser) -> tuple[Case, ...]:
    """The gripper has to be more than 0.25 m away (utils/object_utils.py:349)."""
    return tuple(
        Case(what=f"gripper at {distance} {direction}", place=place, distance=distance, direction=direction,
             success=distance > 0.25)
        for distance in (0.24, 0.26)
        for direction in ("above", "ahead", "beside")
    )  # fmt: skip


def _box() -> tuple[Case, ...]:
    sides = tuple(
        Case(what=f"{word} along {'xyz'[axis]}{side:+d}", place=InBox(axis=axis, side=side, beyond=beyond),
             success=beyond < 0)
        for axis in range(3)
        for side in (-1, 1)
        for word, beyond in (("just inside", -_JUST), ("just outside", _JUST))
    )  # fmt: skip
    return (Case(what="in the middle", place=InBox(), success=True), *sides, *_gripper(InBox()))


def _counter() -> tuple[Case, ...]:
    on = OnCounter(touching=True)
    return (
        Case(what="on the counter", place=on, success=True),
        Case(what="over the counter", place=OnCounter(touching=False), success=False),
        *_gripper(on),
    )


def _container(*, radius: float | None, within_share: bool, has_to_stand: bool) -> tuple[Case, ...]:
    """radius: around the axis in which the object has to be [m]; within_share: in 0.7 of the container's own."""
    cases = [
        Case(what="in the middle", place=InContainer(), success=True),
        Case(what="over the rim", place=InContainer(touching=False), success=False),
        Case(what="container lifted", place=InContainer(standing=False), success=not has_to_stand),
        *_gripper(InContainer()),
    ]
    for share in (0.48, 0.51, 0.69, 0.71):
        if radius is None:
            place = InContainer(radii=share)
            cases.append(Case(what=f"{share} radii aside", place=place, success=not within_share or share < 0.7))
    for aside in (0.065, 0.075):
        if radius is not None:
            cases += [
                Case(what=f"{aside} aside at {angle}", place=InContainer(aside=aside, angle=angle),
                     success=aside < radius)
                for angle in (0.0, 2.0, 4.0)
            ]  # fmt: skip
    return tuple(cases)


def _mug() -> tuple[Case, ...]:
    asides = [(aside, 0.03, angle) for aside in (0.035, 0.045) for angle in (0.0, 2.0, 4.0)]
    heights = [(aside, up, 0.0) for up in (0.09, 0.11, -0.09, -0.11) for aside in (0.0, 0.035)]
    return (
        *(
            Case(what=f"{aside} aside at {angle}, {up} up", place=UnderDispenser(aside=aside, up=up, angle=angle),
                 success=aside < 0.04 and abs(up) < 0.10)
            for aside, up, angle in (*asides, *heights)
        ),
        *_gripper(UnderDispenser()),
    )  # fmt: skip


def _far_from_button(*, on: bool) -> tuple[Case, ...]:
    """The machine as it has to be, and the gripper near its button (models/fixtures/microwave.py:124)."""
    rows: tuple[tuple[float, Direction], ...] = (
        (0.14, "beside"), (0.16, "beside"), (0.14, "above"), (0.16, "above"), (0.14, "ahead"), (0.152, "ahead"),
        (0.165, "ahead"),
    )  # fmt: skip
    return tuple(
        Case(what=f"gripper at {distance} {direction}", hand=Hand(machine_on=on), distance=distance,
             direction=direction, success=distance > 0.15)
        for distance, direction in rows
    )  # fmt: skip


def _pressed(on: bool, touches: tuple[str, ...], success: bool, *, hovers: bool = False, door: float = 0.0) -> Case:
    before, ajar = "on" if on else "off", f", door {door:g} open" if door else ""
    doing = " and ".join(touches) or ("hovering" if hovers else "untouched")
    hand = Hand(machine_on=on, touches=touches, hovers=hovers)
    joints = (door,) if door else ()
    return Case(what=f"{before}, {doing}{ajar}", hand=hand, joints=joints, success=success, direction="ahead")


_START, _STOP = ("start_button",), ("stop_button",)
_BOTH = _START + _STOP
# The door's share at which it stops the microwave is 0.005 (models/fixtures/microwave.py:114).
_TURN_ON = (
    *_far_from_button(on=True),
    _pressed(False, (), False), _pressed(False, (), False, hovers=True), _pressed(False, _START, True),
    _pressed(False, _STOP, False), _pressed(False, _BOTH, True), _pressed(True, (), True),
    _pressed(True, _START, True), _pressed(True, _STOP, False), _pressed(True, _BOTH, False),
    _pressed(True, (), True, door=0.004), _pressed(True, (), False, door=0.006), _pressed(True, (), False, door=0.88),
    _pressed(True, (), False, door=0.95), _pressed(False, _START, False, door=0.5),
    _pressed(False, _START, False, door=0.95),
)  # fmt: skip
_TURN_OFF = (
    *_far_from_button(on=False),
    _pressed(True, (), False), _pressed(True, (), False, hovers=True), _pressed(True, _STOP, True),
    _pressed(True, _START, False), _pressed(True, _BOTH, True), _pressed(False, _START, False),
    _pressed(False, _STOP, True), _pressed(True, (), False, door=0.004), _pressed(True, (), True, door=0.006),
    _pressed(True, (), True, door=0.95),
)  # fmt: skip
_COFFEE = (
    *_far_from_button(on=True),
    _pressed(False, (), False), _pressed(False, (), False, hovers=True), _pressed(False, _START, True),
    _pressed(True, _START, True), _pressed(True, (), True),
)  # fmt: skip

_NEAR = _container(radius=0.07, within_share=False, has_to_stand=False)

CASES: dict[str, tuple[Case, ...]] = {
    "PnPCounterToCab": _box(),
    "PnPCabToCounter": _counter(),
    "PnPCounterToSink": _box(),
    "PnPSinkToCounter": _container(radius=None, within_share=True, has_to_stand=True),
    "PnPCounterToMicrowave": _container(radius=None, within_share=False, has_to_stand=True),
    "PnPMicrowaveToCounter": _container(radius=None, within_share=True, has_to_stand=False),
    "PnPCounterToStove": _NEAR,
    "PnPStoveToCounter": _NEAR,
    "OpenSingleDoor": _doors(True, [(0.0,), (0.89,), (0.8998,)], [(0.91,), (1.0,)]),
    "CloseSingleDoor": _doors(False, [(0.06,), (0.95,)], [(-0.01,), (0.0,), (0.004,), (0.006,), (0.04,)]),
    "OpenDoubleDoor": _doors(
        True, [(0.0, 0.0), (0.91, 0.89), (0.89, 0.91), (0.8998, 0.91), (0.91, 0.8998)], [(0.91, 0.91)]
    ),
    "CloseDoubleDoor": _doors(
        False, [(0.06, 0.0), (0.0, 0.06), (0.95, 0.95)], [(0.004, 0.004), (0.04, 0.0), (0.0, 0.04), (0.006, 0.004)]
    ),
    "OpenDrawer": _doors(True, [(0.0,), (0.94,)], [(0.96,), (1.0,)]),
    "CloseDrawer": _doors(False, [(0.06,), (1.0,)], [(0.0,), (0.004,), (0.04,)]),
    "TurnOnStove": _angles(_KNOB),
    "TurnOffStove": _angles(_KNOB, inverted=True),
    "TurnOnSinkFaucet": _angles(_LEVER),
    "TurnOffSinkFaucet": _angles(_LEVER, inverted=True),
    "TurnSinkSpout": _angles(_SPOUT),
    "CoffeePressButton": _COFFEE,
    "TurnOnMicrowave": _TURN_ON,
    "TurnOffMicrowave": _TURN_OFF,
    "CoffeeServeMug": _counter(),
    "CoffeeSetupMug": _mug(),
}
