"""Codes of a fixed-point format: a scalar codec in exact arithmetic, and its array twin.

The scalar functions are the ground truth (rational arithmetic, no rounding error); the array functions give
the same codes for every double, and one test body runs over both. A value beyond the range takes the code
at its end: saturation is counted, never silent.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mezzotint.errors import DataError, FormatError
from mezzotint.formats.rounding import Rounding, round_array, round_fraction
from mezzotint.formats.spec import FixedPoint

__all__ = ["EncodedArray", "decode", "decode_scalar", "encode", "encode_scalar"]


class EncodedArray(NamedTuple):
    """Codes and how many of them stand for a value that was out of range.

    Examples
    --------
    >>> encode([0.6, 9.0], FixedPoint(bits=2, scale=1.0)).saturated
    1
    """

    codes: NDArray[np.signedinteger[Any]]
    """Integer codes in the smallest type that holds them, shape of the input."""
    saturated: int
    """Number of values whose rounded code lay outside the format."""


def encode_scalar(
    value: float,
    fmt: FixedPoint,
    rounding: Rounding | str = Rounding.NEAREST_EVEN,
    random_word: int | None = None,
) -> tuple[int, bool]:
    """Encode one number: clamp(round(value / scale)), in exact arithmetic.

    Parameters
    ----------
    value : float
        Any number but NaN; infinities saturate.
    fmt : FixedPoint
        The format.
    rounding : Rounding or str, default "nearest-even"
        Which neighbour is taken.
    random_word : int, optional
        32 random bits for stochastic rounding.

    Returns
    -------
    code : int
        Between ``fmt.min_code`` and ``fmt.max_code``.
    saturated : bool
        Whether the rounded code lay outside that range.

    Raises
    ------
    DataError
        If the value is NaN.
    ParameterError
        If the rounding mode is unknown or its random bits are missing or not needed.

    Examples
    --------
    >>> encode_scalar(0.30, FixedPoint(bits=8, scale=0.25))
    (1, False)
    """
    mode = Rounding(rounding)
    if math.isnan(value):
        raise DataError("the value is NaN, which no fixed-point code stands for; clean the data first")
    # Beyond twice the range the answer is saturation in any mode; this keeps infinities out of the quotient.
    bound = 2 * abs(fmt.min_value)
    quotient = Fraction(min(max(value, -bound), bound)) / Fraction(fmt.scale)
    code = round_fraction(quotient, mode, random_word)
    clamped = min(max(code, fmt.min_code), fmt.max_code)
    return clamped, clamped != code


def decode_scalar(code: int, fmt: FixedPoint) -> float:
    """Return the value of one code: scale * code, which is exact.

    Parameters
    ----------
    code : int
        Between ``fmt.min_code`` and ``fmt.max_code``.
    fmt : FixedPoint
        The format.

    Returns
    -------
    float
        The value.

    Raises
    ------
    FormatError
        If the code does not belong to the format.

    Examples
    --------
    >>> decode_scalar(-3, FixedPoint(bits=8, scale=0.25))
    -0.75
    """
    if not fmt.min_code <= code <= fmt.max_code:
        raise FormatError(f"code {code} is not one of {fmt.min_code} to {fmt.max_code} ({fmt.bits} bits)")
    return float(fmt.scale * code)


def encode(
    values: ArrayLike,
    fmt: FixedPoint,
    rounding: Rounding | str = Rounding.NEAREST_EVEN,
    random_bits: NDArray[np.uint32] | None = None,
) -> EncodedArray:
    """Encode an array: clamp(round(values / scale)), equal to `encode_scalar` element by element.

    Parameters
    ----------
    values : array_like of float
        Any numbers but NaN; infinities saturate. Read as float64.
    fmt : FixedPoint
        The format.
    rounding : Rounding or str, default "nearest-even"
        Which neighbour is taken.
    random_bits : ndarray of uint32, same shape as values, optional
        One word per value for stochastic rounding.

    Returns
    -------
    EncodedArray
        The codes and the number of saturated values.

    Raises
    ------
    DataError
        If a value is NaN; the message names the first one's index.
    ParameterError
        If the rounding mode is unknown or its random bits are missing, not needed or of another shape.

    Examples
    --------
    >>> encode([-1.0, 0.3, 99.0], FixedPoint(bits=8, scale=0.25))
    EncodedArray(codes=array([ -4,   1, 127], dtype=int8), saturated=1)
    """
    mode = Rounding(rounding)
    numbers = np.asarray(values, np.float64)
    _refuse_nan(numbers)
    bound = 2 * abs(fmt.min_value)
    rounded = round_array(np.clip(numbers, -bound, bound), fmt.scale, mode, random_bits)
    clamped = np.clip(rounded, fmt.min_code, fmt.max_code)
    return EncodedArray(clamped.astype(fmt.code_dtype), int(np.count_nonzero(clamped != rounded)))


def decode(codes: ArrayLike, fmt: FixedPoint) -> NDArray[np.float64]:
    """Return the values of codes: scale * codes, which is exact.

    Parameters
    ----------
    codes : array_like of int
        Each between ``fmt.min_code`` and ``fmt.max_code``.
    fmt : FixedPoint
        The format.

    Returns
    -------
    ndarray of float64, same shape
        The values.

    Raises
    ------
    FormatError
        If the codes are not integers or one does not belong to the format.

    Examples
    --------
    >>> decode([-4, 1, 127], FixedPoint(bits=8, scale=0.25)).tolist()
    [-1.0, 0.25, 31.75]
    """
    integers = np.asarray(codes)
    if integers.size and not np.issubdtype(integers.dtype, np.integer):
        raise FormatError(f"codes came as {integers.dtype}; pass integers")
    strangers = (integers < fmt.min_code) | (integers > fmt.max_code)
    if strangers.any():
        first = integers[strangers].flat[0]
        raise FormatError(f"code {first} is not one of {fmt.min_code} to {fmt.max_code} ({fmt.bits} bits)")
    return integers.astype(np.float64) * fmt.scale


def _refuse_nan(numbers: NDArray[np.float64]) -> None:
    missing = np.isnan(numbers)
    if missing.any():
        index = tuple(int(place) for place in np.argwhere(missing)[0])
        raise DataError(
            f"the value at index {index} is NaN, which no fixed-point code stands for; clean the data first"
        )
