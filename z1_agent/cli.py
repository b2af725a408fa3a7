"""The command `z1`.

A command first checks all it was given (`prepare`), then works. What is wrong at the door is one sentence and exit
code 2; what goes wrong later is a fault of the program and shows its traceback.
"""

import contextlib
import dataclasses
import io
import math
import shlex
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro
from rich.console import Console
from rich.table import Table
from tyro.conf import FlagCreatePairsOff, Positional, arg, subcommand

from z1_agent import checkpoint, doctor
from z1_agent.checkpoint import CheckpointError
from z1_agent.console import Bar, Stopped, StopRequest
from z1_agent.dataset import WantedDemos, collect_dataset, with_dataset
from z1_agent.pipeline import MAX_EVAL_LANES, Training, train
from z1_agent.presets import PRESETS, TrainConfig, cpu
from z1_agent.recording import FILM_HORIZON, Films, film_all_tasks, film_expert, film_policy
from z1_agent.report import paired_in_words
from z1_agent.run import RunError, open_run, write_text
from z1_envs.demos import DemosError
from z1_envs.evaluate import EvalProtocol, evaluate
from z1_envs.kitchen.cameras import RenderError
from z1_envs.kitchen.env import BACKEND, KitchenVectorEnv, ObsMode, observation_space
from z1_envs.kitchen.plans.plan import Split
from z1_envs.kitchen.scene import SceneOptions
from z1_envs.tasks import TASKS, get_task

Work = Callable[[], int]
_INTERRUPTED = 130
_REFUSALS = (RunError, CheckpointError, DemosError, RenderError)
_console = Console(highlight=False, soft_wrap=True)


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a policy: demonstrations, SFT, evaluation, GRPO, evaluation on the same episodes.

    preset: named configuration, which every flag below can change. out: directory, by default
    runs/TASK-PRESET-SEED. resume: go on with the run in it. threads: of the physics, by default all cores.
    """

    task: Positional[str]
    preset: Literal["cpu", "smoke"] = "cpu"
    out: Path | None = None
    seed: int = 0
    resume: bool = False
    threads: int | None = None
    config: Annotated[TrainConfig, arg(name="")]

    def prepare(self, argv: Sequence[str]) -> Work:
        """Opens the run's directory; the work is the training."""
        _check_at_least_1("--threads", self.threads)
        config = with_dataset(dataclasses.replace(self.config, task=self.task, seed=self.seed))
        if config.obs == "pixels":
            doctor.draw_test_frame()
        out = self.out or Path("runs") / f"{config.task}-{self.preset}-{self.seed}"
        begun = [word for word in argv if word != "--resume"]
        run = open_run(out, config, preset=self.preset, command=["z1", *begun], resume=self.resume)
        training = Training(run, config, _console, StopRequest(), self.threads)

        def work() -> int:
            try:
                result = train(training)
            except Stopped:
                _console.print(f"Stopped; everything is in {out}. Go on with: {shlex.join(['z1', *begun, '--resume'])}")
                return _INTERRUPTED
            _console.print(paired_in_words(result["paired"]))
            _console.print(f"Report: {run.report}")
            return 0

        return work


@dataclass(frozen=True, kw_only=True)
class Eval:
    """Evaluate a checkpoint on episodes SEED, SEED + 1, …

    task: by default the one it was trained on. split: kitchens and objects as in training ("train"), held-out ones
    ("test"), or both ("all"). horizon: of an episode [steps], by default that of training on a CPU. json: file to
    write the full report to.
    """

    checkpoint: Positional[Path]
    task: str | None = None
    split: Split = "train"
    episodes: int = 256
    seed: int = 0
    horizon: int | None = None
    json: Path | None = None
    threads: int | None = None

    def prepare(self, _argv: Sequence[str]) -> Work:
        """Loads the checkpoint and builds its envs; the work is the evaluation."""
        _check_at_least_1("--episodes", self.episodes)
        _check_at_least_1("--horizon", self.horizon)
        _check_at_least_1("--threads", self.threads)
        if self.seed < 0:
            raise ValueError(f"--seed must not be negative, got {self.seed}")
        if self.json is not None and not self.json.parent.is_dir():
            raise ValueError(f"there is no directory {self.json.parent} for --json; create it, or give another file")
        if self.json is not None and self.json.is_dir():
            raise ValueError(f"{self.json} is a directory, --json takes a file; name a file in it")
        loaded = _load(self.checkpoint)
        task = get_task(loaded.task if self.task is None else self.task).name
        vision = loaded.policy.config.model.vision
        scenes = SceneOptions(split=self.split)
        protocol = EvalProtocol(
            name="z1-eval",
            version=2,
            task=task,
            backend=BACKEND,
            split=scenes.name,
            obs="state" if vision is None else "pixels",
            num_episodes=self.episodes,
            seed=self.seed,
            horizon=_horizon(task) if self.horizon is None else self.horizon,
            chunk_len=loaded.policy.config.executed_len,
        )
        envs = KitchenVectorEnv(
            task,
            num_envs=min(MAX_EVAL_LANES, self.episodes),
            obs="state" if vision is None else "pixels",
            image_px=64 if vision is None else vision.image_px,
            horizon=protocol.horizon,
            scenes=scenes,
            num_threads=self.threads,
        )

        def work() -> int:
            with Bar(_console, f"Evaluate {task}", total=self.episodes, done=0) as bar:
                report = evaluate(
                    loaded.policy,
                    envs,
                    protocol,
                    progress=lambda done, _total, won: bar.update(done, f"success {won / max(done, 1):.0%}"),
                )
            envs.close()
            low, high = report.interval
            won = f"{int(report.successes.sum())} of {len(report.successes)} episodes"
            _console.print(f"{task}: {won}, {report.rate:.1%} (95 % interval {low:.1%} to {high:.1%})")
            _console.print(f"protocol {protocol.hash}: {protocol}")
            if self.json is not None:
                write_text(self.json, report.to_json())
            return 0

        return work


@dataclass(frozen=True, kw_only=True)
class Record:
    """Film four episodes (rollout.mp4) and a branching tree (tree.mp4), or the expert on all tasks (gallery.mp4).

    task: by default the checkpoint's. all: the scripted expert on each of the 24 tasks, instead. checkpoint: whom to
    film, by default the scripted expert. out: directory. trunk_len: where the tree splits [steps].
    """

    task: str | None = None
    all: bool = False
    checkpoint: Path | None = None
    out: Path = Path("recordings")
    seed: int = 0
    horizon: int | None = None
    trunk_len: int = 20

    def prepare(self, _argv: Sequence[str]) -> Work:
        """Makes the directory and tries OpenGL; the work is the filming."""
        if self.seed < 0:
            raise ValueError(f"--seed must not be negative, got {self.seed}")
        _check_at_least_1("--horizon", self.horizon)
        if self.trunk_len < 0:
            raise ValueError(f"--trunk-len must not be negative, got {self.trunk_len}")
        if self.out.exists() and not self.out.is_dir():
            raise ValueError(f"{self.out} is a file, expected a directory; give another --out")
        if self.all:
            return self._prepare_all()
        loaded = None if self.checkpoint is None else _load(self.checkpoint)
        if self.task is None and loaded is None:
            raise ValueError("there is nothing to film: give --task for the scripted expert, --all, or --checkpoint")
        task = get_task(loaded.task if self.task is None and loaded is not None else str(self.task)).name
        self._check_out("rollout.mp4", "tree.mp4")
        films = Films(
            task=task,
            horizon=_horizon(task) if self.horizon is None else self.horizon,
            trunk_len=self.trunk_len,
            seed=self.seed,
            rollout=self.out / "rollout.mp4",
            tree=self.out / "tree.mp4",
        )

        def work() -> int:
            if loaded is None:
                film_expert(films)
            else:
                vision = loaded.policy.config.model.vision
                film_policy(loaded.policy, films, image_px=64 if vision is None else vision.image_px)
            _console.print(f"{films.rollout}\n{films.tree}")
            return 0

        return work

    def _prepare_all(self) -> Work:
        if self.task is not None or self.checkpoint is not None:
            raise ValueError("--all films the scripted expert on all tasks: give it without --task and --checkpoint")
        self._check_out("gallery.mp4", "thumbnails")

        def work() -> int:
            with Bar(_console, "Film", total=len(TASKS), done=0) as bar:
                film_all_tasks(self.out, seed=self.seed, horizon=self.horizon or FILM_HORIZON, progress=bar.update)
            _console.print(str(self.out / "gallery.mp4"))
            return 0

        return work

    def _check_out(self, *names: str) -> None:
        """Makes the directory, where OpenGL works and nothing in it would be written over."""
        there = [str(self.out / name) for name in names if (self.out / name).exists()]
        if there:
            raise ValueError(f"there are films already: {', '.join(there)}; move them away, or give another --out")
        doctor.draw_test_frame()
        _make_directory(self.out)


@dataclass(frozen=True, kw_only=True)
class Demos:
    """Collect demonstrations by the scripted expert as a LeRobot v3.0 dataset, which `train --demos` learns from.

    episodes: successes to keep. out: directory, which must not exist. noise: standard deviation that is added to
    executed actions, not to recorded ones. obs: pixels are three videos instead of the privileged scene; image_px is
    read for them alone. horizon: of an episode [steps], by default that of training on a CPU.
    """

    task: Positional[str]
    episodes: int
    out: Path
    seed: int = 0
    noise: float = 0.15
    obs: ObsMode = "state"
    image_px: int = 128
    horizon: int | None = None
    threads: int | None = None

    def prepare(self, argv: Sequence[str]) -> Work:
        """Checks all, and tries OpenGL where images are wanted; the work is the collecting."""
        for flag, number in (("--episodes", self.episodes), ("--horizon", self.horizon), ("--threads", self.threads)):
            _check_at_least_1(flag, number)
        if self.seed < 0:
            raise ValueError(f"--seed must not be negative, got {self.seed}")
        if not (self.noise >= 0 and math.isfinite(self.noise)):
            raise ValueError(f"--noise must be a number from 0 on, got {self.noise}")
        task = get_task(self.task).name
        if self.out.exists():
            raise ValueError(f"{self.out} exists already; give another --out")
        if self.obs == "pixels":
            observation_space(self.obs, self.image_px)
            if self.image_px % 2:
                raise ValueError(f"--image-px must be even for videos, got {self.image_px}")
            doctor.draw_test_frame()
        _make_directory(self.out.parent)
        wanted = WantedDemos(
            task=task,
            num_episodes=self.episodes,
            seed=self.seed,
            noise=self.noise,
            obs=self.obs,
            image_px=self.image_px,
            horizon=_horizon(task) if self.horizon is None else self.horizon,
        )

        def work() -> int:
            collect_dataset(wanted, self.out, _console, num_threads=self.threads, command=shlex.join(["z1", *argv]))
            return 0

        return work


@dataclass(frozen=True)
class List:
    """List the 24 tasks: horizon [steps] and instruction, whose braces a scene fills."""

    def prepare(self, _argv: Sequence[str]) -> Work:
        def work() -> int:
            table = Table(box=None, pad_edge=False)
            for column in ("task", "category", "horizon", "instruction"):
                table.add_column(column, no_wrap=column != "instruction")
            for task in TASKS.values():
                table.add_row(task.name, task.category, str(task.horizon), task.instruction)
            _console.print(table)
            return 0

        return work


@dataclass(frozen=True)
class Doctor:
    """Say what this machine has, what is missing, and the command that mends it."""

    def prepare(self, _argv: Sequence[str]) -> Work:
        return lambda: doctor.show(doctor.examine(), _console)


Command = Train | Eval | Record | Demos | List | Doctor


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `z1` with `argv` (the process's own, where None); returns the exit code."""
    torch.set_num_threads(1)  # networks this small are faster so, and the physics has the other cores
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        work = _parse(words).prepare(words)
    except (ValueError, *_REFUSALS) as error:
        return _refuse(error)
    try:
        return work()
    except _REFUSALS as error:
        return _refuse(error)
    except KeyboardInterrupt:
        print("z1: aborted", file=sys.stderr)
        return _INTERRUPTED


def _parse(words: list[str]) -> Command:
    """Twice where a training is wanted: the defaults of its flags depend on its task and preset."""
    command = _parse_with(words, cpu(next(iter(TASKS))))
    if isinstance(command, Train):
        command = _parse_with(words, PRESETS[command.preset](command.task))
    return command


def _parse_with(words: list[str], config: TrainConfig) -> Command:
    commands = (
        Annotated[Train, subcommand("train", default=Train(task=tyro.MISSING, config=config))]
        | Annotated[Eval, subcommand("eval")]
        | Annotated[Record, subcommand("record")]
        | Annotated[Demos, subcommand("demos")]
        | Annotated[List, subcommand("list")]
        | Annotated[Doctor, subcommand("doctor")]
    )
    boxes = io.StringIO()
    try:
        with contextlib.redirect_stderr(boxes):
            return tyro.cli(commands, prog="z1", args=words, config=(FlagCreatePairsOff,))  # pyright: ignore[reportArgumentType, reportCallIssue]
    except SystemExit as left:
        if (refusal := _refusal_of_a_setting(left)) is not None:
            raise refusal from None
        sys.stderr.write(boxes.getvalue())
        raise


def _refusal_of_a_setting(left: SystemExit) -> ValueError | None:
    """What a config of ours raised: tyro would wrap it into a box that names its own internals."""
    error = left.__context__
    while error is not None:
        frames = list(traceback.walk_tb(error.__traceback__))
        if isinstance(error, ValueError) and frames and frames[-1][0].f_globals["__name__"].startswith("z1_"):
            return error
        error = error.__context__
    return None


def _refuse(error: Exception) -> int:
    print(f"z1: {error}", file=sys.stderr)
    return 2


def _check_at_least_1(flag: str, number: int | None) -> None:
    if number is not None and number < 1:
        raise ValueError(f"{flag} must be at least 1, got {number}; give a larger number")


def _make_directory(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"cannot write to {path}: {error.strerror}; give another --out") from error


def _load(path: Path) -> checkpoint.Checkpoint:
    loaded = checkpoint.load(path)
    if loaded.backend != BACKEND:
        raise CheckpointError(f"{path} was trained on the backend {loaded.backend!r}, this program runs {BACKEND!r}")
    return loaded


def _horizon(task: str) -> int:
    """That of training on a CPU."""
    return cpu(task).horizon
