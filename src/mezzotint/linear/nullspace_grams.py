"""Which of many rows' columns others express, from Gram matrices.

A Gram matrix squares the condition number: it vouches for columns of which at least 1e-5 is left when the
others are out. The rest is expressed by these, what is left is computed from the rows (twice, since the
first factors are only as good as the Gram matrix), and where that is more than rounding its own Gram
matrix says which of it is independent: so it goes on, five digits at a time.
"""

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from mezzotint.kernels import ops
from mezzotint.linear.centred import weighted_blocks
from mezzotint.linear.objective import Problem

Matrix = NDArray[np.float64]
Index = NDArray[np.int64]

_PIVOT = 1e-9  # of a unit-diagonal Gram matrix, down to which its pivots can be believed
_MOST_ROUNDS = 5


def express(problem: Problem, mean: Matrix, noise: Matrix) -> tuple[Index, Index, Matrix]:
    """Return (independent columns S, dependent columns J, B) with ``x_J = x_S B`` up to rounding.

    Parameters
    ----------
    problem : Problem
    mean : ndarray of float64, shape (d,)
        Taken off the columns.
    noise : ndarray of float64, shape (d,)
        Root mean square of what rounding may leave of a column.
    """
    d = problem.n_columns
    gram = _gram(problem, mean)
    constant = gram.diagonal() <= noise**2
    gram[constant] = gram[:, constant] = 0.0
    chosen = _pivots(gram)
    left = np.setdiff1d(np.arange(d), chosen)
    span = np.zeros((d, len(chosen)))  # columns of X times it: well-conditioned, and they span what is chosen
    span[chosen, np.arange(len(chosen))] = 1.0
    inner = gram[np.ix_(chosen, chosen)]
    factors = np.zeros((d, len(left)))
    for _ in range(_MOST_ROUNDS):
        for _ in range(2):
            along, rest = _residuals(problem, mean, left, factors, span)
            factors += span @ _solve(inner, along)
        along, rest = _residuals(problem, mean, left, factors, span)
        size = np.sqrt(rest.diagonal())
        weak = np.flatnonzero(size > noise[left] + noise @ np.abs(factors))
        if len(weak) == 0:
            break
        new = weak[_pivots(rest[np.ix_(weak, weak)])]
        added = -factors[:, new] / size[new]
        added[left[new], np.arange(len(new))] += 1.0 / size[new]
        span = np.concatenate([span, added], axis=1)
        between = scipy.linalg.block_diag(inner, rest[np.ix_(new, new)] / np.outer(size[new], size[new]))
        inner, chosen = between, np.concatenate([chosen, left[new]])
        keep = np.setdiff1d(np.arange(len(left)), new)
        left, factors = left[keep], factors[:, keep]
    return chosen.astype(np.int64), left.astype(np.int64), factors[chosen]


def _gram(problem: Problem, mean: Matrix) -> Matrix:
    gram = np.zeros((1, problem.n_columns, problem.n_columns))
    for _, block in weighted_blocks(problem, mean):
        ops().add_grams(gram, block, n_threads=problem.n_threads)
    found: Matrix = gram[0]
    return found


def _pivots(gram: Matrix) -> Index:
    """Columns that a Cholesky factor with pivots takes before what is left of the others is small."""
    live = np.flatnonzero(gram.diagonal() > 0)
    scale = 1.0 / np.sqrt(gram.diagonal()[live])
    if len(live) == 0:
        return live
    _, order, rank, _ = scipy.linalg.lapack.dpstrf(
        gram[np.ix_(live, live)] * scale * scale[:, None], tol=_PIVOT
    )
    return np.sort(live[order[:rank] - 1])


def _solve(gram: Matrix, b: Matrix) -> Matrix:
    if len(gram) == 0:
        return b
    scale = 1.0 / np.sqrt(gram.diagonal())[:, None]
    factor = scipy.linalg.cho_factor(gram * scale * scale.T, check_finite=False)
    out: Matrix = scale * scipy.linalg.cho_solve(factor, scale * b, check_finite=False)
    return out


def _residuals(
    problem: Problem, mean: Matrix, left: Index, factors: Matrix, span: Matrix
) -> tuple[Matrix, Matrix]:
    """``(X span)^T R`` and ``R^T R`` for ``R = X_left - X factors``, in one read of the rows."""
    along, rest = np.zeros((span.shape[1], len(left))), np.zeros((len(left), len(left)))
    for _, block in weighted_blocks(problem, mean):
        residual = block[:, left] - block @ factors
        along += (block @ span).T @ residual
        rest += residual.T @ residual
    return along, rest
