"""Level maps of optimizer states: which numbers a code of few bits stands for.

Both maps are made so that every backend finds the same code with IEEE operations alone: no logarithm, no
search. Uniform words (24 bits of them) decide between the two neighbours; ``None`` takes the nearer one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

__all__ = ["LogLevels", "SignedLevels", "thresholds"]

_ONE_BITS = 0x3F800000
_NEAREST = 0.5


def thresholds(words: Tensor | None) -> Tensor | float:
    """Turn words into the numbers in [0, 1) that a fraction must exceed to be rounded up.

    Parameters
    ----------
    words : Tensor of int64 or None
        Uniform words in [0, 2**32); None stands for rounding to nearest.

    Returns
    -------
    Tensor of float32 or float
        The top 24 bits over 2**24, or 1/2.
    """
    return _NEAREST if words is None else (words >> 8).to(torch.float32) * 2.0**-24


@dataclass(frozen=True)
class SignedLevels:
    """Levels for first moments: symmetric, without a zero, denser near zero.

    With y_k = (2 k - (n - 1)) / (n - 1) in [-1, 1], level k is ``limit * (curve - 1) * y_k / (curve -
    |y_k|)``, in float32: numerator and denominator times n - 1 are exact for the limits in use, so a level
    is one division.

    Attributes
    ----------
    bits : int
        Bits per code: n = 2**bits levels.
    limit : float
        Largest level; values beyond it are clipped.
    curve : float
        More than 1; the smaller, the denser near zero: the density there is ``curve / (curve - 1)**2`` times
        that at the end, up to a constant.
    table : Tensor of float32, shape (2**bits,)
        All levels in ascending order.

    Examples
    --------
    >>> SignedLevels(bits=4, limit=1.0).table[-1].item()
    1.0
    """

    bits: int
    limit: float
    curve: float = 1.5
    table: Tensor = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Made at once and not at first use: the lock of a cached property would cut compiled steps.
        odd = torch.arange(-self.top, self.top + 1, 2, dtype=torch.float32)
        table = (self.limit * (self.curve - 1) * odd) / (self.curve * self.top - odd.abs())
        object.__setattr__(self, "table", table)

    @property
    def top(self) -> int:
        """The largest code, 2**bits - 1."""
        return (1 << self.bits) - 1

    def encode(self, x: Tensor, words: Tensor | None) -> Tensor:
        """Round to a code; unbiased for |x| <= limit when the words are uniform.

        Parameters
        ----------
        x : Tensor of float32
            Normalised values; NaN gets code 0.
        words : Tensor of int64 or None
            One word per element.

        Returns
        -------
        Tensor of uint8, same shape
            Codes in [0, 2**bits).
        """
        x = x.clamp(-self.limit, self.limit)
        size = x.abs()
        y = (self.curve * size) / (size + self.limit * (self.curve - 1))
        place = (torch.copysign(y, x) + 1.0) * (self.top / 2)
        code = torch.nan_to_num(place, 0.0).to(torch.int32).clamp(0, self.top - 1)
        low, high = self.decode(code), self.decode(code + 1)
        return (code + (thresholds(words) < (x - low) / (high - low))).to(torch.uint8)

    def decode(self, code: Tensor) -> Tensor:
        """Look up the levels of codes.

        Parameters
        ----------
        code : Tensor of an integer type
            In [0, 2**bits).

        Returns
        -------
        Tensor of float32, same shape
            Levels in [-limit, limit].
        """
        return self.table.to(code.device)[code.to(torch.int64)]


@dataclass(frozen=True)
class LogLevels:
    """Levels for second moments: positive, without a zero, evenly spaced *as bit patterns* of float32.

    Level k is the float32 whose bits are ``bits(1.0) - (2**bits - 1 - k) * stride``. Between powers of two a
    bit pattern grows with the number, so the spacing is logarithmic up to 6 % of an octave, and codes come
    from integer arithmetic.

    Attributes
    ----------
    bits : int
        Bits per code.
    stride : int
        Distance of neighbours in bit patterns; 2**23 is an octave.

    Examples
    --------
    >>> LogLevels(bits=4, stride=3 << 21).table[-1].item()
    1.0
    """

    bits: int
    stride: int

    @property
    def top(self) -> int:
        """The largest code, 2**bits - 1."""
        return (1 << self.bits) - 1

    @property
    def octaves(self) -> float:
        """The range from the smallest to the largest level, in octaves."""
        return self.top * self.stride / 2**23

    @property
    def table(self) -> Tensor:
        """All levels in ascending order; float32, shape (2**bits,)."""
        return self.decode(torch.arange(self.top + 1))

    def encode(self, x: Tensor, words: Tensor | None) -> Tensor:
        """Round to a code; unbiased between the smallest level and 1 when the words are uniform.

        Parameters
        ----------
        x : Tensor of float32
            Normalised values in [0, 1]; what lies below the smallest level is raised to it. NaN gets any
            code.
        words : Tensor of int64 or None
            One word per element.

        Returns
        -------
        Tensor of uint8, same shape
            Codes in [0, 2**bits).
        """
        steps = torch.div(x.view(torch.int32) - self._bits_of(0), self.stride, rounding_mode="floor")
        code = steps.clamp(0, self.top - 1)
        low, high = self.decode(code), self.decode(code + 1)
        return (code + (thresholds(words) < (x - low) / (high - low))).to(torch.uint8)

    def decode(self, code: Tensor) -> Tensor:
        """Make the levels of codes.

        Parameters
        ----------
        code : Tensor of an integer type
            In [0, 2**bits).

        Returns
        -------
        Tensor of float32, same shape
            Levels in (0, 1].
        """
        return (code.to(torch.int32) * self.stride + self._bits_of(0)).view(torch.float32)

    def _bits_of(self, code: int) -> int:
        """Give the bit pattern of a level."""
        return _ONE_BITS - (self.top - code) * self.stride
