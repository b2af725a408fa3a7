"""The cost-matched control: what a training's CPU time buys when all of it goes into SFT.

It repeats the run's SFT with the same demonstrations and seeds, without the stopping rule, until SFT and GRPO's
CPU time together are spent, and evaluates on the run's own episodes. Two policies come out: the last one, and the
one with the best held-out success of all rounds, which is the fairer opponent.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

from z1_agent.average import put
from z1_agent.backends import eval_envs
from z1_agent.cpu_time import cpu_seconds
from z1_agent.device import place
from z1_agent.pipeline import collect_demonstrations, new_policy, protocol, stream_seed
from z1_agent.policy import Pi05Policy
from z1_agent.presets import TrainConfig
from z1_agent.result import as_rate, paired_counts
from z1_agent.run import Run
from z1_agent.sft import SftProgress, train_sft
from z1_agent.statistics import PairedCounts
from z1_envs.evaluate import Report, compare, evaluate
from z1_envs.processes import machine
from z1_envs.whole_files import sha256_of

_FOREVER = 10**9  # rounds: the budget ends it


def control_file(run: Run) -> Path:
    """Where the control of a training belongs: beside its directory."""
    return run.path.with_name(f"{run.path.name}.control.json")


def read_control(run: Run) -> dict[str, Any] | None:
    """What `more_sft` has found for `run`; None where it has not, or for another training that was there before."""
    file = control_file(run)
    if not file.exists():
        return None
    control = json.loads(file.read_text(encoding="utf-8"))
    against = control.get("eval_rl_digest")  # controls of older versions do not say
    is_of_run = against is None or (run.eval_rl.exists() and _digest(run) == against)
    return control if is_of_run else None


def control_counts(run: Run) -> PairedCounts | None:
    """What the control of `run` has found: its best policy first, the run's GRPO policy second; None without one."""
    control = read_control(run)
    return None if control is None else paired_counts(control["best"], control["best"]["grpo_against_it"])


def _digest(run: Run) -> str:
    """Names the training by its final evaluation."""
    return sha256_of(run.eval_rl)[:12]


def more_sft(run: Run, config: TrainConfig, num_threads: int | None = None) -> dict[str, Any]:
    """Successes of the control's `last` and `best` policy, paired with the run's GRPO policy; `diverged` says where and
    why its SFT ended before all of the time was spent. num_threads: of the physics, None for all cores.

    Raises ValueError where the run has not finished.
    """
    if not run.result.exists():
        raise ValueError(f"{run.path} has no result yet; let its training finish first")
    spent = json.loads(run.result.read_text(encoding="utf-8"))["cpu_seconds"]
    budget = spent["sft"] + spent["rl"]
    rl = Report.from_json(run.eval_rl.read_text(encoding="utf-8"))

    demos = collect_demonstrations(config, num_threads)
    policy = place(new_policy(config, demos), config.device)
    held_out = eval_envs(config, num_threads, config.validation_episodes)
    fresh = eval_envs(config, num_threads, config.eval_episodes)

    def validate(candidate: Pi05Policy) -> float:
        return evaluate(candidate, held_out, protocol(config, "validation", config.validation_episodes)).rate

    def judge(weights: dict[str, Any]) -> dict[str, Any]:
        put(policy.model, weights)
        report = evaluate(policy, fresh, protocol(config, "evaluation", config.eval_episodes))
        paired = dataclasses.asdict(compare(report, rl))
        return as_rate(report) | {"grpo_against_it": paired}

    start = cpu_seconds()

    def on_round(_progress: SftProgress, _state: Any) -> bool:
        return cpu_seconds() - start < budget

    unending = dataclasses.replace(config.sft, patience=_FOREVER, max_rounds=_FOREVER)
    progress = train_sft(
        policy, demos, unending, seed=stream_seed(config.seed, "SFT"), validate=validate, on_round=on_round
    )
    held_out.close()
    found = {
        "eval_rl_digest": _digest(run),
        "machine": machine(),
        "cpu_seconds": cpu_seconds() - start,
        "diverged": progress.diverged,
        "rounds": len(progress.score),
        "held_out": progress.score,
        "last": judge(progress.average),
        "best": judge(progress.best),
    }
    fresh.close()
    return found
