"""Products with low-bit codes, in plain NumPy: ``value(i, j) = offset_j + scale_j * q_ij``.

q is the code or, if the layout has levels, what its table ``code_values`` has for the code.

Integer sums are exact. Float sums follow the order of the compiled kernels (lanes, then a fixed tree), so
results agree bit for bit; matrix products below hold integers under 2**53 in float64 and are exact in any
order.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mezzotint.kernels.layout import Layout
from mezzotint.kernels.reference.tiles import gaps_of, to_tiles, values_of
from mezzotint.random import Stream, random_bits, to_uniform

__all__ = [
    "gap_squares",
    "pack_rows",
    "packed_curvature",
    "packed_gradient",
    "packed_margins",
    "unpack_rows",
]

Segments = tuple[int, int] | None

VECTOR_LIMIT = 32_639  # 256 * 127 + 127: the largest integer that splits into two int8
GRADIENT_LIMIT = 127
ROW_LANES = 16  # partial sums over rows
COLUMN_LANES = 8  # partial sums over columns


def pack_rows(
    x: NDArray[np.floating[Any]],
    layout: Layout,
    offset: NDArray[np.float64],
    scale: NDArray[np.float64],
    codes: NDArray[np.uint8],
    first_row: int,
    *,
    rounding: str = "nearest",
    seed: int = 0,
    draw: int = 0,
    n_threads: int = 1,
) -> int:
    """Round rows to codes and store them in tiles.

    ``t_ij = clip((x_ij - offset_j) * (1 / step_j), 0, 2**level_bits - 1)`` in the precision of `x`, where
    ``step_j = n_draws scale_j``; the code is ``rint(t)``, or ``floor(t + u)`` in float64 with uniform u
    (stochastic). The code of two draws is the sum of two such levels with bits of their own, so that
    ``offset_j + scale_j * code`` is the mean of the draws, and odd codes are those whose draws differ.
    If the layout has levels, t is bounded by the last of them and then counted in levels: with l the last
    level ``T_l <= t``, it becomes ``l + (t - T_l) / (T_{l+1} - T_l)`` in float64.
    A column with scale 0 gets code 0, as do padding rows and columns.

    Parameters
    ----------
    x : ndarray of shape (m, n_columns), float32 or float64
        Rows ``first_row`` to ``first_row + m`` of the matrix.
    layout : Layout
        Shape of the whole matrix, and bits.
    offset, scale : ndarray of shape (n_columns,), float64
        The grid of each column, from ``column_scales``.
    codes : ndarray of shape (layout.n_bytes,), uint8
        Receives the codes of these rows; other rows are left alone.
    first_row : int
        A multiple of 16.
    rounding : {"nearest", "stochastic"}
        Two draws are always stochastic: drawn to nearest they would be the same. So is one of uneven levels.
    seed, draw : int, default 0
        Element (i, j) of the matrix uses word ``i * n_columns + j`` of step `draw` (the second draw: of
        step ``draw + 1``) of the stream ``Stream.PACKING`` (mezzotint.random), so codes do not depend on
        how the rows came in.
    n_threads : int, default 1
        Ignored here.

    Returns
    -------
    int
        -1, or the flat index into `x` of its first NaN or infinity; codes are then unspecified.
    """
    bad = np.flatnonzero(~np.isfinite(x))
    if bad.size:
        return int(bad[0])
    with np.errstate(over="ignore", invalid="ignore"):
        t = (x - offset.astype(x.dtype)) * _inverse(layout.n_draws * scale).astype(x.dtype)
    t = np.where(t > 0, np.minimum(t, layout.last_level), 0)  # NaN (an overflow times 0) counts as 0
    if layout.levels is not None:
        t = _in_levels(t.astype(np.float64), layout.level_places)
    if rounding == "stochastic":
        first = first_row * layout.n_columns
        draws = [_levels(t, seed, first, draw + k) for k in range(layout.n_draws)]
        t = np.sum(draws, axis=0)
    rows = -(-len(x) // 16) * 16
    q = np.zeros((rows, layout.padded_columns), dtype=np.uint8)
    q[: len(x), : layout.n_columns] = np.rint(t)
    start = first_row * layout.row_bytes
    codes[start : start + rows * layout.row_bytes] = to_tiles(q, layout)
    return -1


def _in_levels(t: NDArray[np.float64], places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Position of values among the places of levels, linear between neighbours."""
    below = np.searchsorted(places, t, side="right") - 1
    gaps = np.append(np.diff(places), 1.0)  # nothing lies beyond the last
    position: NDArray[np.float64] = below + (t - places[below]) / gaps[below]
    return position


def _levels(t: NDArray[np.floating[Any]], seed: int, first: int, draw: int) -> NDArray[np.float64]:
    words = random_bits(seed, first, t.size, step=draw, stream=Stream.PACKING)
    levels: NDArray[np.float64] = np.floor(t + to_uniform(words).reshape(t.shape))
    return levels


def unpack_rows(
    codes: NDArray[np.uint8],
    layout: Layout,
    offset: NDArray[np.float64],
    scale: NDArray[np.float64],
    first_row: int,
    count: int,
    out: NDArray[np.floating[Any]],
    *,
    n_threads: int = 1,
) -> None:
    """Decode rows: ``out_ij = offset_j + scale_j * q_ij`` in float64, stored in the precision of `out`.

    Parameters
    ----------
    codes : ndarray of shape (layout.n_bytes,), uint8
    layout : Layout
    offset, scale : ndarray of shape (n_columns,), float64
    first_row, count : int
        Rows ``first_row`` to ``first_row + count`` (any rows).
    out : ndarray of shape (count, n_columns), float32 or float64
        Receives the values.
    n_threads : int, default 1
        Ignored here.
    """
    start = first_row // 4 * 4
    q = values_of(codes, layout, start, first_row + count)[first_row - start :]
    out[...] = offset + scale * q


def packed_margins(
    codes: NDArray[np.uint8],
    layout: Layout,
    offset: NDArray[np.float64],
    scale: NDArray[np.float64],
    v: NDArray[np.float64],
    out: NDArray[np.float32],
    *,
    segments: Segments = None,
    n_threads: int = 1,
) -> None:
    """Multiply the packed matrix with vectors: ``out_ki = v_k0 + sum_j value(i, j) v_kj``, v to 15 bits.

    With ``u_j = scale_j v_j``, ``s = max|u| / 32639`` and the integers ``w_j = rint(u_j / s)``::

        out = v_0 + sum_j v_j (offset_j + mid scale_j) + s (sum_j q_ij w_j - mid sum_j w_j)

    where ``mid`` is the middle code; the integer sums are exact, the rest is float64, the result float32.

    Parameters
    ----------
    codes : ndarray of shape (layout.n_bytes,), uint8
    layout : Layout
    offset, scale : ndarray of shape (n_columns,), float64
    v : ndarray of shape (K, n_columns + 1), float64
        Last column: what is added to every row (the intercept).
    out : ndarray of shape (K, n_rows), float32
        Rows of the chosen segments are written.
    segments : tuple of int (first, count), optional
        Which of ``layout.segments`` to do; all by default.
    n_threads : int, default 1
        Ignored here.

    Notes
    -----
    Rounding v moves a row by at most ``s/2 * sum_j |q_ij - mid|``.
    A vector whose s is not a normal number (all zero, or under 1e-303) counts as zero.
    """
    wide = [_WideVector(v_k, layout, offset, scale) for v_k in v]
    for start, stop in _selected(layout, segments):
        for block, q in _blocks(codes, layout, start, stop):
            for k, vector in enumerate(wide):
                out[k, block] = vector.margins(q)


def packed_gradient(
    codes: NDArray[np.uint8],
    layout: Layout,
    offset: NDArray[np.float64],
    scale: NDArray[np.float64],
    c: NDArray[np.float32],
    *,
    segments: Segments = None,
    n_threads: int = 1,
) -> NDArray[np.float64]:
    """Multiply the transposed packed matrix with row coefficients: ``sum_i c_ki value(i, j)``, c to 15 bits.

    Per block of ``layout.block_rows`` rows, counted from the start of a segment, with ``t = max|c| / 127``
    and the integers ``e_i = rint(c_i / t)``, and once more for what that left, ``c'_i = c_i - t e_i`` in
    float32 with t' and e'::

        out_kj = scale_j (sum_blocks t (sum_i q_ij e_i - mid sum_i e_i) + sum_blocks t' (...))
                 + (offset_j + mid scale_j) sum_i c_i

    and the last column is ``sum_i c_i``.

    Parameters
    ----------
    codes : ndarray of shape (layout.n_bytes,), uint8
    layout : Layout
    offset, scale : ndarray of shape (n_columns,), float64
    c : ndarray of shape (K, n_rows), float32
    segments : tuple of int (first, count), optional
        Which of ``layout.segments`` to do; all by default.
    n_threads : int, default 1
        Ignored here.

    Returns
    -------
    ndarray of shape (count, K, n_columns + 1), float64
        One partial result per segment; ``tree_sum`` adds them.
    """
    return _gradient(codes, layout, offset, scale, c, segments, planes=2)


def _gradient(
    codes: NDArray[np.uint8],
    layout: Layout,
    offset: NDArray[np.float64],
    scale: NDArray[np.float64],
    c: NDArray[np.float32],
    segments: Segments,
    *,
    planes: int,
) -> NDArray[np.float64]:
    partials = []
    for start, stop in _selected(layout, segments):
        sums = [_ColumnSums(layout, planes) for _ in c]
        for block, q in _blocks(codes, layout, start, stop):
            for k, total in enumerate(sums):
                total.add(q, c[k, block])
        partials.append([total.result(offset, scale) for total in sums])
    return np.array(partials, dtype=np.float64).reshape(-1, len(c), layout.n_columns + 1)


def packed_curvature(
    codes: NDArray[np.uint8],
    layout: Layout,
    offset: NDArray[np.float64],
    scale: NDArray[np.float64],
    v: NDArray[np.float64],
    weights: NDArray[np.float32],
    probabilities: NDArray[np.float32] | None,
    out: NDArray[np.float32],
    *,
    segments: Segments = None,
    n_threads: int = 1,
) -> NDArray[np.float64]:
    """Multiply with the curvature ``X^T D X`` of the packed matrix: margins, weights, gradient, in one read.

    ``out`` receives the margins psi = X v; the row coefficients are, in float32,
    ``c_k = weights_k psi_k``, or with probabilities p (softmax)
    ``c_k = (weights p_k) (psi_k - sum_l p_l psi_l)``. They are rounded to 8 bits, once.

    Parameters
    ----------
    codes : ndarray of shape (layout.n_bytes,), uint8
    layout : Layout
    offset, scale : ndarray of shape (n_columns,), float64
    v : ndarray of shape (K, n_columns + 1), float64
    weights : ndarray of shape (1, n_rows) or (K, n_rows), float32
        Must have one row if `probabilities` is given.
    probabilities : ndarray of shape (K, n_rows), float32, or None
    out : ndarray of shape (K, n_rows), float32
        Receives X v in the chosen segments.
    segments : tuple of int (first, count), optional
        Which of ``layout.segments`` to do; all by default.
    n_threads : int, default 1
        Ignored here.

    Returns
    -------
    ndarray of shape (count, K, n_columns + 1), float64
        One partial result per segment; ``tree_sum`` adds them.

    See Also
    --------
    packed_margins, packed_gradient : the two halves, with their rounding.
    """
    packed_margins(codes, layout, offset, scale, v, out, segments=segments)
    rows = slice(*_row_range(layout, segments))
    c = np.zeros_like(out)
    c[:, rows] = _curvature_coefficients(
        out[:, rows], weights[:, rows], None if probabilities is None else probabilities[:, rows]
    )
    return _gradient(codes, layout, offset, scale, c, segments, planes=1)


def gap_squares(
    codes: NDArray[np.uint8],
    layout: Layout,
    weights: NDArray[np.float64] | None,
    *,
    segments: Segments = None,
    n_threads: int = 1,
) -> NDArray[np.float64]:
    """Sum the squared gaps between the draws of every column: ``sum_i weights_i gap_ij**2``.

    Two draws of a value differ where their code is odd: by one level or, if the layout has levels, by the gap
    between the two, ``code_gaps``. With m their mean, the product of the draws, which is unbiased for the
    square, is ``m**2 - (scale_j gap_ij)**2``: these sums are what corrects a gradient for the variance of the
    draws (ZipML, 2017, equation 6).

    Parameters
    ----------
    codes : ndarray of shape (layout.n_bytes,), uint8
    layout : Layout
    weights : ndarray of shape (n_rows,), float64, or None
        None means 1 for every row; the sums are then exact.
    segments : tuple of int (first, count), optional
        Which of ``layout.segments`` to do; all by default.
    n_threads : int, default 1
        Ignored here.

    Returns
    -------
    ndarray of shape (count, n_columns), float64
        One partial result per segment, its rows added one after the other; ``tree_sum`` adds them.
    """
    partials = []
    for start, stop in _selected(layout, segments):
        squares = gaps_of(codes, layout, start, stop) ** 2
        terms = squares if weights is None else weights[start:stop, None] * squares
        partials.append(np.add.accumulate(terms, axis=0)[-1] + 0.0)  # + 0.0: no negative zero
    return np.array(partials, dtype=np.float64).reshape(-1, layout.n_columns)


def _curvature_coefficients(
    psi: NDArray[np.float32], weights: NDArray[np.float32], probabilities: NDArray[np.float32] | None
) -> NDArray[np.float32]:
    if probabilities is None:
        return weights * psi
    mean = np.zeros_like(psi[0])
    for p_l, psi_l in zip(probabilities, psi, strict=True):
        mean += p_l * psi_l
    return np.asarray((weights * probabilities) * (psi - mean))


class _WideVector:
    """A vector as 15-bit integers with one scale, ready to be multiplied with codes."""

    def __init__(
        self, v: NDArray[np.float64], layout: Layout, offset: NDArray[np.float64], scale: NDArray[np.float64]
    ) -> None:
        middle = offset + layout.mid_code * scale
        self.base = v[-1] + lane_sum(v[:-1] * middle, COLUMN_LANES)
        u = scale * v[:-1]
        self.scale = np.max(np.abs(u)) / VECTOR_LIMIT
        if not np.isfinite(self.scale):
            self.base = np.nan
        if not np.isfinite(self.scale) or self.scale < np.finfo(np.float64).tiny:
            self.scale, u = 0.0, np.zeros_like(u)
        self.integers = np.rint(u / (self.scale or 1.0))
        self.shift = layout.mid_code * self.integers.sum()  # integers: exact

    def margins(self, q: NDArray[np.float64]) -> NDArray[np.float32]:
        sums = q @ self.integers - self.shift
        return np.asarray(self.base + self.scale * sums, dtype=np.float32)


class _ColumnSums:
    """Sums over the rows of one segment, for one output."""

    def __init__(self, layout: Layout, planes: int) -> None:
        self.mid_code = layout.mid_code
        self.products = np.zeros((planes, layout.n_columns))
        self.lanes = np.zeros(ROW_LANES)

    def add(self, q: NDArray[np.float64], c: NDArray[np.float32]) -> None:
        lanes = _lanes(c.astype(np.float64), ROW_LANES)
        self.lanes = np.add.accumulate(np.vstack([self.lanes, lanes]))[-1]
        for products in self.products:
            exact = c.astype(np.float64)
            largest = np.max(np.abs(exact))
            inverse = GRADIENT_LIMIT / largest if largest > 0 else 0.0
            e = np.rint(exact * inverse)
            products += largest / GRADIENT_LIMIT * (e @ q - self.mid_code * e.sum())
            c = (exact - largest / GRADIENT_LIMIT * e).astype(np.float32)

    def result(self, offset: NDArray[np.float64], scale: NDArray[np.float64]) -> NDArray[np.float64]:
        total = _fold(self.lanes)
        sums = self.products[0] + self.products[1] if len(self.products) == 2 else self.products[0]
        columns = scale * sums + (offset + self.mid_code * scale) * total
        return np.append(columns, total)


def lane_sum(x: NDArray[np.float64], lanes: int) -> float:
    """Add element i into lane ``i % lanes``, in order, and then the lanes by halves."""
    return _fold(np.add.accumulate(_lanes(x, lanes))[-1]) if x.size else 0.0


def _lanes(x: NDArray[np.float64], lanes: int) -> NDArray[np.float64]:
    return np.append(x, np.zeros(-len(x) % lanes)).reshape(-1, lanes)


def _fold(lanes: NDArray[np.float64]) -> float:
    while len(lanes) > 1:
        half = len(lanes) // 2
        lanes = lanes[:half] + lanes[half:]
    return float(lanes[0])


def _inverse(scale: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0)


def _selected(layout: Layout, segments: Segments) -> list[tuple[int, int]]:
    first, count = segments or (0, len(layout.segments) - 1)
    bounds = layout.segments[first : first + count + 1].tolist()
    return list(pairwise(bounds))


def _row_range(layout: Layout, segments: Segments) -> tuple[int, int]:
    first, count = segments or (0, len(layout.segments) - 1)
    return int(layout.segments[first]), int(layout.segments[first + count])


def _blocks(
    codes: NDArray[np.uint8], layout: Layout, start: int, stop: int
) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    for first in range(start, stop, layout.block_rows):
        last = min(first + layout.block_rows, stop)
        yield slice(first, last), values_of(codes, layout, first, last)
