"""CoffeeSetupMug and CoffeeServeMug: a mug to and from the coffee machine (RoboCasa v0.2 kitchen_coffee.py)."""

import numpy as np

from z1_envs.kitchen.clutter import draw_clutter
from z1_envs.kitchen.fixtures.coffee_machine import FOOT_HEIGHT, RECEPTACLE, CoffeeMachine
from z1_envs.kitchen.objects import mugs
from z1_envs.kitchen.plans.plan import CLEARANCE, Kitchen, Part, Plan, Planned, Planner, Start, either, one_of, uniform
from z1_envs.kitchen.plans.postures import FORWARD_DOWN_LEFT_LOW, on_side


def _setup(task: str, kitchen: Kitchen, rng: np.random.Generator) -> Planned:
    """The mug stands left or right of the machine, nearer to the robot."""
    return _plan(task, kitchen, rng, serve=False)


def _serve(task: str, kitchen: Kitchen, rng: np.random.Generator) -> Planned:
    """The mug stands under the dispenser."""
    return _plan(task, kitchen, rng, serve=True)


def _plan(task: str, kitchen: Kitchen, rng: np.random.Generator, *, serve: bool) -> Planned:
    side, top = either(rng), kitchen.counter_top  # +1: robot and counter spot are on the machine's right
    kinds = mugs(kitchen.split)
    kind = one_of(rng, kinds)
    machine = CoffeeMachine(
        y=uniform(rng, -0.3, 0.3),
        x_front=uniform(rng, 0.12, 0.16),
        width=uniform(rng, 0.18, 0.24),
        height=uniform(rng, 0.36, 0.40),
    )
    spot = (uniform(rng, 0.03, 0.10), machine.y - side * (machine.width / 2 + uniform(rng, 0.07, 0.14)), top)
    under = (machine.x_front + RECEPTACLE, machine.y, top + FOOT_HEIGHT)
    x, y, z = under if serve else spot
    base_y = machine.y - side * uniform(rng, 0.36, 0.46)
    start = Start(
        base=(-uniform(rng, 0.40, 0.46), base_y, uniform(rng, -0.08, 0.08)),
        torso=uniform(rng, 0.10, 0.18),
        arm=on_side(FORWARD_DOWN_LEFT_LOW, side, rng),
        poses=(("object", (x, y, z + kind.half[2] + CLEARANCE, side * uniform(rng, -0.10, 0.35))),),
    )
    plan = Plan(
        task=task,
        kitchen=kitchen,
        fixtures=(machine,),
        parts=(Part(target="object", goal="spot" if serve else "receptacle"),),
        clear=(machine.y - 0.6, machine.y + 0.6),
        wall_clear=(machine.y - 0.6, machine.y + 0.6),
        kind=kind,
        markers=(("spot", spot),),
        clutter=draw_clutter(rng, (machine.y - side * 0.45, machine.y + side * 0.4)),
    )
    return plan, start, {"obj": kind.name}


PLANNERS: dict[str, Planner] = {"CoffeeSetupMug": _setup, "CoffeeServeMug": _serve}
