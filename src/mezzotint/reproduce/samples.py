"""Data kept as low-precision draws: levels per column, sums of draws, what they decode to.

A column's levels are a table, uniform from its least to its greatest value (no value is clipped: clipping is
bias) or optimal. A stored sum S of two level indices decodes to the mean m of the two draws and to an
estimate w of its variance, w = (u - l)^2 / 4 if S is odd, else 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mezzotint.formats import optimal_levels
from mezzotint.formats.draws import draw_sums
from mezzotint.kernels.reference.packed import PACKING_STREAM
from mezzotint.random import random_bits

__all__ = ["LevelTable", "Rounded", "nearest", "optimal_table", "uniform_table"]

Array = NDArray[np.float64]
_LEVEL_SAMPLE = 2000  # rows that optimal levels are computed from


@dataclass(frozen=True, eq=False)
class LevelTable:
    """Levels of every column, shape (d, 2^bits), ascending; equal levels where a column has fewer.

    Examples
    --------
    >>> LevelTable(np.array([[0.0, 1.0, 3.0, 3.0]])).units(np.array([[2.0], [3.0]])).tolist()
    [[1.5], [2.0]]
    """

    levels: Array

    @property
    def bits(self) -> int:
        """Bits of a level's index."""
        return int(self.levels.shape[1] - 1).bit_length()

    @property
    def widths(self) -> Array:
        """Greatest distance of two neighbouring levels of each column."""
        widest: Array = np.diff(self.levels, axis=1).max(axis=1)
        return widest

    def units(self, X: Array) -> Array:
        """Values in units of levels: index of the level below, plus the share of the way to the next."""
        units = np.empty_like(X)
        for j, table in enumerate(self.levels):
            lower = np.clip(np.searchsorted(table, X[:, j], side="right") - 1, 0, len(table) - 2)
            lower = np.minimum(lower, max(0, int(np.searchsorted(table, table[-1])) - 1))
            gap = table[lower + 1] - table[lower]
            share = np.divide(X[:, j] - table[lower], gap, out=np.zeros(len(X)), where=gap > 0)
            units[:, j] = lower + np.clip(share, 0.0, 1.0)
        return units

    def draw(self, units: Array, *, n_draws: int, seed: int, first: int = 0) -> NDArray[np.uint16]:
        """Sum the indices of some draws; draw t uses the words of step ``first + t``."""
        words = [
            random_bits(seed, 0, units.size, step=first + t, stream=PACKING_STREAM) for t in range(n_draws)
        ]
        return draw_sums(units, self.bits, np.stack(words).reshape(n_draws, *units.shape))

    def decode(self, sums: NDArray[np.uint16]) -> tuple[Array, Array]:
        """Mean of two draws and the estimate of its variance, both shape (n, d)."""
        columns = np.arange(len(self.levels))
        low, high = self.levels[columns, sums // 2], self.levels[columns, (sums + 1) // 2]
        return 0.5 * (low + high), 0.25 * (high - low) ** 2


def uniform_table(X: Array, bits: int) -> LevelTable:
    """Equal steps from the least to the greatest value of each column."""
    table = np.linspace(X.min(axis=0), X.max(axis=0), 2**bits, axis=1)
    table[:, -1] = X.max(axis=0)
    return LevelTable(table)


def optimal_table(X: Array, bits: int) -> LevelTable:
    """Levels of least variance for each column, from its first rows and its two ends."""
    table = np.empty((X.shape[1], 2**bits))
    for j, column in enumerate(X.T):
        sample = np.append(column[:_LEVEL_SAMPLE], [column.min(), column.max()])
        found = optimal_levels(sample, 2**bits)
        table[j] = np.append(found, np.full(2**bits - len(found), found[-1]))
    return LevelTable(table)


class Rounded:
    """Copies of a matrix, each the sums of draws of its own; epoch k reads copy k mod n.

    Parameters
    ----------
    X : ndarray of float64, shape (n, d)
        The matrix.
    table : LevelTable
        Its levels.
    n_copies : int, default 1
        1 is a store that was written once; several are what the paper's code calls indices.
    n_draws : int, default 2
        Draws per value and copy, 1 or 2.
    seed : int, default 0
        Key of the draws.
    """

    def __init__(
        self, X: Array, table: LevelTable, *, n_copies: int = 1, n_draws: int = 2, seed: int = 0
    ) -> None:
        self.table = table
        units = table.units(X)
        kind = np.uint8 if table.bits + n_draws <= 9 else np.uint16
        self._sums = [
            table.draw(units, n_draws=n_draws, seed=seed, first=n_draws * copy).astype(kind)
            for copy in range(n_copies)
        ]
        self._n_draws = n_draws

    def values(self, index: NDArray[np.int64] | slice, epoch: int) -> tuple[Array, Array]:
        """Means and variances of some rows; a single draw is its own mean, of unknown variance (0)."""
        sums = self._sums[epoch % len(self._sums)][index].astype(np.uint16)
        return self.table.decode(sums if self._n_draws == 2 else 2 * sums)


def nearest(X: Array, table: LevelTable) -> Array:
    """Round every value to the nearer of its two levels."""
    units = table.units(X)
    values, _ = table.decode((2 * np.rint(units)).astype(np.uint16))
    return values
