"""Control steps per second of 64 lanes, against nothing but `mj_step` on the same models.

    python benchmarks/simulation.py [--json FILE]

The expert's actions are recorded once per task. Then three runners replay them in turn, ten steps at a time, so
that all of them meet the machine in the same state: bare `mj_step` with the recorded servo targets, and the vector
env (control, physics, success, observation, infos), each on one and on two threads. Where other processes use the
cores, bare `mj_step` gains nothing from a second thread either.
"""

import argparse
import json
import platform
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import mujoco
import numpy as np
from numpy.typing import NDArray

from z1_envs.kitchen.env import KitchenVectorEnv
from z1_envs.kitchen.experts.expert import expert_actions
from z1_envs.kitchen.physics import default_threads
from z1_envs.kitchen.scene import NUM_SUBSTEPS, available_tasks

NUM_LANES, NUM_STEPS, BLOCK = 64, 80, 10  # block: steps before the next runner's turn
RATIOS = {  # name: above, below, wanted
    "env / mj_step, 1 thread": ("env 1", "mj_step 1", 0.85),
    "env / mj_step, 2 threads": ("env 2", "mj_step 2", 0.85),
    "env, 2 threads / 1": ("env 2", "env 1", 1.8),
    "mj_step, 2 threads / 1": ("mj_step 2", "mj_step 1", None),
}
_STATE = mujoco.mjtState.mjSTATE_INTEGRATION


@dataclass(frozen=True)
class Step:
    """One recorded step: the lanes that moved [n], actions [L, 12], their servo targets [n, 13]."""

    lanes: NDArray[np.int64]
    actions: NDArray[np.float64]
    targets: NDArray[np.float64]


def record(task: str) -> list[Step]:
    """What the expert does in 64 scenes."""
    envs = KitchenVectorEnv(task, num_envs=NUM_LANES)
    envs.reset(seed=0)
    steps = []
    for _ in range(NUM_STEPS):
        lanes = np.flatnonzero(~envs.finished)
        actions = np.zeros((NUM_LANES, 12))
        actions[lanes] = expert_actions(task, envs.lanes.geometry(lanes.astype(np.int32)))
        envs.step(actions)
        steps.append(Step(lanes, actions, envs.lanes.physics.ctrl[lanes].copy()))
        if envs.finished.all():
            break
    envs.close()
    return steps


def bare(task: str, num_threads: int) -> Callable[[Step], None]:
    """A runner of nothing but `mj_step`, one MjData per lane."""
    envs = KitchenVectorEnv(task, num_envs=NUM_LANES)
    envs.reset(seed=0)
    models = [scene.model for scene in envs.lanes.scenes]
    datas = [mujoco.MjData(model) for model in models]
    for model, data, row in zip(models, datas, envs.lanes.physics.rows, strict=True):
        mujoco.mj_setState(model, data, row, _STATE)
    pool = ThreadPoolExecutor(num_threads)

    def advance(lanes: list[int], targets: NDArray[np.float64]) -> None:
        for lane, target in zip(lanes, targets, strict=True):
            datas[lane].ctrl[:] = target
            mujoco.mj_step(models[lane], datas[lane], NUM_SUBSTEPS)

    def run(step: Step) -> None:
        parts = [slice(i, None, num_threads) for i in range(num_threads)]
        list(pool.map(lambda part: advance(step.lanes[part].tolist(), step.targets[part]), parts))

    return run


def vector(task: str, num_threads: int) -> Callable[[Step], None]:
    """A runner of the vector env."""
    envs = KitchenVectorEnv(task, num_envs=NUM_LANES, num_threads=num_threads)
    envs.reset(seed=0)

    def run(step: Step) -> None:
        envs.step(step.actions)

    return run


def measure(task: str) -> dict[str, float]:
    """Steps/s of each runner, and their ratios."""
    steps = record(task)
    runners = {f"mj_step {n}": bare(task, n) for n in (1, 2)} | {f"env {n}": vector(task, n) for n in (1, 2)}
    seconds = dict.fromkeys(runners, 0.0)
    for start in range(0, len(steps), BLOCK):
        for name, run in runners.items():
            began = time.perf_counter()
            for step in steps[start : start + BLOCK]:
                run(step)
            seconds[name] += time.perf_counter() - began
    num_steps = sum(len(step.lanes) for step in steps)
    rates = {name: num_steps / taken for name, taken in seconds.items()}
    return rates | {name: rates[above] / rates[below] for name, (above, below, _) in RATIOS.items()}


def main() -> None:
    """Measures all tasks and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    arguments = parser.parse_args()
    machine = f"{platform.machine()}, {default_threads()} cores, MuJoCo {mujoco.__version__}"
    print(f"Control steps/s with {NUM_LANES} lanes on {machine}")
    results = {task: measure(task) for task in available_tasks()}
    print(f"{'':26}" + "".join(f"{task:>18}" for task in results) + f"{'wanted':>8}")
    for name in next(iter(results.values())):
        wanted = RATIOS[name][2] if name in RATIOS else None
        cells = (f"{found[name]:18.2f}" if name in RATIOS else f"{found[name]:18.0f}" for found in results.values())
        print(f"{name:26}" + "".join(cells) + (f"{wanted:8.2f}" if wanted else ""))
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine, "tasks": results}, indent=1))


if __name__ == "__main__":
    main()
