"""Stable-Baselines3's PPO learns to close a cabinet door: learning curve, and evaluation on fresh episodes.

    python examples/sb3_ppo.py --task CloseSingleDoor --steps 300000 --out runs/sb3_ppo

Success alone comes too seldom to begin with, so training adds potential-based shaping, γ·Φ(s') - Φ(s); curve and
evaluation count successes only. OpenDrawer is not learned this way in 600,000 steps: its handle wants a grip.
"""

import argparse
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch
from matplotlib.figure import Figure
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecEnvWrapper, VecMonitor, VecNormalize

import z1_envs  # noqa: F401 (registers the envs)
from z1_agent.sb3 import Sb3Agent, Sb3VecEnv
from z1_envs.evaluate import EvalProtocol, evaluate
from z1_envs.layout import ACTION, SCENE

HORIZON, GAMMA, OBSERVED = 100, 0.98, ("scene",)


def full_actions(actions):
    """Actions [n, 12] from [n, 4]: where the arm goes, and the gripper. All else stands still."""
    full = np.zeros((len(actions), ACTION.width), np.float32)
    full[:, ACTION["eef_position"]], full[:, ACTION["gripper"]] = actions[:, :3], actions[:, 3:]
    return full


class ShapedArm(VecEnvWrapper):
    """Takes actions [n, 4] and adds the shaping to the rewards. `opens`: whether the task opens or closes."""

    def __init__(self, venv, opens):
        super().__init__(venv, action_space=gym.spaces.Box(-1.0, 1.0, (4,), np.float32))
        self.opens = opens

    def potential(self, scene):
        """Φ of `scene` [n, …]: minus what is left of the gripper's way to the fixture and of the fixture's own way."""
        parts = SCENE.split(scene)
        joint = parts["fixture_joints"][:, 0]
        return -4 * np.linalg.norm(parts["target_from_eef"], axis=1) - 4 * (1 - joint if self.opens else joint)

    def reset(self):
        scene = self.venv.reset()
        self.before = self.potential(scene)
        return scene

    def step_async(self, actions):
        self.venv.step_async(full_actions(actions))

    def step_wait(self):
        scene, rewards, done, infos = self.venv.step_wait()
        last = [info["terminal_observation"] if end else row for row, end, info in zip(scene, done, infos, strict=True)]
        after = np.where([info["success"] for info in infos], 0.0, self.potential(np.array(last)))  # nothing is left
        shaping, self.before = GAMMA * after - self.before, self.potential(scene)
        return scene, rewards + shaping, done, infos


class ArmAgent(Sb3Agent):
    def act(self, observation):
        return full_actions(super().act(observation))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--task", default="CloseSingleDoor")
    parser.add_argument("--steps", type=int, default=300_000)
    parser.add_argument("--out", type=Path, default=Path("runs/sb3_ppo"))
    task, steps, out = vars(parser.parse_args()).values()
    torch.set_num_threads(1)
    envs = gym.make_vec(f"Z1-RoboCasa-{task}", num_envs=64, horizon=HORIZON, backend="kitchen")
    monitored = VecMonitor(Sb3VecEnv(envs, flat=OBSERVED), str(out / "training"))
    venv = VecNormalize(ShapedArm(monitored, opens="Open" in task), gamma=GAMMA)
    sizes = {"n_steps": 128, "batch_size": 1024, "n_epochs": 8, "policy_kwargs": {"log_std_init": -0.7}}
    model = PPO("MlpPolicy", venv, gamma=GAMMA, learning_rate=1e-3, seed=0, device="cpu", **sizes)
    agent = ArmAgent(model, flat=OBSERVED, normalize=venv)
    protocol = EvalProtocol(
        name="sb3", version=1, task=task, backend="kitchen", split="train", obs="state", num_episodes=128,
        seed=10_000, horizon=HORIZON, chunk_len=1)  # fmt: skip
    before = evaluate(agent, envs, protocol)
    model.learn(steps).save(out / "model.zip")
    venv.save(str(out / "normalize.pkl"))
    won, lengths, _ = np.loadtxt(out / "training.monitor.csv", delimiter=",", skiprows=2, ndmin=2).T  # by episode
    figure, window = Figure(figsize=(6, 3.5), layout="constrained"), min(100, len(won))
    axes = figure.add_subplot(title=f"PPO on {task}", xlabel="env steps", xlim=(0, lengths.sum()), ylim=(0, 1.02))
    axes.set_ylabel(f"success in training\n(mean of {window} episodes)")
    axes.plot(lengths.cumsum()[window - 1 :], np.convolve(won, np.full(window, 1 / window), "valid"))
    figure.savefig(out / "learning_curve.png", dpi=150)
    after = evaluate(agent, envs, protocol)
    print(f"success on {len(after.seeds)} fresh episodes: {before.rate:.0%} before training, {after.rate:.0%} after,")
    print(f"95 % interval {after.interval[0]:.0%} to {after.interval[1]:.0%}; model and learning curve are in {out}")
    venv.close()


if __name__ == "__main__":
    main()
