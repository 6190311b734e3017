"""Several independent roundings of one value, kept as the sum of their level indices.

A value of u levels, L <= u < L + 1, is rounded k times: each draw is level L or L + 1. Draws are
exchangeable, so how many went up is all they tell, and the sum S of the k indices holds that and L:
L = S div k, and S mod k went up. With 2**b levels S lies in [0, k (2**b - 1)] and takes exactly b + log2 k
bits for k a power of two, where two draws side by side would take 2 b.

Random bits are an argument: one 32-bit word r per draw, which rounds u to floor(u + r / 2**32).

References
----------
H. Zhang et al., "ZipML", arXiv:1611.05402v3, page 5 ("log2 k bits for k samples").
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mezzotint.errors import DataError, FormatError, ParameterError

__all__ = [
    "DecodedDraws",
    "assign_pair",
    "decode_draws",
    "draw_sums",
    "draw_variance",
    "mean_of_draws",
    "pack_sums",
    "stored_bits",
    "unpack_sums",
]

Array = NDArray[np.float64]
Sums = NDArray[np.uint16]

_MOST_BITS = 16


class DecodedDraws(NamedTuple):
    """What a sum of draws tells: all draws are at one of two neighbouring levels.

    Examples
    --------
    >>> DecodedDraws(np.array([3]), np.array([1])).ups.tolist()
    [1]
    """

    lower: NDArray[np.int64]
    """Index L of the lower level; S = k (2**b - 1) has no level above it and no draw there."""
    ups: NDArray[np.int64]
    """How many draws are at L + 1, 0 to k - 1."""


def stored_bits(level_bits: int, n_draws: int) -> int:
    """Return the width of a stored sum: b + log2 k.

    Parameters
    ----------
    level_bits : int
        Bits b of one draw: 2**b levels.
    n_draws : int
        Number k of draws, a power of two.

    Returns
    -------
    int
        The fewest bits that tell the k (2**b - 1) + 1 sums apart, which for powers of two are b + log2 k.

    Raises
    ------
    ParameterError
        If `level_bits` is below 1, `n_draws` is not a power of two or the sum exceeds 16 bits.

    Examples
    --------
    >>> stored_bits(4, 1), stored_bits(4, 2), stored_bits(4, 16)
    (4, 5, 8)
    """
    if isinstance(level_bits, bool) or not isinstance(level_bits, int | np.integer) or level_bits < 1:
        raise ParameterError(f"level_bits came as {level_bits!r}; give an integer of at least 1")
    _check_draws(n_draws)
    bits = int(level_bits) + int(n_draws).bit_length() - 1
    if bits > _MOST_BITS:
        raise ParameterError(
            f"{n_draws} draws of {level_bits} bits take {bits} bits; at most {_MOST_BITS} are stored"
        )
    return bits


def draw_sums(units: ArrayLike, level_bits: int, random_bits: NDArray[np.uint32]) -> Sums:
    """Round every value k times and add the level indices.

    Parameters
    ----------
    units : array_like of float
        Values u in units of levels, 0 <= u <= 2**level_bits - 1.
    level_bits : int
        Bits b of one draw.
    random_bits : ndarray of uint32, shape (k, *units.shape)
        One word per draw and value. The same word everywhere gives a deterministic rule: 2**31 is nearest.

    Returns
    -------
    ndarray of uint16, shape of units
        S in [0, k (2**b - 1)]; E S = k u.

    Raises
    ------
    DataError
        If a value lies outside the levels or is NaN: clipping it would be a bias.
    ParameterError
        If the bits or the number of draws cannot be stored, or the random bits have another shape or dtype.

    Examples
    --------
    >>> words = np.array([[0, 0, 0], [2**31, 2**31, 2**31]], np.uint32)
    >>> draw_sums([2.0, 2.25, 2.75], 2, words).tolist()
    [4, 4, 5]
    """
    u = np.asarray(units, np.float64)
    if random_bits.dtype != np.uint32 or random_bits.shape[1:] != u.shape or random_bits.ndim != u.ndim + 1:
        raise ParameterError(
            f"random_bits came as {random_bits.dtype} of shape {random_bits.shape}; pass uint32 of shape "
            f"(k, {', '.join(map(str, u.shape))}), one word per draw and value"
        )
    stored_bits(level_bits, len(random_bits))
    if not ((u >= 0) & (u <= 2**level_bits - 1)).all():
        raise DataError(
            f"units reach beyond the levels 0 to {2**level_bits - 1}, or hold NaN; let the grid of each "
            "column cover all of its values"
        )
    sums = np.zeros(u.shape, np.uint16)
    for words in random_bits:
        sums += np.floor(u + words * 2.0**-32).astype(np.uint16)
    return sums


def decode_draws(sums: NDArray[np.integer[Any]], n_draws: int) -> DecodedDraws:
    """Return the lower level and the number of draws above it: S div k and S mod k.

    Parameters
    ----------
    sums : ndarray of integers
        Sums of level indices, >= 0.
    n_draws : int
        Number k of draws, a power of two.

    Returns
    -------
    DecodedDraws
        ``lower`` and ``ups``, shape of sums.

    Raises
    ------
    ParameterError
        If `n_draws` is not a power of two.

    Examples
    --------
    >>> lower, ups = decode_draws(np.array([4, 5]), 2)
    >>> lower.tolist(), ups.tolist()
    ([2, 2], [0, 1])
    """
    _check_draws(n_draws)
    wide = np.asarray(sums).astype(np.int64)
    return DecodedDraws(wide // n_draws, wide % n_draws)


def mean_of_draws(sums: NDArray[np.integer[Any]], n_draws: int) -> Array:
    """Return the mean of the draws in units of levels: S / k.

    Parameters
    ----------
    sums : ndarray of integers
        Sums of level indices, >= 0.
    n_draws : int
        Number k of draws, a power of two.

    Returns
    -------
    ndarray of float64
        m with E m = u.

    Raises
    ------
    ParameterError
        If `n_draws` is not a power of two.

    Examples
    --------
    >>> mean_of_draws(np.array([4, 5]), 2).tolist()
    [2.0, 2.5]
    """
    _check_draws(n_draws)
    return np.asarray(sums).astype(np.float64) / n_draws


def draw_variance(sums: NDArray[np.integer[Any]], n_draws: int) -> Array:
    """Estimate the variance of the mean of the draws: (population variance of the draws) / (k - 1).

    Parameters
    ----------
    sums : ndarray of integers
        Sums of level indices, >= 0.
    n_draws : int
        Number k of draws, a power of two, at least 2.

    Returns
    -------
    ndarray of float64
        w in squared levels, with E w = Var m, and so E(m**2 - w) = u**2. For two draws 1/4 where S is odd,
        else 0.

    Raises
    ------
    ParameterError
        If `n_draws` is not a power of two or is 1: a single draw tells nothing of its variance.

    Examples
    --------
    >>> draw_variance(np.array([4, 5]), 2).tolist()
    [0.0, 0.25]
    """
    if n_draws == 1:
        raise ParameterError(
            "n_draws came as 1; a single draw tells nothing of its variance, store 2 or more"
        )
    ups = decode_draws(sums, n_draws).ups
    return ups * (n_draws - ups) / float(n_draws**2 * (n_draws - 1))


def assign_pair(
    sums: NDArray[np.integer[Any]], tie_bits: NDArray[Any]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Tell the two draws of a sum apart, where they differ by a random bit per value.

    "The first is the lower one" would make the first too low and the second too high on average, in every
    coordinate: products of the two are biased, and taking both orders does not mend it.

    Parameters
    ----------
    sums : ndarray of integers
        Sums of two draws.
    tie_bits : ndarray of 0 and 1, same shape
        Independent fair bits: 1 where the first draw is the upper one.

    Returns
    -------
    first, second : ndarray of int64
        Level indices, distributed as two independent draws.

    Examples
    --------
    >>> [draw.tolist() for draw in assign_pair(np.array([4, 5, 5]), np.array([1, 0, 1]))]
    [[2, 2, 3], [2, 3, 2]]
    """
    lower, ups = decode_draws(sums, 2)
    first = lower + (ups & tie_bits.astype(np.int64))
    return first, 2 * lower + ups - first


def pack_sums(sums: NDArray[np.integer[Any]], bits: int) -> NDArray[np.uint8]:
    """Lay sums side by side in a dense stream of bits, lowest bit first.

    Parameters
    ----------
    sums : ndarray of integers
        Codes, 0 <= S < 2**bits; any shape, read in C order.
    bits : int
        Width from `stored_bits`, 1 to 16.

    Returns
    -------
    ndarray of uint8, shape (ceil(sums.size * bits / 8),)
        The stream; unused bits of the last byte are zero.

    Raises
    ------
    FormatError
        If a code does not fit.
    ParameterError
        If the width is outside its range.

    Examples
    --------
    >>> pack_sums(np.array([1, 7, 2]), 3).tolist()
    [185, 0]
    """
    _check_width(bits)
    flat = np.asarray(sums).ravel()
    if flat.size and not 0 <= int(flat.min()) <= int(flat.max()) < 2**bits:
        raise FormatError(
            f"codes from {flat.min()} to {flat.max()} came; {bits} bits hold 0 to {2**bits - 1}"
        )
    planes = flat.astype(np.uint16)[:, None] >> np.arange(bits, dtype=np.uint16) & np.uint16(1)
    return np.packbits(planes.astype(np.uint8), bitorder="little")


def unpack_sums(stream: NDArray[np.uint8], bits: int, count: int) -> Sums:
    """Read sums back from a dense stream of bits.

    Parameters
    ----------
    stream : ndarray of uint8
        From `pack_sums`.
    bits : int
        Width, 1 to 16.
    count : int
        How many codes.

    Returns
    -------
    ndarray of uint16, shape (count,)
        The codes.

    Raises
    ------
    FormatError
        If the stream does not have the length of that many codes.
    ParameterError
        If the width is outside its range.

    Examples
    --------
    >>> unpack_sums(np.array([185, 0], np.uint8), 3, 3).tolist()
    [1, 7, 2]
    """
    _check_width(bits)
    if len(stream) != -(-count * bits // 8):
        raise FormatError(
            f"the stream has {len(stream)} bytes; {count} codes of {bits} bits take another length"
        )
    planes = np.unpackbits(stream, count=count * bits, bitorder="little").reshape(count, bits)
    weights = np.uint16(1) << np.arange(bits, dtype=np.uint16)
    sums: Sums = (planes * weights).sum(axis=1, dtype=np.uint16)
    return sums


def _check_draws(n_draws: int) -> None:
    if isinstance(n_draws, bool) or not isinstance(n_draws, int | np.integer) or n_draws < 1:
        raise ParameterError(f"n_draws came as {n_draws!r}; give a power of two: 1, 2, 4, 8, ...")
    if n_draws & (n_draws - 1):
        raise ParameterError(
            f"n_draws came as {n_draws}; b + log2 k bits need a power of two: give 1, 2, 4, 8, ..."
        )


def _check_width(bits: int) -> None:
    if not 1 <= bits <= _MOST_BITS:
        raise ParameterError(f"bits came as {bits!r}; give an integer from 1 to {_MOST_BITS}")
