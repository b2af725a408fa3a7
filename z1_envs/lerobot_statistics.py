"""The statistics that LeRobot keeps of every feature: extremes, mean, standard deviation, five quantiles, count.

They are exact: LeRobot itself estimates quantiles from histograms, so that its own differ a little.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Feature → statistic → nested lists of numbers.
Statistics = dict[str, dict[str, Any]]

LEVELS = 256  # of a colour
_VALUES = np.arange(LEVELS) / (LEVELS - 1)
_QUANTILES = (0.01, 0.10, 0.50, 0.90, 0.99)


def statistics(features: dict[str, NDArray]) -> Statistics:
    """Of each feature [n] or [n, width] over n, per entry."""
    blocks = {name: values.reshape(len(values), -1) for name, values in features.items()}
    together = np.concatenate(list(blocks.values()), axis=1, dtype=np.float64)  # one call for all is far faster
    rows = {
        "min": together.min(axis=0),
        "max": together.max(axis=0),
        "mean": together.mean(axis=0),
        "std": together.std(axis=0),
        **dict(zip(map(_quantile_name, _QUANTILES), np.quantile(together, _QUANTILES, axis=0), strict=True)),
    }
    found: Statistics = {}
    start = 0
    for name, block in blocks.items():
        part = slice(start, start + block.shape[1])
        found[name] = {what: row[part].tolist() for what, row in rows.items()} | {"count": [len(block)]}
        start = part.stop
    return found


def picture_statistics(levels: NDArray[np.int64], count: int) -> dict[str, Any]:
    """The same of `count` pictures, per colour and in [0, 1], as [3, 1, 1].

    levels: how often each colour has each level [3, 256].
    """
    share = levels / levels.sum(axis=1, keepdims=True)
    mean = share @ _VALUES
    std = np.sqrt(np.maximum(share @ _VALUES**2 - mean**2, 0))
    upto = np.cumsum(share, axis=1)
    rows = {"min": _first(upto > 0), "max": _first(upto >= 1 - 1e-12), "mean": mean, "std": std}
    rows |= {_quantile_name(q): _first(upto >= q) for q in _QUANTILES}
    return {what: row.reshape(3, 1, 1).tolist() for what, row in rows.items()} | {"count": [count]}


def _first(reached: NDArray[np.bool_]) -> NDArray[np.float64]:
    return _VALUES[np.argmax(reached, axis=1)]


def _quantile_name(quantile: float) -> str:
    return f"q{round(100 * quantile):02d}"
