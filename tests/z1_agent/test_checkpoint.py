"""Checkpoints: exact resume, atomic replacement, and refusal of what does not fit."""

import hashlib
import json
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.z1_agent.sentencepiece_model import train_sentencepiece
from z1_agent import checkpoint
from z1_agent.checkpoint import (
    CheckpointError,
    DataFormat,
    TrainerState,
    load,
    load_policy,
    load_trainer,
    read_config,
    read_counters,
    read_task,
    save,
)
from z1_agent.paligemma_tokenizer import PaliGemmaTokenizer
from z1_agent.policy import Pi05Policy
from z1_agent.tokenizer import PromptFormat
from z1_agent.trainable import select


@pytest.fixture
def saved(tmp_path, nano_policy):
    policy = nano_policy()
    save(tmp_path / "run", policy, task="OpenDrawer", backend="kitchen")
    return policy, tmp_path / "run"


def test_a_loaded_policy_acts_the_same(saved, observation):
    policy, path = saved
    loaded = load(path)
    assert (loaded.task, loaded.backend) == ("OpenDrawer", "kitchen")
    assert loaded.policy.config == policy.config
    policy.reset(3)
    loaded.policy.reset(3)
    np.testing.assert_array_equal(loaded.policy.act(observation(2)), policy.act(observation(2)))


def test_pixel_policies_come_back(tmp_path, nano_policy, observation):
    policy = nano_policy(vision=True, executed_len=4)
    save(tmp_path / "run", policy, task="OpenDrawer", backend="kitchen")
    loaded = load_policy(tmp_path / "run")
    batch = observation(2, vision=True)
    np.testing.assert_array_equal(loaded.act(batch), policy.act(batch))


def train(policy, optimizer, generator, batch, num_steps):
    actions = np.linspace(-1, 1, 4 * 120, dtype=np.float32).reshape(4, 10, 12)
    for _ in range(num_steps):
        optimizer.zero_grad()
        policy.loss(batch, actions, generator).backward()
        optimizer.step()


def make_optimizer(policy, lr):
    select(policy, "action_expert")
    return torch.optim.AdamW([p for p in policy.parameters() if p.requires_grad], lr=lr, weight_decay=0.01, fused=True)


def test_three_steps_resumed_for_three_equal_six(tmp_path, nano_policy, observation):
    batch = observation(4)
    whole = nano_policy()
    train(whole, make_optimizer(whole, 1e-3), torch.Generator().manual_seed(0), batch, 6)

    first, generator = nano_policy(), torch.Generator().manual_seed(0)
    optimizer = make_optimizer(first, 1e-3)
    train(first, optimizer, generator, batch, 3)
    tensors = checkpoint.optimizer_tensors(optimizer, first) | {"rng.noise": generator.get_state()}
    state = TrainerState(tensors=tensors, values={"iteration": 3})
    save(tmp_path / "run", first, task="OpenDrawer", backend="kitchen", trainer=state)

    loaded = load(tmp_path / "run")
    trainer = load_trainer(tmp_path / "run")
    assert trainer.values == read_counters(tmp_path / "run") == {"iteration": 3}
    resumed = make_optimizer(loaded.policy, 123.0)  # the learning rate comes back with the state
    checkpoint.restore_optimizer(resumed, loaded.policy, trainer.tensors)
    generator = torch.Generator()
    generator.set_state(trainer.tensors["rng.noise"])
    train(loaded.policy, resumed, generator, batch, 3)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, loaded.policy.state_dict()[name]), name


def test_an_optimizer_of_other_parameters_is_refused(nano_policy, observation):
    policy = nano_policy()
    select(policy, "all")
    everything = torch.optim.AdamW([p for p in policy.parameters() if p.requires_grad])
    train(policy, everything, torch.Generator().manual_seed(0), observation(4), 1)
    tensors = checkpoint.optimizer_tensors(everything, policy)
    with pytest.raises(CheckpointError, match="resume with the selection"):
        checkpoint.restore_optimizer(make_optimizer(policy, 1e-3), policy, tensors)


@pytest.mark.parametrize("failing", ["write_tensors", "write_synced"])
def test_a_crash_while_saving_leaves_the_old_checkpoint(saved, nano_policy, monkeypatch, failing):
    policy, path = saved

    def crash(file, content):
        file.write_bytes(b"half")
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, failing, crash)
        with pytest.raises(OSError, match="disk full"):
            save(path, nano_policy(seed=1), task="OpenDrawer", backend="kitchen")
    assert [entry.name for entry in path.parent.iterdir()] == ["run"]
    assert torch.equal(load_policy(path).model.action_in.weight, policy.model.action_in.weight)
    newer = nano_policy(seed=1)
    save(path, newer, task="OpenDrawer", backend="kitchen")
    assert torch.equal(load_policy(path).model.action_in.weight, newer.model.action_in.weight)
    assert [entry.name for entry in path.parent.iterdir()] == ["run"]


def test_what_is_no_checkpoint_is_not_replaced(tmp_path, nano_policy):
    policy = nano_policy()
    thesis, suite, empty = (tmp_path / name for name in ("thesis", "suite", "empty"))
    for folder in (thesis, suite, empty):
        folder.mkdir()
    (thesis / "thesis.tex").write_text("years of work")
    (suite / "manifest.json").write_text('{"kind": "suite"}')
    for path in (thesis, suite, thesis / "thesis.tex"):
        with pytest.raises(CheckpointError, match=f"{path.name} is there and is no checkpoint, .*; give another path"):
            save(path, policy, task="OpenDrawer", backend="kitchen")
    assert (thesis / "thesis.tex").read_text() == "years of work"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "suite", "thesis"]
    save(empty, policy, task="OpenDrawer", backend="kitchen")
    save(empty, policy, task="OpenDrawer", backend="kitchen")
    assert load(empty).task == "OpenDrawer"


def test_only_a_trainer_looks_at_the_trainer_s_state(saved):
    policy, path = saved
    with pytest.raises(CheckpointError, match="holds a policy alone, without what a training needs to go on"):
        load_trainer(path)
    assert read_counters(path) == {}
    state = TrainerState(tensors={"state.x": torch.ones(3)}, values={"stage": "sft"})
    save(path, policy, task="OpenDrawer", backend="kitchen", trainer=state)
    assert torch.equal(load_trainer(path).tensors["state.x"], torch.ones(3))
    (path / "trainer.safetensors").write_bytes(b"x")
    assert torch.equal(load_policy(path).model.action_in.weight, policy.model.action_in.weight)
    assert read_counters(path) == {"stage": "sft"}
    with pytest.raises(CheckpointError, match=r"trainer\.safetensors has sha256 .*truncated or changed"):
        load_trainer(path)


def test_who_reads_between_the_renames_of_a_save_disturbs_nobody(saved, nano_policy, monkeypatch):
    policy, path = saved
    state = TrainerState(values={"stage": "sft"})
    save(path, policy, task="OpenDrawer", backend="kitchen", trainer=state)
    newer, real, seen = nano_policy(seed=1), checkpoint.os.rename, []

    def rename(source, target):
        real(source, target)
        if not path.exists():
            seen.append([entry.name for entry in path.parent.iterdir()])
            assert checkpoint.exists(path)
            assert torch.equal(load_policy(path).model.action_in.weight, policy.model.action_in.weight)
            assert load_trainer(path).values == read_counters(path) == state.values
            assert (read_task(path), read_config(path)) == ("OpenDrawer", policy.config)
            assert [entry.name for entry in path.parent.iterdir()] == seen[0]

    monkeypatch.setattr(checkpoint.os, "rename", rename)
    save(path, newer, task="OpenDrawer", backend="kitchen")
    assert len(seen) == 1
    assert torch.equal(load_policy(path).model.action_in.weight, newer.model.action_in.weight)
    assert [entry.name for entry in path.parent.iterdir()] == ["run"]
    assert not checkpoint.exists(path.with_name("none"))


@pytest.mark.parametrize("rename_index", [0, 1])
def test_a_crash_between_the_renames_is_finished_later(saved, nano_policy, monkeypatch, rename_index):
    policy, path = saved
    real, calls = checkpoint.os.rename, []

    def crash(source, target):
        if len(calls) == rename_index:
            raise OSError("killed")
        calls.append(target)
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.os, "rename", crash)
        with pytest.raises(OSError, match="killed"):
            save(path, nano_policy(seed=1), task="OpenDrawer", backend="kitchen")
    assert torch.equal(load_policy(path).model.action_in.weight, policy.model.action_in.weight)
    save(path, nano_policy(seed=2), task="OpenDrawer", backend="kitchen")
    assert [entry.name for entry in path.parent.iterdir()] == ["run"]


def edit(path, change):
    manifest = json.loads((path / "manifest.json").read_text())
    change(manifest)
    (path / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(format=1), "has format 1, this program reads 3; use the program version"),
        (lambda m: m.update(kind="lerobot"), "holds 'lerobot', expected 'z1-policy'"),
        (lambda m: m["layouts"]["ACTION"].reverse(), "ACTION"),
        (lambda m: m.update(tokenizer="nano-0"), "needs tokenizer 'nano-0'"),
        (lambda m: m["policy"]["model"].update(chunk_len=True, depth=3), "damaged"),
        (lambda m: m["policy"]["model"]["expert"].update(mlp_width=64), "do not fit their configuration"),
        (lambda m: m.pop("normalizer"), "normalizer"),
        (lambda m: m.pop("files"), "lists no model.safetensors"),
        (lambda m: m["files"].update({"../model.safetensors": "0"}), "missing|sha256"),
    ],
)
def test_manifests_that_do_not_fit_are_refused(saved, change, message):
    _, path = saved
    edit(path, change)
    with pytest.raises(CheckpointError, match=message):
        load(path)


def test_damaged_files_are_refused(saved, tmp_path):
    _, path = saved
    weights = path / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-100])
    with pytest.raises(CheckpointError, match="truncated or changed"):
        load(path)
    weights.unlink()
    with pytest.raises(CheckpointError, match="is missing"):
        load(path)
    (path / "manifest.json").write_text('{"kind": ')
    with pytest.raises(CheckpointError, match="not JSON"):
        load(path)
    with pytest.raises(CheckpointError, match="give the directory of a checkpoint"):
        load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"cameras": ("image_wrist", "image_left")},
            r"cameras = \['image_left', 'image_right', 'image_wrist'\], the",
        ),
        ({"prompt_format": PromptFormat.TEXT}, "prompt_format = state, the data has text"),
        ({"layouts": {"ACTION": [["base", 3], ["eef_position", 3]]}}, r"ACTION = .*the data has \[\['base', 3\]"),
    ],
)
def test_data_of_another_format_are_refused(tmp_path, nano_policy, change, message):
    policy = nano_policy(vision=True)
    save(tmp_path / "run", policy, task="OpenDrawer", backend="kitchen")
    data = DataFormat.of(policy.config)
    load(tmp_path / "run", data=data)
    with pytest.raises(CheckpointError, match=message):
        load(tmp_path / "run", data=replace(data, **change))


def test_a_policy_remembers_what_its_prompts_say(tmp_path, nano_policy, observation):
    policy = nano_policy()
    config = replace(policy.config, prompt_format=PromptFormat.TEXT)
    blind = Pi05Policy(config, policy.normalizer, policy.tokenizer)
    save(tmp_path / "run", blind, task="OpenDrawer", backend="kitchen")
    loaded = load_policy(tmp_path / "run")
    assert loaded.config.prompt_format is PromptFormat.TEXT
    batch = observation(2)
    moved = batch | {"state": -batch["state"]}
    same = [torch.equal(loaded.encode(batch).keys[1], loaded.encode(moved).keys[1])]
    same += [torch.equal(policy.encode(batch).keys[1], policy.encode(moved).keys[1])]
    assert same == [True, False]


@pytest.fixture
def spoken(tmp_path, nano_policy):
    """A checkpoint that brings a SentencePiece model along, and its policy."""
    policy = nano_policy()
    tokenizer = PaliGemmaTokenizer(train_sentencepiece(tmp_path / "user.model"))
    policy = Pi05Policy(policy.config, policy.normalizer, tokenizer)
    save(tmp_path / "run", policy, task="OpenDrawer", backend="kitchen")
    (tmp_path / "user.model").unlink()
    return policy, tmp_path / "run"


def test_a_checkpoint_brings_its_tokenizer(spoken, observation):
    policy, path = spoken
    loaded = load_policy(path)
    assert loaded.tokenizer.name == policy.tokenizer.name
    np.testing.assert_array_equal(loaded.act(observation(2)), policy.act(observation(2)))
    copy = deepcopy(policy)  # as SFT does with what it evaluates
    bins = np.zeros((1, 16), np.int64)
    np.testing.assert_array_equal(
        copy.tokenizer.prompts(["open"], bins)[0], policy.tokenizer.prompts(["open"], bins)[0]
    )


def test_another_tokenizer_is_refused(spoken):
    _, path = spoken
    file = train_sentencepiece(path / "tokenizer.model", seed=1)
    with pytest.raises(CheckpointError, match=r"tokenizer\.model has sha256 .*truncated or changed"):
        load(path)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    edit(path, lambda manifest: manifest["files"].update({"tokenizer.model": digest}))
    with pytest.raises(CheckpointError, match=r"its tokenizer\.model is 'paligemma-.*would mean other words"):
        load(path)
    edit(path, lambda manifest: manifest["files"].pop("tokenizer.model"))
    with pytest.raises(CheckpointError, match=r"brings no tokenizer\.model"):
        load(path)


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(spoken):
    policy, _ = spoken
    small = replace(policy.config, model=replace(policy.config.model, vocab_size=300))
    with pytest.raises(ValueError, match=r"has 400 tokens, the model's vocab_size is 300"):
        Pi05Policy(small, policy.normalizer, policy.tokenizer)
