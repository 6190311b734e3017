"""Levels placed where they save most: variance-optimal quantisation.

A value x between neighbouring levels l <= x <= u that is rounded to one of them without bias has the variance
``(u - x)(x - l)``. Some set of levels that makes its sum least has all its levels among the values, so the
levels are a shortest path over the sorted values; the cost of an edge comes from prefix sums, and because
costs satisfy the quadrangle inequality the best predecessors are monotone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mezzotint.errors import DataError, ParameterError

__all__ = ["optimal_levels", "quantisation_variance"]

Array = NDArray[np.float64]
Index = NDArray[np.int64]

_METHODS = ("exact", "greedy", "histogram")
_BUCKETS = 4096


def optimal_levels(
    values: ArrayLike,
    n_levels: int,
    *,
    weights: ArrayLike | None = None,
    method: str = "exact",
    n_buckets: int = _BUCKETS,
) -> Array:
    """Choose levels that make the variance of unbiased rounding least.

    Parameters
    ----------
    values : array_like of float
        Finite numbers of any shape, at least one; their smallest and largest are levels.
    n_levels : int
        How many levels, at least 2 (fewer come back if there are fewer different values).
    weights : array_like of float, same shape, optional
        How much each value counts, >= 0, not all zero. A value of weight zero still bounds the range.
    method : {"exact", "greedy", "histogram"}, default "exact"
        "exact": optimal, O(k N log N). "greedy": neighbours are merged to 4 k intervals first; at most twice
        the least variance, O(N log N). "histogram": the best levels among the ends of equal buckets, O(N),
        for very many values: the excess falls as one over the number of buckets.
    n_buckets : int, default 4096
        For "histogram", at least 1; with 255 buckets, say, levels are integers of eight bits.

    Returns
    -------
    ndarray of float64, shape (at most n_levels,)
        Levels, ascending.

    Raises
    ------
    DataError
        If values or weights cannot be used.
    ParameterError
        If `n_levels`, `method` or `n_buckets` is outside its set.

    References
    ----------
    H. Zhang et al., "ZipML", arXiv:1611.05402v3: section 3 (lemma 3, the dynamic program, discretisation) and
    its appendix (greedy merging, theorems 8 and 9, with gamma = 1).

    Examples
    --------
    >>> optimal_levels([0.0, 0.1, 0.1, 0.1, 1.0], 3).tolist()
    [0.0, 0.1, 1.0]
    """
    if isinstance(n_levels, bool) or not isinstance(n_levels, int | np.integer) or n_levels < 2:
        raise ParameterError(f"n_levels came as {n_levels!r}; give an integer of at least 2")
    if method not in _METHODS:
        raise ParameterError(f"method came as {method!r}; allowed are {', '.join(map(repr, _METHODS))}")
    if isinstance(n_buckets, bool) or not isinstance(n_buckets, int | np.integer) or n_buckets < 1:
        raise ParameterError(f"n_buckets came as {n_buckets!r}; give an integer of at least 1")
    x, w = _finite("values", values), _weights(weights, np.size(values))
    path = _on_a_grid(x, w, int(n_buckets)) if method == "histogram" else _on_the_values(x, w)
    if method == "greedy":
        path = path.at(_merged(path, int(n_levels) - 1))
    return path.points[_shortest(path, int(n_levels) - 1)]


def quantisation_variance(values: ArrayLike, levels: ArrayLike, *, weights: ArrayLike | None = None) -> float:
    """Return the weighted mean variance of rounding values to one of their two neighbouring levels, unbiased.

    Parameters
    ----------
    values : array_like of float
        Numbers within the levels.
    levels : array_like of float, shape (n_levels,)
        Ascending.
    weights : array_like of float, same shape as values, optional
        How much each value counts.

    Returns
    -------
    float
        Mean of ``(u - x)(x - l)``.

    Raises
    ------
    DataError
        If a value lies outside the levels, or something is not finite.

    Examples
    --------
    >>> quantisation_variance([0.25, 0.5], [0.0, 1.0])
    0.21875
    """
    x, w = _finite("values", values), _weights(weights, np.size(values))
    table = _finite("levels", levels)
    if x.min() < table[0] or x.max() > table[-1] or (np.diff(table) < 0).any():
        raise DataError(
            f"values reach from {x.min()} to {x.max()}, levels from {table[0]} to {table[-1]}; levels must "
            "ascend and enclose all values"
        )
    upper = np.searchsorted(table, x, side="left")
    variance = (table[upper] - x) * (x - table[np.maximum(upper - 1, 0)])
    return float((w * variance).sum() / w.sum())


@dataclass(frozen=True, eq=False)
class _Path:
    """Places where levels may lie, ascending, and what lies between them.

    `x` are the points, and `sums` the weights, weighted values and weighted squares of all values up to each
    point, shape (3, M); both relative to the mean of the values, where differences of sums cancel least.
    """

    points: Array
    x: Array
    sums: Array

    def cost(self, start: Index, stop: Index) -> Array:
        """Variance of the values between two points, for arrays of pairs."""
        count, total, squares = self.sums[:, stop] - self.sums[:, start]
        a, b = self.x[start], self.x[stop]
        variance: Array = np.maximum((a + b) * total - squares - a * b * count, 0.0)
        return variance

    def at(self, index: Index) -> _Path:
        """Keep some of the points."""
        return _Path(self.points[index], self.x[index], np.ascontiguousarray(self.sums[:, index]))


def _on_the_values(x: Array, w: Array) -> _Path:
    """Every different value is a point."""
    points, inverse = np.unique(x, return_inverse=True)
    weight = np.bincount(inverse, weights=w, minlength=len(points)).astype(np.float64)
    t = _normalised(points, points, weight)
    return _Path(points, t, np.cumsum([weight, weight * t, weight * t * t], axis=1))


def _on_a_grid(x: Array, w: Array, buckets: int) -> _Path:
    """The ends of equal buckets are points; all values count with their own place."""
    points = np.linspace(x.min(), x.max(), buckets + 1)
    if points[0] == points[-1]:
        return _on_the_values(x, w)
    bucket = np.clip(np.searchsorted(points, x, side="right") - 1, 0, buckets - 1)
    t = _normalised(x, x, w)
    sums = [np.bincount(bucket, weights=w * power, minlength=buckets) for power in (1.0, t, t * t)]
    return _Path(points, _normalised(points, x, w), np.pad(np.cumsum(sums, axis=1), ((0, 0), (1, 0))))


def _normalised(points: Array, x: Array, w: Array) -> Array:
    """Return points relative to the weighted mean of x, in units of the largest |x|."""
    unit = float(np.abs(x).max()) or 1.0
    scaled = x / unit
    normalised: Array = points / unit - (w * scaled).sum() / w.sum()
    return normalised


def _shortest(path: _Path, n_intervals: int) -> Index:
    """Indices of the points on the cheapest way from the first to the last with at most so many steps."""
    everything = np.arange(len(path.x), dtype=np.int64)
    best = path.cost(np.zeros_like(everything), everything)
    choices = []
    for _ in range(min(n_intervals, len(everything) - 1) - 1):
        best, choice = _one_step_more(path, best)
        choices.append(choice)
    way = [len(everything) - 1]
    for choice in reversed(choices):
        way.append(int(choice[way[-1]]))
    return np.unique(np.array([0, *way], dtype=np.int64))


def _one_step_more(path: _Path, best: Array) -> tuple[Array, Index]:
    """Return ``min over j <= m of best[j] + cost(j, m)`` for every m, and the least such j.

    The best j grows with m, so every m is bounded by its neighbours: all places at a distance of a power of
    two first, then those halfway between them, and so on.
    """
    size = len(best)
    search = _Search.over(path, best)
    choice = np.zeros(size, dtype=np.int64)
    stride = 1 << (size.bit_length() - 1)
    while stride:
        m = np.arange(stride - 1, size, 2 * stride)
        low = np.where(m >= stride, choice[m - stride], 0)
        right = np.minimum(m + stride, size - 1)
        high = np.maximum(low, np.where(m + stride < size, np.minimum(choice[right], m), m))
        choice[m] = search.first_least(m, low, high)
        stride //= 2
    everything = np.arange(size, dtype=np.int64)
    return best[choice] + path.cost(choice, everything), choice


@dataclass(frozen=True, eq=False)
class _Search:
    """What of ``best[j] + cost(j, m)`` depends on j: ``own[j] + x[j] moment[m] - x[m] moment[j]``."""

    x: Array
    own: Array
    moment: Array

    @staticmethod
    def over(path: _Path, best: Array) -> _Search:
        """Sort the terms of the cost by what they depend on."""
        count, total, squares = path.sums
        return _Search(path.x, best + squares - path.x * total, total - path.x * count)

    def first_least(self, m: Index, low: Index, high: Index) -> Index:
        """For every m: the first j in [low, high] with the least value."""
        size = high - low + 1
        start = np.cumsum(size) - size
        j = np.arange(start[-1] + size[-1])
        j -= np.repeat(start - low, size)
        value = self.x[j]
        value *= np.repeat(self.moment[m], size)
        value += self.own[j]
        value -= self.moment[j] * np.repeat(self.x[m], size)
        hits = np.flatnonzero(value == np.repeat(np.minimum.reduceat(value, start), size))
        first: Index = j[hits[np.searchsorted(hits, start)]]
        return first


def _merged(path: _Path, n_intervals: int) -> Index:
    """Merge neighbouring intervals where that costs least, until at most 4 n_intervals + 1 are left."""
    ends = np.arange(len(path.x), dtype=np.int64)
    kept = 2 * n_intervals
    while (len(ends) - 1) // 2 > kept:
        n_pairs = (len(ends) - 1) // 2
        cost = path.cost(ends[0 : 2 * n_pairs : 2], ends[2 : 2 * n_pairs + 1 : 2])
        stays = np.ones(len(ends), dtype=bool)
        stays[1 : 2 * n_pairs : 2] = False
        stays[2 * np.argsort(cost, kind="stable")[-kept:] + 1] = True
        ends = ends[stays]
    return ends


def _finite(name: str, values: ArrayLike) -> Array:
    """Return numbers as a flat array of float64."""
    x = np.asarray(values, dtype=np.float64).ravel()
    if x.size == 0:
        raise DataError(f"there are no {name}; give at least one")
    if not np.isfinite(x).all():
        raise DataError(
            f"{name} hold {x[~np.isfinite(x)][0]}; only finite numbers are allowed, leave others out"
        )
    return x


def _weights(weights: ArrayLike | None, count: int) -> Array:
    """Return one weight for each value."""
    if weights is None:
        return np.ones(count)
    w = np.asarray(weights, dtype=np.float64).ravel()
    if w.size != count:
        raise DataError(f"there are {w.size} weights for {count} values; give one for each")
    bad = w[~(np.isfinite(w) & (w >= 0))]
    if bad.size:
        raise DataError(f"weights hold {bad[0]}; they must be finite and >= 0")
    if not w.any():
        raise DataError(f"all {count} weights are zero; at least one must be positive")
    return w
