"""result.json: what a training has found, and what it took."""

import resource
import sys
from dataclasses import asdict
from typing import Any

from z1_agent.presets import TrainConfig
from z1_agent.run import STAGES, Run
from z1_envs.evaluate import Report, compare


def make_result(run: Run, config: TrainConfig, before: Report, after: Report) -> dict[str, Any]:
    """Both evaluations, the paired test between them, and steps and times of every stage.

    env_steps: control steps simulated. peak_memory_bytes: of the process that took most. commit and versions: those
    that began the run; `commits` where others have gone on with it.
    Raises ValueError where the reports are of different protocols.
    """
    log, about = run.log(), run.about()

    def per_stage(key: str) -> dict[str, float]:
        return {stage: sum(line[key] for line in log if line["stage"] == stage) for stage in STAGES}

    return {
        "task": config.task,
        "backend": after.backend,
        "protocol": asdict(after.protocol),
        "protocol_hash": after.protocol_hash,
        "seed": config.seed,
        "sft": as_rate(before),
        "rl": as_rate(after),
        "paired": asdict(compare(before, after)),
        "env_steps": per_stage("env_steps"),
        "wall_seconds": per_stage("wall_seconds"),
        "cpu_seconds": per_stage("cpu_seconds"),
        "peak_memory_bytes": max(peak_memory(), *(line.get("peak_memory_bytes", 0) for line in log)),
        **{key: about[key] for key in ("commit", "versions", "commits") if key in about},
    }


def peak_memory() -> int:
    """The most memory that this process has had at once [bytes]."""
    # ru_maxrss is in KiB on Linux, in bytes on macOS.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def as_rate(report: Report) -> dict[str, Any]:
    """Successes, episodes, their share and its interval, as result.json has them."""
    return {
        "successes": int(report.successes.sum()),
        "episodes": len(report.successes),
        "rate": report.rate if len(report.successes) else None,
        "interval": list(report.interval),
    }
