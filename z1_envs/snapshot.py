"""Exact snapshots of a Gymnasium env with all of its wrappers: what is in them and who takes part.

    env = SnapshotRestore(gym.make("Z1-RoboCasa-OpenDrawer"))
    env.reset(seed=0)
    here = env.snapshot()
    env.step(action)                    # any number of steps
    observation, info = env.restore(here)

`snapshot, a1…an` equals `restore, a1…an` bit for bit. For that every layer of the stack takes part:

* the base env by the `Snapshottable` protocol;
* a wrapper of yours by `get_state`/`set_state` as well, or by declaring itself `Stateless`;
* Gymnasium's own wrappers by the table `GYMNASIUM_LAYERS`.

A layer that is none of these is refused when `SnapshotRestore` is built: restoring only the base env is the
classic bug, in which `TimeLimit` goes on counting and truncates the resumed episode.

What a base env must put into its state: physics with warm start, controller, counters, Python latches, and
the random stream (`self.np_random.bit_generator.state`). `get_state` returns a record that shares no memory
with the env, `set_state` copies out of it (one record is restored many times) and changes nothing when it
raises. `z1_envs.conformance.check_snapshot` tells whether that worked.
"""

import copy
import inspect
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import gymnasium as gym
import numpy as np

from z1_envs.actions import ActionError


class SnapshotError(Exception):
    """A snapshot cannot be taken or restored exactly; the env's state is unchanged."""


@runtime_checkable
class Snapshottable(Protocol):
    """An env that can hand out its whole state and take it back.

    `scene_id` names everything that does not change during an episode (compiled model, layout, task): where
    two envs have equal ids, their states are interchangeable. Readable at any time; "" before there is one.

    An env that is built with arguments may have a `snapshot_name: str` that holds them: snapshots are exchanged
    between envs of equal names only. Without one the name is that of the class.
    """

    scene_id: str

    def get_state(self) -> Any:
        """The whole state as a picklable record that shares no memory with the env."""
        ...

    def set_state(self, state: Any, /) -> None:
        """Continue from `state`, exactly; raises without a change where it cannot."""
        ...


class Stateless:
    """Declares that a wrapper keeps nothing from one step to the next: `class W(Stateless, gym.Wrapper)`.

    The declaration is not inherited: a subclass may add state, so it declares for itself.
    """


@dataclass(frozen=True, kw_only=True, eq=False)
class Snapshot:
    """One moment of one env or lane. Picklable; restoring does not use it up.

    stack: names of the layers, outermost first, with their plain constructor arguments.
    states: one opaque record per layer, in the order of `stack`.
    observation, info, terminated, truncated: what the last `reset`, `step` or `restore` returned.
    """

    scene_id: str
    stack: tuple[str, ...]
    states: tuple[Any, ...]
    observation: Any
    info: dict[str, Any]
    terminated: bool = False
    truncated: bool = False


@dataclass(frozen=True)
class LayerAccess:
    """How one kind of layer hands out its state and takes it back."""

    get_state: Callable[[Any], Any]
    set_state: Callable[[Any, Any], None]


def copied(value: Any) -> Any:
    """`value` without shared memory; several times faster than `copy.deepcopy` for dicts of arrays."""
    if isinstance(value, np.ndarray):
        return value.copy() if value.dtype != object else copy.deepcopy(value)
    if value is None or isinstance(value, (bool, int, float, str, bytes, np.generic)):
        return value
    if type(value) is dict:
        return {key: copied(item) for key, item in value.items()}
    return copy.deepcopy(value)


def _fields(*names: str) -> LayerAccess:
    """Access to a layer whose whole state is in the attributes `names`."""

    def get_state(layer: Any) -> tuple[Any, ...]:
        return tuple(copied(getattr(layer, name)) for name in names)

    def set_state(layer: Any, state: tuple[Any, ...]) -> None:
        for name, value in zip(names, state, strict=True):
            setattr(layer, name, copied(value))

    return LayerAccess(get_state, set_state)


def _get_statistics(layer: gym.wrappers.RecordEpisodeStatistics) -> tuple[Any, ...]:
    # The start is kept as an age: another process has another clock. The queues of finished episodes are a
    # log of what this env has seen, not part of a moment.
    return layer.episode_returns, layer.episode_lengths, time.perf_counter() - layer.episode_start_time


def _set_statistics(layer: gym.wrappers.RecordEpisodeStatistics, state: tuple[Any, ...]) -> None:
    layer.episode_returns, layer.episode_lengths = state[0], state[1]
    layer.episode_start_time = time.perf_counter() - state[2]


def _set_checker(layer: Any, _state: tuple[()]) -> None:
    # The checker compares the first two outputs after the first reset. After a restore there is nothing
    # before the next step to compare with, and it would fail on the None it finds.
    layer.checked_reset = layer.checked_step = layer.checked_data_reuse = True
    layer._previous_data = None


_STATELESS = LayerAccess(lambda layer: (), lambda layer, state: None)
_OWN = LayerAccess(lambda layer: layer.get_state(), lambda layer, state: layer.set_state(state))

# Every wrapper of gymnasium.wrappers 1.4, by class name: touching the converting ones imports torch or jax.
# A string is the reason for a refusal. The functions handed to Transform… are taken to be pure.
GYMNASIUM_LAYERS: dict[str, LayerAccess | str] = {
    "TimeLimit": _fields("_elapsed_steps"),
    "OrderEnforcing": _fields("_has_reset"),
    "Autoreset": _fields("autoreset"),
    "PassiveEnvChecker": LayerAccess(lambda layer: (), _set_checker),
    "RecordEpisodeStatistics": LayerAccess(_get_statistics, _set_statistics),
    "TimeAwareObservation": _fields("timesteps"),
    "DelayObservation": _fields("observation_queue"),
    "FrameStackObservation": _fields("obs_queue", "padding_value"),
    "MaxAndSkipObservation": _fields("_obs_buffer"),
    "NormalizeObservation": _fields("obs_rms", "_update_running_mean"),
    "NormalizeReward": _fields("return_rms", "discounted_reward", "_update_running_mean"),
    "StickyAction": _fields("last_action", "is_sticky_actions", "num_repeats", "repeats_taken"),
    "AtariPreprocessing": _fields("lives", "game_over", "obs_buffer"),
    "RecordVideo": "its film would join moments that do not follow each other; record with z1_envs.video",
    "RenderCollection": "its frames would join moments that do not follow each other; use z1_envs.video",
} | dict.fromkeys(
    (
        *("AddRenderObservation", "AddWhiteNoise", "ArrayConversion", "ClipAction", "ClipReward"),
        *("DiscretizeAction", "DiscretizeObservation", "DtypeObservation", "FilterObservation"),
        *("FlattenObservation", "GrayscaleObservation", "HumanRendering", "JaxToNumpy", "JaxToTorch"),
        *("NumpyToTorch", "ObstructView", "RepeatAction", "RescaleAction", "RescaleObservation"),
        *("ReshapeObservation", "ResizeObservation", "TransformAction", "TransformObservation"),
        "TransformReward",
    ),
    _STATELESS,
)


def _layer_access(layer: gym.Env) -> LayerAccess:
    """How to reach the state of a wrapper; raises SnapshotError, with the remedy, where nobody knows."""
    kind = type(layer)
    if kind is SnapshotRestore:
        raise SnapshotError(
            "SnapshotRestore is in the stack already; build it once, around all other wrappers, "
            "or pass the env that is inside it (`env.env`)"
        )
    if kind.__module__.startswith("gymnasium.wrappers"):
        access = GYMNASIUM_LAYERS.get(kind.__name__, "this version of z1_envs does not know it")
        if isinstance(access, LayerAccess):
            return access
        raise SnapshotError(
            f"gymnasium's {kind.__name__} cannot be snapshotted: {access}. Remove this wrapper from the stack"
        )
    if Stateless in kind.__bases__:
        return _STATELESS
    if "get_state" in vars(kind) and "set_state" in vars(kind):
        return _OWN
    raise SnapshotError(
        f"the wrapper {kind.__module__}.{kind.__qualname__} may keep state that nobody would restore. Give "
        "that class get_state() and set_state(state), or, if it keeps nothing between steps, declare it: "
        f"class {kind.__name__}(z1_envs.snapshot.Stateless, gym.Wrapper)"
    )


def _base_access(base: gym.Env) -> LayerAccess:
    """The same for the innermost env."""
    missing = [name for name in ("get_state", "set_state") if not callable(getattr(base, name, None))]
    try:
        inspect.getattr_static(base, "scene_id")  # does not run a property, which may need a reset first
    except AttributeError:
        missing.append("scene_id")
    if missing:
        raise SnapshotError(
            f"{type(base).__module__}.{type(base).__qualname__} is not Snapshottable, it lacks "
            f"{', '.join(missing)}; add that in a subclass (a dozen lines, see examples/branch_any_env.py)"
        )
    return _OWN


def _layer_name(layer: gym.Env) -> str:
    """An env's own `snapshot_name`; else the class, with the constructor arguments of a wrapper that are plain."""
    own = None if isinstance(layer, gym.Wrapper) else getattr(layer, "snapshot_name", None)
    if own is not None:
        return own
    arguments = getattr(layer, "_saved_kwargs", {}) if isinstance(layer, gym.Wrapper) else {}
    plain = [f"{k}={v!r}" for k, v in arguments.items() if isinstance(v, (bool, int, float, str))]
    return f"{type(layer).__name__}({', '.join(plain)})" if plain else type(layer).__name__


def check_same_stack(snapshot: Snapshot, stack: tuple[str, ...]) -> None:
    """Raises SnapshotError, with the layers that differ, where a snapshot belongs to another stack, or is none."""
    if not isinstance(snapshot, Snapshot):
        raise SnapshotError(f"expected a Snapshot, as snapshot() or save() returns it, got {type(snapshot).__name__}")
    if snapshot.stack != stack:
        theirs, ours = _unlike(snapshot.stack, stack)
        raise SnapshotError(
            f"the snapshot was taken from the stack {theirs}, this env is {ours}; restore it into an env built alike, "
            "with the same wrappers"
        )


def check_same_scene(snapshot: Snapshot, scene_id: str, base: object = None) -> None:
    """Raises SnapshotError, with both values, where a snapshot belongs to another scene.

    base: the env that holds `scene_id`, which may have a get_scene().
    """
    if snapshot.scene_id != scene_id:
        by_scene = ""
        if callable(getattr(base, "get_scene", None)):
            by_scene = ', or with reset(options={"scene": scene}), where scene is what its get_scene() returned then'
        raise SnapshotError(
            f"the snapshot belongs to scene {snapshot.scene_id!r}, this env holds scene {scene_id!r}; reset the env "
            f"with the seed that made the snapshot's scene{by_scene}; then restore"
        )


def _unlike(theirs: tuple[str, ...], ours: tuple[str, ...]) -> tuple[str, str]:
    """Both stacks without the layers that they share at the outside and at the inside."""
    outer = 0
    while outer < min(len(theirs), len(ours)) and theirs[outer] == ours[outer]:
        outer += 1
    inner = 0
    while inner < min(len(theirs), len(ours)) - outer and theirs[-1 - inner] == ours[-1 - inner]:
        inner += 1

    def shown(stack: tuple[str, ...]) -> str:
        layers = stack[outer : len(stack) - inner]
        return " > ".join([*(["…"] if outer else []), *(layers or ["nothing"]), *(["…"] if inner else [])])

    return shown(theirs), shown(ours)


class SnapshotRestore(gym.Wrapper):
    """Adds `snapshot` and `restore` to an env. Build it last: wrappers outside of it take no part.

    Snapshots are exchanged between envs that are built alike; with the lanes of a LaneVectorEnv too, but not with those
    of the embedded kitchen's vector env, whose random streams are of another kind.

    Raises SnapshotError at construction where a layer's state is out of reach.
    """

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        self._layers: list[tuple[gym.Env, LayerAccess]] = []
        layer = env
        while isinstance(layer, gym.Wrapper):
            self._layers.append((layer, _layer_access(layer)))
            layer = layer.env
        self._layers.append((layer, _base_access(layer)))
        self._base: Any = layer
        self.stack = tuple(_layer_name(layer) for layer, _ in self._layers)
        self._last: tuple[Any, dict[str, Any], bool, bool] | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """As the env's own. Where it refuses seed or options, the episode goes on as if it had not been called."""
        last, self._last = self._last, None  # until it is known where the env is
        before = (self._base.scene_id, self._states()) if last is not None else None
        try:
            observation, info = self.env.reset(seed=seed, options=options)
        except (ValueError, TypeError, SnapshotError, gym.error.Error):
            if before is not None and before[0] == self._base.scene_id:
                # A wrapper has started anew: Gymnasium's TimeLimit counts from 0 before the env is asked.
                self._put(before[1])
                self._last = last
            raise
        # Copies, here and in step: what is returned is the caller's, who may normalise it in place.
        self._last = (copied(observation), copied(info), False, False)
        return observation, info

    def step(self, action: Any) -> Any:
        """As the env's own. After any error but ActionError and ResetNeeded the env may be anywhere."""
        last, self._last = self._last, None  # until it is known where the env is
        try:
            result = self.env.step(action)
        except (ActionError, gym.error.ResetNeeded):  # refused before anything has moved
            self._last = last
            raise
        self._last = (copied(result[0]), copied(result[4]), bool(result[2]), bool(result[3]))
        return result

    def snapshot(self) -> Snapshot:
        """This moment. Raises SnapshotError before the first reset, and after a call that failed or met Ctrl-C."""
        if self._last is None:
            raise SnapshotError("there is nothing to snapshot: call reset() first, or restore a snapshot")
        observation, info, terminated, truncated = self._last
        return Snapshot(
            scene_id=self._base.scene_id,
            stack=self.stack,
            states=self._states(),
            observation=copied(observation),
            info=copied(info),
            terminated=terminated,
            truncated=truncated,
        )

    def restore(self, snapshot: Snapshot) -> tuple[Any, dict[str, Any]]:
        """Continue from `snapshot`; returns its (observation, info), like `reset`.

        Raises SnapshotError for another scene or stack, and whatever a layer's `set_state` raises; the state
        is unchanged then.
        """
        check_same_stack(snapshot, self.stack)
        check_same_scene(snapshot, self._base.scene_id, self._base)
        # A layer's set_state is atomic by contract. Only where several layers could refuse does the whole
        # need a way back; Gymnasium's own never refuse.
        num_own = sum(access is _OWN for _, access in self._layers)
        before = self._states() if num_own > 1 else None
        try:
            self._put(snapshot.states)
        except Exception:
            if before is not None:
                self._put(before)
            raise
        observation, info = copied(snapshot.observation), copied(snapshot.info)
        self._last = (observation, info, snapshot.terminated, snapshot.truncated)
        return copied(observation), copied(info)

    def _states(self) -> tuple[Any, ...]:
        return tuple([access.get_state(layer) for layer, access in self._layers])

    def _put(self, states: tuple[Any, ...]) -> None:
        """The base env first: with only one layer that can refuse, nothing has changed when it does."""
        for (layer, access), state in zip(reversed(self._layers), reversed(states), strict=True):
            access.set_state(layer, state)
