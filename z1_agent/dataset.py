"""Demonstrations on disk: collecting them, and what a training asks of them."""

import dataclasses
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from z1_agent.console import Bar
from z1_agent.presets import TrainConfig
from z1_agent.run import origin
from z1_envs.datasets import read_header
from z1_envs.demos import DemosError
from z1_envs.kitchen.demos import collect_parts
from z1_envs.kitchen.env import BACKEND, ObsMode
from z1_envs.lerobot_writer import write_lerobot


@dataclass(frozen=True, kw_only=True)
class WantedDemos:
    """All that decides which demonstrations the expert gives; see `collect_parts`."""

    task: str
    num_episodes: int
    seed: int
    noise: float
    obs: ObsMode
    image_px: int
    horizon: int


def collect_dataset(
    wanted: WantedDemos, folder: Path, console: Console, *, num_threads: int | None, command: str
) -> None:
    """Collects them into the dataset `folder`, under a bar; says what came of it. The dataset keeps `command`.

    Raises DemosError where the expert fails far too often or `folder` cannot be written.
    """
    start = time.monotonic()
    with Bar(console, f"Demos {wanted.task}", total=wanted.num_episodes, done=0) as bar:
        parts = collect_parts(
            wanted.task,
            num_episodes=wanted.num_episodes,
            seed=wanted.seed,
            noise=wanted.noise,
            obs=wanted.obs,
            image_px=wanted.image_px,
            horizon=wanted.horizon,
            num_threads=num_threads,
            progress=lambda won, steps: bar.update(won, f"{steps / 1000:.1f}k steps simulated"),
        )
        write_lerobot(parts, folder, about={"command": command, "wanted": asdict(wanted)} | origin())
    seconds = time.monotonic() - start
    header = read_header(folder, wanted.task)
    console.print(
        f"{header.task}: {header.num_episodes} episodes of {header.num_attempts} attempts, {header.num_steps} steps "
        f"in {seconds:.1f} s, {header.num_steps / seconds:.0f} steps/s"
    )
    console.print(f"A LeRobot v3.0 dataset is in {folder}")


def with_dataset(config: TrainConfig) -> TrainConfig:
    """`config` with what its dataset says of itself: full path, digest, backend and number of episodes.

    Pictures and proprioception of another backend can be learned from, a privileged scene is the kitchen's alone.
    Raises DemosError for a dataset that is missing or broken, or that holds another task or observation.
    """
    if config.demos is None:
        return config
    path = Path(config.demos).resolve()
    header = read_header(path, config.task)
    if header.task != config.task or (header.backend != BACKEND and header.obs == "state"):
        raise DemosError(f"{path} shows {header.task} on {header.backend!r}, this is {config.task} on {BACKEND!r}")
    if header.obs != config.obs:
        raise DemosError(f"{path} shows {header.obs}, the policy is to see {config.obs}; add --obs {header.obs}")
    if config.obs == "pixels" and header.image_px != config.image_px:
        raise DemosError(
            f"{path} has images of {header.image_px} px, the policy is to see {config.image_px} px; "
            f"add --image-px {header.image_px}"
        )
    sft = dataclasses.replace(config.sft, num_demos=header.num_episodes)
    about = {"demos": str(path), "demos_digest": header.digest, "demos_backend": header.backend}
    return dataclasses.replace(config, **about, sft=sft)
