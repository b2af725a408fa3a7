"""The directory of one training: what is in it, and who may go on with it.

config.json                    resolved configuration, command, commit, versions and machine, before the first step;
                               `commits`, `all_versions` and `machines` where others have gone on with it
checkpoint/                    the present policy with the trainer's state
sft/                           the policy after SFT; all that `z1 sft` is for
recipe.json                    copy of the recipe that chose the modules, where there is one; what `z1 diagnose` makes
eval_sft.json  eval_rl.json    the two evaluations
log.jsonl                      one line per stage, SFT round and GRPO iteration, with its times
lock                           held by the process that trains here, with its process id
tb/                            TensorBoard events
result.json  report.html  rollout.mp4  tree.mp4
"""

import fcntl
import json
import math
import os
import platform
import shlex
import subprocess
import weakref
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from z1_agent.presets import FineTuneConfig, TrainConfig
from z1_envs.kitchen.plans.plan import SCENE_VERSION
from z1_envs.processes import machine
from z1_envs.whole_files import write_synced

# Stages, as they are called in the log and in the result.
DEMONSTRATIONS, SFT, EVAL_SFT, RL, EVAL_RL = STAGES = ("demonstrations", "sft", "eval_sft", "rl", "eval_rl")
LOCK_FILE = "lock"
_ABOUT = {"preset", "config", "command", "commit", "versions"}  # what every config.json says
PACKAGES = ("torch", "numpy", "scipy", "mujoco", "gymnasium")


class RunError(RuntimeError):
    """A directory that this training must not write to."""


class Run:
    """A directory that belongs to one configuration. Files appear complete or not at all."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoint, self.sft_checkpoint = path / "checkpoint", path / "sft"
        self.eval_sft, self.eval_rl = path / "eval_sft.json", path / "eval_rl.json"
        self.result, self.report = path / "result.json", path / "report.html"
        self.recipe = path / "recipe.json"
        self.rollout_video, self.tree_video = path / "rollout.mp4", path / "tree.mp4"
        self.events = path / "tb"
        self._log, self._config = path / "log.jsonl", path / "config.json"
        self._release: Callable[[], object] | None = None

    def hold(self) -> None:
        """Makes this process the only one that trains here, until `let_go` or its end, however it ends.

        Raises RunError where another one does.
        """
        held = self._lock(os.O_RDWR | os.O_CREAT)
        os.ftruncate(held, 0)
        os.pwrite(held, f"{os.getpid()}\n".encode(), 0)
        self._release = weakref.finalize(self, os.close, held)

    def check_not_held(self) -> None:
        """Raises RunError where another process trains here; writes nothing."""
        if (self.path / LOCK_FILE).exists():
            os.close(self._lock(os.O_RDONLY))

    def _lock(self, flags: int) -> int:
        held = os.open(self.path / LOCK_FILE, flags, 0o644)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            process = os.read(held, 20).decode().strip()
            os.close(held)
            raise RunError(
                f"the run in {self.path} is going on, in process {process}: wait for it or stop it, "
                f"or give another --out"
            ) from None
        return held

    def let_go(self) -> None:
        """Others may train here again."""
        if self._release is not None:
            self._release()

    def log(self) -> list[dict[str, Any]]:
        """All lines of the log, in order; a last one that the power cut short is left out."""
        if not self._log.exists():
            return []
        lines = self._log.read_text(encoding="utf-8").splitlines()
        try:
            last = [json.loads(line) for line in lines[-1:]]
        except json.JSONDecodeError:
            last = []
        return [json.loads(line) for line in lines[:-1]] + last

    def append_log(self, line: dict[str, Any]) -> None:
        """Adds a line, which must have `stage`, `wall_seconds` and `cpu_seconds`. JSON has no infinity: null."""
        finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in line.items()}
        with self._log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(finite, allow_nan=False) + "\n")
            file.flush()
            os.fsync(file.fileno())  # or a checkpoint could outlive the lines of the work that is in it

    def keep_log(self, wanted: Callable[[dict[str, Any]], bool]) -> None:
        """Drops the lines that are not `wanted`: those of work that was lost with its checkpoint."""
        lines = [json.dumps(line) + "\n" for line in self.log() if wanted(line)]
        write_text(self._log, "".join(lines))

    def note_program(self, program: dict[str, Any]) -> None:
        """Adds to config.json's `commits`, `all_versions` and `machines` what of `program` (see `origin`, `machine`)
        the run has not last gone on with."""
        about, added = self.about(), {}
        for name, names in (("commit", "commits"), ("versions", "all_versions"), ("machine", "machines")):
            noted = about.get(names, [about.get(name)])  # runs of older versions have no machine
            if noted[-1] != program[name]:
                added[names] = [*noted, program[name]]
        if added:
            write_text(self._config, json.dumps(about | added, indent=1))

    @property
    def is_readable(self) -> bool:
        """Whether config.json is one of this program, and whole."""
        try:
            about = self.about()
        except (OSError, ValueError):
            return False
        return isinstance(about, dict) and isinstance(about.get("config"), dict) and about.keys() >= _ABOUT

    def about(self) -> dict[str, Any]:
        """config.json."""
        return json.loads(self._config.read_text(encoding="utf-8"))


def open_run(
    path: Path, config: TrainConfig | FineTuneConfig, *, preset: str, command: Sequence[str], resume: bool
) -> Run:
    """The run at `path`, begun, or with `resume` gone on with, and held by this process.

    Raises RunError where `path` is in use and `resume` is not set, where another process trains there, and, with
    `resume`, where there is nothing to go on with, or it is damaged, or the configuration is another one.
    """
    check_out(path, resume=resume)
    run = Run(path)
    about = {"preset": preset, "config": asdict(config), "command": shlex.join(command)}
    about |= origin() | {"machine": machine()}
    config_file = path / "config.json"
    if resume:
        if not run.is_readable:
            raise RunError(f"{config_file} was not written by this program, or is damaged; give another --out")
        _hold(run)
        _check_same(run.about(), json.loads(json.dumps(about)), path)
        if run.log():
            run.keep_log(lambda _line: True)  # nothing may be appended to half a line
        if not run.result.exists():
            run.note_program(about)
        return run
    _hold(run)
    write_text(config_file, json.dumps(about, indent=1))
    return run


def _hold(run: Run) -> None:
    try:
        run.path.mkdir(parents=True, exist_ok=True)
        run.hold()
    except OSError as error:
        raise RunError(f"cannot write to {run.path}: {error.strerror}; give another --out") from error


def check_out(path: Path, *, resume: bool) -> None:
    """Raises RunError where no run can be begun, or with `resume` gone on with, at `path`; nothing is written."""
    is_run = (path / "config.json").is_file()
    if resume and not is_run:
        raise RunError(f"there is no run to resume in {path} (no config.json); leave out --resume")
    if not resume and path.exists() and (not path.is_dir() or any(file.name != LOCK_FILE for file in path.iterdir())):
        if is_run:
            Run(path).check_not_held()
        going_on = "add --resume to go on with the run there, or " if is_run else ""
        raise RunError(f"{path} is in use: {going_on}give another --out")


def write_text(path: Path, text: str) -> None:
    """Replaces `path` by `text`; whoever reads it sees the old or the new, never a half."""
    aside = path.with_name(path.name + ".tmp")
    write_synced(aside, text.encode())
    os.replace(aside, path)


def origin() -> dict[str, Any]:
    """Which program this is: `commit` (None outside of a checkout), `versions`, and the kitchen's `scene_version`."""
    versions = {"python": platform.python_version()} | {package: version(package) for package in PACKAGES}
    return {"commit": _commit(), "versions": versions, "scene_version": SCENE_VERSION}


def _commit() -> str | None:
    """The checkout's commit, with "+changes" where files differ from it."""
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        return None
    answers = []
    for arguments in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"]):
        try:
            done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):  # no git, or a checkout of somebody else
            return None
        answers.append(done.stdout.strip())
    return answers[0] + ("+changes" if answers[1] else "")


def _check_same(saved: dict[str, Any], given: dict[str, Any], path: Path) -> None:
    scenes = saved.get("scene_version", given["scene_version"])  # runs of older versions do not say
    there, here = (
        {"preset": about["preset"], "scene_version": version, **about["config"]}
        for about, version in ((saved, scenes), (given, given["scene_version"]))
    )
    if different := differences(there, here):
        raise RunError(
            f"{path} holds another run: {'; '.join(different)}; resume with what it was begun with, "
            f"`{saved['command']}`, or give another --out"
        )


def differences(there: Any, here: Any, name: str = "") -> list[str]:
    """What of two configurations differs, as "name is A there and B here": a setting that one of them lacks counts as
    None, and a policy, dataset or recipe that has only moved, as its digest says, does not differ."""
    if isinstance(there, dict) and isinstance(here, dict):
        keys = sorted(key for key in there.keys() | here.keys() if not _is_same(there, here, f"{key}_digest"))
        return [text for key in keys for text in differences(there.get(key), here.get(key), f"{name}.{key}")]
    return [] if there == here else [f"{name.removeprefix('.')} is {there!r} there and {here!r} here"]


def _is_same(there: dict[str, Any], here: dict[str, Any], digest: str) -> bool:
    return there.get(digest) is not None and there.get(digest) == here.get(digest)
