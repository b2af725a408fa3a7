"""`LaneVectorEnv`: the branching vector env over any Snapshottable Gymnasium env.

    envs = LaneVectorEnv(lambda: gym.make("MyEnv-v0"), num_envs=16, group_size=8, workers=16)

The envs may carry Gymnasium wrappers; each lane is put into a `SnapshotRestore`. What is in process and what
runs in workers differs in speed only, not in bits.
"""

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from z1_envs.arguments import check_whole
from z1_envs.branch import BranchVectorEnv, check_groups
from z1_envs.lane_rows import Infos, Observation, stack_starts, stack_steps
from z1_envs.snapshot import SnapshotError
from z1_envs.worker import LaneDescription, LocalLane, WorkerLane


class LaneVectorEnv(BranchVectorEnv):
    """One env per lane.

    A group starts like this: its first lane is reset with the seed, the others take over its state. Where a
    lane holds another scene, because the scene depends on the seed, it is reset with the same seed before;
    with `seed=None` that is not possible, and refused.
    """

    def __init__(
        self,
        make_env: Callable[[], gym.Env] | Sequence[Callable[[], gym.Env]],
        *,
        num_envs: int | None = None,
        group_size: int = 1,
        workers: int = 0,
    ) -> None:
        """make_env: one callable for all `num_envs` lanes, or one per lane (then num_envs may be left out).

        workers: 0 keeps all lanes in this process, num_envs gives each lane a process of its own.
        Raises TypeError for an id or an env in the place of a callable, ValueError for other numbers of workers, and
        where lanes differ in spaces or wrappers.
        """
        makers = _checked_makers(make_env, num_envs)
        check_groups(len(makers), group_size)
        if num_envs not in (None, len(makers)):
            raise ValueError(f"got {len(makers)} callables for num_envs={num_envs} lanes")
        if workers not in (0, len(makers)):
            raise ValueError(
                f"workers must be 0 (all lanes in process) or {len(makers)} (one lane each), got {workers}"
            )
        self._in_workers = workers > 0
        self._lanes: list[LocalLane | WorkerLane] = []
        try:
            for index, make in enumerate(makers):
                self._lanes.append(WorkerLane(make, index) if self._in_workers else LocalLane(make))
            descriptions = [lane.describe() for lane in self._lanes]
            _check_alike(descriptions)
            super().__init__(
                num_envs=len(makers),
                group_size=group_size,
                single_observation_space=descriptions[0].observation_space,
                single_action_space=descriptions[0].action_space,
                stack=descriptions[0].stack,
            )
            self.render_mode = descriptions[0].render_mode
            self.metadata = descriptions[0].metadata | self.metadata
        except BaseException:
            self.close_extras()
            raise

    def render(self) -> tuple[Any, ...] | None:
        """The frames of all lanes, as their envs render them; None where they were made without a render_mode."""
        if self.render_mode is None:
            return None
        self._require_reset()
        return tuple(self._call("render", range(self.num_envs), [()] * self.num_envs))

    def close_extras(self) -> None:
        """Closes the envs, ends the workers."""
        for lane in self._lanes:
            lane.ask_to_close()  # all at once, then wait for each
        for lane in self._lanes:
            lane.close()

    def _call(self, command: str, lanes: Any, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Runs a command in all `lanes` at once. Raises the first error after all have answered."""
        results: list[Any] = []
        first_error: Exception | None = None
        sent: list[int] = []
        for lane, argument in zip(lanes, arguments, strict=True):
            try:
                self._lanes[lane].send(command, *argument)
            except Exception as error:
                first_error = error
                break
            sent.append(lane)
        for lane in sent:
            try:
                results.append(self._lanes[lane].receive())
            except Exception as error:
                first_error = first_error or error
        if first_error is not None:
            raise first_error
        return results

    def _reset_groups(
        self, groups: NDArray[np.int64], seeds: list[int | None], options: dict[str, Any] | None
    ) -> tuple[Observation, Infos, list[str]]:
        seeds = self._drawn_at_first(seeds)
        leaders = groups * self.group_size
        members = np.flatnonzero(np.isin(self.group_index, groups))
        index = np.searchsorted(groups, self.group_index[members])  # of each member's group in `groups`
        arguments = {lane: (seeds[k], options) for lane, k in zip(members.tolist(), index.tolist(), strict=True)}
        seeded = seeds[0] is not None
        with self._moving(members):
            # In workers the followers have nothing else to do, and may need this scene anyway.
            first = members if self._in_workers and seeded else leaders
            results = self._call("reset", first, [arguments[lane] for lane in first.tolist()])
            saved = self._call("save", leaders, [()] * len(leaders))
            following = members % self.group_size > 0
            self._follow(members[following], [saved[k] for k in index[following]], arguments, seeded)
        starts = [results[k] for k in np.searchsorted(first, leaders)]
        return *stack_starts(starts, index, self.single_observation_space), [saved[k][0] for k in index]

    def _follow(
        self, followers: NDArray[np.int64], saved: list[Any], arguments: dict[int, tuple[Any, ...]], seeded: bool
    ) -> None:
        """Gives each follower the state its group's first lane has. arguments: of `reset`, by lane."""
        done = self._call("restore_if_same_scene", followers, saved)
        late = [(lane, state) for lane, state, ok in zip(followers, saved, done, strict=True) if not ok]
        if late and not seeded:
            raise SnapshotError(
                f"lanes {[int(lane) for lane, _ in late]} hold another scene than the first of their group; "
                "this env's scene changes with a reset, so give reset() a seed"
            )
        lanes = [int(lane) for lane, _ in late]
        self._call("reset", lanes, [arguments[lane] for lane in lanes])
        self._call("restore", lanes, [state for _, state in late])

    def _step_lanes(
        self, actions: NDArray, lanes: NDArray[np.int64]
    ) -> tuple[Observation, NDArray, NDArray, NDArray, Infos]:
        return stack_steps(self._call("step", lanes, [(chunk,) for chunk in actions]), self.single_observation_space)

    def _branch_lanes(self, lanes: NDArray[np.int64], source: NDArray[np.int64]) -> None:
        distinct = np.unique(source)
        saved = dict(zip(distinct.tolist(), self._call("save", distinct, [()] * len(distinct)), strict=True))
        self._call("restore", lanes, [saved[other] for other in source.tolist()])

    def _save_lanes(self, lanes: NDArray[np.int64]) -> list[tuple[Any, ...]]:
        return [states for _, states in self._call("save", lanes, [()] * len(lanes))]

    def _restore_lanes(self, lanes: NDArray[np.int64], scene_ids: list[str], records: list[tuple[Any, ...]]) -> None:
        self._call("restore", lanes, list(zip(scene_ids, records, strict=True)))


def _checked_makers(make_env: Any, num_envs: int | None) -> list[Callable[[], gym.Env]]:
    """One callable per lane. Raises TypeError for anything else, and ValueError where there would be no lane."""
    if num_envs is not None:
        check_whole("num_envs", num_envs, least=1)
    is_series = isinstance(make_env, Sequence) and not isinstance(make_env, str)
    makers: list[Any] = list(make_env) if is_series else [make_env] * (num_envs or 1)
    for make in makers:
        if not callable(make):
            wanted = f"lambda: gym.make({make!r})" if isinstance(make, str) else 'lambda: gym.make("MyEnv-v0")'
            raise TypeError(
                f"each lane gets an env of its own from a callable such as `{wanted}`; got "
                f"{repr(make) if isinstance(make, str) else type(make).__name__}"
            )
    if not makers:
        raise ValueError("got no callables to build lanes from; give one per lane")
    return makers


def _check_alike(descriptions: list[LaneDescription]) -> None:
    first = descriptions[0]
    for lane, other in enumerate(descriptions):
        for name in ("observation_space", "action_space", "stack"):
            if getattr(other, name) != getattr(first, name):
                raise ValueError(
                    f"lane {lane} has the {name} {getattr(other, name)}, lane 0 has {getattr(first, name)}; "
                    "all lanes must be built alike"
                )
