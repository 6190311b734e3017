"""Numbers that are hard on pairs, and exact results to compare with."""

import math
from fractions import Fraction

import ml_dtypes
import numpy as np

from mezzotint.expansions import renormalise

BFLOAT16 = ml_dtypes.bfloat16
FLOAT8 = (ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2)
# precision, exponent of the smallest normal number
FORMATS = {
    ml_dtypes.float8_e5m2: (3, -14),
    ml_dtypes.float8_e4m3fn: (4, -6),
    BFLOAT16: (8, -126),
    np.float16: (11, -14),
    np.float32: (24, -126),
}


def name(value):
    return getattr(value, "__name__", None)


def codes(dtype):
    """Every number of a format of 8 or 16 bits, by its code."""
    width = np.dtype(dtype).itemsize
    return np.arange(2 ** (8 * width), dtype=f"u{width}").view(dtype)


def finite_of(numbers):
    with np.errstate(invalid="ignore"):  # ml_dtypes says so of signalling NaN
        return numbers[np.isfinite(numbers)]


def every_finite(dtype):
    """All finite numbers of a format of 8 or 16 bits."""
    return finite_of(codes(dtype))


def any_bits(rng, dtype, size):
    """Finite numbers of uniformly random codes: all exponents alike, subnormal ones too."""
    width = np.dtype(dtype).itemsize
    return finite_of(rng.integers(0, 2 ** (8 * width), 2 * size, f"u{width}").view(dtype))[:size]


def is_exact_sum(a, b, hi, lo):
    """Element by element: a + b = hi + lo as real numbers, whatever the exponents."""
    columns = [column.astype(np.float64).tolist() for column in (a, b, -hi, -lo)]
    return np.array([math.fsum(terms) == 0 for terms in zip(*columns, strict=True)])


def is_exact_product(a, b, hi, lo):
    """Element by element: a b = hi + lo; a product of formats of this package is exact in float64."""
    product = a.astype(np.float64) * b.astype(np.float64)
    return is_exact_sum(product, np.zeros_like(product), hi, lo)


def nearest(exact, dtype):
    """Round doubles to a format, to nearest even, subnormal numbers included: the definition."""
    p, least = FORMATS[dtype]
    quantum = np.ldexp(1.0, np.maximum(np.frexp(exact)[1] - p, least - p + 1))
    return np.rint(exact / quantum) * quantum


def hard_numbers(rng, dtype, size, exponents):
    """Numbers between two powers of two, often next to a power."""
    p, _ = FORMATS[dtype]
    edges = rng.choice([0, 1, 2, 2 ** (p - 1) - 1, 2 ** (p - 1) - 2], size)
    significand = np.where(rng.random(size) < 0.3, edges, rng.integers(0, 2 ** (p - 1), size))
    magnitude = np.ldexp(1 + significand * 2.0 ** (1 - p), rng.integers(*exponents, size))
    return (rng.choice([-1.0, 1.0], size) * magnitude).astype(dtype)


def hard_pairs(rng, dtype, size, exponents):
    """Normalised pairs: low parts from half a place down, often at or next to a tie."""
    p, _ = FORMATS[dtype]
    hi = hard_numbers(rng, dtype, size, exponents)
    near_tie = 1 - rng.integers(0, 4, size) * 2.0**-p
    fraction = np.where(rng.random(size) < 0.5, near_tie, rng.random(size))
    half_place = np.ldexp(1.0, np.frexp(hi.astype(np.float64))[1] - 1 - p)
    lo = rng.choice([-1.0, 1.0], size) * fraction * half_place
    return renormalise((hi, lo.astype(dtype)))


def exact(pair):
    """The sum of the parts: in doubles where these are far finer than u**2, as fractions for float32."""
    hi, lo = pair
    if hi.dtype != np.float32:
        return hi.astype(np.float64) + lo.astype(np.float64)
    fractions = [Fraction(h) + Fraction(low) for h, low in zip(hi.tolist(), lo.tolist(), strict=True)]
    return np.array(fractions, dtype=object)


def worst(pair, expected):
    """Largest relative error of a pair, in units of u**2."""
    p, _ = FORMATS[pair[0].dtype.type]
    known = expected != 0
    assert (exact(pair)[~known] == 0).all()
    return float(np.abs(exact(pair)[known] / expected[known] - 1).max()) * 4.0**p
