"""Doors of wall cabinets and microwaves (RoboCasa v0.2 single_stage/kitchen_doors.py)."""

import numpy as np

from z1_envs.kitchen.clutter import draw_clutter
from z1_envs.kitchen.fixtures.cabinet import RIGHT_ANGLE, Door, DoubleDoorCabinet, WallCabinet
from z1_envs.kitchen.fixtures.microwave import Microwave
from z1_envs.kitchen.plans.plan import (
    STANDS_OPEN,
    Kitchen,
    Part,
    Plan,
    Planned,
    Planner,
    Span,
    Start,
    either,
    uniform,
)
from z1_envs.kitchen.plans.postures import (
    FRONT_LEFT_HIGH,
    FRONT_LEFT_MIDDLE,
    GRASP_LEFT_HIGH,
    GRASP_LEFT_MIDDLE,
    on_side,
)

Doored = WallCabinet | DoubleDoorCabinet | Microwave

# [m] of the gripper before and beside the base, in these postures
_FRONT_HIGH_AT, _FRONT_MIDDLE_AT = (0.22, 0.35), (0.30, 0.40)


def _open_single(task: str, kitchen: Kitchen, rng: np.random.Generator) -> Planned:
    """The door is shut; the robot stands so that its arm comes from the side of the free edge."""
    fixture = _cabinet(rng, either(rng)) if either(rng) > 0 else _microwave(kitchen, rng)
    (door,) = fixture.doors
    high = isinstance(fixture, WallCabinet)
    start = Start(
        base=(
            door.x - uniform(rng, 0.68, 0.80),
            door.handle_y - door.hinge * uniform(rng, 0.08, 0.24),
            uniform(rng, -0.12, 0.12),
        ),
        torso=uniform(rng, 0.10, 0.24) if high else uniform(rng, 0.0, 0.10),
        arm=on_side(GRASP_LEFT_HIGH if high else GRASP_LEFT_MIDDLE, door.hinge, rng),
    )
    return _plan(task, kitchen, fixture, (_to_open(door),), rng), start, _words(fixture)


def _open_double(task: str, kitchen: Kitchen, rng: np.random.Generator) -> Planned:
    """Both doors are shut; the one on the side of the gripper comes first."""
    side = either(rng)
    cabinet = _double_cabinet(rng)
    start = Start(
        base=(
            cabinet.front - uniform(rng, 0.60, 0.70),
            cabinet.y - side * uniform(rng, 0.04, 0.14),
            uniform(rng, -0.10, 0.10),
        ),
        torso=uniform(rng, 0.10, 0.24),
        arm=on_side(GRASP_LEFT_HIGH, side, rng),
    )
    parts = tuple(_to_open(door) for door in cabinet.doors[::side])
    return _plan(task, kitchen, cabinet, parts, rng), start, {}


def _close_single(task: str, kitchen: Kitchen, rng: np.random.Generator) -> Planned:
    """The door stands 0.90 to 1.0 of a right angle open; the gripper begins before its edge, outside or inside."""
    fixture = _cabinet(rng, either(rng)) if either(rng) > 0 else _microwave(kitchen, rng)
    (door,) = fixture.doors
    high = isinstance(fixture, WallCabinet)
    outwards = uniform(rng, -0.30, 0.22)  # of the gripper from the open door
    # From well inside the door is in reach of either arm posture.
    arm_side = -door.hinge if outwards < -0.12 and either(rng) > 0 else door.hinge
    ahead, beside = _FRONT_HIGH_AT if high else _FRONT_MIDDLE_AT
    start = Start(
        base=(
            door.x - door.width - uniform(rng, 0.08, 0.14) - ahead,
            door.y + door.hinge * outwards - arm_side * beside,
            uniform(rng, -0.10, 0.10),
        ),
        torso=uniform(rng, 0.10, 0.24) if high else uniform(rng, 0.0, 0.10),
        arm=on_side(FRONT_LEFT_HIGH if high else FRONT_LEFT_MIDDLE, arm_side, rng),
        joints=(("door", uniform(rng, *STANDS_OPEN) * RIGHT_ANGLE),),
    )
    return _plan(task, kitchen, fixture, (_to_shut(door),), rng), start, _words(fixture)


def _close_double(task: str, kitchen: Kitchen, rng: np.random.Generator) -> Planned:
    """Both doors stand 0.90 to 1.0 of a right angle open; the one on the side of the gripper comes first."""
    side = either(rng)
    cabinet = _double_cabinet(rng)
    doors = cabinet.doors[::side]
    start = Start(
        base=(
            doors[0].x - doors[0].width - uniform(rng, 0.12, 0.20) - _FRONT_HIGH_AT[0],
            cabinet.y - side * uniform(rng, 0.03, 0.17),
            uniform(rng, -0.10, 0.10),
        ),
        torso=uniform(rng, 0.10, 0.24),
        arm=on_side(FRONT_LEFT_HIGH, side, rng),
        joints=tuple((door.name, uniform(rng, *STANDS_OPEN) * RIGHT_ANGLE) for door in doors),
    )
    return _plan(task, kitchen, cabinet, tuple(_to_shut(door) for door in doors), rng), start, {}


def _to_open(door: Door) -> Part:
    return _part(door, "handle", "open", (0.93, np.inf))


def _to_shut(door: Door) -> Part:
    return _part(door, "push", "closed", (-np.inf, 0.03))


def _part(door: Door, where: str, goal: str, done: Span) -> Part:
    """done: shares of a right angle at which the next door is due, a little more than is asked for."""
    target = f"{door.name}_{where}"
    return Part(target=target, goal=f"{target}_{goal}", joint=door.name, unit=RIGHT_ANGLE, done=done)


def _cabinet(rng: np.random.Generator, hinge: int) -> WallCabinet:
    return WallCabinet(
        y=uniform(rng, -0.3, 0.3),
        bottom=uniform(rng, 1.36, 1.46),
        width=uniform(rng, 0.36, 0.46),
        height=uniform(rng, 0.50, 0.62),
        hinge=hinge,
        handle_length=uniform(rng, 0.10, 0.16),
        push_radius=uniform(rng, 0.55, 0.65),
    )


def _double_cabinet(rng: np.random.Generator) -> DoubleDoorCabinet:
    return DoubleDoorCabinet(
        y=uniform(rng, -0.3, 0.3),
        bottom=uniform(rng, 1.36, 1.46),
        width=uniform(rng, 0.60, 0.72),
        height=uniform(rng, 0.50, 0.62),
        handle_length=uniform(rng, 0.10, 0.16),
        push_radius=uniform(rng, 0.42, 0.50),
    )


def _microwave(kitchen: Kitchen, rng: np.random.Generator) -> Microwave:
    return Microwave(
        y=uniform(rng, -0.3, 0.3),
        bottom=kitchen.counter_top + uniform(rng, 0.08, 0.20),
        x_front=uniform(rng, 0.18, 0.26),
        handle_length=uniform(rng, 0.12, 0.18),
        push_radius=uniform(rng, 0.55, 0.65),
    )


def _words(fixture: Doored) -> dict[str, str]:
    return {"fixture": "microwave" if isinstance(fixture, Microwave) else "cabinet"}


def _plan(task: str, kitchen: Kitchen, fixture: Doored, parts: tuple[Part, ...], rng: np.random.Generator) -> Plan:
    beside = fixture.y - 0.55, fixture.y + 0.55
    reserved = fixture.y - 0.75, fixture.y + 0.75
    return Plan(
        task=task,
        kitchen=kitchen,
        fixtures=(fixture,),
        parts=parts,
        clear=reserved,
        wall_clear=reserved,
        clutter=draw_clutter(rng, beside if isinstance(fixture, Microwave) else (*beside, fixture.y)),
    )


PLANNERS: dict[str, Planner] = {
    "OpenSingleDoor": _open_single,
    "CloseSingleDoor": _close_single,
    "OpenDoubleDoor": _open_double,
    "CloseDoubleDoor": _close_double,
}
