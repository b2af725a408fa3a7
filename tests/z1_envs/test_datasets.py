"""RoboCasa's own datasets: the same batches from both formats, and every fault named with its episode and step."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.z1_envs import robocasa_files
from tests.z1_envs.robocasa_files import LENGTHS, PX, Recorded, write_hdf5, write_json, write_v2
from tests.z1_envs.test_lerobot import demonstrations
from z1_envs import picture_room
from z1_envs.datasets import read_demos, read_header, validate
from z1_envs.demos import Demonstrations, DemosError
from z1_envs.episodes import task_of
from z1_envs.layout import ACTION, ACTION_V1, CAMERAS
from z1_envs.lerobot import read_lerobot
from z1_envs.lerobot_writer import write_lerobot

TASK = "OpenDrawer"


@pytest.fixture
def hdf5(tmp_path: Path) -> Path:
    write_hdf5(tmp_path / "demo.hdf5", Recorded())
    return tmp_path / "demo.hdf5"


@pytest.fixture
def v2(tmp_path: Path) -> Path:
    write_v2(tmp_path / "v2", Recorded())
    return tmp_path / "v2"


def check_recorded(demos: Demonstrations, recorded: Recorded) -> None:
    assert (demos.task, demos.backend, demos.num_episodes, demos.attempts) == (TASK, "robocasa", 3, 3)
    assert demos.episode.tolist() == np.repeat(np.arange(3), LENGTHS).tolist()
    assert demos.actions.dtype == np.float32
    assert np.array_equal(demos.actions, np.concatenate(recorded.actions).astype(np.float32))
    assert np.array_equal(demos.observation["state"], recorded.states)
    words = [robocasa_files.instruction(index) for index in np.repeat(np.arange(3), LENGTHS)]
    assert demos.observation["instruction"].tolist() == words
    for key, camera in CAMERAS.items():
        pictures = np.concatenate([pictures[camera] for pictures in recorded.pictures]).astype(int)
        apart = np.abs(demos.observation[key].astype(int) - pictures)
        assert demos.observation[key].dtype == np.uint8
        assert apart.mean() <= 4, "H.264 loses a little; the next step is 10 apart, upside down over 50"


def test_v1_s_order_is_another_one() -> None:
    assert [part.name for part in ACTION_V1.parts] == [
        "base", "torso", "base_mode", "eef_position", "eef_rotation", "gripper",
    ]  # fmt: skip
    assert (ACTION_V1["base"], ACTION_V1["base_mode"]) == (slice(0, 3), slice(4, 5))
    assert (ACTION_V1["eef_position"], ACTION_V1["gripper"]) == (slice(5, 8), slice(11, 12))
    with pytest.raises(ValueError, match="ACTION needs each of"):
        ACTION.reordered("half", ["gripper"])


def test_both_formats_give_the_same_demonstrations(hdf5: Path, v2: Path) -> None:
    check_recorded(read_demos(hdf5, TASK), Recorded())
    check_recorded(read_demos(v2, TASK), Recorded())


def test_gripper_and_mode_of_0_and_1_become_those_of_the_env(tmp_path: Path) -> None:
    write_v2(tmp_path / "v2", Recorded(), zero_one=True)
    check_recorded(read_demos(tmp_path / "v2", TASK), Recorded())
    assert validate(tmp_path / "v2").latches == "gripper and base_mode 0/1, read as -1/1"
    (tmp_path / "v2/meta/stats.json").unlink()
    check_recorded(read_demos(tmp_path / "v2", TASK), Recorded())


def test_our_own_datasets_are_read_as_before(tmp_path: Path) -> None:
    write_lerobot([demonstrations(pixels=True)], tmp_path / "own")
    again, before = read_demos(tmp_path / "own", TASK), read_lerobot(tmp_path / "own")
    assert again.backend == "kitchen"
    assert np.array_equal(again.actions, before.actions)
    assert read_header(tmp_path / "own", TASK).num_episodes == 3


def test_headers_say_what_is_there(hdf5: Path, v2: Path) -> None:
    for path in (hdf5, v2):
        header = read_header(path, TASK)
        assert (header.task, header.backend, header.obs, header.image_px) == (TASK, "robocasa", "pixels", PX)
        assert (header.num_episodes, header.num_steps, header.num_attempts) == (3, 12, 3)
        assert header.digest == read_header(path, TASK).digest


def test_episodes_that_failed_are_not_learned_from(tmp_path: Path) -> None:
    recorded, path = Recorded(), tmp_path / "demo.hdf5"
    write_hdf5(path, recorded, failed=[0])
    demos, header, report = read_demos(path, TASK), read_header(path, TASK), validate(path)
    assert np.array_equal(demos.actions, np.concatenate(recorded.actions[1:]).astype(np.float32))
    assert np.array_equal(demos.observation["state"], recorded.states[LENGTHS[0] :])
    assert demos.episode.tolist() == [0] * LENGTHS[1] + [1] * LENGTHS[2]
    assert (demos.num_episodes, demos.attempts) == (2, 3)
    assert (header.num_episodes, header.num_steps, header.num_attempts) == (2, LENGTHS[1] + LENGTHS[2], 3)
    assert (report.successes, len(report.num_steps), report.problems) == (2, 3, ())
    assert report.notes == ("1 of 3 episodes are marked as failed: they are left out of what is learned",)


def test_a_digest_tells_which_episodes_are_learned_from(tmp_path: Path, hdf5: Path) -> None:
    digests = {read_header(hdf5, TASK).digest}
    for failed in (0, 1):
        write_hdf5(tmp_path / f"{failed}.hdf5", Recorded(), failed=[failed])
        digests.add(read_header(tmp_path / f"{failed}.hdf5", TASK).digest)
    assert len(digests) == 3


def test_where_no_episode_is_marked_all_are_learned_from(tmp_path: Path) -> None:
    write_hdf5(tmp_path / "demo.hdf5", Recorded(), failed=range(3))
    check_recorded(read_demos(tmp_path / "demo.hdf5", TASK), Recorded())
    assert "no episode is marked as a success: all are taken" in validate(tmp_path / "demo.hdf5").notes[0]


def test_other_actions_have_another_digest(tmp_path: Path, hdf5: Path) -> None:
    write_hdf5(tmp_path / "other.hdf5", Recorded(1))
    assert read_header(hdf5, TASK).digest != read_header(tmp_path / "other.hdf5", TASK).digest


def test_many_pictures_lie_in_a_file(tmp_path: Path, hdf5: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_lerobot([demonstrations(pixels=True)], tmp_path / "own")
    in_memory = read_demos(tmp_path / "own", TASK)
    monkeypatch.setattr(picture_room, "_IN_MEMORY", 0)
    demos, own = read_demos(hdf5, TASK), read_demos(tmp_path / "own", TASK)
    check_recorded(demos, Recorded())
    for key in CAMERAS:
        assert isinstance(demos.observation[key], np.memmap)
        assert isinstance(own.observation[key], np.memmap)
        assert np.array_equal(own.observation[key], in_memory.observation[key])
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10})())
    with pytest.raises(DemosError, match="set TMPDIR to a larger disk"):
        read_demos(hdf5, TASK)
    with pytest.raises(DemosError, match="set TMPDIR to a larger disk"):
        validate(tmp_path / "own")


def test_v1_s_cabinets_are_told_apart_by_their_words() -> None:
    assert task_of("OpenCabinet", "Open the cabinet door.") == "OpenSingleDoor"
    assert task_of("OpenCabinet", "open the cabinet doors") == "OpenDoubleDoor"
    assert task_of("CloseMicrowave", "Close the microwave door.") == "CloseSingleDoor"
    assert task_of("StartCoffeeMachine", "") == "CoffeePressButton"
    with pytest.raises(DemosError, match="'ArrangeBreadBasket' is none of the 24 tasks"):
        task_of("ArrangeBreadBasket", "")


def test_another_task_is_refused(hdf5: Path, tmp_path: Path) -> None:
    with pytest.raises(DemosError, match="shows OpenDrawer, this is CloseDrawer"):
        read_header(hdf5, "CloseDrawer")
    write_lerobot([demonstrations()], tmp_path / "own")
    with pytest.raises(DemosError, match="shows OpenDrawer, this is CloseDrawer; give a dataset of that"):
        read_demos(tmp_path / "own", "CloseDrawer")


def test_a_report_says_all(hdf5: Path, v2: Path) -> None:
    report = validate(hdf5)
    assert report.problems == report.notes == ()
    assert (report.tasks, report.num_steps, report.fps, report.image_px) == ({TASK: 3}, LENGTHS, 20.0, PX)
    assert report.successes == 3
    assert report.instructions == {"open the right drawer": 2, "open the left drawer": 1}
    assert report.action_order.endswith("base_mode, says the robot in env_args; action_dict confirms it")
    actions = np.concatenate(Recorded().actions)
    assert report.ranges["ACTION.torso"] == pytest.approx((actions[:, 10].min(), actions[:, 10].max()))
    assert report.ranges["ACTION.gripper"] == (-1, 1)
    text = str(report)
    assert "No problems: it can be learned from." in text
    assert "episodes      3, 12 steps, 3 to 5 each, 20 steps per second" in text
    report = validate(v2)
    assert report.problems == ()
    assert report.successes is None
    assert report.action_order.startswith("base torso base_mode eef_position")
    assert "nothing says" in str(report)


def test_entries_beyond_1_are_clipped_and_counted(tmp_path: Path) -> None:
    recorded = Recorded()
    recorded.actions[0][1, 2] = 1.25
    write_hdf5(tmp_path / "demo.hdf5", recorded)
    assert read_demos(tmp_path / "demo.hdf5", TASK).actions[1, 2] == 1.0
    assert "1 entries of actions lie beyond -1 and 1" in validate(tmp_path / "demo.hdf5").notes[0]


def edit(change: Callable[[Any], object]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            change(file)

    return damage


def put(name: str, change: Callable[[np.ndarray], Any]) -> Callable[[Path], None]:
    """Replaces a dataset by what `change` returns."""

    def replace(file: Any) -> None:
        values = change(file[name][()])
        del file[name]
        file[name] = values

    return edit(replace)


def set_at(step: int, entry: int, value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(values: np.ndarray) -> np.ndarray:
        values[step, entry] = value
        return values

    return change


def env_args_with(**kwargs: Any) -> Callable[[Path], None]:
    def change(file: Any) -> None:
        given = robocasa_files.env_args(TASK)
        given["env_kwargs"] |= kwargs
        file["data"].attrs["env_args"] = json.dumps(given)

    return edit(change)


def cut_short(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


ABSOLUTE = {"type": "HYBRID_MOBILE_BASE", "body_parts": {"right": {"type": "OSC_POSE", "input_type": "absolute"}}}
HDF5_DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut short": (cut_short, "is no HDF5 file, or was cut short"),
    "text": (lambda path: path.write_text("no"), "is no HDF5 file"),
    "empty": (edit(lambda file: file.pop("data")), "no file of robomimic's layout"),
    "raw": (edit(lambda file: file["data"].attrs.pop("env_args")), "raw recording without observations"),
    "no obs": (edit(lambda file: file["data/demo_10"].pop("obs")), "demo_10 lacks obs"),
    "no actions": (edit(lambda file: file["data/demo_10"].pop("actions")), "demo_10 lacks actions"),
    "no state": (
        edit(lambda file: file["data/demo_10/obs"].pop("robot0_base_quat")),
        "demo_10: obs lacks robot0_base_quat; it has",
    ),
    "one camera": (
        edit(lambda file: file["data/demo_9/obs"].pop("robot0_eye_in_hand_image")),
        "has images image_left, image_right alone",
    ),
    "a camera less": (
        edit(lambda file: file["data/demo_11/obs"].pop("robot0_eye_in_hand_image")),
        "demo_11: obs lacks robot0_eye_in_hand_image, which the first episode has",
    ),
    "width": (
        put("data/demo_10/actions", lambda a: a[:, :7]),
        r"demo_10: actions have the shape \[3, 7\], expected \[n, 12\]",
    ),
    "short": (put("data/demo_10/obs/robot0_base_pos", lambda a: a[:2]), "demo_10 has parts of different lengths"),
    "no words": (
        edit(lambda file: file["data/demo_11"].attrs.modify("ep_meta", "{}")),
        "demo_11: ep_meta has no `lang`",
    ),
    "words": (edit(lambda file: file["data/demo_11"].attrs.modify("ep_meta", "{")), "demo_11: ep_meta is not JSON"),
    "total": (edit(lambda file: file["data"].pop("demo_10")), "declares 12 steps in all, its episodes 9"),
    "mask": (
        edit(lambda file: (file["data"].pop("demo_11"), file["data"].attrs.modify("total", 7))),
        "mask/2_demos lists demo_11, which data lacks",
    ),
    "rate": (env_args_with(control_freq=10), "10 steps per second, expected 20"),
    "robot": (env_args_with(robots="GR1"), "shows the robot GR1, whose action has another order"),
    "absolute": (env_args_with(controller_configs=ABSOLUTE), "has absolute actions"),
    "order": (
        put("data/demo_10/actions", lambda a: a[:, [7, 8, 9, 10, 11, 0, 1, 2, 3, 4, 5, 6]]),
        "demo_10: action_dict/rel_pos is not what actions hold as eef_position",
    ),
    "nan action": (
        put("data/demo_10/actions", set_at(2, 8, np.nan)),
        r"demo_10, step 2: action base is \[.*nan.*\] \(1 such steps\)",
    ),
    "inf state": (
        put("data/demo_9/obs/robot0_gripper_qpos", set_at(1, 0, np.inf)),
        "demo_9, step 1: state gripper_qpos is",
    ),
    "gripper": (
        edit(
            lambda file: (file["data/demo_9"].pop("action_dict"), file["data/demo_9/actions"].__setitem__((1, 6), 0.3))
        ),
        "demo_9, step 1: what should be the gripper is 0.3, RoboCasa records -1, 0 or 1",
    ),
    "norm": (
        put("data/demo_11/obs/robot0_base_to_eef_quat", lambda q: 2 * q),
        r"demo_11, step 0: the eef_quaternion has the length 2\.0000, expected 1",
    ),
    "wxyz": (
        put("data/demo_11/obs/robot0_base_quat", lambda q: q[:, [3, 0, 1, 2]]),
        "demo_11: read as xyzw the base_quaternion tilts the robot; as wxyz it would not",
    ),
    "pictures": (
        put("data/demo_10/obs/robot0_agentview_left_image", lambda p: p[:2]),
        r"demo_10 has image_left of shape \[2, 32, 32, 3\], expected \[3, 32, 32, 3\]",
    ),
    "floats": (put("data/demo_10/obs/robot0_agentview_left_image", lambda p: p / 255), "image is float64"),
}


@pytest.mark.parametrize("damage", HDF5_DAMAGES)
def test_what_is_wrong_in_a_file_is_said(damage: str, hdf5: Path) -> None:
    do, message = HDF5_DAMAGES[damage]
    do(hdf5)
    check_refused(hdf5, message)


def check_refused(path: Path, message: str) -> None:
    """By the reader, and by the report in the same words."""
    with pytest.raises(DemosError, match=message) as caught:
        read_demos(path, TASK)
    try:
        problems = validate(path).problems
    except DemosError as error:
        problems = (str(error),)
    assert str(caught.value) in problems


def change_json(name: str, change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        values = json.loads((folder / name).read_text())
        change(values)
        write_json(folder / name, values)

    return damage


def change_episode(column: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        file = folder / "data/chunk-000/episode_000001.parquet"
        columns = pq.read_table(file).to_pydict()
        columns[column] = change(columns[column])
        pq.write_table(pa.table(columns), file)

    return damage


def swap(one: str, other: str) -> Callable[[dict[str, Any]], None]:
    """Says that two entries of the same width have each other's place."""

    def change(modality: dict[str, Any]) -> None:
        actions = modality["action"]
        actions[one], actions[other] = actions[other], actions[one]

    return change


def with_nan(rows: list[list[float]]) -> list[list[float]]:
    rows[2][6] = float("nan")
    return rows


def without_steps(folder: Path) -> None:
    file = folder / "data/chunk-000/episode_000001.parquet"
    pq.write_table(pq.read_table(file).slice(0, 0), file)


def shorter_video(folder: Path) -> None:
    feature = "observation.images.robot0_eye_in_hand"
    pictures = Recorded().pictures[1]["robot0_eye_in_hand"][:2]
    robocasa_files.write_video(folder / f"videos/chunk-000/{feature}/episode_000001.mp4", pictures)


LEFT = "observation.images.robot0_agentview_left"
V2_DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no modality": (lambda f: (f / "meta/modality.json").unlink(), r"modality\.json is missing"),
    "half a modality": (
        change_json("meta/modality.json", lambda m: m["action"].pop("gripper_close")),
        "names .* for action",
    ),
    "gap": (
        change_json("meta/modality.json", lambda m: m["action"]["control_mode"].update(start=5)),
        r"puts control_mode at 5:5, expected 1 entries from 4 on",
    ),
    "wrong order": (
        change_json(
            "meta/modality.json",
            lambda m: m["action"].update(
                gripper_close={"start": 5, "end": 6},
                end_effector_position={"start": 6, "end": 9},
                end_effector_rotation={"start": 9, "end": 12},
            ),
        ),
        "episode 0, step 0: what should be the gripper is .*: the order of the action does not fit the data",
    ),
    "other key": (
        change_json("meta/modality.json", lambda m: m["action"]["base_motion"].update(original_key="actions")),
        "takes base_motion from actions, expected action",
    ),
    "rate": (change_json("meta/info.json", lambda i: i.update(fps=30)), "30 steps per second, expected 20"),
    "width": (
        change_json("meta/info.json", lambda i: i["features"]["action"].update(shape=[7])),
        r"action is float64 \[7\], expected float64 \[12\]",
    ),
    "no state": (change_json("meta/info.json", lambda i: i["features"].pop("observation.state")), "has no feature obs"),
    "one camera": (change_json("meta/info.json", lambda i: i["features"].pop(LEFT)), "has images .* alone, expected"),
    "sizes": (
        change_json("meta/info.json", lambda i: i["features"][LEFT].update(shape=[16, 16, 3])),
        "squares of one size",
    ),
    "half an info": (change_json("meta/info.json", lambda i: i.pop("data_path")), "lack or garble 'data_path'"),
    "count": (change_json("meta/info.json", lambda i: i.update(total_episodes=4)), "declares 4 episodes and 12 steps"),
    "no file": (
        lambda f: (f / "data/chunk-000/episode_000002.parquet").unlink(),
        r"lists episodes whose files lack: data/chunk-000/episode_000002\.parquet; copy",
    ),
    "no video": (
        lambda f: (f / f"videos/chunk-000/{LEFT}/episode_000001.mp4").unlink(),
        r"files lack: videos/.*episode_000001\.mp4",
    ),
    "no lines": (lambda f: (f / "meta/episodes.jsonl").unlink(), r"episodes\.jsonl is missing"),
    "broken line": (lambda f: (f / "meta/tasks.jsonl").write_text("{"), r"tasks\.jsonl, line 1 is not JSON"),
    "broken data": (
        lambda f: (f / "data/chunk-000/episode_000001.parquet").write_bytes(b"PAR1"),
        r"000001\.parquet cannot be read",
    ),
    "broken data, no limits": (
        lambda f: [
            (f / name).write_bytes(b"PAR1") if name.endswith("t") else (f / name).unlink()
            for name in ("data/chunk-000/episode_000001.parquet", "meta/stats.json")
        ],
        r"000001\.parquet cannot be read",
    ),
    "no steps, no limits": (
        lambda f: [without_steps(f), (f / "meta/stats.json").unlink()],
        r"000001\.parquet has no steps",
    ),
    "no steps": (without_steps, r"000001\.parquet has no steps"),
    "path": (change_json("meta/info.json", lambda i: i.update(data_path="{nobody}")), "lack or garble 'nobody'"),
    "rows": (change_episode("action", lambda rows: [row[:7] for row in rows]), "action has 7 entries, expected 12"),
    "nan": (change_episode("action", with_nan), r"episode 1, step 2: action eef_position is .*nan"),
    "words": (change_episode("task_index", lambda rows: [0] * len(rows)), "Open the right drawer.*says 'Open the left"),
    "pictures": (shorter_video, r"episode_000001\.mp4 has 2 pictures, expected 3"),
    "another env": (
        change_json("extras/dataset_meta.json", lambda e: e["env_args"].update(env_name="MakeTea")),
        "'MakeTea' is none of the 24 tasks",
    ),
}


@pytest.mark.parametrize("damage", V2_DAMAGES)
def test_what_is_wrong_in_a_folder_is_said(damage: str, v2: Path) -> None:
    do, message = V2_DAMAGES[damage]
    do(v2)
    check_refused(v2, message)


def test_a_consistent_order_of_its_own_is_followed_and_told(v2: Path) -> None:
    change_json("meta/modality.json", swap("end_effector_position", "end_effector_rotation"))(v2)
    swapped = np.concatenate(Recorded().actions).astype(np.float32)[:, [3, 4, 5, 0, 1, 2]]
    assert np.array_equal(read_demos(v2, TASK).actions[:, :6], swapped)
    assert "not that of RoboCasa's own datasets" in validate(v2).notes[0]


def test_folders_without_images_need_no_place_for_videos(v2: Path) -> None:
    def without_images(info: dict[str, Any]) -> None:
        info["features"] = {name: kind for name, kind in info["features"].items() if "images" not in name}
        info["video_path"] = None  # as LeRobot writes it then

    change_json("meta/info.json", without_images)(v2)
    demos = read_demos(v2, TASK)
    assert demos.observation.keys() == {"state", "instruction"}
    assert np.array_equal(demos.observation["state"], Recorded().states)
    assert validate(v2).notes == ("there are no images",)


def test_the_env_is_found_in_the_tasks_where_extras_lack(v2: Path) -> None:
    (v2 / "extras/dataset_meta.json").unlink()
    check_recorded(read_demos(v2, TASK), Recorded())


def test_no_dataset_is_refused(tmp_path: Path, v2: Path) -> None:
    with pytest.raises(DemosError, match=r"there is no .*nothing"):
        validate(tmp_path / "nothing")
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(DemosError, match="is a file, and no HDF5"):
        validate(tmp_path / "notes.txt")
    (tmp_path / "robocasa").mkdir()
    v2.rename(tmp_path / "robocasa/lerobot")
    with pytest.raises(DemosError, match="lerobot is one; name that"):
        read_header(tmp_path / "robocasa", TASK)


def test_hdf5_without_h5py_says_what_to_install(hdf5: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(DemosError, match=r"needs h5py: pip install -e \"\.\[hdf5\]\""):
        validate(hdf5)


def test_files_without_images_are_told(tmp_path: Path) -> None:
    write_hdf5(tmp_path / "low.hdf5", Recorded(), images=False)
    assert read_header(tmp_path / "low.hdf5", TASK).obs == "state"
    assert "there are no images" in validate(tmp_path / "low.hdf5").notes[0]
