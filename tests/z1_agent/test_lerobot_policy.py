"""Exports in LeRobot's layout, and one of them run by the real lerobot.

That test needs an environment of its own (lerobot pins its own torch and numpy). What was installed for it, with
Python 3.12: `pip install "lerobot[pi]==0.6.1"` with torch 2.13.0 and transformers 5.5.4. Z1_LEROBOT_PYTHON names its
interpreter; without it the test is skipped. The largest difference in a chunk was 5e-7.
"""

import json
import os
import subprocess
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.z1_agent.conftest import ordinary_flow
from tests.z1_agent.sentencepiece_model import train_sentencepiece
from z1_agent import lerobot_policy
from z1_agent.flow import FlowSDE
from z1_agent.gemma import GemmaConfig
from z1_agent.lerobot_policy import ExportError, save_pretrained
from z1_agent.observation import PUBLISHED_CAMERAS, Normalizer
from z1_agent.openpi_names import float32_dtype, openpi_dtype
from z1_agent.paligemma_tokenizer import PaliGemmaTokenizer
from z1_agent.pi05 import Pi05Config
from z1_agent.policy import Pi05Policy, PolicyConfig
from z1_agent.pretrained import load_pretrained, load_weights
from z1_agent.siglip import VisionConfig
from z1_agent.tokenizer import NanoTokenizer, PromptFormat
from z1_agent.trainable import select

SCRIPT = Path(__file__).with_name("lerobot_script.py")
LEROBOT = os.environ.get("Z1_LEROBOT_PYTHON")
INSTRUCTIONS = ["open the left_drawer", " pick the apple from the counter\n"]


@pytest.fixture
def policy(tmp_path) -> Pi05Policy:
    """Every size of its own, so that swapped ones do not fit; eight heads, which lerobot writes out in its code."""
    rng = np.random.default_rng(0)
    normalizer = Normalizer.fit(rng.normal(0, 2, (500, 16)), rng.uniform(-1, 1, (500, 12)), None)
    heads = {"depth": 3, "num_heads": 8, "num_kv_heads": 1, "head_width": 16}
    model = Pi05Config(
        vlm=GemmaConfig(width=64, mlp_width=128, **heads),
        expert=GemmaConfig(width=48, mlp_width=96, **heads),
        vision=VisionConfig(width=32, depth=2, mlp_width=56, num_heads=4, patch=14, image_px=224),
        vocab_size=512,
        action_width=32,
        chunk_len=10,
        scene_width=0,
        num_scene_tokens=0,
    )
    cameras = tuple(PUBLISHED_CAMERAS.values())
    config = PolicyConfig(model=model, sde=FlowSDE(num_steps=5), executed_len=8, cameras=cameras)
    torch.manual_seed(0)
    tokenizer = PaliGemmaTokenizer(train_sentencepiece(tmp_path / "tokenizer.model"))
    made = Pi05Policy(config, normalizer, tokenizer)
    with torch.no_grad():
        for parameter in made.parameters():  # fresh modulations are zero: theirs would not be seen
            parameter.add_(0.05 * torch.randn_like(parameter))
    return made


@pytest.fixture
def export(policy, tmp_path) -> Path:
    with pytest.warns(UserWarning, match="not the published ones"):
        save_pretrained(policy, tmp_path / "export")
    return tmp_path / "export"


def test_an_export_comes_back(policy, export):
    weights = load_file(export / "model.safetensors")
    assert "model.paligemma_with_expert.paligemma.lm_head.weight" in weights
    assert weights["model.paligemma_with_expert.gemma_expert.lm_head.weight"].shape == (512, 48)
    again = Pi05Policy(policy.config, policy.normalizer, policy.tokenizer)
    load_weights(again.model, export, dtypes=float32_dtype)
    for name, tensor in policy.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], tensor), name


def test_a_policy_in_openpi_s_mixed_precision_acts_like_the_original(policy, export):
    config = replace(policy.config, compute_dtype="bfloat16")
    mixed = load_pretrained(export, config, policy.normalizer, policy.tokenizer)
    for name, parameter in mixed.model.named_parameters():
        assert parameter.dtype == openpi_dtype(name), name
    rng = np.random.default_rng(3)
    observation = {camera: rng.integers(0, 256, (2, 96, 128, 3), dtype=np.uint8) for camera in policy.config.cameras}
    observation |= {"state": rng.normal(0, 2, (2, 16)).astype(np.float32), "instruction": INSTRUCTIONS}
    policy.reset(0)
    mixed.reset(0)
    ours, theirs = policy.act(observation), mixed.act(observation)
    assert ours.shape == (2, 8, 12)
    np.testing.assert_allclose(theirs, ours, atol=5e-2)
    assert not np.array_equal(theirs, ours)


def test_the_configuration_says_what_lerobot_needs(policy, export):
    config = json.loads((export / "config.json").read_text())
    assert list(config["input_features"]) == [
        "observation.images.base_0_rgb",
        "observation.images.left_wrist_0_rgb",
        "observation.images.right_wrist_0_rgb",
        "observation.state",
    ]
    assert (config["chunk_size"], config["n_action_steps"], config["num_inference_steps"]) == (10, 8, 5)
    renamed = json.loads((export / "policy_preprocessor.json").read_text())["steps"][0]["config"]["rename_map"]
    assert renamed["observation.images.robot0_eye_in_hand"] == "observation.images.left_wrist_0_rgb"
    statistics = load_file(export / "policy_postprocessor_step_0_unnormalizer_processor.safetensors")
    np.testing.assert_array_equal(statistics["action.q01"], policy.normalizer.action_q01)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: setattr(p, "tokenizer", NanoTokenizer()), "uses PaliGemma's tokenizer, this policy nano-"),
        (lambda p: setattr(p, "config", replace(p.config, prompt_format=PromptFormat.TEXT)), "without"),
        (lambda p: select(p, "action_expert_lora"), "merge them first"),
    ],
)
def test_what_has_no_place_is_refused(policy, tmp_path, change, message):
    change(policy)
    with pytest.raises(ExportError, match=message):
        save_pretrained(policy, tmp_path / "export")
    assert not (tmp_path / "export").exists()


def test_policies_without_cameras_and_used_folders_are_refused(policy, nano_policy, export):
    with pytest.raises(ExportError, match="one to three cameras, this policy reads 0"):
        save_pretrained(nano_policy(), export)
    with pytest.warns(UserWarning, match="not the published"), pytest.raises(FileExistsError, match="there already"):
        save_pretrained(policy, export)


def test_nothing_beside_an_export_is_touched(policy, tmp_path, monkeypatch):
    neighbour = tmp_path / "export.tmp" / "notes.txt"
    neighbour.parent.mkdir()
    neighbour.write_text("mine")
    there = sorted(tmp_path.iterdir())

    def no_space(*_arguments):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(lerobot_policy, "write_tensors", no_space)
        with pytest.warns(UserWarning, match="not the published"), pytest.raises(OSError, match="disk full"):
            save_pretrained(policy, tmp_path / "export")
    assert sorted(tmp_path.iterdir()) == there
    with pytest.warns(UserWarning, match="not the published"):
        save_pretrained(policy, tmp_path / "deep" / "export")
    assert neighbour.read_text() == "mine"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["export"]
    assert (tmp_path / "deep" / "export").stat().st_mode == neighbour.parent.stat().st_mode


@pytest.mark.lerobot
@pytest.mark.skipif(LEROBOT is None, reason="Z1_LEROBOT_PYTHON names no interpreter with lerobot")
def test_lerobot_acts_as_we_do(policy, export, tmp_path):
    rng = np.random.default_rng(1)
    images = {camera: rng.integers(0, 256, (2, 224, 224, 3), dtype=np.uint8) for camera in policy.config.cameras}
    state = rng.normal(0, 2, (2, 16)).astype(np.float32)
    noise = torch.randn(2, 10, 32, generator=torch.Generator().manual_seed(2))
    sizes = asdict(policy.config.model) | {"instructions": INSTRUCTIONS, "num_steps": 5}
    (tmp_path / "sizes.json").write_text(json.dumps(sizes))
    names = {"image_left": "agentview_left", "image_right": "agentview_right", "image_wrist": "eye_in_hand"}
    sent = {
        f"observation.images.robot0_{names[camera]}": torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous() / 255
        for camera, pixels in images.items()
    }
    save_file(sent | {"observation.state": torch.from_numpy(state), "noise": noise}, tmp_path / "inputs.safetensors")
    files = [export, *(tmp_path / n for n in ("sizes.json", "tokenizer.model", "inputs.safetensors", "outputs"))]
    done = subprocess.run(
        [str(LEROBOT), str(SCRIPT), *map(str, files)],
        capture_output=True,
        text=True,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": ""},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All keys loaded successfully" in done.stdout  # what lerobot says where nothing is missing or left over
    theirs = load_file(tmp_path / "outputs")

    observation = images | {"state": state, "instruction": INSTRUCTIONS}
    with torch.no_grad():
        inputs = policy._read(observation, policy.device)
        prefix = policy.encode(observation)
        ours = ordinary_flow(lambda x, t: policy.model.velocity(prefix, x, t), noise, 5)
    length = inputs.tokens.shape[1]
    assert torch.equal(theirs["tokens"][:, :length], inputs.tokens)
    assert not theirs["tokens"][:, length:].any()
    assert (ours - noise).abs().max() > 0.5  # the network says something
    torch.testing.assert_close(ours, theirs["chunk"], rtol=0, atol=1e-4)
    executed = ours[:, :8, :12].numpy()
    inside = np.abs(policy.normalizer.env_action(executed)) < 1
    difference = np.abs(policy.normalizer.env_action(executed) - theirs["actions"].numpy())
    assert inside.mean() > 0.3
    assert difference[inside].max() < 1e-4
