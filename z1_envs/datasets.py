"""Demonstrations on disk, whoever wrote them: finds out which format it is, checks it and reads it.

    header = read_header(Path("demo_im128.hdf5"), "OpenDrawer")
    demos = read_demos(Path("demo_im128.hdf5"), "OpenDrawer")    # what SFT learns from
    print(validate(Path("demo_im128.hdf5")))                     # what is in it, and what is wrong

Formats: LeRobot v3.0 folders of `z1 demos` (`lerobot`), LeRobot v2 folders of RoboCasa v1.0 (`lerobot_v2`), HDF5 files
of RoboCasa v0.2 (`robomimic`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from z1_envs import lerobot, lerobot_v2
from z1_envs.dataset_check import DemosReport, problems_of, report_on
from z1_envs.demos import Demonstrations, DemosError
from z1_envs.episodes import ROBOCASA, Dataset, Episode
from z1_envs.layout import ACTION, CAMERAS
from z1_envs.lerobot import Header
from z1_envs.lerobot_v2 import LeRobotV2Dataset
from z1_envs.picture_room import room_for_pictures
from z1_envs.robomimic import RobomimicDataset

_HDF5 = (".hdf5", ".h5")


def tasks_of(path: str | Path) -> tuple[str, ...]:
    """Which tasks the dataset shows, by name; reads no steps. Raises DemosError for what is no dataset."""
    path = Path(path)
    if _is_ours(path):
        return (lerobot.read_header(path).task,)
    with opened(path) as dataset:
        return tuple(sorted(set(dataset.tasks)))


def read_header(path: str | Path, task: str) -> Header:
    """What the dataset says of itself; of RoboCasa's own, its episodes of `task` that are not marked as failed.

    Raises DemosError for what is no dataset or a broken one, as far as its meta data show.
    """
    path = Path(path)
    if _is_ours(path):
        return lerobot.read_header(path)
    with opened(path) as dataset:
        indices, num_attempts = _of_task(dataset, task, path)
        return Header(
            task=task,
            backend=ROBOCASA,
            obs="pixels" if dataset.image_px else "state",
            image_px=dataset.image_px,
            num_episodes=len(indices),
            num_steps=sum(dataset.num_steps[index] for index in indices),
            num_attempts=num_attempts,
            digest=dataset.digest,
        )


def read_demos(path: str | Path, task: str) -> Demonstrations:
    """The demonstrations of `task`, checked: actions in `layout.ACTION`, states in `layout.STATE`, images upright.

    Episodes that are marked as failed count as attempts alone.
    Pictures beyond 4 GiB lie in a temporary file, not in memory.
    Raises DemosError with the first of the sentences of `validate`.
    """
    path = Path(path)
    if _is_ours(path):
        demos = lerobot.read_lerobot(path)
        if demos.task != task:
            raise DemosError(f"{path} shows {demos.task}, this is {task}; give a dataset of that")
        return demos
    with opened(path) as dataset:
        indices, num_attempts = _of_task(dataset, task, path)
        episodes = np.repeat(np.arange(len(indices)), [dataset.num_steps[index] for index in indices])
        pictures = room_for_pictures(path, dataset.image_px, len(episodes))
        states: list[NDArray] = []
        actions: list[NDArray] = []
        words: list[str] = []
        start = 0
        for index in indices:
            episode = dataset.episode(index)
            num_steps = dataset.num_steps[index]
            for problem in problems_of(episode, num_steps, image_px=0):
                raise DemosError(problem)
            for camera, place in pictures.items():
                place[start : start + num_steps] = _picture(episode, camera, place.shape[1], num_steps)
            states.append(episode.state)
            actions.append(np.clip(episode.actions, -1, 1))  # as robosuite's controllers clip what they are given
            words += [episode.instruction] * num_steps
            start += num_steps
        return Demonstrations(
            task=task,
            backend=ROBOCASA,
            observation={**pictures, "state": np.concatenate(states), "instruction": np.array(words, dtype=np.str_)},
            actions=np.concatenate(actions),
            episode=episodes,
            attempts=num_attempts,
        )


def validate(path: str | Path) -> DemosReport:
    """What is in the dataset `path`, and all that is wrong with it.

    Of RoboCasa's formats one episode is in memory at a time; one of `z1 demos` is read as `read_demos` does it.
    Raises DemosError where it cannot be opened as any of the formats.
    """
    path = Path(path)
    with opened(path) as dataset:
        return report_on(dataset, path)


@contextmanager
def opened(path: Path) -> Iterator[Dataset]:
    """The dataset at `path`, for as long as the block lasts. Raises DemosError for what is none."""
    dataset = _open(path)
    try:
        yield dataset
    finally:
        dataset.close()


def _open(path: Path) -> Dataset:
    if not path.exists():
        raise DemosError(f"there is no {path}; write a dataset with `z1 demos`, or name one of RoboCasa's")
    if path.is_file():
        if path.suffix.lower() not in _HDF5:
            raise DemosError(f"{path} is a file, and no HDF5; a dataset is a folder, or a file *{_HDF5[0]}")
        return RobomimicDataset(path)
    if _is_ours(path):
        return _OwnDataset(path)
    return LeRobotV2Dataset(path)


def _is_ours(path: Path) -> bool:
    """Whether a folder is for `lerobot` to read, or to refuse in its own words."""
    if path.is_file() or not path.exists():
        return False
    info = path / lerobot.INFO
    if not info.is_file():
        inner = path / "lerobot"  # what RoboCasa's downloads unpack to
        if (inner / lerobot.INFO).is_file():
            raise DemosError(f"{path} is no LeRobot dataset, but {inner} is one; name that")
        return True
    return lerobot.read_json(info).get("codebase_version") not in lerobot_v2.VERSIONS


def _of_task(dataset: Dataset, task: str, path: Path) -> tuple[list[int], int]:
    """Which episodes of `task` can be learned from, and how many there are with those that failed."""
    attempts = [index for index, found in enumerate(dataset.tasks) if found == task]
    if not attempts:
        raise DemosError(
            f"{path} shows {' and '.join(sorted(set(dataset.tasks)))}, this is {task}; give a dataset of that"
        )
    indices = [index for index in attempts if not dataset.failed[index]]
    if not indices:
        raise DemosError(f"{path} marks all {len(attempts)} episodes of {task} as failed; give one with successes")
    return indices, len(attempts)


def _picture(episode: Episode, camera: str, px: int, num_steps: int) -> NDArray[np.uint8]:
    pictures = episode.pictures[camera]()
    if pictures.shape != (num_steps, px, px, 3):
        raise DemosError(
            f"{episode.name} has {camera} of shape {list(pictures.shape)}, expected [{num_steps}, {px}, {px}, 3]"
        )
    return pictures


class _OwnDataset:
    """A dataset of `z1 demos`, as `episodes.Dataset`, for the report."""

    latches = None  # a policy or a device may open the gripper by halves
    fps = float(lerobot.FPS)

    def __init__(self, folder: Path) -> None:
        self._demos = lerobot.read_lerobot(folder)
        header = lerobot.read_header(folder)
        ends = self._demos.ends
        self._starts = np.concatenate([[0], ends[:-1]]).astype(int)
        self._ends = ends
        self.format = f"LeRobot {lerobot.VERSION}, written by z1 on {header.backend!r}"
        self.action_order = f"{' '.join(part.name for part in ACTION.parts)}, says {lerobot.INFO}"
        self.image_px = header.image_px
        self.names = tuple(f"episode {index}" for index in range(header.num_episodes))
        self.tasks = (header.task,) * header.num_episodes
        self.num_steps: tuple[int, ...] = tuple((ends - self._starts).tolist())
        self.failed = (False,) * header.num_episodes  # nothing but successes is written
        self.digest = header.digest
        self.notes: tuple[str, ...] = ()

    def episode(self, index: int) -> Episode:
        steps = slice(int(self._starts[index]), int(self._ends[index]))
        seen = self._demos.observation
        return Episode(
            name=self.names[index],
            instruction=str(seen["instruction"][steps][0]),
            state=seen["state"][steps],
            actions=self._demos.actions[steps],
            succeeded=True,
            pictures={key: partial(lambda rows: rows, seen[key][steps]) for key in CAMERAS if key in seen},
        )

    def close(self) -> None:
        """Nothing is held open."""
