"""Quantiles of data that do not fit into memory.

One histogram per entry, of bins whose width is a power of two. Where a number lies outside, pairs of bins are merged
until it fits: every count stays exact, so a quantile is known to within the width of one bin, whatever came before.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

NUM_BINS = 1 << 14
_FINEST = -40  # exponent of the narrowest bins: constant data need some width


@dataclass
class RunningQuantiles:
    """Quantiles of the columns of a stream of rows [N, W].

    Against `np.quantile` of all rows the error is at most `bin_width`, which is at most 4 / NUM_BINS of the range that
    the column's numbers span (or of the largest magnitude / 2^40, for columns that hardly move).
    """

    width: int
    num_rows: int = 0
    _columns: "list[_Histogram]" = field(init=False)

    def __post_init__(self) -> None:
        self._columns = [_Histogram() for _ in range(self.width)]

    def add(self, rows: NDArray) -> None:
        """Take in rows [N, W]. Raises ValueError where they have another width or are not finite."""
        rows = np.asarray(rows, np.float64)
        if rows.ndim != 2 or rows.shape[1] != self.width or not np.isfinite(rows).all():
            raise ValueError(f"statistics need finite rows [N, {self.width}], got {rows.dtype} {list(rows.shape)}")
        if len(rows):
            for column, histogram in zip(rows.T, self._columns, strict=True):
                histogram.add(column)
            self.num_rows += len(rows)

    @property
    def bin_width(self) -> NDArray:
        """Float64 [W]: how far a quantile may be from the exact one."""
        return np.array([2.0**histogram.exponent for histogram in self._columns])

    def quantile(self, share: float) -> NDArray:
        """Float64 [W], interpolated between neighbours as `np.quantile` does. Raises ValueError without rows."""
        if not self.num_rows:
            raise ValueError("there are no rows to take statistics of; give a dataset that is not empty")
        rank = share * (self.num_rows - 1)
        below = math.floor(rank)
        above = min(below + 1, self.num_rows - 1)
        result = [
            (1 - (rank - below)) * histogram.value(below) + (rank - below) * histogram.value(above)
            for histogram in self._columns
        ]
        return np.array(result)


class _Histogram:
    """Counts in NUM_BINS bins [i, i + 1)·2^exponent from `first` on; with the smallest and largest number."""

    def __init__(self) -> None:
        self.exponent = _FINEST
        self.first = 0
        self.counts = np.zeros(NUM_BINS, np.int64)
        self.low, self.high = math.inf, -math.inf

    def add(self, numbers: NDArray) -> None:
        """Counts `numbers` [N] in; bins grow where these do not reach."""
        is_first = not self.counts.any()
        self.low, self.high = min(self.low, float(numbers.min())), max(self.high, float(numbers.max()))
        if is_first:
            largest = max(abs(self.low), abs(self.high))
            self.exponent = max(_FINEST, math.frexp(largest)[1] + _FINEST)
            self.first = self._bin(self.low)
        while self._bin(self.high) - self._bin(self.low) >= NUM_BINS:
            self._merge()
        self._shift(min(self.first, self._bin(self.low)))
        self._shift(max(self.first, self._bin(self.high) - NUM_BINS + 1))
        indices = np.floor(numbers * 2.0**-self.exponent).astype(np.int64) - self.first
        self.counts += np.bincount(indices, minlength=NUM_BINS)

    def value(self, rank: int) -> float:
        """About the number of `rank` (from 0) in ascending order: the right bin, and inside it evenly spread."""
        ends = self.counts.cumsum()
        index = int(np.searchsorted(ends, rank, side="right"))
        share = (rank - (ends[index] - self.counts[index]) + 0.5) / self.counts[index]
        return float(np.clip((self.first + index + share) * 2.0**self.exponent, self.low, self.high))

    def _bin(self, number: float) -> int:
        return math.floor(number * 2.0**-self.exponent)

    def _merge(self) -> None:
        """Pairs of bins, the first of them even, become one."""
        odd = np.zeros(self.first % 2, np.int64)
        pairs = np.concatenate([odd, self.counts, odd]).reshape(-1, 2).sum(1)
        self.counts = np.zeros(NUM_BINS, np.int64)
        self.counts[: len(pairs)] = pairs
        self.first //= 2
        self.exponent += 1

    def _shift(self, first: int) -> None:
        """Make `first` the first bin. What leaves the window at its end is empty."""
        counts = np.zeros_like(self.counts)
        old, new = max(self.first, first), min(self.first, first) + NUM_BINS
        if new > old:
            counts[old - first : new - first] = self.counts[old - self.first : new - self.first]
        self.counts, self.first = counts, first
