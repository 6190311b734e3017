"""The grid of columns whose rounding must be unbiased: it reaches from their least to their largest value.

The mean of a clipped value's draws would not be the value: there is no outlier that unbiased draws can do
without. The price of a wide range is noise, which averages out; that of a clipped one does not.
"""

import numpy as np
from numpy.typing import NDArray

from mezzotint.errors import DataError
from mezzotint.kernels import Layout
from mezzotint.packed.sources import FloatArray, Source, chunks

_NOISE_ROWS = 1024

Columns = NDArray[np.float64]


def full_grid(source: Source, layout: Layout, sample: FloatArray) -> tuple[Columns, Columns, Columns]:
    """Offset, scale and noise of every column, in one pass over the source.

    Parameters
    ----------
    source : Source
    layout : Layout
        Says which levels a draw has and how many draws are summed.
    sample : ndarray of shape (S, d)
        Rows on which the noise is measured.

    Returns
    -------
    offset : ndarray of shape (d,), float64
        The least value.
    scale : ndarray of shape (d,), float64
        Step of the levels' grid, over the number of draws; 0 for a constant column. Like `offset`, it is not
        finite if the column is not.
    noise : ndarray of shape (d,), float64
        Mean squared error of the mean of the draws: the expectation is ``(u - x) (x - l) / n_draws`` with l
        and u the levels below and above x.

    Raises
    ------
    DataError
        If a column spans more than the largest number of its type: differences would overflow.
    """
    low, high = column_range(source, layout.segments)
    return grid_over(low, high, layout, sample)


def grid_over(
    low: Columns, high: Columns, layout: Layout, sample: FloatArray
) -> tuple[Columns, Columns, Columns]:
    """Return what `full_grid` does, for ranges that are known."""
    step = _step(low, high, layout.last_level, sample.dtype)
    rows = sample[:: -(-len(sample) // _NOISE_ROWS)]
    return low, step / layout.n_draws, _variance(rows, low, step, layout) / layout.n_draws


def column_range(source: Source, bounds: NDArray[np.int64]) -> tuple[Columns, Columns]:
    """Least and largest value of every column; NaN where there is one."""
    low, high = np.full((2, source.shape[1]), [[np.inf], [-np.inf]])
    for _, rows in chunks(source, bounds):
        low = np.minimum(low, rows.min(axis=0))
        high = np.maximum(high, rows.max(axis=0))
    return low + 0.0, high + 0.0  # + 0.0: no negative zero


def _step(low: Columns, high: Columns, last_level: int, dtype: np.dtype[np.floating]) -> Columns:
    """Step between levels in the precision of the data, rounded up so that the last level covers."""
    limits = np.finfo(dtype)
    check_width(low, high, dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        width = high - low
        step = (width / last_level).astype(dtype)
        step = np.where(low + last_level * step.astype(np.float64) < high, np.nextafter(step, np.inf), step)
    step = step.astype(np.float64)
    step[step < float(limits.tiny)] = 0.0
    return step


def check_width(low: Columns, high: Columns, dtype: np.dtype[np.floating]) -> None:
    """Raise DataError if the range of a column is beyond its type."""
    largest = float(np.finfo(dtype).max)
    with np.errstate(over="ignore", invalid="ignore"):
        width = high - low
    too_wide = np.flatnonzero((width > largest) & np.isfinite(low))
    if too_wide.size:
        column = int(too_wide[0])
        raise DataError(
            f"column {column} spans {width[column]:.3g}; unbiased draws need the whole range, and that must "
            f"not be above the largest number of the column's type, {largest:.3g}. Divide the column by 4."
        )


def _variance(rows: FloatArray, offset: Columns, step: Columns, layout: Layout) -> Columns:
    """Mean variance of one draw."""
    inverse = np.divide(1.0, step, out=np.zeros_like(step), where=step > 0)
    with np.errstate(invalid="ignore"):
        units = np.clip((rows - offset) * inverse, 0, layout.last_level)
    places = layout.level_places
    below = np.clip(np.searchsorted(places, units, side="right") - 1, 0, len(places) - 2)
    return np.asarray(step * step * np.mean((places[below + 1] - units) * (units - places[below]), axis=0))
