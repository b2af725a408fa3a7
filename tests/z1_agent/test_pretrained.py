"""Public weights: both layouts fill the network, what does not fit is named, and memory stays that of the weights."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from tests.z1_agent.sentencepiece_model import train_sentencepiece
from z1_agent.openpi_names import DEAD, TIED_HEAD, float32_dtype, from_openpi, openpi_dtype, to_openpi
from z1_agent.paligemma_tokenizer import PaliGemmaTokenizer
from z1_agent.pi05 import Pi05, pi05
from z1_agent.policy import PolicyConfig
from z1_agent.pretrained import PretrainedError, load_pretrained, load_weights
from z1_agent.tensor_file import read_header, write_tensors
from z1_agent.tokenizer import NanoTokenizer

DATA = Path(__file__).parents[1] / "data" / "pi05"
EMBEDDING = "paligemma_with_expert.paligemma.model.language_model.embed_tokens.weight"


@pytest.fixture
def weights():
    """The reference weights, in openpi's names."""
    return load_file(DATA / "pi05_tiny_weights.safetensors")


@pytest.fixture
def empty(reference):
    with torch.device("meta"):
        return Pi05(reference.model.config)


def folder(path: Path, tensors) -> Path:
    path.mkdir(parents=True)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path / "model.safetensors")
    return path


def lerobot(weights):
    """As lerobot's users find them: prefix, embedding twice, π0's names of the time MLP and its leftover."""
    named = {name.replace("time_mlp", "action_time_mlp"): tensor for name, tensor in weights.items()}
    named[EMBEDDING] = weights[TIED_HEAD].clone()
    del named[DEAD]
    named["state_proj.weight"] = torch.zeros(48, 32)
    return {f"model.{name}": tensor for name, tensor in named.items()}


def assert_same(model, reference):
    for name, tensor in reference.model.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name


def test_openpi_s_layout_fills_the_network(empty, reference):
    load_weights(empty, DATA / "pi05_tiny_weights.safetensors", dtypes=float32_dtype)
    assert_same(empty, reference)


def test_lerobot_s_layout_fills_the_network(empty, reference, weights, tmp_path):
    load_weights(empty, folder(tmp_path / "base", lerobot(weights)), dtypes=float32_dtype)
    assert_same(empty, reference)


def test_the_embedding_may_stand_under_its_own_name_alone(empty, reference, weights, tmp_path):
    weights[EMBEDDING] = weights.pop(TIED_HEAD)
    load_weights(empty, folder(tmp_path / "base", weights), dtypes=float32_dtype)
    assert_same(empty, reference)


def in_two_files(path: Path, weights) -> Path:
    path.mkdir()
    names = sorted(weights)
    parts = {"model-00001-of-00002.safetensors": names[:50], "model-00002-of-00002.safetensors": names[50:]}
    for file, part in parts.items():
        save_file({name: weights[name] for name in part}, path / file)
    index = {"weight_map": {name: file for file, part in parts.items() for name in part}}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))
    return path


def test_files_with_an_index_are_one_checkpoint(empty, reference, weights, tmp_path):
    load_weights(empty, in_two_files(tmp_path / "base", weights), dtypes=float32_dtype)
    assert_same(empty, reference)


def test_every_tensor_that_does_not_fit_is_named(empty, weights, tmp_path):
    missing = "paligemma_with_expert.gemma_expert.model.layers.1.mlp.up_proj.weight"
    del weights[missing], weights["time_mlp_in.bias"]
    weights["paligemma_with_expert.gemma_expert.model.layers.0.input_layernorm.weight"] = torch.zeros(48)  # as in π0
    weights["strange"] = torch.zeros(2)
    weights["action_in_proj.weight"] = torch.zeros(48, 16)
    weights["action_out_proj.bias"] = torch.zeros(32, dtype=torch.int32)
    with pytest.raises(PretrainedError) as error:
        load_weights(empty, folder(tmp_path / "base", weights))
    text = str(error.value)
    assert "does not fit this network in 6 tensors" in text
    for line in (
        f"missing {missing} [96, 48]",
        "missing time_mlp_in.bias [48]",
        "unexpected paligemma_with_expert.gemma_expert.model.layers.0.input_layernorm.weight [48]",
        "unexpected strange [2]",
        "misshaped action_in_proj.weight: [48, 16], expected [48, 32]",
        "action_out_proj.bias holds torch.int32",
    ):
        assert line in text
    assert all(parameter.is_meta for parameter in empty.parameters())  # nothing was loaded


def test_two_embeddings_that_differ_are_refused(empty, weights, tmp_path):
    weights[EMBEDDING] = weights[TIED_HEAD].clone()
    weights[EMBEDDING][511, 63] += 1
    with pytest.raises(PretrainedError, match=r"holds embedding.weight twice with different numbers"):
        load_weights(empty, folder(tmp_path / "base", weights))


def test_the_mixed_layout_is_openpi_s():
    layout = json.loads((DATA / "bf16_layout.json").read_text())
    for name, dtype in layout.items():
        ours = from_openpi(name)
        assert ours is None or str(openpi_dtype(ours)) == dtype, name
    assert len(layout) == 113
    with torch.device("meta"):
        full = {name: tensor.numel() for name, tensor in Pi05(pi05()).state_dict().items()}
    in_float32 = sum(numel for name, numel in full.items() if openpi_dtype(name) == torch.float32)
    # Modulations 116,505,600, trunk norms (18·2 + 1)·2048, patches 1152·(588 + 1), positions 256·1152, heads 2,165,792.
    assert in_float32 == 116_505_600 + 37 * 2048 + 1152 * 589 + 256 * 1152 + 2_165_792


def test_names_run_both_ways():
    names = [name for name, _, _ in json.loads((DATA / "openpi_pi05_full_keys.json").read_text()) if name != DEAD]
    assert [to_openpi(from_openpi(name) or "") for name in names] == names
    with pytest.raises(KeyError, match="public layouts have no place"):
        to_openpi("scene.weight")


@pytest.mark.parametrize("suffix", [".pt", ".bin", ".ckpt"])
def test_pickles_are_refused_by_name_and_never_opened(empty, tmp_path, suffix):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "opened",))

    file = tmp_path / f"pytorch_model{suffix}"
    torch.save({"x": Trap()}, file)
    for source in (file, tmp_path):
        with pytest.raises(PretrainedError, match=f"pytorch_model{suffix}: opening a pickled file runs what is in it"):
            load_weights(empty, source)
    assert not (tmp_path / "opened").exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data[: len(data) // 2],
        lambda data: data[:4],
        lambda data: b"",
        lambda data: b"\xff" * 8 + data[8:],  # a header of 2^64 bytes
        lambda data: data[:8] + b"{" * 100 + data[108:],
        lambda data: data + b"more",
    ],
)
def test_damaged_files_are_refused(empty, tmp_path, damage):
    file = tmp_path / "model.safetensors"
    file.write_bytes(damage((DATA / "pi05_tiny_weights.safetensors").read_bytes()))
    with pytest.raises(PretrainedError, match=r"not a whole safetensors file.*copy it again"):
        load_weights(empty, file)


def test_damaged_indexes_are_refused(empty, weights, tmp_path):
    base = in_two_files(tmp_path / "base", weights)
    (base / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(PretrainedError, match=r"lacks model-00002-of-00002\.safetensors"):
        load_weights(empty, base)
    for content, message in (
        ('{"weight_map": {"x": "../secret.safetensors"}}', "are no files beside it"),
        ('{"weight_map": ', "is damaged"),
        ("[]", "is damaged"),
    ):
        (base / "model.safetensors.index.json").write_text(content)
        with pytest.raises(PretrainedError, match=message):
            load_weights(empty, base)


def test_places_without_weights_are_refused(empty, tmp_path):
    with pytest.raises(PretrainedError, match=r"has neither model.safetensors nor"):
        load_weights(empty, tmp_path)
    with pytest.raises(PretrainedError, match=r"nothing at ./nowhere"):
        load_weights(empty, "./nowhere")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(PretrainedError, match=r"is not a .safetensors file"):
        load_weights(empty, tmp_path / "notes.txt")


@pytest.fixture
def offline(monkeypatch, tmp_path) -> Path:
    """An empty cache of the hub, and no way to the hub."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.mark.parametrize("source", ["hf://lerobot/pi05_base", "lerobot/pi05_base"])
def test_the_hub_s_cache_serves_without_a_network(empty, reference, weights, offline, source):
    repository = offline / "models--lerobot--pi05_base"
    folder(repository / "snapshots" / ("a" * 40), lerobot(weights))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40)
    load_weights(empty, source, dtypes=float32_dtype)
    assert_same(empty, reference)


def test_without_network_and_cache_the_words_say_so(empty, offline):
    with pytest.raises(PretrainedError, match="hub cannot be reached, nor is lerobot/pi05_base in its cache here"):
        load_weights(empty, "lerobot/pi05_base")


@pytest.mark.parametrize("vocab_size", [400, None])
def test_another_tokenizer_than_the_weights_is_refused(nano_policy, tmp_path, vocab_size):
    policy = nano_policy(vision=True)
    config = PolicyConfig(model=pi05(), sde=policy.config.sde, executed_len=10, cameras=policy.config.cameras)
    tokenizer = NanoTokenizer()
    if vocab_size is not None:
        tokenizer = PaliGemmaTokenizer(train_sentencepiece(tmp_path / "tokenizer.model", vocab_size))
    with pytest.raises(PretrainedError, match=r"trained with PaliGemma's of 256000 to 257152"):
        load_pretrained(tmp_path, config, policy.normalizer, tokenizer)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak of memory is read from Linux's /proc")
def test_loading_takes_the_memory_of_the_weights(tmp_path):
    command = [sys.executable, Path(__file__).with_name("loading_memory.py"), tmp_path / "model.safetensors"]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(root)}
    )
    streamed, whole = map(float, done.stdout.split())
    assert 0.8 < streamed < 1.2 < 1.6 < whole


def test_tensor_files_are_safetensors(tmp_path):
    tensors = {
        "bytes": torch.arange(7, dtype=torch.uint8),
        "wide": torch.randn(3, 5, dtype=torch.float64),
        "scalar": torch.tensor(2.5),
        "turned": torch.randn(4, 6, dtype=torch.bfloat16).T,
        "none": torch.zeros(0, 4),
        "flag": torch.tensor([True, False]),
    }
    write_tensors(tmp_path / "x.safetensors", tensors)
    loaded = load_file(tmp_path / "x.safetensors")
    assert loaded.keys() == tensors.keys()
    for name, stored in read_header(tmp_path / "x.safetensors").items():
        assert torch.equal(loaded[name], tensors[name])
        assert (stored.dtype, stored.shape) == (tensors[name].dtype, tuple(tensors[name].shape))
        blocks = [block.clone() for _, block in stored.blocks()]
        assert torch.equal(torch.cat([torch.zeros(0, dtype=stored.dtype), *blocks]), tensors[name].reshape(-1))
