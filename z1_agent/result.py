"""result.json: what a training has found, and what it took."""

import resource
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from z1_agent.presets import FineTuneConfig, TrainConfig
from z1_agent.run import DEMONSTRATIONS, SFT, STAGES, Run
from z1_agent.sft import SftProgress
from z1_agent.statistics import PairedCounts
from z1_agent.taken_over import sft_commit
from z1_envs.demos import Demonstrations
from z1_envs.evaluate import Report, compare

_PROGRAM = ("commit", "versions", "scene_version", "machine", "commits", "all_versions", "machines")  # of config.json


def make_result(run: Run, config: TrainConfig, before: Report, after: Report) -> dict[str, Any]:
    """Both evaluations, the paired test between them, and steps and times of every stage.

    env_steps: control steps simulated. peak_memory_bytes: of the process that took most. commit, versions and
    machine: those that began the run; `commits`, `all_versions` and `machines` where others have gone on with it;
    `sft_commit` where SFT was taken over, its own.
    Raises ValueError where the reports are of different protocols.
    """
    return {
        "task": config.task,
        "backend": after.backend,
        "protocol": asdict(after.protocol),
        "protocol_hash": after.protocol_hash,
        "seed": config.seed,
        "recipe_digest": config.recipe_digest,
        "sft": as_rate(before),
        "rl": as_rate(after),
        "paired": asdict(compare(before, after)),
        **_cost_and_origin(run, STAGES),
    }


def make_sft_result(
    run: Run,
    config: FineTuneConfig,
    progress: SftProgress,
    learned: Demonstrations,
    held_out: Demonstrations | None,
) -> dict[str, Any]:
    """What a fine-tuning has found: losses of every round, which one was kept, and times.

    held_out_loss: of the round that was kept, None where no episodes were held out. diverged: in words, where loss,
    gradient or score were no longer finite and ended it.
    """
    losses = None if held_out is None else [-score for score in progress.score]
    return {
        "task": config.task,
        "backend": learned.backend,
        "seed": config.seed,
        "policy": config.policy,
        "data": config.data,
        "episodes": learned.num_episodes,
        "steps": len(learned.actions),
        "held_out_episodes": 0 if held_out is None else held_out.num_episodes,
        "rounds": len(progress.loss),
        "best_round": progress.best_round,
        "held_out_loss": None if losses is None else losses[progress.best_round],
        "held_out_losses": losses,
        "losses": progress.loss,
        "diverged": progress.diverged,
        **_cost_and_origin(run, (DEMONSTRATIONS, SFT)),
    }


def _cost_and_origin(run: Run, stages: tuple[str, ...]) -> dict[str, Any]:
    log, about, sft_by = run.log(), run.about(), sft_commit(run)

    def per_stage(key: str) -> dict[str, float]:
        return {stage: sum(line[key] for line in log if line["stage"] == stage) for stage in stages}

    return {
        "env_steps": per_stage("env_steps"),
        "wall_seconds": per_stage("wall_seconds"),
        "cpu_seconds": per_stage("cpu_seconds"),
        "peak_memory_bytes": max(peak_memory(), *(line.get("peak_memory_bytes", 0) for line in log)),
        **{key: about[key] for key in _PROGRAM if key in about},
        **({} if sft_by is None else {"sft_commit": sft_by}),
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


def paired_counts(before: Mapping[str, Any], paired: Mapping[str, Any]) -> PairedCounts:
    """The four counts of a comparison: the first policy's rate and the paired test, as result.json has them."""
    gained, lost = paired["gained"], paired["lost"]
    both = before["successes"] - lost
    return PairedCounts(both=both, gained=gained, lost=lost, neither=before["episodes"] - both - gained - lost)
