"""Normalisation, prompts and tokens."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file
from sentencepiece import SentencePieceProcessor

from tests.z1_agent.sentencepiece_model import train_sentencepiece
from z1_agent.images import resize_with_padding
from z1_agent.observation import Normalizer, ObservationEncoder
from z1_agent.paligemma_tokenizer import PaliGemmaTokenizer, TokenizerError, hub_tokenizer
from z1_agent.quantiles import NUM_BINS, RunningQuantiles
from z1_agent.tokenizer import MAX_TOKENS, NanoTokenizer, PromptFormat, prompt, state_bins
from z1_envs.tasks import TASKS

DATA = Path(__file__).parents[1] / "data" / "pi05"
PROMPTS = json.loads((DATA / "prompts.json").read_text())
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


@pytest.fixture(scope="module")
def preprocessed():
    return load_file(DATA / "pi05_preproc.safetensors")


def with_quantiles(kind: str, numbers: dict) -> Normalizer:
    """The reference's nine entries, then entries that stay as they are."""
    width = {"state": 16, "action": 12}[kind]
    rest = np.ones(width - 9)
    q01, q99 = np.append(numbers["norm.q01"], -rest), np.append(numbers["norm.q99"], rest)
    return replace(make_normalizer(), **{f"{kind}_q01": q01, f"{kind}_q99": q99})


def test_normalisation_matches_reference(preprocessed):
    x = np.pad(preprocessed["norm.x"], ((0, 0), (0, 7)))
    ours = with_quantiles("state", preprocessed).state(x)[:, :9]
    np.testing.assert_allclose(ours, preprocessed["norm.quantile"], rtol=1e-5, atol=1e-6)


def test_actions_come_back_as_in_reference(preprocessed):
    normalizer = with_quantiles("action", preprocessed)
    assert normalizer.action_moves[:9].all()
    ours = normalizer.env_action(preprocessed["unnorm.x"][:, :12])[:, :9]
    theirs = preprocessed["unnorm.quantile"][:, :9]
    assert (np.abs(theirs) < 1).any()
    np.testing.assert_allclose(ours, np.clip(theirs, -1, 1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", ["120x90", "256x256", "480x640"])
def test_resized_images_are_the_reference_s_bit_for_bit(preprocessed, size):
    image = preprocessed[f"resize.in.{size}"]
    resized = resize_with_padding(np.stack([image, image[::-1]]), 224)
    np.testing.assert_array_equal(resized[0], preprocessed[f"resize.pil.{size}"])
    assert not np.array_equal(resized[0], resized[1])


def test_very_long_images_keep_a_line():
    assert resize_with_padding(np.full((1, 1, 896, 3), 9, np.uint8), 224).sum() == 9 * 224 * 3


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


def test_streamed_statistics_equal_those_of_all_data_within_the_bound():
    rng = np.random.default_rng(3)
    state, actions = rng.normal(0, 3, (5000, 16)), rng.uniform(-1, 1, (5000, 12))
    state[:, 3] = 0.7
    state[4000:, 5] += 100  # a range that grows late
    batches = [(state[i : i + 700], actions[i : i + 700]) for i in range(0, 5000, 700)]
    streamed, whole = Normalizer.fit_stream(iter(batches)), Normalizer.fit(state, actions, None)
    for name in ("state_q01", "state_q99", "action_q01", "action_q99"):
        data = state if name.startswith("state") else actions
        difference = np.abs(getattr(streamed, name) - getattr(whole, name))
        assert (difference <= np.maximum(np.ptp(data, axis=0) / 4000, 1e-6)).all(), name
    with pytest.raises(ValueError, match="give a dataset that is not empty"):
        Normalizer.fit_stream([])


@given(
    st.lists(
        st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=40),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from([0.0, 0.01, 0.5, 0.99, 1.0]),
)
def test_running_quantiles_stay_within_a_bin(batches, share):
    running = RunningQuantiles(1)
    for batch in batches:
        running.add(np.array(batch)[:, None])
    numbers = np.concatenate([np.array(batch) for batch in batches])
    width = running.bin_width[0]
    assert abs(running.quantile(share)[0] - np.quantile(numbers, share)) <= width * (1 + 1e-9)
    assert width <= max(4 * np.ptp(numbers) / NUM_BINS, np.abs(numbers).max() * 2.0**-39, 2.0**-40)


@pytest.mark.parametrize("rows", [np.zeros((3, 2)), np.full((3, 1), np.nan), np.zeros(3)])
def test_rows_that_are_no_data_are_refused(rows):
    with pytest.raises(ValueError, match=r"finite rows \[N, 1\]"):
        RunningQuantiles(1).add(rows)


def test_constant_entries_stay_small():
    normalizer = make_normalizer()
    state, action = np.zeros(16), np.zeros(12)
    state[3], action[11] = 0.7, -1.0
    assert abs(normalizer.state(state)[3]) < 1e-4
    assert abs(normalizer.action(action)[11]) < 1e-4
    assert not normalizer.action_moves[11]
    assert normalizer.env_action(np.full(12, 0.7))[11] == pytest.approx(-1.0)  # noise on it goes nowhere
    assert normalizer.scene(np.full(6, 1e6)).max() == 10.0


def test_rare_deviations_are_no_target():
    """Entry 11 is 1 in 0.8 % of the steps: too rare to move its quantiles, and 200 widths of its interval away."""
    normalizer = make_normalizer()
    usual, rare = np.zeros(12), np.zeros(12)
    usual[11], rare[11] = -1.0, 1.0
    assert normalizer.action(rare)[11] == 0
    assert normalizer.env_action(normalizer.action(rare))[11] == pytest.approx(-1.0)  # what is played in its place
    rare[11] = -0.992  # within the interval of ±0.01 it stays what it is
    assert normalizer.action(rare)[11] == pytest.approx(0.8, abs=1e-3)
    rare[:] = usual
    rare[0] = 1.3  # entries that move may leave theirs
    assert normalizer.action(rare)[0] > 1.2
    # What the entry always is keeps its last bit, not quite 0: results that were published rest on it.
    quantiles = normalizer.action_q01[11], normalizer.action_q99[11]
    plain = ((usual[11] - quantiles[0]) / (quantiles[1] - quantiles[0] + 1e-6) * 2 - 1).astype(np.float32)
    assert normalizer.action(usual)[11] == plain != 0


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


def test_no_task_s_prompt_comes_near_the_limit():
    templates = [re.sub(r"{\w+}", "unheard-of thing", task.instruction) for task in TASKS.values()]
    _, mask = NanoTokenizer().prompts(templates, np.full((len(templates), 16), 255))
    assert mask.sum(1).max() < MAX_TOKENS / 2


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
        ("image_left", np.zeros((2, 64, 64, 4), np.uint8), r"height, width, 3\], got uint8 \[2, 64, 64, 4\]"),
        ("image_left", np.zeros((2, 3, 64, 64), np.uint8), "uint8"),
        ("image_left", np.zeros((3, 64, 64, 3), np.uint8), "uint8"),
        ("image_left", np.zeros((2, 0, 64, 3), np.uint8), "uint8"),
        ("image_left", np.zeros((64, 64, 3), np.uint8), "uint8"),
        ("image_left", None, "all of image_left are None"),
        ("instruction", "open the drawer", "sequence of 2 strings"),
        ("instruction", ["open the drawer"], "sequence of 2 strings"),
        ("instruction", ["open the drawer", " _\n"], r"instruction 1 is ' _\\n'; say in words"),
        ("instruction", ["open the drawer", None], "instruction 1 is None; say in words"),
        ("state", np.zeros((0, 16)), "a batch of 0"),
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


def test_images_of_another_size_are_resized(read, observation):
    batch = observation(2, vision=True)
    batch["image_left"] = np.full((2, 96, 48, 3), 255, np.uint8)
    images = read(batch, torch.device("cpu")).images
    assert images["image_left"].shape == (2, 3, 64, 64)
    # 96 × 48 becomes 64 × 32: 16 columns of black, which is -1, on either side.
    assert images["image_left"][0, 0, 10].tolist() == [-1.0] * 16 + [1.0] * 32 + [-1.0] * 16


def test_a_camera_that_is_not_there_is_a_masked_image_without_its_tokens(nano_policy, observation):
    policy = nano_policy(vision=True)
    batch = observation(2, vision=True) | {"image_right": None}
    without = policy.encode(batch)
    inputs = ObservationEncoder(
        normalizer=policy.normalizer,
        tokenizer=policy.tokenizer,
        cameras=policy.config.cameras,
        reads_scene=True,
        image_px=64,
        prompt_format=PromptFormat.STATE,
    )(observation(2, vision=True), policy.device)
    present = torch.ones(2, dtype=torch.bool)
    masks = {"image_left": present, "image_right": ~present, "image_wrist": present}
    zero = inputs.images | {"image_right": torch.zeros(2, 3, 64, 64)}
    masked = policy.model.encode(inputs.tokens, inputs.token_mask, zero, masks, inputs.scene)
    assert masked.mask.shape == without.mask.shape
    x, t = torch.randn(2, 10, 12), torch.full((2,), 0.7)
    torch.testing.assert_close(policy.model.velocity(without, x, t), policy.model.velocity(masked, x, t))


def test_prompts_without_state_say_the_instruction_alone():
    tokenizer = NanoTokenizer()
    ids, mask = tokenizer.prompts([" open_the drawer\n", "close"], None)
    assert [tokenizer.decode(row[valid]) for row, valid in zip(ids, mask, strict=True)] == [
        "open the drawer\n",
        "close\n",
    ]


@pytest.fixture(scope="module")
def sentencepiece_file(tmp_path_factory) -> Path:
    return train_sentencepiece(tmp_path_factory.mktemp("tokenizer") / "tokenizer.model")


@pytest.mark.parametrize("case", CASES)
def test_sentencepiece_reads_the_reference_s_prompts(sentencepiece_file, case):
    tokenizer = PaliGemmaTokenizer(sentencepiece_file)
    bins = state_bins(np.array([case["state"], case["state"]], np.float32))
    ids, mask = tokenizer.prompts([case["prompt"], "open"], bins)
    assert ids[0, 0] == 2  # the beginning
    assert tokenizer.decode(ids[0][mask[0]].tolist()) == case["text"]
    assert mask[0].all()
    assert not ids[1][~mask[1]].any()
    assert mask[1].sum() == mask[1].argmin()


def test_sentencepiece_reads_prompts_without_state(sentencepiece_file):
    tokenizer = PaliGemmaTokenizer(sentencepiece_file)
    ids, mask = tokenizer.prompts([" open_the drawer\n", "open"], None)
    model = SentencePieceProcessor(model_file=str(sentencepiece_file))
    assert ids[0].tolist() == [2, *model.encode("open the drawer"), *model.encode("\n")]
    assert ids[1][mask[1]].tolist() == [2, *model.encode("open"), *model.encode("\n")]


def test_prompts_that_do_not_fit_are_refused(sentencepiece_file):
    tokenizer = PaliGemmaTokenizer(sentencepiece_file)
    with pytest.raises(ValueError, match=r"takes 205 tokens, at most 200 fit; shorten"):
        tokenizer.prompts(["z" * 203], None)  # each z a token, a beginning and a line break
    # To the nano vocabulary each is a byte of its own; with them stand four marks, a blank and 16 bins.
    bins = np.zeros((2, 16), np.int64)
    with pytest.raises(ValueError, match=r"the prompt of '#{80}…' takes 219 tokens, at most 200 fit; shorten the text"):
        NanoTokenizer().prompts(["open", "#" * 198], bins)
    with pytest.raises(ValueError, match="at most 200 fit"):
        NanoTokenizer().prompts(["#" * 199], None)
    assert NanoTokenizer().prompts(["#" * 198], None)[1].sum() == 200  # a beginning and a line break
    with pytest.raises(ValueError, match="instruction 0 is ''"):
        tokenizer.prompts([""], None)


def test_files_that_are_no_tokenizer_are_refused(tmp_path):
    with pytest.raises(TokenizerError, match=r"none\.model is not a SentencePiece model"):
        PaliGemmaTokenizer(tmp_path / "none.model")
    for content in (b"", b"not a model", b"\x80\x04."):
        (tmp_path / "x.model").write_bytes(content)
        with pytest.raises(TokenizerError, match=r"give PaliGemma's tokenizer\.model"):
            PaliGemmaTokenizer(tmp_path / "x.model")


def test_paligemma_s_tokenizer_comes_from_the_hub_s_cache(sentencepiece_file, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(TokenizerError, match="accept its terms there and log in"):
        hub_tokenizer()
    repository = tmp_path / "models--google--paligemma-3b-pt-224"
    (repository / "snapshots" / ("a" * 40)).mkdir(parents=True)
    (repository / "snapshots" / ("a" * 40) / "tokenizer.model").write_bytes(sentencepiece_file.read_bytes())
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40)
    assert hub_tokenizer().name == PaliGemmaTokenizer(sentencepiece_file).name
