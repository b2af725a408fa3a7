"""Pick and place at the stove (RoboCasa v0.2 single_stage/kitchen_pnp.py)."""

from dataclasses import dataclass

import numpy as np

from z1_envs.kitchen.clutter import draw_clutter
from z1_envs.kitchen.containers import DISHES, PANS, PLATES, Container
from z1_envs.kitchen.fixtures.fixture import COUNTER_DEPTH
from z1_envs.kitchen.fixtures.stove import LOCATIONS, Stove
from z1_envs.kitchen.objects import ObjectKind, select
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
from z1_envs.kitchen.plans.postures import DOWN, noisy


@dataclass(frozen=True, kw_only=True)
class _Places:
    """Where a pan stands on the stove and a dish beside it, x and y of their middles."""

    stove: Stove
    side: int  # of the stove on which the dish stands, +1: left
    pan: tuple[float, float]
    dish: tuple[float, float]


def _counter_to_stove(task: str, kitchen: Kitchen, rng: np.random.Generator) -> Planned:
    """The object lies on a plate on the counter; a pan stands on a burner."""
    kind, pan, dish = _draw_things(kitchen, rng, PLATES)
    places, top = _draw_places(dish, rng), kitchen.counter_top
    pan_pose = (*places.pan, top + CLEARANCE, uniform(rng, -0.4, 0.4))
    start = Start(
        base=_base(places, rng),
        torso=uniform(rng, 0.06, 0.14),
        arm=noisy(DOWN, rng),
        poses=(("object", _lying_in(dish, places.dish, kind, top, rng)), ("container", pan_pose)),
    )
    source = (dish, (*places.dish, top))
    return _plan(task, kitchen, places, kind, source, pan, rng), start, {"obj": kind.name, "cont": pan.name}


def _stove_to_counter(task: str, kitchen: Kitchen, rng: np.random.Generator) -> Planned:
    """The object lies in a pan on a burner; a plate or bowl stands on the counter."""
    kind, pan, dish = _draw_things(kitchen, rng, DISHES)
    places, top = _draw_places(dish, rng), kitchen.counter_top
    dish_pose = (*places.dish, top + CLEARANCE, uniform(rng, -0.4, 0.4))
    start = Start(
        base=_base(places, rng),
        torso=uniform(rng, 0.06, 0.14),
        arm=noisy(DOWN, rng),
        poses=(("object", _lying_in(pan, places.pan, kind, top, rng)), ("container", dish_pose)),
    )
    words = {"obj": kind.name, "obj_cont": pan.name, "prep": "in" if dish.name == "bowl" else "on", "cont": dish.name}
    source = (pan, (*places.pan, top))
    return _plan(task, kitchen, places, kind, source, dish, rng), start, words


def _draw_things(
    kitchen: Kitchen, rng: np.random.Generator, dishes: tuple[Container, ...]
) -> tuple[ObjectKind, Container, Container]:
    kinds = select(kitchen.split, "cookable")
    return one_of(rng, kinds), one_of(rng, PANS), one_of(rng, dishes)


def _draw_places(dish: Container, rng: np.random.Generator) -> _Places:
    side = either(rng)
    stove = Stove(y=uniform(rng, -0.3, 0.3), width=uniform(rng, 0.60, 0.66))
    burner_x, burner_y = stove.burner(one_of(rng, LOCATIONS))
    dish_y = stove.y + side * (stove.width / 2 + 0.03 + dish.radius + uniform(rng, 0.0, 0.10))
    return _Places(
        stove=stove,
        side=side,
        pan=(burner_x + uniform(rng, -0.02, 0.02), burner_y + uniform(rng, -0.02, 0.02)),
        dish=(uniform(rng, 0.14, 0.26), dish_y),
    )


def _lying_in(
    source: Container, middle: tuple[float, float], kind: ObjectKind, top: float, rng: np.random.Generator
) -> Pose:
    """Pose of an object near the middle of `source`."""
    x, y = middle[0] + uniform(rng, -0.015, 0.015), middle[1] + uniform(rng, -0.015, 0.015)
    return x, y, top + source.floor + kind.half[2] + CLEARANCE, uniform(rng, -0.5, 0.5)


def _base(places: _Places, rng: np.random.Generator) -> tuple[float, float, float]:
    """Before the stove, between the pan and the dish; nearer to a pan at the rear, which is at the end of reach."""
    (pan_x, pan_y), (_, dish_y) = places.pan, places.dish
    rear = pan_x > COUNTER_DEPTH / 2
    x = -uniform(rng, 0.19, 0.24) if rear else -uniform(rng, 0.24, 0.34)
    y = pan_y + (0.28 if rear else 0.5) * (dish_y - pan_y) + uniform(rng, -0.05, 0.05)
    return x, y, uniform(rng, -0.08, 0.08)


def _plan(
    task: str, kitchen: Kitchen, places: _Places, kind: ObjectKind,
    source: tuple[Container, tuple[float, float, float]], container: Container, rng: np.random.Generator,
) -> Plan:  # fmt: skip
    stove, side = places.stove, places.side
    return Plan(
        task=task,
        kitchen=kitchen,
        fixtures=(stove,),
        parts=(Part(target="object", goal="container"),),
        clear=(stove.y - 0.9, stove.y + 0.9),
        wall_clear=(stove.y - 0.6, stove.y + 0.6),
        kind=kind,
        container=container,
        source=source,
        clutter=draw_clutter(rng, (stove.y - side * 0.55, stove.y + side * 0.80)),
    )


PLANNERS: dict[str, Planner] = {"PnPCounterToStove": _counter_to_stove, "PnPStoveToCounter": _stove_to_counter}
