"""Measuring what decides a task's recipe: SFT, how far its rollouts come, and a few iterations of GRPO.

Nothing here sees an episode of a training's validation or final evaluation: episodes come from a stream of their own.
The SFT policy is that of `z1 train` with the same task, preset and seed. GRPO is measured with flat groups and the
action expert alone, and its rate falls as it does in the first iterations of a whole training.
Source: arXiv 2606.31846 (Z-1), training-stage diagnostics.
"""

import dataclasses
import time
from dataclasses import dataclass

import numpy as np
from rich.console import Console

from z1_agent.backends import MAX_EVAL_LANES, eval_envs, make_envs
from z1_agent.console import Bar
from z1_agent.grpo import IterationLog, train_grpo
from z1_agent.pipeline import collect_demonstrations, new_policy, protocol, stream_seed
from z1_agent.policy import Pi05Policy
from z1_agent.presets import TrainConfig
from z1_agent.sft import SftProgress, train_sft
from z1_agent.signals import EarlyProgress, Probe, Signals, Watched, approach_of, failures_of
from z1_envs.evaluate import agent_rows, evaluate
from z1_envs.kitchen.env import KitchenVectorEnv, ObsMode
from z1_envs.kitchen.scene import SceneOptions


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What to measure. config: of the training to be decided. episodes: watched, of each policy. iterations: of GRPO.
    with_probe: whether SFT is done a second time, with the other kind of observations. num_threads: of the physics."""

    config: TrainConfig
    episodes: int
    iterations: int
    with_probe: bool
    num_threads: int | None = None


def measure(diagnosis: Diagnosis, console: Console) -> Signals:
    """All signals; minutes with the preset `cpu`."""
    config = diagnosis.config
    policy = _sft(diagnosis, config, console)
    before = watch(diagnosis, policy, config.obs)
    console.print(f"SFT from {config.obs}: success {before.rate}")
    early = _early_progress(diagnosis, policy, before, console)
    console.print(f"GRPO, {early.iterations} iterations: {early.gain:+.1%} in {early.env_steps / 1000:.0f}k env steps")
    probe = _probe(diagnosis, before, console) if diagnosis.with_probe else None
    return Signals(
        sees=config.obs,
        sft=before.rate,
        approach=approach_of(before),
        failures=failures_of(before),
        early=early,
        probe=probe,
    )


def watch(diagnosis: Diagnosis, policy: Pi05Policy, obs: ObsMode) -> Watched:
    """The episodes of the diagnosis, by `policy` without noise of its own. Those won at their start are left out."""
    config = diagnosis.config
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
            num_threads=diagnosis.num_threads,
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
    observation, infos = envs.reset(seed=seeds)
    lanes = np.arange(envs.num_envs, dtype=np.int32)
    is_trial = ~infos["success"]
    manipulating, scene = [infos["phase"] == "manipulation"], [envs.lanes.observe(lanes)["scene"]]
    moving = is_trial.copy()
    while moving.any():
        chunks = policy.act(agent_rows(observation, infos, moving))
        actions = np.zeros((envs.num_envs, *chunks.shape[1:]), chunks.dtype)
        actions[moving] = chunks
        observation, _, _, _, infos = envs.step(actions[:, : policy.config.executed_len], active=moving)
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


def _sft(diagnosis: Diagnosis, config: TrainConfig, console: Console) -> Pi05Policy:
    """The policy of the training's own SFT: the same demonstrations, seeds and stopping rule."""
    demos = collect_demonstrations(config)
    policy = new_policy(config, demos)
    envs = eval_envs(config, diagnosis.num_threads, config.validation_episodes)

    def validate(candidate: Pi05Policy) -> float:
        return evaluate(candidate, envs, protocol(config, "validation", config.validation_episodes)).rate

    with Bar(console, f"SFT from {config.obs}", total=config.sft.max_rounds, done=0) as bar:

        def on_round(progress: SftProgress, _state: object) -> bool:
            bar.update(len(progress.score), f"held-out success {progress.score[-1]:.0%}")
            return True

        seed = stream_seed(config.seed, "SFT")
        train_sft(policy, demos, config.sft, seed=seed, validate=validate, on_round=on_round)
    envs.close()
    return policy


def _early_progress(diagnosis: Diagnosis, policy: Pi05Policy, before: Watched, console: Console) -> EarlyProgress:
    """Improves `policy`, in place."""
    config, iterations = diagnosis.config, diagnosis.iterations
    share = 1 - (1 - config.grpo.final_rate_share) * min(1.0, iterations / config.grpo.num_iterations)
    grpo = dataclasses.replace(
        config.grpo,
        num_iterations=iterations,
        final_rate_share=share,
        branching="flat",
        trainable="action_expert",
    )
    lanes = grpo.num_groups * grpo.group_size
    envs = make_envs(config, num_envs=lanes, group_size=grpo.group_size, num_threads=diagnosis.num_threads)
    logs: list[IterationLog] = []
    begun = time.process_time()
    with Bar(console, "GRPO", total=iterations, done=0) as bar:

        def on_iteration(log: IterationLog, _state: object) -> bool:
            logs.append(log)
            bar.update(len(logs), f"success {log.success:.0%}")
            return True

        train_grpo(policy, envs, grpo, seed=stream_seed(config.seed, "diagnosis GRPO"), on_iteration=on_iteration)
    seconds = time.process_time() - begun
    envs.close()
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


def _probe(diagnosis: Diagnosis, before: Watched, console: Console) -> Probe:
    other: ObsMode = "state" if diagnosis.config.obs == "pixels" else "pixels"
    policy = _sft(diagnosis, dataclasses.replace(diagnosis.config, obs=other), console)
    rates = {diagnosis.config.obs: before.rate, other: watch(diagnosis, policy, other).rate}
    console.print(f"SFT from {other}: success {rates[other]}")
    return Probe(state=rates["state"], pixels=rates["pixels"])
