"""Control steps per second of 64 lanes, against nothing but `mj_step` on the same models, for all tasks.

    python benchmarks/simulation.py [--tasks OpenDrawer …] [--json FILE]

The expert's actions are recorded once per task. Then three runners replay them in turn, five steps at a time, so
that all of them meet the machine in the same state: bare `mj_step` with the recorded servo targets, and the vector
env (control, physics, success, observation, infos), each on one and on two threads. Where other processes use the
cores, bare `mj_step` gains nothing from a second thread either. The last column compares with what the official
RoboCasa does at best on two virtual cores, 45 steps/s (v0.2, measured elsewhere).
"""

import argparse
import json
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
from z1_envs.kitchen.scene import NUM_SUBSTEPS
from z1_envs.processes import machine
from z1_envs.tasks import TASKS, get_task

NUM_LANES, NUM_STEPS, BLOCK = 64, 60, 5  # block: steps before the next runner's turn
OFFICIAL = 45  # [steps/s]
# Column: format, wanted at least.
COLUMNS = {
    "steps/s, 1 thread": (".0f", None),
    "/ mj_step": (".2f", 0.85),
    "2 threads / 1": (".2f", 1.8),
    "mj_step: 2 / 1": (".2f", None),
    "/ official": (".0f", 40),
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
    """A row of the table: medians over blocks of steps, and over rounds."""
    steps = record(task)
    seconds: dict[str, list[float]] = {}
    num_steps = []
    for _ in range(-(-NUM_STEPS // len(steps))):  # short episodes are repeated
        runners = {f"mj_step {n}": bare(task, n) for n in (1, 2)} | {f"env {n}": vector(task, n) for n in (1, 2)}
        for start in range(0, len(steps), BLOCK):
            block = steps[start : start + BLOCK]
            num_steps.append(sum(len(step.lanes) for step in block))
            for name, run in runners.items():
                began = time.perf_counter()
                for step in block:
                    run(step)
                seconds.setdefault(name, []).append(time.perf_counter() - began)
    taken = {name: np.array(times) for name, times in seconds.items()}
    # Blocks with few lanes, where most have finished, say little about 64.
    full = np.array(num_steps) >= BLOCK * NUM_LANES / 2
    rate = np.median((num_steps / taken["env 1"])[full])
    return {
        "steps/s, 1 thread": float(rate),
        "/ mj_step": float(np.median((taken["mj_step 1"] / taken["env 1"])[full])),
        "2 threads / 1": float(np.median((taken["env 1"] / taken["env 2"])[full])),
        "mj_step: 2 / 1": float(np.median((taken["mj_step 1"] / taken["mj_step 2"])[full])),
        "/ official": float(rate / OFFICIAL),
    }


def main() -> None:
    """Measures the tasks one by one, prints a row for each, then the medians and the least."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), help="by default all 24")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    arguments = parser.parse_args()
    about = f"{machine()}, MuJoCo {mujoco.__version__}"
    print(f"Control steps with {NUM_LANES} lanes on {about}")
    print(f"{'task':24}" + "".join(f"{name:>19}" for name in COLUMNS))
    results = {}
    for task in (get_task(name).name for name in arguments.tasks):
        results[task] = measure(task)
        print_row(task, results[task])
    for title, summary in (("median", np.median), ("least", np.min)):
        print_row(title, {name: float(summary([found[name] for found in results.values()])) for name in COLUMNS})
    print(f"{'wanted':24}" + "".join(f"{wanted or '':>19}" for _, wanted in COLUMNS.values()))
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": about, "tasks": results}, indent=1))


def print_row(title: str, numbers: dict[str, float]) -> None:
    """One line of the table."""
    print(f"{title:24}" + "".join(f"{numbers[name]:>19{style}}" for name, (style, _) in COLUMNS.items()), flush=True)


if __name__ == "__main__":
    main()
