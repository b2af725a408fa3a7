"""Jobs over a pool of workers: who does what, and what happens when a worker dies or grows too big.

A worker does one job at a time and takes the next when it has answered, so neither side ever waits for a full pipe.
It takes, in this order: jobs of its own lanes in scenes that it holds, other jobs of its own lanes, and jobs of other
workers' lanes in scenes that it holds.

A worker that dies is replaced and its job done again, by whoever is free; a job that kills two workers is given up.
Nothing has changed then, nor when a job fails or a Ctrl-C comes: jobs end in states of their own, which the caller
takes over when all is done.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import wait

from z1_envs.pool_worker import Answer, Job, MakeEnv, PoolWorker
from z1_envs.processes import WorkerDiedError, WorkerError
from z1_envs.worker import LaneDescription

logger = logging.getLogger("z1_envs")

_EARLY = 64  # [jobs] a worker that is too big so soon holds too many scenes; a later one has grown


@dataclass(kw_only=True)
class _Round:
    """One call of `WorkerPool.run`. waiting: jobs that nobody does. given: job by the number it was sent with."""

    jobs: Sequence[Job]
    scenes: Mapping[str, bytes]
    waiting: list[int]
    given: dict[int, int] = field(default_factory=dict)
    deaths: dict[int, int] = field(default_factory=dict)
    answers: dict[int, Answer] = field(default_factory=dict)
    errors: dict[int, Exception] = field(default_factory=dict)

    def choose(self, worker: PoolWorker) -> int | None:
        """The job that `worker` does best, None where it should leave all to others."""

        def rank(index: int) -> int:
            job = self.jobs[index]
            is_home = worker.index in job.homes
            is_held = job.start is not None and job.start.scene_id in worker.held
            return 2 * (not is_home) + (not is_held)

        best = min(self.waiting, key=rank, default=None)
        return None if best is None or rank(best) == 3 else best

    def fail(self, index: int, error: Exception) -> None:
        """Notes an error; what nobody has begun is not begun any more."""
        self.errors[index] = error
        self.waiting.clear()


class WorkerPool:
    """`num_workers` processes that carry out jobs. description: of the envs they build."""

    def __init__(
        self, make_env: MakeEnv, *, num_workers: int, max_scenes: int, memory_limit: float | None = None
    ) -> None:
        """max_scenes: envs per worker. memory_limit: of a worker [bytes], above which it is replaced between two jobs.

        Raises what building the env raises, WorkerError where a worker dies of it.
        """
        self._make_env = make_env
        self._memory_limit = memory_limit
        self._number = 0  # of the last job
        self._workers: list[PoolWorker] = []
        try:
            for index in range(num_workers):
                self._workers.append(PoolWorker(make_env, index, max_scenes))
            descriptions = [self._describe(worker) for worker in self._workers]
            self.description = descriptions[0]
        except BaseException:
            self.close()
            raise

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers, for tests and for those who watch them."""
        return [worker.pid for worker in self._workers]

    def next_number(self) -> int:
        """A number that no job and no state has."""
        self._number += 1
        return self._number

    def run(self, jobs: Sequence[Job], scenes: Mapping[str, bytes]) -> list[Answer]:
        """The answers to all `jobs`. scenes: records of the scenes that jobs start in, by id.

        Raises the first job's error after all that were begun have ended; WorkerError for a job that kills workers.
        """
        this = _Round(jobs=jobs, scenes=scenes, waiting=list(range(len(jobs))))
        for worker in self._workers:
            if worker.connection.closed:  # a Ctrl-C broke it
                self._replace(worker)
        while this.waiting or this.given:
            for worker in self._workers:
                if worker.pending is None:
                    self._give(this, worker)
            busy = {worker.connection: worker for worker in self._workers if worker.pending is not None}
            for connection in wait(list(busy)) if busy else ():  # nobody is where the only job cannot be sent
                self._take(this, busy[connection])  # pyright: ignore[reportArgumentType]
        if this.errors:
            raise this.errors[min(this.errors)]
        return [this.answers[index] for index in range(len(jobs))]

    def prepare(self, jobs: Sequence[Job], scenes: Mapping[str, bytes]) -> None:
        """Gives idle workers one of `jobs` each, out of those in scenes that they will need, and waits for none.

        Nobody hears what comes of them: `run` lets their answers go.
        """
        for worker in self._workers:
            for job in jobs if worker.pending is None else ():
                if worker.index in job.homes and job.start is not None and job.start.scene_id not in worker.held:
                    self._send(worker, job, scenes)
                    break

    def close(self) -> None:
        """Ends all workers; a second call does nothing."""
        for worker in self._workers:
            if worker.pending is None:
                worker.ask_to_end()  # all at once, then wait for each
        for worker in self._workers:
            worker.close()
        self._workers = []

    def _describe(self, worker: PoolWorker) -> LaneDescription:
        try:
            description = worker.receive()
        except WorkerDiedError:
            raise self._stillborn(worker) from None
        assert isinstance(description, LaneDescription)
        return description

    def _stillborn(self, worker: PoolWorker) -> WorkerError:
        return WorkerError(
            f"worker {worker.index} of the pool {worker.fate()} while it built its env. A script that starts workers "
            'needs `if __name__ == "__main__":`'
        )

    def _give(self, this: _Round, worker: PoolWorker) -> None:
        index = this.choose(worker)
        if index is None:
            return
        this.waiting.remove(index)
        try:
            this.given[self._send(worker, this.jobs[index], this.scenes)] = index
        except Exception as error:  # it cannot be pickled
            this.fail(index, error)

    def _send(self, worker: PoolWorker, job: Job, scenes: Mapping[str, bytes]) -> int:
        """Hands `job` over, with its scene where the worker lacks it; the job's number."""
        is_needed = job.start is not None and job.start.scene_id not in worker.held
        number = self.next_number()
        worker.send(number, job, scenes[job.start.scene_id] if job.start is not None and is_needed else None)
        return number

    def _take(self, this: _Round, worker: PoolWorker) -> None:
        """Reads one answer; one to a job of no round, or of one that a Ctrl-C ended, is let go."""
        number = worker.pending
        index = None if number is None else this.given.pop(number, None)
        try:
            answer = worker.receive()
        except WorkerDiedError:
            if number == 0 and worker.is_successor_of_stillborn:
                raise self._stillborn(worker) from None
            self._bury(this, worker, index, is_stillborn=number == 0)
            return
        if isinstance(answer, LaneDescription):
            return
        if index is not None and answer.failure is not None:
            this.fail(index, worker.note(answer.failure, this.jobs[index].label))
        elif index is not None:
            this.answers[index] = answer
        if self._memory_limit is not None and answer.rss > self._memory_limit:
            self._relieve(worker, answer.rss)

    def _bury(self, this: _Round, worker: PoolWorker, index: int | None, *, is_stillborn: bool) -> None:
        """Replaces a dead worker; its job, where it had one, is done again, once."""
        fate = worker.fate()
        self._replace(worker).is_successor_of_stillborn = is_stillborn
        if index is None:
            return
        this.deaths[index] = this.deaths.get(index, 0) + 1
        job = this.jobs[index]
        if this.deaths[index] > 1:
            text = f"{job.label}: a worker of the pool {fate} at {job.command!r}, as had another one before it. "
            this.fail(index, WorkerError(text + "Do the same in process (LaneVectorEnv, workers=0) to see why"))
        elif not this.errors:
            logger.warning("worker %d of the pool %s at %r of %s; again", worker.index, fate, job.command, job.label)
            this.waiting.insert(0, index)

    def _relieve(self, worker: PoolWorker, rss: int) -> None:
        """Replaces an idle worker that is too big, where that can help."""
        is_early = worker.num_done < _EARLY
        if is_early and worker.max_scenes == 1:
            return  # its successor would be as big at once
        kept = worker.max_scenes // 2 if is_early else worker.max_scenes
        logger.info(
            "worker %d of the pool has %.1f GiB; a new one takes over, with room for %d scenes",
            *(worker.index, rss / 2**30, kept),
        )
        self._replace(worker, max_scenes=kept)

    def _replace(self, worker: PoolWorker, *, max_scenes: int | None = None) -> PoolWorker:
        worker.kill()
        room = worker.max_scenes if max_scenes is None else max_scenes
        successor = self._workers[worker.index] = PoolWorker(self._make_env, worker.index, room)
        return successor
