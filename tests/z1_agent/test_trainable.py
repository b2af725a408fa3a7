"""Selective training: exactly the selected tensors change."""

import numpy as np
import pytest
import torch

from z1_agent.pi05 import Pi05, pi05
from z1_agent.trainable import group_of, select


@pytest.mark.parametrize("selection", ["action_expert", "all"])
def test_exactly_the_selected_tensors_change(nano_policy, observation, selection):
    policy = nano_policy(vision=True)
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
    expert = select(policy, "action_expert")
    assert (expert.num_trainable, expert.num_total) == (1_432_332, 1_664_076)
    # Unread in the last vlm layer: q and out 2 · 64 · 128, MLP 3 · 64 · 128, its norm and the final norm 2 · 64.
    assert select(policy, "all").num_trainable == 1_664_076 - 41_088


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


def test_unknown_selections_are_refused(nano_policy):
    with pytest.raises(ValueError, match="choose among action_expert, all"):
        select(nano_policy(), "expert")
    with pytest.raises(KeyError, match="belongs to no group"):
        group_of("value_head.weight")
