"""Rows that come in order: one cursor over any reader, so that a pass reads each part of it once."""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mezzotint.errors import DataError, FileError
from mezzotint.packed.sources import ArraySource, FloatArray, as_source, check_shape

BLOCK_BYTES = 2**22  # of float rows that a reader hands over at a time


class Reader(Protocol):
    """Something that can be read from a few known rows on, any number of times."""

    name: str  # for errors
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    starts: NDArray[np.int64]  # rows where reading can begin; the first is 0

    def read_from(self, number: int) -> Iterator[FloatArray]:
        """Yield the rows from ``starts[number]`` to the end, as C-contiguous blocks of `dtype`."""


class StreamSource:
    """Rows of a reader; blocks in increasing order cost one read, going back begins at the nearest start.

    Holds one block of the reader beside what it returns.

    Parameters
    ----------
    reader : Reader
        Where the rows come from.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._iterator: Iterator[FloatArray] | None = None
        self._first = 0  # row number of the first held row
        self._held: FloatArray = np.empty((0, self.shape[1]), dtype=self.dtype)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self._reader.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the blocks: float32 where that is exact, else float64."""
        return self._reader.dtype

    @property
    def whole(self) -> None:
        """None: the matrix is never in memory as a whole."""
        return

    def block(self, start: int, stop: int) -> FloatArray:
        """Rows [start, stop)."""
        out = np.empty((stop - start, self.shape[1]), dtype=self.dtype)
        row = start
        while row < stop:
            held = self._rows_from(row)[: stop - row]
            out[row - start : row - start + len(held)] = held
            row += len(held)
        return out

    def rows(self, index: NDArray[np.int64]) -> FloatArray:
        """Gather the rows of an increasing index; reads what lies between them too."""
        out = np.empty((len(index), self.shape[1]), dtype=self.dtype)
        done = 0
        while done < len(index):
            held = self._rows_from(int(index[done]))
            after = int(np.searchsorted(index, index[done] + len(held)))
            out[done:after] = held[index[done:after] - index[done]]
            done = after
        return out

    def _rows_from(self, row: int) -> FloatArray:
        """Return held rows that begin with `row`."""
        number = int(np.searchsorted(self._reader.starts, row, side="right")) - 1
        start = int(self._reader.starts[number])
        if self._iterator is None or row < self._first or start > self._first + len(self._held):
            self._iterator, self._first, self._held = self._reader.read_from(number), start, self._held[:0]
        while row >= self._first + len(self._held):
            self._advance(self._iterator)
        return self._held[row - self._first :]

    def _advance(self, iterator: Iterator[FloatArray]) -> None:
        self._first += len(self._held)
        self._held = self._held[:0]
        block = next(iterator, None)
        if block is None or block.shape[1] != self.shape[1]:
            self._iterator = None
            what = f"ends after {self._first} rows" if block is None else f"has {block.shape[1]} columns"
            raise FileError(
                f"{self._reader.name} {what}, but had shape {self.shape} when it was opened; "
                "it changed while it was read, or gives other rows each time. Keep it as it is during a fit."
            )
        self._held = block

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the reader, not the open cursor."""
        return {"reader": self._reader}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["reader"])  # type: ignore[misc]


class BlocksReader:
    """Any number of iterations over 2-D blocks; the first, made here, counts rows and columns.

    Parameters
    ----------
    begin : callable
        Returns an iterator of 2-D blocks, the same ones each time.
    """

    name = "X, an iterable of blocks,"

    def __init__(self, begin: Callable[[], Iterable[Any]]) -> None:
        self._begin = begin
        self.starts = np.zeros(1, dtype=np.int64)
        self.dtype = np.dtype(np.float32)
        n_rows = n_columns = 0
        for source in checked_blocks(begin()):
            n_rows, n_columns = n_rows + source.shape[0], source.shape[1]
            self.dtype = np.promote_types(self.dtype, source.dtype)
        self.shape = n_rows, n_columns
        check_shape(self.shape)

    def read_from(self, number: int) -> Iterator[FloatArray]:
        """Yield all blocks; there is no other start than the first row."""
        for source in checked_blocks(self._begin()):
            for start in range(0, source.shape[0], rows_at_a_time(source.shape[1], self.dtype)):
                stop = min(source.shape[0], start + rows_at_a_time(source.shape[1], self.dtype))
                yield np.ascontiguousarray(source.block(start, stop), dtype=self.dtype)


def rows_at_a_time(n_columns: int, dtype: np.dtype[Any]) -> int:
    """Rows that fit into a block."""
    return max(1, BLOCK_BYTES // (n_columns * dtype.itemsize))


def checked_blocks(blocks: Iterable[Any]) -> Iterator[ArraySource]:
    """Yield blocks as sources; DataError unless all are 2-D arrays with the same number of columns."""
    n_columns: int | None = None
    for number, block in enumerate(blocks):
        if np.ndim(block) == 2 and len(block) == 0:
            continue
        try:
            source = as_source(block)
        except DataError as error:
            raise DataError(f"block {number} of X: {error}") from error
        if not isinstance(source, ArraySource) or n_columns not in (None, source.shape[1]):
            raise DataError(
                f"block {number} of X has shape {source.shape}, earlier ones had {n_columns} columns; "
                "give 2-D arrays with the same columns."
            )
        n_columns = source.shape[1]
        yield source


def spooled(blocks: Iterator[Any]) -> ArraySource:
    """Write the blocks of an iterator that cannot be read twice to a nameless temporary file, and map that.

    The file lies in the folder for temporary files (``TMPDIR``) and vanishes with the source.
    """
    n_rows, n_columns, dtype = 0, 0, np.dtype(np.float32)
    with tempfile.TemporaryFile(prefix="mezzotint-") as file:
        for source in checked_blocks(blocks):
            if n_rows and source.dtype != dtype:
                raise DataError(
                    f"X is an iterator whose blocks have different types: {source.dtype} after {dtype}; "
                    "convert all blocks to one, or pass something that can be iterated twice."
                )
            n_rows, n_columns, dtype = n_rows + source.shape[0], source.shape[1], source.dtype
            step = rows_at_a_time(n_columns, dtype)
            for start in range(0, source.shape[0], step):
                file.write(source.block(start, min(source.shape[0], start + step)).data)
        check_shape((n_rows, n_columns))
        file.flush()
        return ArraySource(np.memmap(file, dtype=dtype, mode="r", shape=(n_rows, n_columns)))
