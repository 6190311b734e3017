"""CSV files through pyarrow's streaming reader.

Rows have no fixed place in text: going back reads from the top.
"""

import contextlib
import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mezzotint.errors import DataError
from mezzotint.packed.sources import FloatArray, check_shape
from mezzotint.packed.sources_arrow import Columns, labels_of, naming, pyarrow, require_columns
from mezzotint.packed.sources_stream import rows_at_a_time

_BLOCK_BYTES = 2**22  # of text parsed at a time


class CsvReader:
    """Numbers of a CSV file; a first pass counts the rows, checks every number and keeps the labels.

    A first line made of numbers only is data, and columns are then called f0, f1, ...; else it is the
    header. ``.tsv`` files are separated by tabs. Compressed files (``.gz``, ``.bz2``, ``.zst``) are unpacked
    as they are read.

    Parameters
    ----------
    path : Path
    wanted : sequence of str or None
        Columns of X; None means all but `others`.
    others : sequence of str
        Columns to keep as labels: numbers if all entries are numbers, else strings.
    """

    def __init__(self, path: Path, wanted: Sequence[str] | None, others: Sequence[str]) -> None:
        self.name, self._path = str(path), path
        with naming(path):
            self._names, self._has_header = _header(path)
        require_columns(self._names, [*(wanted or ()), *others], path)
        chosen = tuple(wanted) if wanted is not None else tuple(n for n in self._names if n not in others)
        require_columns(self._names, chosen, path)
        if not chosen:
            raise DataError(f"{path} has no columns left for X.")
        self._columns = Columns(chosen, (1,) * len(chosen), np.dtype(np.float64))
        self.starts = np.zeros(1, dtype=np.int64)
        self.labels: dict[str, NDArray[Any]] = {}
        self.shape, self.dtype = (self._first_pass(others), len(chosen)), self._columns.dtype
        check_shape(self.shape)

    def _first_pass(self, others: Sequence[str]) -> int:
        n_rows = 0
        texts: dict[str, list[Any]] = {name: [] for name in others}
        with naming(self._path):
            for batch in self._batches(others):
                n_rows += batch.num_rows
                for name, seen in texts.items():
                    seen.append(batch.column(name))
            self.labels = {name: _parsed(seen, name) for name, seen in texts.items()}
        return n_rows

    def _batches(self, others: Sequence[str] = ()) -> Any:  # noqa: ANN401
        pa = pyarrow()
        types = dict.fromkeys(self._columns.names, pa.float64()) | dict.fromkeys(others, pa.string())
        convert = pyarrow("csv").ConvertOptions(
            column_types=types, include_columns=list(types), strings_can_be_null=False
        )
        return _open(self._path, self._names if not self._has_header else None, convert)

    def read_from(self, number: int) -> Iterator[FloatArray]:
        """Yield all rows; there is no other start than the first row."""
        step, row = rows_at_a_time(self._columns.total, self.dtype), 0
        with naming(self._path):
            for batch in self._batches():
                for start in range(0, batch.num_rows, step):
                    part = batch.slice(start, step)
                    yield self._columns.rows(part, row)
                    row += part.num_rows


def _open(path: Path, names: Sequence[str] | None, convert: Any) -> Any:  # noqa: ANN401
    csv_module = pyarrow("csv")
    tabs = ".tsv" in path.suffixes
    return csv_module.open_csv(
        path,
        read_options=csv_module.ReadOptions(column_names=names, block_size=_BLOCK_BYTES),
        parse_options=csv_module.ParseOptions(delimiter="\t" if tabs else ","),
        convert_options=convert,
    )


def _header(path: Path) -> tuple[list[str], bool]:
    """Return the names of the columns, and whether the first line holds them."""
    with pyarrow().input_stream(str(path), compression="detect") as file:
        text = file.read(_BLOCK_BYTES).decode("utf-8-sig", errors="replace")
    fields = next(csv.reader(text.splitlines(), delimiter="\t" if ".tsv" in path.suffixes else ","), [])
    if not fields:
        raise DataError(f"{path} is empty.")
    if all(_is_number(field) for field in fields):
        return [f"f{number}" for number in range(len(fields))], False
    return fields, True


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _parsed(texts: list[Any], name: str) -> NDArray[Any]:
    """Integers if all are, else floats if all are, else strings."""
    pa = pyarrow()
    column = pyarrow("compute").utf8_trim_whitespace(pa.chunked_array(texts, pa.string()))
    for kind in (pa.int64(), pa.float64()):
        with contextlib.suppress(pa.ArrowInvalid):
            return labels_of(column.cast(kind), name)
    return labels_of(column, name)
