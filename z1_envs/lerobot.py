"""Demonstrations on disk, as LeRobot datasets v3.0: what is in one, and reading it back.

    read_lerobot(Path("drawer"))            # Demonstrations; states and actions bit for bit, images as videos keep them
    read_header(Path("drawer")).num_steps   # without reading the steps

meta/info.json               version, 20 steps per second, counts, and each feature's dtype, shape and names
meta/tasks.parquet           instruction → task_index
meta/episodes/chunk-000/     per episode: length, where its steps and pictures are, statistics
meta/stats.json              statistics of all steps
meta/z1.json                 ours, LeRobot ignores it: task, backend, seeds, attempts, and each file's SHA-256
data/chunk-000/              per step: state, action, …, and its place in the dataset; a row group per episode
videos/<feature>/chunk-000/  all episodes' pictures one after the other, H.264, a picture per step

What v3.0 requires follows LeRobot's documentation and what its reader accepts.
"""

import hashlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import imageio_ffmpeg
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from z1_envs.demos import Demonstrations, DemosError
from z1_envs.layout import ACTION, CAMERAS, SCENE, STATE, Layout
from z1_envs.picture_room import room_for_pictures
from z1_envs.whole_files import sha256_of

VERSION, OURS = "v3.0", 1
FPS = 20  # control steps per second
INFO, TASKS, STATS, HEADER = "meta/info.json", "meta/tasks.parquet", "meta/stats.json", "meta/z1.json"
PLACE = "chunk-{chunk_index:03d}/file-{file_index:03d}"
EPISODES_PATH = f"meta/episodes/{PLACE}.parquet"
DATA_PATH = f"data/{PLACE}.parquet"
VIDEO_PATH = f"videos/{{video_key}}/{PLACE}.mp4"
FILES_PER_CHUNK = 1000

ACTION_FEATURE = "action"
# Observation key → LeRobot's feature.
VECTORS = {"state": "observation.state", "scene": "observation.environment_state"}
IMAGES = {key: f"observation.images.{camera}" for key, camera in CAMERAS.items()}
LAYOUTS = {ACTION_FEATURE: ACTION, VECTORS["state"]: STATE, VECTORS["scene"]: SCENE}
# What every LeRobot dataset has for each step.
COUNTERS = {
    "timestamp": "float32",
    "frame_index": "int64",
    "episode_index": "int64",
    "index": "int64",
    "task_index": "int64",
}


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a dataset is.

    image_px: 0 without images. num_attempts: episodes run to get the successes. digest: of all its files; equal ones
    hold the same data.
    """

    task: str
    backend: str
    obs: Literal["state", "pixels"]
    image_px: int
    num_episodes: int
    num_steps: int
    num_attempts: int
    digest: str


def names_of(layout: Layout) -> list[str]:
    """A name for each entry of a flat vector: its part, numbered where it has several."""
    return [part.name if part.width == 1 else f"{part.name}_{i}" for part in layout.parts for i in range(part.width)]


def digest_of(files: dict[str, str]) -> str:
    """Of the names and SHA-256 of all files, those of `meta/z1.json` apart."""
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()


def read_header(folder: Path) -> Header:
    """What the dataset in `folder` is, once it has been found to be one that `read_lerobot` takes.

    Raises DemosError, which says what is missing or wrong; what the steps hold is not looked at.
    """
    return _open(folder)[0]


def read_lerobot(folder: Path) -> Demonstrations:
    """The demonstrations that `write_lerobot` put into `folder`: all bit for bit, but for images, which are decoded.

    Pictures beyond 4 GiB lie in a temporary file, not in memory.
    Raises DemosError, which says what is missing or wrong.
    """
    header, ours = _open(folder)
    for name, digest in ours["files"].items():
        if sha256_of(folder / name) != digest:
            raise DemosError(f"{folder / name} is not as it was written: cut short or changed; copy the dataset again")
    names = ["task_index", "episode_index", ACTION_FEATURE, VECTORS["state"]]
    names += [VECTORS["scene"]] if header.obs == "state" else []
    columns = _columns(folder, ours, names)
    tasks = pq.read_table(folder / TASKS)
    instructions = np.array(tasks["task"].to_pylist())[np.argsort(tasks["task_index"].to_numpy())]
    observation = {key: columns[name] for key, name in VECTORS.items() if name in columns}
    if header.obs == "pixels":
        pictures = room_for_pictures(folder, header.image_px, header.num_steps)
        for key, place in pictures.items():
            _fill(place, folder, ours, IMAGES[key])
        observation |= pictures
    observation["instruction"] = instructions[columns["task_index"]]
    return Demonstrations(
        task=header.task,
        backend=header.backend,
        observation=observation,
        actions=np.clip(columns[ACTION_FEATURE], -1, 1),  # as those of RoboCasa's datasets
        episode=columns["episode_index"],
        attempts=ours["attempts"],
        simulated_steps=ours["simulated_steps"],
        seeds=tuple(ours["seeds"]),
    )


def read_column(file: Path, name: str) -> NDArray:
    """A column of a data file: [n], or [n, width] for vectors."""
    column = pq.read_table(file, columns=[name])[name]
    width = column.type.list_size if pa.types.is_fixed_size_list(column.type) else None
    parts = [chunk.flatten() if width else chunk for chunk in column.chunks]
    flat = np.concatenate([part.to_numpy() for part in parts])
    return flat.reshape(-1, width) if width else flat


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises DemosError where there is none."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DemosError(f"{path} is missing; copy the dataset again") from error
    except ValueError as error:
        raise DemosError(f"{path} is not JSON: {error}; copy the dataset again") from error
    if not isinstance(values, dict):
        raise DemosError(f"{path} holds no JSON object; copy the dataset again")
    return values


def decode(video: Path, px: int) -> Iterator[NDArray[np.uint8]]:
    """The pictures [px, px, 3] of a video."""
    # Not imageio's reader: it leaves its pipes to the garbage collector.
    to_rgb = ["-v", "error", "-i", str(video), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    with subprocess.Popen(
        [imageio_ffmpeg.get_ffmpeg_exe(), *to_rgb], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        while len(pixels := process.stdout.read(px * px * 3)) == px * px * 3:
            yield np.frombuffer(pixels, np.uint8).reshape(px, px, 3)


def _open(folder: Path) -> tuple[Header, dict[str, Any]]:
    """The header, and meta/z1.json as it is."""
    if not (folder / INFO).is_file():
        raise DemosError(f"{folder} is no LeRobot dataset (no {INFO}); write one with `z1 demos`")
    info = read_json(folder / INFO)
    version = info.get("codebase_version")
    if version != VERSION:
        raise DemosError(
            f"{folder} has LeRobot's format {version}, expected {VERSION}; convert it with LeRobot's tools"
        )
    if not (folder / HEADER).is_file():
        raise DemosError(
            f"{folder} has no {HEADER}, which says task, backend and seeds: it was not written by `z1 demos`, or has "
            "been rewritten since"
        )
    ours = read_json(folder / HEADER)
    if ours.get("version") != OURS:
        raise DemosError(f"{folder / HEADER} has version {ours.get('version')}, expected {OURS}; collect it again")
    try:
        header = _header(folder, info, ours)
    except (KeyError, TypeError, AttributeError) as error:
        raise DemosError(f"{folder}: {INFO} or {HEADER} lacks or garbles {error}; copy the dataset again") from error
    missing = [name for name in ours["files"] if not (folder / name).is_file()]
    if missing:
        raise DemosError(f"{folder} lacks {', '.join(missing)}; copy the dataset again")
    return header, ours


def _header(folder: Path, info: dict[str, Any], ours: dict[str, Any]) -> Header:
    if info["fps"] != FPS:
        raise DemosError(
            f"{folder} has {info['fps']} steps per second, expected {FPS}, the rate of the robot's control"
        )
    features = info["features"]
    obs = "pixels" if IMAGES["image_left"] in features else "state"
    wanted = [ACTION_FEATURE, VECTORS["state"], *([VECTORS["scene"]] if obs == "state" else [])]
    for name in wanted:
        _check_vector(folder, name, features)
    sizes = {tuple(features[name]["shape"]) for name in IMAGES.values()} if obs == "pixels" else {(0, 0, 3)}
    height, width, _ = max(sizes)
    if len(sizes) > 1 or height != width:
        raise DemosError(f"{folder} has images of the sizes {sorted(sizes)}, expected squares of one size")
    if info["total_episodes"] != len(ours["seeds"]):
        raise DemosError(f"{folder} has {info['total_episodes']} episodes in {INFO}, {len(ours['seeds'])} in {HEADER}")
    return Header(
        task=ours["task"],
        backend=ours["backend"],
        obs=obs,
        image_px=height,
        num_episodes=info["total_episodes"],
        num_steps=info["total_frames"],
        num_attempts=ours["attempts"],
        digest=digest_of(ours["files"]),
    )


def _check_vector(folder: Path, name: str, features: dict[str, Any]) -> None:
    """Other widths and other orders would be learned from without a word."""
    layout = LAYOUTS[name]
    if name not in features:
        raise DemosError(f"{folder} has no feature {name}; it has {', '.join(features)}")
    shape, dtype, names = (features[name][key] for key in ("shape", "dtype", "names"))
    if list(shape) != [layout.width] or dtype != "float32":
        raise DemosError(f"{folder}: {name} is {dtype} {list(shape)}, expected float32 [{layout.width}]")
    if list(names or []) != names_of(layout):
        raise DemosError(f"{folder}: the entries of {name} are {names}, expected the order {names_of(layout)}")


def _columns(folder: Path, ours: dict[str, Any], names: list[str]) -> dict[str, NDArray]:
    files = [folder / name for name in ours["files"] if name.startswith("data/")]
    return {name: np.concatenate([read_column(file, name) for file in files]) for name in names}


def _fill(pictures: NDArray[np.uint8], folder: Path, ours: dict[str, Any], feature: str) -> None:
    """Reads all pictures of a camera into [N, px, px, 3], in the order of the steps, which is that of the files."""
    num_read = 0
    for name in ours["files"]:
        if not name.startswith(f"videos/{feature}/"):
            continue
        for picture in decode(folder / name, pictures.shape[1]):
            if num_read == len(pictures):
                raise DemosError(f"{folder} has more than {len(pictures)} pictures in {feature}, one per step")
            pictures[num_read] = picture
            num_read += 1
    if num_read < len(pictures):
        raise DemosError(f"{folder} has {num_read} pictures in {feature}, expected {len(pictures)}, one per step")
