"""Codes that somebody else made: an exact source of their values, and the same codes in our tiles."""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mezzotint.errors import DataError, ParameterError
from mezzotint.kernels import Layout, ops
from mezzotint.kernels.threads import resolve_n_jobs
from mezzotint.packed.codes_source import Codes, CodesSource
from mezzotint.packed.matrix import HeldCodes, PackedMatrix
from mezzotint.packed.pack import pack_source
from mezzotint.packed.sources import check_shape

_BLOCK_VALUES = 2**22  # codes moved into tiles at a time


def from_codes(
    codes: ArrayLike,
    scale: ArrayLike = 1.0,
    offset: ArrayLike = 0.0,
    *,
    row_scale: ArrayLike | None = None,
    levels: ArrayLike | None = None,
    bits: int = 8,
    bin: str = "point",
    bit_order: Literal["little", "big"] = "little",
    n_columns: int | None = None,
    n_jobs: int | None = None,
) -> PackedMatrix:
    """Make a PackedMatrix of codes that were quantised elsewhere; nothing is decoded into a float copy.

    ``value(i, j) = row_scale_i * (offset_j + scale_j * p_ij)``, where ``p`` is the code q (``bin="point"``),
    ``q + 1/2`` (``bin="centre"``: the encoder took the floor, so q names a bin, and this is its middle),
    or ``levels[q]``. Fits find the exact optimum for these values: they are decoded a block at a time for the
    exact passes, in float64 unless float32 holds them exactly. Inner loops read the codes, laid into tiles
    one for one where the map is affine; with `row_scale`, `levels` or 16 bits they read nearest codes of 8
    bits (4 for codes of at most 4).

    Parameters
    ----------
    codes : array-like of shape (n, d) or (n, row bytes)
        uint8, int8, uint16 or int16, one code per element; with `bits` under 8, uint8 rows of packed codes.
        Kept, not copied; may be a memory map.
    scale, offset : float or array-like of shape (d,)
        The map of each column; finite, scale >= 0. Without them the codes themselves are the values.
    row_scale : array-like of shape (n,), optional
        Factor of each row.
    levels : array-like of shape (L,), optional
        Position of each code, for codes off any affine grid. The first is that of the smallest
        code there can be: of -128 for int8.
    bits : {8, 1, 2, 3, 4, 5, 6, 7}
        Bits per packed code; 8 means one code per element, of 8 or 16 bits.
    bin : {"point", "centre"}
        Where in its bin the value of a code lies.
    bit_order : {"little", "big"}
        Packed codes: whether the first begins at the lowest or the highest bit of the byte, as in
        ``numpy.packbits``.
    n_columns : int, optional
        Packed codes: how many there are in a row, if not as many as fit.
    n_jobs : int or None
        Threads; the result does not depend on it.

    Returns
    -------
    PackedMatrix

    Raises
    ------
    DataError
        If the codes are no such integers, or a scale, offset or level does not fit them.
    ParameterError
        If `bits`, `bin` or `bit_order` is unknown.

    Examples
    --------
    >>> import numpy as np, mezzotint as mz
    >>> codes = np.array([[0, 255], [128, 3]], dtype=np.uint8)
    >>> packed = mz.from_codes(codes, scale=[0.5, 0.25], offset=[-1, 0])
    >>> packed.source.block(0, 2)
    array([[-1.  , 63.75],
           [63.  ,  0.75]], dtype=float32)
    """
    if bin not in ("point", "centre"):
        raise ParameterError(f"bin={bin!r} is unknown; allowed: 'point', 'centre'.")
    held = _check_codes(codes, bits, bit_order, n_columns)
    table = None if levels is None else _check_levels(levels, held)
    shift = 0.5 if bin == "centre" and table is None else 0.0
    if bin == "centre" and table is not None:
        raise ParameterError("bin='centre' and levels were given; levels say where each code's value lies.")
    source = CodesSource(
        held,
        offset=_vector("offset", offset, held.n_columns),
        scale=_check_scale(_vector("scale", scale, held.n_columns)),
        shift=shift,
        levels=table,
        row_scale=None if row_scale is None else _vector("row_scale", row_scale, len(held.stored)),
    )
    if not np.isfinite(source.largest).all():
        column = int(np.argmin(np.isfinite(source.largest)))
        raise DataError(f"values of column {column} go beyond the largest float64; give a smaller scale.")
    return _pack(source, resolve_n_jobs(n_jobs))


def _pack(source: CodesSource, n_threads: int) -> PackedMatrix:
    bits = 4 if source.codes.bits <= 4 else 8
    if not source.is_affine or source.codes.bits > 8:
        return pack_source(source, bits, rounding="nearest", keep_source=True, seed=0, n_threads=n_threads)
    n, d = source.shape
    layout = Layout(n_rows=n, n_columns=d, bits=bits)
    offset, scale = source.unsigned_map()
    return PackedMatrix(
        held=HeldCodes(_laid_out(source.codes, layout, n_threads)),
        layout=layout,
        offset=offset,
        scale=scale,
        noise=np.zeros(d),  # the codes are the values
        source=source,
        dtype=source.dtype,
    )


def _laid_out(codes: Codes, layout: Layout, n_threads: int) -> NDArray[np.uint8]:
    """Lay codes into tiles by packing them as numbers on the grid 0, 1, 2, ...: exact for all."""
    out = layout.empty_codes()
    zero, one = np.zeros(layout.n_columns), np.ones(layout.n_columns)
    step = max(16, _BLOCK_VALUES // layout.n_columns // 16 * 16)
    for start in range(0, layout.n_rows, step):
        rows = codes.unsigned(slice(start, min(start + step, layout.n_rows)))
        floats = np.ascontiguousarray(rows, dtype=np.float32)
        ops().pack_rows(floats, layout, zero, one, out, start, n_threads=n_threads)
    return out


def _check_codes(
    codes: ArrayLike, bits: int, bit_order: Literal["little", "big"], n_columns: int | None
) -> Codes:
    if isinstance(bits, bool) or bits not in range(1, 9):
        raise ParameterError(f"bits={bits!r} is not possible; allowed: 1 to 8 (8: one code per element).")
    if bit_order not in ("little", "big"):
        raise ParameterError(f"bit_order={bit_order!r} is unknown; allowed: 'little', 'big'.")
    stored = np.asarray(codes)
    allowed = ("uint8", "int8", "uint16", "int16") if bits == 8 else ("uint8",)
    if stored.ndim != 2 or stored.dtype.name not in allowed:
        raise DataError(
            f"codes have dtype {stored.dtype} and shape {stored.shape}; with bits={bits} give a 2-D array of "
            f"{', '.join(allowed)}."
        )
    n, width = stored.shape
    if bits == 8:
        check_shape((n, width))
        if n_columns not in (None, width):
            raise DataError(f"codes have {width} columns, n_columns={n_columns}; leave n_columns out.")
        return Codes(stored=stored, n_columns=width, bits=8 * stored.dtype.itemsize, bit_order=bit_order)
    d = width * 8 // bits if n_columns is None else n_columns
    check_shape((n, d))
    if -(-d * bits // 8) != width:
        raise DataError(
            f"{d} codes of {bits} bits take {-(-d * bits // 8)} bytes a row, but the rows have {width}; "
            "give n_columns and bits as the codes were made."
        )
    return Codes(stored=stored, n_columns=d, bits=bits, bit_order=bit_order)


def _check_levels(levels: ArrayLike, codes: Codes) -> NDArray[np.float64]:
    """Return the table; DataError if a code lies beyond it."""
    table = np.array(levels, dtype=np.float64)
    if table.ndim != 1 or not 2 <= len(table) <= 2**codes.bits or not np.isfinite(table).all():
        raise DataError(
            f"levels have shape {table.shape}; give 2 to {2**codes.bits} finite numbers, one for each code."
        )
    step = max(1, _BLOCK_VALUES // codes.n_columns)
    for start in range(0, len(codes.stored) if len(table) < 2**codes.bits else 0, step):
        largest = int(codes.unsigned(slice(start, start + step)).max())
        if largest >= len(table):
            raise DataError(
                f"levels has {len(table)} entries, but among rows {start} to {start + step} is code "
                f"{largest + codes.lowest}; codes go from {codes.lowest} to {codes.lowest + len(table) - 1}."
            )
    return table


def _vector(name: str, value: ArrayLike, length: int) -> NDArray[np.float64]:
    vector = np.asarray(value, dtype=np.float64)
    if vector.shape not in ((), (length,)) or not np.isfinite(vector).all():
        raise DataError(
            f"{name} has shape {vector.shape}; give one finite number or {length} of them, shape ({length},)."
        )
    return np.ascontiguousarray(np.broadcast_to(vector, length))


def _check_scale(scale: NDArray[np.float64]) -> NDArray[np.float64]:
    if scale.min() < 0:
        column = int(np.argmax(scale < 0))
        raise DataError(f"scale is {scale[column]} in column {column}; negate the codes and give scale >= 0.")
    return scale
