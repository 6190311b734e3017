"""Where float rows come from: any array-like, read in blocks so that an exact pass never needs X whole."""

import os
import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mezzotint.errors import DataError, DataTypeError
from mezzotint.kernels import MAX_COLUMNS

FloatArray = NDArray[Any]  # float32 or float64
_CHUNK_BYTES = 2**24  # of converted rows held at a time
_REPORTS = 64  # of progress while rows are gathered


@runtime_checkable
class Source(Protocol):
    """Float rows of a matrix, in blocks.

    Where they are decoded from codes whose floats are gone, the class says ``is_decoded = True``: what is
    trained on them is then called "quantised".
    """

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the blocks: float32 or float64, exact for the values of the source."""

    @property
    def whole(self) -> FloatArray | None:
        """The whole matrix if it lies in memory (or is mapped) as C-contiguous floats, else None."""

    def block(self, start: int, stop: int) -> FloatArray:
        """Rows [start, stop) as a C-contiguous float array."""

    def rows(self, index: NDArray[np.int64]) -> FloatArray:
        """Gather the rows of an increasing index as a C-contiguous float array."""


class ArraySource:
    """An in-memory or memory-mapped array of any real dtype and memory order.

    Parameters
    ----------
    array : ndarray of shape (n, d)
        float64, float32, float16, integers or bool; uint16 if `bfloat16`.
    bfloat16 : bool
        The array holds the bit patterns of bfloat16 numbers.
    """

    def __init__(self, array: NDArray[Any], *, bfloat16: bool = False) -> None:
        self._array = array
        self._bfloat16 = bfloat16
        exact_in_float32 = bfloat16 or array.dtype.itemsize <= 2 or array.dtype == np.float32
        self._dtype = np.dtype(np.float32 if exact_in_float32 else np.float64)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self._array.shape[0], self._array.shape[1]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the blocks: float32 where that is exact, else float64."""
        return self._dtype

    @property
    def given_dtype(self) -> np.dtype[Any]:
        """Type of the array as it came, whatever its byte order."""
        return self._array.dtype.newbyteorder("=")

    @property
    def whole(self) -> FloatArray | None:
        """The array itself if kernels can read it as it is."""
        a = self._array
        ready = a.dtype == self._dtype and a.flags.c_contiguous and a.flags.aligned and a.dtype.isnative
        return np.asarray(a) if ready else None

    def block(self, start: int, stop: int) -> FloatArray:
        """Rows [start, stop), converted."""
        return self._convert(self._array[start:stop])

    def rows(self, index: NDArray[np.int64]) -> FloatArray:
        """Gather the rows of an increasing index, converted."""
        return self._convert(self._array[index])

    def _convert(self, rows: NDArray[Any]) -> FloatArray:
        if self._bfloat16:  # a bfloat16 is the upper half of a float32
            return (rows.astype(np.uint32) << np.uint32(16)).view(np.float32)
        return np.ascontiguousarray(rows, dtype=self._dtype)


class ReportingSource:
    """A source that tells how far each read of it has come.

    Parameters
    ----------
    source : Source
        The rows.
    report : callable
        Called with (number of the read, row it has come to) before each block. Reads in order count from 1;
        0 is a gathering of rows, which for some sources is a read of all.
    """

    def __init__(self, source: Source, report: Callable[[int, int], None]) -> None:
        self._source, self._report = source, report
        self._reads = 0

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self._source.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the blocks."""
        return self._source.dtype

    @property
    def whole(self) -> None:
        """None: kernels get one block after the other, so that each can be counted."""
        return

    @property
    def is_decoded(self) -> bool:
        """Whether the rows are decoded from codes whose floats are gone."""
        return bool(getattr(self._source, "is_decoded", False))

    def block(self, start: int, stop: int) -> FloatArray:
        """Rows [start, stop), counted."""
        self._reads += start == 0
        self._report(self._reads, start)
        return self._source.block(start, stop)

    def rows(self, index: NDArray[np.int64]) -> FloatArray:
        """Gather the rows of an increasing index, in a few parts so that progress shows."""
        parts = np.array_split(index, min(len(index), _REPORTS)) if len(index) else [index]
        gathered = []
        for part in parts:
            self._report(0, int(part[0]) if len(part) else 0)
            gathered.append(self._source.rows(part))
        return np.concatenate(gathered)


def chunks(source: Source, bounds: NDArray[np.int64]) -> Iterator[tuple[tuple[int, int], FloatArray]]:
    """Yield ((first segment, count), rows) over the whole source, a bounded number of rows at a time.

    Rows that are not in memory as they are used are read by a thread of their own, one chunk ahead, so that
    reading and decoding overlap with what is done with the rows; by the calling thread where none can start.
    """
    if source.whole is not None:
        yield (0, len(bounds) - 1), source.whole
        return
    parts = list(_parts(source, bounds))

    def read(part: tuple[int, int]) -> FloatArray:
        return source.block(int(bounds[part[0]]), int(bounds[part[1]]))

    with closing(_read_ahead(read, parts)) as blocks:  # the thread ends with the walk, even one cut short
        for (first, stop), rows in zip(parts, blocks, strict=True):
            yield (first, stop - first), rows


def _read_ahead(
    read: Callable[[tuple[int, int]], FloatArray], parts: list[tuple[int, int]]
) -> Generator[FloatArray, None, None]:
    """``read(part)`` of each, one part ahead of what is asked for."""
    if len(parts) <= 1:  # nothing to be ahead of
        yield from map(read, parts)
        return
    rows = read(parts[0])
    with ThreadPoolExecutor(1) as reader:
        if not _starts(reader):  # who reads does not show in what is read
            yield rows
            yield from map(read, parts[1:])
            return
        for after in parts[1:]:
            ahead = reader.submit(read, after)
            yield rows
            rows = ahead.result()
        yield rows


def _starts(reader: ThreadPoolExecutor) -> bool:
    """Whether the system gives the pool its thread; asked before a read waits in its queue."""
    try:
        reader.submit(int).result()
    except RuntimeError:
        return False
    return True


def _parts(source: Source, bounds: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Ranges of segments, each of bounded size if it has more than one."""
    row_bytes = source.shape[1] * source.dtype.itemsize
    first, last = 0, len(bounds) - 1
    while first < last:
        stop = first + 1
        while stop < last and (bounds[stop + 1] - bounds[first]) * row_bytes <= _CHUNK_BYTES:
            stop += 1
        yield first, stop
        first = stop


def as_source(X: Any) -> Source:  # noqa: ANN401 - scikit-learn's name; any array-like
    """Wrap anything that holds rows as a Source, without copying where possible.

    Parameters
    ----------
    X : array-like of shape (n, d), path, or blocks
        NumPy arrays and memmaps (floats, integers, bool, ml_dtypes' bfloat16), pandas and polars frames,
        pyarrow Tables, torch CPU tensors and nested sequences; a path to a file or folder that
        `mezzotint.read` knows; an iterable of 2-D blocks, or a callable that returns an iterator of them
        (read anew for each pass); an iterator, which is copied to a temporary file; a Source.

    Returns
    -------
    Source

    Raises
    ------
    DataError
        For sparse, complex, non-numeric, non-2-D, empty or too wide input; the message says what to do.
    FileError
        If a file cannot be read or does not hold what it says.
    """
    if isinstance(X, np.ndarray):
        return _array_source(X)
    if isinstance(X, Source):
        return X
    if isinstance(X, str | os.PathLike):
        from mezzotint.packed.read import read

        return read(X).source
    if type(X).__module__.partition(".")[0] == "pyarrow":
        from mezzotint.packed.sources_arrow import table_source

        return table_source(X)
    _refuse_sparse(X)
    blocks = _of_blocks(X)
    if blocks is not None:
        return blocks
    return _array_source(X)


def _array_source(X: Any) -> Source:  # noqa: ANN401
    bfloat16, array = _to_numpy(X)
    if array.ndim != 2:
        raise DataError(
            f"Expected 2D array, got {array.ndim}D array instead (shape {array.shape}). Reshape your data: "
            "X.reshape(-1, 1) for a single feature, X.reshape(1, -1) for a single sample."
        )
    check_shape(array.shape)
    return ArraySource(_check_dtype(array), bfloat16=bfloat16)


def _of_blocks(X: Any) -> Source | None:  # noqa: ANN401
    """Return a source for iterables of blocks, None for everything else."""
    is_array = any(hasattr(X, name) for name in ("__array__", "__array_interface__"))
    if is_array or isinstance(X, Mapping) or type(X).__module__ == "torch":
        return None
    from mezzotint.packed.sources_stream import BlocksReader, StreamSource, spooled

    if isinstance(X, Sequence):
        return StreamSource(BlocksReader(partial(iter, X))) if _holds_blocks(X) else None
    if callable(X):
        return StreamSource(BlocksReader(X))
    if hasattr(X, "__next__"):
        return spooled(X)
    return StreamSource(BlocksReader(partial(iter, X))) if hasattr(X, "__iter__") else None


def _holds_blocks(X: Sequence[Any]) -> bool:
    return len(X) > 0 and getattr(X[0], "ndim", 0) == 2


def _refuse_sparse(X: Any) -> None:  # noqa: ANN401
    if hasattr(X, "toarray") and hasattr(X, "nnz"):
        raise DataError(
            f"X is a sparse matrix ({type(X).__name__}, shape {X.shape}); mezzotint packs dense data only. "
            "Pass X.toarray() if it fits into memory, or use a sparse solver of scikit-learn."
        )


def _to_numpy(X: Any) -> tuple[bool, NDArray[Any]]:  # noqa: ANN401
    """(is bfloat16, array); torch is recognised by name so that it is never imported here."""
    if type(X).__module__.partition(".")[0] == "torch":
        tensor = X.detach()
        if tensor.device.type != "cpu":
            raise DataError(f"X is a tensor on {tensor.device}; pass a CPU tensor: X.cpu().")
        if str(tensor.dtype) == "torch.bfloat16":
            return True, tensor.view(sys.modules["torch"].int16).numpy().view(np.uint16)
        return False, tensor.numpy()
    array = X if isinstance(X, np.ndarray) else np.asarray(X)
    if array.dtype.name == "bfloat16":
        return True, array.view(np.uint16)
    return False, array


def check_shape(shape: tuple[int, ...]) -> None:
    """Raise DataError unless a matrix of this (rows, columns) can be packed."""
    n, d = shape
    for count, what in ((n, "sample"), (d, "feature")):
        if count < 1:
            raise DataError(
                f"Found array with 0 {what}(s) (shape={tuple(shape)}) while a minimum of 1 is required."
            )
    if d > MAX_COLUMNS:
        raise DataError(
            f"X has {d} columns; at most {MAX_COLUMNS} are allowed (32-bit sums of codes must not overflow). "
            "Drop or project columns."
        )


def _check_dtype(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.kind == "c":
        raise DataError(f"Complex data not supported: X has dtype {array.dtype}. Pass real numbers.")
    if array.dtype.kind in "fiub" and array.dtype.itemsize <= 8:
        return array
    if array.dtype.kind == "f":
        return array.astype(np.float64)
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError) as error:
        kind = DataTypeError if isinstance(error, TypeError) else DataError
        raise kind(
            f"X has dtype {array.dtype} and cannot be read as numbers: {error}. Every argument must be a "
            "number, not a string or an object; encode such columns first."
        ) from error
