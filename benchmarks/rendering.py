"""What images cost: three cameras per lane, against a control step.

    LP_NUM_THREADS=0 python benchmarks/rendering.py [--tasks OpenDrawer …] [--json FILE]

LP_NUM_THREADS=0 keeps Mesa's software renderer on one core; it is ignored by a GPU's driver.
"""

import argparse
import json
import os
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

from z1_envs.kitchen.env import KitchenVectorEnv
from z1_envs.processes import machine
from z1_envs.tasks import TASKS, get_task

NUM_LANES, NUM_ROUNDS = 8, 6
SIZES = (64, 128)  # [pixels]


def measure(task: str) -> dict[str, float]:
    """Milliseconds of a lane's control step with the vectors only, and of its three images at each size."""
    envs = {"step": KitchenVectorEnv(task, num_envs=NUM_LANES, num_threads=1)}
    for px in SIZES:
        envs[f"{px} px"] = KitchenVectorEnv(task, num_envs=NUM_LANES, num_threads=1, obs="pixels", image_px=px)
    actions = np.zeros((NUM_LANES, 12))
    for env in envs.values():
        env.reset(seed=0)
        env.step(actions)  # starts OpenGL, which is not what is measured
    seconds = dict.fromkeys(envs, 0.0)
    for _ in range(NUM_ROUNDS):
        for name, env in envs.items():
            began = time.perf_counter()
            env.step(actions)
            seconds[name] += time.perf_counter() - began
    for env in envs.values():
        env.close()
    per_lane = {name: 1e3 * taken / (NUM_ROUNDS * NUM_LANES) for name, taken in seconds.items()}
    return {name: taken if name == "step" else taken - per_lane["step"] for name, taken in per_lane.items()}


def main() -> None:
    """Measures all tasks and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), help="by default all 24")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    arguments = parser.parse_args()
    backend = os.environ.get("MUJOCO_GL") or "default"
    about = f"{machine()}, MuJoCo {version('mujoco')}, OpenGL {backend}"
    print(f"Three cameras per lane on {about}")
    heads = "".join(f"{f'{px} px, ms':>12}{'/ step':>8}" for px in SIZES)
    print(f"{'task':24}{'step, ms':>10}{heads}")
    results = {}
    for task in (get_task(name).name for name in arguments.tasks):
        found = results[task] = measure(task)
        cells = "".join(f"{found[f'{px} px']:12.2f}{found[f'{px} px'] / found['step']:8.1f}" for px in SIZES)
        print(f"{task:24}{found['step']:10.2f}{cells}", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": about, "milliseconds": results}, indent=1))


if __name__ == "__main__":
    main()
