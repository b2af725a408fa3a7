"""Bring your own policy: anything with `act(observation)` can be evaluated. Needs z1_envs only.

    python examples/own_policy.py
    python examples/own_policy.py rollouts.mp4      # and films four of its episodes; needs EGL or OSMesa

The policy below is twenty lines. It reads the privileged `scene` vector by name.
"""

import sys

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

import z1_envs  # noqa: F401 (registers the envs)
from z1_envs.branch import BranchVectorEnv
from z1_envs.evaluate import EvalProtocol, evaluate
from z1_envs.kitchen.env import KitchenVectorEnv
from z1_envs.layout import ACTION, SCENE
from z1_envs.video import record_rollout


class GoAndPull:
    """Lines up before the handle, slides over it, closes the gripper, pulls."""

    def act(self, observation: dict[str, NDArray]) -> NDArray:
        """Actions [B, 12] for the B rows of `observation`."""
        scene = SCENE.split(observation["scene"])
        to_handle, columns = scene["target_from_eef"], scene["target_rotation"]
        gap = scene["gripper_qpos"][:, :1] - scene["gripper_qpos"][:, 1:]
        approach = np.cross(columns[:, :3], columns[:, 3:])  # of the gripper to the handle, third axis of its frame
        ahead = (to_handle * approach).sum(axis=1, keepdims=True)
        aside = np.linalg.norm(to_handle - ahead * approach, axis=1, keepdims=True)
        lined_up, at_handle = aside < 0.02, (aside < 0.03) & (np.abs(ahead) < 0.02)
        holding = at_handle & (gap < 0.025)
        wanted = to_handle - approach * np.where(holding, 0.06, np.where(lined_up, 0.0, 0.08))
        action = np.zeros((len(to_handle), ACTION.width), dtype=np.float32)
        action[:, ACTION["eef_position"]] = np.clip(wanted * 10, -0.5, 0.5)
        action[:, ACTION["gripper"]] = np.where(at_handle, 1.0, -1.0)
        return action


def main() -> None:
    """Evaluates the policy on 32 episodes; with a path, films four of them."""
    envs = gym.make_vec("Z1-RoboCasa-OpenDrawer", num_envs=32, backend="kitchen")
    assert isinstance(envs, BranchVectorEnv)
    protocol = EvalProtocol(
        name="example", version=1, task="OpenDrawer", backend="kitchen", split="train", obs="state",
        num_episodes=32, seed=1000, horizon=150, chunk_len=1,
    )  # fmt: skip
    report = evaluate(GoAndPull(), envs, protocol)
    low, high = report.interval
    print(f"success {report.rate:.0%} on {len(report.seeds)} episodes, 95 % interval {low:.0%} to {high:.0%}")
    envs.close()
    for film in sys.argv[1:]:
        filmed = KitchenVectorEnv("OpenDrawer", num_envs=4, horizon=150)
        record_rollout(filmed, GoAndPull(), film, seed=1000)
        filmed.close()


if __name__ == "__main__":
    main()
