"""`PoolVectorEnv`: many lanes on few envs, for envs that are heavy and have a scene per start.

    envs = PoolVectorEnv(make_env, num_envs=64, group_size=8, num_workers=16)

`LaneVectorEnv` has an env per lane. Here this process holds the states of the lanes, and `num_workers` processes carry
them on, whichever lane it is: branching copies references, a worker that is killed or grown too big is replaced, and
the bits are the same with any number of workers. The env says what its scene is (`pool_worker.SceneSource`), so that
any worker can hold it.

Every lane has a home worker, contiguous blocks of lanes of equal size. A worker holds the scenes of its lanes, up to
`scenes_per_worker` of them. Where there are more, scenes are built again at each step: take more workers, fewer groups.

Where a step, a reset or a restore fails, or is ended by Ctrl-C, no lane has moved.
"""

import logging
import pickle
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from z1_envs.arguments import check_positive, check_whole
from z1_envs.branch import BranchVectorEnv, check_groups
from z1_envs.lane_rows import Infos, Observation, stack_starts, stack_steps
from z1_envs.pool_jobs import WorkerPool
from z1_envs.pool_worker import PROTOCOL, Answer, Job, LaneState, MakeEnv
from z1_envs.processes import num_cores

logger = logging.getLogger("z1_envs")


class PoolVectorEnv(BranchVectorEnv):
    """L lanes on W worker processes, each with one env per scene it holds."""

    _moves_all_or_none = True

    def __init__(
        self,
        make_env: MakeEnv,
        *,
        num_envs: int,
        group_size: int = 1,
        num_workers: int | None = None,
        scenes_per_worker: int = 8,
        worker_memory_gib: float | None = None,
        remembered_starts: int = 32,
    ) -> None:
        """make_env: builds an env, with its wrappers; picklable by cloudpickle.

        num_workers None: one per core, at most one per lane. worker_memory_gib: of one worker, above which it is
        replaced; None for no limit. remembered_starts: how many starts of seeds seen last are kept, so that they need
        no reset again; 0 for none.
        Raises ValueError for numbers that make no sense, what `make_env` raises, and SnapshotError for an env that
        cannot be snapshotted or has no scene to hand out.
        """
        check_groups(num_envs, group_size)
        workers = min(num_cores(), num_envs) if num_workers is None else num_workers
        check_whole("num_workers", workers, least=1)
        check_whole("scenes_per_worker", scenes_per_worker, least=1)
        check_whole("remembered_starts", remembered_starts, least=0)
        if worker_memory_gib is not None:
            check_positive("worker_memory_gib", worker_memory_gib)
        self._num_workers = min(workers, num_envs)
        self._pool = WorkerPool(
            make_env,
            num_workers=self._num_workers,
            max_scenes=scenes_per_worker,
            memory_limit=None if worker_memory_gib is None else worker_memory_gib * 2**30,
        )
        try:
            super().__init__(
                num_envs=num_envs,
                group_size=group_size,
                single_observation_space=self._pool.description.observation_space,
                single_action_space=self._pool.description.action_space,
                stack=self._pool.description.stack,
            )
            self.render_mode = self._pool.description.render_mode
            self.metadata = self._pool.description.metadata | self.metadata
        except BaseException:
            self._pool.close()
            raise
        scenes_needed = -(-self.num_groups // self._num_workers)
        if scenes_needed > scenes_per_worker:
            logger.warning(
                "%d groups on %d workers: each runs lanes of %d scenes and holds %d, so scenes are built again at each "
                "step; take fewer groups or more workers, or raise scenes_per_worker",
                *(self.num_groups, self._num_workers, scenes_needed, scenes_per_worker),
            )
        self._states: list[LaneState] = []  # of each lane
        self._scenes: dict[str, bytes] = {}
        self._starts: OrderedDict[int, Answer] = OrderedDict()  # by seed, the one used last at the end
        self._num_starts = remembered_starts

    @property
    def worker_pids(self) -> list[int]:
        """Process ids of the workers."""
        return self._pool.pids

    def render(self) -> tuple[Any, ...] | None:
        """The frames of all lanes, as their envs render them; None where they were made without a render_mode."""
        if self.render_mode is None:
            return None
        self._require_reset()
        lanes = np.arange(self.num_envs)
        return tuple(answer.result for answer in self._run("render", lanes, [()] * self.num_envs, self._states))

    def film(self, lane: int) -> Any:
        """A picture of `lane` as it is now, from an env that has `film()`, without a render_mode."""
        index = self._lane_indices([lane])
        return self._run("film", index, [()], [self._states[lane]])[0].result

    def close_extras(self) -> None:
        """Ends the workers."""
        self._pool.close()

    def _reset_groups(
        self, groups: NDArray[np.int64], seeds: list[int | None], options: dict[str, Any] | None
    ) -> tuple[Observation, Infos, list[str]]:
        seeds = self._drawn_at_first(seeds)
        starts = self._starts_of(groups, seeds, options)
        members = np.flatnonzero(np.isin(self.group_index, groups))
        index = np.searchsorted(groups, self.group_index[members])  # of each member's group in `groups`
        rows = stack_starts([start.result for start in starts], index, self.single_observation_space)
        states = [_end(starts[k]) for k in index]
        self._prepare(groups, starts)  # before anything moves: a Ctrl-C while scenes travel finds all as it was
        self._states = self._states or list(states)
        self._put_states(members, states)
        return *rows, [state.scene_id for state in states]

    def _prepare(self, groups: NDArray[np.int64], starts: Sequence[Answer]) -> None:
        """Workers that run a group's lanes and do not hold its scene build it while the agent makes up its mind."""
        firsts = (groups * self.group_size).tolist()
        jobs = [self._group_job("check", (), *one) for one in zip(firsts, map(_end, starts), strict=True)]
        self._pool.prepare(jobs, self._scenes)

    def _starts_of(
        self, groups: NDArray[np.int64], seeds: list[int | None], options: dict[str, Any] | None
    ) -> list[Answer]:
        """The start of each group: remembered, of an equal seed, or of a reset."""
        starts: dict[int, Answer] = {}  # by place in `groups`
        jobs: list[Job] = []
        places: list[int] = []
        first: dict[int, int] = {}  # place by seed
        for place, (group, seed) in enumerate(zip(groups.tolist(), seeds, strict=True)):
            if seed is not None and seed in self._starts and not options:
                starts[place] = self._starts[seed]
            elif seed is None or first.setdefault(seed, place) == place:
                jobs.append(self._reset_job(group, seed, options))
                places.append(place)
        for place, answer in zip(places, self._pool.run(jobs, self._scenes), strict=True):
            if answer.scene is not None:
                self._scenes.setdefault(_end(answer).scene_id, answer.scene)
            starts[place] = replace(answer, scene=None)  # a remembered start has no copy of its own
        for place, seed in enumerate(seeds):
            if seed is not None:
                starts.setdefault(place, starts[first.get(seed, place)])
                if not options:
                    self._remember(seed, starts[place])
        return [starts[place] for place in range(len(seeds))]

    def _reset_job(self, group: int, seed: int | None, options: dict[str, Any] | None) -> Job:
        first = group * self.group_size
        # Without a seed the random stream of the group's first lane goes on.
        return self._group_job("reset", (seed, options), first, self._states[first] if seed is None else None)

    def _group_job(self, command: str, arguments: tuple[Any, ...], first: int, start: LaneState | None) -> Job:
        """A job that any worker may do that runs lanes of the group whose first lane is `first`."""
        homes = range(self._home(first), self._home(first + self.group_size - 1) + 1)
        label = f"group {first // self.group_size}"
        return Job(command=command, arguments=arguments, start=start, label=label, homes=homes)

    def _remember(self, seed: int, start: Answer) -> None:
        self._starts[seed] = start
        self._starts.move_to_end(seed)
        while len(self._starts) > self._num_starts:
            self._starts.popitem(last=False)

    def _step_lanes(
        self, actions: NDArray, lanes: NDArray[np.int64]
    ) -> tuple[Observation, NDArray, NDArray, NDArray, Infos]:
        answers = self._run("step", lanes, [(chunk,) for chunk in actions], [self._states[lane] for lane in lanes])
        rows = stack_steps([answer.result for answer in answers], self.single_observation_space)
        self._put_states(lanes, [_end(answer) for answer in answers])
        return rows

    def _branch_lanes(self, lanes: NDArray[np.int64], source: NDArray[np.int64]) -> None:
        self._put_states(lanes, [self._states[other] for other in source])

    def _save_lanes(self, lanes: NDArray[np.int64]) -> list[tuple[Any, ...]]:
        return [pickle.loads(self._states[lane].record) for lane in lanes]

    def _restore_lanes(self, lanes: NDArray[np.int64], scene_ids: list[str], records: list[tuple[Any, ...]]) -> None:
        states = [
            LaneState(scene_id=scene_id, number=self._pool.next_number(), record=pickle.dumps(record, PROTOCOL))
            for scene_id, record in zip(scene_ids, records, strict=True)
        ]
        # A record that an env refuses is refused here, not at the next step.
        self._run("check", lanes, [()] * len(lanes), states)
        self._put_states(lanes, states)

    def _run(
        self, command: str, lanes: NDArray[np.int64], arguments: Sequence[tuple[Any, ...]], starts: list[LaneState]
    ) -> list[Answer]:
        jobs = [
            Job(command=command, arguments=argument, start=start, label=f"lane {lane}", homes=range(home, home + 1))
            for lane, home, argument, start in zip(
                lanes.tolist(), map(self._home, lanes.tolist()), arguments, starts, strict=True
            )
        ]
        return self._pool.run(jobs, self._scenes)

    def _home(self, lane: int) -> int:
        """The worker that runs `lane` where nothing speaks for another."""
        return lane * self._num_workers // self.num_envs

    def _put_states(self, lanes: NDArray[np.int64], states: list[LaneState]) -> None:
        for lane, state in zip(lanes.tolist(), states, strict=True):
            self._states[lane] = state
        used = {state.scene_id for state in (*self._states, *map(_end, self._starts.values()))}
        self._scenes = {scene_id: scene for scene_id, scene in self._scenes.items() if scene_id in used}


def _end(answer: Answer) -> LaneState:
    assert answer.end is not None  # of jobs that move a lane
    return answer.end
