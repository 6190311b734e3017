"""What a number format is: a protocol, and fixed point as its first member."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mezzotint.errors import FormatError

__all__ = ["FixedPoint", "Format"]

_MOST_BITS = 48
_LARGEST_EXPONENT = 400


@runtime_checkable
class Format(Protocol):
    """A finite set of real numbers, each named by an integer code.

    Codes are ordered as their values are. A format is immutable and hashable; rounding to it is the business
    of `mezzotint.formats.encode`.

    Examples
    --------
    >>> isinstance(FixedPoint(bits=8, scale=1.0), Format)
    True
    """

    @property
    def bits(self) -> int:
        """Bits that a code occupies."""

    @property
    def min_code(self) -> int:
        """Code of the smallest value."""

    @property
    def max_code(self) -> int:
        """Code of the largest value."""

    @property
    def min_value(self) -> float:
        """Smallest value."""

    @property
    def max_value(self) -> float:
        """Largest value."""

    def codes(self) -> NDArray[np.int64]:
        """All codes, ascending."""

    def values(self) -> NDArray[np.float64]:
        """All values, ascending: the value of ``codes()[i]`` at place ``i``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedPoint:
    """Signed two's complement fixed point: {scale * k : -2**(bits-1) <= k < 2**(bits-1)}.

    The scale must be *exact*: short enough that every value scale * k is a double. Then decoding never
    rounds, and encoding a representable value gives its code back in every rounding mode. Scales that come
    out of a computation are made exact by `FixedPoint.nearest` and `FixedPoint.spanning`.

    Parameters
    ----------
    bits : int
        Width of a code, 2 to 48.
    scale : float
        The quantum, between 2**-400 and 2**400, with at most 53 - bits significant binary digits.

    Raises
    ------
    FormatError
        If the width or the scale is outside these sets.

    References
    ----------
    The pair (delta, b) of C. De Sa et al., "High-accuracy low-precision training", arXiv:1803.03383.

    Examples
    --------
    >>> grid = FixedPoint(bits=8, scale=0.25)
    >>> grid.min_value, grid.max_value
    (-32.0, 31.75)
    >>> FixedPoint.spanning(bits=8, bound=2.0).max_value >= 2.0
    True
    """

    bits: int
    scale: float

    def __post_init__(self) -> None:
        _check_bits(self.bits)
        _check_magnitude(self.scale)
        digits = 53 - self.bits
        if _significant_digits(self.scale) > digits:
            raise FormatError(
                f"scale {self.scale!r} has {_significant_digits(self.scale)} significant binary digits; with "
                f"{self.bits} bits at most {digits} keep every value exact in a double. Use "
                f"FixedPoint.nearest(bits={self.bits}, scale={self.scale!r})"
            )

    @classmethod
    def nearest(cls, *, bits: int, scale: float) -> Self:
        """Return the format whose exact scale is nearest to ``scale``.

        Parameters
        ----------
        bits : int
            Width of a code, 2 to 48.
        scale : float
            Wanted quantum, between 2**-400 and 2**400.

        Returns
        -------
        FixedPoint
            Its scale differs from the wanted one by a relative 2**(bits - 53) at most.

        Raises
        ------
        FormatError
            If the width or the scale is outside these sets.

        Examples
        --------
        >>> abs(FixedPoint.nearest(bits=8, scale=0.1).scale / 0.1 - 1) < 2**-45
        True
        """
        _check_bits(bits)
        _check_magnitude(scale)
        unit = _last_place(scale, 53 - bits)
        return cls(bits=bits, scale=round(scale / unit) * unit)

    @classmethod
    def spanning(cls, *, bits: int, bound: float) -> Self:
        """Return the format with the smallest exact scale that still represents ``bound``.

        Parameters
        ----------
        bits : int
            Width of a code, 2 to 48.
        bound : float
            Positive; ``max_value`` will be at least this and barely more.

        Returns
        -------
        FixedPoint
            Scale: bound / (2**(bits-1) - 1), rounded up.

        Raises
        ------
        FormatError
            If the width is outside its set, or the scale would be.

        Examples
        --------
        >>> FixedPoint.spanning(bits=8, bound=127.0).scale
        1.0
        """
        _check_bits(bits)
        largest_code = (1 << (bits - 1)) - 1
        _check_magnitude(bound / largest_code)
        # The division rounds, perhaps down: start one place below and step up until the bound fits.
        unit = _last_place(bound / largest_code, 53 - bits)
        scale = (math.floor(bound / largest_code / unit) - 1) * unit
        while Fraction(scale) * largest_code < Fraction(bound):
            scale += unit
        return cls(bits=bits, scale=scale)

    @property
    def min_code(self) -> int:
        """Code of the smallest value: -2**(bits-1)."""
        return -(1 << (self.bits - 1))

    @property
    def max_code(self) -> int:
        """Code of the largest value: 2**(bits-1) - 1."""
        return (1 << (self.bits - 1)) - 1

    @property
    def min_value(self) -> float:
        """Smallest value: scale * min_code."""
        return self.scale * self.min_code

    @property
    def max_value(self) -> float:
        """Largest value: scale * max_code."""
        return self.scale * self.max_code

    @property
    def code_dtype(self) -> np.dtype[np.signedinteger]:
        """Smallest NumPy integer type that holds a code."""
        return np.dtype(np.min_scalar_type(self.min_code))

    def codes(self) -> NDArray[np.int64]:
        """All 2**bits codes, ascending.

        Returns
        -------
        ndarray of int64, shape (2**bits,)
            ``min_code`` to ``max_code``.

        Raises
        ------
        FormatError
            With more than 24 bits: a list of them all would be large.

        Examples
        --------
        >>> FixedPoint(bits=2, scale=1.0).codes().tolist()
        [-2, -1, 0, 1]
        """
        if self.bits > 24:
            raise FormatError(
                f"a list of all codes of {self.bits} bits is too large; at most 24 bits are listed"
            )
        return np.arange(self.min_code, self.max_code + 1, dtype=np.int64)

    def values(self) -> NDArray[np.float64]:
        """All 2**bits values, ascending.

        Returns
        -------
        ndarray of float64, shape (2**bits,)
            scale * codes(), exactly.

        Raises
        ------
        FormatError
            With more than 24 bits: a list of them all would be large.

        Examples
        --------
        >>> FixedPoint(bits=2, scale=0.5).values().tolist()
        [-1.0, -0.5, 0.0, 0.5]
        """
        return self.codes() * np.float64(self.scale)


def _check_bits(bits: int) -> None:
    if not isinstance(bits, int) or isinstance(bits, bool) or not 2 <= bits <= _MOST_BITS:
        raise FormatError(f"bits came as {bits!r}; fixed point takes an integer from 2 to {_MOST_BITS}")


def _check_magnitude(scale: float) -> None:
    if not 2.0**-_LARGEST_EXPONENT <= scale <= 2.0**_LARGEST_EXPONENT:
        raise FormatError(
            f"scale {scale!r} is not a number between 2**-{_LARGEST_EXPONENT} and 2**{_LARGEST_EXPONENT}; "
            "rescale the data"
        )


def _significant_digits(scale: float) -> int:
    """Count the binary digits from the first to the last that is not zero."""
    numerator = Fraction(scale).numerator
    return (numerator // (numerator & -numerator)).bit_length()


def _last_place(scale: float, digits: int) -> float:
    """Return the value of the last of ``digits`` binary digits of ``scale``."""
    return math.ldexp(1.0, math.frexp(scale)[1] - digits)
