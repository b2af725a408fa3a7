"""Buttons of the coffee machine and the microwave (RoboCasa v0.2 single_stage/kitchen_coffee.py, kitchen_microwave.py).

The robot stands a little to one side, so that its arm comes to the button straight ahead.
"""

import numpy as np

from z1_envs.kitchen.clutter import draw_clutter
from z1_envs.kitchen.fixtures.cabinet import RIGHT_ANGLE
from z1_envs.kitchen.fixtures.coffee_machine import FOOT_HEIGHT, RECEPTACLE, CoffeeMachine
from z1_envs.kitchen.fixtures.microwave import PANEL_WIDTH, Microwave
from z1_envs.kitchen.objects import mugs
from z1_envs.kitchen.plans.plan import (
    CLEARANCE,
    Kitchen,
    Part,
    Plan,
    Planned,
    Planner,
    Pose,
    Start,
    either,
    one_of,
    uniform,
)
from z1_envs.kitchen.plans.postures import PRESS_LEFT, on_side
from z1_envs.kitchen.shapes import Point

_PRESS_HEIGHT = 1.08  # [m] of the gripper in PRESS_LEFT, with the torso at 0
_MAX_TORSO = 0.30  # [m], below the end of its range


def _coffee(task: str, kitchen: Kitchen, rng: np.random.Generator) -> Planned:
    """A mug stands under the dispenser."""
    kinds, top = mugs(kitchen.split), kitchen.counter_top
    kind = one_of(rng, kinds)
    machine = CoffeeMachine(
        y=uniform(rng, -0.3, 0.3),
        x_front=uniform(rng, 0.12, 0.20),
        width=uniform(rng, 0.18, 0.24),
        height=uniform(rng, 0.36, 0.40),
    )
    under = (machine.x_front + RECEPTACLE, machine.y, top + FOOT_HEIGHT + kind.half[2] + CLEARANCE)
    plan = Plan(
        task=task,
        kitchen=kitchen,
        fixtures=(machine,),
        parts=(Part(target="start_button", goal="start_button"),),
        clear=(machine.y - 0.6, machine.y + 0.6),
        wall_clear=(machine.y - 0.6, machine.y + 0.6),
        kind=kind,
        clutter=draw_clutter(rng, (machine.y - uniform(rng, 0.4, 0.5), machine.y + uniform(rng, 0.4, 0.5))),
    )
    poses = (("object", (*under, uniform(rng, -1.2, 1.2))),)
    start = _start(machine.button(top), rng, poses=poses)
    return plan, start, {}


def _microwave_on(task: str, kitchen: Kitchen, rng: np.random.Generator) -> Planned:
    """It is off, its door shut."""
    return _microwave(task, kitchen, "start_button", rng, latch=False)


def _microwave_off(task: str, kitchen: Kitchen, rng: np.random.Generator) -> Planned:
    """It is on, its door shut."""
    return _microwave(task, kitchen, "stop_button", rng, latch=True)


def _microwave(task: str, kitchen: Kitchen, button: str, rng: np.random.Generator, *, latch: bool) -> Planned:
    microwave = Microwave(
        y=uniform(rng, -0.3, 0.3),
        bottom=kitchen.counter_top + uniform(rng, 0.08, 0.20),
        x_front=uniform(rng, 0.18, 0.26),
        handle_length=uniform(rng, 0.12, 0.18),
    )
    reserved = microwave.y - 0.75, microwave.y + 0.75
    plan = Plan(
        task=task,
        kitchen=kitchen,
        fixtures=(microwave,),
        parts=(Part(target=button, goal=button, joint="door", unit=RIGHT_ANGLE),),
        clear=reserved,
        wall_clear=reserved,
        clutter=draw_clutter(rng, (microwave.y - uniform(rng, 0.5, 0.6), microwave.y + uniform(rng, 0.5, 0.6))),
    )
    (door,) = microwave.doors
    panel = microwave.x_front, microwave.span[0] + PANEL_WIDTH / 2, door.z
    return plan, _start(panel, rng, latch=latch), {}


def _start(
    button: Point,
    rng: np.random.Generator,
    *,
    poses: tuple[tuple[str, Pose], ...] = (),
    latch: bool = False,
) -> Start:
    """The gripper is 0.2 to 0.35 m before the button, and not straight before it."""
    side = either(rng)
    x, y, z = button
    return Start(
        base=(x - uniform(rng, 0.56, 0.70), y - side * uniform(rng, 0.26, 0.50), uniform(rng, -0.10, 0.10)),
        torso=min(max(z - _PRESS_HEIGHT + uniform(rng, -0.10, 0.08), 0.0), _MAX_TORSO),
        arm=on_side(PRESS_LEFT, side, rng),
        poses=poses,
        latch=latch,
    )


PLANNERS: dict[str, Planner] = {
    "CoffeePressButton": _coffee,
    "TurnOnMicrowave": _microwave_on,
    "TurnOffMicrowave": _microwave_off,
}
