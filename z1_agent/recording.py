"""Films of a policy or of the scripted expert: four episodes, a tree that branches, all tasks side by side."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch
from numpy.typing import NDArray

from z1_agent.policy import Pi05Policy
from z1_agent.presets import Backend
from z1_envs.gallery import film_episode, write_gallery, write_sheet, write_thumbnail
from z1_envs.kitchen.env import KitchenVectorEnv
from z1_envs.kitchen.experts.agent import ExpertAgent
from z1_envs.kitchen.spaces import ObsMode
from z1_envs.robocasa.options import RoboCasaOptions
from z1_envs.robocasa.vector import RoboCasaVectorEnv
from z1_envs.tasks import TASKS
from z1_envs.video import Image, record_rollout, record_tree

NUM_EPISODES, NUM_BRANCHES = 4, 8
FILM_HORIZON = 300  # [steps] of the expert's episodes on all tasks
_EXPERT_NOISE = 0.6  # standard deviation


class SamplingAgent:
    """A policy that explores: its chunks come from the Flow-SDE, as in training."""

    def __init__(self, policy: Pi05Policy, seed: int) -> None:
        self._policy = policy
        self._generator = torch.Generator().manual_seed(seed)

    @torch.no_grad()
    def act(self, observation: dict[str, NDArray], /) -> NDArray:
        """Random chunks float32 [B, E, 12]."""
        return self._policy.sample(self._policy.encode(observation), self._generator).chunk


@dataclass(frozen=True, kw_only=True)
class Films:
    """What to film, and where it goes. horizon, trunk_len [steps]; episodes start from `seed` on, the tree
    from `seed`. num_threads: of the kitchen's physics, or worker processes of the official RoboCasa; None for all
    cores."""

    task: str
    horizon: int
    trunk_len: int
    seed: int
    rollout: Path
    tree: Path
    num_threads: int | None = None


def film_policy(policy: Pi05Policy, films: Films, *, obs: ObsMode, image_px: int, backend: Backend = "kitchen") -> None:
    """Four episodes by the ordinary flow, and a tree of explored chunks.

    Raises RenderError without OpenGL, on the official RoboCasa also what `preflight.check` raises.
    """
    with closing(_envs(films, NUM_EPISODES, 1, obs, image_px, backend)) as envs:
        record_rollout(envs, policy, films.rollout, seed=films.seed)
    with closing(_envs(films, NUM_BRANCHES, NUM_BRANCHES, obs, image_px, backend)) as envs:
        decision = max(1, round(films.trunk_len / policy.config.executed_len))
        record_tree(envs, SamplingAgent(policy, films.seed), films.tree, seed=films.seed, decision=decision)


def _envs(
    films: Films, num_envs: int, group_size: int, obs: ObsMode, image_px: int, backend: Backend
) -> KitchenVectorEnv | RoboCasaVectorEnv:
    if backend == "robocasa":
        options = RoboCasaOptions(obs=obs, image_px=image_px, horizon=films.horizon)
        return RoboCasaVectorEnv(
            films.task, num_envs=num_envs, group_size=group_size, num_workers=films.num_threads, options=options
        )
    return KitchenVectorEnv(
        films.task,
        num_envs=num_envs,
        group_size=group_size,
        obs=obs,
        image_px=image_px,
        horizon=films.horizon,
        num_threads=films.num_threads,
    )


def film_expert(films: Films) -> None:
    """Four episodes of the expert, and a tree of disturbed ones. Raises RenderError without OpenGL."""
    envs = KitchenVectorEnv(films.task, num_envs=NUM_EPISODES, horizon=films.horizon)
    record_rollout(envs, ExpertAgent(envs), films.rollout, seed=films.seed)
    envs.close()
    envs = KitchenVectorEnv(films.task, num_envs=NUM_BRANCHES, group_size=NUM_BRANCHES, horizon=films.horizon)
    record_tree(envs, ExpertAgent(envs, noise=_EXPERT_NOISE), films.tree, seed=films.seed, decision=films.trunk_len)
    envs.close()


def film_all_tasks(out: Path, *, seed: int, horizon: int, progress: Callable[[int, str], None]) -> None:
    """The expert on each of the 24 tasks: `gallery.mp4`, `gallery.jpg` and `thumbnails/TASK.jpg`, in the folder `out`.

    progress: is told how many tasks are done and the last one's name. Raises RenderError without OpenGL.
    """
    clips: dict[str, list[Image]] = {}
    for task in TASKS:
        envs = KitchenVectorEnv(task, num_envs=1, horizon=horizon)
        clips[task] = film_episode(envs, ExpertAgent(envs), seed=seed)
        envs.close()
        write_thumbnail(clips[task], out / "thumbnails" / f"{task}.jpg")
        progress(len(clips), task)
    write_sheet(clips, out / "gallery.jpg")
    write_gallery(clips, out / "gallery.mp4")
