"""Arithmetic on pairs of low-precision numbers, rounded to pairs.

Operands are normalised, hi = RN(hi + lo), and so are results. The bounds hold while nothing underflows;
u = 2**-p is half a place of 1. The algorithms have the numbers that Joldes, Muller and Popescu gave them.
Where the exact result overflows, hi is infinite and lo zero; NaN gives (NaN, 0).

References
----------
M. Joldes, J.-M. Muller, V. Popescu, "Tight and rigorous error bounds for basic building blocks of double-word
arithmetic", ACM Transactions on Mathematical Software 44(2), 2017.
J.-M. Muller, L. Rideau, "Formalization of double-word arithmetic, and comments on 'Tight and rigorous error
bounds for basic building blocks of double-word arithmetic'", the same 48(1), 2022: better bounds.
T. Yu, G. Gupta et al., "Collage: light-weight low-precision strategy for LLM training", arXiv:2405.03637.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mezzotint.errors import ParameterError
from mezzotint.expansions.arrays import A, arithmetic, as_double, cast, finite_or_zero, precision, quiet
from mezzotint.expansions.error_free import Expansion, fast_two_sum, two_prod, two_sum

__all__ = [
    "add",
    "grow",
    "is_error_free",
    "mul",
    "renormalise",
    "scale",
    "split",
    "unit_roundoff",
    "value",
]


def split(value: Any, dtype: Any, *, scale: float = 1.0) -> Expansion[Any]:  # noqa: ANN401
    """Write value / scale as a pair: hi = RN(value / scale), lo = RN(value / scale - hi).

    Parameters
    ----------
    value : float, ndarray or Tensor
        Numbers, in any precision up to float64.
    dtype : dtype of NumPy, ml_dtypes or torch
        Format of the two parts, and the library they will belong to.
    scale : float, default 1
        Unit of the pair, positive; powers of two cost no accuracy. Formats with a small range (float8,
        float16) need one that brings their values towards the middle of it.

    Returns
    -------
    Expansion
        Shape of value. The relative error is at most u**2 (2**-16 in bfloat16) while lo does not underflow.

    Raises
    ------
    FormatError
        If the format is not one of this package, or belongs to another library than the value.
    ParameterError
        If the scale is not positive and finite.

    Notes
    -----
    A float of Python is a constant of a compiled step; one that changes belongs into a float64 tensor.

    Examples
    --------
    >>> import ml_dtypes
    >>> [float(part) for part in split(0.999, ml_dtypes.bfloat16)]
    [1.0, -0.00099945068359375]
    """
    precision(dtype)
    wide = as_double(value, dtype) / _checked_scale(scale)
    with quiet(dtype):
        hi = cast(wide, dtype)
        lo = finite_or_zero(cast(wide - as_double(hi), dtype))
    # Some casts from float64 round twice, through float32: where that shows, at ties, this makes all agree.
    return renormalise((hi, lo))


def value(x: tuple[A, A], *, scale: float = 1.0) -> Any:  # noqa: ANN401
    """Add up a pair in float64: (hi + lo) * scale.

    Parameters
    ----------
    x : Expansion
        A pair of any format of this package.
    scale : float, default 1
        Unit of the pair, as given to `split`.

    Returns
    -------
    ndarray or Tensor of float64
        Exact with a scale of a power of two if the bits of hi and lo lie within 53 places.

    Raises
    ------
    ParameterError
        If the scale is not positive and finite.

    Examples
    --------
    >>> import numpy as np
    >>> abs(float(value(split(1 / 3, np.float16))) - 1 / 3) < 2**-23
    True
    """
    hi, lo = x
    return (as_double(hi) + as_double(lo)) * _checked_scale(scale)


def unit_roundoff(dtype: Any) -> float:  # noqa: ANN401
    """Return u = 2**-p, the largest relative error of rounding to a format.

    Parameters
    ----------
    dtype : dtype of NumPy, ml_dtypes or torch
        One of the formats of this package.

    Returns
    -------
    float
        2**-8 for bfloat16, 2**-11 for float16, 2**-24 for float32, 2**-4 and 2**-3 for float8.

    Raises
    ------
    FormatError
        For any other dtype.

    Examples
    --------
    >>> import numpy as np
    >>> unit_roundoff(np.float16) == 2**-11
    True
    """
    return float(2.0 ** -precision(dtype))


def renormalise(x: tuple[A, A]) -> Expansion[A]:
    """Return the pair with hi = RN(hi + lo) that has the same sum, exactly; for two parts in any order.

    Parameters
    ----------
    x : pair of ndarrays or Tensors
        Two numbers of one format.

    Returns
    -------
    Expansion
        Normalised.

    Raises
    ------
    FormatError
        If the parts are no arrays of one of the formats.

    Examples
    --------
    >>> import numpy as np
    >>> [float(part[0]) for part in renormalise((np.float16([0.25]), np.float16([1024.0])))]
    [1024.0, 0.25]
    """
    return two_sum(*x)


def grow(x: tuple[A, A], d: A) -> Expansion[A]:
    """Add a number to a pair; relative error at most 2 u**2.

    Collage's update of weights (Grow), with `two_sum` for its first sum, so that the bound holds for a d of
    any size; with |d| <= |hi| the bits are those of the published form.

    Parameters
    ----------
    x : Expansion
        Normalised pair.
    d : ndarray or Tensor
        Summand of the same format.

    Returns
    -------
    Expansion
        x + d, normalised.

    Raises
    ------
    FormatError
        If the operands are no arrays of one of the formats.

    References
    ----------
    Joldes et al., algorithm 4; bound as corrected by Muller and Rideau.

    Examples
    --------
    A thousand additions that float16 alone would lose:

    >>> import numpy as np
    >>> weight, update = split(1.0, np.float16), np.float16(1e-4)
    >>> for _ in range(1000):
    ...     weight = grow(weight, update)
    >>> round(float(value(weight)), 4), float(np.float16(1) + update)
    (1.1, 1.0)
    """
    hi, lo = x
    with arithmetic(hi, lo, d):
        total, error = two_sum(hi, d)
        return fast_two_sum(total, lo + error)


def add(x: tuple[A, A], y: tuple[A, A]) -> Expansion[A]:
    """Add two pairs; relative error at most 3 u**2 + 13 u**3, also where they cancel.

    Parameters
    ----------
    x, y : Expansion
        Normalised pairs of one format.

    Returns
    -------
    Expansion
        x + y, normalised.

    Raises
    ------
    FormatError
        If the operands are no arrays of one of the formats.

    References
    ----------
    Joldes et al., algorithm 6.

    Examples
    --------
    >>> import numpy as np
    >>> total = add(split(0.1, np.float16), split(0.2, np.float16))
    >>> abs(float(value(total)) - 0.3) < 0.3 * 3.1 * 2**-22
    True
    """
    with arithmetic(*x, *y):
        total, error = two_sum(x[0], y[0])
        low, low_error = two_sum(x[1], y[1])
        total, error = fast_two_sum(total, error + low)
        return fast_two_sum(total, error + low_error)


def scale(x: tuple[A, A], c: A) -> Expansion[A]:
    """Multiply a pair by a number; relative error at most 1.5 u**2 + 4 u**3, below 2 u**2.

    Parameters
    ----------
    x : Expansion
        Normalised pair.
    c : ndarray or Tensor
        Factor of the same format.

    Returns
    -------
    Expansion
        x * c, normalised.

    Raises
    ------
    FormatError
        If the operands are no arrays of one of the formats.

    References
    ----------
    Joldes et al., algorithm 7.

    Examples
    --------
    >>> import numpy as np
    >>> third = scale(split(1 / 3, np.float16), np.float16(3))
    >>> abs(float(value(third)) - 1) < 2 * 2**-22
    True
    """
    hi, lo = x
    with arithmetic(hi, lo, c):
        product, error = two_prod(hi, c)
        # With an infinite factor a zero low part would make NaN out of infinity.
        product, low_error = fast_two_sum(product, finite_or_zero(lo * c))
        return fast_two_sum(product, low_error + error)


def mul(x: tuple[A, A], y: tuple[A, A]) -> Expansion[A]:
    """Multiply two pairs, without the product of their low parts; relative error at most 5 u**2.

    What Collage-plus does with its second moment and beta2, held as a pair. Nothing is overwritten before its
    last use: an in-place multiply that reads its overwritten product loses half of a second moment and more
    (tests/expansions/test_second_moment.py).

    Parameters
    ----------
    x, y : Expansion
        Normalised pairs of one format.

    Returns
    -------
    Expansion
        x * y, normalised.

    Raises
    ------
    FormatError
        If the operands are no arrays of one of the formats.

    References
    ----------
    Joldes et al., algorithm 10, who prove 7 u**2; 5 u**2 is by Muller and Rideau.

    Examples
    --------
    >>> import numpy as np
    >>> product = mul(split(0.999, np.float16), split(0.7, np.float16))
    >>> abs(float(value(product)) / 0.6993 - 1) < 7 * 2**-22
    True
    """
    with arithmetic(*x, *y):
        product, error = two_prod(x[0], y[0])
        cross = finite_or_zero(x[0] * y[1] + x[1] * y[0])
        return fast_two_sum(product, error + cross)


def is_error_free(function: Callable[[Any, Any], tuple[Any, Any]], like: Any) -> bool:  # noqa: ANN401
    """Say whether `function`, a compiled or rewritten `two_sum`, still returns rounding errors here.

    Compilers that contract, reassociate or keep sums in a wider format return a wrong lo without a word:
    torch.compile does, unless ``torch._inductor.config.emulate_precision_casts`` is set.

    Parameters
    ----------
    function : callable
        Takes a and b, returns (hi, lo).
    like : ndarray or Tensor
        Its dtype, and its device, are those that are tried.

    Returns
    -------
    bool
        True if hi + lo was a + b for all of a few sums that round up, down, at ties, and across binades.

    Raises
    ------
    FormatError
        If the dtype is not one of this package.

    Examples
    --------
    >>> import numpy as np
    >>> half = np.zeros(1, np.float16)
    >>> is_error_free(two_sum, half), is_error_free(lambda a, b: (a + b, 0 * a), half)
    (True, False)
    """
    u = unit_roundoff(like.dtype)
    pairs = ((1.0, u), (1.0, 1.5 * u), (1 + 2 * u, u), (-1.0, 0.75 * u), (3 * u, 2.0), (1.0, u * u))
    a, b = (cast(as_double(list(side), like.dtype), like.dtype) for side in zip(*pairs, strict=True))
    if hasattr(like, "device") and hasattr(a, "to"):
        a, b = a.to(like.device), b.to(like.device)
    exact = as_double(a) + as_double(b)
    return bool((value(function(a, b)) == exact).all())


def _checked_scale(scale: float) -> float:
    if not 0 < scale < float("inf"):
        raise ParameterError(f"scale came as {scale!r}; pass a positive number, best a power of two")
    return scale
