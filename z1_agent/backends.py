"""The envs of a training: the embedded kitchen's or the official RoboCasa's, behind one contract."""

from z1_agent.presets import TrainConfig
from z1_envs.branch import BranchVectorEnv
from z1_envs.evaluate import EvalProtocol
from z1_envs.kitchen.env import KitchenVectorEnv
from z1_envs.kitchen.plans.plan import Split
from z1_envs.kitchen.scene import SceneOptions
from z1_envs.kitchen.simulation import BACKEND
from z1_envs.robocasa import preflight
from z1_envs.robocasa.options import RoboCasaOptions
from z1_envs.robocasa.preflight import Ready
from z1_envs.robocasa.vector import RoboCasaVectorEnv

# Lanes that evaluate side by side; a worker of the official RoboCasa takes about a gigabyte.
MAX_EVAL_LANES, MAX_OFFICIAL_EVAL_LANES = 64, 8


def make_envs(
    config: TrainConfig, *, num_envs: int, group_size: int = 1, num_threads: int | None = None, split: Split = "train"
) -> BranchVectorEnv:
    """Lanes for training or evaluation as `config` describes them, in scenes of `split`.

    num_threads: of the kitchen's physics, or worker processes of the official RoboCasa; None for all cores.

    Raises what `check_backend` raises.
    """
    if config.backend == "kitchen":
        return KitchenVectorEnv(
            config.task,
            num_envs=num_envs,
            group_size=group_size,
            obs=config.obs,
            image_px=config.image_px,
            horizon=config.horizon,
            scenes=SceneOptions(split=split),
            num_threads=num_threads,
        )
    return RoboCasaVectorEnv(
        config.task,
        num_envs=num_envs,
        group_size=group_size,
        options=_options(config, split),
        num_workers=num_threads,
        scenes_per_worker=max(8, num_envs // group_size),
    )


def eval_envs(
    config: TrainConfig, num_threads: int | None, num_episodes: int, split: Split = "train"
) -> BranchVectorEnv:
    """Lanes to evaluate `num_episodes` in, each with a scene of its own."""
    lanes = MAX_EVAL_LANES if config.backend == "kitchen" else MAX_OFFICIAL_EVAL_LANES
    return make_envs(config, num_envs=min(lanes, num_episodes), num_threads=num_threads, split=split)


def check_backend(config: TrainConfig) -> None:
    """Raises ValueError, RoboCasaError or RenderError, with what mends it, where `make_envs` could build nothing."""
    if config.backend == "kitchen":
        return
    if config.obs != "pixels":
        raise ValueError("the official RoboCasa gives no privileged scene; add --obs pixels, or take --backend kitchen")
    if config.demos is None and config.policy is None:
        raise ValueError(
            "the scripted experts are the embedded kitchen's; on the official RoboCasa give --demos DATASET, "
            "or a trained --policy"
        )
    _ready(config)


def backend_name(config: TrainConfig) -> str:
    """What the infos of `config`'s envs say, and thus reports and checkpoints: official assets or stand-ins."""
    return BACKEND if config.backend == "kitchen" else _ready(config).backend


def eval_protocol(config: TrainConfig, name: str, num_episodes: int, seed: int, split: Split = "train") -> EvalProtocol:
    """The protocol `name` of `num_episodes` from `seed` on, in the envs of `config` and scenes of `split`."""
    robocasa_version, scenes = None, SceneOptions(split=split).name
    if config.backend == "robocasa":
        robocasa_version, scenes = _ready(config).version.name, _options(config, split).name
    return EvalProtocol(
        name=name,
        version=2,
        task=config.task,
        backend=backend_name(config),
        split=scenes,
        obs=config.obs,
        num_episodes=num_episodes,
        seed=seed,
        horizon=config.horizon,
        chunk_len=config.executed_len,
        image_px=config.image_px if config.obs == "pixels" else None,
        robocasa_version=robocasa_version,
    )


def _ready(config: TrainConfig) -> Ready:
    try:
        return preflight.check(config.task, _options(config))
    except FileNotFoundError as error:  # assets that lack
        raise ValueError(str(error)) from error


def _options(config: TrainConfig, split: Split = "train") -> RoboCasaOptions:
    return RoboCasaOptions(obs=config.obs, horizon=config.horizon, image_px=config.image_px, split=split)
