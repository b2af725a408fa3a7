"""Checkpoints: a directory of safetensors files and one manifest, written aside and renamed.

    model.safetensors     the weights, by parameter name
    trainer.safetensors   what a bit-exact resume needs: optimizer moments, states of random generators
    tokenizer.model       the vocabulary, where the program does not have it
    manifest.json         format, configuration with camera map and prompt format, normaliser, tokenizer, layouts,
                          task, backend, versions, the trainer's counters, and the sha256 of the other files

Nothing is pickled: loading a checkpoint runs no code from it. A checkpoint that does not fit this program is refused
with what came, what was expected and what to do, never adapted.
"""

import json
import os
import platform
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from z1_agent.flow import FlowSDE
from z1_agent.gemma import GemmaConfig
from z1_agent.lora import Adapters, LoraConfig
from z1_agent.observation import Normalizer
from z1_agent.paligemma_tokenizer import PaliGemmaTokenizer, TokenizerError
from z1_agent.pi05 import Pi05Config
from z1_agent.policy import Pi05Policy, PolicyConfig
from z1_agent.siglip import VisionConfig
from z1_agent.tensor_file import write_tensors
from z1_agent.tokenizer import NanoTokenizer, PromptFormat, Tokenizer
from z1_envs.layout import ACTION, SCENE, STATE, Layout
from z1_envs.whole_files import sha256_of, write_synced

FORMAT = 3  # 2 added camera map, prompt format, precision and the tokenizer's file; 3 the octaves of scene state
KIND = "z1-policy"
MODEL_FILE, TRAINER_FILE, MANIFEST_FILE = "model.safetensors", "trainer.safetensors", "manifest.json"
TOKENIZER_FILE = "tokenizer.model"
TOKENIZERS: dict[str, Callable[[], Tokenizer]] = {NanoTokenizer.name: NanoTokenizer}


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be read, or does not fit this program."""


@dataclass(frozen=True, kw_only=True)
class TrainerState:
    """What a resume needs beside the weights: named tensors, and counters and settings as plain JSON values."""

    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A loaded checkpoint. task and backend: what the policy was trained on."""

    policy: Pi05Policy
    task: str
    backend: str


@dataclass(frozen=True, kw_only=True)
class DataFormat:
    """What numbers mean to a policy. layouts: names and widths of the parts of each vector that it reads or writes.
    cameras: in the order of its prefix. prompt_format: what its tokens say.
    """

    layouts: Mapping[str, list[list[Any]]]
    cameras: tuple[str, ...]
    prompt_format: PromptFormat

    @staticmethod
    def of(config: PolicyConfig) -> "DataFormat":
        """The format of this program's data for a policy of `config`."""
        return DataFormat(
            layouts=_layouts(config), cameras=tuple(config.cameras), prompt_format=PromptFormat(config.prompt_format)
        )


def save(path: Path, policy: Pi05Policy, *, task: str, backend: str, trainer: TrainerState | None = None) -> None:
    """Write a checkpoint to the directory `path`; one that is there already is replaced once this one is complete.

    Raises CheckpointError where something else is there; then nothing is changed.
    """
    path = Path(path)
    if path.exists() and not _is_replaceable(path):
        raise CheckpointError(f"{path} is there and is no checkpoint, which this one would replace; give another path")
    _finish_interrupted(path)
    aside = _sibling(path, ".tmp")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        tensors = {MODEL_FILE: policy.model.state_dict()}
        if trainer is not None:
            tensors[TRAINER_FILE] = dict(trainer.tensors)
        for name, content in tensors.items():
            write_tensors(aside / name, content)
        if policy.tokenizer.content is not None:
            write_synced(aside / TOKENIZER_FILE, policy.tokenizer.content)
        manifest = _describe(policy) | {
            "task": task,
            "backend": backend,
            "trainer": None if trainer is None else dict(trainer.values),
            "files": {file.name: sha256_of(file) for file in sorted(aside.iterdir())},
        }
        write_synced(aside / MANIFEST_FILE, json.dumps(manifest, indent=1, allow_nan=False).encode())
        _swap(aside, path)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def whole(path: Path) -> Path:
    """Where the checkpoint `path` is to be read: between the two renames of a save only `.old` is there.

    Whoever reads leaves it so, or the save, which may be another process's, would fail.
    """
    path = Path(path)
    return path if path.exists() or not _sibling(path, ".old").exists() else _sibling(path, ".old")


def exists(path: Path) -> bool:
    """Whether there is a checkpoint at `path`."""
    return whole(path).exists()


def read_config(path: Path) -> PolicyConfig:
    """What the checkpoint `path` says its policy is; its other files are not looked at.

    Raises CheckpointError where there is no manifest that this program reads.
    """
    path = whole(path)
    try:
        return _policy_config(_read_manifest(path)["policy"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path / MANIFEST_FILE} is damaged: {error!r}; take another checkpoint") from error


def read_task(path: Path) -> str:
    """The task that the policy of the checkpoint `path` was trained on; raises as `read_config`."""
    path = whole(path)
    task = _read_manifest(path).get("task")
    if not isinstance(task, str):
        raise CheckpointError(f"{path / MANIFEST_FILE} names no task; take another checkpoint")
    return task


def read_counters(path: Path) -> Mapping[str, Any]:
    """The trainer's `values` in the checkpoint `path`, none where none were saved; raises as `read_config`."""
    return _read_manifest(whole(path)).get("trainer") or {}


def load(path: Path, *, data: DataFormat | None = None) -> Checkpoint:
    """The checkpoint in the directory `path`, on the CPU, weights in the precision they were saved in.

    data: what it is to be used with, None for what it was made for.

    Raises CheckpointError where it is missing, damaged, foreign, of another format, or made for other layouts, other
    cameras, another prompt or another tokenizer.
    """
    path = whole(path)
    manifest = _read_manifest(path)
    for name, digest in manifest["files"].items():
        if name != TRAINER_FILE:  # twice the size of what learns, for nobody but `load_trainer`
            _check_file(path / name, digest)
    tensors = _read_tensors(path / MODEL_FILE)
    try:
        config = _policy_config(manifest["policy"])
        _check_fits(path, manifest, DataFormat.of(config))
        if data is not None:
            _check_fits(path, manifest, data)
        statistics = {name: np.array(values, np.float32) for name, values in manifest["normalizer"].items()}
        tokenizer = _tokenizer(path, manifest)
        with torch.device("meta"):  # the weights come from the file: drawing fresh ones would be wasted
            policy = Pi05Policy(config, Normalizer(**statistics), tokenizer)
        policy.model.load_state_dict(tensors, assign=True)
        return Checkpoint(policy=policy, task=manifest["task"], backend=manifest["backend"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path / MANIFEST_FILE} is damaged: {error!r}; take another checkpoint") from error
    except RuntimeError as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"the weights in {path} do not fit their configuration: {error}") from error


def load_policy(path: Path) -> Pi05Policy:
    """The policy of the checkpoint `path`; see `load`."""
    return load(path).policy


def load_trainer(path: Path) -> TrainerState:
    """What was saved with the policy of the checkpoint `path` to go on from, on the CPU.

    Raises CheckpointError where nothing was, or it is damaged.
    """
    path = whole(path)
    manifest = _read_manifest(path)
    if TRAINER_FILE not in manifest["files"]:
        raise CheckpointError(
            f"{path} holds a policy alone, without what a training needs to go on; give the checkpoint of a run"
        )
    _check_file(path / TRAINER_FILE, manifest["files"][TRAINER_FILE])
    return TrainerState(tensors=_read_tensors(path / TRAINER_FILE), values=manifest["trainer"])


def optimizer_tensors(optimizer: torch.optim.AdamW, model: nn.Module) -> dict[str, Tensor]:
    """The state of `optimizer` by parameter name of `model`, and each group's learning rate in float64."""
    tensors = {
        f"state.{name}.{key}": value.detach().clone()
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }
    for index, group in enumerate(optimizer.param_groups):
        tensors[f"group.{index}.lr"] = torch.tensor(float(group["lr"]), dtype=torch.float64)
    return tensors


def restore_optimizer(optimizer: torch.optim.AdamW, model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Put `optimizer_tensors` back; the next step equals the one that the saved optimizer would have made.

    Raises CheckpointError where the tensors are of other parameters or another number of groups.
    """
    parameters = dict(model.named_parameters())
    learning = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    state: dict[str, dict[str, Tensor]] = {}
    for full_name, value in tensors.items():
        name, _, key = full_name.removeprefix("state.").rpartition(".")
        if not full_name.startswith("state."):
            continue
        if name not in parameters or id(parameters[name]) not in learning:
            raise CheckpointError(
                f"the saved optimizer trains {name!r}, this one does not; resume with the selection it was saved with"
            )
        state.setdefault(name, {})[key] = value.clone().to(parameters[name].device)
    rates = [value for name, value in tensors.items() if name.startswith("group.")]
    if len(rates) != len(optimizer.param_groups):
        raise CheckpointError(
            f"the saved optimizer has {len(rates)} groups, this one {len(optimizer.param_groups)}; "
            f"resume with the configuration it was saved with"
        )
    for name, values in state.items():
        optimizer.state[parameters[name]] = values
    for index, group in enumerate(optimizer.param_groups):
        group["lr"] = tensors[f"group.{index}.lr"].item()


def _describe(policy: Pi05Policy) -> dict[str, Any]:
    statistics = {f.name: getattr(policy.normalizer, f.name).tolist() for f in fields(policy.normalizer)}
    return {
        "kind": KIND,
        "format": FORMAT,
        "policy": asdict(policy.config),
        "normalizer": statistics,
        "tokenizer": policy.tokenizer.name,
        "layouts": _layouts(policy.config),
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
    }


def _layouts(config: PolicyConfig) -> dict[str, list[list[Any]]]:
    """Names and widths of the parts of every vector that the policy reads or writes."""
    layouts: list[Layout] = [ACTION, STATE]
    if config.model.scene_width == SCENE.width:
        layouts.append(SCENE)
    return {layout.name: [[part.name, part.width] for part in layout.parts] for layout in layouts}


def _policy_config(values: dict[str, Any]) -> PolicyConfig:
    model = dict(values["model"])
    model["vlm"], model["expert"] = GemmaConfig(**model["vlm"]), GemmaConfig(**model["expert"])
    model["vision"] = None if model["vision"] is None else VisionConfig(**model["vision"])
    return PolicyConfig(
        model=Pi05Config(**model),
        sde=FlowSDE(**values["sde"]),
        executed_len=values["executed_len"],
        cameras=tuple(values["cameras"]),
        prompt_format=PromptFormat(values["prompt_format"]),
        compute_dtype=values["compute_dtype"],
        adapters=None if values["adapters"] is None else _adapters(values["adapters"]),
    )


def _adapters(values: dict[str, Any]) -> Adapters:
    return Adapters(config=LoraConfig(**values["config"]), parts=tuple(values["parts"]))


def _check_fits(path: Path, manifest: dict[str, Any], data: DataFormat) -> None:
    saved = manifest["layouts"] | {name: manifest["policy"][name] for name in ("cameras", "prompt_format")}
    wanted = {**data.layouts, "cameras": list(data.cameras), "prompt_format": str(data.prompt_format)}
    wrong = [
        f"{name} = {saved.get(name)}, the data has {expected}"
        for name, expected in wanted.items()
        if saved.get(name) != expected
    ]
    if wrong:
        raise CheckpointError(
            f"{path} was made for {'; for '.join(wrong)}: numbers would land in the wrong places; use the data it was "
            f"made for and the program version that wrote it, or train again"
        )


def _tokenizer(path: Path, manifest: dict[str, Any]) -> Tokenizer:
    name = manifest["tokenizer"]
    if name in TOKENIZERS:
        return TOKENIZERS[name]()
    if TOKENIZER_FILE not in manifest["files"]:
        raise CheckpointError(
            f"{path} needs tokenizer {name!r}, this program has {', '.join(TOKENIZERS)} and it brings no "
            f"{TOKENIZER_FILE}; use the program version that wrote it, or train again"
        )
    try:
        tokenizer = PaliGemmaTokenizer(path / TOKENIZER_FILE)
    except TokenizerError as error:
        raise CheckpointError(str(error)) from error
    if tokenizer.name != name:
        raise CheckpointError(
            f"{path} needs tokenizer {name!r}, its {TOKENIZER_FILE} is {tokenizer.name!r}: the same ids would mean "
            f"other words; copy the directory again"
        )
    return tokenizer


def check_is_no_run(path: Path) -> None:
    """Raises CheckpointError where `path` is no checkpoint, but the directory of a run that has some."""
    inside = [path / name for name in ("checkpoint", "sft") if (path / name / MANIFEST_FILE).is_file()]
    if inside and not (path / MANIFEST_FILE).exists():
        raise CheckpointError(f"{path} is the directory of a run; give {' or '.join(map(str, inside))}")


def _read_manifest(path: Path) -> dict[str, Any]:
    check_is_no_run(path)
    if not (path / MANIFEST_FILE).is_file():
        what = f"has no {MANIFEST_FILE}" if path.is_dir() else "is a file" if path.exists() else "does not exist"
        raise CheckpointError(f"{path} {what}; give the directory of a checkpoint, such as RUN/checkpoint")
    try:
        manifest = json.loads((path / MANIFEST_FILE).read_bytes())
    except ValueError as error:
        raise CheckpointError(f"{path / MANIFEST_FILE} is not JSON: {error}; take another checkpoint") from error
    kind = manifest.get("kind") if isinstance(manifest, dict) else None
    if kind != KIND:
        raise CheckpointError(f"{path} holds {kind!r}, expected {KIND!r}; give a checkpoint that this program wrote")
    if manifest.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} has format {manifest.get('format')!r}, this program reads {FORMAT}; use the program version that "
            f"wrote it, or train again"
        )
    if not isinstance(manifest.get("files"), dict) or MODEL_FILE not in manifest["files"]:
        raise CheckpointError(f"{path / MANIFEST_FILE} lists no {MODEL_FILE}; take another checkpoint")
    return manifest


def _check_file(file: Path, digest: str) -> None:
    if file.name not in (MODEL_FILE, TRAINER_FILE, TOKENIZER_FILE) or not file.is_file():
        raise CheckpointError(f"{file} is missing; copy the whole directory again or take another checkpoint")
    came = sha256_of(file)
    if came != digest:
        raise CheckpointError(
            f"{file} has sha256 {came}, its manifest says {digest}: truncated or changed; copy the directory again"
        )


def _read_tensors(file: Path) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"{file} is not a safetensors file: {error}; take another checkpoint") from error


def _is_replaceable(path: Path) -> bool:
    """Whether `path` is an empty directory, or a checkpoint of this program, of whatever format."""
    try:
        return json.loads((path / MANIFEST_FILE).read_bytes())["kind"] == KIND
    except (OSError, ValueError, KeyError, TypeError):
        return path.is_dir() and not any(path.iterdir())


def _swap(aside: Path, path: Path) -> None:
    # A directory that is not empty cannot be renamed over. Between the two renames only `.old` is there, which readers
    # take (`whole`); where this process ends there, the next save puts it back (`_finish_interrupted`).
    old = _sibling(path, ".old")
    shutil.rmtree(old, ignore_errors=True)
    if path.exists():
        os.rename(path, old)
    os.rename(aside, path)
    shutil.rmtree(old, ignore_errors=True)


def _finish_interrupted(path: Path) -> None:
    if not path.exists() and _sibling(path, ".old").exists():
        os.rename(_sibling(path, ".old"), path)


def _sibling(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)
