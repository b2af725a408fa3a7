"""Doors of wall cabinets and microwaves (RoboCasa v0.2 single_stage/kitchen_doors.py)."""

import numpy as np

from z1_envs.kitchen.clutter import draw_clutter
from z1_envs.kitchen.fixtures.cabinet import WallCabinet
from z1_envs.kitchen.plans.plan import Kitchen, Part, Plan, Planned, Planner, Start, either, uniform
from z1_envs.kitchen.plans.postures import FORWARD_LEFT_HIGH, mirrored, noisy

_RIGHT_ANGLE = np.pi / 2


def _close_single(task: str, kitchen: Kitchen, rng: np.random.Generator) -> Planned:
    """The door stands 0.90 to 1.0 of a right angle open."""
    hinge = either(rng)
    cabinet = WallCabinet(
        y=uniform(rng, -0.3, 0.3),
        bottom=uniform(rng, 1.36, 1.46),
        width=uniform(rng, 0.36, 0.46),
        height=uniform(rng, 0.50, 0.62),
        hinge=hinge,
        handle_length=uniform(rng, 0.10, 0.16),
        push_radius=uniform(rng, 0.55, 0.65),
    )
    plan = Plan(
        task=task,
        kitchen=kitchen,
        fixtures=(cabinet,),
        parts=(Part(target="door_push", goal="door_push_closed", joint="door", unit=_RIGHT_ANGLE),),
        clear=(cabinet.y - 0.6, cabinet.y + 0.6),
        wall_clear=(cabinet.y - 0.6, cabinet.y + 0.6),
        clutter=draw_clutter(rng, (-0.6, 0.0, 0.6)),
    )
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
    return plan, start, {"fixture": "cabinet"}


PLANNERS: dict[str, Planner] = {"CloseSingleDoor": _close_single}
