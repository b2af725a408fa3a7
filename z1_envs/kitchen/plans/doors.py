"""Doors of wall cabinets and microwaves (RoboCasa v0.2 single_stage/kitchen_doors.py)."""

import numpy as np

from z1_envs.kitchen.clutter import draw_clutter
from z1_envs.kitchen.fixtures.cabinet import DoubleDoorCabinet, WallCabinet
from z1_envs.kitchen.fixtures.microwave import Microwave
from z1_envs.kitchen.plans.plan import Kitchen, Part, Plan, Planned, Planner, Start, either, uniform
from z1_envs.kitchen.plans.postures import (
    FORWARD_LEFT_HIGH,
    GRASP_LEFT_HIGH,
    GRASP_LEFT_MIDDLE,
    mirrored,
    noisy,
)

Doored = WallCabinet | DoubleDoorCabinet | Microwave

_RIGHT_ANGLE = np.pi / 2
_OPEN = 0.93, np.inf  # share of a right angle at which the next door is due, a little more than is asked for
_SHUT = -np.inf, 0.03


def _open_single(task: str, kitchen: Kitchen, rng: np.random.Generator) -> Planned:
    """The door is shut; the robot stands so that its arm comes from the side of the free edge."""
    fixture = _cabinet(rng, either(rng)) if either(rng) > 0 else _microwave(kitchen, rng)
    (door,) = fixture.doors
    high = isinstance(fixture, WallCabinet)
    arm = GRASP_LEFT_HIGH if high else GRASP_LEFT_MIDDLE
    start = Start(
        base=(
            door.x - uniform(rng, 0.68, 0.80),
            door.handle_y - door.hinge * uniform(rng, 0.08, 0.24),
            uniform(rng, -0.12, 0.12),
        ),
        torso=uniform(rng, 0.10, 0.24) if high else uniform(rng, 0.0, 0.10),
        arm=noisy(arm if door.hinge > 0 else mirrored(arm), rng),
    )
    part = Part(target="door_handle", goal="door_handle_open", joint="door", unit=_RIGHT_ANGLE)
    return _plan(task, kitchen, fixture, (part,), rng), start, _words(fixture)


def _close_single(task: str, kitchen: Kitchen, rng: np.random.Generator) -> Planned:
    """The door stands 0.90 to 1.0 of a right angle open."""
    cabinet = _cabinet(rng, either(rng))
    hinge = cabinet.hinge
    start = Start(
        base=(
            cabinet.front - uniform(rng, 0.68, 0.84),
            # The gripper starts 0.44 m beside the base, on the outside of the open door.
            cabinet.y + hinge * (cabinet.width / 2 + uniform(rng, 0.09, 0.19) - 0.44),
            uniform(rng, -0.15, 0.15),
        ),
        torso=uniform(rng, 0.10, 0.24),
        arm=noisy(FORWARD_LEFT_HIGH if hinge > 0 else mirrored(FORWARD_LEFT_HIGH), rng),
        joints=(("door", uniform(rng, 0.90, 1.0) * _RIGHT_ANGLE),),
    )
    part = Part(target="door_push", goal="door_push_closed", joint="door", unit=_RIGHT_ANGLE)
    return _plan(task, kitchen, cabinet, (part,), rng), start, _words(cabinet)


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


PLANNERS: dict[str, Planner] = {"OpenSingleDoor": _open_single, "CloseSingleDoor": _close_single}
