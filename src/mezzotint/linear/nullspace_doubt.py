"""Columns that are called dependent although rounding alone would have left less of them.

What others leave of a column is compared with a generous multiple of what rounding can make, or data that are
dependent on paper would get weights of 1e13. Between a strict multiple and that one nobody can tell: the
column is pinned, and what its digits would have gained, if they mean something, counts to the gap.
"""

import numpy as np
from numpy.typing import NDArray

from mezzotint.linear.centred import root_weights
from mezzotint.linear.objective import Problem

Matrix = NDArray[np.float64]
Index = NDArray[np.int64]

_EPS = float(np.finfo(np.float64).eps)


def left_beyond_rounding(
    rows: Matrix, root: Matrix, size: Matrix, independent: Index, dependent: Index, factors: Matrix
) -> Matrix | None:
    """Orthonormal directions in which dependent columns are more than others, and more than rounding makes.

    Parameters
    ----------
    rows : ndarray of float64, shape (n, d)
        Centred rows, times the roots of their weights.
    root : ndarray of float64, shape (n, 1)
        These roots; zeros without an intercept.
    size : ndarray of float64, shape (d,)
        Root mean squares of the columns with their means: what their rounding is relative to.
    independent, dependent : ndarray of int64
        S and J, as in `Dependence`.
    factors : ndarray of float64, shape (r, q)
        B.

    Returns
    -------
    ndarray of float64, shape (n, p), or None
        None where everything that is left may be rounding.
    """
    noise = (4.0 + np.sqrt(len(size))) * _EPS * (size[dependent] + size[independent] @ np.abs(factors))
    left = rows[:, dependent] - rows[:, independent] @ factors
    doubtful = np.sqrt((left**2).sum(axis=0)) > noise
    if not doubtful.any():
        return None
    left = _in_long_double(rows[:, independent], rows[:, dependent[doubtful]], factors[:, doubtful], root)
    kept = np.sqrt((left**2).sum(axis=0)) > noise[doubtful]
    if not kept.any():
        return None
    unit = left[:, kept] / np.sqrt((left[:, kept] ** 2).sum(axis=0))
    vectors, values, _ = np.linalg.svd(unit, full_matrices=False)
    out: Matrix = vectors[:, values > 1e-3 * values[0]]
    return out


def _in_long_double(rows: Matrix, of: Matrix, factors: Matrix, root: Matrix) -> Matrix:
    """``of - rows B`` for the best B, with the digits that differences of products in float64 lack."""
    wide, b = rows.astype(np.longdouble), factors.astype(np.longdouble)
    q, r = np.linalg.qr(rows)
    for _ in range(2):
        left = of - wide @ b
        b = b + np.linalg.solve(r, q.T @ left.astype(np.float64))
    left = (of - wide @ b).astype(np.float64)
    length = float((root**2).sum())
    return left - root * (root * left).sum(axis=0) / length if length > 0 else left


def gain(problem: Problem, directions: Matrix, phi: Matrix) -> float:
    """How much a squared loss with margins phi (K, n) would fall along directions (n, p) of weighted rows."""
    along = directions.T @ (root_weights(problem, slice(0, problem.n_rows)) * (phi - problem.y).T)
    return 0.5 * float((along**2).sum())
