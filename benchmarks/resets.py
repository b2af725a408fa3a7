"""What starting episodes costs: time of a group's reset in new scenes and in one seen lately, and growth of memory.

    python benchmarks/resets.py [--tasks OpenDrawer …] [--resets 2000] [--json FILE]

A group of 8 lanes is reset with a new seed each time, then again with the same one. Memory is the process's resident
set: after a tenth of the resets, when all caches are full, and after all of them.
"""

import argparse
import json
import resource
import time
from pathlib import Path

import mujoco
import numpy as np

from z1_envs.kitchen.env import KitchenVectorEnv
from z1_envs.processes import machine
from z1_envs.tasks import TASKS, get_task

GROUP_SIZE = 8
WANTED_MS, WANTED_MB = 150, 20  # at most


def resident_mb() -> float:
    """Memory of this process now [MB]."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def measure(task: str, num_resets: int) -> dict[str, float]:
    """Medians of a reset [ms] and growth [MB]."""
    envs = KitchenVectorEnv(task, num_envs=GROUP_SIZE, group_size=GROUP_SIZE, num_threads=1)
    actions = np.zeros((GROUP_SIZE, 12))
    taken: dict[str, list[float]] = {"new": [], "seen": []}
    start = resident_mb()
    early = 0.0
    for index in range(num_resets // 2):
        for occasion in taken:
            began = time.perf_counter()
            envs.reset(seed=index)
            taken[occasion].append(1e3 * (time.perf_counter() - began))
            envs.step(actions)
        if index == num_resets // 20:
            early = resident_mb()
    end = resident_mb()
    envs.close()
    return {
        "new scene, ms": float(np.median(taken["new"])),
        "seen lately, ms": float(np.median(taken["seen"])),
        "growth, MB": end - start,
        "after a tenth, MB": end - early,
    }


def main() -> None:
    """Measures the tasks one by one and prints a row for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), help="by default all 24")
    parser.add_argument("--resets", type=int, default=2000, help="per task")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    arguments = parser.parse_args()
    about = f"{machine()}, MuJoCo {mujoco.__version__}"
    print(f"{arguments.resets} resets per task on {about}; wanted at most {WANTED_MS} ms and {WANTED_MB} MB")
    results = {}
    for task in (get_task(name).name for name in arguments.tasks):
        results[task] = measure(task, arguments.resets)
        if len(results) == 1:
            print(f"{'task':24}" + "".join(f"{name:>20}" for name in results[task]))
        print(f"{task:24}" + "".join(f"{number:20.1f}" for number in results[task].values()), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": about, "tasks": results}, indent=1))


if __name__ == "__main__":
    main()
