"""One lane: a Snapshottable env in this process, or the same in a process of its own.

`Lane` is what happens; `WorkerLane` makes it happen elsewhere: commands go through a pipe, observations come
back through shared memory, an exception is raised here with the remote traceback as a note.

A worker that dies (killed, out of memory, a crash in a renderer) is restarted. Its lane is brought back from
the last state that passed through the pipe, plus the steps since: with exact snapshots and deterministic
envs that is the same lane, bit for bit. A command that kills its worker twice is not tried again. Of an env
that changes its scene at resets without a seed, all episodes since the last seeded one are kept and run again.

Commands are numbered and so are their answers: one that nobody waited for, because of a Ctrl-C, is not taken
for the next command's.
"""

import contextlib
import multiprocessing
import signal
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import gymnasium as gym
from gymnasium import spaces
from gymnasium.vector.utils import CloudpickleWrapper
from numpy.typing import NDArray

from z1_envs.processes import WorkerDiedError, WorkerError, fate, one_thread, packed, portable
from z1_envs.shared_memory import ObservationBlock
from z1_envs.snapshot import Snapshot, SnapshotRestore

MakeEnv = Callable[[], gym.Env]

_CLOSE_TIMEOUT = 5.0  # [s] for a worker to close its env before it is terminated


@dataclass(frozen=True, kw_only=True)
class LaneDescription:
    """What a vector env must know about its lanes."""

    observation_space: spaces.Space
    action_space: spaces.Space
    stack: tuple[str, ...]
    render_mode: str | None
    metadata: dict[str, Any]


class Lane:
    """An env with the commands of a lane. Raises SnapshotError where it cannot be snapshotted.

    An env without wrappers that has a method `step_chunk(chunk)` [H, A] is stepped by it: such an env need not draw
    images that nobody sees. It returns what H steps return together, up to the one at which the env is done.
    """

    def __init__(self, env: gym.Env) -> None:
        self.env = env if isinstance(env, SnapshotRestore) else SnapshotRestore(env)
        self.description = LaneDescription(
            observation_space=self.env.observation_space,
            action_space=self.env.action_space,
            stack=self.env.stack,
            render_mode=self.env.render_mode,
            metadata=self.env.metadata,
        )
        self._step_chunk = getattr(self.env.env, "step_chunk", None) if len(self.env.stack) == 1 else None

    def reset(self, seed: int | None, options: dict[str, Any] | None) -> tuple[Any, dict[str, Any]]:
        """As the env's own."""
        return self.env.reset(seed=seed, options=options)

    def step(self, chunk: NDArray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Applies a chunk [H, A] up to the step at which the env is done; the reward is the sum."""
        if self._step_chunk is not None:
            return self._step_chunk(chunk)
        total = 0.0
        for action in chunk:
            observation, reward, terminated, truncated, info = self.env.step(action)
            total += float(reward)
            if terminated or truncated:
                break
        return observation, total, bool(terminated), bool(truncated), info

    def save(self) -> tuple[str, tuple[Any, ...]]:
        """Scene id, and one record per layer."""
        snapshot = self.env.snapshot()
        return snapshot.scene_id, snapshot.states

    def restore(self, scene_id: str, states: tuple[Any, ...]) -> None:
        """The inverse of `save`. What the env showed then is kept by the vector env, not here."""
        stack = self.env.stack
        self.env.restore(Snapshot(scene_id=scene_id, stack=stack, states=states, observation=None, info={}))

    def restore_if_same_scene(self, scene_id: str, states: tuple[Any, ...]) -> bool:
        """Restores where the env holds that scene; says whether it does."""
        base: Any = self.env.unwrapped
        if base.scene_id != scene_id:
            return False
        self.restore(scene_id, states)
        return True

    def draw(self) -> float:
        """The base env's next random number in [0, 1): lanes in the same state agree on it. Moves the stream."""
        return float(self.env.np_random.random())

    def render(self) -> Any:
        """As the env's own."""
        return self.env.render()

    def film(self) -> Any:
        """What the base env's `film()` returns: a picture that depends on the state alone and leaves it alone."""
        base: Any = self.env.unwrapped
        return base.film()

    def close(self) -> None:
        """As the env's own."""
        self.env.close()


class LocalLane:
    """A lane in this process, with the two halves of a call that lanes elsewhere need."""

    def __init__(self, make_env: MakeEnv) -> None:
        self._lane = Lane(make_env())
        self._result: Any = None

    def describe(self) -> LaneDescription:
        """Spaces and stack."""
        return self._lane.description

    def send(self, command: str, *arguments: Any) -> None:
        """Runs a method of `Lane`."""
        self._result = getattr(self._lane, command)(*arguments)

    def receive(self) -> Any:
        """What it returned."""
        return self._result

    def ask_to_close(self) -> None:
        """Nothing: `close` does it."""

    def close(self) -> None:
        """Closes the env."""
        self._lane.close()


class WorkerLane:
    """A lane in its own process. `send` and `receive` come in pairs; between them other lanes may work.

    Construct all lanes first, then `describe` them: processes start side by side.
    """

    def __init__(self, make_env: MakeEnv, lane_index: int) -> None:
        self._make_env = CloudpickleWrapper(make_env)
        self._lane_index = lane_index
        self._block: ObservationBlock | None = None
        self._pending: tuple[str, tuple[Any, ...]] = ("", ())
        self._unanswered: dict[int, tuple[str, tuple[Any, ...]]] = {}
        # Commands that lead from a fresh env to this moment, and those that lead to its scene, by the id it had when
        # a state last passed by (None: none has, since the last seeded reset).
        self._log: list[tuple[str, tuple[Any, ...]]] = []
        self._scene_log: list[tuple[str, tuple[Any, ...]]] = []
        self._scene_id: str | None = None
        self._start()

    @property
    def pid(self) -> int:
        """Process id of the worker."""
        return self._process.pid or 0

    def describe(self) -> LaneDescription:
        """Spaces and stack, once the worker has built its env. Raises what building it raised."""
        try:
            description = self._reply()
            if self._block is None:
                self._block = ObservationBlock(description.observation_space, None)
                weakref.finalize(self, self._block.release)
            self.send("attach", self._block.name, description.observation_space)
            self._reply()
        except WorkerDiedError:
            raise WorkerError(
                f"the worker of lane {self._lane_index} {fate(self._process)} while it built its env. A script that "
                'starts workers needs `if __name__ == "__main__":`; workers=0 builds the env in process'
            ) from None
        return description

    def send(self, command: str, *arguments: Any) -> None:
        """Starts a method of `Lane`. Raises what pickling raises; nothing has been started then."""
        number = self._number + 1
        message = packed((number, command, arguments), f"lane {self._lane_index}: what {command!r} takes")
        self._number, self._pending = number, (command, arguments)
        self._unanswered[number] = self._pending
        with contextlib.suppress(OSError):  # a dead worker shows when its answer is awaited
            self._connection.send_bytes(message)

    def receive(self) -> Any:
        """What the method returned. Restarts a worker that died; raises what the method raised."""
        try:
            result = self._reply()
        except WorkerDiedError:
            result = self._recover()
        self._remember(self._pending, result)
        return result

    def ask_to_close(self) -> None:
        """Tells the worker to close its env and to end; `close` waits for it."""
        with contextlib.suppress(OSError):
            self._connection.send((self._number + 1, "close", ()))

    def close(self) -> None:
        """Ends the process and frees the shared memory; harmless where both are gone."""
        self.ask_to_close()
        self._process.join(_CLOSE_TIMEOUT)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._connection.close()
        if self._block is not None:
            self._block.release()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, remote = context.Pipe()
        self._number = 0  # of the last command; what the worker says unasked, its description, has 0 too
        self._process = context.Process(
            target=_serve, args=(remote, self._make_env), name=f"lane-{self._lane_index}", daemon=True
        )
        with one_thread():
            self._process.start()
        remote.close()  # the worker's copy is the only one now: when it dies, we read the end of the pipe

    def _reply(self) -> Any:
        """The answer to the last command; older ones that nobody has read are noted in the log."""
        while True:
            try:
                number, failure, result = self._connection.recv()
            except (EOFError, OSError):
                raise WorkerDiedError from None
            request = self._unanswered.pop(number, None)
            if number == self._number:
                break
            if request is not None and failure is None:
                self._remember(request, result)
        if failure is not None:
            error, text = failure
            error.add_note(f"in the worker of lane {self._lane_index} (process {self.pid}):\n{text}")
            raise error
        if self._pending[0] in ("reset", "step") and self._block is not None:
            return (self._block.read(), *result[1:])
        return result

    def _recover(self) -> Any:
        """A new worker, brought to this moment, gets the pending command once more."""
        pending = self._pending
        *unread, _ = self._unanswered.values()
        self._unanswered = {}
        end = fate(self._process)
        self._connection.close()
        self._pending = ("", ())
        self._start()
        self.describe()
        try:
            for command, arguments in self._log:
                self.send(command, *arguments)
                self._reply()
            for command, arguments in unread:
                self.send(command, *arguments)
                with contextlib.suppress(Exception):  # nobody was there to hear of it the first time
                    self._remember(self._pending, self._reply())
            self.send(pending[0], *pending[1])
            return self._reply()
        except WorkerDiedError:
            raise WorkerError(
                f"the worker of lane {self._lane_index} {end} at {pending[0]!r}, and its successor "
                f"{fate(self._process)} as well. Run this lane in process (workers=0) to see why"
            ) from None

    def _remember(self, request: tuple[str, tuple[Any, ...]], result: Any) -> None:
        """Keeps the log short: a seeded reset or a state that passed by replaces what came before.

        A reset without a seed need not change the scene, and mostly does not; the next state that passes by tells.
        Where it does, what led to the new scene is kept, an episode more each time.
        """
        command, arguments = request
        if command == "reset" and arguments[0] is not None:
            self._log, self._scene_log, self._scene_id = [request], [request], None
        elif command == "reset":
            self._log.append(request)
            if self._scene_id is None:  # nothing to tell another scene by
                self._scene_log = list(self._log)
        elif command in ("step", "draw"):
            self._log.append(request)
        elif command == "save":
            self._remember_state(*result)
        elif command == "restore" or (command == "restore_if_same_scene" and result):
            self._remember_state(*arguments)

    def _remember_state(self, scene_id: str, states: tuple[Any, ...]) -> None:
        if self._scene_id not in (None, scene_id):
            self._scene_log = list(self._log)
        self._scene_id = scene_id
        self._log = [*self._scene_log, ("restore", (scene_id, states))]


def _serve(connection: Connection, make_env: Callable[[], gym.Env]) -> None:
    """What a worker does: build the env, then answer commands until told to close or left alone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, who closes us
    try:
        lane = Lane(make_env())
        connection.send((0, None, lane.description))
    except Exception as error:
        connection.send((0, portable(error), None))
        return
    block: ObservationBlock | None = None
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the parent is gone
        while (request := connection.recv())[1] != "close":
            number, command, arguments = request
            try:
                if command == "attach":
                    block, result = ObservationBlock(arguments[1], arguments[0]), None
                else:
                    result = getattr(lane, command)(*arguments)
                    if command in ("reset", "step") and block is not None:
                        block.write(result[0])
                        result = (None, *result[1:])
                connection.send((number, None, result))
            except Exception as error:
                connection.send((number, portable(error), None))
    lane.close()
    if block is not None:
        block.release()
