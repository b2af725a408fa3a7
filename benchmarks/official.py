"""Our env of the official RoboCasa against RoboCasa's own env, side by side in one run.

    z1 assets stand-in /tmp/pack && export ROBOCASA_ASSETS_PATH=/tmp/pack     # where the official assets are not there
    python benchmarks/official.py [--tasks OpenDrawer …] [--rounds 5] [--json FILE]

Both hold the same scene and take the same random actions, in turns. Without images, both step one action at a time.
With three images of 128 px, RoboCasa's own env draws at each step, ours where a policy looks: once per chunk of 10.
Then what it costs to start a group of 8: one reset and the rest by restore, against 8 resets; and from a start seen
before. Last, what a snapshot costs, and what a process with one scene weighs.
"""

import argparse
import functools
import json
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import gymnasium as gym
import mujoco
import numpy as np
from numpy.typing import NDArray

import z1_envs  # noqa: F401 (registers the envs)
from z1_envs.layout import ACTION, CAMERAS
from z1_envs.processes import machine
from z1_envs.robocasa import compat, preflight
from z1_envs.robocasa.env import RoboCasaEnv
from z1_envs.robocasa.official import choose_fixture
from z1_envs.robocasa.options import RoboCasaOptions
from z1_envs.snapshot import SnapshotRestore
from z1_envs.tasks import TASKS, get_task

CHUNK_LEN, GROUP_SIZE, IMAGE_PX, SEED = 10, 8, 128, 0
STATE, PIXELS = RoboCasaOptions(horizon=10**6), RoboCasaOptions(horizon=10**6, obs="pixels", image_px=IMAGE_PX)


def milliseconds(work: Callable[[], Any]) -> float:
    """Wall time of one call."""
    began = time.perf_counter()
    work()
    return 1e3 * (time.perf_counter() - began)


def own_env(task: str, *, draws: bool) -> Any:
    """RoboCasa's own env of `task`, in the scene that ours draws from SEED."""
    ready = preflight.check(task, PIXELS if draws else STATE)
    compat.load(None)
    import robosuite  # after compat.load, which decides the folder of assets
    from robosuite.controllers import load_composite_controller_config

    official = robosuite.make(
        ready.row.class_name,
        robots="PandaOmron",
        controller_configs=load_composite_controller_config(robot="PandaOmron"),
        has_renderer=False,
        has_offscreen_renderer=draws,
        use_camera_obs=draws,
        camera_names=list(CAMERAS.values()),
        camera_heights=IMAGE_PX,
        camera_widths=IMAGE_PX,
        ignore_done=True,
        layout_and_style_ids=list(ready.kitchens),
        obj_instance_split=ready.objects,
    )
    official.rng = rng = np.random.default_rng([SEED, 0])
    choose_fixture(official, ready, rng)
    official.reset()
    return official


def steps_per_second(task: str, rounds: int, *, draws: bool, actions: NDArray[np.float32]) -> tuple[float, float]:
    """Ours and theirs: medians over rounds of one pass over `actions` [n, 12]."""
    ours, theirs = RoboCasaEnv(task, PIXELS if draws else STATE), own_env(task, draws=draws)
    ours.reset(seed=SEED)
    start = ours.get_state()

    def our_pass() -> None:
        if draws:
            for chunk in actions.reshape(-1, CHUNK_LEN, ACTION.width):
                ours.step_chunk(chunk)
        else:
            for action in actions:
                ours.step(action)

    def their_pass() -> None:
        for action in actions:
            theirs.step(action.astype(np.float64))

    taken: dict[str, list[float]] = {"ours": [], "theirs": []}
    for _ in range(rounds):
        ours.set_state(start)  # random actions for long lead to places without contacts, or success
        taken["ours"].append(milliseconds(our_pass))
        taken["theirs"].append(milliseconds(their_pass))
    ours.close()
    theirs.close()
    return tuple(1e3 * len(actions) / statistics.median(times) for times in taken.values())  # pyright: ignore


def group_start(task: str, rounds: int) -> dict[str, float]:
    """[ms] of 8 resets, of a group of 8 in a new scene, and of one whose seed was seen before."""
    resets: list[float] = []
    env = RoboCasaEnv(task, STATE)
    for seed in range(rounds):
        resets.append(milliseconds(functools.partial(env.reset, seed=100 + seed)))
    env.close()
    envs = gym.make_vec(f"Z1-RoboCasa-{task}", num_envs=GROUP_SIZE, group_size=GROUP_SIZE, backend="robocasa",
                        num_workers=1)  # fmt: skip
    new = [milliseconds(functools.partial(envs.reset, seed=100 + seed)) for seed in range(rounds)]
    seen = [milliseconds(functools.partial(envs.reset, seed=100 + seed)) for seed in range(rounds)]
    envs.close()
    return {
        "8 resets, ms": GROUP_SIZE * statistics.median(resets),
        "new group, ms": statistics.median(new),
        "seen group, ms": statistics.median(seen),
    }


def snapshots_and_memory(task: str) -> dict[str, float]:
    """[ms] to save and to restore; [MiB] of a process with one scene."""
    env = SnapshotRestore(RoboCasaEnv(task, STATE))
    env.reset(seed=SEED)
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    saves, restores = [], []
    for _ in range(50):
        env.step(np.zeros(ACTION.width, np.float32))
        saves.append(milliseconds(env.snapshot))
        restores.append(milliseconds(functools.partial(env.restore, env.snapshot())))
    env.close()
    return {"save, ms": statistics.median(saves), "restore, ms": statistics.median(restores), "memory, MiB": resident}


def measure(task: str, rounds: int) -> dict[str, float]:
    """All numbers of one task."""
    actions = np.random.default_rng(SEED).uniform(-1, 1, (5 * CHUNK_LEN, ACTION.width)).astype(np.float32)
    first = snapshots_and_memory(task)  # while the process has nothing else
    plain = steps_per_second(task, rounds, draws=False, actions=actions)
    row = {"ours, steps/s": plain[0], "theirs, steps/s": plain[1], "ratio": plain[0] / plain[1]}
    drawn = steps_per_second(task, rounds, draws=True, actions=actions)
    row |= {
        "ours, images per chunk": drawn[0],
        "theirs, images per step": drawn[1],
        "ratio, images": drawn[0] / drawn[1],
    }
    return first | row | group_start(task, rounds)


def main() -> None:
    """Measures the tasks one by one, then prints a table and writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--tasks", nargs="+", default=["OpenDrawer", "PnPCounterToSink", "TurnOnStove", "TurnOnMicrowave"]
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    tasks = [get_task(name).name for name in (TASKS if options.tasks == ["all"] else options.tasks)]
    rows: dict[str, dict[str, float]] = {}
    for task in tasks:
        # A process per task: RoboCasa keeps what it has read for others.
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
            row = rows[task] = process.submit(measure, task, options.rounds).result()
        if len(rows) == 1:
            print(f"| task | {' | '.join(row)} |\n{'|---' * (len(row) + 1)}|")
        print(f"| {task} | " + " | ".join(f"{value:.3g}" for value in row.values()) + " |", flush=True)
    about = f"mujoco {mujoco.__version__}, numpy {np.__version__}, {machine()}"
    print(about)
    if options.json:
        options.json.write_text(json.dumps({"about": about, "rows": rows}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
