"""The command line: what is refused, with which words, and what Ctrl-C leaves."""

import importlib.util
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from tests.z1_agent.test_pipeline import draws
from z1_agent import checkpoint
from z1_agent.cli import main
from z1_agent.doctor import Finding, examine, show
from z1_agent.flow import FlowSDE
from z1_agent.observation import Normalizer
from z1_agent.pi05 import pi05_nano
from z1_agent.pipeline import collect_demonstrations, stream_seed
from z1_agent.policy import Pi05Policy, PolicyConfig
from z1_agent.presets import load_config
from z1_agent.tokenizer import NanoTokenizer
from z1_envs.evaluate import Report
from z1_envs.kitchen import demos as kitchen_demos
from z1_envs.layout import ACTION, SCENE, STATE
from z1_envs.lerobot import read_header, read_lerobot
from z1_envs.robocasa.versions import ASSETS_VARIABLE, installed

ROOT = Path(__file__).parents[2]
RUN_Z1 = [sys.executable, "-c", "import sys; from z1_agent.cli import main; sys.exit(main())"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a policy that has learned nothing."""
    torch.manual_seed(0)
    data = [np.random.default_rng(0).uniform(-1, 1, (100, part.width)) for part in (STATE, ACTION, SCENE)]
    config = PolicyConfig(model=pi05_nano(scene_width=SCENE.width, vision=False), sde=FlowSDE(), executed_len=10)
    policy = Pi05Policy(config, Normalizer.fit(*data), NanoTokenizer())
    path = tmp_path_factory.mktemp("saved") / "policy"
    checkpoint.save(path, policy, task="OpenDrawer", backend="kitchen")
    return path


def test_what_is_wrong_is_one_sentence_and_exit_code_2(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    foreign, cut, used = tmp_path / "foreign", tmp_path / "cut", tmp_path / "used"
    for path in (foreign, cut, used):
        path.mkdir()
    (foreign / "manifest.json").write_text('{"kind": "other-policy"}')
    for file in saved.iterdir():
        (cut / file.name).write_bytes(file.read_bytes()[: -100 if file.suffix == ".safetensors" else None])
    (used / "notes.txt").write_text("mine")
    (used / "tree.mp4").write_text("mine")
    cases = {
        "train OpenDrawr": "unknown task 'OpenDrawr': did you mean OpenDrawer",
        "train OpenDrawer --eval-episodes 0": "eval_episodes must be a whole number of at least 1, got 0",
        "train OpenDrawer --grpo.group-size 1": "group_size must be a whole number of at least 2, got 1",
        "train OpenDrawer --grpo.gamma 1.5": "gamma must lie in (0, 1], got 1.5",
        "train OpenDrawer --grpo.trunk.start 24": "a trunk of 24 decisions is a whole episode (24)",
        "train OpenDrawer --grpo.trunk.until 0": "until must lie in (0, 1], got 0.0",
        "train OpenDrawer --sft.patience 0": "patience must be a whole number of at least 1, got 0",
        "train OpenDrawer --obs pixels --image-px 50": "image_px must be a multiple of 16",
        "train OpenDrawer --obs pixels --image-px 16": "image_px must lie in 32..640, got 16",
        "train OpenDrawer --seed -1": "seed must be a whole number of at least 0, got -1",
        f"train OpenDrawer --out {used}": f"{used} is in use: give another --out",
        f"train OpenDrawer --out {tmp_path / 'no'} --resume": "there is no run to resume",
        f"eval {tmp_path / 'none'}": "none does not exist; give the directory of a checkpoint, such as RUN/checkpoint",
        f"eval {foreign}": "holds 'other-policy', expected 'z1-policy'",
        f"eval {cut}": "truncated or changed; copy the directory again",
        f"eval {saved} --episodes 0": "--episodes must be at least 1, got 0",
        f"eval {saved} --task OpenDraw": "did you mean OpenDrawer",
        f"eval {saved} --json {tmp_path / 'no' / 'x.json'}": "create it, or give another file",
        f"train OpenDrawer --out {used / 'notes.txt' / 'x'}": "Not a directory; give another --out",
        "train OpenDrawer --out /proc/x": "cannot write to /proc/x: No such file or directory; give another --out",
        "train OpenDrawer --threads 0": "--threads must be at least 1, got 0",
        f"eval {saved} --threads -1": "--threads must be at least 1, got -1",
        f"eval {saved} --horizon 0": "--horizon must be at least 1, got 0",
        f"eval {saved} --json {used}": f"{used} is a directory, --json takes a file",
        "record OpenDrawer --horizon 0": "--horizon must be at least 1, got 0",
        "record OpenDrawer --out /proc/x": "cannot write to /proc/x",
        f"record OpenDrawer --out {used}": f"already: {used / 'tree.mp4'}; move them away, or give another",
        "record": "name a task for the scripted expert to play, or give --all or --checkpoint",
        "record OpenDrawer --backend robocasa": "plays in the embedded kitchen alone: give --checkpoint",
        f"record --checkpoint {saved} --backend robocasa": "sees the kitchen's privileged scene, the official RoboCasa",
        "record --all --backend robocasa": "plays in the embedded kitchen alone: give --checkpoint",
        "record OpenDrawr": "unknown task 'OpenDrawr': did you mean OpenDrawer",
        "record OpenDrawer --all": "give it without a task and --checkpoint",
        "record --all --trunk-len 3": "films no trees and asks no policy: leave out --trunk-len",
        "demos --check drawer --noise 0.3": "and says all of it; leave out --noise",
        "record --all --horizon 0": "--horizon must be at least 1, got 0",
        f"record --all --out {used / 'notes.txt'}": "is a file, expected a directory",
        f"record OpenDrawer --out {used / 'notes.txt'}": "is a file, expected a directory",
        f"demos OpenDrawer --episodes 0 --out {tmp_path / 'no'}": "--episodes must be at least 1, got 0",
        f"demos OpenDrawer --episodes 2 --out {used}": f"{used} exists already; give another --out",
        f"demos OpenDrawer --episodes 2 --out {tmp_path / 'no'} --noise -1": "--noise must be a number from 0 on",
        f"demos OpenDrawer --episodes 2 --out {tmp_path / 'no'} --seed -1": "--seed must not be negative, got -1",
        f"demos OpenDrawer --episodes 2 --out {tmp_path / 'no'} --obs pixels --image-px 33": "must be even for videos",
        f"demos OpenDrawer --episodes 2 --out {tmp_path / 'no'} --obs pixels --image-px 8": "must lie in [32, 640]",
        "demos OpenDrawer --episodes 2 --out /proc/x/y": "cannot write to /proc/x",
        f"train OpenDrawer --demos {used}": f"{used} is no LeRobot dataset",
    }
    for words, message in cases.items():
        assert main(words.split()) == 2, words
        out, err = capsys.readouterr()
        assert message in err, words
        assert err.startswith("z1: "), words
        assert err.count("\n") == 1, words
        assert out == "", words
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut", "foreign", "used"]
    assert torch.get_num_threads() == 1


def test_an_unknown_flag_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["train", "OpenDrawer", "--learn-fast"])
    assert left.value.code == 2
    assert "--learn-fast" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--demos", "drawer", "--sft.num-demos", "20"],
            "takes all episodes of the dataset, --sft.num-demos is about the expert's",
        ),
        (["--demos", "drawer", "--sft.demo_noise=0.3"], "--sft.demo-noise is about the expert's"),
        (
            ["--grpo.branching", "flat", "--grpo.schedule", "phase"],
            "'phase' says where trunks end, and flat groups",
        ),
    ],
)
def test_what_would_have_no_effect_is_refused(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "OpenDrawer", *words, "--out", str(tmp_path / "run")]) != 0
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "run").exists()


def test_eval_writes_the_report(saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["eval", str(saved), "--task", "CloseSingleDoor", "--episodes", "5", "--seed", "3", "--horizon", "20"]
    assert main([*words, "--json", str(tmp_path / "report.json")]) == 0
    report = Report.from_json((tmp_path / "report.json").read_text())
    assert report.seeds.tolist() == [3, 4, 5, 6, 7]
    assert (report.task, report.protocol.horizon, report.protocol.chunk_len) == ("CloseSingleDoor", 20, 10)
    assert report.protocol_hash in capsys.readouterr().out


def test_list_has_all_tasks(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    rows = capsys.readouterr().out
    assert rows.count("pick and place") == 8
    assert any("CloseDrawer" in row and "close the {side} drawer" in row for row in rows.splitlines()), "one line each"


def test_record_films_the_expert_and_a_policy(saved: Path, tmp_path: Path) -> None:
    if not draws():
        pytest.skip("no OpenGL here; `z1 doctor` says how to get it")
    for whom in (["CloseSingleDoor"], ["--checkpoint", str(saved)]):
        out = tmp_path / whom[0]
        assert main(["record", *whom, "--out", str(out), "--horizon", "20", "--trunk-len", "4"]) == 0
        assert sorted(path.name for path in out.iterdir()) == ["rollout.mp4", "tree.mp4"]
        assert all(1_000 < path.stat().st_size < 1_000_000 for path in out.iterdir())


def test_a_flag_is_not_the_value_of_the_one_before(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "OpenDrawer", "--policy", "--resume"])
    assert "Missing value for argument '--policy'" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_without_a_command_all_are_listed(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "train     Train a policy: demonstrations, SFT, evaluation, GRPO" in out
    assert "eval      Evaluate a checkpoint on episodes SEED, SEED + 1, …\n" in out


def test_the_help_of_a_training_is_that_of_its_task(capsys: pytest.CaptureFixture[str]) -> None:
    shown = {}
    for words in ("PnPCounterToCab --help", "--help OpenDrawer", "Z1-RoboCasa-OpenDrawer --preset smoke --help"):
        with pytest.raises(SystemExit):
            main(["train", *words.split()])
        shown[words] = capsys.readouterr().out
    numbers = [
        re.findall(r"--(?:horizon|sft\.num-demos) INT +[│ \n]*\(default: (\d+)\)", text) for text in shown.values()
    ]
    assert numbers == [["200", "160"], ["120", "8"], ["60", "4"]]
    assert not any("Defaults differ by task" in text for text in shown.values())
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    assert "Shown are PnPCounterToCab's: z1 train TASK --help shows" in " ".join(capsys.readouterr().out.split())
    assert all("validation_episodes: held-out episodes that stop SFT" in " ".join(t.split()) for t in shown.values())


def test_a_help_may_be_cut_short() -> None:
    reads, writes = os.pipe()
    os.close(reads)  # as `| head` does, once it has its lines
    done = subprocess.run([*RUN_Z1, "train", "--help"], cwd=ROOT, stdout=writes, stderr=subprocess.PIPE, text=True)
    os.close(writes)
    assert (done.returncode, done.stderr) == (1, "")


def test_what_sees_images_has_defaults_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("obs", "sft.num-demos", "grpo.branching", "grpo.trainable")
    for words, expected in {
        "": ["state", "8", "trunk", "all"],
        "--obs pixels": ["pixels", "100", "flat", "action_expert"],
        "--obs=pixels --preset smoke": ["pixels", "4", "flat", "action_expert"],
    }.items():
        with pytest.raises(SystemExit):
            main(["train", "OpenDrawer", *words.split(), "--help"])
        shown = capsys.readouterr().out
        patterns = [rf"--{re.escape(flag)} [^\n]*?[│ \n]*\(default: ([^)]+)\)" for flag in flags]
        assert [re.findall(pattern, shown) for pattern in patterns] == [[value] for value in expected]


def test_demos_are_collected_and_trained_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drawer, door = tmp_path / "drawer", tmp_path / "deep" / "door"
    collect = ["--episodes", "3", "--seed", "4", "--noise", "0.1"]
    assert main(["demos", "OpenDrawer", *collect, "--out", str(drawer)]) == 0
    assert main(["demos", "CloseSingleDoor", *collect, "--out", str(door), "--horizon", "80", "--threads", "1"]) == 0
    assert "CloseSingleDoor: 3 episodes of" in capsys.readouterr().out
    demos = read_lerobot(door)
    seed = stream_seed(4, "z1 demos")  # not 4: `z1 eval --seed 4` would ask for what was shown
    expected = kitchen_demos.collect("CloseSingleDoor", num_episodes=3, seed=seed, noise=0.1, horizon=80)
    assert demos.actions.tobytes() == expected.actions.tobytes()
    assert demos.observation["scene"].tobytes() == expected.observation["scene"].tobytes()
    assert demos.seeds == expected.seeds

    small = ["--preset", "smoke", "--horizon", "20", "--validation-episodes", "2", "--eval-episodes", "2"]
    small += ["--sft.max-rounds", "1", "--grpo.num-iterations", "1", "--grpo.num-groups", "2"]
    run = tmp_path / "run"
    train = ["train", "CloseSingleDoor", *small, "--out", str(run), "--demos", str(door)]
    assert main(train) == 0
    config = json.loads((run / "config.json").read_text())["config"]
    assert config["demos"] == str(door)
    assert config["demos_digest"] == read_header(door).digest
    assert config["sft"]["num_demos"] == 3
    assert collect_demonstrations(load_config(config)).actions.tobytes() == expected.actions.tobytes()
    logged = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert logged[0]["kept_steps"] == len(expected.actions)
    assert logged[0]["env_steps"] == expected.simulated_steps
    assert main([*train, "--resume"]) == 0

    capsys.readouterr()
    refusals = {
        "OpenDrawer --demos": f"{door} shows CloseSingleDoor on 'kitchen', this is OpenDrawer",
        "CloseSingleDoor --obs pixels --demos": f"{door} shows state, the policy is to see pixels; add --obs state",
    }
    for words, message in refusals.items():
        assert main(["train", *words.split(), str(door), "--out", str(tmp_path / "no")]) == 2
        assert message in capsys.readouterr().err
    shutil.rmtree(door)
    assert main(["demos", "CloseSingleDoor", "--episodes", "3", "--out", str(door)]) == 0
    assert main([*train, "--resume"]) == 2
    assert "holds another run: demos_digest is" in capsys.readouterr().err


def test_an_expert_that_fails_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["demos", "OpenDrawer", "--episodes", "2", "--horizon", "3", "--out", str(tmp_path / "deep" / "drawer")]
    assert main(words) == 2
    assert "won 0 of 16 episodes with action noise 0.15; lower the noise, or raise" in capsys.readouterr().err
    assert list((tmp_path / "deep").iterdir()) == []


def test_doctor_says_how_to_mend_what_is_needed() -> None:
    findings = [
        Finding(name="cores", found="2"),
        Finding(name="OpenGL", found="no images", good=False, mend="apt-get install libegl1"),
    ]
    text = io.StringIO()
    assert show(findings, Console(file=text)) == 0
    assert "mend: apt-get install libegl1" in text.getvalue()
    assert text.getvalue().endswith("Ready to train on state; images lack OpenGL.\n")
    text = io.StringIO()
    assert show([Finding(name="OpenGL", found="egl: drew a test frame, 190 shades")], Console(file=text)) == 0
    assert text.getvalue().endswith("Ready to train on state and on images.\n")
    text = io.StringIO()
    needed = Finding(name="disk", found="0 GB", good=False, needed=True, mend="give an --out on another disk")
    assert show([*findings, needed], Console(file=text)) == 1
    assert "Training needs: disk" in text.getvalue()


def test_without_opengl_the_doctor_and_states_work(tmp_path: Path) -> None:
    off = os.environ | {"MUJOCO_GL": "off"}
    done = subprocess.run([*RUN_Z1, "doctor"], cwd=ROOT, env=off, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "libegl1" in done.stdout
    words = ["train", "OpenDrawer", "--obs", "pixels", "--out", str(tmp_path / "run")]
    refused = subprocess.run([*RUN_Z1, *words], cwd=ROOT, env=off, capture_output=True, text=True)
    assert refused.returncode == 2
    assert "MUJOCO_GL=egl" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (tmp_path / "run").exists()


def test_the_doctor_says_how_to_install_robocasa(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    finding = next(finding for finding in examine() if finding.name == "RoboCasa")
    assert (finding.good, finding.needed) == (False, False)
    assert finding.found == "the official backend needs robosuite, which is not installed"
    assert finding.mend == 'pip install -e ".[robocasa]" in an environment of its own (docs/robocasa.md)'


def test_assets_without_robocasa_are_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for words in (["assets", "check"], ["assets", "stand-in", str(tmp_path / "pack")]):
        assert main(words) == 2
        assert capsys.readouterr().err == (
            'z1: the official backend needs robocasa, which is not installed: pip install -e ".[robocasa]" in an '
            "environment of its own (docs/robocasa.md)\n"
        )
    assert main(["assets", "check", "OpenDrawers"]) == 2
    assert "did you mean OpenDrawer" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.robocasa
class TestWithRoboCasa:
    @pytest.fixture(autouse=True)
    def _installed(self) -> None:
        pytest.importorskip("robosuite", reason="needs the extra `robocasa`", exc_type=ImportError)

    def test_stand_ins_are_written_and_checked(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(ASSETS_VARIABLE, str(tmp_path / "[pack]"))
        assert main(["assets", "check"]) == 1
        assert f"stand-ins there with: z1 assets stand-in {tmp_path}/[pack]" in capsys.readouterr().out
        assert main(["assets", "stand-in", str(tmp_path / "[pack]")]) == 0
        assert f"export {ASSETS_VARIABLE}={tmp_path}/[pack]" in capsys.readouterr().out
        assert main(["assets", "check", "OpenDrawer"]) == 0
        assert "infos and reports say robocasa-stand-in" in capsys.readouterr().out
        assert main(["assets", "stand-in", str(tmp_path / "[pack]")]) == 2
        assert "is not empty: choose a new folder" in capsys.readouterr().err

    def test_missing_packs_are_listed(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        shutil.copytree(installed().assets, tmp_path / "official")
        assert main(["assets", "check", "--folder", str(tmp_path / "official")]) == 1
        lines = capsys.readouterr().out.splitlines()
        names = ["tex", "tex_generative", "fixtures_lw", "objs_objaverse", "objs_lw"]
        assert [line.split()[:2] for line in lines[1:6]] == [["missing", name] for name in names]
        assert f"robocasa-download-assets -y --type {' '.join(names)}" in lines[6]

    def test_the_doctor_explains_the_official_backend(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(ASSETS_VARIABLE, str(tmp_path))
        monkeypatch.setenv("OPENBLAS_NUM_THREADS", "4")
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        found = {finding.name.strip(): finding for finding in examine()}
        assert found["RoboCasa"].found.startswith("v1.0.1 in ")
        assert "z1 assets stand-in FOLDER" in found["its assets"].mend
        assert "export OMP_NUM_THREADS=1" in found["BLAS threads"].mend
        assert not any(found[name].needed for name in ("RoboCasa", "its assets", "its images", "BLAS threads"))


def test_the_doctor_names_an_unknown_opengl() -> None:
    bogus = os.environ | {"MUJOCO_GL": "Bogus"}
    done = subprocess.run([*RUN_Z1, "doctor"], cwd=ROOT, env=bogus, capture_output=True, text=True)
    said = " ".join(done.stdout.split())
    assert "MUJOCO_GL=bogus is unknown" in said
    assert "set MUJOCO_GL to egl, osmesa, glfw, or unset it" in said
    assert "Traceback" not in done.stderr


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = [*RUN_Z1, "train", "CloseSingleDoor", "--preset", "smoke", "--out", str(out)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline, log = time.monotonic() + 120, out / "log.jsonl"
        while process.poll() is None and time.monotonic() < deadline:
            if log.exists() and "demonstrations" in log.read_text():
                break  # SFT begins
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 130, stderr
    assert f"Go on with: z1 train CloseSingleDoor --preset smoke --out {out} --resume" in stdout
    assert len(checkpoint.load_trainer(out / "checkpoint").values["score"]) >= 1
    assert json.loads((out / "config.json").read_text())["preset"] == "smoke"
