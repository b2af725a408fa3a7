"""Training that has diverged: numbers that are no longer finite, before they reach weights, checkpoints and results."""

import math
from collections.abc import Mapping


class DivergedError(RuntimeError):
    """A training whose numbers are no longer finite, and which has nothing to end with."""


def not_finite(numbers: Mapping[str, float]) -> str | None:
    """The first of `numbers`, by what they are called, that is none, in words such as "loss became nan"."""
    return next((f"{name} became {number}" for name, number in numbers.items() if not math.isfinite(number)), None)
