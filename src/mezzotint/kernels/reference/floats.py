"""Passes over blocks of float rows, and row-wise functions of the losses, in plain NumPy.

Shapes are those of the whole package: K outputs, d columns, coefficients (K, d + 1) with the intercept in
the last column, everything per row class-major (K, n). A pass gets the rows of some segments only
(`x`, `segments`), row arrays are always the full ones.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mezzotint.kernels.reference import losses

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Rows = NDArray[Any]  # float32 or float64
Bounds = NDArray[np.int64]


def _each_segment(x: Rows, bounds: Bounds, segments: tuple[int, int]) -> Iterator[tuple[int, Rows, slice]]:
    """(index of the partial, its rows of x, their place in the whole matrix)."""
    first, count = segments
    origin = bounds[first]
    for i in range(count):
        begin, end = int(bounds[first + i]), int(bounds[first + i + 1])
        yield i, x[begin - origin : end - origin], slice(begin, end)


def _affine(rows: Rows, v: Float64) -> Float64:
    """v_k . (row, 1), in the precision of the rows, shape (K, m)."""
    return (v[:, :-1].astype(rows.dtype) @ rows.T).astype(np.float64) + v[:, -1:]


def _transposed(rows: Rows, c: NDArray[np.floating]) -> Float64:
    """sum_i c_ki (row_i, 1), the products in the precision of the rows, shape (K, d + 1)."""
    product = (c.astype(rows.dtype) @ rows).astype(np.float64)
    return np.column_stack([product, c.astype(np.float64).sum(axis=1)])


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
    """Margins, losses and gradient at `w` in float64 arithmetic, with one read of the rows.

    phi = X w + b;  loss = sum_i s_i l(phi_i, y_i);  gradient = sum_i s_i l'(phi_i) (x_i, 1).

    Parameters
    ----------
    x : float32 or float64 array, shape (m, d)
        The rows [bounds[first], bounds[first + count]) of the matrix.
    bounds : int64 array, shape (number of segments + 1,)
        Row boundaries of all segments (``segment_bounds``).
    segments : (first, count)
        The segments that `x` holds.
    w : float64 array, shape (K, d + 1)
    loss : str
        A loss of ``reference.losses``.
    y : float64 array, shape (1, n), (K, n) or (2 K, n)
        Labels 0 or 1, class indices, targets, or the ends of intervals.
    weights : float64 array, shape (n,), or None
        Sample weights s_i >= 0; None means 1.
    phi : float64 array, shape (K, n)
        Output; only the columns of these rows are written.
    n_threads : int
        Not visible in the result.

    Returns
    -------
    loss, gradient : float64 arrays, shapes (count,) and (count, K, d + 1)
        One partial sum per segment, see ``tree_sum``.
    """
    count = segments[1]
    loss_sums, gradients = np.zeros(count), np.zeros((count, *w.shape))
    for i, rows, where in _each_segment(x, bounds, segments):
        s = 1.0 if weights is None else weights[where]
        phi[:, where] = _affine(rows.astype(np.float64), w)
        loss_sums[i] = (s * losses.values(loss, phi[:, where], y[:, where])).sum()
        gradients[i] = _transposed(
            rows.astype(np.float64), s * losses.slopes(loss, phi[:, where], y[:, where])
        )
    return loss_sums, gradients


def float_margins(
    x: Rows, bounds: Bounds, segments: tuple[int, int], v: Float64, out: Float32, *, n_threads: int = 1
) -> None:
    """Out = X v, products in the precision of `x`, stored as float32; `out` has shape (K, n)."""
    for _, rows, where in _each_segment(x, bounds, segments):
        out[:, where] = _affine(rows, v)


def float_gradient(
    x: Rows, bounds: Bounds, segments: tuple[int, int], c: Float32, *, n_threads: int = 1
) -> Float64:
    """Return partials of sum_i c_ki (x_i, 1), shape (count, K, d + 1); products in the precision of `x`."""
    partials = np.zeros((segments[1], len(c), x.shape[1] + 1))
    for i, rows, where in _each_segment(x, bounds, segments):
        partials[i] = _transposed(rows, c[:, where])
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
    """Product of the curvature of the data term with `v`, and X v, with one read of the rows.

    psi = X v;  c_k = weights_k psi_k, or for softmax c_k = weights p_k (psi_k - sum_l p_l psi_l);
    returns partials of sum_i c_ki (x_i, 1).

    Parameters
    ----------
    x, bounds, segments
        As in ``exact_pass``.
    v : float64 array, shape (K, d + 1)
    weights : float32 array, shape (1, n) or (K, n)
        Second derivatives times sample weights; with `probabilities` the sample weights, shape (1, n).
    probabilities : float32 array, shape (K, n), or None
    out : float32 array, shape (K, n)
        Output, X v.
    n_threads : int
        Not visible in the result.

    Returns
    -------
    float64 array, shape (count, K, d + 1)
    """
    partials = np.zeros((segments[1], *v.shape))
    for i, rows, where in _each_segment(x, bounds, segments):
        out[:, where] = psi = _affine(rows, v).astype(np.float32)
        if probabilities is not None:
            p = probabilities[:, where]
            psi = p * (psi - (p * psi).sum(axis=0))
        partials[i] = _transposed(rows, weights[:, where] * psi)
    return partials


def first_nonfinite(x: Rows, *, n_threads: int = 1) -> int:
    """Index i * d + j of the first NaN or infinity in row-major order, or -1."""
    bad = ~np.isfinite(x).ravel()
    return int(bad.argmax()) if bad.any() else -1


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
    """Compute what an inner step needs of the loss at phi + psi.

    c = s (l'(phi + psi) - l'(phi));  second = s l''(phi + psi). The differences are taken in float64.

    Parameters
    ----------
    loss : str
        A loss of ``reference.losses``.
    phi : float64 array, shape (K, n)
        Margins at the centre.
    psi : float32 array, shape (K, n), or None
        Offset of the margins; None means 0.
    y, weights
        As in ``exact_pass``.
    c : float32 array, shape (K, n), or None
        Output; None if it is not wanted.
    second : float32 array
        Output. Shape (1, n); piecewise losses (K, n); softmax (K, n): the probabilities at phi + psi, not
        weighted.
    n_threads : int
        Not visible in the result.
    """
    s = 1.0 if weights is None else weights
    moved = phi if psi is None else phi + psi
    if c is not None:
        c[:] = s * (losses.slopes(loss, moved, y) - losses.slopes(loss, phi, y))
    second[:] = losses.second(loss, moved, y) * (1.0 if loss == "softmax" else s)


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
    """Slope along `eta` of the sum of losses, relative to the slope of its linear model at `phi`.

    sum_i s_i sum_k (l'_k(phi_i + psi_i + t eta_i) - l'_k(phi_i)) eta_ki, in float64.
    """
    s = 1.0 if weights is None else weights
    moved = (phi if psi is None else phi + psi) + t * eta.astype(np.float64)
    change = losses.slopes(loss, moved, y) - losses.slopes(loss, phi, y)
    return float((s * (change * eta).sum(axis=0)).sum())


def loss_sum(loss: str, phi: Float64, y: Float64, weights: Float64 | None, *, n_threads: int = 1) -> float:
    """sum_i s_i l(phi_i, y_i) in float64."""
    s = 1.0 if weights is None else weights
    return float((s * losses.values(loss, phi, y)).sum())


def add_scaled(target: Float32, factor: float, source: Float32, *, n_threads: int = 1) -> None:
    """Add ``factor * source`` to `target`, float32 arrays of one shape; product and sum are rounded."""
    target += np.float32(factor) * source


def tree_sum(partials: Float64, *, n_threads: int = 1) -> Float64:
    """Sum over the first axis, pairwise in a fixed binary tree: neighbours, then pairs of neighbours, ...

    Which thread computed which partial does not show in the result, and neither does the machine.

    Parameters
    ----------
    partials : float64 array, shape (count, ...)
        One partial sum per segment, in the order of the segments. Not changed.
    n_threads : int
        Not visible in the result.

    Returns
    -------
    float64 array, shape (...)
        Zeros if `count` is 0.
    """
    if len(partials) == 0:
        return np.zeros(partials.shape[1:])
    while len(partials) > 1:
        pairs = partials[: len(partials) // 2 * 2]
        total = pairs[0::2] + pairs[1::2]
        partials = np.concatenate([total, partials[-1:]]) if len(partials) % 2 else total
    return np.array(partials[0])


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
