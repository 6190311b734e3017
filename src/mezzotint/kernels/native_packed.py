"""Calls of the compiled kernels of the packed area; same functions as ``reference.packed``.

Arguments are checked here, in the words of the caller; nothing is converted or copied, so that what is
written reaches the caller's arrays.
"""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mezzotint.errors import DataError, ParameterError
from mezzotint.kernels import _native
from mezzotint.kernels.layout import ROW_GROUP, Layout
from mezzotint.kernels.reference.packed import Segments
from mezzotint.random import Stream

__all__ = [
    "column_scales",
    "gap_squares",
    "pack_rows",
    "packed_curvature",
    "packed_gradient",
    "packed_margins",
    "unpack_rows",
]

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Codes = NDArray[np.uint8]
Rows = NDArray[np.floating[Any]]


def layout_arguments(layout: Layout) -> tuple[object, ...]:
    """Layout as compiled code takes it."""
    levels = None if layout.levels is None else np.array(layout.levels, np.uint8)
    return layout.n_rows, layout.n_columns, layout.bits, layout.n_draws, levels


def column_scales(sample: Rows, bits: int, *, n_threads: int = 1) -> tuple[Float64, Float64, Float64]:
    """See ``reference.packed_scales.column_scales``."""
    _check_rows("sample", sample, None)
    if bits not in (4, 8):
        raise ParameterError(f"bits={bits!r}; allowed: 4 or 8")
    if len(sample) == 0:
        raise DataError("sample has no rows; scales need at least one")
    offset, scale, noise = np.empty((3, sample.shape[1]))
    _native.column_scales(sample, bits, offset, scale, noise, n_threads)
    return offset, scale, noise


def pack_rows(
    x: Rows,
    layout: Layout,
    offset: Float64,
    scale: Float64,
    codes: Codes,
    first_row: int,
    *,
    rounding: str = "nearest",
    seed: int = 0,
    draw: int = 0,
    n_threads: int = 1,
) -> int:
    """See ``reference.packed.pack_rows``."""
    _check_matrix(codes, layout, offset, scale, writable=True)
    _check_rows("x", x, layout.n_columns)
    stop = first_row + len(x)
    if first_row % ROW_GROUP or stop > layout.n_rows or (stop % ROW_GROUP and stop < layout.n_rows):
        raise DataError(
            f"x holds rows [{first_row}, {stop}) of {layout.n_rows}; blocks of rows start at a multiple of "
            f"{ROW_GROUP} and end at one or at the last row"
        )
    if rounding not in ("nearest", "stochastic"):
        raise ParameterError(f"rounding={rounding!r} is unknown; allowed: 'nearest', 'stochastic'")
    if layout.levels is not None and rounding != "stochastic":
        raise ParameterError(
            f"rounding={rounding!r} with uneven levels, which are made for unbiased draws; pass "
            "rounding='stochastic'"
        )
    if layout.n_draws > 1 and rounding != "stochastic":
        raise ParameterError(
            f"rounding={rounding!r} with {layout.n_draws} draws; rounded to nearest they would be the same, "
            "pass rounding='stochastic'"
        )
    random = (seed, draw, Stream.PACKING) if rounding == "stochastic" else None
    shape = layout_arguments(layout)
    return int(_native.pack_rows(x, shape, offset, scale, codes, first_row, random, n_threads))


def unpack_rows(
    codes: Codes,
    layout: Layout,
    offset: Float64,
    scale: Float64,
    first_row: int,
    count: int,
    out: Rows,
    *,
    n_threads: int = 1,
) -> None:
    """See ``reference.packed.unpack_rows``."""
    _check_matrix(codes, layout, offset, scale)
    _check_rows("out", out, layout.n_columns, writable=True)
    if not (first_row >= 0 and first_row + count <= layout.n_rows and len(out) == count):
        raise DataError(
            f"rows [{first_row}, {first_row + count}) of {layout.n_rows} into out with {len(out)} rows; "
            "ask for rows of the matrix, and as many as out has"
        )
    _native.unpack_rows(codes, layout_arguments(layout), offset, scale, first_row, out, n_threads)


def packed_margins(
    codes: Codes,
    layout: Layout,
    offset: Float64,
    scale: Float64,
    v: Float64,
    out: Float32,
    *,
    segments: Segments = None,
    n_threads: int = 1,
) -> None:
    """See ``reference.packed.packed_margins``."""
    _check_matrix(codes, layout, offset, scale)
    _check_vectors(v, layout)
    _check("out", out, np.float32, (len(v), layout.n_rows), writable=True)
    _products(codes, layout, offset, scale, segments, n_threads, n_outputs=len(v), v=v, out=out)


def packed_gradient(
    codes: Codes,
    layout: Layout,
    offset: Float64,
    scale: Float64,
    c: Float32,
    *,
    segments: Segments = None,
    n_threads: int = 1,
) -> Float64:
    """See ``reference.packed.packed_gradient``."""
    _check_matrix(codes, layout, offset, scale)
    _check("c", c, np.float32, (None, layout.n_rows))
    partials = _partials(layout, segments, len(c))
    _products(codes, layout, offset, scale, segments, n_threads, n_outputs=len(c), c=c, partials=partials)
    return partials


def packed_curvature(
    codes: Codes,
    layout: Layout,
    offset: Float64,
    scale: Float64,
    v: Float64,
    weights: Float32,
    probabilities: Float32 | None,
    out: Float32,
    *,
    segments: Segments = None,
    n_threads: int = 1,
) -> Float64:
    """See ``reference.packed.packed_curvature``."""
    _check_matrix(codes, layout, offset, scale)
    _check_vectors(v, layout)
    rows = (len(v), layout.n_rows)
    _check("out", out, np.float32, rows, writable=True)
    if probabilities is not None:
        _check("probabilities", probabilities, np.float32, rows)
    if len(weights) != 1 and (len(weights) != len(v) or probabilities is not None):
        raise DataError(
            f"weights have {len(weights)} rows; pass 1, or without probabilities one per output ({len(v)})"
        )
    _check("weights", weights, np.float32, (None, layout.n_rows))
    partials = _partials(layout, segments, len(v))
    _products(
        codes,
        layout,
        offset,
        scale,
        segments,
        n_threads,
        n_outputs=len(v),
        v=v,
        out=out,
        weights=weights,
        probabilities=probabilities,
        partials=partials,
    )
    return partials


def gap_squares(
    codes: Codes,
    layout: Layout,
    weights: Float64 | None,
    *,
    segments: Segments = None,
    n_threads: int = 1,
) -> Float64:
    """See ``reference.packed.gap_squares``."""
    _check("codes", codes, np.uint8, (layout.n_bytes,))
    if weights is not None:
        _check("weights", weights, np.float64, (layout.n_rows,))
    first, count = _checked_segments(layout, segments)
    partials = np.empty((count, layout.n_columns))
    bounds = layout.segments[first : first + count + 1]
    _native.gap_squares(codes, layout_arguments(layout), bounds, weights, partials, n_threads)
    return partials


def _products(
    codes: Codes,
    layout: Layout,
    offset: Float64,
    scale: Float64,
    segments: Segments,
    n_threads: int,
    *,
    n_outputs: int,
    v: Float64 | None = None,
    out: Float32 | None = None,
    c: Float32 | None = None,
    weights: Float32 | None = None,
    probabilities: Float32 | None = None,
    partials: Float64 | None = None,
) -> None:
    first, count = _checked_segments(layout, segments)
    bounds = layout.segments[first : first + count + 1]
    _native.packed_products(
        codes,
        layout_arguments(layout),
        layout.block_rows,
        offset,
        scale,
        bounds,
        n_outputs,
        v,
        out,
        c,
        weights,
        probabilities,
        partials,
        n_threads,
    )


def _partials(layout: Layout, segments: Segments, n_outputs: int) -> Float64:
    return np.empty((_checked_segments(layout, segments)[1], n_outputs, layout.n_columns + 1))


def _checked_segments(layout: Layout, segments: Segments) -> tuple[int, int]:
    n_segments = len(layout.segments) - 1
    first, count = (0, n_segments) if segments is None else segments
    if not (first >= 0 and count >= 0 and first + count <= n_segments):
        raise ParameterError(
            f"segments={segments}; the matrix has segments 0 to {n_segments}, give (first, count)"
        )
    return first, count


def _check_matrix(
    codes: Codes, layout: Layout, offset: Float64, scale: Float64, *, writable: bool = False
) -> None:
    _check("codes", codes, np.uint8, (layout.n_bytes,), writable=writable)
    _check("offset", offset, np.float64, (layout.n_columns,))
    _check("scale", scale, np.float64, (layout.n_columns,))


def _check_vectors(v: Float64, layout: Layout) -> None:
    _check("v", v, np.float64, (None, layout.n_columns + 1))


def _check_rows(name: str, x: Rows, n_columns: int | None, *, writable: bool = False) -> None:
    dtype = np.float64 if getattr(x, "dtype", None) == np.float64 else np.float32
    _check(name, x, dtype, (None, n_columns), writable=writable)


def _check(
    name: str,
    array: NDArray[Any],
    dtype: DTypeLike,
    shape: tuple[int | None, ...],
    *,
    writable: bool = False,
) -> None:
    """Raise DataError unless `array` can be handed to compiled code as it is; None in shape means any."""
    if not isinstance(array, np.ndarray):
        raise DataError(f"{name} is a {type(array).__name__}; pass a NumPy array of {np.dtype(dtype)}")
    fits = array.ndim == len(shape) and all(
        want is None or want == have for want, have in zip(shape, array.shape, strict=True)
    )
    if array.dtype != dtype or not fits:
        allowed = ", ".join("any" if want is None else str(want) for want in shape)
        raise DataError(
            f"{name} is {array.dtype} of shape {array.shape}; pass {np.dtype(dtype)} of shape ({allowed})"
        )
    if not array.flags.c_contiguous:
        raise DataError(f"{name} is not contiguous; pass numpy.ascontiguousarray({name})")
    if writable and not array.flags.writeable:
        raise DataError(f"{name} receives results but is read-only; pass a writable array")
