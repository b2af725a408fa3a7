"""Where the pictures of a dataset lie once they are read: in memory, or in a file where they are too many."""

import math
import shutil
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from z1_envs.demos import DemosError
from z1_envs.layout import CAMERAS

_IN_MEMORY = 4 * 2**30  # bytes of pictures; more go to a temporary file, and the system holds what is looked at


def room_for_pictures(path: Path, px: int, num_steps: int) -> dict[str, NDArray[np.uint8]]:
    """Arrays uint8 [N, px, px, 3] by camera, to be filled with the pictures of the dataset `path`; none for 0 px.

    Raises DemosError where they fit neither into 4 GiB nor onto the disk of temporary files.
    """
    if not px:
        return {}
    shape = (num_steps, px, px, 3)
    num_bytes = len(CAMERAS) * math.prod(shape)
    if num_bytes <= _IN_MEMORY:
        return {camera: np.empty(shape, np.uint8) for camera in CAMERAS}
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if num_bytes > free:
        raise DemosError(
            f"the pictures of {path} take {num_bytes / 2**30:.0f} GiB, {folder} has {free / 2**30:.0f} GiB free; set "
            "TMPDIR to a larger disk, or take a dataset of fewer episodes"
        )
    places: dict[str, NDArray[np.uint8]] = {}
    for camera in CAMERAS:
        with tempfile.TemporaryFile() as file:  # without a name: gone with the last array that looks into it
            places[camera] = np.memmap(file, np.uint8, "w+", shape=shape)
    return places
