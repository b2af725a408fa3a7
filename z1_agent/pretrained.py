"""Public π0.5 weights: openpi's converted checkpoints and LeRobot's, from a folder, a file or the Hugging Face hub.

Tensors stream from disk into a network on "meta" through one small buffer: the memory it takes is that of the weights
in the type they are wanted in. Only safetensors files are ever opened.
"""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import huggingface_hub
import torch
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from torch import Tensor

from z1_agent.observation import Normalizer
from z1_agent.openpi_names import from_lerobot, openpi_dtype, to_openpi
from z1_agent.pi05 import Pi05
from z1_agent.policy import Pi05Policy, PolicyConfig
from z1_agent.tensor_file import Stored, TensorFileError, read_header
from z1_agent.tokenizer import Tokenizer

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
HUB_PREFIX = "hf://"
PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle")
# Tokens of text in PaliGemma's vocabulary; 1,152 of places and shapes follow, which prompts never use.
TEXT_TOKENS = 256_000
_ON_HUB = re.compile(r"[\w-][\w.-]*/[\w.-]+(@[\w.-]+)?")
_WANTED = ["*.safetensors", "*.json", "tokenizer.model"]

Dtypes = Callable[[str], torch.dtype]


class PretrainedError(RuntimeError):
    """Weights that cannot be found, read, or do not fit the network."""


def load_pretrained(
    source: str | Path,
    config: PolicyConfig,
    normalizer: Normalizer,
    tokenizer: Tokenizer,
    *,
    dtypes: Dtypes = openpi_dtype,
    device: str | torch.device = "cpu",
) -> Pi05Policy:
    """A policy of `config` with the weights of `source`.

    source: a folder, a .safetensors file, "hf://owner/name" or "owner/name", with "@revision" where wanted; a path
    that exists goes first. dtypes: from our parameter names to the types wanted (see `openpi_names`).

    Raises PretrainedError where there is nothing, where files are pickled or damaged, where tensors are missing,
    unexpected or misshaped (all are named), and where the tokenizer is not the one of the weights.
    """
    if tokenizer.vocab_size < TEXT_TOKENS <= config.model.vocab_size:
        raise PretrainedError(
            f"tokenizer {tokenizer.name} has {tokenizer.vocab_size} tokens, the weights were trained with PaliGemma's "
            f"of {TEXT_TOKENS} to {config.model.vocab_size}: another one's ids mean other words; give PaliGemma's "
            f"tokenizer.model"
        )
    with torch.device("meta"):
        policy = Pi05Policy(config, normalizer, tokenizer)
    load_weights(policy.model, source, dtypes=dtypes, device=device)
    return policy.to(device)


def load_weights(
    model: Pi05, source: str | Path, *, dtypes: Dtypes = openpi_dtype, device: str | torch.device = "cpu"
) -> None:
    """Gives `model`, on any device, "meta" for the least memory, the weights of `source` (see `load_pretrained`).

    Raises PretrainedError as `load_pretrained` does; `model` is then as it was.
    """
    stored = find_tensors(source)
    wanted = {name: tuple(parameter.shape) for name, parameter in model.state_dict().items()}
    places = _match(stored, wanted, str(source))
    tensors: dict[str, Tensor] = {}
    try:
        for name, copies in places.items():
            tensors[name] = _read(copies[0], torch.empty(wanted[name], dtype=dtypes(name), device=device))
            for copy in copies[1:]:
                _check_equal(name, copy, tensors[name])
    except TensorFileError as error:
        raise PretrainedError(str(error)) from error
    model.load_state_dict(tensors, assign=True)


def find_tensors(source: str | Path) -> dict[str, Stored]:
    """What the weights' files of `source` hold, by the names they have there. Reads headers alone.

    Raises PretrainedError where there are none, or files that are pickled, damaged, or not those of their index.
    """
    path = locate(source)
    stored: dict[str, Stored] = {}
    for file in _weight_files(path):
        try:
            header = read_header(file)
        except TensorFileError as error:
            raise PretrainedError(str(error)) from error
        twice = sorted(stored.keys() & header.keys())
        if twice:
            raise PretrainedError(f"{path} holds {', '.join(twice)} in two files; take a whole checkpoint")
        stored |= header
    return stored


def locate(source: str | Path) -> Path:
    """The local path of `source`; a repository of the hub is downloaded, or found in its cache.

    Raises PretrainedError where there is neither.
    """
    text = str(source)
    if not text.startswith(HUB_PREFIX) and Path(source).exists():
        return Path(source)
    name = text.removeprefix(HUB_PREFIX)
    if not _ON_HUB.fullmatch(name):
        raise PretrainedError(
            f"there is nothing at {text}, and it is no name on the hub either; give a folder, a .safetensors file, "
            f"or hf://owner/name"
        )
    repository, _, revision = name.partition("@")
    try:
        folder = huggingface_hub.snapshot_download(repository, revision=revision or None, allow_patterns=_WANTED)
    except LocalEntryNotFoundError as error:
        raise PretrainedError(
            f"{text} is no local path, and the hub cannot be reached, nor is {repository} in its cache here: connect, "
            f"or download it elsewhere and give the folder"
        ) from error
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise PretrainedError(
            f"{text} is no local path, and the hub does not give {repository}: {error}; check the name, and log in "
            f"with `hf auth login` where it asks for that"
        ) from error
    return Path(folder)


def _weight_files(path: Path) -> list[Path]:
    if path.is_file():
        _refuse_pickles([path])
        if path.suffix != ".safetensors":
            raise PretrainedError(f"{path} is not a .safetensors file; give one, or the folder of a checkpoint")
        return [path]
    if (path / INDEX_FILE).is_file():
        return _indexed(path)
    if (path / WEIGHTS_FILE).is_file():
        return [path / WEIGHTS_FILE]
    _refuse_pickles(sorted(path.iterdir()))
    raise PretrainedError(f"{path} has neither {WEIGHTS_FILE} nor {INDEX_FILE}; give the folder of a checkpoint")


def _refuse_pickles(files: list[Path]) -> None:
    pickles = [file.name for file in files if file.suffix in PICKLES]
    if pickles:
        raise PretrainedError(
            f"{files[0].parent} holds {', '.join(pickles)}: opening a pickled file runs what is in it, so none is ever "
            f"opened; convert it to safetensors where you trust it"
        )


def _indexed(path: Path) -> list[Path]:
    try:
        names = sorted(set(json.loads((path / INDEX_FILE).read_bytes())["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PretrainedError(f"{path / INDEX_FILE} is damaged: {error!r}; download it again") from error
    strange = [name for name in names if not isinstance(name, str) or Path(name).name != name]
    if strange:
        raise PretrainedError(f"{path / INDEX_FILE} names {strange}, which are no files beside it; download it again")
    absent = [name for name in names if not (path / name).is_file()]
    if absent:
        raise PretrainedError(f"{path} lacks {', '.join(absent)}, which its index names; download the rest")
    return [path / name for name in names]


def _match(stored: Mapping[str, Stored], wanted: Mapping[str, tuple[int, ...]], source: str) -> dict[str, list[Stored]]:
    """Where each of our tensors is; twice where the tied embedding is written out. Raises PretrainedError."""
    places: dict[str, list[Stored]] = {name: [] for name in wanted}
    problems: list[str] = []
    for theirs, tensor in stored.items():
        try:
            ours = from_lerobot(theirs)
        except KeyError:
            problems.append(f"unexpected {theirs} {list(tensor.shape)}")
            continue
        if ours is None:
            continue
        if ours not in places:
            problems.append(f"unexpected {theirs} {list(tensor.shape)} ({ours} is not in this configuration)")
        elif tensor.shape != wanted[ours]:
            problems.append(f"misshaped {theirs}: {list(tensor.shape)}, expected {list(wanted[ours])}")
            places[ours].append(tensor)
        elif not tensor.dtype.is_floating_point:
            problems.append(f"{theirs} holds {tensor.dtype}, expected floating-point numbers")
            places[ours].append(tensor)
        else:
            places[ours].append(tensor)
    problems += [f"missing {_their_name(name)} {list(wanted[name])}" for name, copies in places.items() if not copies]
    if problems:
        listed = "\n  ".join(problems)
        raise PretrainedError(
            f"{source} does not fit this network in {len(problems)} tensors; take the checkpoint that this "
            f"configuration is for:\n  {listed}"
        )
    return places


def _their_name(name: str) -> str:
    try:
        return to_openpi(name)
    except KeyError:
        return f"{name} (in no public checkpoint)"


def _read(stored: Stored, target: Tensor) -> Tensor:
    flat = target.view(-1)
    for index, block in stored.blocks():
        flat[index : index + len(block)].copy_(block)
    return target


def _check_equal(name: str, stored: Stored, tensor: Tensor) -> None:
    flat = tensor.view(-1)
    for index, block in stored.blocks():
        if not torch.equal(flat[index : index + len(block)].cpu(), block.to(tensor.dtype)):
            raise PretrainedError(
                f"the checkpoint holds {name} twice with different numbers; embedding and head are tied, so they must "
                f"be equal: take another checkpoint"
            )
