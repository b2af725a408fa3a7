"""Give any Gymnasium env exact snapshots in a dozen lines, then share a trunk between many continuations.

    python examples/branch_any_env.py

Two envs that come with Gymnasium: CartPole (all state in Python) and the MuJoCo inverted pendulum. For each
the script checks that a replay from a snapshot is bit for bit the same, then rolls a trunk of 60 steps once
per group, branches it into 8 lanes, and counts the steps that were not simulated.
"""

from typing import Any

import gymnasium as gym
import mujoco
import numpy as np
from gymnasium.envs.classic_control import CartPoleEnv
from gymnasium.envs.mujoco.inverted_pendulum_v5 import InvertedPendulumEnv

from z1_envs.conformance import check_snapshot
from z1_envs.lanes import LaneVectorEnv


class BranchingCartPole(CartPoleEnv):
    """CartPole with its state, its latch and its random stream within reach."""

    scene_id = "CartPole-v1"

    def get_state(self) -> Any:
        return np.array(self.state), self.steps_beyond_terminated, self.np_random.bit_generator.state

    def set_state(self, state: Any) -> None:
        self.state, self.steps_beyond_terminated = state[0].copy(), state[1]
        self.np_random.bit_generator.state = state[2]


class BranchingPendulum(InvertedPendulumEnv):
    """A MuJoCo env: mjSTATE_INTEGRATION holds physics, controls and the solver's warm start."""

    scene_id = "InvertedPendulum-v5"
    kind = mujoco.mjtState.mjSTATE_INTEGRATION

    def get_state(self) -> Any:
        physics = np.empty(mujoco.mj_stateSize(self.model, self.kind))
        mujoco.mj_getState(self.model, self.data, physics, self.kind)
        return physics, self.np_random.bit_generator.state

    def set_state(self, state: Any, velocity: Any = None) -> None:
        if velocity is not None:  # Gymnasium's own reset calls set_state(qpos, qvel)
            super().set_state(state, velocity)
            return
        mujoco.mj_setState(self.model, self.data, state[0], self.kind)
        self.np_random.bit_generator.state = state[1]


def make_cartpole() -> gym.Env:
    """CartPole with the time limit it is registered with."""
    return gym.wrappers.TimeLimit(BranchingCartPole(), 500)


def make_pendulum() -> gym.Env:
    """The pendulum with the time limit it is registered with."""
    return gym.wrappers.TimeLimit(BranchingPendulum(), 1000)


def share_a_trunk(make_env: Any, balance: Any, num_groups: int = 4, group_size: int = 8) -> None:
    """Rolls one lane per group with `balance`, branches, and lets all lanes go on with random actions."""
    num_lanes = num_groups * group_size
    envs = LaneVectorEnv(make_env, num_envs=num_lanes, group_size=group_size)
    envs.action_space.seed(0)
    observation, _ = envs.reset(seed=0)
    first_of_group = np.arange(num_lanes) % group_size == 0
    trunk_len = 0
    while trunk_len < 60 and not envs.finished.any():
        observation, *_ = envs.step(balance(observation), active=first_of_group)
        trunk_len += 1
    envs.branch(envs.group_index * group_size)
    num_steps = trunk_len * num_groups
    while not envs.finished.all() and num_steps < 5000:
        num_steps += int((~envs.finished).sum())
        envs.step(envs.action_space.sample())
    saved = trunk_len * (num_lanes - num_groups)
    print(f"  trunk of {trunk_len} steps, {num_groups} groups of {group_size} lanes: {num_steps} steps simulated,")
    print(f"  {num_steps + saved} without sharing: {saved / (num_steps + saved):.0%} saved")
    envs.close()


def balance_cartpole(observation: Any) -> Any:
    """Left or right [L]: under the falling pole."""
    return (observation[:, 2] + observation[:, 3] > 0).astype(np.int64)


def balance_pendulum(observation: Any) -> Any:
    """Force [L, 1]: under the falling pole."""
    return np.clip(3.0 * observation[:, 1:2] + observation[:, 3:4], -1.0, 1.0)


def main() -> None:
    """Checks and branches both envs."""
    for make_env, balance in ((make_cartpole, balance_cartpole), (make_pendulum, balance_pendulum)):
        env = make_env()
        num_steps = check_snapshot(env, seed=0)
        print(f"{env}\n  replay from a snapshot is exact: {num_steps} steps, bit for bit")
        env.close()
        share_a_trunk(make_env, balance)


if __name__ == "__main__":
    main()
