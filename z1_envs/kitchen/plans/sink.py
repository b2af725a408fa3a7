"""Faucet and spout of the sink (RoboCasa v0.2 single_stage/kitchen_sink.py). The robot stands in front of it."""

import numpy as np

from z1_envs.kitchen.clutter import draw_clutter
from z1_envs.kitchen.fixtures.sink import Sink
from z1_envs.kitchen.plans.pick_sink import draw_sink
from z1_envs.kitchen.plans.plan import Joints, Kitchen, Part, Plan, Planned, Planner, Start, either, uniform
from z1_envs.kitchen.plans.postures import LEANING, noisy

_RUNNING = (0.405, 0.50)  # [rad] of the lever; RoboCasa draws from 0.40 on, where the water just does not run yet
_TURNED_AWAY = (0.0, 0.45)  # [rad] of the spout, away from where its lever is turned


def _turn_on(task: str, kitchen: Kitchen, rng: np.random.Generator) -> Planned:
    """The lever is closed."""
    sink = draw_sink(rng)
    part = Part(target="handle_tip", goal="handle_on", joint="handle")
    return _planned(task, kitchen, sink, part, _spout_away(sink, rng), sink.handle_side, rng)


def _turn_off(task: str, kitchen: Kitchen, rng: np.random.Generator) -> Planned:
    """Water runs."""
    sink = draw_sink(rng)
    part = Part(target="handle_tip", goal="handle_off", joint="handle")
    joints = (("handle", uniform(rng, *_RUNNING)), *_spout_away(sink, rng))
    return _planned(task, kitchen, sink, part, joints, sink.handle_side, rng)


def _turn_spout(task: str, kitchen: Kitchen, rng: np.random.Generator) -> Planned:
    """The spout points anywhere but to the side that is asked for."""
    side = either(rng)
    word = "left" if side > 0 else "right"
    sink = draw_sink(rng)
    part = Part(target="spout_tip", goal=f"spout_{word}", joint="spout", unit=float(side))
    joints = (("spout", side * uniform(rng, -0.9, 0.35)),)
    plan, start, _ = _planned(task, kitchen, sink, part, joints, either(rng), rng)
    return plan, start, {"side": word}


def _spout_away(sink: Sink, rng: np.random.Generator) -> Joints:
    return (("spout", -sink.handle_side * uniform(rng, *_TURNED_AWAY)),)


def _planned(
    task: str, kitchen: Kitchen, sink: Sink, part: Part, joints: Joints, side: int, rng: np.random.Generator
) -> Planned:
    """side: +1 for a robot that stands rather to the left."""
    plan = Plan(
        task=task,
        kitchen=kitchen,
        fixtures=(sink,),
        parts=(part,),
        clear=(sink.y - 0.8, sink.y + 0.8),
        wall_clear=(sink.y - 0.6, sink.y + 0.6),
        clutter=draw_clutter(rng, (sink.y - uniform(rng, 0.5, 0.65), sink.y + uniform(rng, 0.5, 0.65))),
    )
    start = Start(
        base=(-uniform(rng, 0.22, 0.30), sink.y + side * uniform(rng, -0.1, 0.2), uniform(rng, -0.10, 0.10)),
        torso=uniform(rng, 0.06, 0.16),
        arm=noisy(LEANING, rng),
        joints=joints,
    )
    return plan, start, {}


PLANNERS: dict[str, Planner] = {
    "TurnOnSinkFaucet": _turn_on,
    "TurnOffSinkFaucet": _turn_off,
    "TurnSinkSpout": _turn_spout,
}
