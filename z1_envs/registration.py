"""From an id to an env: which backend serves it, with which options, and Gymnasium's registry."""

import difflib
import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import gymnasium as gym

from z1_envs.branch import BranchVectorEnv
from z1_envs.kitchen.env import KitchenEnv, KitchenVectorEnv
from z1_envs.kitchen.plans.plan import Split
from z1_envs.kitchen.scene import SceneOptions
from z1_envs.kitchen.spaces import ObsMode
from z1_envs.layout import CAMERAS
from z1_envs.robocasa.env import RoboCasaEnv
from z1_envs.robocasa.options import RoboCasaOptions
from z1_envs.robocasa.options import Split as RoboCasaSplit
from z1_envs.robocasa.preflight import why_not_official
from z1_envs.robocasa.vector import RoboCasaVectorEnv
from z1_envs.tasks import TASKS, get_task

Backend = Literal["auto", "kitchen", "robocasa"]

logger = logging.getLogger("z1_envs")


def make_kitchen_env(
    task: str,
    *,
    obs: ObsMode = "state",
    horizon: int | None = None,
    image_px: int = 128,
    split: Split = "train",
    layouts: Sequence[str] | None = None,
    styles: Sequence[str] | None = None,
    render_mode: str | None = None,
) -> gym.Env:
    """One env in the embedded kitchen. See `KitchenEnv` and `SceneOptions`."""
    return KitchenEnv(
        get_task(task).name,
        obs=obs,
        horizon=horizon,
        image_px=image_px,
        scenes=_scene_options(split, layouts, styles),
        render_mode=render_mode,
    )


def make_kitchen_vec_env(
    task: str,
    *,
    num_envs: int = 1,
    group_size: int = 1,
    obs: ObsMode = "state",
    horizon: int | None = None,
    image_px: int = 128,
    split: Split = "train",
    layouts: Sequence[str] | None = None,
    styles: Sequence[str] | None = None,
    num_threads: int | None = None,
    render_mode: str | None = None,
) -> BranchVectorEnv:
    """A branching vector env in the embedded kitchen. See `KitchenVectorEnv` and `SceneOptions`."""
    return KitchenVectorEnv(
        get_task(task).name,
        num_envs=num_envs,
        group_size=group_size,
        obs=obs,
        horizon=horizon,
        image_px=image_px,
        scenes=_scene_options(split, layouts, styles),
        num_threads=num_threads,
        render_mode=render_mode,
    )


def make_robocasa_env(
    task: str,
    *,
    obs: ObsMode = "state",
    horizon: int | None = None,
    image_px: int = 128,
    cameras: Sequence[str] = tuple(CAMERAS),
    state_width: int = 16,
    split: RoboCasaSplit = "train",
    layouts: Sequence[int] | None = None,
    styles: Sequence[int] | None = None,
    layout_styles: Sequence[tuple[int, int]] | None = None,
    assets: str | Path | None = None,
    render_mode: str | None = None,
) -> gym.Env:
    """One env of the official RoboCasa. See `RoboCasaEnv` and `RoboCasaOptions`."""
    options = RoboCasaOptions(
        obs=obs,
        horizon=horizon,
        image_px=image_px,
        cameras=_as_tuple("cameras", "keys", cameras),
        state_width=state_width,
        split=split,
        layouts=_numbers("layouts", layouts),
        styles=_numbers("styles", styles),
        layout_styles=_pairs(layout_styles),
        assets=None if assets is None else Path(assets),
    )
    return RoboCasaEnv(get_task(task).name, options, render_mode=render_mode)


def make_robocasa_vec_env(
    task: str,
    *,
    num_envs: int = 1,
    group_size: int = 1,
    obs: ObsMode = "state",
    horizon: int | None = None,
    image_px: int = 128,
    cameras: Sequence[str] = tuple(CAMERAS),
    state_width: int = 16,
    split: RoboCasaSplit = "train",
    layouts: Sequence[int] | None = None,
    styles: Sequence[int] | None = None,
    layout_styles: Sequence[tuple[int, int]] | None = None,
    assets: str | Path | None = None,
    num_workers: int | None = None,
    scenes_per_worker: int = 8,
    worker_memory_gib: float | None = 4.0,
    remembered_starts: int = 32,
    render_mode: str | None = None,
) -> BranchVectorEnv:
    """A branching vector env of the official RoboCasa. See `RoboCasaVectorEnv` and `RoboCasaOptions`."""
    options = RoboCasaOptions(
        obs=obs,
        horizon=horizon,
        image_px=image_px,
        cameras=_as_tuple("cameras", "keys", cameras),
        state_width=state_width,
        split=split,
        layouts=_numbers("layouts", layouts),
        styles=_numbers("styles", styles),
        layout_styles=_pairs(layout_styles),
        assets=None if assets is None else Path(assets),
    )
    return RoboCasaVectorEnv(
        get_task(task).name,
        num_envs=num_envs,
        group_size=group_size,
        options=options,
        num_workers=num_workers,
        scenes_per_worker=scenes_per_worker,
        worker_memory_gib=worker_memory_gib,
        remembered_starts=remembered_starts,
        render_mode=render_mode,
    )


# What serves an id, by backend; the names of its arguments are the options that `gymnasium.make` takes.
_MAKERS: Mapping[str, Callable[..., gym.Env]] = {"kitchen": make_kitchen_env, "robocasa": make_robocasa_env}
_VEC_MAKERS: Mapping[str, Callable[..., BranchVectorEnv]] = {
    "kitchen": make_kitchen_vec_env,
    "robocasa": make_robocasa_vec_env,
}
_ENTRIES: Mapping[str, Mapping[str, Callable[..., object]]] = {
    "gymnasium.make": _MAKERS,
    "gymnasium.make_vec": _VEC_MAKERS,
}


def env_from_options(*, registered_task: str, backend: Backend = "auto", **options: Any) -> gym.Env:
    """The entry point of `gymnasium.make`. Raises ValueError for options that the backend does not have."""
    chosen = _choose(backend)
    _check_options(options, chosen, "gymnasium.make")
    return _MAKERS[chosen](registered_task, **options)


def vec_env_from_options(*, registered_task: str, backend: Backend = "auto", **options: Any) -> BranchVectorEnv:
    """The entry point of `gymnasium.make_vec`. Raises ValueError for options that the backend does not have."""
    chosen = _choose(backend)
    _check_options(options, chosen, "gymnasium.make_vec")
    return _VEC_MAKERS[chosen](registered_task, **options)


def register_tasks() -> None:
    """Registers `Z1-RoboCasa-<Task>` for all 24 tasks."""
    for task in TASKS.values():
        gym.register(
            task.env_id,
            entry_point=f"{__name__}:{env_from_options.__name__}",
            vector_entry_point=f"{__name__}:{vec_env_from_options.__name__}",
            kwargs={"registered_task": task.name},  # not `task`, which a caller may pass by mistake: it is refused
            # The envs check every action themselves, and the checker would not survive a first reset that is refused.
            disable_env_checker=True,
        )


def _choose(backend: str) -> str:
    """The backend for `backend`; "auto" is the official RoboCasa where it and its official assets are there."""
    if backend in ("kitchen", "robocasa"):
        return backend
    if backend != "auto":
        raise ValueError(f"backend must be 'auto', 'kitchen' or 'robocasa', got {backend!r}")
    reason = why_not_official()
    if reason is None:
        logger.info("backend 'robocasa': RoboCasa and its official assets are both there")
        return "robocasa"
    logger.info("backend 'kitchen', not 'robocasa': %s", reason)
    return "kitchen"


def _check_options(options: Mapping[str, Any], backend: str, function: str) -> None:
    """Raises ValueError for an option that `function` of Gymnasium does not have here, with where it is at home."""
    known = _options_of(_ENTRIES[function][backend])
    for name in options:
        if name not in known:
            hint = _hint(name, backend, function)
            raise ValueError(f"backend {backend!r} has no option {name!r}: {hint}there are backend, {', '.join(known)}")


def _hint(name: str, backend: str, function: str) -> str:
    """What may have been meant by the option `name`; "" where nothing comes near."""
    if name == "task":
        return "the id names the task; "
    if name == "max_episode_steps":
        return "it is called horizon; "
    for other, makers in sorted(_ENTRIES.items(), key=lambda entry: entry[0] != function):  # the same function first
        owners = [owner for owner, maker in makers.items() if name in _options_of(maker)]
        if owners and other == function:
            return f"it is one of backend {owners[0]!r}; "
        if owners:
            return f"{other} has it; " if backend in owners else f"{other} has it for backend {owners[0]!r}; "
    nearest = difflib.get_close_matches(name, _options_of(_ENTRIES[function][backend]), n=1)
    return f"did you mean {nearest[0]!r}? " if nearest else ""


def _options_of(maker: Callable[..., object]) -> list[str]:
    return [name for name in inspect.signature(maker).parameters if name != "task"]


def _scene_options(split: Split, layouts: Sequence[str] | None, styles: Sequence[str] | None) -> SceneOptions:
    return SceneOptions(
        split=split,
        layouts=None if layouts is None else _names("layouts", layouts),
        styles=None if styles is None else _names("styles", styles),
    )


def _names(what: str, names: Sequence[str]) -> tuple[str, ...]:
    names = _as_tuple(what, "names", names)
    numbers = [name for name in names if isinstance(name, int)]
    if numbers:
        raise ValueError(f"the kitchen's {what} are names, got {numbers[0]}; numbers are for backend='robocasa'")
    return names


def _numbers(what: str, numbers: Sequence[int] | None) -> tuple[int, ...] | None:
    return None if numbers is None else _as_tuple(what, "numbers", numbers)


def _pairs(pairs: Sequence[tuple[int, int]] | None) -> tuple[tuple[int, int], ...] | None:
    if pairs is None:
        return None
    found = [_as_tuple("layout_styles", "pairs", pair) for pair in _as_tuple("layout_styles", "pairs", pairs)]
    return tuple(found)


def _as_tuple(what: str, kind: str, given: Sequence[Any]) -> tuple[Any, ...]:
    if isinstance(given, str):
        raise ValueError(f"{what} takes a sequence of {kind}, got the text {given!r}: write [{given!r}]")
    if not isinstance(given, Sequence):
        raise ValueError(f"{what} takes a sequence of {kind}, or None for the split's own; got {given!r}")
    return tuple(given)
