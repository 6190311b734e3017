"""Levels where they save most variance, one table for all columns."""

import numpy as np
from numpy.typing import NDArray

from mezzotint.formats.levels import optimal_levels
from mezzotint.kernels import Layout
from mezzotint.packed.sources import FloatArray

LARGEST = {1: 255, 2: 127}  # draws -> last level: the sum of the draws is a byte
TABLE_BITS = {1: (4,), 2: (1, 2, 3, 4)}  # draws -> bits of each whose codes can be looked up
_VALUES = 2**20  # sampled values that levels are fitted to, about
_LEAST_ROWS = 64

Columns = NDArray[np.float64]


def shared_levels(layout: Layout, sample: FloatArray, low: Columns, high: Columns) -> tuple[int, ...]:
    """Choose the table of levels that all columns share.

    Every column is scaled to [0, 1] and counts with its squared range over its variance: what is least then
    is the sum of the columns' rounding variances relative to their own, which no change of units alters. The
    levels are the best among the integers that products can hold.

    Parameters
    ----------
    layout : Layout
        Says how many levels a draw has and how many draws are summed.
    sample : ndarray of shape (S, d)
        Finite rows.
    low, high : ndarray of shape (d,)
        The columns' ranges. Columns without one do not count.

    Returns
    -------
    tuple of int
        ``2**layout.level_bits`` levels, ascending from 0 to 255, or to 127 for two draws.
    """
    last, count = LARGEST[layout.n_draws], 1 << layout.level_bits
    rows = sample[:: max(1, len(sample) // max(_LEAST_ROWS, _VALUES // sample.shape[1]))].astype(np.float64)
    variance, width = rows.var(axis=0), high - low
    counts = (variance > 0) & (width > 0)
    if not counts.any():
        return _filled(np.array([0, last]), count)
    values = np.clip((rows[:, counts] - low[counts]) / width[counts], 0.0, 1.0)
    weights = np.broadcast_to(width[counts] ** 2 / variance[counts], values.shape).ravel()
    ends = [0.0, 1.0]  # of weight zero: the range of the other rows
    found = optimal_levels(
        np.append(values.ravel(), ends),
        count,
        weights=np.append(weights / weights.max(), [0.0, 0.0]),
        method="histogram",
        n_buckets=last,
    )
    return _filled(np.rint(last * found).astype(np.int64), count)


def _filled(levels: NDArray[np.int64], count: int) -> tuple[int, ...]:
    """Add levels in the middle of the widest gaps until there are `count`."""
    while len(levels) < count:
        widest = int(np.argmax(np.diff(levels)))
        levels = np.insert(levels, widest + 1, (levels[widest] + levels[widest + 1]) // 2)
    return tuple(levels.tolist())
