"""What a training asks of a dataset."""

import dataclasses
from pathlib import Path

import pytest

from tests.z1_envs.test_lerobot import demonstrations
from z1_agent.dataset import with_dataset
from z1_agent.presets import TrainConfig, cpu
from z1_envs.demos import DemosError
from z1_envs.lerobot import read_header
from z1_envs.lerobot_writer import write_lerobot


def test_the_configuration_says_which_dataset_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert with_dataset(cpu("OpenDrawer")) == cpu("OpenDrawer")
    write_lerobot([demonstrations()], tmp_path / "dataset")
    monkeypatch.chdir(tmp_path)
    config = with_dataset(TrainConfig(task="OpenDrawer", demos="dataset"))
    assert config.demos == str(tmp_path / "dataset")
    assert config.demos_digest == read_header(tmp_path / "dataset").digest
    assert config.sft.num_demos == 3


def test_a_dataset_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    states, pixels, other = (tmp_path / name for name in ("states", "pixels", "other"))
    write_lerobot([demonstrations()], states)
    write_lerobot([demonstrations(pixels=True)], pixels)
    write_lerobot([dataclasses.replace(demonstrations(), backend="robocasa")], other)
    refusals = {
        "is no LeRobot dataset": TrainConfig(task="OpenDrawer", demos=str(tmp_path)),
        "shows OpenDrawer on 'kitchen', this is CloseSingleDoor": TrainConfig(
            task="CloseSingleDoor", demos=str(states)
        ),
        "shows OpenDrawer on 'robocasa', this is OpenDrawer on 'kitchen'": TrainConfig(
            task="OpenDrawer", demos=str(other)
        ),
        "shows pixels, the policy is to see state; add --obs pixels": TrainConfig(task="OpenDrawer", demos=str(pixels)),
        "has images of 32 px, the policy is to see 64 px; add --image-px 32": TrainConfig(
            task="OpenDrawer", obs="pixels", demos=str(pixels)
        ),
    }
    for message, config in refusals.items():
        with pytest.raises(DemosError, match=message):
            with_dataset(config)
