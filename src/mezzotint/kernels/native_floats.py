"""Calls of the compiled kernels of the floats area; same functions as ``reference.floats``.

The compiled side checks dtypes, contiguity and sizes and takes no copies; here outputs are made.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mezzotint.kernels import _native

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Rows = NDArray[Any]
Bounds = NDArray[np.int64]


def exact_pass(
    x: Rows,
    bounds: Bounds,
    segments: tuple[int, int],
    w: Float64,
    loss: str,
    y: Float64,
    weights: Float64 | None,
    phi: Float64,
    *,
    n_threads: int = 1,
) -> tuple[Float64, Float64]:
    """See ``reference.floats.exact_pass``."""
    count = segments[1]
    losses, partials = np.zeros(count), np.zeros((count, *w.shape))
    _native.exact_pass(x, bounds, segments, w, loss, y, weights, phi, losses, partials, n_threads)
    return losses, partials


def float_margins(
    x: Rows, bounds: Bounds, segments: tuple[int, int], v: Float64, out: Float32, *, n_threads: int = 1
) -> None:
    """See ``reference.floats.float_margins``."""
    _native.float_margins(x, bounds, segments, v, out, n_threads)


def float_gradient(
    x: Rows, bounds: Bounds, segments: tuple[int, int], c: Float32, *, n_threads: int = 1
) -> Float64:
    """See ``reference.floats.float_gradient``."""
    partials = np.zeros((segments[1], c.shape[0], x.shape[1] + 1))
    _native.float_gradient(x, bounds, segments, c, partials, n_threads)
    return partials


def float_curvature(
    x: Rows,
    bounds: Bounds,
    segments: tuple[int, int],
    v: Float64,
    weights: Float32,
    probabilities: Float32 | None,
    out: Float32,
    *,
    n_threads: int = 1,
) -> Float64:
    """See ``reference.floats.float_curvature``."""
    partials = np.zeros((segments[1], *v.shape))
    _native.float_curvature(x, bounds, segments, v, weights, probabilities, out, partials, n_threads)
    return partials


def first_nonfinite(x: Rows, *, n_threads: int = 1) -> int:
    """See ``reference.floats.first_nonfinite``."""
    return int(_native.first_nonfinite(x, n_threads))


def curvature_rows(
    loss: str,
    phi: Float64,
    psi: Float32 | None,
    y: Float64,
    weights: Float64 | None,
    *,
    c: Float32 | None = None,
    second: Float32,
    n_threads: int = 1,
) -> None:
    """See ``reference.floats.curvature_rows``."""
    _native.curvature_rows(loss, phi, psi, y, weights, c, second, n_threads)


def line_slope(
    loss: str,
    phi: Float64,
    psi: Float32 | None,
    eta: Float32,
    t: float,
    y: Float64,
    weights: Float64 | None,
    *,
    n_threads: int = 1,
) -> float:
    """See ``reference.floats.line_slope``."""
    return float(_native.line_slope(loss, phi, psi, eta, t, y, weights, n_threads))


def loss_sum(loss: str, phi: Float64, y: Float64, weights: Float64 | None, *, n_threads: int = 1) -> float:
    """See ``reference.floats.loss_sum``."""
    return float(_native.loss_sum(loss, phi, y, weights, n_threads))


def add_scaled(target: Float32, factor: float, source: Float32, *, n_threads: int = 1) -> None:
    """See ``reference.floats.add_scaled``."""
    _native.add_scaled(target.reshape(-1), factor, source.reshape(-1), n_threads)


def tree_sum(partials: Float64, *, n_threads: int = 1) -> Float64:
    """See ``reference.floats.tree_sum``."""
    out = np.zeros(partials.shape[1:])
    if partials.size:
        _native.tree_sum(
            np.ascontiguousarray(partials).reshape(len(partials), -1), out.reshape(-1), n_threads
        )
    return out


__all__ = [
    "add_scaled",
    "curvature_rows",
    "exact_pass",
    "first_nonfinite",
    "float_curvature",
    "float_gradient",
    "float_margins",
    "line_slope",
    "loss_sum",
    "tree_sum",
]
