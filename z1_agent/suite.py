"""All tasks with several seeds, one training after the other, and the table of what they have found.

Every training is a process of its own (jobs.py) in a directory of its own, which goes on bit for bit after any
interruption. The directory of the suite (manifest.py) says what belongs to it; the table is made anew from what the
trainings have left. All tasks are trained with seed 0 first.
"""

import dataclasses
import json
import time
from collections.abc import Mapping, Sequence

from rich.console import Console

from z1_agent.console import StopRequest
from z1_agent.jobs import Job, TrainJob, cost_of, last_words, output_of, run_jobs
from z1_agent.manifest import Manifest
from z1_agent.presets import TrainConfig
from z1_agent.run import Run
from z1_agent.suite_report import write_suite

KIND = "suite"


def suite_jobs(
    manifest: Manifest, configs: Mapping[str, TrainConfig], *, command: Sequence[str], threads: int | None
) -> list[TrainJob]:
    """The trainings of `configs` in order, those that are done included. threads: of each one's physics."""
    return [
        TrainJob(
            path=manifest.run_path(task, seed),
            config=dataclasses.replace(configs[task], seed=seed),
            preset=manifest.preset,
            command=tuple(command),
            threads=threads,
        )
        for task, seed in manifest.in_order()
        if task in configs
    ]


def run_suite(
    manifest: Manifest, jobs: Sequence[TrainJob], *, at_once: int, console: Console, stop: StopRequest
) -> list[Job]:
    """Runs what is left of `jobs`, up to `at_once` at the same time, and writes the table whenever one has finished.

    Returns the jobs that failed; their output says why. The others are run nevertheless.
    """
    begun, left = time.monotonic(), sum(not job.is_done for job in jobs)
    done = 0
    console.print(f"{len(jobs)} trainings, {len(jobs) - left} of them done; everything goes to {manifest.path}")

    def on_end(job: Job, code: int) -> None:
        nonlocal done
        if code != 0:
            if not stop.made:
                console.print(f"{job.path.name} failed ({last_words(job.path)}); see {output_of(job.path)}")
            return
        done += 1
        write_suite(manifest)
        hours = (time.monotonic() - begun) / done * (left - done) / 3600
        console.print(f"{done}/{left} {job.path.name}: {outcome_in_words(Run(job.path))}; {hours:.1f} h left")

    with stop.listen(console):
        failed = run_jobs(jobs, at_once=at_once, stop=stop, on_end=on_end)
    write_suite(manifest)  # a suite that was killed between a training's end and its table has nothing left to run
    return failed


def outcome_in_words(run: Run) -> str:
    """Before, after and time of a finished run."""
    result = json.loads(run.result.read_text(encoding="utf-8"))
    minutes = cost_of(run.path).cpu_seconds / 60
    return f"{result['sft']['rate']:.1%} → {result['rl']['rate']:.1%}, {minutes:.1f} CPU min"
