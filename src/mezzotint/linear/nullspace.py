"""Which columns others express: what no penalty leaves undetermined, and the solution of least norm.

Two coefficients that differ by a combination of columns that is zero on every row of positive weight
(constant, with an intercept) fit alike. A column that others express is *pinned*: an added penalty draws its
weight to zero, which costs nothing, since the others can say what it says. Then the solution is unique,
every solver finds it, and the combinations are taken out at the end: what is left has least norm.

Whether columns are dependent is decided on centred values, by what is left of a column when the others have
been taken out, against what rounding makes of the values it was computed from.
"""

import os
from dataclasses import dataclass

import numpy as np
import scipy.linalg
import threadpoolctl
from numpy.typing import NDArray

from mezzotint.errors import DataError
from mezzotint.kernels import ops
from mezzotint.linear.centred import column_means, root_weights, weighted_blocks
from mezzotint.linear.nullspace_doubt import left_beyond_rounding
from mezzotint.linear.nullspace_grams import express
from mezzotint.linear.objective import Coef, Problem
from mezzotint.random import Stream, sample_rows

Matrix = NDArray[np.float64]
Index = NDArray[np.int64]

LOSSES = ("squared", "logistic", "softmax")  # those that can do without a penalty

_PIVOT = 1e-10  # of a unit-diagonal Gram matrix: a smaller one may come from dependent columns
_DECOMPOSED_WORK, _DECOMPOSED_VALUES = 3e8, 1e7  # n d min(n, d) and n d up to which rows are decomposed
_DOUBTFUL = 1e-6  # of a column of unit length: less may be rounding, if the column is mostly its mean
_FEEBLE = 1e-9  # of a column's square: penalties below it hold no weight against rounding
_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class Dependence:
    """Columns ``x_J = x_S B``, centred if there is an intercept.

    Attributes
    ----------
    independent, dependent : ndarray of int64, shapes (r,) and (q,)
        S and J; together all columns.
    factors : ndarray of float64, shape (r, q)
        B.
    mean : ndarray of float64, shape (d,)
        Means of the columns over the rows of positive weight; zeros without an intercept.
    pins : ndarray of float64, shape (d,)
        Penalties that draw the weights of J to zero; 0 on S.
    exponent : ndarray of int64, shape (d,)
        The columns are those of the data times ``2^-exponent``: norms are those of the data's weights.
    doubt : ndarray of float64, shape (n, p), or None
        Directions of weighted rows in which J may be more than S and rounding, see `nullspace_doubt`.
    """

    independent: Index
    dependent: Index
    factors: Matrix
    mean: Matrix
    pins: Matrix
    exponent: Index
    doubt: Matrix | None = None

    def least_norm(self, coef: Coef) -> Coef:
        """Coefficients (K, d + 1) of the same fit whose weights have the least norm."""
        weights = np.ascontiguousarray(coef[:, :-1])
        few = len(self.dependent) <= len(self.independent)
        with threadpoolctl.threadpool_limits(1, user_api="blas"):
            least = self._without_combinations(weights) if few else self._of_row_space(weights)
        shift = ((weights - least) * self.mean).sum(axis=1)
        return np.ascontiguousarray(np.column_stack([least, coef[:, -1] + shift]))

    def _without_combinations(self, weights: Matrix) -> Matrix:
        """Take the null vectors ``(-B, 1)`` out; in the data's units, of which the largest is 1."""
        null = np.zeros((len(self.mean), len(self.dependent)))
        null[self.independent] = -self.factors
        null[self.dependent, np.arange(len(self.dependent))] = 1.0
        unit = np.ldexp(1.0, np.maximum(self.exponent.min() - self.exponent, -1000))[:, None]
        along = scipy.linalg.lstsq(null * unit, weights.T * unit, check_finite=False)[0]
        out: Matrix = weights - (null @ along).T
        return out

    def _of_row_space(self, weights: Matrix) -> Matrix:
        """The shortest weights that say of S what these do: ``P^+ P w`` for ``P = (1, B)``."""
        seen = weights[:, self.independent] + weights[:, self.dependent] @ self.factors.T
        unit = np.ldexp(1.0, np.maximum(self.exponent - self.exponent.max(), -1000))
        basis = np.zeros((len(self.mean), len(self.independent)))
        basis[self.independent, np.arange(len(self.independent))] = 1.0
        basis[self.dependent] = self.factors.T
        q, r = scipy.linalg.qr(basis * unit[:, None], mode="economic", check_finite=False)
        u = q @ scipy.linalg.solve_triangular(r, seen.T, trans="T", check_finite=False)
        out: Matrix = u.T * unit
        return out


def leaves_row_space(problem: Problem) -> bool:
    """Whether there are few rows, and a penalty too small to hold weights to combinations of them."""
    feeble = problem.penalties <= _FEEBLE * np.square(problem.extent.magnitude)
    return bool(problem.n_rows < problem.n_columns and feeble.any() and is_small(problem))


def in_row_space(problem: Problem, coef: Coef) -> Coef:
    """Coefficients (K, d + 1) of the same fit whose weights are combinations of rows, as any penalty wants.

    Of few rows, which are decomposed. Where a penalty is far below the curvature of the rows, gradients do
    not show what weights have gathered elsewhere.
    """
    exponent = np.zeros(problem.n_columns, np.int64) if problem.frame is None else problem.frame.exponent
    unit = np.ldexp(1.0, np.maximum(exponent - exponent.max(), -1000))
    weights = np.ascontiguousarray(coef[:, :-1])
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        mean = column_means(problem)
        rows = np.concatenate([block * unit for _, block in weighted_blocks(problem, mean)])
        q, r, _ = scipy.linalg.qr(rows.T, mode="economic", pivoting=True, check_finite=False)
        size = np.abs(np.diagonal(r))
        q = q[:, size > max(rows.shape) * _EPS * size.max(initial=0.0)]
        least = ((weights / unit) @ q @ q.T) * unit
    shift = ((weights - least) * mean).sum(axis=1)
    return np.ascontiguousarray(np.column_stack([least, coef[:, -1] + shift]))


def looks_deficient(problem: Problem, seed: int) -> bool:
    """Whether a row sample leaves doubt that all columns are independent.

    Dependent columns are dependent in every sample, so False is certain (up to a condition number of about
    1e5, after scaling columns); True only says that it needs a look.

    Raises
    ------
    DataError
        If the matrices that this needs are larger than the machine's memory.
    """
    eligible = np.arange(problem.n_rows) if problem.weights is None else np.flatnonzero(problem.weights)
    d = problem.n_columns
    if len(eligible) < d + problem.fit_intercept:
        return True
    check_memory(d)
    count = min(len(eligible), d + max(64, d // 4))
    index = eligible[np.sort(sample_rows(seed, len(eligible), count, stream=Stream.DEPENDENCE))]
    rows = problem.source.rows(index).astype(np.float64)
    if problem.fit_intercept:
        rows -= rows.sum(axis=0) / len(rows)
    gram = np.zeros((d, d))
    ops().add_grams(gram[None], rows, n_threads=problem.n_threads)
    diagonal = gram.diagonal().copy()
    if not (diagonal > len(rows) * (64 * _EPS * problem.extent.magnitude) ** 2).all():
        return True
    scale = 1.0 / np.sqrt(diagonal)
    gram *= scale
    gram *= scale[:, None]
    failed = ops().cholesky(gram, n_threads=problem.n_threads) >= 0
    return bool(failed or gram[np.diag_indices(d)].min() ** 2 < _PIVOT)


def check_memory(n_columns: int) -> None:
    """Raise DataError if a problem of so many columns needs more memory than there is.

    The rows that are looked at and their Gram matrix take about ``2.25 d^2`` numbers.
    """
    needed = 18 * n_columns**2
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there:
        raise DataError(
            f"without a penalty {n_columns} columns need matrices of {needed / 1e9:.0f} GB, and there are "
            f"{there / 1e9:.0f} GB; take Ridge or a finite C, or fewer columns."
        )


def is_small(problem: Problem) -> bool:
    """Whether the rows can be decomposed as they are."""
    n, d = problem.source.shape
    return n * d <= _DECOMPOSED_VALUES and n * d * min(n, d) <= _DECOMPOSED_WORK


def dependence(problem: Problem) -> Dependence | None:
    """Find out which columns others express; None if none is.

    Few rows are decomposed (QR with pivots), many are read a few times for Gram matrices of columns. Last
    bits may depend on the machine: LAPACK and BLAS, on one thread.
    """
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        mean = column_means(problem)
        if is_small(problem):
            independent, dependent, factors, doubt = _by_decomposition(problem, mean)
        else:
            independent, dependent, factors = express(problem, mean, noise_of(problem))
            doubt = None
    if len(dependent) == 0:
        return None
    d = problem.n_columns
    pins, exponent = np.zeros(d), np.zeros(d, dtype=np.int64)
    size = problem.extent.magnitude[dependent]
    pins[dependent] = np.where(size > 0, size**2, 1.0)
    if problem.frame is not None:
        exponent = problem.frame.exponent
    return Dependence(independent, dependent, factors, mean, pins, exponent, doubt)


def _by_decomposition(problem: Problem, mean: Matrix) -> tuple[Index, Index, Matrix, Matrix | None]:
    rows = np.concatenate([block for _, block in weighted_blocks(problem, mean)])
    size, noise = np.sqrt((rows**2).sum(axis=0)), noise_of(problem)
    unit = np.divide(1.0, size, out=np.zeros_like(size), where=size > noise)  # constant columns: zero
    r, order = scipy.linalg.qr(rows * unit, mode="r", pivoting=True, check_finite=False, overwrite_a=True)
    rank = _rank(r, (noise * unit)[order])
    factors = scipy.linalg.solve_triangular(r[:rank, :rank], r[:rank, rank:], check_finite=False)
    factors[np.abs(factors) <= (noise * unit)[order[rank:]]] = 0.0  # rounding, too
    factors *= unit[order[:rank], None] / np.where(unit > 0, unit, 1.0)[order[rank:]]
    independent, dependent = order[:rank].astype(np.int64), order[rank:].astype(np.int64)
    root = root_weights(problem, slice(0, problem.n_rows)) * float(problem.fit_intercept)
    reach = np.sqrt(size**2 + mean**2)
    if problem.frame is not None:
        reach = np.maximum(reach, np.ldexp(np.abs(problem.frame.centre), -problem.frame.exponent))
    doubt = left_beyond_rounding(rows, root, reach, independent, dependent, factors)
    return independent, dependent, factors, doubt


def _rank(r: Matrix, noise: Matrix) -> int:
    """Rank of the columns whose factor R this is: its last columns are what is left of theirs."""
    most = int(min(r.shape))
    for rank in range(int((np.abs(np.diagonal(r)) > _DOUBTFUL).sum()), most):
        left = np.sqrt((r[rank:, rank:] ** 2).sum(axis=0))
        factors = scipy.linalg.solve_triangular(r[:rank, :rank], r[:rank, rank:], check_finite=False)
        if (left <= noise[rank:] + noise[:rank] @ np.abs(factors)).all():
            return rank
    return most


def noise_of(problem: Problem) -> Matrix:
    """What rounding may leave of a column that others express, shape (d,): a few places of its values."""
    size = problem.extent.magnitude
    if problem.frame is not None:  # of the values as they came
        size = np.maximum(size, np.ldexp(np.abs(problem.frame.centre), -problem.frame.exponent))
    out: Matrix = (32 + 8 * np.sqrt(problem.n_columns)) * _EPS * size
    return out
