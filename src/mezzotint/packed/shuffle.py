"""Rows in random order, out of core: minibatches read neighbouring rows, which should be strangers."""

import tempfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mezzotint.packed.sources import ArraySource, as_source
from mezzotint.random import Stream, permutation

_BUCKET_BYTES = 2**26  # rows put in order in memory at a time
_BLOCK_BYTES = 2**24  # of rows read and scattered at a time


def shuffled(X: Any, seed: int) -> tuple[ArraySource, NDArray[np.int64]]:  # noqa: ANN401
    """Copy rows into a temporary file in random order, in two passes of sequential reads and writes.

    The first pass appends each row to the bucket that its new place lies in, the second puts the rows of one
    bucket after the other in order. Memory: a bucket (64 MB), a block, and some 40 bytes per row for the
    order; disk: the float rows, in the folder for temporary files, as long as the source lives.

    Parameters
    ----------
    X : array-like of shape (n, d), path, or blocks
        As for `mezzotint.packed.as_source`.
    seed : int
        The order is a function of it and of n alone.

    Returns
    -------
    source : ArraySource
        Row i is row ``order[i]`` of X.
    order : ndarray of int64, shape (n,)
        To put labels and weights in the same order: ``y[order]``.

    Raises
    ------
    DataError
        For what `mezzotint.packed.as_source` refuses.

    Examples
    --------
    >>> import numpy as np
    >>> from mezzotint.packed import shuffled
    >>> X = np.arange(12.0).reshape(6, 2)
    >>> source, order = shuffled(X, seed=0)
    >>> bool((source.block(0, 6) == X[order]).all())
    True
    """
    source = as_source(X)
    n, d = source.shape
    order = permutation(seed, n, stream=Stream.SHUFFLE)
    row_bytes = d * source.dtype.itemsize
    with tempfile.TemporaryFile(prefix="mezzotint-") as file:
        file.truncate(n * row_bytes)
        rows = np.memmap(file, dtype=source.dtype, mode="r+", shape=(n, d))
        per_bucket = max(1, _BUCKET_BYTES // row_bytes)
        _scatter(source, rows, order, per_bucket, max(1, _BLOCK_BYTES // row_bytes))
        for start in range(0, n, per_bucket):  # rows of a bucket lie in the order of X
            part = slice(start, min(n, start + per_bucket))
            rows[part] = rows[part][np.argsort(np.argsort(order[part]))]
        rows.flush()
        return ArraySource(np.memmap(file, dtype=source.dtype, mode="r", shape=(n, d))), order


def _scatter(
    source: Any,  # noqa: ANN401
    rows: NDArray[Any],
    order: NDArray[np.int64],
    per_bucket: int,
    step: int,
) -> None:
    """Append each row of the source to its bucket of `rows`."""
    n = len(order)
    place = np.empty(n, dtype=np.int64)
    place[order] = np.arange(n)
    filled = np.arange(0, n, per_bucket)  # where the next row of each bucket goes
    for first in range(0, n, step):
        block = source.block(first, min(n, first + step))
        bucket = place[first : first + len(block)] // per_bucket
        sorted_rows = np.argsort(bucket, kind="stable")
        counts = np.bincount(bucket, minlength=len(filled))
        stops = np.cumsum(counts)
        for number in np.flatnonzero(counts):
            chosen = sorted_rows[stops[number] - counts[number] : stops[number]]
            rows[filled[number] : filled[number] + len(chosen)] = block[chosen]
        filled += counts
