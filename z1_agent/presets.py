"""The configuration of a whole training, and the named ones."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, get_type_hints

from tyro.conf import Suppress

from z1_agent.flow import FlowSDE
from z1_agent.grpo import GrpoConfig
from z1_agent.pi05 import NANO_PATCH
from z1_agent.precision import ComputeDtype, as_dtype
from z1_agent.rollout import LinearTrunk
from z1_agent.sft import SftConfig
from z1_envs.canvas import MAX_PX, MIN_PX
from z1_envs.kitchen.env import ObsMode
from z1_envs.tasks import get_task


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything that decides what a training does.

    task: RoboCasa's name, without prefix. seed: of everything random. obs: what the policy sees; image_px is read
    for "pixels" alone. horizon: of episodes in training and evaluation [steps]. chunk_len: actions that the policy
    predicts at once; executed_len: how many of them are carried out before it is asked again [steps].
    compute_dtype: precision that sampling and training share; weights that learn are float32.
    validation_episodes: held-out episodes that stop SFT. eval_episodes: those of the two final evaluations.
    checkpoint_every: GRPO iterations between checkpoints. demos: dataset to learn from, of `z1 demos` or of RoboCasa
    (an HDF5 file of v0.2, a LeRobot folder of v1.0); by default the expert is asked, sft.num_demos times with
    sft.demo_noise. demos_digest, demos_backend: which dataset that was, and what it was recorded on.

    Raises ValueError for an unknown task, for counts below 1, and for images that the network's
    patches do not tile.
    """

    task: Suppress[str]
    seed: Suppress[int] = 0
    obs: ObsMode = "state"
    image_px: int = 64
    horizon: int = 120
    chunk_len: int = 10
    executed_len: int = 10
    sde: FlowSDE = field(default_factory=FlowSDE)
    compute_dtype: ComputeDtype = "float32"
    sft: SftConfig = field(default_factory=SftConfig)
    grpo: GrpoConfig = field(default_factory=GrpoConfig)
    validation_episodes: int = 128
    eval_episodes: int = 256
    checkpoint_every: int = 10
    demos: str | None = None
    demos_digest: Suppress[str | None] = None
    demos_backend: Suppress[str | None] = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "task", get_task(self.task).name)
        as_dtype(self.compute_dtype)
        counts = {
            "horizon": self.horizon,
            "validation_episodes": self.validation_episodes,
            "eval_episodes": self.eval_episodes,
            "checkpoint_every": self.checkpoint_every,
        }
        for name, count in counts.items():
            if count < 1:
                raise ValueError(f"{name} must be at least 1, got {count}; give a larger number")
        if self.obs == "pixels" and not MIN_PX <= self.image_px <= MAX_PX:
            raise ValueError(f"image_px must lie in {MIN_PX}..{MAX_PX}, got {self.image_px}")
        if self.obs == "pixels" and self.image_px % NANO_PATCH:
            raise ValueError(
                f"image_px must be a multiple of {NANO_PATCH}, the side of the network's patches, got {self.image_px}"
            )
        if not 1 <= self.executed_len <= self.chunk_len:
            raise ValueError(f"executed_len must lie in 1..{self.chunk_len} (chunk_len), got {self.executed_len}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")


# Horizons of training [steps] where the default is short: about twice what the scripted expert takes.
LONG_HORIZONS = {
    "OpenSingleDoor": 160,
    "CoffeeSetupMug": 200,
    "CoffeeServeMug": 160,
    "CloseDoubleDoor": 200,
    "PnPCounterToCab": 200,
    "PnPCabToCounter": 200,
    "PnPCounterToMicrowave": 200,
    "PnPMicrowaveToCounter": 200,
    "OpenDoubleDoor": 300,
}


def cpu(task: str) -> TrainConfig:
    """Minutes on two cores: the nano policy on privileged state."""
    name = get_task(task).name
    return TrainConfig(task=name, horizon=LONG_HORIZONS[name]) if name in LONG_HORIZONS else TrainConfig(task=name)


def smoke(task: str) -> TrainConfig:
    """Every stage in seconds, to see that it runs. It learns next to nothing."""
    config = cpu(task)
    return dataclasses.replace(
        config,
        horizon=config.horizon if config.task in LONG_HORIZONS else 60,
        sft=SftConfig(
            num_demos=4,
            batch_size=32,
            learning_rate=2e-3,
            warmup_steps=10,
            ema_decay=0.95,
            steps_per_round=40,
            max_rounds=2,
        ),
        grpo=GrpoConfig(num_iterations=4, num_groups=8, group_size=4, trunk=LinearTrunk(start=1), minibatch_size=64),
        validation_episodes=8,
        eval_episodes=16,
        checkpoint_every=2,
    )


def load_config(values: Mapping[str, Any]) -> TrainConfig:
    """The configuration that config.json holds. Raises ValueError for fields that this program does not know."""
    return _rebuild(TrainConfig, values, "")


def _rebuild(kind: type, values: Mapping[str, Any], where: str) -> Any:
    types = get_type_hints(kind)
    unknown = sorted(where + name for name in values.keys() - types.keys())
    if unknown:
        raise ValueError(f"the configuration has unknown {', '.join(unknown)}; use the program version that wrote it")
    given = {
        name: _rebuild(types[name], value, f"{where}{name}.") if dataclasses.is_dataclass(types[name]) else value
        for name, value in values.items()
    }
    return kind(**given)


PRESETS: dict[str, Callable[[str], TrainConfig]] = {"cpu": cpu, "smoke": smoke}
