"""The branching vector env: groups of lanes that share one start and split when you say so.

    envs = gym.make_vec("Z1-RoboCasa-OpenDrawer", num_envs=64, group_size=8)
    observation, infos = envs.reset(seed=0)         # group g starts from seed 0 + g, in 8 identical lanes
    first = np.arange(64) % 8 == 0
    envs.step(chunks, active=first)                 # roll one lane per group: the trunk
    envs.branch(np.arange(64) // 8 * 8)             # all lanes of a group continue from its first lane
    envs.step(chunks)                               # from here on they differ

Sharing a trunk and splitting a tree are both one gather: `branch(p)` then `branch(q)` equals `branch(p[q])`.
A finished lane freezes until `reset`, `restore` or `branch` gives it another state; nothing resets by itself. Until
then it says terminated or truncated at every step, and Gymnasium's vector RecordEpisodeStatistics counts its episode
each time. With group_size=1 and `reset(options={"reset_mask": terminated | truncated})` after every step that ends an
episode, it counts right.

`BranchVectorEnv` checks arguments and keeps what every lane returned last; a subclass moves states in five
hooks. `z1_envs.kitchen` fills them in process for all lanes at once, `z1_envs.lanes.LaneVectorEnv` for
any Snapshottable Gymnasium env, in process or in worker processes.

Axes: L lanes, G groups, n the lanes a call concerns, H chunk length, A action shape.
"""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.error import ClosedEnvironmentError, ResetNeeded
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike, NDArray

from z1_envs.actions import ActionCheck
from z1_envs.arguments import check_whole
from z1_envs.lane_rows import Infos, LaneRows, Observation
from z1_envs.snapshot import Snapshot, SnapshotError, check_same_scene, check_same_stack

_SEED_LIMIT = 2**63  # seeds that the env draws itself lie below


def check_groups(num_envs: int, group_size: int) -> None:
    """Raises ValueError where `num_envs` lanes do not make groups of `group_size`."""
    check_whole("num_envs", num_envs, least=1)
    check_whole("group_size", group_size, least=1)
    if num_envs % group_size:
        raise ValueError(f"num_envs must be a multiple of group_size, got {num_envs} and {group_size}")


def check_branching(envs: object, who: str) -> None:
    """Raises TypeError, with what to pass instead, where `who` is given anything but a BranchVectorEnv."""
    if isinstance(envs, BranchVectorEnv):
        return
    remedy = "gymnasium.make_vec makes one of our ids, without a vectorization_mode, LaneVectorEnv one of your own env"
    if isinstance(getattr(envs, "unwrapped", None), BranchVectorEnv):
        remedy = "pass `envs.unwrapped`, which is inside of that wrapper"
    elif isinstance(envs, gym.Env):
        remedy = "that is a single env; use gymnasium.make_vec for one of our ids, LaneVectorEnv for your own env"
    raise TypeError(f"{who} takes a BranchVectorEnv, got {type(envs).__name__}: {remedy}")


class BranchVectorEnv(gym.vector.VectorEnv, ABC):
    """L lanes in G groups of `group_size`; lane i belongs to group i // group_size.

    A hook gets checked arguments and may fail only for reasons of its own. Rows a hook returns belong to the
    base class; the ones it is given it must not keep.
    A snapshot of another scene than the lane's is refused before any hook runs, but by a subclass that can make that
    scene again (`_remakes_scenes`). Where stepping or branching fails, some lanes may have moved without a word on
    where to: all of that call need another state then, but not where the subclass has moved none
    (`_moves_all_or_none`).
    """

    metadata: dict[str, Any] = {"autoreset_mode": gym.vector.AutoresetMode.DISABLED}  # noqa: RUF012 (gymnasium's)
    _remakes_scenes = False
    _moves_all_or_none = False

    def __init__(
        self,
        *,
        num_envs: int,
        group_size: int,
        single_observation_space: spaces.Space,
        single_action_space: spaces.Space,
        stack: tuple[str, ...],
    ) -> None:
        """stack: names of the layers of a lane, outermost first; snapshots of another stack are refused.

        Raises ValueError for group sizes that do not divide num_envs and for spaces other than: observations
        Box, Discrete, MultiDiscrete, MultiBinary or a flat Dict of these; actions the first three.
        """
        check_groups(num_envs, group_size)
        self.num_envs = num_envs
        self.group_size = group_size
        self.num_groups = num_envs // group_size
        self.group_index: NDArray[np.int64] = np.arange(num_envs) // group_size
        self.single_observation_space = single_observation_space
        self.single_action_space = single_action_space
        self.observation_space = batch_space(single_observation_space, num_envs)
        self.action_space = batch_space(single_action_space, num_envs)
        self.stack = stack
        self._action_check = ActionCheck(single_action_space, num_envs)
        self._rows = LaneRows(num_envs, single_observation_space)

    # --- What a subclass fills ---

    @abstractmethod
    def _reset_groups(
        self, groups: NDArray[np.int64], seeds: list[int | None], options: dict[str, Any] | None
    ) -> tuple[Observation, Infos, list[str]]:
        """Starts groups[k] from seeds[k] (None: from its own random stream), all its lanes alike, and no other.

        groups: sorted, distinct; all of them at the first reset. Returns rows of their n lanes: observations
        [n, …], infos [n], scene ids (n of them).
        """

    @abstractmethod
    def _step_lanes(
        self, actions: NDArray, lanes: NDArray[np.int64]
    ) -> tuple[Observation, NDArray, NDArray, NDArray, Infos]:
        """Applies `actions` [n, H, A] to `lanes` [n] (sorted, distinct, unfinished), and to no other.

        A lane stops inside its chunk at the step at which it is done; its reward is the sum until there.
        Returns rows [n, …]: observations, rewards, terminated, truncated, infos.
        """

    @abstractmethod
    def _branch_lanes(self, lanes: NDArray[np.int64], source: NDArray[np.int64]) -> None:
        """lanes[k] gets the state that source[k] had before the call (a gather: source may contain lanes)."""

    @abstractmethod
    def _save_lanes(self, lanes: NDArray[np.int64]) -> list[tuple[Any, ...]]:
        """Per lane one picklable record for each layer of `stack`, sharing no memory with the env."""

    @abstractmethod
    def _restore_lanes(self, lanes: NDArray[np.int64], scene_ids: list[str], records: list[tuple[Any, ...]]) -> None:
        """Gives lanes[k] the state records[k]; atomic for one lane (the base class undoes several).

        scene_ids[k] is the lane's own scene, or with `_remakes_scenes` any that lanes of this stack have had.
        """

    # --- The public face ---

    def close(self) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] (close_extras takes no options)
        """Frees what the lanes hold; a second call does nothing."""
        if hasattr(self, "_rows"):  # not where a constructor has refused: some releases of Gymnasium close that too
            super().close()

    @property
    def finished(self) -> NDArray[np.bool_]:
        """Lanes [L] that are terminated or truncated, and frozen."""
        return self._rows.terminated | self._rows.truncated

    @property
    def scene_ids(self) -> list[str]:
        """The scene of each lane; empty before the first reset."""
        return list(self._rows.scene_ids)

    def reset(
        self, *, seed: int | Sequence[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, Infos]:
        """Starts group g from seed + g, or seed[g]; None goes on with each group's own random stream.

        options["reset_mask"], bool [L]: start only these lanes, whole groups of them, as Gymnasium's own vector envs
        do. The others stay where they are. All lanes of a group share scene and start.
        Returns observations [L, …] and infos [L]. Raises ClosedEnvironmentError after `close`, as all methods do.
        """
        self._require_open()
        seeds = self._group_seeds(seed)
        mask, rest = self._split_reset_mask(options)
        if mask is None or mask.all():
            self._rows.start(*self._reset_groups(np.arange(self.num_groups), seeds, rest))
            return self._rows.current()
        groups = np.flatnonzero(mask[:: self.group_size])
        rows = self._reset_groups(groups, [seeds[group] for group in groups.tolist()], rest)
        self._rows.restart(np.flatnonzero(mask), *rows)
        return self._rows.current()

    def step(
        self, actions: ArrayLike, *, active: ArrayLike | None = None
    ) -> tuple[Observation, NDArray, NDArray, NDArray, Infos]:
        """One action [L, A] or one chunk [L, H, A] per lane; `active` [L] bool says which lanes move.

        None moves every unfinished lane. A lane stops inside its chunk when it is done, its reward is the sum
        over the chunk. Other lanes return their last observation, reward 0 and the flags they have; what
        `actions` holds for them is ignored.
        Returns observations [L, …], rewards float64 [L], terminated [L], truncated [L], infos [L].

        Raises ResetNeeded where a finished lane is asked to move or none is left, ActionError for actions of
        another shape or dtype, not finite, or outside of the space by more than 1e-6. Nothing moves then.
        Where an env raises, its error comes out, and the lanes that were to move need a reset, restore or branch; so
        they do after Ctrl-C.
        """
        lanes = self._moving_lanes(active)
        chunks = self._action_check.chunks(actions, lanes)
        with self._moving(lanes):
            observation, rewards, terminated, truncated, infos = self._step_lanes(chunks, lanes)
            self._rows.put(lanes, observation, terminated, truncated, infos)
        all_rewards = np.zeros(self.num_envs)
        all_rewards[lanes] = rewards
        now, all_infos = self._rows.current()
        return now, all_rewards, self._rows.terminated.copy(), self._rows.truncated.copy(), all_infos

    def branch(self, source: ArrayLike) -> tuple[Observation, Infos]:
        """Lane i becomes a copy of lane source[i] [L], of what that lane was before the call.

        State, random stream, flags, observation and infos. Returns like `reset`. Raises ValueError where
        source[i] is in another group.
        """
        index = self._checked_source(source)
        lanes = np.flatnonzero(index != np.arange(self.num_envs))
        if len(lanes) > 0:
            self._require_known(index[lanes])
            self._check_same_scenes(lanes, index[lanes])
            with self._moving(lanes):
                self._branch_lanes(lanes, index[lanes])
                self._rows.branch(lanes, index[lanes])
        return self._rows.current()

    def save(self, lanes: ArrayLike | None = None) -> list[Snapshot]:
        """Snapshots of `lanes` (all, where None), to go on from later, in the lanes of any vector env built alike, here
        or in another process. Single envs exchange snapshots with a LaneVectorEnv, not with the kitchen's lanes.
        """
        index = self._lane_indices(lanes)
        self._require_known(index)
        records = self._save_lanes(index)
        return [
            self._rows.snapshot(lane, self.stack, record) for lane, record in zip(index.tolist(), records, strict=True)
        ]

    def restore(self, snapshots: Sequence[Snapshot], lanes: ArrayLike | None = None) -> tuple[Observation, Infos]:
        """Lane lanes[k] (lane k, where None) goes on from snapshots[k]. Returns like `reset`.

        Raises SnapshotError, and changes nothing, where a snapshot belongs to another stack, has another
        observation than the lanes (keys, shapes), or belongs to another scene than the lane holds and the env cannot
        make that scene again. The embedded kitchen can. A group then holds several scenes until its next reset, and
        branches within each of them.
        """
        index = self._lane_indices(lanes)
        if isinstance(snapshots, Snapshot):
            raise ValueError("restore takes a sequence of snapshots, one per lane; write restore([snapshot], [lane])")
        if len(snapshots) != len(index):
            raise ValueError(f"got {len(snapshots)} snapshots for {len(index)} lanes; give one per lane")
        for lane, snapshot in zip(index.tolist(), snapshots, strict=True):
            try:
                check_same_stack(snapshot, self.stack)
                if not self._remakes_scenes:
                    check_same_scene(snapshot, self._rows.scene_ids[lane])
                self._rows.check_snapshot(snapshot)
            except SnapshotError as error:
                raise SnapshotError(f"lane {lane}: {error}") from None
        try:
            self._restore_all_or_none(index, snapshots)
            for lane, snapshot in zip(index.tolist(), snapshots, strict=True):
                self._rows.put_snapshot(lane, snapshot)
        except KeyboardInterrupt:  # what fails otherwise has been undone
            self._rows.lost[index] |= not self._moves_all_or_none
            raise
        return self._rows.current()

    def _restore_all_or_none(self, lanes: NDArray[np.int64], snapshots: Sequence[Snapshot]) -> None:
        known = lanes[~self._rows.lost[lanes]]  # of the others nothing is left to be undone
        undoes = len(lanes) > 1 and len(known) > 0
        before = self._save_lanes(known) if undoes else []
        try:
            self._restore_lanes(lanes, [s.scene_id for s in snapshots], [s.states for s in snapshots])
        except Exception:
            if undoes:
                self._restore_lanes(known, [self._rows.scene_ids[lane] for lane in known], before)
            raise

    @contextlib.contextmanager
    def _moving(self, lanes: NDArray[np.int64]) -> Iterator[None]:
        """Where what is done inside fails, or Ctrl-C meets it, nobody knows where `lanes` are."""
        try:
            yield
        except BaseException:
            self._rows.lost[lanes] |= not self._moves_all_or_none
            raise

    # --- Arguments, checked before anything moves ---

    def _group_seeds(self, seed: int | Sequence[int] | None) -> list[int | None]:
        if seed is None:
            return [None] * self.num_groups
        if isinstance(seed, (int, np.integer)) and not isinstance(seed, bool):
            seeds = [int(seed) + g for g in range(self.num_groups)]
        else:
            given = np.asarray(seed)
            if given.dtype.kind not in "iu" or given.shape != (self.num_groups,):
                raise ValueError(f"seed must be an int, None, or one int per group ({self.num_groups}); got {seed!r}")
            seeds = [int(value) for value in given]
        if min(seeds) < 0:
            raise ValueError(f"seeds must not be negative, got {min(seeds)}")
        return list[int | None](seeds)

    def _drawn_at_first(self, seeds: list[int | None]) -> list[int | None]:
        """`seeds`, but at a first reset without them drawn ones: what has a seed can begin again in any process."""
        if self._rows.scene_ids or None not in seeds:
            return seeds
        first = int(self.np_random.integers(_SEED_LIMIT))
        return [first + k for k in range(len(seeds))]

    def _split_reset_mask(
        self, options: dict[str, Any] | None
    ) -> tuple[NDArray[np.bool_] | None, dict[str, Any] | None]:
        """The mask in `options`, where there is one, and the options without it."""
        if not options or "reset_mask" not in options:
            return None, options
        mask = np.asarray(options["reset_mask"])
        if mask.dtype != bool or mask.shape != (self.num_envs,) or not mask.any():
            raise ValueError(
                f"reset_mask must be a bool array of shape ({self.num_envs},) with a True in it, got {mask.dtype} "
                f"{mask.shape}"
            )
        by_group = mask.reshape(self.num_groups, self.group_size)
        torn = np.flatnonzero(by_group.any(axis=1) & ~by_group.all(axis=1))
        if len(torn) > 0:
            raise ValueError(
                f"reset_mask holds only some lanes of the groups {torn.tolist()}: lanes of a group start together"
            )
        if not mask.all():
            self._require_reset()
        return mask, {key: value for key, value in options.items() if key != "reset_mask"} or None

    def _require_open(self) -> None:
        if self.closed:
            raise ClosedEnvironmentError("this vector env was closed: make another one")

    def _require_reset(self) -> None:
        self._require_open()
        if not self._rows.scene_ids:
            raise ResetNeeded("the lanes hold no scene yet: call reset() first")

    def _require_known(self, lanes: NDArray[np.int64]) -> None:
        lost = np.unique(lanes[self._rows.lost[lanes]])
        if len(lost) > 0:
            raise ResetNeeded(
                f"lanes {lost.tolist()} were to move in a call that failed, and may be anywhere: reset or restore "
                "them, or branch to them from another lane of their group"
            )

    def _lane_indices(self, lanes: ArrayLike | None) -> NDArray[np.int64]:
        self._require_reset()
        if lanes is None:
            return np.arange(self.num_envs)
        index = np.asarray(lanes)
        if index.ndim != 1 or index.dtype.kind not in "iu" or len(set(index.tolist())) != len(index):
            raise ValueError(f"lanes must be distinct lane numbers [n], got {lanes!r}")
        if len(index) and not 0 <= index.min() <= index.max() < self.num_envs:
            raise ValueError(f"lanes run from 0 to {self.num_envs - 1}, got {lanes!r}")
        return index.astype(np.int64)

    def _moving_lanes(self, active: ArrayLike | None) -> NDArray[np.int64]:
        self._require_reset()
        finished = self.finished
        if active is None:
            lanes = np.flatnonzero(~finished)
            if len(lanes) == 0:
                raise ResetNeeded(f"all {self.num_envs} lanes are finished: reset, restore or branch first")
            self._require_known(lanes)
            return lanes
        mask = np.asarray(active)
        if mask.dtype != bool or mask.shape != (self.num_envs,):
            raise ValueError(f"active must be a bool array of shape ({self.num_envs},), got {mask.dtype} {mask.shape}")
        if (mask & finished).any():
            raise ResetNeeded(
                f"lanes {np.flatnonzero(mask & finished).tolist()} are finished and cannot move: leave them "
                "out of `active`, or reset, restore or branch first"
            )
        if not mask.any():
            raise ResetNeeded("`active` holds no lane; if all are finished: reset, restore or branch first")
        self._require_known(np.flatnonzero(mask))
        return np.flatnonzero(mask)

    def _checked_source(self, source: ArrayLike) -> NDArray[np.int64]:
        self._require_reset()
        index = np.asarray(source)
        if index.dtype.kind not in "iu" or index.shape != (self.num_envs,):
            raise ValueError(f"source must be lane numbers, int [{self.num_envs}]; got {index.dtype} {index.shape}")
        wrong = (index < 0) | (index >= self.num_envs) | (index // self.group_size != self.group_index)
        if wrong.any():
            lane = int(np.argmax(wrong))
            first = lane // self.group_size * self.group_size
            raise ValueError(
                f"lane {lane} (group {lane // self.group_size}) cannot become lane {int(index[lane])}: a "
                f"source must be in the same group, here lanes {first} to {first + self.group_size - 1}"
            )
        return index.astype(np.int64)

    def _check_same_scenes(self, lanes: NDArray[np.int64], source: NDArray[np.int64]) -> None:
        scene_ids = self._rows.scene_ids
        for lane, other in zip(lanes.tolist(), source.tolist(), strict=True):
            if scene_ids[lane] != scene_ids[other]:
                raise SnapshotError(
                    f"lane {lane} holds scene {scene_ids[lane]!r}, lane {other} holds scene "
                    f"{scene_ids[other]!r}: lanes branch within one scene; reset or restore the group first"
                )
