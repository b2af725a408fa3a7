"""Pick and place at the sink (RoboCasa v0.2 single_stage/kitchen_pnp.py)."""

import numpy as np

from z1_envs.kitchen.clutter import draw_clutter
from z1_envs.kitchen.containers import DISHES
from z1_envs.kitchen.fixtures.sink import Sink
from z1_envs.kitchen.objects import select
from z1_envs.kitchen.plans.plan import CLEARANCE, Kitchen, Part, Plan, Planned, Planner, Start, either, one_of, uniform
from z1_envs.kitchen.plans.postures import DOWN, noisy

_HALF_HAND = 0.115  # [m] of the gripper along its opening, with room to spare


def _counter_to_sink(task: str, kitchen: Kitchen, rng: np.random.Generator) -> Planned:
    """A washable object on the counter left or right of the sink."""
    side, top = either(rng), kitchen.counter_top
    sink = draw_sink(rng)
    kinds = select(kitchen.split, "washable")
    kind = one_of(rng, kinds)
    plan = Plan(
        task=task,
        kitchen=kitchen,
        fixtures=(sink,),
        parts=(Part(target="object", goal="basin"),),
        clear=(sink.y - 0.9, sink.y + 0.9),
        wall_clear=(sink.y - 0.6, sink.y + 0.6),
        kind=kind,
        clutter=draw_clutter(rng, (sink.y - side * 0.45, sink.y + side * 0.75)),
    )
    y = sink.y + side * (sink.half_y + uniform(rng, 0.09, 0.25))
    pose = (uniform(rng, 0.10, 0.26), y, top + kind.half[2] + CLEARANCE, uniform(rng, -0.5, 0.5))
    start = Start(
        base=(-uniform(rng, 0.36, 0.44), sink.y + side * uniform(rng, 0.08, 0.18), uniform(rng, -0.08, 0.08)),
        torso=uniform(rng, 0.06, 0.14),
        arm=noisy(DOWN, rng),
        poses=(("object", pose),),
    )
    return plan, start, {"obj": kind.name}


def _sink_to_counter(task: str, kitchen: Kitchen, rng: np.random.Generator) -> Planned:
    """Food in the rear half of the basin, a plate or bowl beside it; the spout is turned away from both."""
    side, top = either(rng), kitchen.counter_top
    sink = draw_sink(rng)
    kinds = select(kitchen.split, "sink_food")
    kind = one_of(rng, kinds)
    dish = one_of(rng, DISHES)
    plan = Plan(
        task=task,
        kitchen=kitchen,
        fixtures=(sink,),
        parts=(Part(target="object", goal="container"),),
        clear=(sink.y - 0.9, sink.y + 0.9),
        wall_clear=(sink.y - 0.6, sink.y + 0.6),
        kind=kind,
        container=dish,
        clutter=draw_clutter(rng, (sink.y - side * 0.45, sink.y + side * 0.75)),
    )
    object_pose = (
        sink.x + uniform(rng, 0.0, sink.half_x - 0.09),
        sink.y + side * uniform(rng, 0.0, sink.half_y - _HALF_HAND),
        top - sink.depth + kind.half[2] + CLEARANCE,
        uniform(rng, -0.4, 0.4),
    )
    dish_pose = (
        uniform(rng, 0.14, 0.26),
        sink.y + side * (sink.half_y + 0.03 + dish.radius + uniform(rng, 0.0, 0.10)),
        top + CLEARANCE,
        uniform(rng, -0.4, 0.4),
    )
    start = Start(
        base=(-uniform(rng, 0.24, 0.32), sink.y + side * uniform(rng, 0.10, 0.22), uniform(rng, -0.08, 0.08)),
        torso=uniform(rng, 0.06, 0.14),
        arm=noisy(DOWN, rng),
        joints=(("spout", -side * uniform(rng, 0.9, 1.4)),),
        poses=(("object", object_pose), ("container", dish_pose)),
    )
    return plan, start, {"obj": kind.name, "cont": dish.name}


def draw_sink(rng: np.random.Generator) -> Sink:
    """A sink of any size."""
    return Sink(
        y=uniform(rng, -0.3, 0.3),
        x=uniform(rng, 0.27, 0.31),
        half_x=uniform(rng, 0.15, 0.18),
        half_y=uniform(rng, 0.17, 0.22),
        depth=uniform(rng, 0.14, 0.18),
        handle_side=either(rng),
    )


PLANNERS: dict[str, Planner] = {"PnPCounterToSink": _counter_to_sink, "PnPSinkToCounter": _sink_to_counter}
