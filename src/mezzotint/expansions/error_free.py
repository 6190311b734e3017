"""Error-free transformations: a sum or product, and what its rounding cut off.

Every function returns (hi, lo): hi is the rounded result, lo the rounding error, itself a number of the
format. So hi + lo, never added up, is the exact result. Where hi is infinite or NaN there is no error to
know, and lo is zero. Nothing is written in place: no operand is read after it was overwritten.
"""

from __future__ import annotations

from typing import Generic, NamedTuple

from mezzotint.expansions.arrays import A, arithmetic, cast, finite_or_zero, precision, widen

__all__ = ["Expansion", "fast_two_sum", "two_prod", "two_prod_dekker", "two_sum"]


class Expansion(NamedTuple, Generic[A]):
    """A number as the unevaluated sum hi + lo of two numbers of one format, with hi = RN(hi + lo).

    A pair of p-bit numbers has about 2 p bits: |lo| is at most half a place of hi. Any tuple of two
    arrays is accepted where an expansion is asked for.

    Examples
    --------
    >>> import numpy as np
    >>> hi, lo = Expansion(np.float16([1.0]), np.float16([2.0**-12]))
    """

    hi: A
    """The number, rounded."""
    lo: A
    """What rounding cut off."""


def two_sum(a: A, b: A) -> Expansion[A]:
    """Return RN(a + b) and its rounding error, exactly, for operands in any order; six operations.

    Parameters
    ----------
    a, b : ndarray or Tensor, shapes that broadcast
        Of one format; subnormal numbers are as good as others.

    Returns
    -------
    Expansion
        hi + lo = a + b; lo = 0 where hi is not finite.

    Raises
    ------
    FormatError
        If the operands are no arrays of one of the formats.

    Notes
    -----
    One intermediate result can overflow though hi does not, if an operand is the largest number of the
    format; lo is 0 then. That is the only exception.

    References
    ----------
    D. E. Knuth, "The Art of Computer Programming", volume 2, section 4.2.2, theorem B.

    Examples
    --------
    >>> import numpy as np
    >>> hi, lo = two_sum(np.float16([1.0]), np.float16([0.0003]))
    >>> float(hi[0]), float(lo[0]) == float(np.float16(0.0003))
    (1.0, True)
    """
    with arithmetic(a, b):
        total = a + b
        b_in_total = total - a
        error = (a - (total - b_in_total)) + (b - b_in_total)
        return Expansion(total, finite_or_zero(error))


def fast_two_sum(a: A, b: A) -> Expansion[A]:
    """Return RN(a + b) and its rounding error for an a that is not smaller than b; three operations.

    Exact if the exponent of a is at least that of b (|a| >= |b| suffices), or either is zero. If not, lo is
    *not* the error in general, and nothing warns: use `two_sum` where the order is not known.

    Parameters
    ----------
    a, b : ndarray or Tensor, shapes that broadcast
        Of one format.

    Returns
    -------
    Expansion
        hi + lo = a + b; lo = 0 where hi is not finite.

    Raises
    ------
    FormatError
        If the operands are no arrays of one of the formats.

    References
    ----------
    T. J. Dekker, "A floating-point technique for extending the available precision", 1971, section 4.

    Examples
    --------
    >>> import numpy as np
    >>> large, small = np.float16([1024.0]), np.float16([1.375])
    >>> [float(part[0]) for part in fast_two_sum(large, small)]
    [1025.0, 0.375]
    """
    with arithmetic(a, b):
        total = a + b
        return Expansion(total, finite_or_zero(b - (total - a)))


def two_prod(a: A, b: A) -> Expansion[A]:
    """Return RN(a * b) and its rounding error, through the wider format in which the product is exact.

    Parameters
    ----------
    a, b : ndarray or Tensor, shapes that broadcast
        Of one format. Products of float32 are formed in float64, all others in float32.

    Returns
    -------
    Expansion
        hi + lo = a * b where |a * b| >= 2**p times the smallest normal number, or is zero; below, lo is
        rounded to a subnormal number. lo = 0 where hi is not finite.

    Raises
    ------
    FormatError
        If the operands are no arrays of one of the formats.

    Examples
    --------
    >>> import numpy as np
    >>> a = np.float16([1 + 2**-10])
    >>> [float(part[0]) for part in two_prod(a, a)] == [1 + 2**-9, 2**-20]
    True
    """
    with arithmetic(a, b):
        exact = widen(a) * widen(b)
        product = cast(exact, a.dtype)
        return Expansion(product, finite_or_zero(cast(exact - widen(product), a.dtype)))


def two_prod_dekker(a: A, b: A) -> Expansion[A]:
    """Return RN(a * b) and its rounding error with + - * of the format alone; seventeen operations.

    Each factor is split into two halves whose products are exact. The same bits as `two_prod` for results
    that are neither tiny nor huge: for machines without a wider format.

    Parameters
    ----------
    a, b : ndarray or Tensor, shapes that broadcast
        Of one format.

    Returns
    -------
    Expansion
        As of `two_prod`, but lo may be 0 also where |a * b| exceeds half of the largest number, and is 0
        where a factor times 2**ceil(p / 2) + 1 overflows.

    Raises
    ------
    FormatError
        If the operands are no arrays of one of the formats.

    References
    ----------
    T. J. Dekker, "A floating-point technique for extending the available precision", 1971, section 5; the
    splitting is G. W. Veltkamp's.

    Examples
    --------
    >>> import numpy as np
    >>> a = np.float16([1 + 2**-10])
    >>> two_prod_dekker(a, a) == two_prod(a, a)
    True
    """
    with arithmetic(a, b):
        product = a * b
        a_high, a_low = _halves(a)
        b_high, b_low = _halves(b)
        error = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low
        return Expansion(product, finite_or_zero(error))


def _halves(number: A) -> tuple[A, A]:
    """Split into the upper p - ceil(p / 2) significant bits and the rest, both short (Veltkamp)."""
    # The factor is an int: a float would make NumPy widen bfloat16 to float32.
    inflated = number * (2 ** -(-precision(number.dtype) // 2) + 1)
    high = inflated - (inflated - number)
    return high, number - high
