"""Numbers that users give, checked at the door."""

import numpy as np


def check_whole(name: str, number: object, *, least: int) -> None:
    """Raises ValueError, by `name`, where `number` is no whole number of at least `least`."""
    if not isinstance(number, (int, np.integer)) or isinstance(number, bool) or number < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {number!r}")
