"""The official RoboCasa: random chunks, two ways to go on from one moment, and a film of both.

python examples/robocasa_rollout.py

Runs on official assets, or on plain stand-ins: `z1 assets stand-in pack && export ROBOCASA_ASSETS_PATH=$PWD/pack`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

import z1_envs  # noqa: F401 (registers the envs)
from z1_envs.layout import STATE
from z1_envs.snapshot import SnapshotRestore
from z1_envs.video import STEPS_PER_PICTURE, film_writer


def roll(env: gym.Env, chunk: np.ndarray, append: Callable[[Any], None]) -> None:
    """Steps through `chunk` [10, 12] and films it."""
    for action in chunk:
        observation, _, _, _, info = env.step(action)
        if info["elapsed"] % STEPS_PER_PICTURE == 0:
            append(env.render())
    print(f"step {info['elapsed']}: gripper at {observation['state'][STATE['eef_position']].round(3)} m from the base")


def main() -> None:
    """One chunk, then two others, both from where it ended; writes rollout.mp4."""
    env = SnapshotRestore(gym.make("Z1-RoboCasa-PnPCounterToSink", backend="robocasa", render_mode="rgb_array"))
    trunk, first, second = np.random.default_rng(0).uniform(-1, 1, (3, 10, 12)).astype(np.float32)
    _, info = env.reset(seed=0)
    print(f"{info['instruction']!r} in scene {info['scene_id']}, backend {info['backend']}")
    with film_writer(Path("rollout.mp4")) as append:
        roll(env, trunk, append)
        moment = env.snapshot()
        roll(env, first, append)
        env.restore(moment)
        roll(env, second, append)
    env.close()
    print("rollout.mp4")


if __name__ == "__main__":
    main()
