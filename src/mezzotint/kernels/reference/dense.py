"""Small dense linear algebra of the preconditioner, in plain NumPy."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]


def add_grams(
    out: NDArray[Any], a: NDArray[Any], weights: Float64 | None = None, *, n_threads: int = 1
) -> None:
    """Add to every ``out[g]`` the sum_i w_gi a_i a_i^T over the rows a_i of `a`.

    Parameters
    ----------
    out : array of the dtype of `a`, shape (G, d, d)
        Exactly symmetric matrices, before and after.
    a : float32 or float64 array, shape (S, d)
    weights : float64 array, shape (G, S), or None
        None means one row of ones, G = 1.
    n_threads : int
        Not visible in the result.
    """
    rows = np.ones((1, len(a))) if weights is None else weights
    for matrix, row in zip(out, rows, strict=True):
        lower = np.tril(matrix + (a * row[:, None].astype(a.dtype)).T @ a)
        matrix[:] = lower + np.tril(lower, -1).T


def cholesky(m: NDArray[Any], *, n_threads: int = 1) -> int:
    """Replace the lower triangle of `m` by its Cholesky factor L, L L^T = m.

    Parameters
    ----------
    m : float32 or float64 array, shape (d, d)
        Only the lower triangle is read and written; what lies above stays as it is.
    n_threads : int
        Not visible in the result.

    Returns
    -------
    int
        -1, or the index of the first pivot that is not positive (or NaN); `m` is then spoiled.
    """
    for j in range(len(m)):
        pivot = m[j, j] - m[j, :j] @ m[j, :j]
        if not pivot > 0:
            return j
        m[j, j] = np.sqrt(pivot)
        m[j + 1 :, j] = (m[j + 1 :, j] - m[j + 1 :, :j] @ m[j, :j]) / m[j, j]
    return -1


def cholesky_solve(factors: NDArray[Any], b: Float64, *, n_threads: int = 1) -> Float64:
    """Solve L L^T x_k = b_k for every row b_k, in float64; row k uses factor ``k * G // K``.

    Parameters
    ----------
    factors : float32 or float64 array, shape (G, d, d)
        Every L in its lower triangle; what lies above is not read. 1 <= G <= K, unless K = 0.
    b : float64 array, shape (K, d)
    n_threads : int
        Not visible in the result.

    Returns
    -------
    float64 array, shape (K, d)
    """
    lower = factors.astype(np.float64)
    x = b.copy()
    for k, row in enumerate(x):
        _solve_in_place(lower[k * len(lower) // len(x)], row)
    return x


def _solve_in_place(lower: Float64, x: Float64) -> None:
    for i in range(len(x)):
        x[i] = (x[i] - lower[i, :i] @ x[:i]) / lower[i, i]
    for i in reversed(range(len(x))):
        x[i] = (x[i] - lower[i + 1 :, i] @ x[i + 1 :]) / lower[i, i]


def dot(a: Float64, b: Float64) -> float:
    """Sum of products of all elements of two arrays of the same shape."""
    return float(np.ravel(a) @ np.ravel(b))


def dots(a: Float64, b: Float64) -> Float64:
    """Sums of products of the rows of two arrays of shape (K, m); result of shape (K,)."""
    return np.array([dot(x, y) for x, y in zip(a, b, strict=True)])


__all__ = ["add_grams", "cholesky", "cholesky_solve", "dot", "dots"]
