"""Counter-based random bits: Philox4x32-10, a pure function of a seed and a counter.

Every stochastic result of mezzotint is a function of ``(seed, counter)``. There is no hidden state, so any
element of any stream can be drawn alone, in any order, on any number of threads, and has the same bits in
NumPy and in C++ (``native/philox.h``).

Layout
------
The key is the 64-bit seed. A counter has four 32-bit words: block index (low, high), ``step`` (which step,
epoch or draw) and ``stream`` (what the bits are for). One block yields four words; element ``i`` of a stream
is word ``i % 4`` of block ``i // 4``.

References
----------
J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

from __future__ import annotations

import operator
from enum import IntEnum, unique

import numpy as np
from numpy.typing import NDArray

from mezzotint.errors import ParameterError

__all__ = [
    "Stream",
    "integers",
    "permutation",
    "philox",
    "random_bits",
    "sample_rows",
    "to_uniform",
    "uniforms",
]

_ROUNDS = 10
_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_KEY_INCREMENTS = (0x9E3779B9, 0xBB67AE85)
_LOW_WORD = np.uint64(0xFFFFFFFF)
_WORD_BITS = np.uint64(32)
# 64-bit lanes of this many blocks (four arrays of 32 KiB) stay in the second-level cache through all rounds.
_CHUNK_BLOCKS = 4096


@unique
class Stream(IntEnum):
    """What random bits are for: the fourth word of a counter, one number for each use of a seed.

    Two uses of one number would draw the same bits. Elsewhere numbers mean something else, under seeds of
    their own: of an optimizer's bits the parameter, of the papers' textbook what its own lists say.
    """

    COLUMN_RANGES = 1  # rows that the ranges of packed columns are measured on
    ROW_SAMPLE = 2  # rows of the preconditioner
    CURVATURE_SAMPLE = 3  # the same, drawn by curvature
    CANDIDATES = 4  # rows that the latter are drawn among
    THINNED = 5  # groups of rows of a thinned problem
    EXTENT = 6  # rows that tell how far columns reach
    SPREAD = 7  # rows whose mean decouples an intercept where none is curved
    HALP_UNITS = 0x756E6974  # "unit": rows that the units of float columns are measured on
    HALP_ROUNDING = 0x68616C70  # "halp", and the numbers after it: outputs
    STORE_NOISE = 0x6E6F6973  # "nois": rows that the rounding noise of a store is measured on
    HALP_ORDER = 0x6F726465  # "orde": visiting order
    PACKING = 0x7061636B  # "pack": stochastic rounding of samples
    POWER = 0x706F7765  # "powe": start of power iteration
    DEPENDENCE = 0x72616E6B  # "rank": rows that tell whether columns are dependent
    SHUFFLE = 0x73687566  # "shuf": order of rows
    ZIPML_COEFFICIENTS = 0x7A000000  # and the numbers after it: slabs, each of all outputs
    ZIPML_ORDER = 0x7A697064  # "zipd": order of runs; its steps count passes
    ZIPML_START = 0x7A697073  # "zips": where runs begin
    ZIPML_MODEL = 0x7B000000  # and the numbers after it: outputs
    ZIPML_GRADIENT = 0x7C000000  # likewise


def philox(seed: int, counters: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Apply Philox4x32-10 to each counter.

    Parameters
    ----------
    seed : int
        Key, 0 <= seed < 2**64; its low 32 bits are the first key word.
    counters : ndarray of uint32, shape (n, 4)
        One counter per row.

    Returns
    -------
    ndarray of uint32, shape (n, 4)
        One block of four random words per counter.

    Raises
    ------
    ParameterError
        If the seed is outside its range or the counters have another shape or dtype.

    Examples
    --------
    >>> import numpy as np
    >>> [f"{word:08x}" for word in philox(0, np.zeros((1, 4), np.uint32))[0]]
    ['6627e8d5', 'e169c58d', 'bc57ac4c', '9b00dbd8']
    """
    seed = _checked(seed, "seed", 64)
    counters = np.asarray(counters)
    if counters.dtype != np.uint32 or counters.ndim != 2 or counters.shape[1] != 4:
        raise ParameterError(
            f"counters came as {counters.dtype} of shape {counters.shape}; pass uint32 of shape (n, 4)"
        )
    blocks = np.empty_like(counters, order="C")
    for first in range(0, len(counters), _CHUNK_BLOCKS):
        part = slice(first, first + _CHUNK_BLOCKS)
        words = [counters[part, column].astype(np.uint64) for column in range(4)]
        for column, word in enumerate(_rounds(seed, words)):
            blocks[part, column] = word
    return blocks


def random_bits(seed: int, start: int, count: int, *, step: int = 0, stream: int = 0) -> NDArray[np.uint32]:
    """Draw the 32-bit words of elements ``start .. start + count - 1`` of a stream.

    Parameters
    ----------
    seed : int
        Key, 0 <= seed < 2**64.
    start : int
        Index of the first element, 0 <= start < 2**63.
    count : int
        Number of elements, >= 0.
    step : int, default 0
        Third counter word (step, epoch or draw), 0 <= step < 2**32.
    stream : int, default 0
        Fourth counter word (what the bits are for), 0 <= stream < 2**32.

    Returns
    -------
    ndarray of uint32, shape (count,)
        Element ``i`` depends on ``(seed, start + i, step, stream)`` only.

    Raises
    ------
    ParameterError
        If an argument is outside its range.

    Examples
    --------
    >>> whole = random_bits(7, 0, 100, step=3, stream=1)
    >>> bool((random_bits(7, 41, 9, step=3, stream=1) == whole[41:50]).all())
    True
    """
    start = _checked(start, "start", 63)
    count = _checked(count, "count", 48)
    first, stop = start // 4, -(-(start + count) // 4)
    index = np.arange(first, stop, dtype=np.uint64)
    counters = np.empty((stop - first, 4), np.uint32)
    counters[:, 0] = index & _LOW_WORD
    counters[:, 1] = index >> _WORD_BITS
    counters[:, 2] = _checked(step, "step", 32)
    counters[:, 3] = _checked(stream, "stream", 32)
    offset = start - 4 * first
    return philox(seed, counters).reshape(-1)[offset : offset + count]


def to_uniform(bits: NDArray[np.uint32]) -> NDArray[np.float64]:
    """Map 32-bit words r to the doubles r / 2**32 in [0, 1), exactly.

    Parameters
    ----------
    bits : ndarray of uint32, any shape
        Random words.

    Returns
    -------
    ndarray of float64, same shape
        Multiples of 2**-32; 0 occurs, 1 does not.

    Examples
    --------
    >>> import numpy as np
    >>> to_uniform(np.array([0, 2**31], np.uint32)).tolist()
    [0.0, 0.5]
    """
    return np.asarray(bits, np.uint32) * np.float64(2.0**-32)


def uniforms(seed: int, start: int, count: int, *, step: int = 0, stream: int = 0) -> NDArray[np.float64]:
    """Draw uniform numbers in [0, 1) from 32 bits each; arguments as in `random_bits`.

    Parameters
    ----------
    seed, start, count, step, stream : int
        As in `random_bits`.

    Returns
    -------
    ndarray of float64, shape (count,)
        Multiples of 2**-32.

    Examples
    --------
    >>> u = uniforms(1, 0, 1000)
    >>> bool(0 <= u.min() and u.max() < 1)
    True
    """
    return to_uniform(random_bits(seed, start, count, step=step, stream=stream))


def integers(
    seed: int, bound: int, count: int, *, start: int = 0, step: int = 0, stream: int = 0
) -> NDArray[np.int64]:
    """Draw integers uniform on {0, ..., bound - 1}: floor(u * bound / 2**64) for 64-bit words u.

    Parameters
    ----------
    seed : int
        Key, 0 <= seed < 2**64.
    bound : int
        Exclusive upper end, 1 <= bound < 2**32.
    count : int
        Number of integers, >= 0.
    start : int, default 0
        Index of the first integer; integer ``i`` uses words ``2 i`` and ``2 i + 1`` of the stream.
    step, stream : int, default 0
        As in `random_bits`.

    Returns
    -------
    ndarray of int64, shape (count,)
        The probability of each value differs from 1 / bound by less than 2**-64.

    Raises
    ------
    ParameterError
        If an argument is outside its range.

    Examples
    --------
    >>> sorted(set(integers(0, 3, 100).tolist()))
    [0, 1, 2]
    """
    bound = _checked(bound, "bound", 32, least=1)
    start = _checked(start, "start", 62)
    words = random_bits(seed, 2 * start, 2 * count, step=step, stream=stream).astype(np.uint64)
    high, low = words[0::2], words[1::2]
    # (2**32 high + low) * bound >> 64 without a 128-bit product: with bound < 2**32 no sum reaches 2**64.
    scaled = high * np.uint64(bound) + (low * np.uint64(bound) >> _WORD_BITS)
    return (scaled >> _WORD_BITS).astype(np.int64)


def sample_rows(
    seed: int, population: int, size: int, *, step: int = 0, stream: int = 0
) -> NDArray[np.int64]:
    """Draw ``size`` different rows out of ``population``, in random order.

    Few rows are the first ``size`` different values of a sequence of `integers`; more than half of the
    population is the head of a random `permutation`. Both are exactly uniform over ordered samples when
    the bits are, and take O(size) memory.

    Parameters
    ----------
    seed : int
        Key, 0 <= seed < 2**64.
    population : int
        Number of rows, 1 <= population < 2**32.
    size : int
        Rows to draw, 0 <= size <= population.
    step, stream : int, default 0
        As in `random_bits`.

    Returns
    -------
    ndarray of int64, shape (size,)
        Distinct row numbers.

    Raises
    ------
    ParameterError
        If an argument is outside its range.

    Examples
    --------
    >>> rows = sample_rows(5, 1_000_000, 1000)
    >>> len(set(rows.tolist()))
    1000
    """
    population = _checked(population, "population", 32, least=1)
    size = _checked(size, "size", 32)
    if size > population:
        raise ParameterError(
            f"size {size} exceeds the population of {population} rows; draw at most {population}"
        )
    if 2 * size > population:
        return permutation(seed, population, step=step, stream=stream)[:size]
    # At most half of the population needs 2 ln 2 = 1.39 draws per row on average: 1.5 is rarely too few.
    draws = integers(seed, population, size + size // 2 + 16, step=step, stream=stream)
    while True:
        distinct = draws[np.sort(np.unique(draws, return_index=True)[1])]
        if len(distinct) >= size:
            return distinct[:size]
        more = integers(seed, population, size + 16, start=len(draws), step=step, stream=stream)
        draws = np.concatenate([draws, more])


def permutation(seed: int, size: int, *, step: int = 0, stream: int = 0) -> NDArray[np.int64]:
    """Order the numbers 0 .. size - 1 by 64-bit random keys.

    Parameters
    ----------
    seed : int
        Key, 0 <= seed < 2**64.
    size : int
        Length, 1 <= size < 2**32.
    step, stream : int, default 0
        As in `random_bits`.

    Returns
    -------
    ndarray of int64, shape (size,)
        A permutation; equal keys (probability below size**2 / 2**65) keep their order.

    Raises
    ------
    ParameterError
        If an argument is outside its range.

    Examples
    --------
    >>> sorted(permutation(3, 6).tolist())
    [0, 1, 2, 3, 4, 5]
    """
    size = _checked(size, "size", 32, least=1)
    words = random_bits(seed, 0, 2 * size, step=step, stream=stream).astype(np.uint64)
    keys = (words[0::2] << _WORD_BITS) | words[1::2]
    return np.argsort(keys, kind="stable").astype(np.int64)


def _rounds(seed: int, words: list[NDArray[np.uint64]]) -> list[NDArray[np.uint64]]:
    """Run the ten rounds; the lanes are 64 bits wide so that one multiplication gives both halves."""
    c0, c1, c2, c3 = words
    key0, key1 = seed & 0xFFFFFFFF, seed >> 32
    for _ in range(_ROUNDS):
        product0 = c0 * _MULTIPLIERS[0]
        product1 = c2 * _MULTIPLIERS[1]
        c0 = (product1 >> _WORD_BITS) ^ c1 ^ np.uint64(key0)
        c2 = (product0 >> _WORD_BITS) ^ c3 ^ np.uint64(key1)
        c1 = product1 & _LOW_WORD
        c3 = product0 & _LOW_WORD
        key0 = (key0 + _KEY_INCREMENTS[0]) & 0xFFFFFFFF
        key1 = (key1 + _KEY_INCREMENTS[1]) & 0xFFFFFFFF
    return [c0, c1, c2, c3]


def _checked(value: int, name: str, bits: int, *, least: int = 0) -> int:
    """Return ``value`` as an int in [least, 2**bits), or say what is wrong with it."""
    try:
        number = operator.index(value)
    except TypeError:
        raise ParameterError(f"{name} came as {value!r}; pass an integer") from None
    if not least <= number < 2**bits:
        raise ParameterError(f"{name} came as {number}; it must be at least {least} and below 2**{bits}")
    return number
