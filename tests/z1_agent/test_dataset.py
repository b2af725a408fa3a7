"""What a training asks of a dataset."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.z1_envs.robocasa_files import Recorded, write_hdf5, write_v2
from tests.z1_envs.test_lerobot import demonstrations
from z1_agent.cli import main
from z1_agent.dataset import with_dataset
from z1_agent.pipeline import collect_demonstrations, new_policy
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
        "has no images, and 'robocasa' no privileged scene": TrainConfig(task="OpenDrawer", demos=str(other)),
        "shows pixels, the policy is to see state; add --obs pixels": TrainConfig(task="OpenDrawer", demos=str(pixels)),
        "has images of 32 px, the policy is to see 64 px; add --image-px 32": TrainConfig(
            task="OpenDrawer", obs="pixels", demos=str(pixels)
        ),
    }
    for message, config in refusals.items():
        with pytest.raises(DemosError, match=message):
            with_dataset(config)


def test_robocasa_s_own_recordings_are_learned_from(tmp_path: Path) -> None:
    write_hdf5(tmp_path / "demo.hdf5", Recorded())
    write_v2(tmp_path / "v2", Recorded())
    for path in (tmp_path / "demo.hdf5", tmp_path / "v2"):
        config = with_dataset(TrainConfig(task="OpenDrawer", obs="pixels", image_px=32, demos=str(path)))
        assert (config.sft.num_demos, config.demos_backend) == (3, "robocasa")
        demos = collect_demonstrations(config)
        policy = new_policy(config, demos)
        actions, real = demos.chunks(config.chunk_len)
        observation = {key: values[:4] for key, values in demos.observation.items()}
        loss = policy.loss(observation, actions[:4], torch.Generator().manual_seed(0), real[:4])
        assert torch.isfinite(loss)
        with pytest.raises(DemosError, match="add --obs pixels"):
            with_dataset(TrainConfig(task="OpenDrawer", demos=str(path)))
        with pytest.raises(DemosError, match="add --image-px 32"):
            with_dataset(TrainConfig(task="OpenDrawer", obs="pixels", demos=str(path)))
    write_hdf5(tmp_path / "low.hdf5", Recorded(), images=False)
    with pytest.raises(DemosError, match="has no images, and 'robocasa' no privileged scene"):
        with_dataset(TrainConfig(task="OpenDrawer", demos=str(tmp_path / "low.hdf5")))


def test_z1_demos_check_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recorded = Recorded()
    write_hdf5(tmp_path / "good.hdf5", recorded)
    assert main(["demos", "--check", str(tmp_path / "good.hdf5")]) == 0
    assert "No problems: it can be learned from." in capsys.readouterr().out
    recorded.actions[1][2, 8] = np.nan
    write_hdf5(tmp_path / "bad.hdf5", recorded)
    assert main(["demos", "--check", str(tmp_path / "bad.hdf5")]) == 1
    assert "problem: demo_10, step 2: action base is" in capsys.readouterr().out
    assert main(["demos", "--check", str(tmp_path / "none.hdf5")]) == 2
    assert main(["demos", "OpenDrawer", "--check", str(tmp_path / "good.hdf5")]) == 2
    assert "leave out TASK" in capsys.readouterr().err
    assert main(["demos", "OpenDrawer", "--episodes", "2"]) == 2
    assert "with TASK, --episodes and --out" in capsys.readouterr().err
