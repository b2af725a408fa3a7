"""Driving lanes with the expert, and looking at contacts: what several tests of the kitchen need."""

from collections.abc import Sequence

import mujoco
import numpy as np
from numpy.typing import NDArray

from z1_envs import tasks
from z1_envs.kitchen.experts.expert import expert_actions
from z1_envs.kitchen.lanes import KitchenLanes

TASKS = tuple(tasks.TASKS)
# One task of each way of working, for what is long and does not depend on the task.
SOME_TASKS = ("OpenDrawer", "OpenDoubleDoor", "TurnOnStove", "TurnOnMicrowave", "PnPCounterToStove", "CoffeeServeMug")
_STATE = mujoco.mjtState.mjSTATE_INTEGRATION


def started(task: str, seeds: Sequence[int], *, num_threads: int = 1) -> KitchenLanes:
    """One lane per seed, at its start."""
    lanes = KitchenLanes(task, len(seeds), num_threads=num_threads)
    lanes.start(list(seeds), 1)
    return lanes


def all_of(lanes: KitchenLanes) -> NDArray[np.int32]:
    """Indices of all lanes."""
    return np.arange(lanes.num_lanes, dtype=np.int32)


def follow_expert(lanes: KitchenLanes, num_steps: int) -> list[NDArray[np.float32]]:
    """Steps all lanes under the expert, also after success; the actions [L, 12] of each step."""
    actions = []
    for _ in range(num_steps):
        actions.append(expert_actions(lanes.task.name, lanes.geometry(all_of(lanes))))
        lanes.step(all_of(lanes), actions[-1])
    return actions


def robot_touches(model: mujoco.MjModel, row: NDArray[np.float64]) -> set[str]:
    """Names of the geoms that are pressed against the robot in the state `row`."""
    data = mujoco.MjData(model)
    mujoco.mj_setState(model, data, row, _STATE)
    mujoco.mj_forward(model, data)
    touched = set()
    for contact in data.contact:
        names = [model.geom(geom).name for geom in contact.geom]
        if any(name.startswith("robot0") for name in names):
            touched |= {name for name in names if not name.startswith("robot0")}
    return touched
