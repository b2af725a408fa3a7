"""Writing demonstrations as a LeRobot dataset v3.0, part by part; what is in one is said in `z1_envs.lerobot`.

write_lerobot(collect_parts("OpenDrawer", num_episodes=10_000, seed=0), Path("drawer"))
"""

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import imageio.v2 as imageio
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from z1_envs.demos import Demonstrations, DemosError
from z1_envs.lerobot import (
    ACTION_FEATURE,
    COUNTERS,
    DATA_PATH,
    EPISODES_PATH,
    FILES_PER_CHUNK,
    FPS,
    HEADER,
    IMAGES,
    INFO,
    LAYOUTS,
    OURS,
    STATS,
    TASKS,
    VECTORS,
    VERSION,
    VIDEO_PATH,
    names_of,
    read_column,
)
from z1_envs.lerobot_statistics import LEVELS, Statistics, picture_statistics, statistics
from z1_envs.whole_files import sha256_of

_ROBOT = "PandaOmron"
_MB = 1_000_000
_MAX_DATA_MB, _MAX_VIDEO_MB = 100, 200  # of a file, and what info.json says of them
# LeRobot looks pictures up by float32 seconds with a tolerance of 1e-4 s: up to 1024 s they are finer than that.
_MAX_VIDEO_FRAMES = 1000 * FPS
# A key picture every half second, for readers that jump. Colours are halved in resolution, as everybody can decode.
_CODEC = ["-crf", "18", "-g", "10"]


def write_lerobot(
    parts: Iterable[Demonstrations], folder: str | Path, *, about: Mapping[str, Any] | None = None
) -> None:
    """Writes all `parts`, of one task, as the dataset `folder`, which appears once it is complete.

    Memory holds one part at a time. about: anything for JSON that tells where it is from, e.g. the command.
    Raises DemosError where `folder` exists, where there are no episodes, for parts that differ in what is observed, for
    observations that `read_lerobot` would refuse, and for images with an odd number of pixels.
    """
    folder = Path(folder)
    if folder.exists():
        raise DemosError(f"{folder} exists already; give another directory")
    aside = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    aside.mkdir(parents=True)
    try:
        _write(parts, aside, dict(about or {}))
        os.rename(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _write(parts: Iterable[Demonstrations], root: Path, about: dict[str, Any]) -> None:
    writer: _Writer | None = None
    attempts = simulated_steps = 0
    try:
        for demos in parts:
            attempts, simulated_steps = attempts + demos.attempts, simulated_steps + demos.simulated_steps
            if demos.num_episodes:
                writer = writer or _Writer(root, demos)
                writer.append(demos)
        if writer is None:
            raise DemosError("there are no demonstrations to write")
        writer.finish({"attempts": attempts, "simulated_steps": simulated_steps, "about": about})
    finally:
        if writer is not None:
            writer.close()


class _Writer:
    """A dataset under way in `root`, for demonstrations like `first`."""

    def __init__(self, root: Path, first: Demonstrations) -> None:
        self._root, self._task, self._backend = root, first.task, first.backend
        self._kinds = _kinds_of(first)
        _check_kinds(self._kinds)
        self._videos = {key: _Video(root, IMAGES[key], kind) for key, kind in self._kinds.items() if key in IMAGES}
        self._vectors = [ACTION_FEATURE, *(VECTORS[key] for key in self._kinds if key in VECTORS)]
        self._instructions: dict[str, int] = {}
        self._seeds: list[int] = []
        self._num_steps = 0
        self._data: pq.ParquetWriter | None = None
        self._data_file = -1
        self._data_bytes = 0
        self._episodes: pq.ParquetWriter | None = None

    def append(self, demos: Demonstrations) -> None:
        """Adds all episodes of `demos`."""
        if (demos.task, demos.backend) != (self._task, self._backend) or len(demos.seeds) != demos.num_episodes:
            raise DemosError(f"{demos.task}: parts of a dataset share task and backend, and know their episodes' seeds")
        if _kinds_of(demos) != self._kinds:
            raise DemosError(
                f"parts of a dataset have the same observations, got {_kinds_of(demos)} after {self._kinds}"
            )
        rows, first = [], 0
        for end in demos.ends.tolist():
            rows.append(self._append_episode(demos, slice(first, end), len(self._seeds) + len(rows)))
            first = end
        table = pa.Table.from_pylist(rows, schema=None if self._episodes is None else self._episodes.schema)
        if self._episodes is None:
            self._episodes = pq.ParquetWriter(_new(self._root, EPISODES_PATH), table.schema)
        self._episodes.write_table(table)
        self._seeds += demos.seeds

    def _append_episode(self, demos: Demonstrations, steps: slice, number: int) -> dict[str, Any]:
        """Writes its steps; returns its row of meta/episodes."""
        length = steps.stop - steps.start
        instructions = demos.observation["instruction"][steps].tolist()
        vectors = {ACTION_FEATURE: demos.actions[steps]}
        vectors |= {VECTORS[key]: demos.observation[key][steps] for key in self._kinds if key in VECTORS}
        for name, values in vectors.items():
            if values.dtype != np.float32 or values.shape[1:] != (LAYOUTS[name].width,):
                raise DemosError(
                    f"{name} is {values.dtype} {values.shape}, expected float32 [N, {LAYOUTS[name].width}]"
                )
        counters = {
            "timestamp": (np.arange(length) / FPS).astype(np.float32),
            "frame_index": np.arange(length),
            "episode_index": np.full(length, number),
            "index": np.arange(length) + self._num_steps,
            "task_index": np.array([self._instructions.setdefault(i, len(self._instructions)) for i in instructions]),
        }
        self._write_steps(vectors, counters)
        row: dict[str, Any] = {
            "episode_index": number,
            "tasks": list(dict.fromkeys(instructions)),
            "length": length,
            **_place("data", self._data_file),
            "dataset_from_index": self._num_steps,
            "dataset_to_index": self._num_steps + length,
            **_place("meta/episodes", 0),
        }
        found = statistics(vectors | counters)
        for key, video in self._videos.items():
            row |= video.append(demos.observation[key][steps])
            found[IMAGES[key]] = video.last_statistics
        self._num_steps += length
        return row | {f"stats/{name}/{what}": value for name, values in found.items() for what, value in values.items()}

    def _write_steps(self, vectors: dict[str, NDArray], counters: dict[str, NDArray]) -> None:
        columns: dict[str, pa.Array] = {
            name: pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])
            for name, values in vectors.items()
        }
        columns |= {name: pa.array(values, pa.type_for_alias(COUNTERS[name])) for name, values in counters.items()}
        table = pa.table(columns)
        if self._data is None or self._data_bytes + table.nbytes > _MAX_DATA_MB * _MB:
            if self._data is not None:
                self._data.close()
            self._data_file += 1
            self._data_bytes = 0
            self._data = pq.ParquetWriter(_new(self._root, DATA_PATH, self._data_file), table.schema)
        self._data_bytes += table.nbytes
        self._data.write_table(table)  # a row group: LeRobot fetches single episodes by it

    def finish(self, told: dict[str, Any]) -> None:
        """Writes what is known at the end alone; `told` goes to meta/z1.json."""
        self.close()
        _write_json(self._root / INFO, self._info())
        _write_json(self._root / STATS, self._all_statistics())
        pq.write_table(_tasks_table(list(self._instructions)), _new(self._root, TASKS))
        files = sorted(path.relative_to(self._root).as_posix() for path in self._root.rglob("*") if path.is_file())
        ours = {
            "version": OURS,
            "task": self._task,
            "backend": self._backend,
            "successes": len(self._seeds),
            **told,
            "seeds": self._seeds,
            "files": {name: sha256_of(self._root / name) for name in files},
        }
        _write_json(self._root / HEADER, ours)

    def close(self) -> None:
        """Closes all files; may be called twice."""
        for file in (self._data, self._episodes, *self._videos.values()):
            if file is not None:
                file.close()

    def _info(self) -> dict[str, Any]:
        features: dict[str, Any] = {
            name: {"dtype": "float32", "shape": [LAYOUTS[name].width], "names": names_of(LAYOUTS[name])}
            for name in self._vectors
        }
        features |= {IMAGES[key]: video.feature() for key, video in self._videos.items()}
        features |= {name: {"dtype": dtype, "shape": [1], "names": None} for name, dtype in COUNTERS.items()}
        return {
            "codebase_version": VERSION,
            "robot_type": _ROBOT,
            "total_episodes": len(self._seeds),
            "total_frames": self._num_steps,
            "total_tasks": len(self._instructions),
            "chunks_size": FILES_PER_CHUNK,
            "data_files_size_in_mb": _MAX_DATA_MB,
            "video_files_size_in_mb": _MAX_VIDEO_MB,
            "fps": FPS,
            "splits": {"train": f"0:{len(self._seeds)}"},
            "data_path": DATA_PATH,
            "video_path": VIDEO_PATH if self._videos else None,
            "features": features,
        }

    def _all_statistics(self) -> Statistics:
        """Exact ones, so of all values at once; feature by feature, to hold no more than one."""
        files = [self._root / _path(DATA_PATH, file) for file in range(self._data_file + 1)]
        found: Statistics = {}
        for name in (*self._vectors, *COUNTERS):
            found |= statistics({name: np.concatenate([read_column(file, name) for file in files])})
        return found | {IMAGES[key]: video.statistics() for key, video in self._videos.items()}


class _Video:
    """The pictures of one camera, uint8 [px, px, 3] each."""

    def __init__(self, root: Path, feature: str, shape: tuple[int, ...]) -> None:
        if shape[0] % 2 or shape[1] % 2:
            raise DemosError(f"videos have an even number of pixels, got images {shape[0]} px high, {shape[1]} px wide")
        self._root, self._feature, self._shape = root, feature, shape
        self._writer: Any = None
        self._path = Path()
        self._file, self._num_frames = -1, 0
        self._levels = np.zeros((3, LEVELS), np.int64)  # how often each colour has had each level
        self._all_frames = 0
        self.last_statistics: dict[str, Any] = {}

    def append(self, pictures: NDArray[np.uint8]) -> dict[str, Any]:
        """Adds an episode; returns where it is, as columns of meta/episodes."""
        if self._writer is None or self._is_full(len(pictures)):
            self.close()
            self._file, self._num_frames = self._file + 1, 0
            self._path = _new(self._root, VIDEO_PATH, self._file, self._feature)
            self._writer = imageio.get_writer(
                self._path,
                format="FFMPEG",  # pyright: ignore[reportArgumentType]
                fps=FPS,
                codec="libx264",
                quality=None,
                pixelformat="yuv420p",
                macro_block_size=2,
                ffmpeg_params=_CODEC,
                ffmpeg_log_level="error",
            )
        for picture in pictures:
            self._writer.append_data(picture)
        levels = np.stack([np.bincount(pictures[..., colour].reshape(-1), minlength=LEVELS) for colour in range(3)])
        self.last_statistics = picture_statistics(levels, len(pictures))
        self._levels += levels
        self._all_frames += len(pictures)
        first, self._num_frames = self._num_frames, self._num_frames + len(pictures)
        about = f"videos/{self._feature}"
        times = {f"{about}/from_timestamp": first / FPS, f"{about}/to_timestamp": self._num_frames / FPS}
        return _place(about, self._file) | times

    def _is_full(self, more: int) -> bool:
        # The encoder makes the file when it has something to write.
        num_bytes = self._path.stat().st_size if self._path.exists() else 0
        return self._num_frames + more > _MAX_VIDEO_FRAMES or num_bytes > _MAX_VIDEO_MB * _MB

    def statistics(self) -> dict[str, Any]:
        """Of all pictures so far, in [0, 1]."""
        return picture_statistics(self._levels, self._all_frames)

    def feature(self) -> dict[str, Any]:
        """The feature in info.json."""
        height, width, colours = self._shape
        video = {
            "video.height": height,
            "video.width": width,
            "video.codec": "h264",
            "video.pix_fmt": "yuv420p",
            "video.is_depth_map": False,
            "video.fps": FPS,
            "video.channels": colours,
            "has_audio": False,
        }
        return {
            "dtype": "video",
            "shape": list(self._shape),
            "names": ["height", "width", "channels"],
            "info": video,
        }

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _kinds_of(demos: Demonstrations) -> dict[str, tuple[int, ...]]:
    """Shape of one step's observation, by key."""
    return {key: values.shape[1:] for key, values in demos.observation.items()}


def _check_kinds(kinds: dict[str, tuple[int, ...]]) -> None:
    """Raises DemosError for observations that a dataset has no place for, or that nobody could read."""
    unknown = kinds.keys() - VECTORS.keys() - IMAGES.keys() - {"instruction"}
    if unknown:
        raise DemosError(f"these datasets have no place for the observations {sorted(unknown)}; leave them out")
    images = kinds.keys() & IMAGES.keys()
    if images and "scene" in kinds:
        raise DemosError("a dataset has either images or the privileged scene; leave one of them out")
    lacking = {"state", "instruction", *(IMAGES if images else ["scene"])} - kinds.keys()
    if lacking:
        raise DemosError(
            f"the observations lack {sorted(lacking)}: a dataset has state, instruction and the images of all cameras, "
            "or without images the scene"
        )
    sizes = {kinds[key] for key in images}
    if len(sizes) > 1 or any(height != width for height, width, _ in sizes):
        raise DemosError(f"got images of the sizes {sorted(sizes)}, expected squares of one size")


def _path(template: str, file: int, video_key: str = "") -> str:
    chunk_index, file_index = divmod(file, FILES_PER_CHUNK)
    return template.format(chunk_index=chunk_index, file_index=file_index, video_key=video_key)


def _new(root: Path, template: str, file: int = 0, video_key: str = "") -> Path:
    """The path of a file to be written, in a directory that exists."""
    path = root / _path(template, file, video_key)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _place(prefix: str, file: int) -> dict[str, int]:
    chunk_index, file_index = divmod(file, FILES_PER_CHUNK)
    return {f"{prefix}/chunk_index": chunk_index, f"{prefix}/file_index": file_index}


def _write_json(path: Path, values: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, indent=1, allow_nan=False), encoding="utf-8")


def _tasks_table(instructions: list[str]) -> pa.Table:
    """LeRobot reads it with pandas and looks instructions up in its index, which this metadata declares."""
    index = {"name": "task", "field_name": "task", "pandas_type": "unicode", "numpy_type": "object", "metadata": None}
    column = {"name": "task_index", "field_name": "task_index", "pandas_type": "int64", "numpy_type": "int64"}
    pandas = {
        "index_columns": ["task"],
        "column_indexes": [],
        "columns": [column | {"metadata": None}, index],
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.0.0",
    }
    table = pa.table({"task_index": np.arange(len(instructions)), "task": instructions})
    return table.replace_schema_metadata({"pandas": json.dumps(pandas)})
