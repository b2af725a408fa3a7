"""The configurations of `z1 train`, with the named ones, and of `z1 sft`."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, Literal, get_args, get_type_hints

from tyro.conf import Suppress, arg

from z1_agent.flow import FlowSDE
from z1_agent.grpo import GrpoConfig
from z1_agent.pi05 import NANO_PATCH
from z1_agent.precision import ComputeDtype, as_dtype
from z1_agent.schedules import LinearTrunk
from z1_agent.sft import SftConfig, SupervisedConfig
from z1_envs.arguments import check_choice, check_whole
from z1_envs.canvas import MAX_PX, MIN_PX
from z1_envs.kitchen.spaces import ObsMode
from z1_envs.robocasa.compat import check_installed
from z1_envs.tasks import get_task

Backend = Literal["kitchen", "robocasa"]


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
    sft.demo_noise. backend: the embedded kitchen, or the official RoboCasa. policy: checkpoint to begin with instead of
    demonstrations and SFT, a directory or a name on the Hugging Face hub. recipe: what chooses the modules, the
    committed one of the task ("auto"), a file of `z1 diagnose`, or a folder with TASK.json. device: where the network
    computes, such as "cuda".

    No flags: demos_digest and demos_backend, which dataset that was and what it was recorded on; policy_digest and
    recipe_digest, which policy and recipe.

    Raises ValueError for what there is not, for counts that are no whole numbers of at least 1, and for images that the
    network's patches do not tile.
    """

    task: Suppress[str]
    seed: Suppress[int] = 0
    obs: ObsMode = "state"
    image_px: int = 64
    horizon: int = 120
    chunk_len: int = 5
    executed_len: int = 5
    sde: FlowSDE = field(default_factory=lambda: FlowSDE(noise=1.2))
    compute_dtype: ComputeDtype = "float32"
    sft: SftConfig = field(default_factory=SftConfig)
    grpo: GrpoConfig = field(default_factory=GrpoConfig)
    validation_episodes: int = 128
    eval_episodes: int = 256
    checkpoint_every: int = 10
    demos: str | None = None
    demos_digest: Suppress[str | None] = None
    demos_backend: Suppress[str | None] = None
    backend: Backend = "kitchen"
    policy: str | None = None
    policy_digest: Suppress[str | None] = None
    recipe: str | None = None
    recipe_digest: Suppress[str | None] = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        object.__setattr__(self, "task", get_task(self.task).name)
        as_dtype(self.compute_dtype)
        check_choice("obs", self.obs, get_args(ObsMode))
        check_choice("backend", self.backend, get_args(Backend))
        check_whole("seed", self.seed, least=0)
        for name in (
            "horizon",
            "chunk_len",
            "executed_len",
            "validation_episodes",
            "eval_episodes",
            "checkpoint_every",
        ):
            check_whole(name, getattr(self, name), least=1)
        if self.obs == "pixels" and not MIN_PX <= self.image_px <= MAX_PX:
            raise ValueError(f"image_px must lie in {MIN_PX}..{MAX_PX}, got {self.image_px}")
        if self.obs == "pixels" and self.policy is None and self.image_px % NANO_PATCH:
            raise ValueError(
                f"image_px must be a multiple of {NANO_PATCH}, the side of the network's patches, got {self.image_px}"
            )
        if self.executed_len > self.chunk_len:
            raise ValueError(f"executed_len must lie in 1..{self.chunk_len} (chunk_len), got {self.executed_len}")


# Where something is carried, or a door's handle is pulled, sampling at 1.2 succeeds half as often as the policy does
# without noise; and of two steps the random one reaches the action more often than of four.
_CARRIED = partial(TrainConfig, sde=FlowSDE(num_steps=2, noise=0.3))

# Elsewhere there are few demonstrations, and unlike π0.5's this vision-language model has seen nothing else: it learns.
_MOVED = partial(TrainConfig, sde=FlowSDE(num_steps=4, noise=1.2), grpo=GrpoConfig(trainable="all"))

# Horizon of episodes [steps], about twice what the scripted expert takes or more; number of demonstrations, so few that
# SFT alone leaves GRPO something to improve (what it reaches differs much by seed); how paths are sampled, and what
# learns.
CPU_TASKS = {
    "PnPCounterToCab": (200, 160, _CARRIED),
    "PnPCabToCounter": (200, 50, _CARRIED),
    "PnPCounterToSink": (120, 160, _CARRIED),
    "PnPSinkToCounter": (120, 120, _CARRIED),
    "PnPCounterToMicrowave": (200, 70, _CARRIED),
    "PnPMicrowaveToCounter": (200, 120, _CARRIED),
    "PnPCounterToStove": (120, 120, _CARRIED),
    "PnPStoveToCounter": (120, 140, _CARRIED),
    "OpenSingleDoor": (160, 45, _CARRIED),
    "CloseSingleDoor": (120, 15, _MOVED),
    "OpenDoubleDoor": (300, 50, _CARRIED),
    "CloseDoubleDoor": (200, 20, _MOVED),
    "OpenDrawer": (120, 8, _MOVED),
    "CloseDrawer": (120, 1, _MOVED),
    "TurnOnStove": (120, 5, _MOVED),
    "TurnOffStove": (120, 18, _MOVED),
    "TurnOnSinkFaucet": (120, 15, _MOVED),
    "TurnOffSinkFaucet": (120, 15, _MOVED),
    "TurnSinkSpout": (120, 20, _MOVED),
    "CoffeePressButton": (120, 20, _MOVED),
    "TurnOnMicrowave": (120, 15, _MOVED),
    "TurnOffMicrowave": (120, 15, _MOVED),
    "CoffeeServeMug": (160, 40, _CARRIED),
    "CoffeeSetupMug": (200, 120, _CARRIED),
}
_SEEN_DEMOS = 100  # at least, where the policy sees images: how things look differs more than where they are
# Of a task that needs so many, SFT rises for longer: rounds have more steps, and the average spans more of them. Other
# datasets and numbers of demonstrations leave that as it is.
_MANY_DEMOS = 40
_STEPS_OF_A_LANE = 9000  # in all iterations of GRPO, at most: where episodes are longest they are fewer, for 20 minutes


def cpu(task: str, obs: ObsMode = "state") -> TrainConfig:
    """Minutes on two cores: the nano policy, on privileged state or on images, which take longer."""
    name = get_task(task).name
    horizon, num_demos, kind = CPU_TASKS[name]
    if obs == "pixels":
        num_demos = max(num_demos, _SEEN_DEMOS)
    steps, ema_decay = (200, 0.99) if num_demos < _MANY_DEMOS else (400, 0.997)
    sft = SftConfig(num_demos=num_demos, learning_rate=2e-3, ema_decay=ema_decay, steps_per_round=steps, max_rounds=12)
    config = kind(task=name, horizon=horizon, sft=sft)
    iterations = min(config.grpo.num_iterations, _STEPS_OF_A_LANE // horizon)
    config = dataclasses.replace(config, grpo=dataclasses.replace(config.grpo, num_iterations=iterations))
    return seeing(config) if obs == "pixels" else config


def check_episode(config: TrainConfig) -> None:
    """Raises ValueError where what GRPO is to do contradicts how many decisions an episode has."""
    decisions, grpo = math.ceil(config.horizon / config.executed_len), config.grpo
    if grpo.reward == "penalty" and grpo.penalty * decisions >= 1:
        raise ValueError(
            f"with a penalty of {grpo.penalty:g} per decision, episodes of {decisions} decisions could end in "
            f"successes that earn less than a failure; give grpo.penalty below {1 / decisions:.2g}"
        )
    if grpo.branching == "flat" and grpo.schedule != "linear":
        raise ValueError(
            f"the schedule {grpo.schedule!r} says where trunks end, and flat groups have none; give --grpo.branching "
            f"trunk or tree, or leave out --grpo.schedule"
        )
    is_fixed = grpo.schedule in ("linear", "constant")  # the others split where a trunk's own decisions say
    if grpo.branching != "flat" and is_fixed and grpo.trunk.start >= decisions:
        raise ValueError(
            f"a trunk of {grpo.trunk.start} decisions is a whole episode ({decisions}), and nothing is left to "
            f"learn from; give a shorter grpo.trunk.start"
        )


def smoke(task: str, obs: ObsMode = "state") -> TrainConfig:
    """Every stage in seconds, to see that it runs. It learns next to nothing."""
    config = cpu(task, obs)
    return dataclasses.replace(
        config,
        horizon=config.horizon if config.horizon > 120 else 60,
        sft=SftConfig(
            num_demos=4,
            batch_size=32,
            learning_rate=2e-3,
            warmup_steps=10,
            ema_decay=0.95,
            steps_per_round=40,
            max_rounds=2,
        ),
        grpo=dataclasses.replace(
            config.grpo, num_iterations=4, num_groups=8, group_size=4, trunk=LinearTrunk(start=1), minibatch_size=64
        ),
        validation_episodes=8,
        eval_episodes=16,
        checkpoint_every=2,
    )


def seeing(config: TrainConfig) -> TrainConfig:
    """`config` for a policy that sees images. It fails more often, from the start on, so a trunk would decide for all;
    and what sees would take most of the time to train.
    """
    grpo = dataclasses.replace(config.grpo, branching="flat", trainable="action_expert")
    return dataclasses.replace(config, obs="pixels", grpo=grpo)


def on_backend(config: TrainConfig, backend: str) -> TrainConfig:
    """`config` with the defaults of `backend`: the official RoboCasa gives images alone, and has its own horizons.

    Raises RoboCasaError where it is not installed, ValueError where it lacks the task.
    """
    if backend != "robocasa":
        return config
    version = check_installed().version
    if config.task not in version.tasks:
        raise ValueError(f"RoboCasa {version.name} has no {config.task}; take another task, or --backend kitchen")
    horizon = version.tasks[config.task].horizon
    return dataclasses.replace(seeing(config), backend="robocasa", horizon=horizon)


@dataclass(frozen=True, kw_only=True)
class FineTuneConfig:
    """Everything that decides what supervised fine-tuning on a dataset does. None: as the policy has it.

    data: dataset of `z1 demos` or of RoboCasa (an HDF5 file of v0.2, a LeRobot folder of v1.0). task: of its tasks,
    needed where it shows several. policy: what to begin with, by default a fresh nano: a checkpoint of this program, or
    π0.5's public weights in openpi's or LeRobot's layout; a folder, a .safetensors file or a name on the Hugging Face
    hub. tokenizer: PaliGemma's tokenizer.model for public weights, by default the hub's.

    cameras: which images the policy reads, in the order of its prefix. prompt_format: "state" with the state in the
    prompt, "text" without. chunk_len: actions that it predicts at once; executed_len: how many of them are carried out
    [steps]. denoising_steps: of the flow. statistics: normalise by those of the "data" (the default, but for a
    checkpoint of this program) or those that the "policy" brings.

    held_out: share of the dataset's episodes, its last ones, that are not learned from; their flow-matching loss ends
    the training. With 0 it ends after max_rounds. validation_steps: how many held-out steps that loss is taken over.
    device: where the network computes, such as "cuda".

    No flags: data_digest, data_backend and policy_digest, what those were.

    Raises ValueError where a value makes no sense.
    """

    task: str | None = None
    seed: Suppress[int] = 0
    data: str
    policy: str | None = None
    tokenizer: str | None = None
    cameras: tuple[str, ...] | None = None
    prompt_format: Literal["state", "text"] | None = None
    chunk_len: int | None = None
    executed_len: int | None = None
    denoising_steps: int | None = None
    compute_dtype: ComputeDtype | None = None
    statistics: Literal["data", "policy"] | None = None
    held_out: float = 0.1
    validation_steps: int = 512
    device: str = "cpu"
    sft: Annotated[SupervisedConfig, arg(name="")] = field(default_factory=SupervisedConfig)
    data_digest: Suppress[str | None] = None
    data_backend: Suppress[str | None] = None
    policy_digest: Suppress[str | None] = None

    def __post_init__(self) -> None:
        if self.task is not None:
            object.__setattr__(self, "task", get_task(self.task).name)
        for name in ("chunk_len", "executed_len", "denoising_steps", "validation_steps"):
            if getattr(self, name) is not None:
                check_whole(name, getattr(self, name), least=1)
        if not 0 <= self.held_out <= 0.5:
            raise ValueError(f"held_out is a share of the episodes and lies in [0, 0.5], got {self.held_out}")
        check_whole("seed", self.seed, least=0)
        if self.policy is None and (self.tokenizer, self.statistics) not in ((None, None), (None, "data")):
            raise ValueError("tokenizer and statistics belong to a given policy: add --policy, or leave them out")


def fine_tuning(*, is_given: bool) -> SupervisedConfig:
    """Small steps where a policy `is_given`: π0.5's published peak rate, its action expert alone."""
    if not is_given:
        return SupervisedConfig(max_rounds=20)
    return SupervisedConfig(learning_rate=5e-5, max_rounds=50, patience=5, trainable="action_expert")


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


PRESETS: dict[str, Callable[[str, ObsMode], TrainConfig]] = {"cpu": cpu, "smoke": smoke}
