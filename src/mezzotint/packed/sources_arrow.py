"""Parquet files and folders, Arrow IPC (Feather) files and pyarrow Tables, through pyarrow, by the batch.

pyarrow is imported on first use: `pip install 'mezzotint[data]'`.
"""

import contextlib
import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mezzotint.errors import DataError, FileError
from mezzotint.packed.sources import FloatArray, check_shape
from mezzotint.packed.sources_stream import StreamSource, rows_at_a_time

_SUSPICIOUS = 64  # rows times row bytes over file bytes; beyond, rows are counted, not believed


def pyarrow(module: str = "") -> Any:  # noqa: ANN401 - a module without types
    """Import pyarrow or one of its modules."""
    try:
        return importlib.import_module(f"pyarrow.{module}" if module else "pyarrow")
    except ImportError as error:
        raise FileError(
            "reading Parquet, Arrow and CSV needs pyarrow, which is not installed: "
            "pip install 'mezzotint[data]'."
        ) from error


@contextlib.contextmanager
def naming(path: object) -> Iterator[None]:
    """Turn pyarrow's errors into a FileError that names the file."""
    # pyarrow reports damaged files by all of these
    errors = (pyarrow().ArrowException, OSError, ValueError, KeyError, IndexError, TypeError, SystemError)
    try:
        yield
    except (FileError, DataError):
        raise
    except errors as error:
        text = str(error).strip().rstrip(".")
        raise FileError(f"{path} cannot be read: {text}. Check the file, or write it again.") from error


@dataclass(frozen=True)
class Columns:
    """Which columns make up a row, and how wide each is: 1, or the length of its lists."""

    names: tuple[str, ...]
    widths: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def total(self) -> int:
        """Columns of the matrix."""
        return sum(self.widths)

    def rows(self, batch: Any, first_row: int) -> FloatArray:  # noqa: ANN401 - a RecordBatch
        """Return a batch as float rows; missing numbers become NaN, which packing names and refuses."""
        parts = [
            numbers(batch.column(name), width, name, first_row)
            for name, width in zip(self.names, self.widths, strict=True)
        ]
        if len(parts) == 1 and parts[0].ndim == 2:
            return np.ascontiguousarray(parts[0], dtype=self.dtype)
        out = np.empty((batch.num_rows, self.total), dtype=self.dtype)
        place = 0
        for part, width in zip(parts, self.widths, strict=True):
            out[:, place : place + width] = part if part.ndim == 2 else part[:, None]
            place += width
        return out


def choose_columns(
    schema: Any,  # noqa: ANN401
    wanted: Sequence[str] | None,
    others: Sequence[str],
    first: Any,  # noqa: ANN401
    name: object,
) -> Columns:
    """Return the columns of X: the wanted ones, or all but `others`; list widths are those of batch `first`.

    Raises
    ------
    DataError
        If one does not exist, or holds no numbers.
    """
    require_columns(schema.names, [*(wanted or ()), *others], name)
    names = tuple(wanted) if wanted is not None else tuple(n for n in schema.names if n not in others)
    if not names:
        raise DataError(f"{name} has no columns left for X; it has {', '.join(schema.names)}.")
    fields = [schema.field(n) for n in names]
    widths = tuple(_width(field, first) for field in fields)
    narrow = all(_is_exact_in_float32(_element(field.type)) for field in fields)
    return Columns(names, widths, np.dtype(np.float32 if narrow else np.float64))


def require_columns(names: Sequence[str], wanted: Sequence[str], file: object) -> None:
    """Raise DataError unless each wanted column is there exactly once."""
    for column in wanted:
        if list(names).count(column) != 1:
            known = ", ".join(list(names)[:20]) + (", ..." if len(names) > 20 else "")
            raise DataError(f"{file} has {list(names).count(column)} columns {column!r}; it has {known}.")


def numbers(array: Any, width: int, name: str, first_row: int) -> NDArray[Any]:  # noqa: ANN401
    """Return a column as numbers, (n,) or for lists (n, width)."""
    types = pyarrow().types
    if not (types.is_list(array.type) or types.is_large_list(array.type) or _is_fixed(array.type)):
        values: NDArray[Any] = array.to_numpy(zero_copy_only=False)
        return values
    if array.null_count:
        row = first_row + int(np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False))[0])
        raise DataError(f"column {name!r} has no list in row {row}; drop or fill such rows.")
    if not _is_fixed(array.type):
        lengths = np.diff(array.offsets.to_numpy(zero_copy_only=False))
        bad = np.flatnonzero(lengths != width)
        if bad.size:
            raise DataError(
                f"column {name!r} has a list of {lengths[bad[0]]} numbers in row {first_row + bad[0]}, "
                f"the first row has {width}; embeddings must have one length."
            )
    flat: NDArray[Any] = array.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(len(array), width)


def _width(field: Any, first: Any) -> int:  # noqa: ANN401
    """Return 1 for numbers, the length of the lists for lists; DataError for anything else."""
    types = pyarrow().types
    element = _element(field.type)
    if not (types.is_integer(element) or types.is_floating(element) or types.is_boolean(element)):
        raise DataError(
            f"column {field.name!r} holds {field.type}, not numbers; name the columns of X with "
            "columns=[...] and the label with target=, or encode it first."
        )
    if _is_fixed(field.type):
        return int(field.type.list_size)
    if element is field.type:
        return 1
    if first is None or first.column(field.name)[0].as_py() is None:
        raise DataError(f"column {field.name!r} has no list in its first row; drop or fill such rows.")
    return len(first.column(field.name)[0])


def _element(kind: Any) -> Any:  # noqa: ANN401
    types = pyarrow().types
    is_list = types.is_list(kind) or types.is_large_list(kind) or _is_fixed(kind)
    return kind.value_type if is_list else kind


def _is_fixed(kind: Any) -> bool:  # noqa: ANN401
    return bool(pyarrow().types.is_fixed_size_list(kind))


def _is_exact_in_float32(kind: Any) -> bool:  # noqa: ANN401
    return bool(kind.bit_width <= 16 or kind == pyarrow().float32())


def labels_of(column: Any, name: str) -> NDArray[Any]:  # noqa: ANN401 - a ChunkedArray
    """Return a label, target or weight column as an array; DataError if a row has none."""
    pa = pyarrow()
    if column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy())[0])
        raise DataError(f"column {name!r} is empty in row {row}; drop such rows.")
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return np.array(column.to_pylist(), dtype=str)
    array = column.combine_chunks()
    array = array if isinstance(array, pa.Array) else pa.concat_arrays(array.chunks)
    kind = _element(array.type)
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        raise DataError(f"column {name!r} holds {array.type}; labels are numbers, bools or strings.")
    width = len(array[0]) if kind is not array.type and len(array) else 1
    return numbers(array, width, name, 0)


class TableReader:
    """A pyarrow Table, converted a batch at a time."""

    def __init__(self, table: Any, columns: Columns, name: str = "the table") -> None:  # noqa: ANN401
        self.name, self._table, self._columns = name, table.select(list(columns.names)), columns
        self.shape, self.dtype = (table.num_rows, columns.total), columns.dtype
        check_shape(self.shape)
        self._step = rows_at_a_time(columns.total, columns.dtype)
        self.starts = np.arange(0, table.num_rows, self._step, dtype=np.int64)

    def read_from(self, number: int) -> Iterator[FloatArray]:
        """Yield the rows of the batches from ``starts[number]`` on."""
        row = int(self.starts[number])
        for batch in self._table.slice(row).to_batches(max_chunksize=self._step):
            yield self._columns.rows(batch, row)
            row += batch.num_rows


def table_source(
    table: Any,  # noqa: ANN401
    wanted: Sequence[str] | None = None,
    others: Sequence[str] = (),
) -> StreamSource:
    """Return the rows of a pyarrow Table (or RecordBatch)."""
    pa = pyarrow()
    if isinstance(table, pa.RecordBatch):
        table = pa.Table.from_batches([table])
    if not isinstance(table, pa.Table):
        raise DataError(f"X is a {type(table).__name__} of pyarrow; pass a pyarrow.Table.")
    first = table.slice(0, 1).combine_chunks().to_batches()
    columns = choose_columns(table.schema, wanted, others, first[0] if first else None, "the table")
    return StreamSource(TableReader(table, columns))


class ParquetReader:
    """Row groups of one or more Parquet files, decoded a batch at a time.

    Parameters
    ----------
    paths : sequence of Path
        Files with the same columns; their rows follow one another.
    wanted, others : sequence of str or None
        As in `choose_columns`.
    """

    def __init__(self, paths: Sequence[Path], wanted: Sequence[str] | None, others: Sequence[str]) -> None:
        self.name = str(paths[0] if len(paths) == 1 else paths[0].parent)
        self._groups: list[tuple[Path, int]] = []
        counts = []
        for path in paths:
            with naming(path), _parquet(path) as file:
                if path == paths[0]:
                    self._columns = choose_columns(
                        file.schema_arrow, wanted, others, _first_row(file, file.schema_arrow), path
                    )
                    self._types = _types(file.schema_arrow, self._columns)
                require_columns(file.schema_arrow.names, self._columns.names, path)
                if _types(file.schema_arrow, self._columns) != self._types:
                    raise DataError(f"{path} has other column types than {paths[0]}; write them alike.")
                self._groups += [(path, number) for number in range(file.num_row_groups)]
                counts += self._counts(file, path)
        self._finish(counts)

    def _finish(self, counts: list[int]) -> None:
        self.shape, self.dtype = (sum(counts), self._columns.total), self._columns.dtype
        check_shape(self.shape)
        self.starts = np.cumsum([0, *counts[:-1]], dtype=np.int64)

    def _counts(self, file: Any, path: Path) -> list[int]:  # noqa: ANN401
        """Rows of each group; read, not believed, where the file is very small for what it claims."""
        counts = [int(file.metadata.row_group(k).num_rows) for k in range(file.num_row_groups)]
        claimed = sum(counts) * self._columns.total * self._columns.dtype.itemsize
        if min(counts, default=0) < 0 or claimed > _SUSPICIOUS * path.stat().st_size:
            name = [self._columns.names[0]]
            for number, count in enumerate(counts):
                batches = file.iter_batches(row_groups=[number], columns=name)
                if sum(batch.num_rows for batch in batches) != count:
                    raise FileError(f"{path} claims {count} rows in row group {number}, but has others.")
        return counts

    def read_from(self, number: int) -> Iterator[FloatArray]:
        """Yield the rows of the row groups from `number` on."""
        step = rows_at_a_time(self._columns.total, self.dtype)
        row = int(self.starts[number])
        names = list(self._columns.names)
        for path, group in self._groups[number:]:
            with naming(path), _parquet(path) as file:
                for batch in file.iter_batches(step, row_groups=[group], columns=names, use_threads=False):
                    yield self._columns.rows(batch, row)
                    row += batch.num_rows


def _parquet(path: Path) -> Any:  # noqa: ANN401
    # Mapped, and neither read ahead nor decoded by many threads: each of them holds a share of a row group.
    return pyarrow("parquet").ParquetFile(path, memory_map=True, pre_buffer=False)


def _types(schema: Any, columns: Columns) -> list[Any]:  # noqa: ANN401
    return [_element(schema.field(name).type) for name in columns.names]


def _first_row(file: Any, schema: Any) -> Any:  # noqa: ANN401
    """Return a batch with the first row of the list columns, where widths are not in the types."""
    types = pyarrow().types
    lists = [f.name for f in schema if types.is_list(f.type) or types.is_large_list(f.type)]
    return next(file.iter_batches(1, columns=lists), None) if lists else None


def parquet_files(path: Path) -> list[Path]:
    """Return the file, or the Parquet files of a folder (sub-folders too) in the order of their names."""
    if not path.is_dir():
        return [path]
    found = sorted(p for p in path.rglob("*.parquet") if not p.name.startswith((".", "_")))
    if not found:
        raise FileError(f"{path} is a folder without Parquet files (*.parquet); name a file.")
    return found


def parquet_labels(paths: Sequence[Path], name: str) -> NDArray[Any]:
    """Read one column of all files into memory."""
    chunks = []
    for path in paths:
        with naming(path), _parquet(path) as file:
            require_columns(file.schema_arrow.names, [name], path)
            chunks.append(file.read([name]).column(0))
    pa = pyarrow()
    return labels_of(pa.chunked_array([part for column in chunks for part in column.chunks]), name)


class IpcReader:
    """Record batches of an Arrow IPC file (Feather version 2) or stream, memory-mapped."""

    def __init__(self, path: Path, wanted: Sequence[str] | None, others: Sequence[str]) -> None:
        self.name, self._path = str(path), path
        with naming(path):
            counts = [batch.num_rows for batch in ipc_batches(path)]
            first = next((batch for batch in ipc_batches(path) if batch.num_rows), None)
            if first is None:
                raise DataError(f"{path} has no rows.")
            self._columns = choose_columns(first.schema, wanted, others, first, path)
        self.shape, self.dtype = (sum(counts), self._columns.total), self._columns.dtype
        check_shape(self.shape)
        self.starts = np.cumsum([0, *counts[:-1]], dtype=np.int64)

    def read_from(self, number: int) -> Iterator[FloatArray]:
        """Yield the rows of the batches from `number` on, cut into blocks."""
        row = int(self.starts[number])
        step = rows_at_a_time(self._columns.total, self.dtype)
        with naming(self._path):
            for batch in ipc_batches(self._path, number):
                for start in range(0, batch.num_rows, step):
                    part = batch.slice(start, step)
                    yield self._columns.rows(part, row)
                    row += part.num_rows


def ipc_batches(path: Path, first: int = 0) -> Iterator[Any]:
    """Yield record batches from number `first` on; each is checked before its numbers are touched."""
    pa, ipc = pyarrow(), pyarrow("ipc")
    with pa.memory_map(str(path)) as file:
        is_file = file.read(6) == b"ARROW1"
        file.seek(0)
        reader = ipc.open_file(file) if is_file else ipc.open_stream(file)
        batches = map(reader.get_batch, range(first, reader.num_record_batches)) if is_file else reader
        for number, batch in enumerate(batches):
            if is_file or number >= first:
                batch.validate(full=False)
                yield batch


def ipc_labels(path: Path, name: str) -> NDArray[Any]:
    """Read one column into memory."""
    with naming(path):
        parts = []
        for batch in ipc_batches(path):
            require_columns(batch.schema.names, [name], path)
            parts.append(batch.column(name))
    return labels_of(pyarrow().chunked_array(parts), name)
