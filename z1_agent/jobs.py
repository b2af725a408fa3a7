"""Trainings in processes of their own, one after another or a few at a time, with what each of them took.

A process of its own starts with empty memory, so its peak is its own, and its end takes nobody else along. It ends with
the process that started it, however that one ends: a pipe between them closes. Every job can be started again at any
time; what it leaves decides what is left to do.

NAME/             the run, of a training
NAME.out.txt      what its processes said
NAME.costs.json   what each of its processes took, those that were stopped included
"""

import base64
import dataclasses
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from rich.console import Console

from z1_agent.console import INTERRUPTED, Stopped, StopRequest
from z1_agent.cost_control import control_file, more_sft, read_control
from z1_agent.pipeline import Training, train
from z1_agent.presets import TrainConfig, load_config
from z1_agent.run import Run, open_run, write_text
from z1_agent.start import with_policy

_CHILD = "import sys; from z1_agent.jobs import work_as_told; work_as_told(sys.argv[1])"
_POLL = 0.1  # between looks at the processes [s]


class Job(Protocol):
    """What a process of its own is to do; it travels there as a pickle."""

    @property
    def path(self) -> Path:
        """Names the files that belong to it."""
        ...

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do."""
        ...

    @property
    def is_ready(self) -> bool:
        """Whether what it builds on is there."""
        ...

    def work(self) -> int:
        """Does what is left; the exit code."""
        ...


@dataclass(frozen=True, kw_only=True)
class TrainJob:
    """A whole training in `path`, as `z1 train` does it, begun or gone on with.

    command: what the run is to say that made it. threads: of the physics, None for all cores. after: a finished run
    whose SFT policy this one begins with, instead of an SFT of its own; its evaluation is taken over with it.
    sft_folder: runs from which SFT is taken over where one of them has done the same. films: whether the trained policy
    is filmed at the end.
    """

    path: Path
    config: TrainConfig
    preset: str
    command: tuple[str, ...]
    threads: int | None = None
    after: Path | None = None
    sft_folder: Path | None = None
    films: bool = True

    @property
    def is_done(self) -> bool:
        """The report is what a training writes last."""
        run = Run(self.path)
        return run.result.exists() and run.report.exists()

    @property
    def is_ready(self) -> bool:
        """Without `after`, always."""
        return self.after is None or Run(self.after).result.exists()

    def work(self) -> int:
        """The training; 130 where Ctrl-C has stopped it with everything on disk."""
        config = self.config
        if self.after is not None:
            config = with_policy(dataclasses.replace(config, policy=str(Run(self.after).sft_checkpoint)))
        _clear_what_never_began(self.path)
        resume = (self.path / "config.json").is_file()
        if not resume:
            _costs_of(self.path).unlink(missing_ok=True)  # of a run that was here before
        run = open_run(self.path, config, preset=self.preset, command=self.command, resume=resume)
        if self.after is not None and not run.eval_sft.exists():
            # The same policy on the same episodes: it would find the same again.
            write_text(run.eval_sft, Run(self.after).eval_sft.read_text(encoding="utf-8"))
        console = Console(highlight=False, soft_wrap=True)
        try:
            train(Training(run, config, console, StopRequest(), self.threads, self.sft_folder, self.films))
        except Stopped:
            return INTERRUPTED
        return 0


@dataclass(frozen=True, kw_only=True)
class ControlJob:
    """The cost-matched control of the finished training in `run`. threads: of the physics, None for all cores."""

    run: Path
    threads: int | None = None

    @property
    def path(self) -> Path:
        """The file beside the run."""
        return control_file(Run(self.run))

    @property
    def is_done(self) -> bool:
        """The file appears whole, and is that of this training."""
        return read_control(Run(self.run)) is not None

    @property
    def is_ready(self) -> bool:
        """It spends what the training has spent."""
        return Run(self.run).result.exists()

    def work(self) -> int:
        """SFT for as long as the training took, from the start: a control that was stopped begins again."""
        run = Run(self.run)
        write_text(self.path, json.dumps(more_sft(run, load_config(run.about()["config"]), self.threads), indent=1))
        return 0


def work_as_told(text: str) -> None:
    """What the process of a job does: `text` is the job. Ends with the job's exit code, or when the starter is gone."""
    job: Job = pickle.loads(base64.b64decode(text))
    threading.Thread(target=_end_with_the_starter, daemon=True).start()
    torch.set_num_threads(1)  # networks this small are faster so
    sys.exit(job.work())


def _end_with_the_starter() -> None:
    while os.read(0, 1):  # nothing is ever written; the pipe closes with the process at its other end
        pass
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass
class _Running:
    job: Job
    process: subprocess.Popen[bytes]
    begun: float


def run_jobs(jobs: Sequence[Job], *, at_once: int, stop: StopRequest, on_end: Callable[[Job, int], None]) -> list[Job]:
    """Runs those of `jobs` that are not done, in order, up to `at_once` at the same time; returns those that failed.

    A job that is not ready waits for others, and counts as failed where none is left that could help it. on_end: told
    each job that has ended, and its exit code; the next one runs meanwhile. A wanted `stop` is handed on; then nothing
    new begins.
    """
    waiting = [job for job in jobs if not job.is_done]
    running: list[_Running] = []
    failed: list[Job] = []
    was_told = False

    def begin_next() -> None:
        while len(running) < at_once and not stop.made and (job := _next(waiting)) is not None:
            waiting.remove(job)
            running.append(_start(job))

    try:
        while running or (waiting and not stop.made):
            begin_next()
            if not running:
                return failed + waiting
            if stop.made and not was_told:
                was_told = True
                for one in running:
                    # Not Popen's send_signal: it reaps a child that has ended meanwhile, and takes what it cost along.
                    os.kill(one.process.pid, signal.SIGINT)
            ended = _ended(running)
            for one, code in ended:
                running.remove(one)
                if code != 0 and not stop.made:
                    failed.append(one.job)
            begin_next()
            for one, code in ended:
                on_end(one.job, code)
    finally:
        for one in running:
            one.process.kill()
    return failed


def _next(waiting: Sequence[Job]) -> Job | None:
    return next((job for job in waiting if job.is_ready), None)


def _start(job: Job) -> _Running:
    told = base64.b64encode(pickle.dumps(job)).decode()
    job.path.parent.mkdir(parents=True, exist_ok=True)
    with output_of(job.path).open("ab") as output:
        # In a session of its own, Ctrl-C reaches it through the starter alone, once.
        process = subprocess.Popen(
            [sys.executable, "-c", _CHILD, told],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return _Running(job, process, time.monotonic())


def _ended(running: Sequence[_Running]) -> list[tuple[_Running, int]]:
    """Those of `running` that have ended, with their exit codes, as soon as there is one or a moment has passed."""
    ended: list[tuple[_Running, int]] = []
    for one in running:
        pid, status, usage = os.wait4(one.process.pid, os.WNOHANG)
        if pid == 0:
            continue
        code = os.waitstatus_to_exitcode(status)
        one.process.returncode = code  # or Popen would ask for it again
        assert one.process.stdin is not None
        one.process.stdin.close()
        cost = {
            "cpu_seconds": usage.ru_utime + usage.ru_stime,
            "wall_seconds": time.monotonic() - one.begun,
            # ru_maxrss is in KiB on Linux, in bytes on macOS.
            "peak_memory_bytes": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        }
        file = _costs_of(one.job.path)
        write_text(file, json.dumps([*_read_costs(file), cost], indent=1))
        ended.append((one, code))
    if not ended:
        time.sleep(_POLL)
    return ended


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What all processes of a job took [s] [bytes]; what was killed together with its starter is not in it."""

    cpu_seconds: float
    peak_memory_bytes: int


def cost_of(path: Path) -> Cost:
    """What the processes of the job in `path` took."""
    costs = _read_costs(_costs_of(path))
    return Cost(
        cpu_seconds=sum(cost["cpu_seconds"] for cost in costs),
        peak_memory_bytes=max((cost["peak_memory_bytes"] for cost in costs), default=0),
    )


def output_of(path: Path) -> Path:
    """The file with what the processes of the job in `path` said."""
    return path.with_name(f"{path.name}.out.txt")


def end_in_words(path: Path, code: int) -> str:
    """Why the process of the job in `path` failed with the exit `code`: the signal that killed it, or its last line."""
    if code < 0:
        memory = ", as a machine does that runs out of memory" if code == -signal.SIGKILL else ""
        return f"killed by {signal.Signals(-code).name}{memory}"
    return last_words(path)


def last_words(path: Path) -> str:
    """The last line that a process of the job in `path` said."""
    said = output_of(path).read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(said) if line.strip()), "it said nothing")


def _costs_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.costs.json")


def _read_costs(file: Path) -> list[dict[str, Any]]:
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else []


def _clear_what_never_began(path: Path) -> None:
    """A run that was killed before its configuration was whole has nothing to go on with, and is begun anew."""
    (path / "config.json.tmp").unlink(missing_ok=True)
