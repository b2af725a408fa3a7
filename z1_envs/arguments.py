"""What users give, checked at the door."""

import math
from collections.abc import Collection
from typing import Any

import numpy as np


def check_whole(name: str, number: object, *, least: int) -> None:
    """Raises ValueError, by `name`, where `number` is no whole number of at least `least`."""
    if not isinstance(number, (int, np.integer)) or isinstance(number, bool) or number < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {number!r}")


def whole(name: str, number: object, *, least: int) -> int:
    """`number` as a Python int, which JSON knows, unlike NumPy's. Raises as `check_whole`."""
    check_whole(name, number, least=least)
    return int(number)  # pyright: ignore[reportArgumentType] (a whole number, as checked)


def check_positive(name: str, number: Any) -> None:
    """Raises ValueError, by `name`, where `number` is no finite number above 0."""
    if not (_is_finite(number) and number > 0):
        raise ValueError(f"{name} must be a finite number above 0, got {number!r}")


def check_at_least_0(name: str, number: Any) -> None:
    """Raises ValueError, by `name`, where `number` is no finite number of at least 0."""
    if not (_is_finite(number) and number >= 0):
        raise ValueError(f"{name} must be a number from 0 on, got {number!r}")


def _is_finite(number: object) -> bool:
    return isinstance(number, (int, float, np.number)) and math.isfinite(number)


def check_choice(name: str, choice: object, choices: Collection[str]) -> None:
    """Raises ValueError, by `name`, where `choice` is none of `choices`."""
    if choice not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {choice!r}")


def check_render_mode(render_mode: object) -> None:
    """Raises ValueError for anything but None and "rgb_array"."""
    if render_mode not in (None, "rgb_array"):
        raise ValueError(f"render_mode must be None or 'rgb_array', got {render_mode!r}")


def checked_seed(seed: object) -> int | None:
    """`seed` as Gymnasium's own reset takes it: a Python int, or None. Raises ValueError for anything but a seed."""
    if seed is None:
        return None
    return whole("seed", seed, least=0)
