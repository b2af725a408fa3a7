"""Demonstrations of your own in the official RoboCasa, for `z1 sft` and `z1 train`. Needs the extra `robocasa`.

    python examples/robocasa_demonstrations.py 40 drawer        # 40 drawers closed, as a LeRobot dataset
    z1 sft --data drawer --out runs/drawer                      # a policy that has learned from its images
    z1 train CloseDrawer --backend robocasa --image-px 64 --horizon 120 --policy runs/drawer/sft    # and improves

The script backs away until the drawer is ahead, lowers its hand before it, and pushes by driving on. Where the drawer
is it asks RoboCasa, which a policy cannot.
"""

import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from z1_envs.demos import Demonstrations, one_episode
from z1_envs.layout import ACTION, STATE
from z1_envs.lerobot_writer import write_lerobot
from z1_envs.robocasa.env import RoboCasaEnv
from z1_envs.robocasa.options import RoboCasaOptions

TASK, PX, HORIZON = "CloseDrawer", 64, 120  # [px], [steps]
AHEAD, BEFORE, REACH = 0.45, 0.15, 0.3  # the drawer's front, its distance from the hand, and the hand's from us [m]
ALMOST = 0.15  # how far open a drawer is that the hand can close without driving [share]

Observation = dict[str, NDArray]


def push(official: Any, observation: Observation) -> Generator[NDArray, Observation, None]:
    """Actions [12], each for the observation that is sent."""
    for _ in range(14):  # then there is something behind us
        if front(official, observation)[0] > AHEAD:
            break
        observation = yield drive(-1)
    while True:
        x, y, z = front(official, observation)
        gap = np.array([min(REACH, x - BEFORE), y, z]) - hand(observation)
        if abs(gap[1:]).max() < 0.04:
            break
        observation = yield move(gap)
    while official.drawer.get_door_state(env=official)["door"] > ALMOST:
        observation = yield drive(1)
    while True:
        _, y, z = front(official, observation) - hand(observation)
        observation = yield move(np.array([0.05, y, z]))


def front(official: Any, observation: Observation) -> NDArray:
    """The middle of the drawer's front in the frame of the robot's base [m]."""
    base = STATE.split(observation["state"])
    there = official.sim.data.get_body_xpos(f"{official.drawer.name}_door_main")
    return Rotation.from_quat(base["base_quaternion"]).inv().apply(there - base["base_position"])


def hand(observation: Observation) -> NDArray:
    """Where the gripper is, in the same frame [m]."""
    return STATE.split(observation["state"])["eef_position"]


def drive(way: float) -> NDArray:
    """Forward by 1, backward by -1."""
    action = move(np.zeros(3))
    action[ACTION["base"]] = way, 0, 0
    action[ACTION["base_mode"]] = 1
    return action


def move(gap: NDArray) -> NDArray:
    """The closed gripper by `gap` [m], or as far towards it as one step goes."""
    action = np.zeros(ACTION.width, np.float32)
    action[ACTION["eef_position"]] = np.clip(gap / 0.05, -1, 1)
    action[ACTION["gripper"]] = 1
    action[ACTION["base_mode"]] = -1
    return action


def episodes(count: int) -> Iterator[Demonstrations]:
    """`count` successful episodes, with what failed between them counted."""
    env = RoboCasaEnv(TASK, RoboCasaOptions(obs="pixels", image_px=PX, horizon=HORIZON))
    seed = 0
    while count:
        observation, info = env.reset(seed=seed)
        plan, seen, actions, ended = push(env.official, observation), [], [], False
        action = next(plan)
        while not ended:
            seen.append(observation)
            actions.append(action)
            observation, _, terminated, truncated, info = env.step(action)
            ended = terminated or truncated
            action = plan.send(observation)
        print(f"seed {seed}: {'closed' if info['success'] else 'failed'} after {len(actions)} steps", flush=True)
        yield one_episode(TASK, seen, actions, info, seed=seed)
        count -= info["success"]
        seed += 1
    env.close()


if __name__ == "__main__":
    number, folder = sys.argv[1:]
    write_lerobot(episodes(int(number)), Path(folder))
