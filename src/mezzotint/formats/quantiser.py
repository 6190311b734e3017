"""ZipML's stochastic quantiser: a sign, one of s equal intervals of magnitude, and a scale.

With a scale M_i >= |v_i| per coordinate, magnitudes are the multiples of M_i / s from 0 to M_i. A value
between two of them becomes one of the two, the upper one with a probability equal to its distance from the
lower one::

    t_i = s |v_i| / M_i,    Q_i = sign(v_i) (M_i / s) floor(t_i + U_i),    U_i uniform in [0, 1)

so E Q = v, and Var Q_i = (u - v_i)(v_i - l), where l and u are the neighbouring levels. Zero stays zero.

Row scaling takes the Euclidean norm of the vector for all M_i: for models and gradients, whose range moves.
Column scaling takes the largest magnitude of each column of the data: for samples, whose range does not.

References
----------
H. Zhang et al., "ZipML", arXiv:1611.05402v3, page 5 and appendix A.3; lemma 2 is that of D. Alistarh et
al., "QSGD", NIPS 2017.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mezzotint.errors import DataError, ParameterError

__all__ = [
    "ScaledCodes",
    "column_scale",
    "intervals_of_bits",
    "quantise",
    "rounding_variance",
    "row_scale",
    "second_moment_factor",
    "sparsity_bound",
    "total_variance",
    "variance_bound",
]

Array = NDArray[np.float64]

_SCALE_BYTES = 8


class ScaledCodes(NamedTuple):
    """Quantised values as they would be moved: small integers and their scale.

    Examples
    --------
    >>> ScaledCodes(np.array([-2, 1, 0]), np.array([4.0]), 2).values.tolist()
    [-4.0, 2.0, 0.0]
    """

    codes: NDArray[np.int32]
    """Signed level of every coordinate, from -intervals to intervals."""
    scale: Array
    """M: one number per row, or one per column; broadcasts against the codes."""
    intervals: int
    """Number s of intervals of magnitude."""

    @property
    def values(self) -> Array:
        """What the codes stand for: codes * scale / intervals."""
        return self.codes * (self.scale / self.intervals)

    @property
    def code_bits(self) -> int:
        """Bits of one code, the fewest that tell 2 s + 1 levels apart."""
        return (2 * self.intervals).bit_length()

    @property
    def n_bytes(self) -> int:
        """Bytes to move: codes side by side, and 8 for every scale."""
        return -(-self.codes.size * self.code_bits // 8) + _SCALE_BYTES * np.size(self.scale)


def intervals_of_bits(bits: int) -> int:
    """Return the paper's number of intervals for a width: s = ceil((2**bits - 1) / 2).

    Parameters
    ----------
    bits : int
        1 to 16.

    Returns
    -------
    int
        2**(bits - 1). With the sign these are 2**bits + 1 levels, one more than `bits` bits tell apart:
        ``ScaledCodes.code_bits`` is therefore bits + 1.

    Raises
    ------
    ParameterError
        If the width is not an integer from 1 to 16.

    Examples
    --------
    >>> [intervals_of_bits(bits) for bits in (1, 2, 8)]
    [1, 2, 128]
    """
    if isinstance(bits, bool) or not isinstance(bits, int | np.integer) or not 1 <= bits <= 16:
        raise ParameterError(f"bits came as {bits!r}; give an integer from 1 to 16")
    levels: int = 2 ** int(bits)
    return levels // 2  # ceil((levels - 1) / 2)


def row_scale(values: ArrayLike) -> Array:
    """Return the Euclidean norm of each vector: the scale of models and gradients.

    Parameters
    ----------
    values : array_like of float, shape (..., n)
        Vectors along the last axis.

    Returns
    -------
    ndarray of float64, shape (..., 1)
        Never below the largest magnitude of its vector, also where squares underflow.

    Examples
    --------
    >>> row_scale([3.0, -4.0]).tolist()
    [5.0]
    """
    vectors = np.asarray(values, np.float64)
    largest = np.max(np.abs(vectors), axis=-1, keepdims=True, initial=0.0)
    relative = np.divide(vectors, largest, out=np.zeros_like(vectors), where=largest > 0)
    norm: Array = largest * np.sqrt(np.sum(relative * relative, axis=-1, keepdims=True))
    return norm


def column_scale(samples: ArrayLike) -> Array:
    """Return the largest magnitude of each column: the scale of samples.

    Parameters
    ----------
    samples : array_like of float, shape (n_rows, n_columns)
        The whole data set: a scale that misses a row would clip it, and clipping is bias.

    Returns
    -------
    ndarray of float64, shape (n_columns,)
        M_j = max over i of |a_ij|.

    Examples
    --------
    >>> column_scale([[1.0, -8.0], [-3.0, 2.0]]).tolist()
    [3.0, 8.0]
    """
    largest: Array = np.max(np.abs(np.asarray(samples, np.float64)), axis=0, initial=0.0)
    return largest


def quantise(
    values: ArrayLike, intervals: int, scale: ArrayLike, random_bits: NDArray[np.uint32]
) -> ScaledCodes:
    """Round values to signed multiples of scale / intervals, right on average.

    Parameters
    ----------
    values : array_like of float
        Finite numbers v, |v| <= scale.
    intervals : int
        Number s of intervals of magnitude, 1 to 32768.
    scale : array_like of float
        M, broadcasts against `values`: from `row_scale` or `column_scale`. Where it is zero so is the code.
    random_bits : ndarray of uint32, same shape as values
        One word r per value; U = r / 2**32.

    Returns
    -------
    ScaledCodes
        Codes, scale and intervals. E values = v; the bias that 32 random bits leave is at most 2**-32 levels.

    Raises
    ------
    DataError
        If a value is not finite or exceeds its scale.
    ParameterError
        If `intervals` is outside its range or the random bits have another shape or dtype.

    Examples
    --------
    >>> words = np.array([0, 2**31, 2**32 - 1], np.uint32)
    >>> quantise([-0.5, -0.5, 0.0], 5, [1.0], words).codes.tolist()
    [-2, -3, 0]
    """
    v = np.asarray(values, np.float64)
    if random_bits.dtype != np.uint32 or random_bits.shape != v.shape:
        raise ParameterError(
            f"random_bits came as {random_bits.dtype} of shape {random_bits.shape}; "
            f"pass uint32 of shape {v.shape}, one word per value"
        )
    m = np.asarray(scale, np.float64)
    level = np.floor(_in_levels(v, intervals, m) + random_bits * 2.0**-32)
    return ScaledCodes(np.copysign(level, v).astype(np.int32), m, int(intervals))


def rounding_variance(values: ArrayLike, intervals: int, scale: ArrayLike) -> Array:
    """Return the exact variance of every quantised coordinate: (u - v)(v - l).

    Parameters
    ----------
    values : array_like of float
        Finite numbers v, |v| <= scale.
    intervals : int
        Number s of intervals of magnitude, 1 to 32768.
    scale : array_like of float
        M, broadcasts against `values`.

    Returns
    -------
    ndarray of float64, shape of values
        At most (scale / intervals)**2 / 4; zero on a level.

    Raises
    ------
    DataError
        If a value is not finite or exceeds its scale.

    Examples
    --------
    >>> rounding_variance([0.25, 0.5, 1.0], 2, 1.0).tolist()
    [0.0625, 0.0, 0.0]
    """
    m = np.asarray(scale, np.float64)
    share = _share_up(np.asarray(values, np.float64), intervals, m)
    variance: Array = (m / intervals) ** 2 * (share * (1.0 - share))
    return variance


def total_variance(values: ArrayLike, intervals: int, scale: ArrayLike) -> float:
    """Return TV = E |Q(v) - v|**2, the sum of the coordinates' variances.

    Parameters
    ----------
    values : array_like of float
        Finite numbers v, |v| <= scale.
    intervals : int
        Number s of intervals of magnitude, 1 to 32768.
    scale : array_like of float
        M, broadcasts against `values`.

    Returns
    -------
    float
        With row scaling at most `variance_bound`.

    Raises
    ------
    DataError
        If a value is not finite or exceeds its scale.

    Examples
    --------
    >>> total_variance([0.25, 0.75], 2, 1.0)
    0.125
    """
    return float(rounding_variance(values, intervals, scale).sum())


def variance_bound(values: ArrayLike, intervals: int) -> float:
    """Return the bound of lemma 2 for row scaling: min(n / s**2, sqrt(n) / s) |v|**2.

    Parameters
    ----------
    values : array_like of float, shape (n,)
        The vector.
    intervals : int
        Number s of intervals.

    Returns
    -------
    float
        Never below `total_variance` with ``scale=row_scale(values)``.

    Examples
    --------
    >>> variance_bound([3.0, 4.0], 2)
    12.5
    """
    v = np.asarray(values, np.float64)
    return _lemma_2(v.size, intervals) * float(np.sum(v * v))


def second_moment_factor(values: ArrayLike, intervals: int, scale: ArrayLike) -> float:
    """Return r(s) = 1 + (1/s**2) sum_i p_i, where p_i is the probability of rounding up.

    Parameters
    ----------
    values : array_like of float
        Finite numbers v, |v| <= scale.
    intervals : int
        Number s of intervals of magnitude, 1 to 32768.
    scale : array_like of float
        M, broadcasts against `values`.

    Returns
    -------
    float
        E |Q(v)|**2 <= r(s) M**2 for M = max_i M_i >= |v|. (Column scaling alone does not imply |v| <= M.)
        With row scaling r(s) <= 1 + min(n / s**2, sqrt(n) / s).

    Raises
    ------
    DataError
        If a value is not finite or exceeds its scale.

    Examples
    --------
    >>> second_moment_factor([0.25, 0.75], 2, 1.0)
    1.25
    """
    share = _share_up(np.asarray(values, np.float64), intervals, np.asarray(scale, np.float64))
    return 1.0 + float(share.sum()) / intervals**2


def sparsity_bound(n_values: int, intervals: int) -> float:
    """Return the bound on the expected number of non-zero codes with row scaling: s**2 + s sqrt(n).

    At most s**2 coordinates reach |v_i| >= |v| / s; any other is non-zero with probability s |v_i| / |v|, and
    these sum to at most s sqrt(n). (ZipML prints s**2 + sqrt(n), which a constant vector exceeds for s >= 2.)

    Parameters
    ----------
    n_values : int
        Length n of the vector.
    intervals : int
        Number s of intervals.

    Returns
    -------
    float
        Expected number of non-zero codes, at most.

    Examples
    --------
    >>> sparsity_bound(10_000, 1)
    101.0
    """
    return intervals * (intervals + math.sqrt(n_values))


def _lemma_2(n_values: int, intervals: int) -> float:
    return min(n_values / intervals**2, math.sqrt(n_values) / intervals)


def _share_up(v: Array, intervals: int, scale: Array) -> Array:
    """Probability that each value is rounded up."""
    t = _in_levels(v, intervals, scale)
    share: Array = t - np.floor(t)
    return share


def _in_levels(v: Array, intervals: int, scale: Array) -> Array:
    """Magnitudes in units of one interval, 0 to s: the quotient never rounds to above 1."""
    if isinstance(intervals, bool) or not 1 <= intervals <= 2**15:
        raise ParameterError(f"intervals came as {intervals!r}; give an integer from 1 to 32768")
    magnitude = np.abs(v)
    if not ((magnitude <= scale) & (scale < np.inf)).all():
        raise DataError(
            "a value is not finite or its magnitude exceeds its scale; take the scale from row_scale or "
            "column_scale of the same, clean data"
        )
    t: Array = np.divide(magnitude, scale, out=np.zeros_like(magnitude), where=scale > 0)
    return intervals * t
