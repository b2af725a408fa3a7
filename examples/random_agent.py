"""One episode of random actions, and what an env says about it.

python examples/random_agent.py
"""

import gymnasium as gym

import z1_envs  # noqa: F401 (registers the envs)


def main() -> None:
    """Plays at most 100 steps of OpenDrawer."""
    env = gym.make("Z1-RoboCasa-OpenDrawer", horizon=100)
    env.action_space.seed(0)
    observation, info = env.reset(seed=0)
    print(f"{info['instruction']!r} in scene {info['scene_id']}, backend {info['backend']}")
    print({key: value.shape for key, value in observation.items()})
    done = False
    while not done:
        observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
        done = terminated or truncated
    print(f"after {info['elapsed']} steps: success {info['success']}, last reward {reward}, phase {info['phase']}")
    env.close()


if __name__ == "__main__":
    main()
