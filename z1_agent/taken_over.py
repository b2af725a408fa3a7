"""SFT that another run has already done: taken over with its times, instead of done again.

SFT depends on the configuration, its seed and the program, not on what follows it. So a training after `z1 diagnose`,
or with another recipe, finds its own SFT policy in the other run, to the last bit where the commit is the same. Where
it is another, that is said; with other versions of torch, MuJoCo and the like, or of the kitchen's scenes, nothing is
taken over.
"""

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from z1_agent import checkpoint
from z1_agent.presets import TrainConfig
from z1_agent.run import DEMONSTRATIONS, SFT, Run, RunError

# What a configuration decides after SFT.
_LATER = ("grpo", "eval_episodes", "checkpoint_every", "recipe", "recipe_digest")


def check_sft_folder(folder: Path | None) -> None:
    """Raises RunError where `folder` is given, but no directory."""
    if folder is not None and not folder.is_dir():
        raise RunError(f"there is no folder {folder} to take SFT from; give one with runs in it, or leave out --sft")


def take_over_sft(folder: Path, run: Run, config: TrainConfig) -> Run | None:
    """Copies SFT that a run in `folder`, in its `runs`, as a suite has them, or `folder` itself has finished with the
    SFT of `config` into `run`: policy, and the lines of its log, which then name the `commit` that made them. Returns
    where it was; None where nowhere.
    """
    by = run.about()
    found = next((other for other in _runs(folder) if other.path != run.path and _has_sft(other, config, by)), None)
    if found is None:
        return None
    run.keep_log(lambda line: line["stage"] not in (DEMONSTRATIONS, SFT))
    about = found.about()
    commit = " then ".join(map(str, about.get("commits", [about["commit"]])))
    for line in found.log():
        if line["stage"] in (DEMONSTRATIONS, SFT):
            run.append_log({"commit": commit} | line)
    # The policy comes last, and whole: without it SFT is done again, and drops the lines.
    aside = run.path / "sft.tmp"
    shutil.rmtree(aside, ignore_errors=True)
    shutil.copytree(checkpoint.whole(found.sft_checkpoint), aside)
    aside.rename(run.sft_checkpoint)
    return found


def sft_commit(run: Run) -> str | None:
    """The commit that did the SFT that `run` has taken over, or the commits; None where it has done its own."""
    return next((line["commit"] for line in run.log() if "commit" in line), None)


def taken_over_seconds(run: Run) -> float:
    """CPU time of what `run` has taken over [s], which none of its own processes took."""
    return sum(line["cpu_seconds"] for line in run.log() if "commit" in line)


def _runs(folder: Path) -> list[Run]:
    """`folder`, those in it, and those in its `runs`; a config.json of something else is none."""
    around = (folder, *sorted(folder.iterdir()), *sorted((folder / "runs").glob("*")))
    paths = [path for path in around if (path / "config.json").is_file()]
    return [run for run in map(Run, paths) if run.is_readable]


def _has_sft(run: Run, config: TrainConfig, by: dict[str, Any]) -> bool:
    about = run.about()
    same = all(about.get(name) == by.get(name) for name in ("versions", "scene_version"))
    same = same and sft_settings(about["config"]) == sft_settings(asdict(config))
    return same and checkpoint.exists(run.sft_checkpoint)


def sft_settings(config: dict[str, Any]) -> dict[str, Any]:
    """The part of a configuration that SFT depends on, as JSON has it."""
    unused = (*_LATER, *(("image_px",) if config.get("obs") == "state" else ()))
    return json.loads(json.dumps({name: value for name, value in config.items() if name not in unused}))
