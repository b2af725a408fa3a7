"""Are an env's snapshots exact? A check that any env author can call from a test.

    check_snapshot(gym.make("MyEnv-v0"), make_env=make_my_env)

A snapshot is taken a few steps into an episode and a fixed list of actions is played from it: once as the
reference, then after restoring it in place, through pickle, after other steps, after a reset with another
seed (and back to the same one, where the seed decides the scene), and in another process. All must agree bit
for bit. Every layer's output is watched, so a difference is reported with the step, the quantity and the
innermost layer that shows it.

`info["episode"]["t"]` of Gymnasium's RecordEpisodeStatistics is wall-clock time and never agrees: check the
env without that wrapper.
"""

import copy
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
import numpy as np

from z1_envs.snapshot import Snapshot, SnapshotError, SnapshotRestore
from z1_envs.worker import WorkerLane

_QUANTITIES = ("observation", "reward", "terminated", "truncated", "info")
_WARM_UP = 5  # [steps] before the snapshot: at the very start counters and warm starts are zero and prove little
_TINY = 1e-6  # differences below are typical of a solver that started elsewhere, not of forgotten logic

StepOutputs = list[tuple[str, tuple[Any, ...]]]  # per layer, innermost first: its name and what step returned


def check_snapshot(
    env: gym.Env,
    *,
    steps: int = 50,
    seed: int = 0,
    make_env: Callable[[], gym.Env] | None = None,
) -> int:
    """Raises SnapshotError at the first difference; returns the number of steps that were compared.

    steps: length of the replay [steps], shorter where the episode ends before.
    make_env: builds the same env; where given, the replay is repeated in another process.
    """
    wrapped = env if isinstance(env, SnapshotRestore) else SnapshotRestore(env)
    space = copy.deepcopy(env.action_space)
    space.seed(seed)
    actions = [space.sample() for _ in range(steps + _WARM_UP)]
    others = [space.sample() for _ in range(steps)]

    _warm_up(wrapped, actions[steps:], seed)
    snapshot = wrapped.snapshot()
    stream = _random_stream(wrapped)
    reference = _play(wrapped, actions[:steps])
    draw = float(wrapped.np_random.random())

    def replay(occasion: str, moment: Snapshot) -> None:
        returned = wrapped.restore(moment)
        _compare(returned[0], snapshot.observation, f"the observation that restore() returned {occasion}")
        _compare(returned[1], snapshot.info, f"the info that restore() returned {occasion}")
        hint = "save self.np_random.bit_generator.state in get_state() and set it in set_state()"
        _compare(_random_stream(wrapped), stream, f"the random stream (np_random) {occasion}", hint)
        _compare_plays(_play(wrapped, actions[:steps]), reference, occasion)
        _compare(float(wrapped.np_random.random()), draw, f"the next random draw after a replay {occasion}", hint)

    replay("in place", snapshot)
    replay("through pickle", pickle.loads(pickle.dumps(snapshot)))
    wrapped.restore(snapshot)
    _play(wrapped, others)
    replay("after other steps", snapshot)
    wrapped.reset(seed=seed + 1)
    occasion = "after a reset with another seed"
    base: Any = wrapped.unwrapped
    if base.scene_id != snapshot.scene_id:  # the seed decides the scene: only the same one leads back to it
        _play(wrapped, others[:3])
        wrapped.reset(seed=seed)
        occasion = "after resets with another and the same seed"
    _play(wrapped, others[:3])
    replay(occasion, snapshot)
    if make_env is not None:
        _replay_elsewhere(make_env, snapshot, seed, actions[:steps], reference, draw)
    return len(reference)


def _warm_up(env: SnapshotRestore, actions: list[Any], seed: int) -> None:
    """Resets and takes some steps, fewer where the episode would be over."""
    env.reset(seed=seed)
    for num_done, action in enumerate(actions):
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            _warm_up(env, actions[:num_done], seed)
            return


def _play(env: SnapshotRestore, actions: list[Any]) -> list[StepOutputs]:
    """Steps until the actions or the episode end; what each layer returned at each step."""
    plays: list[StepOutputs] = []
    with _watched(env) as outputs:
        for action in actions:
            _, _, terminated, truncated, _ = env.step(action)
            plays.append(list(outputs))
            outputs.clear()
            if terminated or truncated:
                break
    return plays


@contextmanager
def _watched(env: SnapshotRestore) -> Iterator[StepOutputs]:
    """Notes what every layer below `env` returns from step, in the order in which they return."""
    outputs: StepOutputs = []
    layers: list[Any] = []
    layer: Any = env
    while isinstance(layer, gym.Wrapper):
        layer = layer.env
        layers.append(layer)

    def watch(step: Callable[[Any], Any], name: str) -> Callable[[Any], Any]:
        def watched_step(action: Any) -> Any:
            result = step(action)
            outputs.append((name, copy.deepcopy(result)))  # outer layers may write into it
            return result

        return watched_step

    try:
        for layer in layers:
            # An instance attribute hides the method of the class; deleting it brings the method back.
            layer.step = watch(layer.step, type(layer).__name__)
        yield outputs
    finally:
        for layer in layers:
            vars(layer).pop("step", None)


def _random_stream(env: SnapshotRestore) -> Any:
    return copy.deepcopy(env.unwrapped.np_random.bit_generator.state)


def _replay_elsewhere(
    make_env: Callable[[], gym.Env],
    snapshot: Snapshot,
    seed: int,
    actions: list[Any],
    reference: list[StepOutputs],
    draw: float,
) -> None:
    """The same replay in a worker, where only the outermost layer can be watched."""
    occasion = "in another process"
    lane = WorkerLane(make_env, 0)
    try:
        lane.describe()

        def call(command: str, *arguments: Any) -> Any:
            lane.send(command, *arguments)
            return lane.receive()

        call("reset", seed, None)
        call("restore", snapshot.scene_id, snapshot.states)
        for index, (action, expected) in enumerate(zip(actions, reference, strict=False)):
            result = call("step", np.asarray(action)[None])
            _compare_step([(expected[-1][0], result)], expected[-1:], index, occasion)
        _compare(call("draw"), draw, f"the next random draw after a replay {occasion}")
    finally:
        lane.close()


def _compare_plays(plays: list[StepOutputs], reference: list[StepOutputs], occasion: str) -> None:
    for index, (now, before) in enumerate(zip(plays, reference, strict=False)):
        _compare_step(now, before, index, occasion)
    if len(plays) != len(reference):
        raise SnapshotError(f"the replay {occasion} has {len(plays)} steps, the first had {len(reference)}")


def _compare_step(now: StepOutputs, before: StepOutputs, index: int, occasion: str) -> None:
    for (layer, outputs), (_, expected) in zip(now, before, strict=True):
        for quantity, got, want in zip(_QUANTITIES, outputs, expected, strict=True):
            what = f"step {index + 1} of a replay {occasion}: layer {layer}, {quantity}"
            _compare(
                got,
                want,
                what,
                f"something that {layer}.step() reads is not in its state: a counter, a "
                "latch, a controller's memory, a random stream, a warm start",
            )


def _compare(got: Any, want: Any, what: str, hint: str = "see z1_envs.snapshot for what belongs into a state") -> None:
    found = first_difference(got, want)
    if found is None:
        return
    path, size = found
    if 0 < size < _TINY:
        hint = (
            "so small a difference comes from a solver or from stale derived fields: save mjSTATE_INTEGRATION "
            "(it holds qacc_warmstart), call mj_kinematics and mj_comPos at the start of every step"
        )
    raise SnapshotError(f"{what}{path} differs by {size:.3g}: {hint}" if size else f"{what}{path} differs: {hint}")


def first_difference(got: Any, want: Any) -> tuple[str, float] | None:
    """Where two nested values differ bit for bit, as ("['key'][0]", size), or None; size 0 if not numbers."""
    if isinstance(got, dict) and isinstance(want, dict):
        if got.keys() != want.keys():
            return f" has keys {sorted(map(str, got))}, before {sorted(map(str, want))}, and", 0.0
        pairs = [(f"[{key!r}]", got[key], want[key]) for key in want]
    elif isinstance(got, (list, tuple)) and isinstance(want, (list, tuple)) and len(got) == len(want):
        pairs = [(f"[{i}]", a, b) for i, (a, b) in enumerate(zip(got, want, strict=True))]
    else:
        return _leaf_difference(got, want)
    for path, a, b in pairs:
        found = first_difference(a, b)
        if found is not None:
            return path + found[0], found[1]
    return None


def _leaf_difference(got: Any, want: Any) -> tuple[str, float] | None:
    a, b = np.asarray(got), np.asarray(want)
    if a.dtype == object or b.dtype == object:
        return None if got is want or bool(np.all(got == want)) else ("", 0.0)
    if a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes():
        return None
    if a.shape != b.shape or a.dtype.kind not in "biuf" or b.dtype.kind not in "biuf":
        return "", 0.0
    return "", float(np.max(np.abs(a.astype(np.float64) - b.astype(np.float64))))
