"""LeRobot datasets: what is read is what was written, the format is v3.0's to the letter, and what is wrong is said."""

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from z1_envs import lerobot_writer
from z1_envs.datasets import read_demos, validate
from z1_envs.demos import Demonstrations, DemosError, join
from z1_envs.layout import ACTION, CAMERAS, SCENE, STATE
from z1_envs.lerobot import HEADER, INFO, read_header, read_lerobot
from z1_envs.lerobot_writer import write_lerobot

LEFT, RIGHT = "open the left drawer", "open the right drawer"
WRIST = "observation.images.robot0_eye_in_hand"


def demonstrations(*, pixels: bool = False, lengths: tuple[int, ...] = (4, 1, 3), seed: int = 0) -> Demonstrations:
    """Episodes of `lengths` steps of noise; the pictures are smooth, and each has a brightness of its own."""
    rng = np.random.default_rng(seed)
    num_steps = sum(lengths)
    observation: dict[str, Any] = {"state": rng.normal(size=(num_steps, STATE.width)).astype(np.float32)}
    if pixels:
        slope = np.linspace(0, 40, 32)[:, None, None] + np.linspace(0, 30, 32)[None, :, None] + [0, 10, 20]
        for camera in CAMERAS:
            level = rng.permutation(num_steps) * 160 / num_steps
            observation[camera] = (slope + level[:, None, None, None]).astype(np.uint8)
    else:
        observation["scene"] = rng.normal(size=(num_steps, SCENE.width)).astype(np.float32)
    episode = np.repeat(np.arange(len(lengths)), lengths)
    observation["instruction"] = np.where(episode % 2 == 0, RIGHT, LEFT)
    return Demonstrations(
        task="OpenDrawer",
        backend="kitchen",
        observation=observation,
        actions=rng.uniform(-1, 1, (num_steps, ACTION.width)).astype(np.float32),
        episode=episode,
        attempts=len(lengths) + 2,
        simulated_steps=num_steps + 50,
        seeds=tuple(2**62 + seed + i for i in range(len(lengths))),
    )


def check_same(read: Demonstrations, written: Demonstrations) -> None:
    assert (read.task, read.backend, read.seeds) == (written.task, written.backend, written.seeds)
    assert (read.attempts, read.simulated_steps) == (written.attempts, written.simulated_steps)
    assert read.observation.keys() == written.observation.keys()
    pairs = [(read.actions, written.actions), (read.episode, written.episode)]
    pairs += [(read.observation[key], values) for key, values in written.observation.items() if key not in CAMERAS]
    for one, other in pairs:
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        assert one.tobytes() == other.tobytes()


@pytest.fixture
def written(tmp_path: Path) -> Path:
    write_lerobot([demonstrations()], tmp_path / "dataset")
    return tmp_path / "dataset"


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    parts = [demonstrations(), demonstrations(lengths=(2, 5), seed=1)]
    write_lerobot(iter(parts), tmp_path / "dataset", about={"command": "z1 demos"})
    check_same(read_lerobot(tmp_path / "dataset"), join(parts))
    header = read_header(tmp_path / "dataset")
    assert (header.task, header.backend, header.obs, header.image_px) == ("OpenDrawer", "kitchen", "state", 0)
    assert (header.num_episodes, header.num_steps, header.num_attempts) == (5, 15, 9)
    assert json.loads((tmp_path / "dataset" / HEADER).read_text())["about"] == {"command": "z1 demos"}
    assert [path.name for path in tmp_path.iterdir()] == ["dataset"]


def test_steps_are_as_v3_wants_them(written: Path) -> None:
    table = pq.read_table(written / "data" / "chunk-000" / "file-000.parquet")
    vectors = {"action": 12, "observation.state": 16, "observation.environment_state": SCENE.width}
    kinds: dict[str, pa.DataType] = {name: pa.list_(pa.float32(), width) for name, width in vectors.items()}
    kinds |= dict.fromkeys(("frame_index", "episode_index", "index", "task_index"), pa.int64())
    kinds |= {"timestamp": pa.float32()}
    assert {field.name: field.type for field in table.schema} == kinds
    columns = table.to_pydict()
    assert columns["episode_index"] == [0, 0, 0, 0, 1, 2, 2, 2]
    assert columns["frame_index"] == [0, 1, 2, 3, 0, 0, 1, 2]
    assert columns["index"] == list(range(8))
    assert columns["task_index"] == [0, 0, 0, 0, 1, 0, 0, 0]
    assert columns["timestamp"] == [float(np.float32(i / 20)) for i in columns["frame_index"]]
    assert pq.ParquetFile(written / "data" / "chunk-000" / "file-000.parquet").num_row_groups == 3


def test_info_is_as_v3_wants_it(written: Path) -> None:
    info = json.loads((written / INFO).read_text())
    features = info.pop("features")
    assert info == {
        "codebase_version": "v3.0",
        "robot_type": "PandaOmron",
        "total_episodes": 3,
        "total_frames": 8,
        "total_tasks": 2,
        "chunks_size": 1000,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": 20,
        "splits": {"train": "0:3"},
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": None,
    }
    assert features["timestamp"] == {"dtype": "float32", "shape": [1], "names": None}
    assert features["task_index"] == {"dtype": "int64", "shape": [1], "names": None}
    action = features["action"]
    assert (action["dtype"], action["shape"]) == ("float32", [12])
    assert action["names"] == [
        "eef_position_0", "eef_position_1", "eef_position_2", "eef_rotation_0", "eef_rotation_1", "eef_rotation_2",
        "gripper", "base_0", "base_1", "base_2", "torso", "base_mode",
    ]  # fmt: skip
    assert features["observation.state"]["names"][3:7] == [f"base_quaternion_{i}" for i in range(4)]


def test_episodes_and_tasks_are_as_v3_wants_them(written: Path) -> None:
    episodes = pq.read_table(written / "meta" / "episodes" / "chunk-000" / "file-000.parquet").to_pydict()
    assert episodes["episode_index"] == [0, 1, 2]
    assert episodes["length"] == [4, 1, 3]
    assert episodes["tasks"] == [[RIGHT], [LEFT], [RIGHT]]
    assert (episodes["dataset_from_index"], episodes["dataset_to_index"]) == ([0, 4, 5], [4, 5, 8])
    for name in ("data", "meta/episodes"):
        assert episodes[f"{name}/chunk_index"] == episodes[f"{name}/file_index"] == [0, 0, 0]
    tasks = pq.read_table(written / "meta" / "tasks.parquet")
    assert tasks.to_pydict() == {"task_index": [0, 1], "task": [RIGHT, LEFT]}
    assert json.loads(tasks.schema.metadata[b"pandas"])["index_columns"] == ["task"]


def test_statistics_are_those_of_the_data(written: Path) -> None:
    demos = demonstrations()
    stats = json.loads((written / "meta" / "stats.json").read_text())
    values = demos.actions.astype(np.float64)
    expected = {"min": values.min(0), "max": values.max(0), "mean": values.mean(0), "std": values.std(0)}
    expected |= {f"q{q:02d}": np.quantile(values, q / 100, axis=0) for q in (1, 10, 50, 90, 99)}
    assert stats["action"].pop("count") == [8]
    assert stats["action"].keys() == expected.keys()
    for name, numbers in expected.items():
        assert np.allclose(stats["action"][name], numbers)
    assert stats["frame_index"]["max"] == [3]
    episodes = pq.read_table(written / "meta" / "episodes" / "chunk-000" / "file-000.parquet")
    last = demos.actions[5:].astype(np.float64)
    assert np.allclose(episodes["stats/action/q90"][2].as_py(), np.quantile(last, 0.9, axis=0))
    assert episodes["stats/action/count"].to_pylist() == [[4], [1], [3]]


def test_large_data_go_into_several_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lerobot_writer, "_MAX_DATA_MB", 0.0015)
    monkeypatch.setattr(lerobot_writer, "FILES_PER_CHUNK", 2)
    demos = demonstrations(lengths=(4, 1, 3, 2, 6))
    write_lerobot([demos], tmp_path / "dataset")
    names = sorted(path.relative_to(tmp_path / "dataset").as_posix() for path in tmp_path.rglob("data/*/*"))
    assert names == [f"data/chunk-{i // 2:03d}/file-{i % 2:03d}.parquet" for i in range(len(names))]
    assert len(names) > 2
    episodes = pq.read_table(tmp_path / "dataset" / "meta/episodes/chunk-000/file-000.parquet").to_pydict()
    for chunk, file, index in zip(
        episodes["data/chunk_index"], episodes["data/file_index"], episodes["episode_index"], strict=True
    ):
        table = pq.read_table(tmp_path / "dataset" / f"data/chunk-{chunk:03d}/file-{file:03d}.parquet")
        assert index in table["episode_index"].to_pylist()
    check_same(read_lerobot(tmp_path / "dataset"), demos)


def test_videos_hold_a_picture_per_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lerobot_writer, "_MAX_VIDEO_FRAMES", 9)
    demos = demonstrations(pixels=True, lengths=(4, 1, 3, 2, 6))
    write_lerobot([demos], tmp_path / "dataset")
    folder = tmp_path / "dataset"
    episodes = pq.read_table(folder / "meta/episodes/chunk-000/file-000.parquet").to_pydict()
    assert episodes[f"videos/{WRIST}/file_index"] == [0, 0, 0, 1, 1]
    assert episodes[f"videos/{WRIST}/from_timestamp"] == [0.0, 0.2, 0.25, 0.0, 0.1]
    assert episodes[f"videos/{WRIST}/to_timestamp"] == [0.2, 0.25, 0.4, 0.1, 0.4]
    assert (folder / "videos" / WRIST / "chunk-000" / "file-001.mp4").is_file()
    info = json.loads((folder / INFO).read_text())
    assert info["video_path"] == "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
    feature = info["features"][WRIST]
    assert (feature["dtype"], feature["shape"]) == ("video", [32, 32, 3])
    assert feature["names"] == ["height", "width", "channels"]
    assert (feature["info"]["video.codec"], feature["info"]["video.fps"]) == ("h264", 20)
    assert "observation.environment_state" not in info["features"]
    read = read_lerobot(folder)
    check_same(read, demos)
    header = read_header(folder)
    assert (header.obs, header.image_px) == ("pixels", 32)
    for camera in CAMERAS:
        kept, decoded = (d.observation[camera].astype(np.float64) for d in (demos, read))
        # [N, N] differences of every picture from every other: each is nearest to itself.
        apart = np.abs(kept[:, None] - decoded[None]).mean(axis=(2, 3, 4))
        assert apart.argmin(axis=1).tolist() == list(range(len(kept)))
        assert apart.diagonal().max() < 3


def test_statistics_of_pictures_are_per_colour(tmp_path: Path) -> None:
    demos = demonstrations(pixels=True)
    write_lerobot([demos], tmp_path / "dataset")
    stats = json.loads((tmp_path / "dataset" / "meta" / "stats.json").read_text())[WRIST]
    values = demos.observation["image_wrist"].reshape(-1, 3) / 255
    expected = {"min": values.min(0), "max": values.max(0), "mean": values.mean(0), "std": values.std(0)}
    expected |= {"q50": np.quantile(values, 0.5, axis=0, method="inverted_cdf")}
    for name, numbers in expected.items():
        assert np.shape(stats[name]) == (3, 1, 1)
        assert np.allclose(np.reshape(stats[name], 3), numbers)
    assert stats["count"] == [8]


def test_a_dataset_appears_complete_or_not_at_all(tmp_path: Path) -> None:
    def cut_short() -> Iterator[Demonstrations]:
        yield demonstrations(pixels=True)
        raise DemosError("the expert has given up")

    with pytest.raises(DemosError, match="given up"):
        write_lerobot(cut_short(), tmp_path / "dataset")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DemosError, match="there are no demonstrations"):
        write_lerobot([], tmp_path / "dataset")
    (tmp_path / "dataset").mkdir()
    with pytest.raises(DemosError, match="exists already; give another"):
        write_lerobot([demonstrations()], tmp_path / "dataset")


def without_episodes(demos: Demonstrations) -> Demonstrations:
    """A part in which all attempts failed: it knows neither pictures nor scene."""
    return dataclasses.replace(
        demos,
        observation={key: demos.observation[key][:0] for key in ("state", "instruction")},
        actions=demos.actions[:0],
        episode=demos.episode[:0],
        attempts=3,
        simulated_steps=90,
        seeds=(),
    )


@pytest.mark.parametrize("place", [0, 1])
def test_parts_without_episodes_count_as_attempts_alone(tmp_path: Path, place: int) -> None:
    demos = demonstrations()
    parts = [demos]
    parts.insert(place, without_episodes(demos))
    write_lerobot(parts, tmp_path / "dataset")
    written = dataclasses.replace(demos, attempts=demos.attempts + 3, simulated_steps=demos.simulated_steps + 90)
    check_same(read_lerobot(tmp_path / "dataset"), written)
    episodes = pq.read_table(tmp_path / "dataset/meta/episodes/chunk-000/file-000.parquet")
    assert episodes["length"].to_pylist() == [4, 1, 3]
    with pytest.raises(DemosError, match="there are no demonstrations"):
        write_lerobot([without_episodes(demos)], tmp_path / "empty")


def without(demos: Demonstrations, *keys: str) -> Demonstrations:
    kept = {key: values for key, values in demos.observation.items() if key not in keys}
    return dataclasses.replace(demos, observation=kept)


def test_what_cannot_be_read_is_not_written(tmp_path: Path) -> None:
    pixels = demonstrations(pixels=True)
    with_scene = dataclasses.replace(pixels, observation=demonstrations().observation | pixels.observation)
    narrow = dict(pixels.observation) | {"image_wrist": pixels.observation["image_wrist"][:, :, :16]}
    bad: list[tuple[list[Demonstrations], str]] = [
        ([without(demonstrations(), "scene")], r"observations lack \['scene'\]"),
        ([without(pixels, "image_wrist")], r"observations lack \['image_wrist'\]"),
        ([without(demonstrations(), "state", "instruction")], r"observations lack \['instruction', 'state'\]"),
        ([dataclasses.replace(pixels, observation=narrow)], r"images of .*\(32, 16, 3\).*expected squares of one size"),
        ([with_scene], "either images or the privileged scene"),
        ([demonstrations(), pixels], "parts of a dataset have the same observations"),
    ]
    for parts, words in bad:
        with pytest.raises(DemosError, match=words):
            write_lerobot(parts, tmp_path / "dataset")
    assert list(tmp_path.iterdir()) == []


def test_what_a_device_recorded_is_checked_as_it_is_read(tmp_path: Path) -> None:
    demos = demonstrations()
    demos.observation["state"][:, STATE["base_quaternion"]] = demos.observation["state"][:, STATE["eef_quaternion"]] = [
        0.0, 0.0, 0.0, 1.0,
    ]  # fmt: skip
    demos.actions[:, ACTION["gripper"]] = 0.5  # half open, which names alone say is the gripper
    demos.actions[0, 0] = 4.5
    write_lerobot([demos], str(tmp_path / "device"))
    assert validate(str(tmp_path / "device")).problems == ()
    read = read_demos(str(tmp_path / "device"), "OpenDrawer")
    assert read.actions[0, 0] == 1.0, "as the actions of RoboCasa's datasets, which its controllers clip"
    assert (read.actions[:, ACTION["gripper"]] == 0.5).all()


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    demos = demonstrations()
    demos.observation["image_odd"] = demos.observation["state"]
    with pytest.raises(DemosError, match="no place for the observations"):
        write_lerobot([demos], tmp_path / "dataset")
    demos = demonstrations()
    demos.observation["state"] = demos.observation["state"].astype(np.float64)
    with pytest.raises(DemosError, match=r"observation\.state is float64 \(4, 16\), expected float32 \[N, 16\]"):
        write_lerobot([demos], tmp_path / "dataset")
    demos = demonstrations(pixels=True)
    for key in CAMERAS:
        demos.observation[key] = demos.observation[key][:, :31, :31]
    with pytest.raises(DemosError, match="even number of pixels"):
        write_lerobot([demos], tmp_path / "dataset")
    assert list(tmp_path.iterdir()) == []


def change_info(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        info = json.loads((folder / INFO).read_text())
        change(info)
        (folder / INFO).write_text(json.dumps(info))

    return damage


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no info": (lambda folder: (folder / INFO).unlink(), "is no LeRobot dataset"),
    "no JSON": (lambda folder: (folder / INFO).write_text("{"), "is not JSON"),
    "a list": (lambda folder: (folder / INFO).write_text("[]"), "holds no JSON object"),
    "older": (change_info(lambda info: info.update(codebase_version="v2.1")), r"format v2\.1, expected v3\.0"),
    "not ours": (lambda folder: (folder / HEADER).unlink(), "was not written by `z1 demos`"),
    "newer header": (lambda folder: (folder / HEADER).write_text('{"version": 2}'), "has version 2, expected 1"),
    "half a header": (lambda folder: (folder / HEADER).write_text('{"version": 1}'), "lacks or garbles 'seeds'"),
    "another rate": (change_info(lambda info: info.update(fps=30)), "30 steps per second, expected 20"),
    "no action": (change_info(lambda info: info["features"].pop("action")), "has no feature action"),
    "width": (
        change_info(lambda info: info["features"]["action"].update(shape=[7])),
        r"action is float32 \[7\], expected float32 \[12\]",
    ),
    "order": (change_info(lambda info: info["features"]["action"]["names"].reverse()), "the entries of action are"),
    "no scene": (
        change_info(lambda info: info["features"].pop("observation.environment_state")),
        r"has no feature observation\.environment_state",
    ),
    "fewer": (change_info(lambda info: info.update(total_episodes=2)), "2 episodes in meta/info.json, 3 in"),
    "no data": (
        lambda folder: (folder / "data/chunk-000/file-000.parquet").unlink(),
        r"lacks data/.*file-000\.parquet",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_missing_or_wrong_is_said(damage: str, written: Path) -> None:
    do, message = DAMAGES[damage]
    do(written)
    for read in (read_header, read_lerobot):
        with pytest.raises(DemosError, match=message):
            read(written)


def test_changed_bytes_are_noticed(written: Path) -> None:
    file = written / "data" / "chunk-000" / "file-000.parquet"
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    file.write_bytes(content)
    read_header(written)  # does not look
    with pytest.raises(DemosError, match="is not as it was written"):
        read_lerobot(written)


def test_the_digest_is_of_what_is_in_it(tmp_path: Path) -> None:
    for name, seed in (("one", 0), ("same", 0), ("other", 1)):
        write_lerobot([demonstrations(seed=seed)], tmp_path / name, about={"name": name})
    one, same, other = (read_header(tmp_path / name).digest for name in ("one", "same", "other"))
    assert one == same
    assert one != other
