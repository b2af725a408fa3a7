"""Pick and place between counter and wall cabinet (RoboCasa v0.2 single_stage/kitchen_pnp.py)."""

import numpy as np

from z1_envs.kitchen.clutter import draw_clutter
from z1_envs.kitchen.fixtures.cabinet import BOARD, RIGHT_ANGLE, DoubleDoorCabinet
from z1_envs.kitchen.objects import select
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
from z1_envs.kitchen.plans.postures import FORWARD_DOWN_LEFT_HIGH, on_side

# [m] Half the length of what is picked from in front: the palm would touch longer things before the fingers are round
# their middle.
LONGEST = 0.046


def _to_cabinet(task: str, kitchen: Kitchen, rng: np.random.Generator) -> Planned:
    """Any object on the counter under the cabinet, whose doors stand open."""
    return _plan(task, kitchen, rng, into=True)


def _to_counter(task: str, kitchen: Kitchen, rng: np.random.Generator) -> Planned:
    """Any object in the front part of the open cabinet."""
    return _plan(task, kitchen, rng, into=False)


def _plan(task: str, kitchen: Kitchen, rng: np.random.Generator, *, into: bool) -> Planned:
    side, top = either(rng), kitchen.counter_top  # +1: the robot stands on the right
    kinds = [kind for kind in select(kitchen.split) if kind.half[0] <= LONGEST]
    kind = one_of(rng, kinds)
    cabinet = DoubleDoorCabinet(
        y=uniform(rng, -0.3, 0.3),
        bottom=uniform(rng, 1.34, 1.40),
        width=uniform(rng, 0.68, 0.80),
        height=uniform(rng, 0.50, 0.62),
        handle_length=uniform(rng, 0.10, 0.16),
        push_radius=uniform(rng, 0.55, 0.65),
    )
    # The arm comes in past the door on the robot's side.
    y = cabinet.y + side * uniform(rng, 0.0, 0.14)
    spot = (uniform(rng, 0.10, 0.15), y, top)
    shelf = (cabinet.front + uniform(rng, 0.06, 0.09), y, cabinet.bottom + 2 * BOARD)
    x, y, z = spot if into else shelf
    start = Start(
        base=(
            -uniform(rng, 0.32, 0.38),
            y - side * uniform(rng, 0.36, 0.44),
            uniform(rng, -0.08, 0.08),
        ),
        torso=uniform(rng, 0.27, 0.33),
        arm=on_side(FORWARD_DOWN_LEFT_HIGH, side, rng),
        joints=tuple((door, uniform(rng, *STANDS_OPEN) * RIGHT_ANGLE) for door in ("left_door", "right_door")),
        poses=(("object", (x, y, z + kind.half[2] + CLEARANCE, side * uniform(rng, -0.10, 0.35))),),
    )
    plan = Plan(
        task=task,
        kitchen=kitchen,
        fixtures=(cabinet,),
        parts=(Part(target="object", goal="interior" if into else "spot"),),
        clear=(cabinet.y - 0.6, cabinet.y + 0.6),
        wall_clear=(cabinet.y - 0.75, cabinet.y + 0.75),
        kind=kind,
        markers=(("spot", spot),),
        clutter=draw_clutter(rng, (cabinet.y - 0.5, cabinet.y + 0.5)),
    )
    return plan, start, {"obj": kind.name}


PLANNERS: dict[str, Planner] = {"PnPCounterToCab": _to_cabinet, "PnPCabToCounter": _to_counter}
