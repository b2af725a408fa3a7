"""One worker of a pool: a process that carries out jobs for whichever lane it is given.

A worker owns envs, not lanes: each job brings the state it starts from and takes the state it ends in away, both as
pickled bytes that only workers read. So any worker can do any job, and none of them is missed when it is killed.

It keeps one env per scene, for the scenes it met last. An env that is already in the state that a job starts from, by
the number of the job that left it there, is not set again.
"""

import contextlib
import multiprocessing
import os
import pickle
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

import gymnasium as gym
from gymnasium.vector.utils import CloudpickleWrapper

from z1_envs.processes import WorkerDiedError, WorkerError, fate, one_thread, packed, portable
from z1_envs.snapshot import SnapshotError, Snapshottable
from z1_envs.worker import Lane, LaneDescription

MakeEnv = Callable[[], gym.Env]

_CLOSE_TIMEOUT = 5.0  # [s] for a worker to close its envs before it is killed
PROTOCOL = pickle.HIGHEST_PROTOCOL


class SceneSource(Snapshottable, Protocol):
    """A Snapshottable env whose scene travels.

    `env.reset(options={"scene": scene})` with what `get_scene` returned gives any env that was built alike, in any
    process, that very scene, with the same `scene_id`.
    """

    def get_scene(self) -> Any:
        """The scene that the env holds, as a picklable record."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class LaneState:
    """A moment of a lane. number: of the job that ended in it. record: one state per layer, pickled."""

    scene_id: str
    number: int
    record: bytes


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """A method of `Lane`, the moment it starts from (None: anywhere), and where it is best done.

    command: "reset", "step", "render" or "film" of `Lane`, or "check", which only tries whether `start` can be set.
    label: which lane or group this is, for messages. homes: numbers of the workers whose lanes it concerns.
    """

    command: str
    arguments: tuple[Any, ...]
    start: LaneState | None
    label: str
    homes: range


@dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """What came of a job.

    result: what the method returned. end: the moment it ended in. scene: the scene's record, pickled, where the job
    was a reset. failure: the exception and its traceback instead of these. held: the scenes that the worker holds
    now, the one used last at the end. rss: memory of the process [bytes], 0 where the system does not tell.
    """

    number: int
    result: Any = None
    end: LaneState | None = None
    scene: bytes | None = None
    failure: tuple[Exception, str] | None = None
    held: tuple[str, ...] = ()
    rss: int = 0


class PoolWorker:
    """The parent's end. One job at a time: `send`, then `receive` when `connection` is readable.

    pending: number of the job whose answer has not been read, 0 for the description a new worker gives unasked,
    None for a worker that waits for work. held: the scenes it holds. num_done: jobs since the process was started.
    """

    def __init__(self, make_env: MakeEnv, index: int, max_scenes: int) -> None:
        self.index = index
        self.held: tuple[str, ...] = ()
        self.pending: int | None = 0
        self.num_done = 0
        self.is_successor_of_stillborn = False  # its predecessor died while it built its env
        self.max_scenes = max_scenes
        context = multiprocessing.get_context("spawn")
        self.connection, remote = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(remote, CloudpickleWrapper(make_env), max_scenes), name=f"pool-{index}", daemon=True
        )
        with one_thread():
            self._process.start()
        remote.close()  # the worker's copy is the only one now: when it dies, we read the end of the pipe

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid or 0

    def send(self, number: int, job: Job, scene: bytes | None) -> None:
        """Hands over a job; a worker that is dead shows when its answer is awaited.

        Raises what pickling raises; the worker then still waits for work.
        """
        message = packed((number, job, scene), f"{job.label}: what {job.command!r} takes")
        self.pending = number
        with contextlib.suppress(OSError):
            self._unbroken(lambda: self.connection.send_bytes(message))

    def receive(self) -> Answer | LaneDescription:
        """The answer to what is pending. Raises WorkerDiedError, and what building the env raised."""
        try:
            answer = self._unbroken(self.connection.recv)
        except (EOFError, OSError):
            raise WorkerDiedError from None
        finally:
            self.pending = None
        if isinstance(answer, LaneDescription):
            return answer
        if answer.number == 0 and answer.failure is not None:
            raise self.note(answer.failure, "while it built its env")
        self.held, self.num_done = answer.held, self.num_done + 1
        return answer

    def note(self, failure: tuple[Exception, str], label: str) -> Exception:
        """The exception, with where it happened and the remote traceback as a note."""
        error, text = failure
        error.add_note(f"in worker {self.index} of the pool (process {self.pid}), {label}:\n{text}")
        return error

    def fate(self) -> str:
        """How the process ended, as the end of a sentence."""
        return fate(self._process)

    def ask_to_end(self) -> None:
        """Tells the process to end; `close` waits for it."""
        with contextlib.suppress(OSError):
            self.connection.send(None)

    def close(self) -> None:
        """Ends the process; harmless where it is gone."""
        if self.pending is None:
            self.ask_to_end()
            self._process.join(_CLOSE_TIMEOUT)
        self.kill()

    def kill(self) -> None:
        """Ends the process at once."""
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self.connection.close()

    def _unbroken(self, transfer: Callable[[], Any]) -> Any:
        """A Ctrl-C in the middle of a message leaves half of it in the pipe: that worker is of no use any more."""
        try:
            return transfer()
        except Exception:
            raise
        except BaseException:
            self.kill()
            raise


class _Slot:
    """An env, the scene it holds ("" for none to be relied on), and the number of the moment it is in (0: unknown)."""

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.scene_id = ""
        self.number = 0


class SceneEnvs:
    """The worker's envs, one per scene, the one used last at the end; at most `max_scenes`."""

    def __init__(self, make_env: MakeEnv, max_scenes: int) -> None:
        """Builds the first env. Raises SnapshotError where it has no scenes to hand out."""
        self._make_env = make_env
        self._max_scenes = max_scenes
        self._slots = [_Slot(Lane(make_env()))]
        self.description = self._slots[0].lane.description
        base = self._slots[0].lane.env.unwrapped
        if not callable(getattr(base, "get_scene", None)):
            raise SnapshotError(
                f"{type(base).__qualname__} has no get_scene(), so that its scenes cannot travel between workers: add "
                'it, and reset(options={"scene": scene}); or take LaneVectorEnv, with an env per lane'
            )

    @property
    def held(self) -> tuple[str, ...]:
        """The scenes there are."""
        return tuple(slot.scene_id for slot in self._slots if slot.scene_id)

    def carry_out(self, number: int, job: Job, scene: bytes | None) -> Answer:
        """Does `job` and says what came of it. scene: the start's, where this worker does not hold it."""
        slot = self._free_slot() if job.start is None else self._slot_at(job.start, scene)
        if job.command == "check":
            return Answer(number=number)
        if job.command == "film":
            return Answer(number=number, result=slot.lane.film())
        is_reset = job.command == "reset"
        slot.number = 0  # unknown, until the job has come to its end
        if is_reset:
            slot.scene_id = ""
        result = getattr(slot.lane, job.command)(*job.arguments)
        if is_reset:
            self._name_scene(slot)
        _, states = slot.lane.save()
        slot.number = number
        base: Any = slot.lane.env.unwrapped
        return Answer(
            number=number,
            result=result,
            end=LaneState(scene_id=slot.scene_id, number=number, record=pickle.dumps(states, PROTOCOL)),
            scene=pickle.dumps(base.get_scene(), PROTOCOL) if is_reset else None,
        )

    def close(self) -> None:
        """Closes the envs."""
        for slot in self._slots:
            slot.lane.close()

    def _slot_at(self, start: LaneState, scene: bytes | None) -> _Slot:
        """The env of that scene in the state `start`."""
        slot = next((slot for slot in self._slots if slot.scene_id == start.scene_id), None)
        if slot is None:
            slot = self._free_slot()
            if scene is None:
                raise WorkerError(f"scene {start.scene_id!r} was neither held nor sent: please report this")
            slot.scene_id, slot.number = "", 0
            slot.lane.reset(None, {"scene": pickle.loads(scene)})
            self._name_scene(slot)
            if slot.scene_id != start.scene_id:
                raise SnapshotError(
                    f"reset(options={{'scene': …}}) made scene {slot.scene_id!r} out of the record of "
                    f"{start.scene_id!r}: correct the env's get_scene"
                )
        self._slots.remove(slot)
        self._slots.append(slot)
        if slot.number != start.number:
            slot.number = 0
            slot.lane.restore(start.scene_id, pickle.loads(start.record))
            slot.number = start.number
        return slot

    def _free_slot(self) -> _Slot:
        """An env to give a scene to: a spare one, a new one, or the one that was not used for longest."""
        spare = next((slot for slot in self._slots if not slot.scene_id), None)
        if spare is None and len(self._slots) < self._max_scenes:
            spare = _Slot(Lane(self._make_env()))
            self._slots.append(spare)
        slot = spare or self._slots[0]
        self._slots.remove(slot)
        self._slots.append(slot)
        return slot

    def _name_scene(self, slot: _Slot) -> None:
        """Notes which scene the slot got; another env that holds the same one becomes a spare."""
        base: Any = slot.lane.env.unwrapped
        for other in self._slots:
            if other is not slot and other.scene_id == base.scene_id:
                other.scene_id, other.number = "", 0
        slot.scene_id = base.scene_id


def _serve(connection: Connection, make_env: MakeEnv, max_scenes: int) -> None:
    """What a worker does: build an env, then carry out jobs until told to end or left alone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, who closes us
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the parent is gone
        try:
            envs = SceneEnvs(make_env, max_scenes)
        except Exception as error:
            connection.send(Answer(number=0, failure=portable(error)))
            return
        connection.send(envs.description)
        while (request := connection.recv()) is not None:
            number, job, scene = request
            try:
                answer = envs.carry_out(number, job, scene)
                connection.send(replace(answer, held=envs.held, rss=_rss()))
            except Exception as error:
                connection.send(Answer(number=number, failure=portable(error), held=envs.held, rss=_rss()))
        envs.close()


def _rss() -> int:
    """Resident memory of this process [bytes]; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
