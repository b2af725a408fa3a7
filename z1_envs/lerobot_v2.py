"""RoboCasa v1.0's demonstrations: LeRobot datasets of the formats v2.0 and v2.1, a file per episode.

meta/info.json          version, 20 steps per second, counts, features, where files are
meta/modality.json      which entries of `action` and `observation.state` are what: the order, which is not the env's
meta/tasks.jsonl        task_index → instruction; the env's name is in it too, at `annotation.human.task_name`
meta/episodes.jsonl     per episode: index, instructions, length
meta/stats.json         smallest and largest values: whether gripper and mode are -1/1 or 0/1
extras/dataset_meta.json  env_args with the env's name
data/chunk-000/episode_000000.parquet          action, observation.state, task_index, next.reward, next.done, …
videos/chunk-000/<feature>/episode_000000.mp4  a picture per step, upright

Sources: v1.0.1:scripts/dataset_scripts/convert_hdf5_lerobot.py and utils/lerobot_utils.py, which write them; LeRobot
v0.3.3 datasets/utils.py for the paths. RoboCasa copies -1/1; its gym wrapper takes 0/1 (wrappers/gym_wrapper.py,
unmap_action), and other conversions of its data hold that.
"""

import hashlib
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from z1_envs.demos import DemosError
from z1_envs.episodes import Episode, task_of
from z1_envs.layout import ACTION, ACTION_V1, MODALITY_ACTION, MODALITY_STATE, STATE, Layout
from z1_envs.lerobot import ACTION_FEATURE, FPS, IMAGES, INFO, STATS, VECTORS, decode, read_json
from z1_envs.robocasa.versions import V101

VERSIONS = ("v2.0", "v2.1")
_MODALITY, _TASKS, _EPISODES = "meta/modality.json", "meta/tasks.jsonl", "meta/episodes.jsonl"
_ENV = "extras/dataset_meta.json"
_TASK_NAME = "annotation.human.task_name"
_LATCHES = ("gripper", "base_mode")
_STATE_FEATURE = VECTORS["state"]


class LeRobotV2Dataset:
    """A folder of demonstrations; see `episodes.Dataset`.

    Raises DemosError where files lack, and for another rate, width or robot, and an order that is not fully said.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        info = read_json(folder / INFO)
        self.format = f"RoboCasa v1.0, LeRobot {info.get('codebase_version')}"
        try:
            self._read_info(info)
            modality = read_json(folder / _MODALITY)
            self._action = _layout(folder, ACTION, modality["action"], MODALITY_ACTION, ACTION_FEATURE)
            self._state = _layout(folder, STATE, modality["state"], MODALITY_STATE, _STATE_FEATURE)
            self._instructions = {row["task_index"]: row["task"] for row in _lines(folder / _TASKS)}
            episodes = sorted(_lines(folder / _EPISODES), key=lambda row: row["episode_index"])
            self._indices = [row["episode_index"] for row in episodes]
            self.num_steps: tuple[int, ...] = tuple(row["length"] for row in episodes)
            self._words = tuple(row["tasks"][0] for row in episodes)
            self._check_files(info)
            env_name = self._env_name()
            self._zero_one = self._finds_zero_one()
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            raise DemosError(f"{folder}: its meta files lack or garble {error}; copy the dataset again") from error
        self.names = tuple(f"episode {index}" for index in self._indices)
        self.tasks = tuple(task_of(env_name, words) for words in self._words)
        order = " ".join(part.name for part in self._action.parts)
        self.failed = (False,) * len(self.names)  # see `episode`: failures are not marked
        self.action_order = f"{order}, says {_MODALITY}"
        self.latches = f"{' and '.join(self._zero_one)} 0/1, read as -1/1" if self._zero_one else "-1/1"
        self.notes: tuple[str, ...] = ()
        if self._action.parts != ACTION_V1.parts:
            self.notes += (f"the order of the action is not that of RoboCasa's own datasets, but {order}",)
        if not self.image_px:
            self.notes += ("there are no images",)

    def episode(self, index: int) -> Episode:
        """Raises DemosError for a file that lacks, is broken, or says another instruction than the meta files."""
        file = self._path(self._data_path, index)
        try:
            table = _table(file)
            actions = _matrix(table, ACTION_FEATURE, ACTION.width, file)
            state = _matrix(table, _STATE_FEATURE, STATE.width, file)
            told = {self._instructions[number] for number in table["task_index"].unique().to_pylist()}
        except KeyError as error:
            raise DemosError(f"{file} lacks {error}; copy the dataset again") from error
        if told != {self._words[index]}:
            raise DemosError(f"{file} is of {sorted(told)}, {_EPISODES} says {self._words[index]!r}")
        parts = self._action.split(actions)
        parts |= {part: 2 * parts[part] - 1 for part in self._zero_one}
        rewards = table["next.reward"].to_numpy() if "next.reward" in table.column_names else np.zeros(0)
        images = IMAGES if self.image_px else {}
        return Episode(
            name=self.names[index],
            instruction=V101.words(self._words[index]),
            state=STATE.join(self._state.split(state)),
            actions=ACTION.join(parts),
            # Without a reward nothing is said: `next.done` marks the last step of every episode.
            succeeded=True if (rewards > 0).any() else None,
            pictures={key: partial(self._pictures, index, feature) for key, feature in images.items()},
        )

    def close(self) -> None:
        """Nothing is held open."""

    @property
    def digest(self) -> str:
        """Of the meta files, and of the names and sizes of all others: hashing videos would take minutes."""
        found = hashlib.sha256()
        for name in (INFO, _MODALITY, _TASKS, _EPISODES):
            found.update((self._folder / name).read_bytes())
        for index in range(len(self._indices)):
            for file in self._files(index):
                found.update(f"{file.relative_to(self._folder).as_posix()} {file.stat().st_size}".encode())
        return found.hexdigest()

    def _read_info(self, info: dict[str, Any]) -> None:
        folder, features = self._folder, info["features"]
        self.fps = float(info["fps"])
        if self.fps != FPS:
            raise DemosError(f"{folder} has {info['fps']} steps per second, expected {FPS}, the rate of the control")
        for name, layout in ((ACTION_FEATURE, ACTION), (_STATE_FEATURE, STATE)):
            if name not in features:
                raise DemosError(f"{folder} has no feature {name}; it has {', '.join(features)}")
            shape, dtype = list(features[name]["shape"]), features[name]["dtype"]
            if shape != [layout.width] or dtype not in ("float32", "float64"):
                raise DemosError(f"{folder}: {name} is {dtype} {shape}, expected float64 [{layout.width}]")
        self._data_path, self._video_path, self._chunk = info["data_path"], info["video_path"], info["chunks_size"]
        found = {key: features[name] for key, name in IMAGES.items() if name in features}
        if found and len(found) < len(IMAGES):
            raise DemosError(f"{folder} has images {', '.join(found)} alone, expected {', '.join(IMAGES)}")
        sizes = {tuple(feature["shape"]) for feature in found.values()} or {(0, 0, 3)}
        height, width, _ = max(sizes)
        if len(sizes) > 1 or height != width:
            raise DemosError(f"{folder} has images of {sorted(sizes)}, expected squares of one size")
        self.image_px = int(height)

    def _check_files(self, info: dict[str, Any]) -> None:
        if not self._indices:
            raise DemosError(f"{self._folder} has no episodes in {_EPISODES}")
        declared = (info.get("total_episodes"), info.get("total_frames"))
        if declared != (len(self._indices), sum(self.num_steps)):
            raise DemosError(
                f"{self._folder}: {INFO} declares {declared[0]} episodes and {declared[1]} steps, {_EPISODES} "
                f"{len(self._indices)} and {sum(self.num_steps)}; copy the dataset again"
            )
        lost = [file for index in range(len(self._indices)) for file in self._files(index) if not file.is_file()]
        if lost:
            names = ", ".join(file.relative_to(self._folder).as_posix() for file in lost[:3])
            more = f" and {len(lost) - 3} more" if len(lost) > 3 else ""
            raise DemosError(f"{self._folder} lists episodes whose files lack: {names}{more}; copy the dataset again")

    def _files(self, index: int) -> list[Path]:
        images = IMAGES.values() if self.image_px else ()  # without images there may be no template of their paths
        videos = [self._path(self._video_path, index, feature) for feature in images]
        return [self._path(self._data_path, index), *videos]

    def _path(self, template: str, index: int, feature: str = "") -> Path:
        number = self._indices[index]
        name = template.format(episode_chunk=number // self._chunk, episode_index=number, video_key=feature)
        return self._folder / name

    def _env_name(self) -> str:
        if (self._folder / _ENV).is_file():
            try:
                return str(read_json(self._folder / _ENV)["env_args"]["env_name"])
            except (KeyError, TypeError) as error:
                raise DemosError(f"{self._folder / _ENV} lacks {error}; copy the dataset again") from error
        table = _table(self._path(self._data_path, 0))
        if _TASK_NAME in table.column_names:
            return str(self._instructions[table[_TASK_NAME][0].as_py()])
        raise DemosError(f"{self._folder} names no env: neither {_ENV} nor the feature {_TASK_NAME} is there")

    def _finds_zero_one(self) -> tuple[str, ...]:
        """Which of gripper and mode are 0/1: those that are never negative, in stats.json or else in the data."""
        if (self._folder / STATS).is_file():
            lows = read_json(self._folder / STATS).get(ACTION_FEATURE, {}).get("min")
            if not isinstance(lows, list) or len(lows) != ACTION.width:
                raise DemosError(
                    f"{self._folder / STATS} has no `min` of {ACTION.width} actions; copy the dataset again"
                )
        else:
            files = [self._path(self._data_path, index) for index in range(len(self._indices))]
            mins = [_matrix(_table(f), ACTION_FEATURE, ACTION.width, f).min(axis=0) for f in files]
            lows = np.min(mins, axis=0)
        lowest = self._action.split(np.asarray(lows, np.float64))
        return tuple(part for part in _LATCHES if float(lowest[part][0]) >= 0)

    def _pictures(self, index: int, feature: str) -> NDArray[np.uint8]:
        px, num_steps = self.image_px, self.num_steps[index]
        file = self._path(self._video_path, index, feature)
        pictures = np.empty((num_steps, px, px, 3), np.uint8)
        num_read = 0
        for picture in decode(file, px):
            if num_read < num_steps:
                pictures[num_read] = picture
            num_read += 1
        if num_read != num_steps:
            raise DemosError(f"{file} has {num_read} pictures, expected {num_steps}, one per step")
        return pictures


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if not path.is_file():
        raise DemosError(f"{path} is missing; copy the dataset again")
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            yield json.loads(line)
        except ValueError as error:
            raise DemosError(f"{path}, line {number} is not JSON: {error}; copy the dataset again") from error


def _layout(
    folder: Path, ours: Layout, entries: dict[str, Any], words: dict[str, tuple[str, ...]], feature: str
) -> Layout:
    """`ours` in the order that modality.json says, once it says it of every entry."""
    if set(entries) != set(words):
        raise DemosError(f"{folder}: {_MODALITY} names {sorted(entries)} for {feature}, expected {sorted(words)}")
    order: list[str] = []
    reached = 0
    for name in sorted(entries, key=lambda name: entries[name]["start"]):
        entry = entries[name]
        width = sum(part.width for part in ours.parts if part.name in words[name])
        span = (entry["start"], entry["end"])
        if entry.get("original_key", feature) != feature:
            raise DemosError(f"{folder}: {_MODALITY} takes {name} from {entry['original_key']}, expected {feature}")
        if span != (reached, reached + width):
            raise DemosError(
                f"{folder}: {_MODALITY} puts {name} at {span[0]}:{span[1]}, expected {width} entries from {reached} on"
            )
        order += words[name]
        reached += width
    return ours.reordered(f"{ours.name} of {folder.name}", order)


def _table(file: Path) -> pa.Table:
    try:
        return pq.read_table(file)
    except (pa.ArrowException, OSError) as error:
        raise DemosError(f"{file} cannot be read: {error}; copy the dataset again") from error


def _matrix(table: pa.Table, name: str, width: int, file: Path) -> NDArray[np.float32]:
    rows = table[name].to_pylist()
    if not rows:
        raise DemosError(f"{file} has no steps; copy the dataset again")
    if any(len(row) != width for row in rows):
        raise DemosError(f"{file}: {name} has {len(rows[0])} entries, expected {width}")
    return np.array(rows, np.float32).reshape(-1, width)
