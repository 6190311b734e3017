"""The grid of codes of each column, chosen from a sample of rows, in plain NumPy."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["column_scales"]

MAX_STRIDED_ROWS = 1024
RANGE_FACTOR = 4.0  # values beyond 4 x the 0.99-quantile of |x - median| are clipped
QUANTILE = 0.99
ENOUGH = 100  # distances that a quantile of the strided rows needs
SHRINK_4_BIT = (1.0, 0.85, 0.7, 0.6, 0.5, 0.4)


def column_scales(
    sample: NDArray[np.floating[Any]], bits: int, *, n_threads: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Choose offset and scale of each column by a robust range, and measure the rounding noise.

    Per column, from at most 1024 evenly strided rows: m = lower median, t = 0.99-quantile of the nonzero
    ``|x - m|`` (of all rows if there are fewer than 100, infinite if there is none); from all rows: minimum
    and maximum. The range is
    ``[m - min(m - minimum, 4 t), m + min(maximum - m, 4 t)]``. For 4 bits it shrinks around m by that factor
    among 1, .85, .7, .6, .5, .4 which has the least squared error on the strided rows clipped to the range
    (not where fewer than 100 of them differ from m).

    Parameters
    ----------
    sample : ndarray of shape (S, n_columns), float32 or float64, S >= 1
        NaN and infinity count as 0 here: packing names them.
    bits : {4, 8}
    n_threads : int, default 1
        Ignored here.

    Returns
    -------
    offset : ndarray of shape (n_columns,), float64
        Value of code 0; a number of the precision of `sample`.
    scale : ndarray of shape (n_columns,), float64
        Step between codes, likewise; 0 for a column that is constant (differences too small for a normal
        number included), whose offset is then that constant.
    noise : ndarray of shape (n_columns,), float64
        Mean squared rounding error of the strided rows, after clipping to the range.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # differences near the largest float
        return _column_scales(sample, bits)


def _column_scales(
    sample: NDArray[np.floating[Any]], bits: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    sample = np.where(np.isfinite(sample), sample, sample.dtype.type(0))
    rows = sample[:: -(-len(sample) // MAX_STRIDED_ROWS)].astype(np.float64)
    middle = np.sort(rows, axis=0)[(len(rows) - 1) // 2] + 0.0  # + 0.0: no negative zero
    reach = RANGE_FACTOR * np.array(
        [_reach(some, every, m) for some, every, m in zip(rows.T, sample.T, middle, strict=True)]
    )
    reach = np.minimum(reach, float(np.finfo(sample.dtype).max))  # differences may overflow
    below = np.minimum(middle - sample.min(axis=0), reach)
    above = np.minimum(sample.max(axis=0) - middle, reach)
    offset, scale = _grid(middle, below, above, bits, sample.dtype)
    if bits == 4:
        often = np.count_nonzero(rows != middle, axis=0) >= ENOUGH
        shrunk = _shrink(rows, middle, below, above, offset, scale, sample.dtype)
        offset, scale = np.where(often, shrunk[0], offset), np.where(often, shrunk[1], scale)
    noise = _squared_error(_clip(rows, offset, scale, bits), offset, scale, bits) / len(rows)
    return offset, scale, noise


def _reach(some: NDArray[np.float64], every: NDArray[Any], middle: float) -> float:
    distance = np.abs(some - middle)
    if np.count_nonzero(distance) < ENOUGH:  # a column that is rarely anything but its median
        distance = np.abs(every.astype(np.float64) - middle)
    distance = np.sort(distance[distance > 0])
    return float(distance[int(QUANTILE * (len(distance) - 1))]) if len(distance) else np.inf


def _grid(
    middle: NDArray[np.float64],
    below: NDArray[np.float64],
    above: NDArray[np.float64],
    bits: int,
    dtype: np.dtype[Any],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    limits = np.finfo(dtype)
    width = np.minimum(below + above, float(limits.max))
    scale = np.asarray((width / (2**bits - 1)).astype(dtype), dtype=np.float64)
    scale[scale < float(limits.tiny)] = 0.0
    offset = np.where(scale > 0, middle - below, middle)
    return np.asarray(offset.astype(dtype), dtype=np.float64), np.asarray(scale)


def _shrink(
    rows: NDArray[np.float64],
    middle: NDArray[np.float64],
    below: NDArray[np.float64],
    above: NDArray[np.float64],
    offset: NDArray[np.float64],
    scale: NDArray[np.float64],
    dtype: np.dtype[Any],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rows = _clip(rows, offset, scale, 4)
    least = np.full(len(middle), np.inf)
    for factor in SHRINK_4_BIT:
        candidate = _grid(middle, factor * below, factor * above, 4, dtype)
        error = _squared_error(rows, *candidate, 4)
        better = error < least
        offset, scale = (
            np.where(better, new, old) for new, old in zip(candidate, (offset, scale), strict=True)
        )
        least = np.where(better, error, least)
    return offset, scale


def _clip(
    rows: NDArray[np.float64], offset: NDArray[np.float64], scale: NDArray[np.float64], bits: int
) -> NDArray[np.float64]:
    clipped: NDArray[np.float64] = np.minimum(np.maximum(rows, offset), offset + scale * (2**bits - 1))
    return clipped


def _squared_error(
    rows: NDArray[np.float64], offset: NDArray[np.float64], scale: NDArray[np.float64], bits: int
) -> NDArray[np.float64]:
    inverse = np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0)
    code = np.rint(np.clip((rows - offset) * inverse, 0, 2**bits - 1))
    error = (offset + scale * code) - rows
    return np.asarray(np.add.accumulate(error * error, axis=0)[-1])  # row after row: a fixed order
