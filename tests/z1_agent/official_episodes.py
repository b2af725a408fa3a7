"""Records episodes of random actions in the official RoboCasa as a dataset: official_episodes.py FOLDER."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from z1_envs.demos import Demonstrations
from z1_envs.layout import ACTION, CAMERAS
from z1_envs.lerobot_writer import write_lerobot
from z1_envs.robocasa.env import RoboCasaEnv
from z1_envs.robocasa.options import RoboCasaOptions

PX, HORIZON, NUM_EPISODES = 64, 20, 2  # [px], [steps]


def episodes() -> Iterator[Demonstrations]:
    """One part per episode; nothing succeeds, which the data do not say."""
    env = RoboCasaEnv("OpenDrawer", RoboCasaOptions(obs="pixels", image_px=PX, horizon=HORIZON))
    rng = np.random.default_rng(0)
    for seed in range(NUM_EPISODES):
        observation, info = env.reset(seed=seed)
        seen, actions = [], []
        for _ in range(HORIZON):
            actions.append(rng.uniform(-1, 1, ACTION.width).astype(np.float32))
            seen.append(observation)
            observation, *_, info = env.step(actions[-1])
        stacked = {key: np.stack([step[key] for step in seen]) for key in ("state", *CAMERAS)}
        yield Demonstrations(
            task="OpenDrawer",
            backend=str(info["backend"]),
            observation={**stacked, "instruction": np.array([info["instruction"]] * HORIZON)},
            actions=np.stack(actions),
            episode=np.zeros(HORIZON, np.int64),
            attempts=1,
            simulated_steps=HORIZON,
            seeds=(seed,),
        )
    env.close()


if __name__ == "__main__":
    write_lerobot(episodes(), Path(sys.argv[1]))
