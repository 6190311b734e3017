"""How far the columns of a matrix reach: it decides their coordinates and the rounding of sums."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mezzotint.kernels import segment_bounds
from mezzotint.packed import PackedMatrix, Source
from mezzotint.packed.sources import chunks
from mezzotint.random import Stream, sample_rows

Columns = NDArray[np.float64]

_LOOKED_AT = 2**22  # values up to which all rows are looked at, and the values of a row sample
_LEAST_ROWS = 4096


@dataclass(frozen=True, eq=False)
class Extent:
    """Least and largest value of every column, shape (d,): of all rows, or nearly."""

    low: Columns
    high: Columns

    @property
    def magnitude(self) -> Columns:
        """Largest absolute values."""
        return np.maximum(np.abs(self.low), np.abs(self.high))


def exact_extent(source: Source, columns: NDArray[np.int64] | None = None) -> Extent:
    """Read all rows for the extent of some columns, or of all."""
    low, high = [], []
    for _, rows in chunks(source, segment_bounds(*source.shape)):
        part = rows if columns is None else rows[:, columns]
        low.append(part.min(axis=0))
        high.append(part.max(axis=0))
    return Extent(np.min(low, axis=0).astype(np.float64), np.max(high, axis=0).astype(np.float64))


def column_extent(source: Source, packed: PackedMatrix | None, seed: int) -> Extent:
    """Extent of the columns at hardly any cost: what the codes reach, a row sample's, or all rows' if few.

    Columns that are zero in all that was looked at are read whole: they may hold rare values of any size.
    """
    n, d = source.shape
    if packed is not None:
        low, high = packed.offset, packed.offset + packed.scale * packed.layout.code_values[-1]
    elif n * d <= max(_LOOKED_AT, _LEAST_ROWS * d):
        return exact_extent(source)
    else:
        size = max(_LEAST_ROWS, _LOOKED_AT // d)
        rows = source.rows(np.sort(sample_rows(seed, n, size, stream=Stream.EXTENT)))
        low, high = rows.min(axis=0).astype(np.float64), rows.max(axis=0).astype(np.float64)
    low, high = low.copy(), high.copy()
    empty = np.flatnonzero((low == 0) & (high == 0))
    if len(empty):
        rare = exact_extent(source, empty)
        low[empty], high[empty] = rare.low, rare.high
    return Extent(low, high)
