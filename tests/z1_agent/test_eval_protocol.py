"""`z1 eval --protocol`: what it prescribes cannot be changed, and what cannot be run is refused in one sentence."""

from pathlib import Path

import pytest

from tests.z1_envs.test_lerobot import demonstrations
from z1_agent import checkpoint
from z1_agent.cli import main
from z1_agent.pipeline import new_policy
from z1_agent.presets import TrainConfig
from z1_envs.protocols import PROTOCOLS


def save(folder: Path, *, pixels: bool) -> Path:
    config = TrainConfig(task="OpenDrawer", obs="pixels" if pixels else "state", image_px=32)
    checkpoint.save(folder, new_policy(config, demonstrations(pixels=pixels)), task="OpenDrawer", backend="kitchen")
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
