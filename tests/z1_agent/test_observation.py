"""Normalisation, prompts and tokens."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from z1_agent.observation import Normalizer, ObservationEncoder
from z1_agent.tokenizer import NanoTokenizer, PromptFormat, prompt, state_bins

PROMPTS = json.loads((Path(__file__).parents[1] / "data" / "pi05" / "prompts.json").read_text())
CASES = [case for case in PROMPTS if case["state"] is not None]

# Templates of the 24 tasks, with objects where they have them.
INSTRUCTIONS = [
    "pick the apple from the counter and place it in the cabinet",
    "pick the bell pepper from the cabinet and place it on the counter",
    "pick the canned food from the counter and place it in the sink",
    "pick the sweet potato from the sink and place it on the plate located on the counter",
    "pick the hot dog from the counter and place it in the microwave",
    "pick the squash from the plate and place it in the pan",
    "open the cabinet door",
    "close the microwave door",
    "open the left drawer",
    "turn on the front left burner of the stove",
    "turn the sink spout to the right",
    "press the button on the coffee machine to serve coffee",
    "pick the mug from under the coffee machine dispenser and place it on the counter",
    "press the stop button on the microwave",
    "Open the left drawer.",
]


@pytest.mark.parametrize("case", CASES)
def test_prompts_and_bins_match_reference(case):
    bins = state_bins(np.array(case["state"], np.float32))
    assert bins.tolist() == case["bins"]
    assert prompt(case["prompt"], bins) == case["text"]


def test_quantile_formula():
    # q01 = 1, q99 = 3: (2.5 - 1) / (3 - 1 + 1e-6) · 2 - 1 = 0.49999925
    ones = np.ones(16)
    normalizer = replace(make_normalizer(), state_q01=ones, state_q99=3 * ones)
    assert normalizer.state(2.5 * ones) == pytest.approx(0.49999925, abs=1e-7)


def make_normalizer() -> Normalizer:
    rng = np.random.default_rng(0)
    state, actions = rng.normal(size=(1000, 16)), rng.uniform(-1, 1, (1000, 12))
    state[:, 3] = 0.7  # a base that never turns
    actions[:, 11] = -1.0
    scene = rng.normal(2.0, 3.0, (1000, 6))
    scene[:, 0] = 5.0
    return Normalizer.fit(state, actions, scene)


def test_statistics_come_from_the_data():
    rng = np.random.default_rng(1)
    data = rng.normal(size=(5000, 16))
    normalizer = Normalizer.fit(data, rng.uniform(-1, 1, (5000, 12)), rng.normal(2.0, 3.0, (5000, 6)))
    inside = np.abs(normalizer.state(data)) <= 1
    assert inside.mean() == pytest.approx(0.98, abs=0.002)
    scene = normalizer.scene(rng.normal(2.0, 3.0, (5000, 6)))
    assert scene.mean() == pytest.approx(0.0, abs=0.05)
    assert scene.std() == pytest.approx(1.0, abs=0.05)


def test_constant_entries_stay_small():
    normalizer = make_normalizer()
    state, action = np.zeros(16), np.zeros(12)
    state[3], action[11] = 0.7, -1.0
    assert abs(normalizer.state(state)[3]) < 1e-4
    assert abs(normalizer.action(action)[11]) < 1e-4
    action[11] = 1.0
    assert normalizer.action(action)[11] == pytest.approx(200.0, rel=1e-3)  # 2 / 0.01: not 2 / 1e-6
    assert not normalizer.action_moves[11]
    assert normalizer.env_action(np.full(12, 0.7))[11] == pytest.approx(-1.0)  # noise on it goes nowhere
    assert normalizer.scene(np.full(6, 1e6)).max() == 10.0


def test_actions_come_back():
    normalizer = make_normalizer()
    actions = np.random.default_rng(2).uniform(-1, 1, (5, 10, 12)).astype(np.float32)
    actions[..., 11] = -1.0  # as in all demonstrations
    np.testing.assert_allclose(normalizer.env_action(normalizer.action(actions)), actions, atol=1e-5)
    assert np.abs(normalizer.env_action(np.full(12, 100.0))).max() == 1.0


def test_statistics_of_another_width_are_refused():
    with pytest.raises(ValueError, match="state_q01 needs 16 finite numbers"):
        replace(make_normalizer(), state_q01=np.zeros(25))


@pytest.mark.parametrize("text", [*INSTRUCTIONS, "Task: 256 -2  éclair, State:\n;\nAction: x"])
def test_tokens_round_trip(text):
    tokenizer = NanoTokenizer()
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_instructions_need_one_token_per_word():
    tokenizer = NanoTokenizer()
    for text in INSTRUCTIONS:
        assert len(tokenizer.encode(" " + text)) == len(text.split()) + text.count("."), text


def test_vocabulary_is_fixed():
    # A checkpoint names its vocabulary: changing the words must change the name, and old checkpoints are refused.
    assert (NanoTokenizer.name, NanoTokenizer.vocab_size) == ("nano-dd8a9be1ab3a", 726)


def test_prompt_tokens_equal_the_encoded_prompt():
    tokenizer = NanoTokenizer()
    bins = state_bins(np.random.default_rng(0).uniform(-1.1, 1.1, (len(INSTRUCTIONS), 16)))
    ids, mask = tokenizer.prompts(INSTRUCTIONS, bins)
    assert ids.max() < tokenizer.vocab_size <= 768
    for text, row_bins, row, valid in zip(INSTRUCTIONS, bins, ids, mask, strict=True):
        # encode() sees "Task:" and the instruction with its leading blank, as prompts() does.
        assert row[valid][1:].tolist() == tokenizer.encode(prompt(text, row_bins))
        assert valid.sum() == valid.argmin() or valid.all()
    assert mask.any(0).all()  # no column that is padding in every row


@pytest.fixture
def read():
    return ObservationEncoder(
        normalizer=make_normalizer(),
        tokenizer=NanoTokenizer(),
        cameras=("image_left",),
        reads_scene=True,
        image_px=64,
        prompt_format=PromptFormat.STATE,
    )


def test_images_become_channels_first_in_unit_range(read, observation):
    batch = observation(2, vision=True)
    batch["image_left"][0, 5, 7] = (255, 0, 51)
    inputs = read(batch, torch.device("cpu"))
    assert inputs.images is not None
    assert list(inputs.images) == ["image_left"]
    assert inputs.images["image_left"][0, :, 5, 7].tolist() == pytest.approx([1.0, -1.0, -0.6])


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("state", np.zeros((2, 25)), r"\[2, 16\], got \(2, 25\)"),
        ("state", np.full((2, 16), np.nan), "finite"),
        ("scene", np.zeros((2, 7)), r"\[2, 6\], got \(2, 7\)"),
        ("scene", np.zeros((3, 6)), r"\[2, 6\], got \(3, 6\)"),
        ("image_left", np.zeros((2, 64, 64, 3), np.float32), "uint8"),
        ("instruction", "open the drawer", "sequence of 2 strings"),
        ("instruction", ["open the drawer"], "sequence of 2 strings"),
    ],
)
def test_bad_parts_are_refused(read, observation, name, value, message):
    with pytest.raises(ValueError, match=message):
        read(observation(2, vision=True) | {name: value}, torch.device("cpu"))


@pytest.mark.parametrize("name", ["state", "scene", "image_left", "instruction"])
def test_missing_parts_are_refused(read, observation, name):
    batch = observation(2, vision=True)
    del batch[name]
    with pytest.raises(ValueError, match=name):
        read(batch, torch.device("cpu"))
