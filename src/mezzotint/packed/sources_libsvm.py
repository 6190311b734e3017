"""libsvm/svmlight text: ``label index:value ...`` lines, densified a block at a time."""

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
        lines = [line.partition(b"#")[0].split() for line in text.splitlines()]
        lines = [line for line in lines if line]
        labels = np.array([line[0] for line in lines], dtype="S")
        pairs = [p for line in lines for p in line[1:] if not p.startswith(b"qid:")]
        per_row = [sum(not p.startswith(b"qid:") for p in line[1:]) for line in lines]
        try:
            halves = b":".join(pairs).split(b":") if pairs else []
            if len(halves) != 2 * len(pairs) or any(p.count(b":") != 1 for p in pairs):
                raise ValueError("an entry is not index:value")
            column = np.array(halves[0::2], dtype="S").astype(np.int64) if pairs else np.empty(0, np.int64)
            value = np.array(halves[1::2], dtype="S").astype(np.float64) if pairs else np.empty(0)
            label = labels.astype(np.float64) if lines else np.empty(0)
        except (ValueError, OverflowError) as error:
            raise FileError(
                f"{self._path} is not a libsvm file: {error} in line {_first_bad(lines)!r}. "
                "Lines are 'label index:value index:value ...' with one number as label."
            ) from error
        if column.size and not 0 <= column.min() <= column.max() <= MAX_COLUMNS:
            bad = column[(column < 0) | (column > MAX_COLUMNS)][0]
            raise DataError(
                f"{self._path} has column {bad}; at most {MAX_COLUMNS} columns can be packed. "
                "Drop rare columns, or use a sparse solver."
            )
        return label, np.repeat(np.arange(len(lines)), per_row), column, value


def _first_bad(lines: list[list[bytes]]) -> str:
    """Return the first line that is not of the form, shortened."""
    for line in lines:
        for part in line:
            pieces = [part] if part is line[0] else part.split(b":")
            if part.startswith(b"qid:"):
                continue
            if len(pieces) != 1 + (part is not line[0]) or not all(_is_number(piece) for piece in pieces):
                return b" ".join(line)[:60].decode(errors="replace")
    return "?"


def _is_number(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
