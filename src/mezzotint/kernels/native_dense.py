"""Calls of the compiled kernels of the dense area; same functions as ``reference.dense``.

The compiled side checks dtypes, contiguity and sizes and takes no copies; here outputs are made.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mezzotint.kernels import _native

Float64 = NDArray[np.float64]


def add_grams(
    out: NDArray[Any], a: NDArray[Any], weights: Float64 | None = None, *, n_threads: int = 1
) -> None:
    """See ``reference.dense.add_grams``."""
    _native.add_grams(a, weights, out, n_threads)


def cholesky(m: NDArray[Any], *, n_threads: int = 1) -> int:
    """See ``reference.dense.cholesky``."""
    return int(_native.cholesky(m, n_threads))


def cholesky_solve(factors: NDArray[Any], b: Float64, *, n_threads: int = 1) -> Float64:
    """See ``reference.dense.cholesky_solve``."""
    x = np.array(b, order="C")
    _native.cholesky_solve(factors, x, n_threads)
    return x


def dot(a: Float64, b: Float64) -> float:
    """See ``reference.dense.dot``."""
    return float(_native.dot(a.reshape(-1), b.reshape(-1)))


def dots(a: Float64, b: Float64) -> Float64:
    """See ``reference.dense.dots``."""
    out = np.empty(len(a))
    _native.dots(np.ascontiguousarray(a), np.ascontiguousarray(b), out)
    return out


__all__ = ["add_grams", "cholesky", "cholesky_solve", "dot", "dots"]
