"""Reading the files that commands take, and writing whole files or nothing."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import typer

from mezzotint.errors import FileError
from mezzotint.packed import DecodedSource, PackedMatrix, Table, open, read
from mezzotint.packed.store_format import HEADER_NAME

_LABELLED = (".svm", ".libsvm", ".svmlight")  # files that hold labels without a name


def read_table(
    path: Path, target: str | None = None, weight: str | None = None, columns: str | None = None
) -> Table:
    """Open the rows of a file, with labels and weights if columns of it are named; `columns` has commas."""
    wanted = None if columns is None else [name.strip() for name in columns.split(",")]
    return read(path, target=target, weight=weight, columns=wanted)


@dataclass(frozen=True, eq=False, kw_only=True)
class Samples:
    """What to fit: the rows of a file, or codes.

    Attributes
    ----------
    table : Table
        Rows, labels and weights; of a store alone its rows are what the codes stand for.
    packed : PackedMatrix or None
        The codes of a store.
    """

    table: Table
    packed: PackedMatrix | None = None


def open_samples(
    path: Path, source: Path | None, bits: int | None, *, has_labels: bool, **named: str | None
) -> Samples:
    """Open a file of rows, or a store with the file that was packed as its `source`."""
    if not (path / HEADER_NAME).is_file():
        if source is not None:
            raise typer.BadParameter(f"--source is for a store, and {path} is none; leave --source out.")
        return Samples(table=_labelled(path, has_labels, **named))
    if source is not None:
        table = _labelled(source, has_labels, **named)
        return Samples(table=table, packed=open(path, bits, source=table.source))
    for option, value in named.items():
        if value is not None:
            raise typer.BadParameter(
                f"--{option} {value} of the store {path}, which holds codes without names; leave it out, or "
                "give the file that was packed with --source."
            )
    if not has_labels:
        raise typer.BadParameter(f"no labels: {path} is a store, which holds none; give y.npy.")
    packed = open(path, bits)
    return Samples(table=Table(packed.source or DecodedSource(packed)), packed=packed)


def _labelled(path: Path, has_labels: bool, **named: str | None) -> Table:
    target = named["target"]
    if has_labels and target is not None:
        raise typer.BadParameter(f"labels came twice: y.npy and --target {target}; leave one out.")
    if not has_labels and target is None and path.suffix.lower() not in _LABELLED:
        raise typer.BadParameter("no labels: give y.npy, or --target with the name of a column of X.")
    return read_table(path, **named)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path` to write to; it takes the place of `path` when the block succeeds.

    Whatever happens before, interruption included, `path` is untouched and nothing else is left.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    os.close(handle)
    part = Path(name)
    try:
        yield part
        part.chmod(0o666 & ~_umask())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def check_writable(path: Path) -> None:
    """Raise FileError if a result could not be written to `path`: better now than after the work."""
    folder = path.parent
    if path.is_dir():
        raise FileError(f"{path} is a folder; name a file.")
    if not folder.is_dir():
        raise FileError(f"the folder {folder} does not exist; make it first.")
    if not os.access(folder, os.W_OK):
        raise FileError(f"the folder {folder} is not writable; choose another with --out.")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
