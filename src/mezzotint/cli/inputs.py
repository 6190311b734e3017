"""Reading and writing the arrays that commands take: `.npy` files, never unpickled."""

import contextlib
import os
import tempfile
import tokenize
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mezzotint.errors import DataError, FileError
from mezzotint.packed import ArraySource, as_source

_MAGIC = b"\x93NUMPY"


def read_array(path: Path, *, mmap: bool = False) -> NDArray[Any]:
    """Load or map a `.npy` file.

    Raises
    ------
    FileError
        If there is no such file, it is not a `.npy` file, it holds Python objects, or it is cut short.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(len(_MAGIC))
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror}. Check the path.") from error
    if magic != _MAGIC:
        raise FileError(
            f"{path} is not a .npy file (it starts with {magic!r}). Write one with numpy.save(path, array)."
        )
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r" if mmap else None, allow_pickle=False)
    except (ValueError, OSError, EOFError, SyntaxError, tokenize.TokenError) as error:
        raise FileError(
            f"{path} cannot be used: {error}. It is cut short, damaged, or holds Python objects; "
            "save numbers or plain strings with numpy.save(path, array)."
        ) from error
    return array


def read_samples(path: Path) -> NDArray[Any]:
    """Map the rows of a matrix; DataError unless it has two dimensions of numbers and at least one row."""
    X = read_array(path, mmap=True)
    if X.dtype.kind not in "fiubc" or X.dtype.itemsize > 8 * (1 + (X.dtype.kind == "c")):
        raise DataError(f"{path} holds dtype {X.dtype}; save floats of at most 64 bits or integers.")
    try:
        as_source(X[:0] if X.ndim != 2 else X[:1])
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    return X


class ReportingSource(ArraySource):
    """Rows of an array that tells how far each read of it has come.

    Parameters
    ----------
    array : ndarray of shape (n, d)
        The rows, usually memory-mapped.
    report : callable
        Called with (number of the read, rows done).
    """

    def __init__(self, array: NDArray[Any], report: Callable[[int, int], None]) -> None:
        super().__init__(array)
        self._report = report
        self._reads = 0

    @property
    def whole(self) -> None:
        """None: kernels get one block after the other, so that each can be counted."""
        return

    def block(self, start: int, stop: int) -> NDArray[Any]:
        """Rows [start, stop), counted."""
        self._reads += start == 0
        self._report(self._reads, start)
        return super().block(start, stop)


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
