"""OpenDrawer and CloseDrawer: a top drawer, the robot beside it (RoboCasa v0.2 single_stage/kitchen_drawer.py)."""

import numpy as np

from z1_envs.kitchen.clutter import draw_clutter
from z1_envs.kitchen.fixtures.drawer import Drawer
from z1_envs.kitchen.fixtures.fixture import HANDLE_REACH
from z1_envs.kitchen.plans.plan import STANDS_OPEN, Kitchen, Part, Plan, Planned, Planner, Start, either, uniform
from z1_envs.kitchen.plans.postures import DRAWN_BACK_LEFT_LOW, FORWARD_LEFT_LOW, on_side


def _open(task: str, kitchen: Kitchen, rng: np.random.Generator) -> Planned:
    side = either(rng)
    drawer = _draw(kitchen, rng)
    part = Part(target="drawer_handle", goal="drawer_handle_open", joint="drawer", unit=drawer.travel)
    start = Start(
        base=(
            -HANDLE_REACH - uniform(rng, 0.50, 0.62),
            drawer.y - side * uniform(rng, 0.27, 0.37),
            uniform(rng, -0.08, 0.08),
        ),
        torso=uniform(rng, 0.06, 0.14),
        arm=on_side(FORWARD_LEFT_LOW, side, rng),
    )
    return _plan(task, kitchen, drawer, part, rng), start, {"side": "left" if side > 0 else "right"}


def _close(task: str, kitchen: Kitchen, rng: np.random.Generator) -> Planned:
    """The drawer stands 0.90 to 1.0 of its travel open. The push point is on the robot's side, to be in reach."""
    side = either(rng)
    drawer = _draw(kitchen, rng, push_side=-side)
    part = Part(target="drawer_front", goal="drawer_front_closed", joint="drawer", unit=drawer.travel)
    start = Start(
        base=(
            -uniform(rng, 0.63, 0.72),
            drawer.y - side * uniform(rng, 0.15, 0.45),
            uniform(rng, -0.10, 0.10),
        ),
        torso=uniform(rng, 0.02, 0.10),
        arm=on_side(DRAWN_BACK_LEFT_LOW, side, rng),
        joints=(("drawer", uniform(rng, *STANDS_OPEN) * drawer.travel),),
    )
    return _plan(task, kitchen, drawer, part, rng), start, {"side": "left" if side > 0 else "right"}


def _draw(kitchen: Kitchen, rng: np.random.Generator, push_side: int = 1) -> Drawer:
    height = uniform(rng, 0.15, 0.20)
    return Drawer(
        y=uniform(rng, -0.3, 0.3),
        z=kitchen.counter_top - 0.05 - height / 2,
        width=uniform(rng, 0.34, 0.46),
        height=height,
        depth=uniform(rng, 0.44, 0.52),
        handle_length=uniform(rng, 0.12, 0.20),
        handle_z=uniform(rng, -0.01, 0.04),
        push_side=push_side,
    )


def _plan(task: str, kitchen: Kitchen, drawer: Drawer, part: Part, rng: np.random.Generator) -> Plan:
    return Plan(
        task=task,
        kitchen=kitchen,
        fixtures=(drawer,),
        parts=(part,),
        clear=(drawer.y - 0.6, drawer.y + 0.6),
        wall_clear=(0.0, 0.0),
        clutter=draw_clutter(rng, (-0.6, 0.0, 0.6)),
    )


PLANNERS: dict[str, Planner] = {"OpenDrawer": _open, "CloseDrawer": _close}
