"""Reading the files that commands take, and writing whole files or nothing."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mezzotint.errors import FileError
from mezzotint.packed import Table, read


def read_table(
    path: Path, target: str | None = None, weight: str | None = None, columns: str | None = None
) -> Table:
    """Open the rows of a file, with labels and weights if columns of it are named; `columns` has commas."""
    wanted = None if columns is None else [name.strip() for name in columns.split(",")]
    return read(path, target=target, weight=weight, columns=wanted)


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
