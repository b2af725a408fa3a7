"""From an id to an env: which backend serves it, and Gymnasium's registry."""

import difflib
import inspect
import logging
from collections.abc import Callable, Sequence
from typing import Any, Literal

import gymnasium as gym

from z1_envs.branch import BranchVectorEnv
from z1_envs.kitchen.env import KitchenEnv, KitchenVectorEnv, ObsMode
from z1_envs.kitchen.plans.plan import Split
from z1_envs.kitchen.scene import SceneOptions
from z1_envs.tasks import TASKS, get_task

Backend = Literal["auto", "kitchen", "robocasa"]

logger = logging.getLogger("z1_envs")


def make_env(
    task: str,
    *,
    backend: Backend = "auto",
    obs: ObsMode = "state",
    horizon: int | None = None,
    image_px: int = 128,
    split: Split = "train",
    layouts: Sequence[str] | None = None,
    styles: Sequence[str] | None = None,
    render_mode: str | None = None,
) -> gym.Env:
    """One env of `task`: what `gymnasium.make` returns. See `KitchenEnv` and `SceneOptions`."""
    _check_backend(backend)
    return KitchenEnv(
        get_task(task).name,
        obs=obs,
        horizon=horizon,
        image_px=image_px,
        scenes=_scene_options(split, layouts, styles),
        render_mode=render_mode,
    )


def make_vec_env(
    task: str,
    *,
    num_envs: int = 1,
    group_size: int = 1,
    backend: Backend = "auto",
    obs: ObsMode = "state",
    horizon: int | None = None,
    image_px: int = 128,
    split: Split = "train",
    layouts: Sequence[str] | None = None,
    styles: Sequence[str] | None = None,
    num_threads: int | None = None,
) -> BranchVectorEnv:
    """A branching vector env: what `gymnasium.make_vec` returns. See `KitchenVectorEnv` and `SceneOptions`."""
    _check_backend(backend)
    return KitchenVectorEnv(
        get_task(task).name,
        num_envs=num_envs,
        group_size=group_size,
        obs=obs,
        horizon=horizon,
        image_px=image_px,
        scenes=_scene_options(split, layouts, styles),
        num_threads=num_threads,
    )


def env_from_options(**options: Any) -> gym.Env:
    """`make_env`, after unknown options have been refused by name; the entry point of `gymnasium.make`."""
    _check_options(options, make_env)
    return make_env(**options)


def vec_env_from_options(**options: Any) -> BranchVectorEnv:
    """`make_vec_env`, after unknown options have been refused by name; the entry point of `gymnasium.make_vec`."""
    _check_options(options, make_vec_env)
    return make_vec_env(**options)


def register_tasks() -> None:
    """Registers `Z1-RoboCasa-<Task>` for all 24 tasks."""
    for task in TASKS.values():
        gym.register(
            task.env_id,
            entry_point=f"{__name__}:{env_from_options.__name__}",
            vector_entry_point=f"{__name__}:{vec_env_from_options.__name__}",
            kwargs={"task": task.name},
        )


def _scene_options(split: Split, layouts: Sequence[str] | None, styles: Sequence[str] | None) -> SceneOptions:
    for what, names in (("layouts", layouts), ("styles", styles)):
        if isinstance(names, str):
            raise ValueError(f"{what} takes a sequence of names, got the text {names!r}: write [{names!r}]")
        if names is not None and not isinstance(names, Sequence):
            raise ValueError(f"{what} takes a sequence of names, or None for the split's own; got {names!r}")
    return SceneOptions(
        split=split,
        layouts=None if layouts is None else tuple(layouts),
        styles=None if styles is None else tuple(styles),
    )


def _check_options(options: dict[str, Any], make: Callable[..., object]) -> None:
    known = [name for name in inspect.signature(make).parameters if name != "task"]
    for name in options.keys() - {*known, "task"}:
        nearest = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {nearest[0]!r}? " if nearest else ""
        raise ValueError(f"unknown option {name!r}: {hint}There are {', '.join(known)}")


def _check_backend(backend: str) -> None:
    if backend == "robocasa":
        raise ValueError(
            "this version has the embedded simulator only: use backend='kitchen', or 'auto', which takes the "
            "official RoboCasa once it is supported"
        )
    if backend not in ("auto", "kitchen"):
        raise ValueError(f"backend must be 'auto', 'kitchen' or 'robocasa', got {backend!r}")
    if backend == "auto":
        logger.info("backend 'kitchen': this version has no official RoboCasa backend")
