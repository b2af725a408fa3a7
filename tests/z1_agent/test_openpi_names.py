"""Names of openpi checkpoints: every tensor of the reference weights and of the full-size list has its place."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from z1_agent.openpi_names import DEAD, from_openpi
from z1_agent.pi05 import Pi05, pi05

DATA = Path(__file__).parents[1] / "data" / "pi05"


def test_full_size_names_and_shapes_map_one_to_one():
    listed = {name: tuple(shape) for name, shape, _ in json.loads((DATA / "openpi_pi05_full_keys.json").read_text())}
    assert len(listed) == 812
    mapped = {from_openpi(name): shape for name, shape in listed.items() if name != DEAD}
    with torch.device("meta"):
        ours = {name: tuple(tensor.shape) for name, tensor in Pi05(pi05()).state_dict().items()}
    assert mapped == ours
    assert len(mapped) == 811


def test_reference_weights_fill_the_model(reference):
    names = [from_openpi(name) for name in load_file(DATA / "pi05_tiny_weights.safetensors")]
    assert sorted(name for name in names if name is not None) == sorted(reference.model.state_dict())


def test_tied_embedding_has_one_place_and_the_dead_head_none():
    tied = "paligemma_with_expert.paligemma.model.language_model.embed_tokens.weight"
    assert from_openpi(tied) == from_openpi("paligemma_with_expert.paligemma.lm_head.weight") == "embedding.weight"
    assert from_openpi(DEAD) is None


@pytest.mark.parametrize("name", ["state_proj.weight", "model.action_in_proj.weight", "action_in_proj"])
def test_foreign_names_are_refused(name):
    with pytest.raises(KeyError, match="not a tensor of an openpi"):
        from_openpi(name)
