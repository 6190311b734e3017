"""`mezzotint.read`: the rows of a file as a source, with labels and weights from the same file."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mezzotint.errors import DataError, FileError, ParameterError
from mezzotint.packed.sources import ArraySource, Source, as_source
from mezzotint.packed.sources_npy import first_bytes, map_samples
from mezzotint.packed.store_format import HEADER_NAME

_CSV = {".csv", ".tsv"}
_LIBSVM = {".svm", ".libsvm", ".svmlight"}
_ARROW = {".arrow", ".arrows", ".feather", ".ipc"}
_PARQUET = {".parquet", ".pq"}
_COMPRESSED = {".gz", ".bz2", ".zst", ".lz4"}


@dataclass(frozen=True, eq=False)
class Table:
    """What a file holds: rows, and if asked for, labels and weights.

    Attributes
    ----------
    source : Source
        The rows; read from the file block by block.
    y : ndarray of shape (n,) or (n, K), or None
        Labels or targets, in memory.
    sample_weight : ndarray of shape (n,), or None
        Weights, in memory.
    """

    source: Source
    y: NDArray[Any] | None = None
    sample_weight: NDArray[Any] | None = None


def read(
    path: str | os.PathLike[str],
    *,
    target: str | None = None,
    weight: str | None = None,
    columns: str | Sequence[str] | None = None,
) -> Table:
    r"""Open the rows of a file without reading them into memory.

    The suffix says what it is: ``.npy``; ``.parquet``, or a folder of such files; ``.arrow``, ``.feather``,
    ``.ipc``; ``.csv``, ``.tsv`` (also ``.csv.gz``); ``.svm``, ``.libsvm``; ``.safetensors``.

    Parameters
    ----------
    path : str or path
        File, or folder of Parquet files.
    target : str, optional
        Column of labels or targets. A libsvm file always gives its labels.
    weight : str, optional
        Column of sample weights.
    columns : str or sequence of str, optional
        Columns of X, numbers or lists of numbers (embeddings); all but `target` and `weight` by default.
        For safetensors files the name of one tensor, as are `target` and `weight`.

    Returns
    -------
    Table

    Raises
    ------
    FileError
        If the file cannot be read, is of an unknown kind, is damaged, or pyarrow is needed and missing.
    DataError
        If a column does not exist or holds no numbers, or the rows cannot be packed.
    ParameterError
        If columns are named for a file that has none.

    Examples
    --------
    >>> import numpy as np, mezzotint as mz, tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "data.svm"
    >>> _ = path.write_text("1 1:0.5 3:2\n0 2:1\n")
    >>> table = mz.read(path)
    >>> table.y, table.source.block(0, 2)
    (array([1, 0]), array([[0.5, 0. , 2. ],
           [0. , 1. , 0. ]]))
    """
    file = Path(path)
    wanted = [columns] if isinstance(columns, str) else None if columns is None else list(columns)
    others = [name for name in (target, weight) if name is not None]
    kind = _kind(file)
    if kind in ("npy", "libsvm") and (wanted is not None or others):
        raise ParameterError(
            f"{file} has no named columns, but {', '.join([*(wanted or ()), *others])} was asked for; "
            "leave target, weight and columns out (labels of .npy files lie in another file)."
        )
    source, labels = _OPENERS[kind](file, wanted, others)
    if kind == "libsvm":
        return Table(source, labels["label"])
    picked = [None if name is None else labels[name] for name in (target, weight)]
    return Table(source, *picked)


_Opened = tuple[Source, dict[str, NDArray[Any]]]


def _kind(file: Path) -> str:
    """Which opener a path is for; FileError if there is none."""
    if (file / HEADER_NAME).is_file():
        raise FileError(f"{file} is a store of codes, not a file of rows; open it with mezzotint.open.")
    if file.is_dir():
        return "parquet"
    first_bytes(file, 1)
    suffixes = [suffix.lower() for suffix in file.suffixes]
    if suffixes and suffixes[-1] in _COMPRESSED and _CSV.isdisjoint(suffixes[-2:-1]):
        raise FileError(f"{file} is compressed; only .csv and .tsv are read so. Unpack it first.")
    suffix = next((s for s in reversed(suffixes) if s not in _COMPRESSED), "")
    named = {"parquet": _PARQUET, "arrow": _ARROW, "csv": _CSV, "libsvm": _LIBSVM}
    known = {s: kind for kind, group in named.items() for s in group}
    known |= {".npy": "npy", ".safetensors": "safetensors"}
    if suffix not in known:
        raise FileError(f"{file} has the suffix {suffix!r}; known are {', '.join(sorted(known))}.")
    return known[suffix]


def _open_npy(file: Path, wanted: list[str] | None, others: list[str]) -> _Opened:
    return _named(file, map_samples(file)), {}


def _open_parquet(file: Path, wanted: list[str] | None, others: list[str]) -> _Opened:
    from mezzotint.packed import sources_arrow as arrow
    from mezzotint.packed.sources_stream import StreamSource

    files = arrow.parquet_files(file)
    source = StreamSource(arrow.ParquetReader(files, wanted, others))
    return source, {name: arrow.parquet_labels(files, name) for name in others}


def _open_arrow(file: Path, wanted: list[str] | None, others: list[str]) -> _Opened:
    from mezzotint.packed import sources_arrow as arrow
    from mezzotint.packed.sources_stream import StreamSource

    source = StreamSource(arrow.IpcReader(file, wanted, others))
    return source, {name: arrow.ipc_labels(file, name) for name in others}


def _open_csv(file: Path, wanted: list[str] | None, others: list[str]) -> _Opened:
    from mezzotint.packed.sources_csv import CsvReader
    from mezzotint.packed.sources_stream import StreamSource

    reader = CsvReader(file, wanted, others)
    return StreamSource(reader), reader.labels


def _open_libsvm(file: Path, wanted: list[str] | None, others: list[str]) -> _Opened:
    from mezzotint.packed.sources_libsvm import LibsvmReader
    from mezzotint.packed.sources_stream import StreamSource

    reader = LibsvmReader(file)
    return StreamSource(reader), {"label": reader.labels}


def _open_safetensors(file: Path, wanted: list[str] | None, others: list[str]) -> _Opened:
    from mezzotint.packed.sources_safetensors import map_tensor

    if wanted is not None and len(wanted) != 1:
        raise ParameterError(f"columns={wanted!r} names several tensors; name one matrix of {file}.")
    array, bfloat16 = map_tensor(file, wanted[0] if wanted else None)
    source = _named(file, array, bfloat16=bfloat16)
    return source, {name: np.array(map_tensor(file, name)[0]) for name in others}


_OPENERS = {
    "npy": _open_npy,
    "parquet": _open_parquet,
    "arrow": _open_arrow,
    "csv": _open_csv,
    "libsvm": _open_libsvm,
    "safetensors": _open_safetensors,
}


def _named(file: Path, array: NDArray[Any], *, bfloat16: bool = False) -> Source:
    """Wrap a mapped array; an error of its shape or type names the file."""
    try:
        source = as_source(array)
    except DataError as error:
        raise DataError(f"{file}: {error}") from error
    return ArraySource(array, bfloat16=True) if bfloat16 else source
