"""How far the columns of a matrix reach: it decides their coordinates and the rounding of sums."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mezzotint.kernels import segment_bounds
from mezzotint.packed import PackedMatrix, Source
from mezzotint.packed.sources import chunks
from mezzotint.random import Stream, sample_rows

Columns = NDArray[np.float64]

_LOOKED_AT = 2**20  # values up to which all rows are looked at, and the values of a row sample
_LEAST_ROWS = 4096
_WIDE = 1024  # values of rows that are reduced side by side


@dataclass(frozen=True, eq=False)
class Extent:
    """How far columns reach.

    Attributes
    ----------
    low, high : ndarray of float64, shape (d,)
        Least and largest value among the rows of positive weight, or nearly.
    reach : ndarray of float64, shape (d,)
        Largest absolute value among all rows.
    """

    low: Columns
    high: Columns
    reach: Columns

    @cached_property
    def magnitude(self) -> Columns:
        """Largest absolute values of the rows of positive weight."""
        largest: Columns = np.maximum(np.abs(self.low), np.abs(self.high))
        return largest


def exact_extent(
    source: Source, weights: NDArray[np.float64] | None, columns: NDArray[np.int64] | None = None
) -> Extent:
    """Read all rows for the extent of some columns, or of all."""
    if columns is None and source.whole is not None and source.shape[0] * source.shape[1] <= _LOOKED_AT:
        return _extent_of(source.whole, weights)
    found = []
    bounds = segment_bounds(*source.shape)
    for (first, count), rows in chunks(source, bounds):
        part = rows if columns is None else rows[:, columns]
        at = slice(int(bounds[first]), int(bounds[first + count]))
        found.append(_extent_of(part, None if weights is None else weights[at]))
    return Extent(
        np.min([extent.low for extent in found], axis=0),
        np.max([extent.high for extent in found], axis=0),
        np.max([extent.reach for extent in found], axis=0),
    )


def _extent_of(rows: NDArray[np.floating], weights: NDArray[np.float64] | None) -> Extent:
    low, high = (_over_rows(ufunc, rows).astype(np.float64) for ufunc in (np.minimum, np.maximum))
    reach = np.maximum(np.abs(low), np.abs(high))
    if weights is not None and not weights.all():
        counted = rows[weights > 0]
        empty = np.full(rows.shape[1], np.inf)
        low = counted.min(axis=0).astype(np.float64) if len(counted) else empty
        high = counted.max(axis=0).astype(np.float64) if len(counted) else -empty
    return Extent(low, high, reach)


def _over_rows(ufunc: np.ufunc, rows: NDArray[np.floating]) -> NDArray[np.floating]:
    """Reduce over the rows: many short ones side by side, or NumPy would take a loop of its own for each."""
    n, d = rows.shape
    out: NDArray[np.floating]
    beside = min(_WIDE // d, n)
    if beside < 2 or not rows.flags.c_contiguous:
        out = ufunc.reduce(rows, axis=0)
        return out
    whole = n - n % beside
    found = [ufunc.reduce(rows[:whole].reshape(-1, beside * d), axis=0).reshape(beside, d), rows[whole:]]
    out = ufunc.reduce(np.concatenate(found), axis=0)
    return out


def column_extent(
    source: Source, packed: PackedMatrix | None, weights: NDArray[np.float64] | None, seed: int
) -> Extent:
    """Extent of the columns at hardly any cost: all rows' if few, what the codes reach, or a row sample's.

    Columns that are zero in all that was looked at are read whole: they may hold rare values of any size.
    """
    n, d = source.shape
    if n * d <= max(_LOOKED_AT, _LEAST_ROWS * d) and source.whole is not None:
        return exact_extent(source, weights)
    if packed is not None:
        low, high = packed.offset, packed.offset + packed.scale * packed.layout.code_values[-1]
    else:
        size = min(n, max(_LEAST_ROWS, _LOOKED_AT // d))
        rows = source.rows(np.sort(sample_rows(seed, n, size, stream=Stream.EXTENT)))
        low, high = rows.min(axis=0).astype(np.float64), rows.max(axis=0).astype(np.float64)
    low, high = low.copy(), high.copy()
    empty = np.flatnonzero((low == 0) & (high == 0))
    if len(empty):
        rare = exact_extent(source, weights, empty)
        low[empty], high[empty] = rare.low, rare.high
    return Extent(low, high, np.maximum(np.abs(low), np.abs(high)))
