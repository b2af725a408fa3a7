"""TurnOnStove and TurnOffStove: one of four knobs (RoboCasa v0.2 single_stage/kitchen_stove.py)."""

from dataclasses import replace

import numpy as np

from z1_envs.kitchen.clutter import draw_clutter
from z1_envs.kitchen.containers import PANS, Container
from z1_envs.kitchen.fixtures.stove import LOCATIONS, Stove
from z1_envs.kitchen.plans.plan import Kitchen, Part, Plan, Planned, Planner, Start, either, one_of, uniform
from z1_envs.kitchen.plans.postures import GRASP_LEFT_LOW, on_side

# Without handles, which would hang over the knobs of the front.
_POTS = tuple(
    replace(pan, name="pot", floor_radius=0.065, inner_radius=0.092, height=0.085, handle=0.0) for pan in PANS
)
_COOKED_ON = 0.6  # probability that pot or pan stands on the burner that is asked for


def _turn_on(task: str, kitchen: Kitchen, rng: np.random.Generator) -> Planned:
    """All knobs are upright."""
    return _planned(task, kitchen, 0.0, rng)


def _turn_off(task: str, kitchen: Kitchen, rng: np.random.Generator) -> Planned:
    """The knob is turned, either way."""
    return _planned(task, kitchen, either(rng) * uniform(rng, 0.50, np.pi / 2), rng)


def _planned(task: str, kitchen: Kitchen, angle: float, rng: np.random.Generator) -> Planned:
    location, side = one_of(rng, LOCATIONS), either(rng)
    stove = Stove(y=uniform(rng, -0.2, 0.2), width=uniform(rng, 0.66, 0.76))
    knob = f"knob_{location}"
    plan = Plan(
        task=task,
        kitchen=kitchen,
        fixtures=(stove,),
        parts=(Part(target=knob, goal=knob, joint=knob),),
        clear=(stove.y - 0.6, stove.y + 0.6),
        wall_clear=(stove.y - 0.5, stove.y + 0.5),
        source=_draw_cookware(kitchen, stove, location, rng),
        clutter=draw_clutter(rng, (stove.y - uniform(rng, 0.55, 0.65), stove.y + uniform(rng, 0.55, 0.65))),
    )
    start = Start(
        base=(
            stove.knob_x - uniform(rng, 0.54, 0.68),
            stove.knob_y(location) - side * uniform(rng, 0.28, 0.46),
            uniform(rng, -0.10, 0.10),
        ),
        torso=uniform(rng, 0.02, 0.10),
        arm=on_side(GRASP_LEFT_LOW, side, rng),
        joints=((knob, angle),),
    )
    return plan, start, {"burner": location.replace("_", " ")}


def _draw_cookware(
    kitchen: Kitchen, stove: Stove, asked: str, rng: np.random.Generator
) -> tuple[Container, tuple[float, float, float]]:
    """A pot or pan on the burner that is asked for, or on another."""
    others = [location for location in LOCATIONS if location != asked]
    location = asked if rng.random() < _COOKED_ON else one_of(rng, others)
    fitting = _POTS if location.startswith("front") else (*_POTS, *PANS)
    x, y = stove.burner(location)
    return one_of(rng, fitting), (x, y, kitchen.counter_top + 0.001)


PLANNERS: dict[str, Planner] = {"TurnOnStove": _turn_on, "TurnOffStove": _turn_off}
