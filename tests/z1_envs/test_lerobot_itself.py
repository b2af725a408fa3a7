"""The real `lerobot` opens what we write: lengths, shapes, values, episodes, instructions, pictures, its own tools.

Skipped where `lerobot` is missing: it wants Python 3.12 and, with its CUDA build of torch, 5 GB. With an environment
of its own, from the repository's root:

    python3.12 -m venv /tmp/with_lerobot
    /tmp/with_lerobot/bin/pip install -e . "lerobot[dataset]" pytest pytest-timeout
    /tmp/with_lerobot/bin/python -m pytest tests/z1_envs/test_lerobot_itself.py

Last passed with lerobot 0.6.1, pictures decoded by PyAV.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.z1_envs.test_lerobot import LEFT, RIGHT, demonstrations
from z1_envs.layout import CAMERAS
from z1_envs.lerobot_writer import write_lerobot

pytestmark = [pytest.mark.lerobot, pytest.mark.filterwarnings("ignore")]
LENGTHS = (4, 12, 3, 9)


@pytest.fixture(scope="module")
def open_dataset(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """LeRobotDataset, without a network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("cache")))
        yield pytest.importorskip("lerobot.datasets.lerobot_dataset").LeRobotDataset


@pytest.mark.parametrize("pixels", [False, True])
def test_items_are_what_was_written(pixels: bool, open_dataset: Any, tmp_path: Path) -> None:
    demos = demonstrations(pixels=pixels, lengths=LENGTHS)
    write_lerobot([demos], tmp_path / "dataset")
    dataset = open_dataset("z1/demos", root=tmp_path / "dataset")
    assert (len(dataset), dataset.num_episodes, dataset.fps) == (sum(LENGTHS), len(LENGTHS), 20)
    for step in range(len(dataset)):
        item = dataset[step]
        assert item["index"] == step
        assert item["episode_index"] == demos.episode[step]
        assert item["task"] == (RIGHT if demos.episode[step] % 2 == 0 else LEFT)
        assert np.array_equal(item["action"].numpy(), demos.actions[step])
        assert np.array_equal(item["observation.state"].numpy(), demos.observation["state"][step])
        if not pixels:
            scene = item["observation.environment_state"].numpy()
            assert np.array_equal(scene, demos.observation["scene"][step])
            continue
        for key, camera in CAMERAS.items():
            picture = item[f"observation.images.{camera}"].numpy()
            assert picture.shape == (3, 32, 32)
            apart = np.abs(picture.transpose(1, 2, 0) * 255 - demos.observation[key].astype(np.float64))
            apart = apart.mean(axis=(1, 2, 3))  # from the picture of every step
            assert apart.argmin() == step
            assert apart[step] < 3


def test_chunks_end_with_their_episode(open_dataset: Any, tmp_path: Path) -> None:
    demos = demonstrations(lengths=LENGTHS)
    write_lerobot([demos], tmp_path / "dataset")
    ahead = {"action": [step / 20 for step in range(10)]}
    dataset = open_dataset("z1/demos", root=tmp_path / "dataset", delta_timestamps=ahead)
    actions, real = demos.chunks(10)
    for step in range(len(dataset)):
        assert np.array_equal(dataset[step]["action"].numpy(), actions[step])
        assert np.array_equal(~dataset[step]["action_is_pad"].numpy(), real[step])


def test_statistics_are_close_to_its_own(open_dataset: Any, tmp_path: Path) -> None:
    demos = demonstrations(lengths=(500, 400))
    write_lerobot([demos], tmp_path / "dataset")
    ours = open_dataset("z1/demos", root=tmp_path / "dataset").meta.stats
    get_feature_stats = pytest.importorskip("lerobot.datasets.compute_stats").get_feature_stats
    for name, values in (("action", demos.actions), ("observation.state", demos.observation["state"])):
        theirs = get_feature_stats(values.astype(np.float64), axis=0, keepdims=False)
        assert ours[name].keys() == theirs.keys()
        for what, numbers in theirs.items():
            # It estimates quantiles from histograms, poorly where there are few values.
            assert np.allclose(ours[name][what], numbers, atol=0.5 if what in ("q01", "q99") else 0.05), what


@pytest.mark.parametrize("pixels", [False, True])
def test_its_tools_take_episodes_out_and_merge(pixels: bool, open_dataset: Any, tmp_path: Path) -> None:
    tools = pytest.importorskip("lerobot.datasets.dataset_tools")
    write_lerobot([demonstrations(pixels=pixels, lengths=LENGTHS)], tmp_path / "one")
    write_lerobot([demonstrations(pixels=pixels, lengths=(5, 6), seed=1)], tmp_path / "two")
    one, two = (open_dataset(f"z1/{name}", root=tmp_path / name) for name in ("one", "two"))
    merged = tools.merge_datasets([one, two], output_repo_id="z1/both", output_dir=tmp_path / "both")
    assert (len(merged), merged.num_episodes) == (sum(LENGTHS) + 11, len(LENGTHS) + 2)
    if not pixels:  # re-encoding videos asks for an AV1 encoder
        fewer = tools.delete_episodes(one, episode_indices=[1], output_dir=tmp_path / "fewer", repo_id="z1/fewer")
        assert (len(fewer), fewer.num_episodes) == (sum(LENGTHS) - LENGTHS[1], len(LENGTHS) - 1)
