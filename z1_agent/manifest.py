"""The directory of many trainings: what it is for, which of them it has, and who may add to it.

manifest.json     kind, preset, and of every training its configuration and how many seeds; commits and versions
runs/NAME-SEED/   the trainings, each as `z1 train` leaves it; beside it what jobs.py writes
lock              held by the process that works here
results.md  results.json  results.html  figures/     written anew after every training that has finished

A training is added or gets further seeds at any time. One whose configuration has changed is refused: its results
would be mixed with those of another.
"""

import dataclasses
import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from z1_agent.presets import TrainConfig, load_config
from z1_agent.run import LOCK_FILE, Run, RunError, differences, origin, write_text
from z1_agent.tables import Figure, Part, markdown, page
from z1_envs.processes import machine

_FILE = "manifest.json"


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A training with seeds 0 .. num_seeds - 1; `config` is that of seed 0, as JSON has it."""

    num_seeds: int
    config: dict[str, Any]


@dataclass
class Manifest:
    """What `path` holds: `planned` trainings by name. kind: such as "suite"."""

    path: Path
    kind: str
    preset: str
    planned: dict[str, Planned]
    origins: list[dict[str, Any]]

    def __post_init__(self) -> None:
        self._holder = Run(self.path)

    def hold(self) -> None:
        """Makes this process the only one that works here. Raises RunError where another one does."""
        self._holder.hold()

    def let_go(self) -> None:
        """Others may work here again."""
        self._holder.let_go()

    @property
    def digest(self) -> str:
        """The first 12 hex digits of the SHA-256 of preset and configurations; seeds do not count."""
        settings = [self.preset, {name: planned.config for name, planned in self.planned.items()}]
        text = json.dumps(settings, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def run_path(self, name: str, seed: int) -> Path:
        """Where the training `name` with `seed` is."""
        return self.path / "runs" / f"{name}-{seed}"

    def config(self, name: str) -> TrainConfig:
        """The configuration of the training `name` with seed 0.

        Raises ValueError where another version of this program has written it, with settings that are unknown here.
        """
        return load_config(self.planned[name].config)

    def in_order(self) -> list[tuple[str, int]]:
        """All trainings as (name, seed): every name with seed 0, then those with seed 1, and so on."""
        most = max((planned.num_seeds for planned in self.planned.values()), default=0)
        return [(name, seed) for seed in range(most) for name, one in self.planned.items() if seed < one.num_seeds]

    def write(self) -> None:
        """manifest.json, whole or not at all."""
        planned = {name: dataclasses.asdict(one) for name, one in self.planned.items()}
        about = {"kind": self.kind, "preset": self.preset, "digest": self.digest, "planned": planned}
        write_text(self.path / _FILE, json.dumps(about | {"origins": self.origins}, indent=1))

    def write_results(self, title: str, lead: Sequence[str], parts: Sequence[Part], values: Any) -> None:
        """results.md, results.html and results.json, which holds `values`; each of them whole or not at all."""
        folder = self.path / "figures"
        folder.mkdir(exist_ok=True)
        for figure in (part for part in parts if isinstance(part, Figure)):
            write_text(folder / f"{figure.name}.svg", figure.svg)
        about = {"kind": self.kind, "preset": self.preset, "digest": self.digest, "origins": self.origins}
        write_text(self.path / "results.json", json.dumps(about | values, indent=1))
        write_text(self.path / "results.html", page(title, lead, parts))
        write_text(self.path / "results.md", markdown(title, lead, parts, folder.name))


def open_manifest(
    path: Path,
    kind: str,
    preset: str,
    configs: Mapping[str, TrainConfig],
    *,
    num_seeds: int | None,
    command: Sequence[str],
    resume: bool,
) -> Manifest:
    """The directory at `path`, begun, or with `resume` gone on with, and with `configs` added; held by this process.

    num_seeds: of every training among `configs`; None for as many as it has. A training never loses seeds.

    Raises RunError where `path` is in use and `resume` is not set, where another process works there, and, with
    `resume`, where there is nothing to go on with, a configuration is another one, or the kitchen makes other scenes
    than it did. Then nothing is changed.
    """
    if resume:
        manifest = read_manifest(path, kind)
    else:
        _check_free(path, kind)
        manifest = Manifest(path, kind, preset, {}, [])
    if manifest.preset != preset:
        raise _other_settings(manifest, [f"preset is {manifest.preset!r} there and {preset!r} here"])
    here = origin() | {"machine": machine(), "command": shlex.join(command)}
    for there in manifest.origins:
        # Equal seeds are other episodes in other scenes: they are neither pairs nor one mean.
        scenes = there.get("scene_version", here["scene_version"])  # manifests of older versions do not say
        if scenes != here["scene_version"]:
            raise _other_settings(manifest, [f"scene_version is {scenes} there and {here['scene_version']} here"])
    for name, config in configs.items():
        given = json.loads(json.dumps(dataclasses.asdict(config)))
        before = manifest.planned.get(name)
        # A setting that a version before this did not have, and that is not used, is no difference.
        if before is not None and (different := differences(before.config, given)):
            raise _other_settings(manifest, [f"{name}: {text}" for text in different])
        asked = num_seeds or (before.num_seeds if before is not None else 1)
        most = asked if before is None else max(asked, before.num_seeds)
        manifest.planned[name] = Planned(num_seeds=most, config=given)
    try:
        path.mkdir(parents=True, exist_ok=True)
        manifest.hold()
    except OSError as error:
        raise RunError(f"cannot write to {path}: {error.strerror}; give another --out") from error
    if here not in manifest.origins:
        manifest.origins.append(here)
    manifest.write()
    return manifest


def most_seeds(path: Path, kind: str) -> int:
    """How many seeds the training with most of them has in the directory `path`; raises as `read_manifest`."""
    return max((planned.num_seeds for planned in read_manifest(path, kind).planned.values()), default=1)


def read_manifest(path: Path, kind: str) -> Manifest:
    """What `path` holds. Raises RunError where that is no directory of this `kind`, or of another version."""
    file = path / _FILE
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
        planned = {name: Planned(**values) for name, values in about["planned"].items()}
        found = Manifest(path, about["kind"], about["preset"], planned, about["origins"])
    except OSError:
        raise RunError(f"there is no {kind} to resume in {path} (no {_FILE}); leave out --resume") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise RunError(f"{file} was not written by this program, or was edited; give another --out") from None
    if found.kind != kind:
        raise RunError(f"{path} holds another kind of results, {found.kind!r}, not {kind!r}; give another --out")
    if found.digest != about.get("digest"):
        raise RunError(f"{file} was edited: its digest is another one; give another --out")
    for name in found.planned:
        try:
            found.config(name)
        except ValueError as error:
            raise RunError(f"{file}, {name}: {error}") from None
    return found


def _check_free(path: Path, kind: str) -> None:
    if path.exists() and (not path.is_dir() or any(_is_left(file) for file in path.iterdir())):
        going_on = f"add --resume to go on with the {kind} there, or " if (path / _FILE).is_file() else ""
        raise RunError(f"{path} is in use: {going_on}give another --out")


def _is_left(file: Path) -> bool:
    """Whether it stands in the way: what a process leaves that is killed before it has begun does not."""
    return file.name not in (LOCK_FILE, f"{_FILE}.tmp")


def _other_settings(manifest: Manifest, differences: Sequence[str]) -> RunError:
    begun = f", `{manifest.origins[0]['command']}`" if manifest.origins else ""
    return RunError(
        f"{manifest.path} was begun with other settings: {'; '.join(differences)}; resume with what it was begun "
        f"with{begun}, or give another --out"
    )
