"""Rounding to a multiple of a quantum: which neighbour is taken, once for scalars and once for arrays.

Stochastic rounding takes its random bits as an argument: a 32-bit word r stands for the threshold
U = r / 2**32 and x / scale becomes floor(x / scale + U). It takes the upper neighbour with probability
floor(2**32 p) / 2**32, where p is the fractional part of x / scale: its bias is never upwards and less than
2**-32 of a quantum. The same word for every element (2**31, say: round half up) gives a deterministic rule.
"""

from __future__ import annotations

import math
from enum import StrEnum
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from mezzotint.errors import ParameterError

__all__ = ["Rounding", "round_array", "round_fraction"]

_WORD_RANGE = 2**32
_VELTKAMP = np.float64(2.0**27 + 1.0)


class Rounding(StrEnum):
    """Which of the two neighbours of a number is taken.

    Examples
    --------
    >>> Rounding("stochastic") is Rounding.STOCHASTIC
    True
    """

    NEAREST_EVEN = "nearest-even"
    """The nearer neighbour; of two equally near ones that with the even code."""
    TOWARD_ZERO = "toward-zero"
    """The neighbour nearer to zero."""
    STOCHASTIC = "stochastic"
    """The upper one with a probability equal to the distance from the lower one: right on average."""

    @classmethod
    def _missing_(cls, value: object) -> Rounding:
        allowed = ", ".join(repr(mode.value) for mode in cls)
        raise ParameterError(f"rounding came as {value!r}; allowed are {allowed}")


def round_fraction(quotient: Fraction, mode: Rounding, random_word: int | None = None) -> int:
    """Round an exact quotient to an integer: the definition that arrays are tested against.

    Parameters
    ----------
    quotient : Fraction
        Number in units of the quantum.
    mode : Rounding
        Which neighbour is taken.
    random_word : int, optional
        32 random bits; needed by stochastic rounding, refused by the other modes.

    Returns
    -------
    int
        One of the two integers around the quotient.

    Raises
    ------
    ParameterError
        If random bits are missing, not needed, or outside [0, 2**32).

    Examples
    --------
    >>> round_fraction(Fraction(5, 2), Rounding.NEAREST_EVEN)
    2
    >>> round_fraction(Fraction(5, 2), Rounding.STOCHASTIC, 2**31)
    3
    """
    if mode is not Rounding.STOCHASTIC:
        if random_word is not None:
            raise ParameterError(f"{mode.value} rounding takes no random bits; pass random_word=None")
        return round(quotient) if mode is Rounding.NEAREST_EVEN else math.trunc(quotient)
    if random_word is None or not 0 <= random_word < _WORD_RANGE:
        raise ParameterError(f"random_word came as {random_word!r}; stochastic rounding needs 32 random bits")
    return math.floor(quotient + Fraction(random_word, _WORD_RANGE))


def round_array(
    values: NDArray[np.float64],
    scale: float,
    mode: Rounding,
    random_bits: NDArray[np.uint32] | None = None,
) -> NDArray[np.float64]:
    """Round values / scale to integers, as if the quotient were exact.

    Parameters
    ----------
    values : ndarray of float64
        Finite numbers.
    scale : float
        Quantum, short enough that scale times any result is a double (see `FixedPoint`).
    mode : Rounding
        Which neighbour is taken.
    random_bits : ndarray of uint32, same shape as values, optional
        Needed by stochastic rounding, refused by the other modes.

    Returns
    -------
    ndarray of float64, same shape
        Integers.

    Raises
    ------
    ParameterError
        If random bits are missing, not needed, or of another dtype or shape.

    Notes
    -----
    With n the integer nearest to the rounded quotient, the remainder values - n * scale is exact (both lie
    within a factor of two of each other, or n is 0), so the decision between n and its neighbours is too.

    Examples
    --------
    >>> round_array(np.array([-0.75, 0.25, 0.75]), 0.5, Rounding.NEAREST_EVEN).tolist()
    [-2.0, 0.0, 2.0]
    """
    _check_random_bits(values, mode, random_bits)
    nearest = np.rint(values / scale)
    remainder = values - nearest * scale
    if mode is Rounding.NEAREST_EVEN:
        # A tie (n + 1/2) * scale is a double, and the quotients of its neighbours lie more than half a place
        # away from n + 1/2: the division cannot turn them into ties, so rint has decided right.
        return nearest
    if mode is Rounding.TOWARD_ZERO:
        up, down = (values < 0) & (remainder > 0), (values > 0) & (remainder < 0)
    else:
        assert random_bits is not None  # _check_random_bits refused it
        threshold = random_bits * np.float64(1.0 / _WORD_RANGE)
        up = _is_at_least_product(remainder, 1.0 - threshold, scale)
        down = ~_is_at_least_product(remainder, -threshold, scale)
    return nearest + up - down


def _is_at_least_product(
    left: NDArray[np.float64], factor: NDArray[np.float64], scale: float
) -> NDArray[np.bool_]:
    """Decide left >= factor * scale without the rounding error of the product.

    Dekker's product gives factor * scale = product + error exactly. Where left and product are close their
    difference is exact; where they are not, it is far larger than the error.
    """
    product = factor * scale
    factor_high, scale_high = _high_half(factor), _high_half(np.asarray(scale, np.float64))
    factor_low, scale_low = factor - factor_high, scale - scale_high
    error = ((factor_high * scale_high - product) + factor_high * scale_low + factor_low * scale_high) + (
        factor_low * scale_low
    )
    decision: NDArray[np.bool_] = left - product >= error
    return decision


def _high_half(number: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the upper 26 significant bits (Veltkamp's split)."""
    inflated = _VELTKAMP * number
    return inflated - (inflated - number)


def _check_random_bits(
    values: NDArray[np.float64], mode: Rounding, random_bits: NDArray[np.uint32] | None
) -> None:
    if mode is not Rounding.STOCHASTIC:
        if random_bits is not None:
            raise ParameterError(f"{mode.value} rounding takes no random bits; pass random_bits=None")
        return
    if random_bits is None:
        raise ParameterError("stochastic rounding needs random_bits, 32 of them per value; none came")
    if random_bits.dtype != np.uint32 or random_bits.shape != values.shape:
        raise ParameterError(
            f"random_bits came as {random_bits.dtype} of shape {random_bits.shape}; "
            f"pass uint32 of shape {values.shape}, one word per value"
        )
