"""A configuration whose training takes two seconds and learns nothing."""

import dataclasses

from z1_agent.grpo import GrpoConfig
from z1_agent.presets import TrainConfig, smoke
from z1_agent.sft import SftConfig


def tiny(task: str, *, num_iterations: int, group_size: int = 2) -> TrainConfig:
    return dataclasses.replace(
        smoke(task),
        horizon=40,
        sft=SftConfig(num_demos=2, batch_size=8, steps_per_round=4, max_rounds=1),
        grpo=GrpoConfig(num_iterations=num_iterations, num_groups=2, group_size=group_size, minibatch_size=16),
        validation_episodes=2,
        eval_episodes=8,
        checkpoint_every=2,
    )
