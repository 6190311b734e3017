"""Calls of the compiled kernels of the dense area; same functions as ``reference.dense``.

The compiled side checks dtypes, contiguity and sizes and takes no copies; here outputs are made.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mezzotint.kernels import _native

Float64 = NDArray[np.float64]


def gram(a: NDArray[Any], weights: Float64 | None = None, *, n_threads: int = 1) -> NDArray[Any]:
    """See ``reference.dense.gram``."""
    out = np.zeros((a.shape[1], a.shape[1]), dtype=a.dtype)
    _native.gram(a, weights, out, n_threads)
    return out


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


__all__ = ["cholesky", "cholesky_solve", "dot", "dots", "gram"]
