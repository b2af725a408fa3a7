"""Actions and chunks, checked before anything moves."""

from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

# Clipped silently: rounding in a policy's output, not a mistake of the caller's.
ACTION_TOLERANCE = 1e-6


class ActionError(ValueError):
    """An action or chunk that an env does not take; nothing has moved."""


class ActionCheck:
    """Turns what a caller hands to L lanes into chunks inside the action space, or says what is wrong."""

    def __init__(self, space: spaces.Space, num_lanes: int) -> None:
        """Raises ValueError for spaces other than Box, Discrete and MultiDiscrete."""
        low, high = _bounds(space)
        self._low, self._high = low, high
        self._lowest, self._highest = low - ACTION_TOLERANCE, high + ACTION_TOLERANCE
        self._kinds = "fiu" if isinstance(space, spaces.Box) else "iu"
        self._dtype: Any = space.dtype
        self._single = (num_lanes, *low.shape)

    def chunks(self, actions: ArrayLike, lanes: NDArray[np.integer]) -> NDArray:
        """The chunks [n, H, A] of `lanes` [n] out of `actions` [L, A] or [L, H, A], in the space's dtype.

        Entries within 1e-6 of the bounds are clipped. Raises ActionError for another shape or dtype, and for
        entries of `lanes` that are not finite or out of bounds; rows of other lanes are not looked at.
        """
        given = np.asarray(actions)
        single = self._single
        is_chunk = given.ndim == len(single) + 1 and given.shape[1] > 0
        if given.shape != ((single[0], given.shape[1], *single[1:]) if is_chunk else single):
            chunked = ", ".join(map(str, (single[0], "H", *single[1:])))
            raise ActionError(f"actions must have the shape {single}, or ({chunked}) for chunks; got {given.shape}")
        if given.dtype.kind not in self._kinds:
            raise ActionError(f"actions must be numbers that fit {self._dtype}, got dtype {given.dtype}")
        rows = given[lanes] if is_chunk else given[lanes][:, None]
        # Comparisons with nan are false, and infinite bounds do not allow infinite actions.
        good = (rows >= self._lowest) & (rows <= self._highest) & np.isfinite(rows)
        if not good.all():
            self._refuse(rows, ~good, lanes)
        return np.clip(rows, self._low, self._high).astype(self._dtype)

    def _refuse(self, rows: NDArray, wrong: NDArray, lanes: NDArray[np.integer]) -> None:
        in_lane = wrong.reshape(len(lanes), -1).any(axis=1)
        first = int(np.argmax(in_lane))
        value = rows[first][wrong[first]].flat[0]
        said, where = "the action must be", f"it has {value}"
        if self._single[0] > 1:
            said, where = f"the actions of lanes {lanes[in_lane].tolist()} are not", f"lane {lanes[first]} has {value}"
        raise ActionError(
            f"{said} finite numbers in [{self._low.min():g}, {self._high.max():g}] ({where}): "
            "check the policy's output, clip it where overshooting is meant"
        )


def _bounds(space: spaces.Space) -> tuple[NDArray, NDArray]:
    """Lowest and highest action, both of the action's shape."""
    if isinstance(space, spaces.Box):
        return space.low.astype(np.float64), space.high.astype(np.float64)
    if isinstance(space, spaces.Discrete):
        return np.asarray(space.start), np.asarray(space.start + space.n - 1)
    if isinstance(space, spaces.MultiDiscrete):
        return space.start, space.start + space.nvec - 1
    raise ValueError(f"lanes take actions that are Box, Discrete or MultiDiscrete, got {space}")
