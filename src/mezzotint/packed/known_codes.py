"""Codes as sentence-transformers, FAISS and usearch store them, with what each encoder really did."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mezzotint.errors import DataError, ParameterError
from mezzotint.packed.from_codes import from_codes
from mezzotint.packed.matrix import PackedMatrix

_PRECISIONS = ("int8", "uint8", "binary", "ubinary")


def from_sentence_transformers(
    codes: ArrayLike,
    ranges: ArrayLike | None = None,
    *,
    precision: str,
    rounding: str | None = None,
    n_columns: int | None = None,
    n_jobs: int | None = None,
) -> PackedMatrix:
    """Make a PackedMatrix of what ``quantize_embeddings`` of sentence-transformers returned.

    With ``start = ranges[0]`` and ``step = (ranges[1] - ranges[0]) / 255`` a code names a bin, and its
    value is the middle of it: ``start + step * (q + 1/2)`` for uint8, with q + 128 in place of q for int8.
    int8 codes of old releases were truncated toward zero after 128 had been subtracted: their bin 0 is twice
    as wide, those below it reach down instead of up, and the value is ``start + step * (128 + m(q))`` with
    ``m(q) = q - 1/2, 0, q + 1/2`` for negative, zero and positive q. A dimension with an empty range
    stands for its start.

    Parameters
    ----------
    codes : array-like of shape (n, d), or (n, ceil(d / 8)) for bits
        int8, uint8; for "binary" int8 and for "ubinary" uint8 of packed bits, most significant first.
    ranges : array-like of shape (2, d), optional
        The calibration ranges that the codes were made with; they are not stored with the codes. Without
        them values are in steps (``q + 1/2`` or m(q)): as good a problem, but with another penalty for each
        dimension.
    precision : {"int8", "uint8", "binary", "ubinary"}
        As it was asked for.
    rounding : {"floor", "truncate"}, optional
        How int8 codes were rounded, which they do not tell: "truncate" in releases before pull request 3847
        of 2026, "floor" since. Needed for int8, not allowed otherwise.
    n_columns : int, optional
        Dimensions of binary codes, if no multiple of 8. (Old releases packed all rows as one run of bits, so
        their codes have whole bytes only if it is one.)
    n_jobs : int or None
        Threads.

    Returns
    -------
    PackedMatrix
        Bits stand for 0 and 1; the embedding's 0.0 is bit 0.

    Raises
    ------
    ParameterError
        If `precision` is unknown, or `rounding` is missing for int8 or given for others.
    DataError
        If codes or ranges do not fit.

    Examples
    --------
    >>> import numpy as np, mezzotint as mz
    >>> codes = np.array([[-1, 0, 1]], dtype=np.int8)
    >>> ranges = np.array([[-128.0] * 3, [127.0] * 3])
    >>> mz.from_sentence_transformers(codes, ranges, precision="int8", rounding="floor").source.block(0, 1)
    array([[-0.5,  0.5,  1.5]], dtype=float32)
    >>> mz.from_sentence_transformers(codes, ranges, precision="int8", rounding="truncate").source.block(0, 1)
    array([[-1.5,  0. ,  1.5]], dtype=float32)
    """
    if precision not in _PRECISIONS:
        raise ParameterError(f"precision={precision!r} is unknown; allowed: {', '.join(_PRECISIONS)}.")
    _check_rounding(precision, rounding)
    array = np.asarray(codes)
    expected = "int8" if precision in ("int8", "binary") else "uint8"
    if array.dtype != expected or array.ndim != 2:
        raise DataError(
            f"codes have dtype {array.dtype} and shape {array.shape}; precision={precision!r} gives 2-D "
            f"{expected}. Pass what quantize_embeddings returned."
        )
    if precision in ("binary", "ubinary"):
        if ranges is not None:
            raise ParameterError(f"precision={precision!r} has no ranges; leave them out.")
        bits = array.view(np.uint8) ^ np.uint8(0x80) if precision == "binary" else array
        return from_codes(bits, bits=1, bit_order="big", n_columns=n_columns, n_jobs=n_jobs)
    start, step = _starts_and_steps(ranges, array.shape[1])
    lowest = 128 if precision == "int8" and ranges is not None else 0  # codes count from -128
    if rounding == "truncate":
        return from_codes(array, step, start + lowest * step, levels=_truncated_levels(), n_jobs=n_jobs)
    return from_codes(array, step, start + lowest * step, bin="centre", n_jobs=n_jobs)


def from_faiss_sq(
    trained: ArrayLike,
    codes: ArrayLike,
    n_columns: int,
    *,
    bits: int = 8,
    n_jobs: int | None = None,
) -> PackedMatrix:
    """Make a PackedMatrix of the codes of a FAISS scalar quantizer (SQ8, SQ6, SQ4 and their uniform kinds).

    ``value = vmin_j + vdiff_j * (q + 1/2) / (2^bits - 1)``: FAISS takes the floor when it encodes and the
    middle of the bin when it decodes. Several codes in a byte begin at its lowest bit: the even component of
    SQ4 lies in the low nibble. (SQ8_direct codes are values: ``from_codes(codes)``, with ``offset=-128`` if
    signed.)

    Parameters
    ----------
    trained : array-like of shape (2 n_columns,) or (2,)
        ``faiss.vector_to_array(index.sq.trained)``: all vmin, then all vdiff; two numbers for QT_8bit_uniform
        and QT_4bit_uniform.
    codes : array-like of uint8, shape (n, code_size) or (n * code_size,)
        ``faiss.vector_to_array(index.codes)``.
    n_columns : int
        Dimensions, ``index.d``.
    bits : {8, 6, 4}
        Of the quantizer.
    n_jobs : int or None
        Threads.

    Returns
    -------
    PackedMatrix
        Values are float64; FAISS itself decodes to float32.

    Raises
    ------
    DataError
        If the codes or the trained numbers do not fit `n_columns` and `bits`.
    ParameterError
        If `bits` is none of the three.

    Examples
    --------
    >>> import numpy as np, mezzotint as mz
    >>> trained, codes = np.array([0, 0, 15, 15], np.float32), np.array([[0x21]], np.uint8)
    >>> mz.from_faiss_sq(trained, codes, 2, bits=4).source.block(0, 1)
    array([[1.5, 2.5]], dtype=float32)
    """
    if bits not in (8, 6, 4):
        raise ParameterError(
            f"bits={bits!r} is not possible; FAISS has scalar quantizers of 8, 6 and 4 bits."
        )
    table = np.asarray(trained, dtype=np.float64).ravel()
    if table.size not in (2, 2 * n_columns):
        raise DataError(
            f"trained holds {table.size} numbers; {n_columns} columns have {2 * n_columns} (or 2: uniform)."
        )
    array, width = np.asarray(codes), -(-n_columns * bits // 8)
    if array.ndim == 1 and array.size % width == 0:
        array = array.reshape(-1, width)
    if array.dtype != np.uint8 or array.ndim != 2 or array.shape[1] != width:
        raise DataError(
            f"codes have dtype {array.dtype} and shape {array.shape}; rows of {n_columns} codes of {bits} "
            f"bits take {width} bytes, uint8."
        )
    low, spread = table[: table.size // 2], table[table.size // 2 :]
    offset, scale = (np.broadcast_to(v, n_columns) for v in (low, spread / (2**bits - 1)))
    return from_codes(array, scale, offset, bits=bits, bin="centre", n_columns=n_columns, n_jobs=n_jobs)


def from_usearch_i8(
    codes: ArrayLike, norms: ArrayLike | None = None, *, n_jobs: int | None = None
) -> PackedMatrix:
    """Make a PackedMatrix of the ``i8`` vectors of a usearch index.

    usearch divides a row by its length, multiplies with 127 and truncates toward zero, so that bin 0 is twice
    as wide as the others: ``value = norm_i * m(q) / 127`` with ``m(q) = q - 1/2, 0, q + 1/2`` for negative,
    zero and positive q, the middles of the bins. The length of the row is lost; without `norms` all rows
    have length 1, which suits embeddings that had it.

    Parameters
    ----------
    codes : array-like of int8, shape (n, d)
        The stored vectors.
    norms : array-like of shape (n,), optional
        Lengths of the original rows, if they are known from elsewhere.
    n_jobs : int or None
        Threads.

    Returns
    -------
    PackedMatrix

    Raises
    ------
    DataError
        If codes are not int8, or norms do not fit them.

    Examples
    --------
    >>> import numpy as np, mezzotint as mz
    >>> packed = mz.from_usearch_i8(np.array([[-127, 0, 1]], dtype=np.int8))
    >>> (packed.source.block(0, 1) * 127).round(6)
    array([[-127.5,    0. ,    1.5]])
    """
    array = np.asarray(codes)
    if array.dtype != np.int8:
        raise DataError(f"codes have dtype {array.dtype}; usearch's i8 vectors are int8.")
    return from_codes(array, 1 / 127, levels=_truncated_levels(), row_scale=norms, n_jobs=n_jobs)


def _truncated_levels() -> NDArray[np.float64]:
    """Middles of the bins of codes -128 to 127 that truncation toward zero makes."""
    q = np.arange(-128, 128)
    return q + 0.5 * np.sign(q)


def _check_rounding(precision: str, rounding: Any) -> None:  # noqa: ANN401
    if precision != "int8":
        if rounding is not None:
            raise ParameterError(
                f"rounding={rounding!r} with precision={precision!r}; only int8 has a choice."
            )
        return
    if rounding not in ("floor", "truncate"):
        raise ParameterError(
            f"rounding={rounding!r}: int8 codes do not tell how they were made. Give 'truncate' if "
            "sentence-transformers was older than pull request 3847 (2026), else 'floor'."
        )


def _starts_and_steps(ranges: ArrayLike | None, d: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if ranges is None:
        return np.zeros(d), np.ones(d)
    table = np.asarray(ranges, dtype=np.float64)
    if table.shape != (2, d) or not np.isfinite(table).all() or (table[0] > table[1]).any():
        raise DataError(
            f"ranges have shape {table.shape}; give (2, {d}): the smallest and the largest of each dimension."
        )
    return table[0], (table[1] - table[0]) / 255
