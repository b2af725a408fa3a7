"""Demonstrations on disk: collecting them, and what a training asks of them."""

import dataclasses
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from z1_agent.console import Bar
from z1_agent.presets import FineTuneConfig, TrainConfig
from z1_agent.run import origin
from z1_envs.datasets import read_header, tasks_of
from z1_envs.demos import Demonstrations, DemosError
from z1_envs.kitchen.demos import collect_parts
from z1_envs.kitchen.simulation import BACKEND
from z1_envs.kitchen.spaces import ObsMode
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
    if header.task != config.task:
        raise DemosError(
            f"{path} shows {header.task} on {header.backend!r}, this is {config.task}; give a dataset of that"
        )
    if header.backend != BACKEND and header.obs == "state":
        raise DemosError(
            f"{path} has no images, and {header.backend!r} no privileged scene: a policy would see nothing but the "
            f"robot; take a dataset with images"
        )
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


def with_data(config: FineTuneConfig) -> FineTuneConfig:
    """`config` with what its dataset says of itself: full path, task, digest and backend.

    Raises DemosError for a dataset that is missing, broken or empty, that lacks the task, or shows several where none
    is chosen, and where no episode is left to hold out.
    """
    path = Path(config.data).resolve()
    tasks = tasks_of(path)
    if config.task is None and len(tasks) != 1:
        raise DemosError(f"{path} shows {', '.join(tasks) or 'no task'}; choose one with --task")
    task = tasks[0] if config.task is None else config.task
    header = read_header(path, task)
    if header.task != task:
        raise DemosError(f"{path} shows {header.task}, --task is {task}; leave out --task, or give another dataset")
    if header.num_episodes == 0:
        raise DemosError(f"{path} holds no episodes; give a dataset that is not empty")
    if header.num_episodes == 1 and config.held_out:
        raise DemosError(
            f"{path} holds one episode, so none can be held out; give more, or --held-out 0 with --max-rounds"
        )
    about = {"data": str(path), "data_digest": header.digest, "data_backend": header.backend}
    return dataclasses.replace(config, **about, task=task)


def learned_on(config: FineTuneConfig) -> tuple[str, str]:
    """Task and backend of the dataset, which `with_data` has found."""
    assert config.task is not None
    assert config.data_backend is not None
    return config.task, config.data_backend


def split_episodes(demos: Demonstrations, share: float) -> tuple[Demonstrations, Demonstrations | None]:
    """`demos` without its last episodes, and those: `share` of all, but one at least of each; None for a share of 0.

    The last ones, so that no picture is copied.
    """
    if share == 0:
        return demos, None
    num_held_out = min(max(1, round(share * demos.num_episodes)), demos.num_episodes - 1)
    first = demos.num_episodes - num_held_out
    step = int(np.searchsorted(demos.episode, first))
    return _episodes(demos, slice(0, step), slice(0, first)), _episodes(demos, slice(step, None), slice(first, None))


def _episodes(demos: Demonstrations, steps: slice, episodes: slice) -> Demonstrations:
    return dataclasses.replace(
        demos,
        observation={key: values[steps] for key, values in demos.observation.items()},
        actions=demos.actions[steps],
        episode=demos.episode[steps] - (episodes.start or 0),
        seeds=demos.seeds[episodes],
    )
