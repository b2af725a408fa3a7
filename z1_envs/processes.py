"""What every kind of worker process needs: one thread, errors that travel, a word on how it ended; and how many cores
of what there are.

Workers are spawned, not forked (renderers and BLAS do not survive a fork), so a script that starts them needs
`if __name__ == "__main__":`. They compute with one BLAS thread, for bits change with the number of threads.
"""

import contextlib
import os
import pickle
import platform
import signal
import traceback
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")


class WorkerError(RuntimeError):
    """A worker could not be started, or died again at the command that had killed it before."""


class WorkerDiedError(Exception):
    """The other end of the pipe is gone. Not an OSError, which an env may raise itself."""


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Processes started inside compute with one thread: the variables are read when numpy is imported."""
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def portable(error: Exception) -> tuple[Exception, str]:
    """The exception that is being handled, or a WorkerError where it cannot travel, and its traceback."""
    text = traceback.format_exc()
    try:
        pickle.loads(pickle.dumps(error))  # both ways: some exceptions fail only when they are read
    except Exception:
        return WorkerError(f"{type(error).__name__}: {error}"), text
    return error, text


def packed(message: Any, what: str) -> memoryview:
    """`message` as `Connection.send_bytes` takes and `recv` reads it.

    Raises what pickling raises, with a note that `what` has to be picklable, before anything is sent.
    """
    try:
        return ForkingPickler.dumps(message)
    except Exception as error:
        error.add_note(f"{what} has to be picklable, to be sent to a worker process")
        raise


def fate(process: BaseProcess) -> str:
    """How a process that is gone ended, as the end of a sentence."""
    process.join(1.0)
    code = process.exitcode
    if code is not None and code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def num_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> str:
    """Which processor, and how many cores of it this process may use: CPU time of another one is another time."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    named = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return f"{named or platform.processor() or platform.machine()}, {num_cores()} cores"
