"""Rows as least squares see them: centred, and weighted by the roots of their sample weights."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mezzotint.kernels import ops, segment_bounds
from mezzotint.linear.objective import Problem

Matrix = NDArray[np.float64]


def weighted_blocks(problem: Problem, mean: Matrix) -> Iterator[tuple[slice, Matrix]]:
    """Yield ``sqrt(s / S) (x - mean)`` in float64, a bounded number of rows at a time."""
    bounds = segment_bounds(*problem.source.shape)
    for start, stop in pairwise(bounds.tolist()):
        at = slice(start, stop)
        yield at, (problem.source.block(start, stop) - mean) * root_weights(problem, at)


def root_weights(problem: Problem, at: slice) -> Matrix:
    """Roots of the weights of some rows, which sum to 1 over all, shape (rows, 1)."""
    weights = np.ones(at.stop - at.start) if problem.weights is None else problem.weights[at]
    roots: Matrix = np.sqrt(weights / problem.total_weight)[:, None]
    return roots


def column_means(problem: Problem) -> Matrix:
    """Weighted means of the columns; zeros without an intercept.

    Of differences from one row, so that the mean of a constant column is that constant to the last bit.
    """
    zero = np.zeros(problem.n_columns)
    if not problem.fit_intercept:
        return zero
    first = 0 if problem.weights is None else int(np.argmax(problem.weights > 0))
    base = problem.source.block(first, first + 1)[0].astype(np.float64)
    parts = [(x * root_weights(problem, at)).sum(axis=0) for at, x in weighted_blocks(problem, base)]
    mean: Matrix = base + ops().tree_sum(np.stack(parts))
    return mean
