"""A policy in LeRobot's layout: what `lerobot` 0.6 loads as its policy "pi05", with its processors.

config.json                       sizes, features, which camera is which
model.safetensors                 weights in openpi's names behind "model."
policy_preprocessor.json          renaming, normalisation, prompt, tokens; statistics in a file beside it
policy_postprocessor.json         back to the env's actions; statistics in a file beside it

What differs when LeRobot runs it: images of another size are resized by torch's filter instead of Pillow's; action
entries that no demonstration moved keep the network's noise within their 0.02 wide range; nothing is clipped to ±1.
"""

import json
import os
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from z1_agent.observation import PUBLISHED_CAMERAS
from z1_agent.openpi_names import DEAD, LEROBOT_PREFIX, to_openpi
from z1_agent.paligemma_tokenizer import HUB_REPOSITORY, PaliGemmaTokenizer
from z1_agent.pi05 import pi05
from z1_agent.policy import Pi05Policy
from z1_agent.tensor_file import write_tensors
from z1_agent.tokenizer import MAX_TOKENS, PromptFormat
from z1_envs.layout import ACTION, STATE
from z1_envs.lerobot import IMAGES

STATE_KEY, ACTION_KEY = "observation.state", "action"
PREPROCESSOR, POSTPROCESSOR = "policy_preprocessor", "policy_postprocessor"
_NORMALISATION = {"VISUAL": "IDENTITY", "STATE": "QUANTILES", "ACTION": "QUANTILES"}


class ExportError(ValueError):
    """A policy that LeRobot's layout has no place for."""


def save_pretrained(policy: Pi05Policy, path: Path) -> None:
    """Write `policy` to the new directory `path`, complete or not at all.

    Raises ExportError for a policy without cameras, with privileged scene state, with prompts without state, with
    adapters, or with another tokenizer than PaliGemma's; FileExistsError where `path` is in use. Warns where the sizes
    are not the published ones, which are the only ones that lerobot can build.
    """
    path = Path(path)
    _check(policy)
    if path.exists():
        raise FileExistsError(f"{path} is there already; give another directory, or remove it")
    path.parent.mkdir(parents=True, exist_ok=True)
    own = Path(tempfile.mkdtemp(prefix=f"{path.name}.", dir=path.parent))
    aside = own / path.name  # the folder around it is readable for its owner alone
    try:
        aside.mkdir()
        write_tensors(aside / "model.safetensors", _weights(policy))
        _write_json(aside / "config.json", _config(policy))
        _write_processor(aside, PREPROCESSOR, _input_steps(policy), _statistics(policy))
        _write_processor(aside, POSTPROCESSOR, _output_steps(), _statistics(policy))
        os.rename(aside, path)
    finally:
        shutil.rmtree(own, ignore_errors=True)


def _check(policy: Pi05Policy) -> None:
    config = policy.config
    if not config.cameras or len(config.cameras) > len(PUBLISHED_CAMERAS):
        raise ExportError(f"LeRobot's π0.5 reads one to three cameras, this policy reads {len(config.cameras)}")
    if config.model.scene_width:
        raise ExportError('LeRobot\'s π0.5 reads no privileged scene state; train a policy with obs="pixels"')
    if config.prompt_format is not PromptFormat.STATE:
        raise ExportError("LeRobot's π0.5 always writes the state into the prompt; this policy was trained without")
    if not isinstance(policy.tokenizer, PaliGemmaTokenizer):
        raise ExportError(f"LeRobot's π0.5 uses PaliGemma's tokenizer, this policy {policy.tokenizer.name}")
    if config.adapters is not None:
        raise ExportError("LeRobot's π0.5 has no low-rank adapters; merge them first (trainable.merge_adapters)")
    published = pi05()
    if (config.model.vlm, config.model.expert, config.model.vision) != (
        published.vlm,
        published.expert,
        published.vision,
    ):
        warnings.warn(
            "this network's sizes are not the published ones: lerobot builds no others without a change to its code",
            stacklevel=3,
        )


def _weights(policy: Pi05Policy) -> dict[str, Tensor]:
    tensors = {LEROBOT_PREFIX + to_openpi(name): tensor for name, tensor in policy.model.state_dict().items()}
    # Nothing reads the expert's output head, but lerobot's class has it and asks for it.
    shape = (policy.config.model.vocab_size, policy.config.model.expert.width)
    tensors[LEROBOT_PREFIX + DEAD] = torch.zeros(shape, dtype=policy.model.embedding.weight.dtype)
    return tensors


def _config(policy: Pi05Policy) -> dict[str, Any]:
    config, features = policy.config, _features(policy)
    px = _image_px(policy)
    return {
        "type": "pi05",
        "input_features": {name: feature for name, feature in features.items() if name != ACTION_KEY},
        "output_features": {ACTION_KEY: features[ACTION_KEY]},
        "paligemma_variant": "gemma_2b",
        "action_expert_variant": "gemma_300m",
        "dtype": "bfloat16" if policy.model.embedding.weight.dtype == torch.bfloat16 else "float32",
        "chunk_size": config.model.chunk_len,
        "n_action_steps": config.executed_len,
        "max_state_dim": config.model.action_width,
        "max_action_dim": config.model.action_width,
        "num_inference_steps": config.sde.num_steps,
        "image_resolution": [px, px],
        "tokenizer_max_length": MAX_TOKENS,
        "normalization_mapping": _NORMALISATION,
        "device": None,
        "push_to_hub": False,
    }


def _image_px(policy: Pi05Policy) -> int:
    assert policy.config.model.vision is not None  # a policy with cameras has a tower: PolicyConfig
    return policy.config.model.vision.image_px


def _features(policy: Pi05Policy) -> dict[str, Any]:
    px = _image_px(policy)
    images = {name: {"type": "VISUAL", "shape": [3, px, px]} for name in _slots(policy).values()}
    return {
        **images,
        STATE_KEY: {"type": "STATE", "shape": [STATE.width]},
        ACTION_KEY: {"type": "ACTION", "shape": [ACTION.width]},
    }


def _slots(policy: Pi05Policy) -> dict[str, str]:
    """Camera → the feature of its place in the prefix: places go by order, whatever camera stands there."""
    return {
        camera: f"observation.images.{slot}"
        for camera, slot in zip(policy.config.cameras, PUBLISHED_CAMERAS, strict=False)
    }


def _statistics(policy: Pi05Policy) -> dict[str, Tensor]:
    """As LeRobot divides by q99 - q01 where we divide by q99 - q01 + 1e-6, the upper quantiles are that much higher."""
    normalizer = policy.normalizer
    return {
        f"{STATE_KEY}.q01": torch.from_numpy(normalizer.state_q01),
        f"{STATE_KEY}.q99": torch.from_numpy(normalizer.state_q99 + 1e-6).float(),
        f"{ACTION_KEY}.q01": torch.from_numpy(normalizer.action_q01),
        f"{ACTION_KEY}.q99": torch.from_numpy(normalizer.action_q99 + 1e-6).float(),
    }


def _input_steps(policy: Pi05Policy) -> list[dict[str, Any]]:
    renamed = {IMAGES[camera]: feature for camera, feature in _slots(policy).items()}
    return [
        {"registry_name": "rename_observations_processor", "config": {"rename_map": renamed}},
        {"registry_name": "to_batch_processor", "config": {}},
        {
            "registry_name": "normalizer_processor",
            "config": {"eps": 1e-8, "features": _features(policy), "norm_map": _NORMALISATION},
        },
        {"registry_name": "pi05_prepare_state_tokenizer_processor_step", "config": {}},
        {
            "registry_name": "tokenizer_processor",
            "config": {
                "max_length": MAX_TOKENS,
                "task_key": "task",
                "padding_side": "right",
                "padding": "max_length",
                "truncation": True,
                "tokenizer_name": HUB_REPOSITORY,
            },
        },
        {"registry_name": "device_processor", "config": {"device": "cpu", "float_dtype": None}},
    ]


def _output_steps() -> list[dict[str, Any]]:
    features = {ACTION_KEY: {"type": "ACTION", "shape": [ACTION.width]}}
    return [
        {
            "registry_name": "unnormalizer_processor",
            "config": {"eps": 1e-8, "features": features, "norm_map": _NORMALISATION},
        },
        {"registry_name": "device_processor", "config": {"device": "cpu", "float_dtype": None}},
    ]


def _write_processor(folder: Path, name: str, steps: list[dict[str, Any]], statistics: dict[str, Tensor]) -> None:
    """LeRobot reads a step's tensors from a file that the step names."""
    for index, step in enumerate(steps):
        if step["registry_name"].endswith("normalizer_processor"):
            step["state_file"] = f"{name}_step_{index}_{step['registry_name']}.safetensors"
            write_tensors(folder / step["state_file"], statistics)
    _write_json(folder / f"{name}.json", {"name": name, "steps": steps})


def _write_json(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=2), encoding="utf-8")
