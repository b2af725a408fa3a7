"""Measuring what decides a task's recipe: SFT, how far its rollouts come, and a few iterations of GRPO.

Nothing here sees an episode of a training's validation or final evaluation: episodes come from a stream of their own.
SFT is that of `z1 train` with the same task, preset and seed, in a run of its own that can be resumed; what follows is
measured anew each time. GRPO is measured with flat groups of 8 and the action expert alone, and its rate falls as it
does in the first iterations of a whole training.
Source: arXiv 2606.31846 (Z-1), training-stage diagnostics.
"""

import dataclasses
import shlex
from dataclasses import dataclass

import numpy as np
from torch.utils.tensorboard.writer import SummaryWriter

from z1_agent.backends import MAX_EVAL_LANES, make_envs
from z1_agent.console import Bar
from z1_agent.cpu_time import cpu_seconds
from z1_agent.grpo import IterationLog, train_grpo
from z1_agent.pipeline import Training, learn_from_demonstrations, stream_seed
from z1_agent.policy import Pi05Policy
from z1_agent.presets import TrainConfig
from z1_agent.run import open_run
from z1_agent.signals import EarlyProgress, Probe, Signals, Watched, approach_of, failures_of
from z1_envs.agents import ask
from z1_envs.kitchen.env import KitchenVectorEnv
from z1_envs.kitchen.scene import SceneOptions
from z1_envs.kitchen.spaces import ObsMode

_GROUP_SIZE = 8  # whatever a training's groups are: how many of them succeed as a whole is compared with thresholds


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What to measure. training: the one to be decided, of which SFT is done in its run. episodes: watched, of each
    policy. iterations: of GRPO. with_probe: whether SFT is done a second time, with the other kind of observations."""

    training: Training[TrainConfig]
    episodes: int
    iterations: int
    with_probe: bool


def measure(diagnosis: Diagnosis) -> Signals:
    """All signals; minutes with the preset `cpu`. Raises Stopped once a wanted stop has left SFT on disk."""
    training = diagnosis.training
    console, obs = training.console, training.config.obs
    with training.stop.listen(console):
        policy = _sft(training)
        before = watch(diagnosis, policy, obs)
        console.print(f"SFT from {obs}: success {before.rate}")
        early = _early_progress(diagnosis, policy, before)
        gain = f"{early.gain:+.1%} in {early.env_steps / 1000:.0f}k env steps"
        console.print(f"GRPO, {early.iterations} iterations: {gain}")
        probe = _probe(diagnosis, before) if diagnosis.with_probe else None
    return Signals(
        sees=obs,
        sft=before.rate,
        approach=approach_of(before),
        failures=failures_of(before),
        early=early,
        probe=probe,
    )


def watch(diagnosis: Diagnosis, policy: Pi05Policy, obs: ObsMode) -> Watched:
    """The episodes of the diagnosis, by `policy` without noise of its own. Those won at their start are left out."""
    config = diagnosis.training.config
    first = stream_seed(config.seed, "diagnosis")
    waves: list[Watched] = []
    for start in range(0, diagnosis.episodes, MAX_EVAL_LANES):
        seeds = range(first + start, first + min(start + MAX_EVAL_LANES, diagnosis.episodes))
        envs = KitchenVectorEnv(
            config.task,
            num_envs=len(seeds),
            obs=obs,
            image_px=config.image_px,
            horizon=config.horizon,
            scenes=SceneOptions(split="train"),
            num_threads=diagnosis.training.num_threads,
        )
        waves.append(_watch_wave(envs, policy, list(seeds)))
        envs.close()
    num_looks = max(len(wave.manipulating) for wave in waves)
    return Watched(
        manipulating=np.concatenate([_held(wave.manipulating, num_looks) for wave in waves], axis=1),
        scene=np.concatenate([_held(wave.scene, num_looks) for wave in waves], axis=1),
        success=np.concatenate([wave.success for wave in waves]),
    )


def _watch_wave(envs: KitchenVectorEnv, policy: Pi05Policy, seeds: list[int]) -> Watched:
    policy.reset(seeds[0])
    observation, infos = envs.reset(seed=seeds)
    lanes = np.arange(envs.num_envs, dtype=np.int32)
    is_trial = ~infos["success"]
    manipulating, scene = [infos["phase"] == "manipulation"], [envs.lanes.observe(lanes)["scene"]]
    moving = is_trial.copy()
    while moving.any():
        actions = ask(
            policy,
            observation,
            infos,
            moving=moving,
            first_episode=0,
            space=envs.single_action_space,
            chunk_len=policy.config.executed_len,
        )
        observation, _, _, _, infos = envs.step(actions, active=moving)
        manipulating.append(infos["phase"] == "manipulation")
        scene.append(envs.lanes.observe(lanes)["scene"])
        moving &= ~envs.finished
    return Watched(
        manipulating=np.stack(manipulating).astype(bool)[:, is_trial],
        scene=np.stack(scene)[:, is_trial],
        success=infos["success"][is_trial],
    )


def _held(rows: np.ndarray, num_looks: int) -> np.ndarray:
    """`rows` [T+1, …] with the last one repeated, up to `num_looks`: episodes that are over stay as they are."""
    return np.concatenate([rows, np.repeat(rows[-1:], num_looks - len(rows), axis=0)])


def _sft(training: Training[TrainConfig]) -> Pi05Policy:
    with SummaryWriter(training.run.events) as events:
        return learn_from_demonstrations(training, events)


def _early_progress(diagnosis: Diagnosis, policy: Pi05Policy, before: Watched) -> EarlyProgress:
    """Improves `policy`, in place."""
    training, iterations = diagnosis.training, diagnosis.iterations
    config = training.config
    share = 1 - (1 - config.grpo.final_rate_share) * min(1.0, iterations / config.grpo.num_iterations)
    num_groups = max(1, config.grpo.num_groups * config.grpo.group_size // _GROUP_SIZE)
    grpo = dataclasses.replace(
        config.grpo,
        num_iterations=iterations,
        num_groups=num_groups,
        group_size=_GROUP_SIZE,
        final_rate_share=share,
        branching="flat",
        trainable="action_expert",
    )
    lanes = num_groups * _GROUP_SIZE
    envs = make_envs(config, num_envs=lanes, group_size=_GROUP_SIZE, num_threads=training.num_threads)
    logs: list[IterationLog] = []
    begun = cpu_seconds()
    with Bar(training.console, "GRPO", total=iterations, done=0) as bar:

        def on_iteration(log: IterationLog, _state: object) -> bool:
            logs.append(log)
            bar.update(len(logs), f"success {log.success:.0%}")
            return not training.stop.made

        train_grpo(policy, envs, grpo, seed=stream_seed(config.seed, "diagnosis GRPO"), on_iteration=on_iteration)
    seconds = cpu_seconds() - begun
    envs.close()
    training.stop.check()
    after = watch(diagnosis, policy, config.obs)
    return EarlyProgress(
        iterations=iterations,
        gained=int((after.success & ~before.success).sum()),
        lost=int((before.success & ~after.success).sum()),
        episodes=len(after.success),
        env_steps=sum(log.env_steps for log in logs),
        cpu_seconds=seconds,
        dead=sum(log.groups.dead for log in logs),
        mixed=sum(log.groups.mixed for log in logs),
        all_success=sum(log.groups.all_success for log in logs),
    )


def _probe(diagnosis: Diagnosis, before: Watched) -> Probe:
    training = diagnosis.training
    config, about, path = training.config, training.run.about(), training.run.path / "probe"
    other: ObsMode = "state" if config.obs == "pixels" else "pixels"
    probed = dataclasses.replace(config, obs=other)
    run = open_run(
        path,
        probed,
        preset=about["preset"],
        command=shlex.split(about["command"]),
        resume=(path / "config.json").is_file(),
    )
    policy = _sft(dataclasses.replace(training, run=run, config=probed))
    run.let_go()
    rates = {config.obs: before.rate, other: watch(diagnosis, policy, other).rate}
    training.console.print(f"SFT from {other}: success {rates[other]}")
    return Probe(state=rates["state"], pixels=rates["pixels"])
