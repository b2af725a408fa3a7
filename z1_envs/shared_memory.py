"""Observations of a lane in memory that two processes share, so that images do not go through a pipe."""

from multiprocessing.shared_memory import SharedMemory
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray


class ObservationBlock:
    """Shared memory for one observation: an array or a flat dict of arrays, as in the space."""

    def __init__(self, space: spaces.Space, name: str | None) -> None:
        """Makes a block, or opens the one called `name`. Whoever made it releases it."""
        self._is_dict = isinstance(space, spaces.Dict)
        leaves: dict[str, Any] = dict(space.spaces) if isinstance(space, spaces.Dict) else {"": space}
        self._places: list[tuple[str, tuple[int, ...], np.dtype, int]] = []
        size = 0
        for key, leaf in leaves.items():
            self._places.append((key, leaf.shape, np.dtype(leaf.dtype), size))
            size += -(-int(np.prod(leaf.shape)) * leaf.dtype.itemsize // 64) * 64  # whole cache lines
        self._owner = name is None
        self._memory: SharedMemory | None = SharedMemory(name=name, create=name is None, size=max(size, 1))

    @property
    def name(self) -> str:
        """What the other process opens it by."""
        return self._open().name

    def write(self, observation: Any) -> None:
        """Raises ValueError where an array has another shape than the space says."""
        for (key, *_), view in zip(self._places, self._views(), strict=True):
            value = np.asarray(observation[key] if self._is_dict else observation)
            if value.shape != view.shape:
                raise ValueError(
                    f"observation {key!r} has shape {value.shape}, the observation space says {view.shape}"
                )
            view[...] = value

    def read(self) -> Any:
        """A copy of what was written."""
        copies = [view.copy() for view in self._views()]
        if not self._is_dict:
            return copies[0]
        return {key: value for (key, *_), value in zip(self._places, copies, strict=True)}

    def release(self) -> None:
        """Lets go of the memory; a second call does nothing."""
        if self._memory is not None:
            self._memory.close()
            if self._owner:
                self._memory.unlink()
            self._memory = None

    def _open(self) -> SharedMemory:
        if self._memory is None:
            raise ValueError("this lane is closed; build a new vector env")
        return self._memory

    def _views(self) -> list[NDArray]:
        # Made anew each time: memory cannot be closed while arrays point into it.
        buffer = self._open().buf
        return [np.ndarray(shape, dtype, buffer, offset) for _, shape, dtype, offset in self._places]
