"""Samples as ZipML's textbook sees them: levels per column, and draws of every value stored as one sum.

Every level table turns a value into a real-valued index, linear between neighbouring levels. Rounding an
index without bias rounds the value without bias, so uniform and optimal levels are one case: draws are
indices, `mezzotint.formats.draws` adds them, and a look-up table per column tells what a sum means.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mezzotint.errors import DataError, ParameterError
from mezzotint.formats import optimal_levels
from mezzotint.formats.draws import assign_pair, draw_sums, draw_variance, mean_of_draws, stored_bits
from mezzotint.formats.rounding import Rounding
from mezzotint.random import Stream, random_bits

__all__ = ["ColumnLevels", "DrawnSamples", "optimal_columns", "uniform_columns"]

Vector = NDArray[np.float64]

_ROUND_HALF_UP = 2**31
_EXACT_UP_TO = 20_000


@dataclass(frozen=True, slots=True, eq=False)
class ColumnLevels:
    """One ascending table of levels per column, at most 2**bits long.

    Parameters
    ----------
    tables : sequence of ndarray of float64
        A column's table covers all of its values: clipping would be a bias.
    bits : int
        Bits b of an index.

    Examples
    --------
    >>> levels = ColumnLevels([np.array([0.0, 1.0, 3.0])], bits=2)
    >>> levels.units(np.array([[0.5], [2.5]])).tolist()
    [[0.5], [1.75]]
    """

    tables: Sequence[Vector]
    bits: int

    def units(self, features: Vector) -> Vector:
        """Return values of shape (n, d) as real-valued indices."""
        units = np.empty_like(features)
        for j, table in enumerate(self.tables):
            column = features[:, j]
            if not (table[0] <= column.min() and column.max() <= table[-1]):
                raise DataError(f"column {j} reaches beyond its levels {table[0]} to {table[-1]}; widen them")
            units[:, j] = np.interp(column, table, np.arange(len(table)))
        return units

    def values(self, index: Vector) -> Vector:
        """Return the values of real-valued indices of shape (m, d); beyond a shorter table its last level."""
        columns = [np.interp(index[:, j], np.arange(len(t)), t) for j, t in enumerate(self.tables)]
        return np.stack(columns, axis=1)

    def rounding_variance(self, features: Vector) -> Vector:
        """Return D = (u - a)(a - l) of every value: the variance of one draw."""
        lower = np.floor(self.units(features))
        below, above = self.values(lower), self.values(lower + 1)
        variance: Vector = (above - features) * (features - below)
        return variance


def uniform_columns(features: Vector, bits: int) -> ColumnLevels:
    """Place 2**bits equally spaced levels from the least to the largest value of each column.

    Parameters
    ----------
    features : ndarray of float64, shape (n, d)
        All rows.
    bits : int
        Bits of an index.

    Returns
    -------
    ColumnLevels
        A constant column has one level.

    Examples
    --------
    >>> uniform_columns(np.array([[0.0], [3.0]]), 2).tables[0].tolist()
    [0.0, 1.0, 2.0, 3.0]
    """
    ends = zip(features.min(axis=0), features.max(axis=0), strict=True)
    return ColumnLevels(
        [np.linspace(low, high, 2**bits) if low < high else np.array([low]) for low, high in ends], bits
    )


def optimal_columns(features: Vector, bits: int) -> ColumnLevels:
    """Place at most 2**bits levels per column where the variance of a draw is least.

    Parameters
    ----------
    features : ndarray of float64, shape (n, d)
        All rows.
    bits : int
        Bits of an index.

    Returns
    -------
    ColumnLevels
        From `optimal_levels`; on its grid of buckets beyond 20,000 rows.

    Examples
    --------
    >>> optimal_columns(np.array([[0.0], [0.1], [0.1], [1.0]]), 2).tables[0].tolist()
    [0.0, 0.1, 1.0]
    """
    method = "exact" if len(features) <= _EXACT_UP_TO else "histogram"
    return ColumnLevels([optimal_levels(column, 2**bits, method=method) for column in features.T], bits)


@dataclass(frozen=True, slots=True, eq=False)
class DrawnSamples:
    """A data set of which only sums of draws are left; what they mean comes from two tables.

    Examples
    --------
    >>> x = np.array([[0.0, 0.0], [0.3, 1.0], [1.0, 1.0]])
    >>> samples = DrawnSamples.draw(x, uniform_columns(x, 1), n_draws=2, seed=3)
    >>> samples.stored_bits, samples.mean[0].tolist(), samples.mean.shape
    (2, [0.0, 0.0], (3, 2))
    """

    sums: NDArray[np.uint16]
    """S, shape (n, d)."""
    n_draws: int
    """Number k of draws in each sum."""
    levels: ColumnLevels
    """What the indices stand for."""

    @classmethod
    def draw(
        cls,
        features: Vector,
        levels: ColumnLevels,
        *,
        n_draws: int = 2,
        rounding: Rounding | str = Rounding.STOCHASTIC,
        seed: int = 0,
        copy: int = 0,
    ) -> DrawnSamples:
        """Draw every value `n_draws` times.

        Parameters
        ----------
        features : ndarray of float64, shape (n, d)
            The data.
        levels : ColumnLevels
            The levels.
        n_draws : int, default 2
            A power of two.
        rounding : {"stochastic", "nearest-even"}, default "stochastic"
            Nearest rounding is the deterministic baseline: all draws are equal (ties go up).
        seed, copy : int, default 0
            Draw t of element (i, j) uses word ``i * d + j`` of step ``copy * n_draws + t`` of the packing
            stream (`mezzotint.random`): the codes of a packed matrix, where its grid is the same.

        Returns
        -------
        DrawnSamples
            The sums.

        Raises
        ------
        ParameterError
            If the rounding or the number of draws cannot be used.
        DataError
            If the levels do not cover the data.
        """
        shape = (n_draws, *features.shape)
        if Rounding(rounding) is Rounding.NEAREST_EVEN:
            words = np.full(shape, _ROUND_HALF_UP, np.uint32)
        elif Rounding(rounding) is Rounding.STOCHASTIC:
            steps = range(copy * n_draws, (copy + 1) * n_draws)
            draws = [random_bits(seed, 0, features.size, step=t, stream=Stream.PACKING) for t in steps]
            words = np.reshape(draws, shape)
        else:
            raise ParameterError("samples are rounded 'stochastic' or 'nearest-even'; choose one of them")
        return cls(draw_sums(levels.units(features), levels.bits, words), n_draws, levels)

    @property
    def stored_bits(self) -> int:
        """Bits per value: b + log2 k."""
        return stored_bits(self.levels.bits, self.n_draws)

    @property
    def mean(self) -> Vector:
        """Mean m of the draws of every value, shape (n, d)."""
        every = np.arange(self.n_draws * (2**self.levels.bits - 1) + 1)
        return self._look_up(self._values(mean_of_draws(every, self.n_draws)), self.sums)

    @property
    def mean_variance(self) -> Vector:
        """Estimated variance w of the mean, shape (n, d): for two draws gap**2 / 4 where they differ."""
        every = np.arange(self.n_draws * (2**self.levels.bits - 1) + 1)
        lower = np.floor(mean_of_draws(every, self.n_draws))
        gaps = self._values(lower + 1) - self._values(lower)
        return self._look_up(gaps * gaps * draw_variance(every, self.n_draws)[:, None], self.sums)

    def pair(self, tie_bits: NDArray[np.uint8]) -> tuple[Vector, Vector]:
        """Tell two draws apart by one fair bit per value; both of shape (n, d)."""
        if self.n_draws != 2:
            raise ParameterError(f"the sums hold {self.n_draws} draws; a pair is told apart only of 2")
        table = self._values(np.arange(2.0**self.levels.bits))
        first, second = assign_pair(self.sums, tie_bits)
        return self._look_up(table, first), self._look_up(table, second)

    def _values(self, index: Vector) -> Vector:
        """Values of the same indices in every column, shape (m, d)."""
        return self.levels.values(np.repeat(index[:, None], self.sums.shape[1], axis=1))

    def _look_up(self, table: Vector, index: NDArray[np.integer]) -> Vector:
        return np.take_along_axis(table, index.astype(np.int64), axis=0)
