"""All tasks with several seeds, one training after the other, and the table of what they have found.

Every training is a process of its own (jobs.py) in a directory of its own, which goes on bit for bit after any
interruption. The directory of the suite (manifest.py) says what belongs to it; the table is made anew from what the
trainings have left. All tasks are trained with seed 0 first.
"""

import dataclasses
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich.console import Console

from z1_agent.console import StopRequest
from z1_agent.jobs import ControlJob, Job, TrainJob, cost_of, end_in_words, output_of, run_jobs
from z1_agent.manifest import Manifest
from z1_agent.presets import TrainConfig
from z1_agent.run import Run
from z1_agent.suite_report import write_suite

KIND = "suite"


def suite_jobs(
    manifest: Manifest,
    configs: Mapping[str, TrainConfig],
    *,
    command: Sequence[str],
    threads: int | None,
    sft_folder: Path | None = None,
    with_control: bool = False,
) -> list[Job]:
    """The trainings of `configs` in order, those that are done included. threads: of each one's physics. sft_folder:
    runs whose SFT they may take over. with_control: after all of them, the cost-matched control of each."""
    trainings = [
        TrainJob(
            path=manifest.run_path(task, seed),
            config=dataclasses.replace(configs[task], seed=seed),
            preset=manifest.preset,
            command=tuple(command),
            threads=threads,
            sft_folder=sft_folder,
        )
        for task, seed in manifest.in_order()
        if task in configs
    ]
    controls = [ControlJob(run=job.path, threads=threads) for job in trainings] if with_control else []
    return [*trainings, *controls]


def run_suite(
    manifest: Manifest, jobs: Sequence[Job], *, at_once: int, console: Console, stop: StopRequest
) -> list[Job]:
    """As `run_trainings`, with the suite's table."""
    return run_trainings(
        jobs, write=lambda: write_suite(manifest), where=manifest.path, at_once=at_once, console=console, stop=stop
    )


def run_trainings(
    jobs: Sequence[Job],
    *,
    write: Callable[[], object],
    where: Path,
    at_once: int,
    console: Console,
    stop: StopRequest,
) -> list[Job]:
    """Runs what is left of `jobs`, up to `at_once` at the same time, and calls `write` whenever one has finished.

    where: the directory that people are told about. Returns the jobs that failed; their output says why. The others are
    run nevertheless.
    """
    begun, left = time.monotonic(), sum(not job.is_done for job in jobs)
    done = 0
    ended: list[Job] = []
    console.print(f"{len(jobs)} jobs, {len(jobs) - left} of them done; everything goes to {where}")

    def on_end(job: Job, code: int) -> None:
        nonlocal done
        ended.append(job)
        if code != 0:
            if not stop.made:
                console.print(f"{job.path.name} failed ({end_in_words(job.path, code)}); see {output_of(job.path)}")
            return
        done += 1
        try:
            write()
        except Exception as error:  # whatever it is: it must not end the trainings that are under way
            console.print(f"the table is not written anew: {error}")
        hours = (time.monotonic() - begun) / done * (left - done) / 3600
        console.print(f"{done}/{left} {job.path.name}: {outcome_in_words(job)}; {hours:.1f} h left")

    with stop.listen(console):
        failed = run_jobs(jobs, at_once=at_once, stop=stop, on_end=on_end)
    for job in failed:
        if job not in ended:
            console.print(f"{job.path.name} was not begun: what it builds on has failed")
    write()  # one that was killed between a training's end and its table has nothing left to run
    return failed


def outcome_in_words(job: Job) -> str:
    """Before and after, of a training, and the time of a job that is done."""
    minutes = f"{cost_of(job.path).cpu_seconds / 60:.1f} CPU min"
    run = Run(job.path)
    if not run.result.exists():
        return minutes
    result = json.loads(run.result.read_text(encoding="utf-8"))
    return f"{result['sft']['rate']:.1%} → {result['rl']['rate']:.1%}, {minutes}"
