"""The official RoboCasa as the backend of a training: nothing on the way needs the embedded kitchen."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from z1_agent import checkpoint
from z1_agent.cli import main
from z1_envs.evaluate import Report
from z1_envs.lerobot import read_header
from z1_envs.robocasa.assets import STAND_IN_BACKEND, write_stand_in
from z1_envs.robocasa.versions import ASSETS_VARIABLE

ROOT = Path(__file__).parents[2]
# Films of the official RoboCasa, which take as long as all else here, have tests of their own.
WITHOUT_FILMS = "pipeline.film_policy = lambda *_films, **_options: None"
Z1 = ["-c", f"import sys; from z1_agent import cli, pipeline; {WITHOUT_FILMS}; sys.exit(cli.main())"]
SMALL_SFT = ["--steps-per-round", "3", "--max-rounds", "1", "--batch-size", "4", "--held-out", "0.5"]
SMALL = ["--preset", "smoke", "--backend", "robocasa", "--image-px", "64", "--horizon", "20", "--threads", "1"]
SMALL += ["--eval-episodes", "1", "--grpo.num-iterations", "1", "--grpo.num-groups", "2", "--grpo.group-size", "2"]


def test_without_robocasa_the_backend_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert main(["train", "OpenDrawer", "--backend", "robocasa"]) == 2
    assert 'which is not installed: pip install -e ".[robocasa]"' in capsys.readouterr().err


@pytest.mark.robocasa
@pytest.mark.slow
def test_sft_and_grpo_on_the_official_env(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("robosuite", reason="needs the extra `robocasa`", exc_type=ImportError)
    # RoboCasa reads its folder of assets once, so what simulates runs in processes of its own.
    env = os.environ | {ASSETS_VARIABLE: str(tmp_path / "pack"), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

    def run(*words: str) -> str:
        done = subprocess.run([sys.executable, *words], cwd=ROOT, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    write_stand_in(tmp_path / "pack")
    data, sft, trained = (str(tmp_path / name) for name in ("data", "sft", "run"))
    run("-m", "tests.z1_agent.official_episodes", data)
    header = read_header(Path(data))
    assert (header.backend, header.obs, header.image_px) == (STAND_IN_BACKEND, "pixels", 64)

    assert main(["sft", "--data", data, "--out", sft, *SMALL_SFT]) == 0
    policy = str(Path(sft) / "sft")
    assert checkpoint.load(Path(policy)).backend == STAND_IN_BACKEND

    assert main(["train", "OpenDrawer", *SMALL, "--out", trained]) == 2
    assert "the scripted experts are the embedded kitchen's" in capsys.readouterr().err

    run(*Z1, "train", "OpenDrawer", *SMALL, "--policy", policy, "--out", trained)
    result = json.loads((Path(trained) / "result.json").read_text())
    assert result["backend"] == result["protocol"]["backend"] == STAND_IN_BACKEND
    assert result["protocol"]["image_px"] == 64
    assert checkpoint.load(Path(trained) / "checkpoint").backend == STAND_IN_BACKEND
    before, after = (Report.from_json((Path(trained) / f"eval_{name}.json").read_text()) for name in ("sft", "rl"))
    assert before.seeds.tolist() == after.seeds.tolist()
    [line] = [json.loads(row) for row in (Path(trained) / "log.jsonl").read_text().splitlines() if '"rl"' in row]
    assert line["env_steps"] > 0
    assert (Path(trained) / "report.html").exists()

    found = tmp_path / "report.json"
    words = ["--split", "test", "--episodes", "2", "--horizon", "20", "--threads", "1", "--json", str(found)]
    assert "OpenDrawer: " in run(*Z1, "eval", policy, *words)
    report = Report.from_json(found.read_text())
    asked = report.protocol
    assert (asked.backend, asked.split, asked.horizon, asked.image_px) == (STAND_IN_BACKEND, "test", 20, 64)
    assert report.seeds.tolist() == [0, 1]
