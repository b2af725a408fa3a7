"""`z1 sft`: supervised fine-tuning of a public or own policy on a dataset, without any env.

It ends when the flow-matching loss on held-out episodes stops falling, or after a number of rounds. A run is stopped
and gone on with as a training is, bit for bit.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.tensorboard.writer import SummaryWriter

from z1_agent import checkpoint
from z1_agent.console import Bar
from z1_agent.dataset import learned_on, split_episodes
from z1_agent.device import place
from z1_agent.observation import take
from z1_agent.pipeline import Training, plot, stream_seed, warn_of_other_programs
from z1_agent.policy import Pi05Policy
from z1_agent.presets import FineTuneConfig
from z1_agent.report import write_sft_report
from z1_agent.result import make_sft_result
from z1_agent.run import DEMONSTRATIONS, SFT, write_text
from z1_agent.sft import SftProgress, train_sft
from z1_agent.start import begin_fine_tuning
from z1_envs.datasets import read_demos
from z1_envs.demos import Demonstrations


@dataclass(frozen=True)
class Material:
    """What a fine-tuning works on: the policy it begins with, and the episodes to learn from and to hold out.

    policy: None for a run that goes on with the one it has saved: two of the published size would fill a machine.
    """

    policy: Pi05Policy | None
    learned: Demonstrations
    held_out: Demonstrations | None


def read_material(config: FineTuneConfig, *, goes_on: bool = False) -> Material:
    """Dataset and policy of `config`, found to fit each other; nothing is written.

    goes_on: the run has a policy of its own already, so that none is read.

    Raises DemosError, PretrainedError, TokenizerError, CheckpointError or ValueError where they are broken or do not
    fit.
    """
    demos = read_demos(Path(config.data), learned_on(config)[0])
    learned, held_out = split_episodes(demos, config.held_out)
    if goes_on:
        return Material(None, learned, held_out)
    policy = begin_fine_tuning(config, learned, seed=stream_seed(config.seed, "weights"))
    first = np.arange(1)
    policy.check(take(learned.observation, first))  # prompts and pictures that do not fit are found before the run
    return Material(policy, learned, held_out)


def fine_tune(training: Training[FineTuneConfig], material: Material | None) -> dict[str, Any]:
    """Runs what is left; returns what result.json holds. Afterwards the run is no longer held.

    material: None for a run that has a result. Raises Stopped once a wanted stop has left everything on disk.
    """
    run = training.run
    try:
        with training.stop.listen(training.console):
            if material is not None and not run.result.exists():
                warn_of_other_programs(training)
                with SummaryWriter(run.events) as events:
                    progress = _learn(training, material, events)
                result = make_sft_result(run, training.config, progress, material.learned, material.held_out)
                write_text(run.result, json.dumps(result, indent=1, allow_nan=False))
            if not run.report.exists():
                write_sft_report(run)
        return json.loads(run.result.read_text(encoding="utf-8"))
    finally:
        run.let_go()


def held_out_loss(policy: Pi05Policy, demos: Demonstrations, *, num_steps: int, batch_size: int, seed: int) -> float:
    """The flow-matching loss of `policy` at up to `num_steps` steps, spread evenly over `demos`.

    Noise and times come from `seed`: two policies are compared on the same ones.
    """
    actions, real = demos.chunks(policy.config.model.chunk_len)
    rows = np.unique(np.linspace(0, len(actions) - 1, min(num_steps, len(actions))).astype(np.int64))
    generator = torch.Generator().manual_seed(seed)
    total = 0.0
    with torch.no_grad():
        for start in range(0, len(rows), batch_size):
            part = rows[start : start + batch_size]
            loss = policy.loss(take(demos.observation, part), actions[part], generator, real[part])
            total += loss.item() * int(real[part].sum())
    return total / int(real[rows].sum())


def _learn(training: Training[FineTuneConfig], material: Material, events: SummaryWriter) -> SftProgress:
    run, config = training.run, training.config
    policy, resume = material.policy, None
    if checkpoint.exists(run.checkpoint):
        policy, resume = checkpoint.load_policy(run.checkpoint), checkpoint.load_trainer(run.checkpoint)
    assert policy is not None, "the material of a run that has saved no policy brings one"
    policy = place(policy, config.device)
    first = 0 if resume is None else len(resume.values["score"])
    run.keep_log(lambda line: line["stage"] == SFT and line["round"] < first)
    _record_data(training, material)
    task, backend = learned_on(config)
    rounds = first

    def validate(candidate: Pi05Policy) -> float:
        nonlocal rounds
        rounds += 1
        if material.held_out is None:
            return float(rounds)  # without an exam the last policy is the one that is kept
        return -held_out_loss(
            candidate,
            material.held_out,
            num_steps=config.validation_steps,
            batch_size=config.sft.micro_batch_size or config.sft.batch_size,
            seed=stream_seed(config.seed, "validation"),
        )

    with Bar(training.console, "SFT", total=config.sft.max_rounds, done=first) as bar:

        def on_round(progress: SftProgress, state) -> bool:
            last = len(progress.score) - 1
            loss = None if material.held_out is None else -progress.score[last]
            values = {"round": last, "held_out_loss": loss, "loss": progress.loss[last]}
            training.record(SFT, {**values, "env_steps": 0})
            plot(events, SFT, last, values)
            checkpoint.save(run.checkpoint, policy, task=task, backend=backend, trainer=state())
            bar.update(last + 1, _live(progress, has_exam=material.held_out is not None))
            return not training.stop.made

        seed = stream_seed(config.seed, "SFT")
        progress = train_sft(
            policy, material.learned, config.sft, seed=seed, validate=validate, on_round=on_round, resume=resume
        )
    if progress.diverged is not None:
        training.console.print(progress.diverged)
    training.stop.check()
    checkpoint.save(run.sft_checkpoint, policy, task=task, backend=backend)
    return progress


def _record_data(training: Training[FineTuneConfig], material: Material) -> None:
    held_out = 0 if material.held_out is None else material.held_out.num_episodes
    learned = material.learned
    values = {"episodes": learned.num_episodes, "held_out_episodes": held_out, "kept_steps": len(learned.actions)}
    training.record(DEMONSTRATIONS, {**values, "env_steps": 0})
    training.console.print(
        f"{learned.num_episodes} episodes to learn from, {len(learned.actions)} steps; {held_out} held out"
    )


def _live(progress: SftProgress, *, has_exam: bool) -> str:
    loss = f"loss {progress.loss[-1]:.4f}"
    return f"{loss}, held out {-progress.score[-1]:.4f}, best {-max(progress.score):.4f}" if has_exam else loss
