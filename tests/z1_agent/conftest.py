"""Fixtures: the reference model with its stored inputs and outputs, and a nano policy."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from z1_agent.flow import NO_STEP, FlowSDE, Velocity, walk
from z1_agent.gemma import GemmaConfig
from z1_agent.observation import Normalizer
from z1_agent.openpi_names import from_openpi
from z1_agent.pi05 import Pi05, Pi05Config, Prefix, pi05_nano
from z1_agent.policy import Pi05Policy, PolicyConfig
from z1_agent.siglip import VisionConfig
from z1_agent.tokenizer import NanoTokenizer

DATA = Path(__file__).parents[1] / "data" / "pi05"
REFERENCE_CAMERAS = ("base_0_rgb", "left_wrist_0_rgb", "right_wrist_0_rgb")


@dataclass(frozen=True)
class Reference:
    """A small random π0.5 with numbers that the public PyTorch code produced from it; see tests/data/pi05."""

    model: Pi05
    io: dict[str, Tensor]
    sde: dict[str, Tensor]

    def encode(self) -> Prefix:
        io = self.io
        images = {c: (io[f"in.image.{c}"].float() / 255 * 2 - 1).permute(0, 3, 1, 2) for c in REFERENCE_CAMERAS}
        masks = {c: io[f"in.image_mask.{c}"] for c in REFERENCE_CAMERAS}
        return self.model.encode(io["in.tokens"].long(), io["in.token_mask"], images, masks, None)


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def reference() -> Reference:
    sizes = json.loads((DATA / "config.json").read_text())
    vision = sizes["vision"]
    config = Pi05Config(
        vlm=_gemma(sizes["vlm"]),
        expert=_gemma(sizes["expert"]),
        vision=VisionConfig(
            width=vision["hidden_size"],
            depth=vision["num_hidden_layers"],
            mlp_width=vision["intermediate_size"],
            num_heads=vision["num_attention_heads"],
            patch=vision["patch_size"],
            image_px=vision["image_size"],
        ),
        vocab_size=sizes["vocab_size"],
        action_width=sizes["action_dim"],
        chunk_len=sizes["action_horizon"],
        scene_width=0,
        num_scene_tokens=0,
    )
    weights = {from_openpi(name): t for name, t in load_file(DATA / "pi05_tiny_weights.safetensors").items()}
    model = Pi05(config)
    model.load_state_dict({name: tensor for name, tensor in weights.items() if name is not None})
    return Reference(model, load_file(DATA / "pi05_tiny_io.safetensors"), load_file(DATA / "pi05_tiny_sde.safetensors"))


@pytest.fixture(scope="session")
def reference_prefix(reference) -> Prefix:
    with torch.no_grad():
        return reference.encode()


def _gemma(sizes) -> GemmaConfig:
    return GemmaConfig(
        width=sizes["width"],
        depth=sizes["depth"],
        mlp_width=sizes["mlp_dim"],
        num_heads=sizes["num_heads"],
        num_kv_heads=sizes["num_kv_heads"],
        head_width=sizes["head_dim"],
    )


def ordinary_flow(velocity: Velocity, noise: Tensor, num_steps: int) -> Tensor:
    """Where the flow without random steps takes `noise` [B, H, A]."""
    nobody, no_draws = torch.full((len(noise),), NO_STEP), torch.zeros_like(noise)[None]
    return walk(FlowSDE(num_steps=num_steps), velocity, noise, nobody, no_draws)[:, -1]


def nano_policy(*, vision: bool = False, executed_len: int = 10, stochastic="one", seed: int = 0) -> Pi05Policy:
    """A fresh nano policy on 6 scene entries whose statistics leave numbers in [-1, 1] as they are."""
    torch.manual_seed(seed)
    normalizer = Normalizer(
        state_q01=-np.ones(16),
        state_q99=np.ones(16),
        action_q01=-np.ones(12),
        action_q99=np.ones(12),
        scene_mean=np.zeros(6),
        scene_std=np.ones(6),
    )
    config = PolicyConfig(
        model=pi05_nano(scene_width=6, vision=vision),
        sde=FlowSDE(num_steps=4, noise=0.5, stochastic=stochastic),
        executed_len=executed_len,
        cameras=("image_left", "image_right", "image_wrist") if vision else (),
    )
    return Pi05Policy(config, normalizer, NanoTokenizer())


def observation(batch: int, *, vision: bool = False, seed: int = 0) -> dict:
    """A random observation of `batch` lanes."""
    rng = np.random.default_rng(seed)
    result = {
        "state": rng.uniform(-1, 1, (batch, 16)).astype(np.float32),
        "scene": rng.normal(size=(batch, 6)).astype(np.float32),
        "instruction": ["open the left drawer" if i % 2 else "close the cabinet doors" for i in range(batch)],
    }
    if vision:
        for camera in ("image_left", "image_right", "image_wrist"):
            result[camera] = rng.integers(0, 256, (batch, 64, 64, 3), dtype=np.uint8)
    return result


@pytest.fixture(name="nano_policy")
def _nano_policy():
    return nano_policy


@pytest.fixture(name="observation")
def _observation():
    return observation
