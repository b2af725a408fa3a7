"""How often the scripted experts succeed, and how long they take, on all tasks.

    python benchmarks/experts.py [--tasks OpenDrawer …] [--episodes 100] [--json FILE]

Episodes of at most 300 steps from seeds 0 on: without noise; with noise on the executed action as in demonstrations
(standard deviation 0.15); and without noise in held-out kitchens with held-out objects (split "test").
"""

import argparse
import json
from pathlib import Path

import numpy as np

from z1_envs.kitchen.demos import NOISE_SHAPE
from z1_envs.kitchen.experts.expert import expert_actions
from z1_envs.kitchen.lanes import KitchenLanes
from z1_envs.kitchen.scene import SceneOptions
from z1_envs.tasks import TASKS, get_task

HORIZON, NOISE = 300, 0.15


def run(task: str, num_episodes: int, options: SceneOptions, noise: float) -> tuple[float, float]:
    """Share of episodes that succeed, and the median length of these [steps]."""
    lanes = KitchenLanes(task, num_episodes, options=options)
    lanes.start(list(range(num_episodes)), 1)
    rng = np.random.default_rng(0)
    won = np.zeros(num_episodes, dtype=bool)
    length = np.full(num_episodes, np.nan)
    for step in range(HORIZON):
        going = np.flatnonzero(~won).astype(np.int32)
        if len(going) == 0:
            break
        actions = expert_actions(task, lanes.geometry(going))
        disturbed = np.clip(actions + rng.normal(0, noise, actions.shape) * NOISE_SHAPE, -1, 1)
        won[going] = lanes.step(going, disturbed).success
        length[going[won[going]]] = step + 1
    return float(won.mean()), float(np.nanmedian(length)) if won.any() else float("nan")


def main() -> None:
    """Measures the tasks one by one and prints a row for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), help="by default all 24")
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    arguments = parser.parse_args()
    columns = {
        "success": (SceneOptions(), 0.0),
        f"noise {NOISE}": (SceneOptions(), NOISE),
        "held out": (SceneOptions(split="test"), 0.0),
    }
    print(f"{'task':24}{'steps':>8}" + "".join(f"{name:>12}" for name in columns))
    results = {}
    for task in (get_task(name).name for name in arguments.tasks):
        found = {name: run(task, arguments.episodes, *how) for name, how in columns.items()}
        results[task] = {name: rate for name, (rate, _) in found.items()} | {"steps": found["success"][1]}
        cells = "".join(f"{rate:12.0%}" for rate, _ in found.values())
        print(f"{task:24}{found['success'][1]:8.0f}{cells}", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps({"episodes": arguments.episodes, "tasks": results}, indent=1))


if __name__ == "__main__":
    main()
