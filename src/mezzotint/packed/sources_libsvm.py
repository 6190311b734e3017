"""libsvm/svmlight text: ``label index:value ...`` lines, densified a block at a time."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mezzotint.errors import DataError, FileError
from mezzotint.kernels import MAX_COLUMNS
from mezzotint.packed.sources import FloatArray, check_shape
from mezzotint.packed.sources_npy import first_bytes
from mezzotint.packed.sources_stream import rows_at_a_time

_BLOCK_BYTES = 2**20  # of text parsed at a time
MAX_GROWTH = 100  # float64 bytes over text bytes: under about 1 % of the entries are given
_PLAIN = re.compile(  # label, then pairs, on every line; ("1_0" would be a number to Python)
    rb"(?:[ \t]*[^\s:#_]+(?:[ \t]+[^\s:#_]+:[^\s:#_]+)*[ \t]*(?:\r?\n|\Z))*"
)
_Entries = tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]


class LibsvmReader:
    """Rows of a libsvm file; a first pass checks every line, counts rows and columns and keeps the labels.

    Indices count from 1, or from 0 if the file has a 0; comments (``#``) and ``qid:`` fields are skipped.

    Parameters
    ----------
    path : Path

    Raises
    ------
    DataError
        If there are more columns than can be packed, or the dense rows would be more than `MAX_GROWTH` times
        larger than the text.
    FileError
        If a line is not of this form; the message names it.
    """

    def __init__(self, path: Path) -> None:
        self.name, self._path = str(path), path
        first_bytes(path, 1)
        labels, counts, self._offsets = [], [], [0]
        low, high = 1, 0
        for label, _, column, _ in self._blocks(0):
            labels.append(label)
            counts.append(len(label))
            low, high = min(low, column.min(initial=low)), max(high, column.max(initial=high))
        self._base = int(low)
        values = np.concatenate(labels) if labels else np.empty(0)
        whole = (np.abs(values) < 2**53).all() and (values == np.rint(values)).all()
        self.labels = values.astype(np.int64) if whole else values
        self.shape, self.dtype = (len(values), int(high) + 1 - self._base), np.dtype(np.float64)
        check_shape(self.shape)
        self._refuse_sparse()
        self.starts = np.cumsum([0, *counts[:-1]], dtype=np.int64)

    def _refuse_sparse(self) -> None:
        size = self._path.stat().st_size
        growth = 8 * self.shape[0] * self.shape[1] / size
        if growth > MAX_GROWTH:
            raise DataError(
                f"{self._path} is sparse: {self.shape[0]} dense rows of {self.shape[1]} columns would be "
                f"{growth:.0f} times larger than the file; at most {MAX_GROWTH} times is allowed. "
                "Use a sparse solver of scikit-learn (load_svmlight_file), or drop rare columns."
            )

    def read_from(self, number: int) -> Iterator[FloatArray]:
        """Yield the rows of the text blocks from `number` on."""
        step = rows_at_a_time(self.shape[1], self.dtype)
        for label, row, column, value in self._blocks(number):
            for start in range(0, len(label), step):
                stop = min(len(label), start + step)
                part = slice(*np.searchsorted(row, (start, stop)))
                dense = np.zeros((stop - start, self.shape[1]))
                inside = column[part] < self.shape[1] + self._base  # all, unless the file changed
                dense[row[part][inside] - start, column[part][inside] - self._base] = value[part][inside]
                yield dense

    def _blocks(self, number: int) -> Iterator[_Entries]:
        """Yield parsed blocks of lines; the first pass leaves where each began in `_offsets`."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offsets[number])
                while text := file.read(_BLOCK_BYTES):
                    text += file.readline()
                    if file.tell() > self._offsets[-1]:
                        self._offsets.append(file.tell())
                    yield self._parse(text)
        except OSError as error:
            if isinstance(error, FileError):
                raise
            raise FileError(f"{self._path} cannot be read: {error.strerror}. Check the path.") from error

    def _parse(self, text: bytes) -> _Entries:
        """Return labels, and the row in the block, column and value of each entry."""
        if not _PLAIN.fullmatch(text):
            text = _without_extras(text)
            if not _PLAIN.fullmatch(text):
                raise self._no_libsvm("an entry is not index:value", text.splitlines())
        lines = text.splitlines()
        try:
            numbers = np.array(list(map(float, text.replace(b":", b" ").split())))
        except ValueError as error:
            raise self._no_libsvm(str(error), lines) from error
        per_row = np.array([line.count(b":") for line in lines], dtype=np.int64)
        heads = np.cumsum(1 + 2 * per_row) - (1 + 2 * per_row)
        pairs = np.delete(numbers, heads).reshape(-1, 2)
        return (
            numbers[heads],
            np.repeat(np.arange(len(lines)), per_row),
            self._columns(pairs[:, 0]),
            pairs[:, 1],
        )

    def _columns(self, index: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return indices as integers; DataError for one that cannot be a column."""
        good = (index >= 0) & (index <= MAX_COLUMNS) & (index == np.rint(index))
        if not good.all():
            raise DataError(
                f"{self._path} has an entry of column {index[~good][0]:.12g}; at most {MAX_COLUMNS} columns "
                "can be packed, numbered from 0 or 1. Drop rare columns, or use a sparse solver."
            )
        return index.astype(np.int64)

    def _no_libsvm(self, what: str, lines: list[bytes]) -> FileError:
        return FileError(
            f"{self._path} is not a libsvm file: {what} in line {_first_bad(lines)!r}. "
            "Lines are 'label index:value index:value ...' with one number as label."
        )


def _without_extras(text: bytes) -> bytes:
    """Leave out comments, empty lines and query numbers."""
    lines = [line.partition(b"#")[0].split() for line in text.splitlines()]
    kept = [b" ".join(p for p in line if not p.startswith(b"qid:")) for line in lines if line]
    return b"".join(line + b"\n" for line in kept)


def _first_bad(lines: list[bytes]) -> str:
    """Return the first line that is not of the form, shortened."""
    for line in lines:
        numbers = line.replace(b":", b" ").split()
        if not _PLAIN.fullmatch(line) or not all(map(_is_number, numbers)):
            return line[:60].decode(errors="replace")
    return "?"


def _is_number(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
