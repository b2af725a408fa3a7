"""A whole training: demonstrations → SFT → evaluation → GRPO → evaluation on the same episodes → result and report.

Where a trained policy is given, its evaluation is the first stage. Every stage leaves a file, and starts from the files
that are there: a run that was stopped goes on bit for bit. Demonstrations, validation, training, evaluation and films
draw their episodes from seeds of their own.
"""

import ctypes
import json
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from rich.console import Console
from torch.utils.tensorboard.writer import SummaryWriter

from z1_agent import checkpoint
from z1_agent.backends import backend_name, eval_envs, eval_protocol, make_envs
from z1_agent.checkpoint import TrainerState
from z1_agent.console import Bar, StopRequest
from z1_agent.cpu_time import cpu_seconds
from z1_agent.device import place
from z1_agent.grpo import IterationLog, train_grpo
from z1_agent.pi05 import pi05_nano
from z1_agent.policy import Pi05Policy, PolicyConfig
from z1_agent.presets import FineTuneConfig, TrainConfig
from z1_agent.recipe import check_fixed, keep_recipe
from z1_agent.recording import Films, film_policy
from z1_agent.report import write_report
from z1_agent.result import make_result, peak_memory
from z1_agent.run import DEMONSTRATIONS, EVAL_RL, EVAL_SFT, RL, SFT, Run, write_text
from z1_agent.sft import SftProgress, train_sft
from z1_agent.start import begin_trying, fresh_policy, statistics
from z1_agent.taken_over import sft_commit, take_over_sft
from z1_envs.datasets import read_demos
from z1_envs.demos import Demonstrations
from z1_envs.evaluate import EvalProtocol, Report, evaluate
from z1_envs.kitchen.demos import collect
from z1_envs.layout import CAMERAS, SCENE
from z1_envs.opengl import RenderError

Config = TypeVar("Config", TrainConfig, FineTuneConfig)
_LIBC = ctypes.CDLL(None)
_RECENT = 10  # iterations in the moving average of the live line


@dataclass
class Training(Generic[Config]):
    """A run under way. num_threads: of the physics, None for all cores. sft_folder: runs from which SFT is taken over
    where one of them has done the same. films: whether the trained policy is filmed at the end. Results depend on none
    of them, as long as the same commit has done that SFT."""

    run: Run
    config: Config
    console: Console
    stop: StopRequest
    num_threads: int | None = None
    sft_folder: Path | None = None
    films: bool = True

    def __post_init__(self) -> None:
        self.clock = _Clock()

    def record(self, stage: str, values: dict[str, Any]) -> None:
        """One line of the log, with the time since the last one and the most memory so far."""
        self.run.append_log({"stage": stage, **values, **self.clock.lap(), "peak_memory_bytes": peak_memory()})


def train(training: Training[TrainConfig]) -> dict[str, Any]:
    """Runs what is left of all stages; returns what result.json holds. Afterwards the run is no longer held.

    Raises Stopped once a wanted stop has left everything on disk.
    """
    try:
        return _train(training)
    finally:
        training.run.let_go()


def _train(training: Training[TrainConfig]) -> dict[str, Any]:
    run = training.run
    with training.stop.listen(training.console):
        if not run.result.exists():
            warn_of_other_programs(training)
            keep_recipe(training.config, run)
            with SummaryWriter(run.events) as events:
                # Where GRPO goes on, it reads a policy of its own, beside which a first one would fill the memory.
                policy = None if run.eval_sft.exists() and _tries(run) else _first_policy(training, events)
                before = _evaluation(training, policy, EVAL_SFT)
                policy = _improve_by_trying(training, policy, events)
                check_fixed(training.config, run)
                after = _evaluation(training, policy, EVAL_RL)
            result = make_result(run, training.config, before, after)
            write_text(run.result, json.dumps(result, indent=1, allow_nan=False))
        if not run.report.exists():
            if training.films:
                _film(training)
            write_report(run)
    return json.loads(run.result.read_text(encoding="utf-8"))


def _first_policy(training: Training[TrainConfig], events: SummaryWriter) -> Pi05Policy:
    """The one that GRPO is to improve: after SFT, or the given one."""
    if training.config.policy is None:
        return learn_from_demonstrations(training, events)
    return place(begin_trying(training.config), training.config.device)


def warn_of_other_programs(training: Training[Any]) -> None:
    """Says so where the run was begun with another commit, or other versions of packages."""
    about = training.run.about()
    if versions := about.get("all_versions"):
        changed = sorted({name for one in versions for name in one if one[name] != versions[0].get(name)})
        training.console.print(f"Begun with other versions of {', '.join(changed)}: it does not go on bit for bit")
    commits = about.get("commits", [])
    if commits:
        training.console.print(f"Begun with commit {commits[0]}, gone on with {', '.join(map(str, commits[1:]))}")


def _film(training: Training[TrainConfig]) -> None:
    run, config = training.run, training.config
    films = Films(
        task=config.task,
        horizon=config.horizon,
        trunk_len=_third_of_a_success(Report.from_json(run.eval_rl.read_text(encoding="utf-8"))),
        seed=stream_seed(config.seed, "films"),
        rollout=run.rollout_video,
        tree=run.tree_video,
        num_threads=training.num_threads,
    )
    try:
        policy = place(checkpoint.load_policy(run.checkpoint), config.device)
        film_policy(policy, films, obs=config.obs, image_px=config.image_px, backend=config.backend)
    except RenderError as error:
        training.console.print(f"No videos: {error}")


def stream_seed(seed: int, name: str) -> int:
    """The seed, of 62 bits, of what `name` says; other names give unrelated ones."""
    high, low = np.random.SeedSequence([seed, *name.encode()]).generate_state(2)
    return (int(high) << 32 | int(low)) >> 2


def learn_from_demonstrations(training: Training[TrainConfig], events: SummaryWriter) -> Pi05Policy:
    """The policy after SFT, gone on with from what the run has. Raises Stopped once a wanted stop is saved."""
    run, config = training.run, training.config
    if checkpoint.exists(run.sft_checkpoint) or _takes_over_sft(training, events):
        return place(checkpoint.load_policy(run.sft_checkpoint), config.device)
    demos = _demonstrations(training)
    policy, resume = new_policy(config, demos), None
    if checkpoint.exists(run.checkpoint):
        policy, resume = checkpoint.load_policy(run.checkpoint), checkpoint.load_trainer(run.checkpoint)
    policy = place(policy, config.device)
    backend = backend_name(config)
    first = len(resume.values["score"]) if resume is not None else 0
    run.keep_log(lambda line: line["stage"] == DEMONSTRATIONS or line["round"] < first)
    envs = eval_envs(config, training.num_threads, config.validation_episodes)
    steps: list[int] = []

    def validate(candidate: Pi05Policy) -> float:
        report = evaluate(candidate, envs, protocol(config, "validation", config.validation_episodes))
        steps.append(int(report.elapsed.sum()))
        return report.rate

    with Bar(training.console, "SFT", total=config.sft.max_rounds, done=first) as bar:

        def on_round(progress: SftProgress, state) -> bool:
            last = len(progress.score) - 1
            values = {"round": last, "success": progress.score[last], "loss": progress.loss[last]}
            training.record(SFT, {**values, "env_steps": steps[-1]})
            plot(events, SFT, last, values)
            checkpoint.save(run.checkpoint, policy, task=config.task, backend=backend, trainer=state())
            bar.update(last + 1, f"held-out success {values['success']:.0%}, best {max(progress.score):.0%}")
            return not training.stop.made

        seed = stream_seed(config.seed, "SFT")
        progress = train_sft(policy, demos, config.sft, seed=seed, validate=validate, on_round=on_round, resume=resume)
    envs.close()
    if progress.diverged is not None:
        training.console.print(progress.diverged)
    training.stop.check()
    checkpoint.save(run.sft_checkpoint, policy, task=config.task, backend=backend)
    return policy


def _takes_over_sft(training: Training[TrainConfig], events: SummaryWriter) -> bool:
    if training.sft_folder is None:
        return False
    found = take_over_sft(training.sft_folder, training.run, training.config)
    if found is None:
        training.console.print(f"No run in {training.sft_folder} has done this SFT: it is done here")
        return False
    for line in training.run.log():
        if line["stage"] == SFT:
            plot(events, SFT, line["round"], {name: line[name] for name in ("success", "loss")})
    done, here = sft_commit(training.run), training.run.about()["commit"]
    # What had changes when it ran says nothing by its name.
    by = "" if done == here and not str(done).endswith("+changes") else f", which another program did: {done}"
    training.console.print(f"SFT is taken over from {found.path}{by}")
    return True


def collect_demonstrations(config: TrainConfig, num_threads: int | None = None) -> Demonstrations:
    """The demonstrations that `config` learns from, from its dataset or from the expert; the same each time.

    num_threads: of the physics, None for all cores.
    """
    if config.demos is not None:
        return read_demos(Path(config.demos), config.task)
    return collect(
        config.task,
        num_episodes=config.sft.num_demos,
        seed=stream_seed(config.seed, "demonstrations"),
        noise=config.sft.demo_noise,
        obs=config.obs,
        image_px=config.image_px,
        horizon=config.horizon,
        num_threads=num_threads,
    )


def _demonstrations(training: Training[TrainConfig]) -> Demonstrations:
    training.run.keep_log(lambda line: line["stage"] != DEMONSTRATIONS)  # collected again by whoever needs them
    training.clock.lap()
    demos = collect_demonstrations(training.config, training.num_threads)
    values = {"episodes": demos.num_episodes, "attempts": demos.attempts, "kept_steps": len(demos.actions)}
    training.record(DEMONSTRATIONS, {**values, "env_steps": demos.simulated_steps})
    training.console.print(f"{demos.num_episodes} demonstrations, {len(demos.actions)} steps")
    return demos


def new_policy(config: TrainConfig, demos: Demonstrations) -> Pi05Policy:
    """The policy that `config` starts from, normalised by `demos`; the same each time."""
    sees = config.obs == "pixels"
    width = 0 if sees else SCENE.width
    model = pi05_nano(chunk_len=config.chunk_len, scene_width=width, vision=sees, image_px=config.image_px)
    cameras = tuple(CAMERAS) if sees else ()
    parts = PolicyConfig(
        model=model,
        sde=config.sde,
        executed_len=config.executed_len,
        cameras=cameras,
        compute_dtype=config.compute_dtype,
    )
    return fresh_policy(parts, statistics(demos, with_scene=not sees), seed=stream_seed(config.seed, "weights"))


def _improve_by_trying(training: Training[TrainConfig], policy: Pi05Policy | None, events: SummaryWriter) -> Pi05Policy:
    """The policy after GRPO. policy: to begin with, not looked at where the run has one to go on with."""
    run, config = training.run, training.config
    resume: TrainerState | None = None
    if _tries(run):
        policy = place(checkpoint.load_policy(run.checkpoint), config.device)
        resume = checkpoint.load_trainer(run.checkpoint)
    assert policy is not None, "a run that has not begun GRPO brings its first policy"
    first = 0 if resume is None else resume.values["iteration"] + 1
    run.keep_log(lambda line: line["stage"] != RL or line["iteration"] < first)
    lanes = config.grpo.num_groups * config.grpo.group_size
    envs = make_envs(config, num_envs=lanes, group_size=config.grpo.group_size, num_threads=training.num_threads)
    backend = backend_name(config)
    total = config.grpo.num_iterations
    recent: deque[float] = deque(maxlen=_RECENT)
    env_steps = sum(line["env_steps"] for line in run.log() if line["stage"] == RL)
    training.clock.lap()
    with Bar(training.console, "GRPO", total=total, done=first) as bar:

        def on_iteration(log: IterationLog, state) -> bool:
            nonlocal env_steps
            training.record(RL, asdict(log))
            plot(events, RL, log.iteration, asdict(log) | asdict(log.groups))
            done, stops = log.iteration + 1, training.stop.made  # asked once: what it ends is saved
            if stops or done == total or done % config.checkpoint_every == 0:
                checkpoint.save(run.checkpoint, policy, task=config.task, backend=backend, trainer=state())
            _return_freed_memory()
            recent.append(log.success)
            env_steps += log.env_steps
            bar.update(done, _live(log, float(np.mean(recent)), env_steps))
            return not stops

        seed = stream_seed(config.seed, "GRPO")
        train_grpo(policy, envs, config.grpo, seed=seed, on_iteration=on_iteration, resume=resume)
    envs.close()
    training.stop.check()
    return policy


def _tries(run: Run) -> bool:
    """Whether GRPO has begun, so that its policy is the one to go on with."""
    return checkpoint.exists(run.checkpoint) and checkpoint.read_counters(run.checkpoint).get("stage") == "grpo"


def _return_freed_memory() -> None:
    """Batches of ever different sizes leave holes that glibc keeps: a run would grow from 0.9 to 1.9 GB."""
    if sys.platform == "linux" and hasattr(_LIBC, "malloc_trim"):  # musl has none
        _LIBC.malloc_trim(0)


def _live(log: IterationLog, success: float, env_steps: int) -> str:
    groups = f"{log.groups.dead}/{log.groups.mixed}/{log.groups.all_success}"
    counts = f"dead/mixed/all {groups}  clip {log.clip_fraction:.1%}  {env_steps / 1000:.0f}k steps"
    return f"success {success:.0%}  {counts}"


def _evaluation(training: Training[TrainConfig], policy: Pi05Policy | None, stage: str) -> Report:
    """The report of `stage`, made where it is not there yet. policy: not looked at where it is."""
    run, config = training.run, training.config
    file = run.eval_sft if stage == EVAL_SFT else run.eval_rl
    if file.exists():
        return Report.from_json(file.read_text(encoding="utf-8"))
    assert policy is not None, "a stage without a report brings a policy to evaluate"
    run.keep_log(lambda line: line["stage"] != stage)  # of an evaluation whose report was lost
    training.clock.lap()
    envs = eval_envs(config, training.num_threads, config.eval_episodes)
    what = "policy" if config.policy is not None and stage == EVAL_SFT else stage.removeprefix("eval_").upper()
    with Bar(training.console, f"Evaluate {what}", total=config.eval_episodes, done=0) as bar:

        def progress(done: int, _total: int, successes: int) -> None:
            training.stop.check()
            bar.update(done, f"success {successes / max(done, 1):.0%}")

        report = evaluate(policy, envs, protocol(config, "evaluation", config.eval_episodes), progress=progress)
    envs.close()
    training.record(stage, {"success": report.rate, "env_steps": int(report.elapsed.sum())})
    write_text(file, report.to_json())
    low, high = report.interval
    training.console.print(f"  success {report.rate:.1%} ({low:.1%} to {high:.1%})")
    return report


def protocol(config: TrainConfig, name: str, num_episodes: int) -> EvalProtocol:
    """The protocol `name`, whose episodes nothing else of the training sees."""
    return eval_protocol(config, f"z1-train {name}", num_episodes, stream_seed(config.seed, name))


def plot(events: SummaryWriter, stage: str, step: int, values: dict[str, Any]) -> None:
    """The numbers among `values`, for TensorBoard."""
    for name, value in values.items():
        if isinstance(value, (int, float)) and name not in ("round", "iteration"):
            events.add_scalar(f"{stage}/{name}", value, step)
    events.flush()


def _third_of_a_success(report: Report) -> int:
    """Where a tree is worth splitting [steps]: under way, with most of the work to do."""
    lengths = report.elapsed[report.successes]
    return int(np.median(lengths if len(lengths) else report.elapsed)) // 3


class _Clock:
    """Time since the last lap, of the wall and of all threads and workers."""

    def __init__(self) -> None:
        self.lap()

    def lap(self) -> dict[str, float]:
        """`wall_seconds` and `cpu_seconds` since the last call."""
        now = time.monotonic(), cpu_seconds()
        wall, cpu = now if not hasattr(self, "_last") else (now[0] - self._last[0], now[1] - self._last[1])
        self._last = now
        return {"wall_seconds": wall, "cpu_seconds": cpu}
