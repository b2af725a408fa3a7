"""Datasets of recorded episodes, whatever their format: what one offers, and what RoboCasa's words mean here.

`datasets` opens one, `robomimic` and `lerobot_v2` read RoboCasa's two formats, `dataset_check` looks for what is wrong.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from z1_envs.demos import DemosError
from z1_envs.robocasa.versions import V101
from z1_envs.tasks import TASKS

ROBOCASA = "robocasa"  # the backend that RoboCasa's own recordings show

# v1.0's classes that none of our rows uses: v0.2 has one task for cabinets of one door and microwaves.
_MICROWAVES = {"OpenMicrowave": "OpenSingleDoor", "CloseMicrowave": "CloseSingleDoor"}


@dataclass(frozen=True, kw_only=True)
class Episode:
    """One recorded episode of n steps, its vectors in the order of `layout`.

    name: as the dataset calls it. state: float32 [n, 16] as `layout.STATE`. actions: float32 [n, 12] as
    `layout.ACTION`. succeeded: what the dataset says of it, None where it says nothing. pictures: camera key → its
    pictures uint8 [n, px, px, 3], upright, read when called; empty without images.
    """

    name: str
    instruction: str
    state: NDArray[np.float32]
    actions: NDArray[np.float32]
    succeeded: bool | None
    pictures: dict[str, Callable[[], NDArray[np.uint8]]]


class Dataset(Protocol):
    """Episodes on disk, found readable as a whole; what single episodes hold shows when they are read.

    format: in words. action_order: parts of an action as the file has them, and what says so. latches: the values
    that gripper and base mode have in the file; None where any will do, since names tell the order. names: of the
    episodes, in order. tasks: the task of each of them. failed: which of them are left out of what is learned,
    because the dataset says that they did not succeed. image_px: 0 without images. num_steps: of each episode, as the
    dataset declares it. digest: equal ones hold the same actions to learn from. notes: what a reader should know and
    is not wrong.
    """

    @property
    def format(self) -> str: ...

    @property
    def action_order(self) -> str: ...

    @property
    def latches(self) -> str | None: ...

    @property
    def fps(self) -> float: ...

    @property
    def image_px(self) -> int: ...

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def tasks(self) -> tuple[str, ...]: ...

    @property
    def failed(self) -> tuple[bool, ...]: ...

    @property
    def num_steps(self) -> tuple[int, ...]: ...

    @property
    def digest(self) -> str: ...

    @property
    def notes(self) -> tuple[str, ...]: ...

    def episode(self, index: int) -> Episode:
        """Reads an episode, its pictures apart. Raises DemosError where that cannot be done."""
        ...

    def close(self) -> None:
        """Lets go of files."""
        ...


def task_of(env_name: str, instruction: str) -> str:
    """Our task for RoboCasa's name of an env, v0.2's or v1.0's; the words tell v1.0's cabinets with two doors apart.

    Raises DemosError for envs that are none of the 24.
    """
    if env_name in TASKS:
        return env_name
    if env_name in _MICROWAVES:
        return _MICROWAVES[env_name]
    found = [name for name, row in V101.tasks.items() if row.class_name == env_name]
    if len(found) == 2:  # Open- or CloseCabinet: "Open the cabinet doors." (v1.0.1:K/atomic/kitchen_doors.py:47)
        has_two = instruction.rstrip(".").endswith("doors")
        found = [name for name in found if ("Double" in name) == has_two]
    if not found:
        raise DemosError(f"the recorded env {env_name!r} is none of the 24 tasks; `z1 list` shows them")
    return found[0]
