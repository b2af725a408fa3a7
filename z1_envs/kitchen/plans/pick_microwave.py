"""Pick and place between counter and microwave (RoboCasa v0.2 single_stage/kitchen_pnp.py)."""

import numpy as np

from z1_envs.kitchen.clutter import draw_clutter
from z1_envs.kitchen.containers import DISHES, PLATES
from z1_envs.kitchen.fixtures.cabinet import BOARD, RIGHT_ANGLE
from z1_envs.kitchen.fixtures.microwave import PANEL_WIDTH, TRAY_HEIGHT, Microwave
from z1_envs.kitchen.objects import select
from z1_envs.kitchen.plans.pick_cabinet import LONGEST
from z1_envs.kitchen.plans.plan import (
    CLEARANCE,
    STANDS_OPEN,
    Kitchen,
    Part,
    Plan,
    Planned,
    Planner,
    Start,
    either,
    one_of,
    uniform,
)
from z1_envs.kitchen.plans.postures import FORWARD_DOWN_LEFT_LOW, on_side


def _to_microwave(task: str, kitchen: Kitchen, rng: np.random.Generator) -> Planned:
    """Food in a dish on the counter before the microwave, whose door stands open; a plate in it."""
    return _plan(task, kitchen, rng, into=True)


def _to_counter(task: str, kitchen: Kitchen, rng: np.random.Generator) -> Planned:
    """Food on a plate in the open microwave; a dish on the counter before it."""
    return _plan(task, kitchen, rng, into=False)


def _plan(task: str, kitchen: Kitchen, rng: np.random.Generator, *, into: bool) -> Planned:
    side, top = either(rng), kitchen.counter_top  # +1: the robot stands on the right, where the door does not hinge
    kinds = [kind for kind in select(kitchen.split, "microwave_food") if kind.half[0] <= LONGEST]
    kind = one_of(rng, kinds)
    dishes = PLATES if into else DISHES  # the hand would touch the walls of a bowl
    plate, dish = one_of(rng, PLATES), one_of(rng, dishes)
    microwave = Microwave(y=uniform(rng, -0.3, 0.3), bottom=top, x_front=uniform(rng, 0.24, 0.26), hinge=side)
    tray = microwave.y + side * (PANEL_WIDTH / 2 - BOARD)
    # Beside the way in, before the panel.
    outside = (dish.radius - 0.015, tray - side * (0.10 + dish.radius + uniform(rng, 0.02, 0.06)), top)
    inside = (microwave.x_front + plate.radius + 0.012, tray, top + 2 * BOARD + TRAY_HEIGHT)
    (x, y, z), (to_x, to_y, to_z) = (outside, inside) if into else (inside, outside)
    source, container = (dish, plate) if into else (plate, dish)
    # Near the base the gripper can turn less towards the microwave.
    yaw = side * (uniform(rng, -0.25, 0.10) if into else uniform(rng, -0.10, 0.35))
    start = Start(
        base=(-uniform(rng, 0.28, 0.32), tray - side * uniform(rng, 0.38, 0.44), uniform(rng, -0.06, 0.06)),
        torso=uniform(rng, 0.16, 0.22),
        arm=on_side(FORWARD_DOWN_LEFT_LOW, side, rng),
        joints=(("door", uniform(rng, *STANDS_OPEN) * RIGHT_ANGLE),),
        poses=(
            ("object", (x, y, z + source.floor + kind.half[2] + CLEARANCE, yaw)),
            ("container", (to_x, to_y, to_z + CLEARANCE, uniform(rng, -0.4, 0.4))),
        ),
    )
    plan = Plan(
        task=task,
        kitchen=kitchen,
        fixtures=(microwave,),
        parts=(Part(target="object", goal="container"),),
        clear=(microwave.y - 0.8, microwave.y + 0.8),
        wall_clear=(microwave.y - 0.6, microwave.y + 0.6),
        kind=kind,
        container=container,
        source=(source, (x, y, z)),
        clutter=draw_clutter(rng, (microwave.y - 0.5, microwave.y + 0.5)),
    )
    return plan, start, {"obj": kind.name, "cont": container.name}


PLANNERS: dict[str, Planner] = {"PnPCounterToMicrowave": _to_microwave, "PnPMicrowaveToCounter": _to_counter}
