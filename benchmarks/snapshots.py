"""What it costs to save, restore, branch and start again.

    python benchmarks/snapshots.py [--json FILE]

Times per call, the median over many calls; the share of a control step says what that means for a rollout.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import gymnasium as gym
import mujoco
import numpy as np

from z1_envs.kitchen.env import KitchenVectorEnv
from z1_envs.kitchen.experts.expert import expert_actions
from z1_envs.kitchen.scene import make_scene
from z1_envs.processes import machine
from z1_envs.snapshot import SnapshotRestore

TASK, NUM_LANES, GROUP = "OpenDrawer", 64, 8
WANTED = {"save a lane": 20e-6, "restore a lane": 20e-6, "branch 64 lanes": 2e-3}  # [s]


def median_time(call: Callable[[], object], repeats: int = 200) -> float:
    """Seconds of one call."""
    taken = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return float(np.median(taken))


def vector_env() -> dict[str, float]:
    """Seconds of what 64 lanes do."""
    envs = KitchenVectorEnv(TASK, num_envs=NUM_LANES, group_size=GROUP, num_threads=1)
    envs.reset(seed=0)
    everything = np.arange(NUM_LANES, dtype=np.int32)
    for _ in range(10):
        envs.step(expert_actions(TASK, envs.lanes.geometry(everything)))
    saved = envs.save()
    index = np.arange(NUM_LANES)
    leaders, followers = index // GROUP * GROUP, np.roll(index.reshape(-1, GROUP), 1, axis=1).ravel()
    still = np.zeros((NUM_LANES, 12))
    found = {
        "control step of a lane": median_time(lambda: envs.step(still), 30) / NUM_LANES,
        "save a lane": median_time(envs.save) / NUM_LANES,
        "restore a lane": median_time(lambda: envs.restore(saved)) / NUM_LANES,
        "restore one lane of 64": median_time(lambda: envs.restore(saved[:1], [0])),
        "branch 64 lanes": median_time(lambda: envs.branch(followers)),
        "branch from 8 leaders": median_time(lambda: envs.branch(leaders)),
    }
    seeds = iter(range(1000, 10_000, 100))

    def reset_cold() -> None:
        make_scene.cache_clear()
        envs.reset(seed=next(seeds))

    found["reset of a group, new scene"] = median_time(reset_cold, 20) / envs.num_groups
    found["reset of a group, scene known"] = median_time(lambda: envs.reset(seed=0), 20) / envs.num_groups
    return found


def single_env() -> dict[str, float]:
    """Seconds of SnapshotRestore around gym.make."""
    env = SnapshotRestore(gym.make(f"Z1-RoboCasa-{TASK}"))
    env.reset(seed=0)
    for _ in range(10):
        env.step(np.zeros(12))
    snapshot = env.snapshot()
    return {
        "gym.make: step": median_time(lambda: env.step(np.zeros(12)), 100),
        "gym.make: snapshot": median_time(env.snapshot),
        "gym.make: restore": median_time(lambda: env.restore(snapshot)),
    }


def main() -> None:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    arguments = parser.parse_args()
    about = f"{machine()}, MuJoCo {mujoco.__version__}"
    found = vector_env() | single_env()
    step = found["control step of a lane"]
    print(f"{TASK}, {NUM_LANES} lanes in groups of {GROUP}, one thread, on {about}")
    print(f"{'':32}{'us':>10}{'steps':>9}{'wanted us':>11}")
    for name, seconds in found.items():
        wanted = f"{WANTED[name] * 1e6:11.0f}" if name in WANTED else ""
        print(f"{name:32}{seconds * 1e6:10.1f}{seconds / step:9.2f}{wanted}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": about, "wanted": WANTED, "seconds": found}, indent=1))


if __name__ == "__main__":
    main()
