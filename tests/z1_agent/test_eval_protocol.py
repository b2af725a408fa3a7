"""`z1 eval` with --protocol or --backend: what it prescribes cannot be changed, what cannot be run is refused."""

from pathlib import Path

import pytest

from tests.z1_envs.test_lerobot import demonstrations
from z1_agent import checkpoint
from z1_agent.cli import main
from z1_agent.pipeline import new_policy
from z1_agent.presets import TrainConfig
from z1_envs.evaluate import Report
from z1_envs.protocols import PROTOCOLS


def save(folder: Path, *, pixels: bool, backend: str = "kitchen") -> Path:
    config = TrainConfig(task="OpenDrawer", obs="pixels" if pixels else "state", image_px=32)
    checkpoint.save(folder, new_policy(config, demonstrations(pixels=pixels)), task="OpenDrawer", backend=backend)
    return folder


def refusal(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("z1: ")
    assert error.count("\n") == 1
    return error


def test_what_cannot_be_evaluated_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sees = ["eval", str(save(tmp_path / "sees", pixels=True)), "--protocol"]
    assert "take one of cosmos, cosmos-on-1.0.1" in refusal([*sees, "kosmos"], capsys)
    error = refusal([*sees, "cosmos", "--episodes", "5", "--split", "test"], capsys)
    assert "'cosmos' prescribes what --split and --episodes would change; leave that out" in error
    error = refusal([*sees, "cosmos", "--backend", "robocasa"], capsys)
    assert "'cosmos' prescribes what --backend would change" in error
    blind = save(tmp_path / "blind", pixels=False)
    error = refusal(["eval", str(blind), "--protocol", "cosmos"], capsys)
    assert "sees the kitchen's privileged scene, 'cosmos' gives images alone" in error
    assert "robocasa365 has no CloseDoubleDoor" in refusal(
        [*sees, "robocasa365-target", "--task", "CloseDoubleDoor"], capsys
    )


@pytest.mark.parametrize("name", PROTOCOLS)
def test_without_its_robocasa_a_protocol_says_what_to_install(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    words = ["eval", str(save(tmp_path / "sees", pixels=True)), "--protocol", name]
    assert 'which is not installed: pip install -e ".[robocasa]"' in refusal(words, capsys)


def test_a_backend_that_does_not_suit_the_policy_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    blind = ["eval", str(save(tmp_path / "blind", pixels=False))]
    error = refusal([*blind, "--backend", "robocasa"], capsys)
    assert "sees the kitchen's privileged scene, the official RoboCasa gives images alone" in error
    elsewhere = ["eval", str(save(tmp_path / "elsewhere", pixels=False, backend="robosuite"))]
    assert "was trained on 'robosuite', which cannot be built here; add --backend kitchen" in refusal(elsewhere, capsys)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    # Without --backend it is the one that the policy was trained on.
    for words in (
        [str(save(tmp_path / "official", pixels=True, backend="robocasa"))],
        [str(save(tmp_path / "sees", pixels=True)), "--backend", "robocasa"],
    ):
        assert 'which is not installed: pip install -e ".[robocasa]"' in refusal(["eval", *words], capsys)


def test_a_named_backend_is_taken_whatever_the_policy_was_trained_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["eval", str(save(tmp_path / "official", pixels=False, backend="robocasa")), "--backend", "kitchen"]
    assert main([*words, "--episodes", "2", "--horizon", "10", "--json", str(tmp_path / "report.json")]) == 0
    assert "was trained on 'robocasa', this is 'kitchen'" in capsys.readouterr().out
    assert Report.from_json((tmp_path / "report.json").read_text()).protocol.backend == "kitchen"
