"""`z1 sft` and `z1 train --policy`: where policies come from, what they keep, and what is refused at the door."""

import dataclasses
import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file, save_file

from tests.z1_agent.sentencepiece_model import train_sentencepiece
from tests.z1_agent.test_pipeline import StopAfter
from tests.z1_envs.robocasa_files import Recorded, write_hdf5
from tests.z1_envs.test_lerobot import demonstrations
from z1_agent import checkpoint, finetune, start
from z1_agent.cli import main
from z1_agent.console import Stopped, StopRequest
from z1_agent.dataset import split_episodes, with_data
from z1_agent.finetune import fine_tune, held_out_loss, read_material
from z1_agent.observation import Normalizer, take
from z1_agent.openpi_names import float32_dtype, to_openpi
from z1_agent.pi05 import Pi05, pi05, pi05_nano
from z1_agent.pipeline import Training, train
from z1_agent.policy import Pi05Policy
from z1_agent.presets import FineTuneConfig, TrainConfig, cpu, load_config
from z1_agent.pretrained import PretrainedError, load_weights
from z1_agent.run import RL, SFT, Run, open_run
from z1_agent.sft import SupervisedConfig
from z1_agent.start import network_of, statistics
from z1_agent.tensor_file import Stored, read_header
from z1_agent.trainable import learns_whole
from z1_envs.demos import Demonstrations
from z1_envs.kitchen import simulation as kitchen_simulation
from z1_envs.layout import CAMERAS
from z1_envs.lerobot import INFO
from z1_envs.lerobot_writer import write_lerobot
from z1_envs.opengl import RenderError

DATA = Path(__file__).parents[1] / "data" / "pi05"
LENGTHS = (6, 7, 8, 5)
SMALL = SupervisedConfig(steps_per_round=3, max_rounds=2, batch_size=4, warmup_steps=2)
FLAGS = ["--steps-per-round", "3", "--max-rounds", "2", "--batch-size", "4", "--warmup-steps", "2"]
TRYING = [
    "--preset",
    "smoke",
    "--horizon",
    "20",
    "--eval-episodes",
    "3",
    "--grpo.num-iterations",
    "2",
    "--grpo.num-groups",
    "2",
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Datasets `pixels` and `states`, nano weights in LeRobot's layout `public`, and a tokenizer for them."""
    folder = tmp_path_factory.mktemp("place")
    write_lerobot([demonstrations(pixels=True, lengths=LENGTHS)], folder / "pixels")
    write_lerobot([demonstrations(lengths=LENGTHS)], folder / "states")
    torch.manual_seed(3)
    model = Pi05(pi05_nano(action_width=32, scene_width=0, vision=True, image_px=48, vocab_size=512))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    (folder / "public").mkdir()
    named = {f"model.{to_openpi(name)}": tensor for name, tensor in model.state_dict().items()}
    save_file(named, folder / "public" / "model.safetensors")
    train_sentencepiece(folder / "tokenizer.model")
    return folder


@pytest.fixture(scope="module")
def states_policy(place: Path) -> Path:
    assert main(["sft", "--data", str(place / "states"), "--out", str(place / "states_run"), *FLAGS]) == 0
    return place / "states_run" / "sft"


@pytest.fixture(scope="module")
def public_policy(place: Path) -> Path:
    words = ["sft", "--policy", str(place / "public"), "--tokenizer", str(place / "tokenizer.model")]
    words += ["--data", str(place / "pixels"), "--out", str(place / "public_run"), "--chunk-len", "12", *FLAGS]
    assert main(words) == 0
    return place / "public_run" / "sft"


@pytest.fixture
def no_films(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without OpenGL: films take longer than all else."""

    def no_cameras(*_arguments: object, detail: object) -> None:
        raise RenderError("OpenGL cannot start")

    monkeypatch.setattr(kitchen_simulation, "Cameras", no_cameras)


def refusal(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert main(words) == 2, words
    out, err = capsys.readouterr()
    assert err.startswith("z1: "), words
    assert err.count("\n") == 1, err
    assert out == ""
    return err


def test_public_weights_learn_the_dataset_s_numbers(place: Path, public_policy: Path) -> None:
    loaded = checkpoint.load(public_policy)
    policy = loaded.policy
    assert (loaded.task, loaded.backend) == ("OpenDrawer", "kitchen")
    assert policy.config.model == pi05_nano(
        action_width=32, chunk_len=12, scene_width=0, vision=True, image_px=48, vocab_size=512
    )
    assert policy.config.cameras == ("image_left", "image_wrist", "image_right")
    assert policy.tokenizer.content == (place / "tokenizer.model").read_bytes()
    # The last of four episodes is held out: 10 % are less than one.
    demos = demonstrations(pixels=True, lengths=LENGTHS)
    own = Normalizer.fit(demos.observation["state"][:21], demos.actions[:21], None)
    np.testing.assert_array_equal(policy.normalizer.state_q01, own.state_q01)
    np.testing.assert_array_equal(policy.normalizer.action_q99, own.action_q99)
    # Given weights: the action expert alone learns, all else has the file's bits.
    with torch.device("meta"):
        before = Pi05(policy.config.model)
    load_weights(before, place / "public", dtypes=float32_dtype)
    unread = set(policy.model.unread())
    for name, tensor in before.state_dict().items():
        learned = learns_whole(name, "action_expert") and name not in unread
        assert torch.equal(tensor, policy.model.state_dict()[name]) != learned, name


def test_the_run_says_what_it_was(place: Path, public_policy: Path) -> None:
    run = Run(public_policy.parent)
    result = json.loads(run.result.read_text())
    assert (result["episodes"], result["held_out_episodes"], result["steps"]) == (3, 1, 21)
    assert result["held_out_loss"] == min(result["held_out_losses"])
    assert result["held_out_losses"][result["best_round"]] == result["held_out_loss"]
    rounds = [line for line in run.log() if line["stage"] == SFT]
    assert [line["held_out_loss"] for line in rounds] == result["held_out_losses"]
    about = run.about()["config"]
    assert about["policy"] == str(place / "public")
    assert len(about["policy_digest"]) == 64
    report = run.report.read_text()
    assert f"{result['held_out_loss']:.4f}" in report
    assert "Flow-matching loss of each round" in report


def test_the_network_is_chosen_by_its_weights() -> None:
    full = json.loads((DATA / "openpi_pi05_full_keys.json").read_text())
    stored = {name: Stored(Path("x"), torch.bfloat16, tuple(shape), 0) for name, shape, _ in full}
    assert network_of(stored, None) == pi05()
    assert network_of(stored, 10).chunk_len == 10
    with pytest.raises(PretrainedError, match=r"networks of width 64 and 48; π0.5 has 2048 and 1024, the nano 64 and"):
        network_of(read_header(DATA / "pi05_tiny_weights.safetensors"), None)
    with pytest.raises(PretrainedError, match=r"no π0.5: embedding, image positions and action projection"):
        network_of({"x": stored[full[0][0]]}, None)


def test_an_export_is_read_again(public_policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(public_policy), str(tmp_path / "lerobot")]) == 0
    assert "not the published ones" in capsys.readouterr().out
    policy = checkpoint.load_policy(public_policy)
    with torch.device("meta"):
        again = Pi05(policy.config.model)
    load_weights(again, tmp_path / "lerobot", dtypes=float32_dtype)
    torch.testing.assert_close(dict(again.state_dict()), dict(policy.model.state_dict()), rtol=0, atol=0)
    assert "exists already" in refusal(["export", str(public_policy), str(tmp_path / "lerobot")], capsys)


def test_only_what_lerobot_has_is_exported(
    states_policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["export", str(states_policy), str(tmp_path / "lerobot")]
    assert "reads one to three cameras, this policy reads 0" in refusal(words, capsys)
    assert list(tmp_path.iterdir()) == []


def test_stopping_and_going_on_equals_going_straight(place: Path, states_policy: Path, tmp_path: Path) -> None:
    def begin(*, resume: bool) -> tuple[Run, Training[FineTuneConfig]]:
        config = with_data(FineTuneConfig(data=str(place / "states"), sft=SMALL))
        run = open_run(tmp_path / "run", config, preset="sft", command=["z1", "sft"], resume=resume)
        return run, Training(run, config, Console(quiet=True), StopAfter(run, SFT, 1 if not resume else 99))

    run, training = begin(resume=False)
    with pytest.raises(Stopped):
        fine_tune(training, read_material(training.config))
    assert not run.sft_checkpoint.exists()
    run, training = begin(resume=True)
    material = read_material(training.config, goes_on=True)
    assert material.policy is None  # the saved one is the only one in memory
    result = fine_tune(training, material)
    straight = json.loads((states_policy.parent / "result.json").read_text())
    assert (result["losses"], result["held_out_losses"]) == (straight["losses"], straight["held_out_losses"])
    weights, wanted = (load_file(path / "model.safetensors") for path in (run.sft_checkpoint, states_policy))
    assert all(torch.equal(weights[name], wanted[name]) for name in wanted)


def test_without_held_out_episodes_the_last_round_is_kept(place: Path, tmp_path: Path) -> None:
    words = ["sft", "--data", str(place / "states"), "--held-out", "0", "--out", str(tmp_path / "run"), *FLAGS]
    assert main(words) == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert (result["episodes"], result["held_out_episodes"], result["best_round"]) == (4, 0, 1)
    assert result["held_out_loss"] is None
    trainer = checkpoint.load_trainer(tmp_path / "run" / "checkpoint")
    kept = load_file(tmp_path / "run" / "sft" / "model.safetensors")
    averaged = [name for name in trainer.tensors if name.startswith("average.")]
    assert averaged
    assert all(torch.equal(trainer.tensors[name], kept[name.removeprefix("average.")]) for name in averaged)
    assert main([*words, "--resume"]) == 0


def test_a_training_that_diverges_is_one_sentence(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["sft", "--data", str(place / "states"), "--out", str(tmp_path / "run"), *FLAGS, "--learning-rate", "1e38"]
    assert main(words) == 2
    err = capsys.readouterr().err
    assert re.fullmatch(r"z1: the (loss|gradient) became (nan|inf) in round 1; lower the learning rate\n", err)
    assert not [file.name for file in (tmp_path / "run").iterdir() if file.name.startswith("checkpoint")]


def test_one_that_diverges_later_has_a_result(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    losses = iter([2.0, float("nan")])
    monkeypatch.setattr(finetune, "held_out_loss", lambda *_arguments, **_options: next(losses))
    words = ["sft", "--data", str(place / "states"), "--out", str(tmp_path / "run"), *FLAGS]
    assert main(words) == 0
    assert "The held-out score became nan in round 2: round 1 is kept" in capsys.readouterr().out
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert (result["rounds"], result["best_round"], result["held_out_losses"]) == (1, 0, [2.0])
    assert result["diverged"].startswith("The held-out score became nan in round 2")
    assert checkpoint.exists(tmp_path / "run" / "sft")


def test_a_checkpoint_keeps_its_statistics_unless_told(place: Path, states_policy: Path, tmp_path: Path) -> None:
    write_lerobot([demonstrations(lengths=(9, 9), seed=5)], tmp_path / "other")
    base = ["sft", "--policy", str(states_policy), "--data", str(tmp_path / "other"), *FLAGS]
    before = checkpoint.load_policy(states_policy).normalizer
    assert main([*base, "--out", str(tmp_path / "kept"), "--trainable", "vlm_lora", "--lora.rank", "2"]) == 0
    kept = checkpoint.load_policy(tmp_path / "kept" / "sft")
    np.testing.assert_array_equal(kept.normalizer.state_q01, before.state_q01)
    assert kept.config.adapters is not None
    assert kept.config.adapters.config.rank == 2
    words = ["--statistics", "data", "--executed-len", "4", "--denoising-steps", "3", "--compute-dtype", "bfloat16"]
    assert main([*base, "--out", str(tmp_path / "new"), *words]) == 0
    new = checkpoint.load_policy(tmp_path / "new" / "sft")
    learned, _ = split_episodes(demonstrations(lengths=(9, 9), seed=5), 0.1)
    expected = statistics(learned, with_scene=True)
    np.testing.assert_array_equal(new.normalizer.state_q01, expected.state_q01)
    assert (new.config.executed_len, new.config.sde.num_steps, new.config.compute_dtype) == (4, 3, "bfloat16")


def test_large_datasets_are_measured_a_block_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    demos = demonstrations(pixels=True, lengths=(400, 300))
    exact = statistics(demos, with_scene=False)
    monkeypatch.setattr("z1_agent.start._IN_MEMORY", 100)
    monkeypatch.setattr("z1_agent.start._BLOCK", 64)
    streamed = statistics(demos, with_scene=False)
    np.testing.assert_allclose(streamed.state_q01, exact.state_q01, atol=2e-3)
    np.testing.assert_allclose(streamed.action_q99, exact.action_q99, atol=2e-3)


def test_episodes_are_split_at_their_ends() -> None:
    demos = demonstrations(lengths=(6, 7, 8, 5, 4))
    # 40 % of five episodes are two: 5 + 4 = 9 of 30 steps.
    learned, held_out = split_episodes(demos, 0.4)
    assert held_out is not None
    assert (learned.num_episodes, len(learned.actions), learned.seeds) == (3, 21, demos.seeds[:3])
    assert (held_out.num_episodes, len(held_out.actions), held_out.seeds) == (2, 9, demos.seeds[3:])
    assert held_out.episode.tolist() == [0] * 5 + [1] * 4
    np.testing.assert_array_equal(held_out.observation["state"], demos.observation["state"][21:])
    assert split_episodes(demos, 0) == (demos, None)


def test_the_held_out_loss_is_that_of_the_policy(states_policy: Path) -> None:
    policy = checkpoint.load_policy(states_policy)
    demos = demonstrations(lengths=(6, 3))
    actions, real = demos.chunks(10)
    generator = torch.Generator().manual_seed(7)
    parts = []
    for rows in (np.array([0, 2]), np.array([5, 8])):  # 4 of steps 0..8, evenly: 0, 2.67, 5.33, 8
        loss = policy.loss(take(demos.observation, rows), actions[rows], generator, real[rows])
        parts.append((loss.item(), int(real[rows].sum())))
    expected = sum(loss * count for loss, count in parts) / sum(count for _, count in parts)
    assert held_out_loss(policy, demos, num_steps=4, batch_size=2, seed=7) == pytest.approx(expected, rel=1e-6)


def test_bad_data_are_refused_at_the_door(
    place: Path, public_policy: Path, states_policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty, order, single, broken = (tmp_path / name for name in ("empty", "order", "single", "nan.hdf5"))
    shutil.copytree(place / "states", order)
    info = json.loads((order / INFO).read_text())
    info["features"]["action"]["names"] = info["features"]["action"]["names"][::-1]
    (order / INFO).write_text(json.dumps(info))
    shutil.copytree(place / "states", empty)
    info = json.loads((empty / INFO).read_text()) | {"total_episodes": 0, "total_frames": 0}
    (empty / INFO).write_text(json.dumps(info))
    ours = json.loads((empty / "meta" / "z1.json").read_text())
    (empty / "meta" / "z1.json").write_text(json.dumps(ours | {"seeds": []}))
    write_lerobot([demonstrations(lengths=(5,))], single)
    recorded = Recorded()
    recorded.obs[1]["robot0_gripper_qpos"][2, 0] = np.nan
    write_hdf5(broken, recorded)
    with_images = str(place / "pixels")
    cases = {
        f"--data {place / 'states'} --batch-size 0": "batch_size must be a whole number of at least 1, got 0",
        f"--data {empty}": "holds no episodes; give a dataset that is not empty",
        f"--data {tmp_path / 'none'}": "write a dataset with `z1 demos`, or name one of RoboCasa's",
        f"--data {order}": "the entries of action are ",
        f"--data {single}": "holds one episode, so none can be held out",
        f"--data {broken}": "demo_10, step 2: state gripper_qpos is",
        f"--data {place / 'states'} --task CloseSingleDoor": "shows OpenDrawer, --task is CloseSingleDoor",
        f"--data {place / 'states'} --held-out 0.9": "lies in [0, 0.5], got 0.9",
        f"--data {place / 'states'} --device cuda:7": "--device 'cuda:7' is not to be had here",
        f"--data {place / 'states'} --tokenizer x": "belong to a given policy: add --policy",
        f"--data {with_images} --cameras image_top": "no camera image_top; choose among image_left",
        f"--data {place / 'states'} --policy {public_policy}": "shows state alone",
        f"--data {with_images} --policy {states_policy}": "has neither images nor the kitchen's privileged scene",
        f"--data {with_images} --policy {public_policy} --cameras image_wrist image_left image_right": (
            "was made for cameras = ['image_left', 'image_wrist', 'image_right'], the data has ['image_wrist',"
        ),
        f"--data {with_images} --policy {public_policy} --prompt-format text": "prompt_format = state, the data has",
        f"--data {with_images} --policy {public_policy} --chunk-len 10": "predicts chunks of 12 actions, not of 10",
    }
    there = sorted(path.name for path in tmp_path.iterdir())
    for words, message in cases.items():
        assert message in refusal(["sft", *words.split(), "--out", str(tmp_path / "run")], capsys), words
    assert sorted(path.name for path in tmp_path.iterdir()) == there


def test_at_the_door_prompts_and_pictures_are_read_without_the_network(
    place: Path,
    public_policy: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def no_network(*_arguments: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(Pi05, "encode", no_network)
    config = FineTuneConfig(data=str(place / "pixels"), policy=str(public_policy))
    assert read_material(with_data(config)).policy is not None
    shown = demonstrations(pixels=True, lengths=LENGTHS)
    wordy = np.array(["z" * 300] * len(shown.actions), dtype=object)
    shown = dataclasses.replace(shown, observation=shown.observation | {"instruction": wordy})
    write_lerobot([shown], tmp_path / "wordy")
    words = ["sft", "--data", str(tmp_path / "wordy"), "--policy", str(public_policy), "--out", str(tmp_path / "run")]
    assert "at most 200 fit; shorten the text" in refusal(words, capsys)
    assert not (tmp_path / "run").exists()


def test_weights_are_hashed_once_and_not_at_all_where_a_run_goes_on(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[Path] = []
    digest, begin = start._sha256, finetune.begin_fine_tuning

    def counting(files: Sequence[Path]) -> str:
        hashed.extend(files)
        return digest(files)

    monkeypatch.setattr(start, "_sha256", counting)
    words = ["sft", "--policy", str(place / "public"), "--tokenizer", str(place / "tokenizer.model"), *FLAGS]
    words += ["--data", str(place / "pixels"), "--out", str(tmp_path / "run")]
    begun: list[str | None] = []

    def noting(config: FineTuneConfig, demos: Demonstrations, *, seed: int) -> Pi05Policy:
        begun.append(config.policy)
        return begin(config, demos, seed=seed)

    monkeypatch.setattr(finetune, "begin_fine_tuning", noting)
    assert main(words) == 0
    assert hashed == [place / "public" / "model.safetensors"]
    assert len(begun) == 1
    (tmp_path / "run" / "result.json").unlink()  # as a run that was killed just before its end
    assert main([*words, "--resume"]) == 0
    assert len(begun) == 1  # the saved policy alone was read


def test_a_policy_to_be_improved_is_compared_without_its_weights(
    states_policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_weights(*_arguments: object, **_options: object) -> None:
        raise AssertionError("weights were read")

    monkeypatch.setattr(checkpoint, "load", no_weights)
    config = start.with_policy(start.policy_defaults(TrainConfig(task="OpenDrawer"), str(states_policy)))
    assert config.policy == str(states_policy)
    cut = tmp_path / "cut"
    shutil.copytree(states_policy, cut)
    (cut / "model.safetensors").write_bytes((cut / "model.safetensors").read_bytes()[:-100])
    with pytest.raises(PretrainedError, match="is not a whole safetensors file"):
        start.with_policy(start.policy_defaults(TrainConfig(task="OpenDrawer"), str(cut)))


def test_what_is_to_be_improved_brings_noise_and_its_size_the_rate(
    states_policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = cpu("OpenDrawer")
    nano = start.policy_defaults(config, str(states_policy))
    assert (nano.sde.noise, nano.grpo.learning_rate) == (config.sde.noise, config.grpo.learning_rate)
    # The paper's 5e-6 is for what 3.3 B parameters know; the nano's rate, 60 times as high, would undo it.
    published = dataclasses.replace(checkpoint.read_config(states_policy), model=pi05(), cameras=tuple(CAMERAS))
    monkeypatch.setattr(checkpoint, "read_config", lambda _path: published)
    assert start.policy_defaults(config, str(states_policy)).grpo.learning_rate == 5e-6


def test_bad_weights_are_refused_at_the_door(
    place: Path, public_policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut, pickled, other, no_model = (tmp_path / name for name in ("cut", "pickled", "other.model", "no.model"))
    for folder in (cut, pickled):
        folder.mkdir()
    content = (place / "public" / "model.safetensors").read_bytes()
    (cut / "model.safetensors").write_bytes(content[:-100])
    (pickled / "policy.pt").write_bytes(b"\x80\x04N.")
    train_sentencepiece(other, seed=1)
    no_model.write_text("x")
    damaged = tmp_path / "damaged"
    shutil.copytree(public_policy, damaged)
    (damaged / "model.safetensors").write_bytes((damaged / "model.safetensors").read_bytes()[:-100])
    cases = {
        f"--policy {cut}": "is not a whole safetensors file",
        f"--policy {damaged}": "truncated or changed; copy the directory again",
        f"--policy {pickled}": "holds policy.pt: opening a pickled file runs what is in it",
        f"--policy {tmp_path / 'none'}": "there is nothing at ",
        f"--policy {public_policy} --tokenizer {other}": "the same ids would mean other words",
        f"--policy {place / 'public'} --tokenizer {no_model}": "is not a SentencePiece model",
        f"--policy {place / 'public'} --statistics policy": "brings no statistics of this robot",
    }
    for words, message in cases.items():
        command = ["sft", "--data", str(place / "pixels"), *words.split(), "--out", str(tmp_path / "run")]
        assert message in refusal(command, capsys), words
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("no_films")
def test_a_given_policy_is_improved(states_policy: Path, tmp_path: Path) -> None:
    base = ["train", "OpenDrawer", "--policy", str(states_policy), *TRYING]
    out = tmp_path / "run"
    adapters = ["--grpo.trainable", "vlm_lora", "--grpo.lora.rank", "2", "--grpo.micro-batch-size", "8"]
    adapters += ["--grpo.recompute-layers", "--grpo.ema-decay", "0.5", "--grpo.prefix-memory-gib", "0.5"]
    assert main([*base, *adapters, "--executed-len", "5", "--compute-dtype", "bfloat16", "--out", str(out)]) == 0
    log = Run(out).log()
    assert [line["stage"] for line in log] == ["eval_sft", RL, RL, "eval_rl"]
    after = checkpoint.load_policy(out / "checkpoint")
    assert after.config.adapters is not None
    assert (after.config.executed_len, after.config.compute_dtype) == (5, "bfloat16")
    before = checkpoint.load_policy(states_policy)
    np.testing.assert_array_equal(after.normalizer.state_q01, before.normalizer.state_q01)
    result = json.loads((out / "result.json").read_text())
    assert result["env_steps"]["demonstrations"] == result["env_steps"]["sft"] == 0
    assert result["protocol"]["chunk_len"] == 5
    assert "of the given policy" in (out / "report.html").read_text()

    # Stopped after one of two iterations and gone on with, it comes to the same bits.
    config = load_config(Run(out).about()["config"])
    run = open_run(tmp_path / "parts", config, preset="smoke", command=["z1", "train"], resume=False)
    with pytest.raises(Stopped):
        train(Training(run, config, Console(quiet=True), StopAfter(run, RL, 1)))
    again = open_run(run.path, config, preset="smoke", command=["z1", "train"], resume=True)
    train(Training(again, config, Console(quiet=True), StopRequest()))
    weights, wanted = (load_file(path / "checkpoint" / "model.safetensors") for path in (run.path, out))
    assert weights.keys() == wanted.keys()
    assert all(torch.equal(weights[name], wanted[name]) for name in wanted)


@pytest.mark.usefixtures("no_films")
def test_a_resume_needs_the_same_policy(
    states_policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = tmp_path / "policy"
    shutil.copytree(states_policy, policy)
    words = ["train", "OpenDrawer", "--policy", str(policy), *TRYING, "--grpo.num-iterations", "1"]
    assert main([*words, "--out", str(tmp_path / "run")]) == 0
    assert main([*words, "--out", str(tmp_path / "run"), "--resume"]) == 0
    loaded = checkpoint.load(policy)
    with torch.no_grad():
        loaded.policy.model.action_out.bias.add_(1)
    checkpoint.save(policy, loaded.policy, task=loaded.task, backend=loaded.backend)
    error = refusal([*words, "--out", str(tmp_path / "run"), "--resume"], capsys)
    assert "holds another run: policy_digest is" in error


def test_policies_that_do_not_fit_a_training_are_refused(
    place: Path, states_policy: Path, public_policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = f"--policy {states_policy}"
    cases = {
        f"CloseSingleDoor {given}": "was trained on OpenDrawer, this is CloseSingleDoor",
        f"OpenDrawer {given} --obs pixels": "sees state, the envs are to give pixels; add --obs state",
        f"OpenDrawer {given} --chunk-len 12": "predicts chunks of 10 actions, chunk_len is 12; add --chunk-len 10",
        f"OpenDrawer --policy {public_policy} --image-px 64": "reads images of 48 px, image_px is 64; add --image-px",
        f"OpenDrawer {given} --demos {place / 'states'}": "leave out --demos, or run z1 sft",
        f"OpenDrawer {given} --sft.max-rounds 3": "without SFT: leave out it or --sft.max-rounds",
        f"OpenDrawer --policy {place / 'public'}": "holds weights alone, without the statistics of this robot's data",
        f"OpenDrawer --policy={tmp_path / 'none'}": "there is nothing at ",
        "OpenDrawer --device cuda:7": "--device 'cuda:7' is not to be had here",
        "OpenDrawer --grpo.trainable action_expert --grpo.micro-batch-size 0": "micro_batch_size must be a whole",
    }
    for words, message in cases.items():
        assert message in refusal(["train", *words.split(), "--out", str(tmp_path / "run")], capsys), words
    assert not (tmp_path / "run").exists()
