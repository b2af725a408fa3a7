"""Records episodes of random actions in the official RoboCasa as a dataset: official_episodes.py FOLDER."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from z1_envs.demos import Demonstrations, one_episode
from z1_envs.layout import ACTION
from z1_envs.lerobot_writer import write_lerobot
from z1_envs.robocasa.env import RoboCasaEnv
from z1_envs.robocasa.options import RoboCasaOptions

PX, HORIZON, NUM_EPISODES = 64, 20, 2  # [px], [steps]


def episodes() -> Iterator[Demonstrations]:
    """One part per episode; nothing succeeds, which the data deny."""
    env = RoboCasaEnv("OpenDrawer", RoboCasaOptions(obs="pixels", image_px=PX, horizon=HORIZON))
    rng = np.random.default_rng(0)
    for seed in range(NUM_EPISODES):
        observation, info = env.reset(seed=seed)
        seen, actions = [], []
        for _ in range(HORIZON):
            actions.append(rng.uniform(-1, 1, ACTION.width).astype(np.float32))
            seen.append(observation)
            observation, *_, info = env.step(actions[-1])
        yield one_episode("OpenDrawer", seen, actions, {**info, "success": True}, seed=seed)
    env.close()


if __name__ == "__main__":
    write_lerobot(episodes(), Path(sys.argv[1]))
