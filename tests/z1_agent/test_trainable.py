"""Selective training: exactly the selected tensors change."""

import numpy as np
import pytest
import torch

from z1_agent import lora
from z1_agent.lora import Adapters, LoraConfig
from z1_agent.pi05 import Pi05, pi05
from z1_agent.trainable import Trainable, check_trainable, group_of, select

SELECTIONS = ["action_expert", "all", "action_expert_lora", "vlm_lora", "all_lora"]


@pytest.mark.parametrize("selection", SELECTIONS)
def test_exactly_the_selected_tensors_change(nano_policy, observation, selection):
    policy = nano_policy(vision=True)
    torch.nn.init.normal_(policy.model.action_out.weight, std=0.1)
    selected = select(policy, selection)
    expected = {name for names in selected.names.values() for name in names}
    before = {name: tensor.clone() for name, tensor in policy.model.state_dict().items()}
    optimizer = torch.optim.AdamW([p for p in policy.parameters() if p.requires_grad], lr=1e-3, weight_decay=0.01)
    generator = torch.Generator().manual_seed(0)
    actions = np.full((4, 10, 12), 0.5, np.float32)
    # Two steps: where a weight starts at exactly zero, another's first gradient may be zero too.
    for _ in range(2):
        optimizer.zero_grad()
        policy.loss(observation(4, vision=True), actions, generator).backward()
        optimizer.step()
    changed = {name for name, tensor in policy.model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == expected


def test_all_leaves_only_what_nothing_reads(nano_policy):
    policy = nano_policy(vision=True)
    select(policy, "action_expert")
    selected = select(policy, "all")
    assert set(selected.names) == {"action_expert", "vlm", "vision", "scene"}
    frozen = {name for name, parameter in policy.model.named_parameters() if not parameter.requires_grad}
    assert frozen == set(policy.model.unread())


def test_nano_counts(nano_policy):
    policy = nano_policy()

    def count(trainable: Trainable) -> int:
        return sum(parameter.numel() for parameter in select(policy, trainable).parameters(policy))

    assert count("action_expert") == 1_432_332
    assert sum(parameter.numel() for parameter in policy.model.parameters()) == 1_679_436
    # Unread in the last vlm layer: q and out 2 · 64 · 128, MLP 3 · 64 · 128, its norm and the final norm 2 · 64.
    assert count("all") == 1_679_436 - 41_088
    # At rank 16, expert: q and out (128 + 128), k and v (128 + 32), MLP 3 · (128 + 512), times 4 layers.
    assert count("action_expert_lora") == 16 * 4 * (2 * 256 + 2 * 160 + 3 * 640) == 176_128
    # Vlm: q and out (64 + 128), k and v (64 + 32), MLP 3 · (64 + 128) in 3 layers, of the last k and v alone.
    adapters = 16 * (3 * (2 * 192 + 2 * 96 + 3 * 192) + 2 * 96)
    assert count("vlm_lora") == 1_432_332 + adapters == 1_490_700
    assert count("all_lora") == 176_128 + adapters


def test_full_size_counts():
    with torch.device("meta"):
        model = Pi05(pi05())
    counts: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        counts[group_of(name)] = counts.get(group_of(name), 0) + parameter.numel()
    assert counts == {
        "action_expert": 430_098_464,  # 311,427,072 layers + 116,505,600 modulations + 2,165,792 heads
        "vlm": 2_508_531_712,  # 1,981,884,416 + the embedding's 526,647,296
        "vision": 414_803_696,  # 412,442,352 + the projector's 2,361,344
    }
    assert sum(counts.values()) == 3_353_433_872


def test_full_size_adapters():
    with torch.device("meta"):
        model = Pi05(pi05())
        lora.insert(model, Adapters(config=LoraConfig(rank=16), parts=("expert", "vlm", "vision")))
    counts: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        if name.endswith((".lora_a", ".lora_b")):
            counts[group_of(name)] = counts.get(group_of(name), 0) + parameter.numel()
    assert counts == {
        # q and out (1024 + 2048), k and v (1024 + 256), MLP 3 · (1024 + 4096), times 18 layers.
        "action_expert": 16 * 18 * (2 * 3072 + 2 * 1280 + 3 * 5120),
        # q and out (2048 + 2048), k and v (2048 + 256), MLP 3 · (2048 + 16384) in 17 layers; k and v of the last.
        "vlm": 16 * (17 * (2 * 4096 + 2 * 2304 + 3 * 18432) + 2 * 2304),
        # q, k, v, out (1152 + 1152) and MLP 2 · (1152 + 4304), times 27 layers.
        "vision": 16 * 27 * (4 * 2304 + 2 * 5456),
    }
    assert counts == {"action_expert": 6_930_432, "vlm": 18_595_840, "vision": 8_695_296}


@pytest.mark.parametrize(
    ("selection", "moves"),
    [("action_expert", False), ("all", True), ("action_expert_lora", False), ("vlm_lora", True), ("all_lora", True)],
)
def test_a_selection_knows_whether_prefixes_may_be_reused(nano_policy, selection, moves):
    policy = nano_policy()
    selected = select(policy, selection)
    assert selected.moves_prefix == moves


def test_unknown_selections_are_refused(nano_policy):
    with pytest.raises(ValueError, match="choose among action_expert, all"):
        check_trainable("expert")
    with pytest.raises(KeyError, match="belongs to no group"):
        group_of("value_head.weight")
