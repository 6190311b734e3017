"""`.npy` files, mapped: nothing is unpickled, and nothing is allocated before the file has the bytes."""

import tokenize
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mezzotint.errors import DataError, FileError

_MAGIC = b"\x93NUMPY"


def read_npy(path: Path, *, mmap: bool = False) -> NDArray[Any]:
    """Load or map a `.npy` file.

    Raises
    ------
    FileError
        If there is no such file, it is not a `.npy` file, it holds Python objects, or it is cut short.
    """
    magic = first_bytes(path, len(_MAGIC))
    if magic != _MAGIC:
        raise FileError(
            f"{path} is not a .npy file (it starts with {magic!r}). Write one with numpy.save(path, array)."
        )
    try:
        with warnings.catch_warnings():  # a hostile shape may overflow NumPy's product of it
            warnings.simplefilter("error")
            array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)  # compares sizes
    except (ValueError, OSError, EOFError, SyntaxError, TypeError, OverflowError, Warning) as error:
        raise _unusable(path, error) from error
    except tokenize.TokenError as error:
        raise _unusable(path, error) from error
    return array if mmap else np.array(array)


def map_samples(path: Path) -> NDArray[Any]:
    """Map the rows of a matrix; DataError unless the file holds numbers of at most 64 bits."""
    X = read_npy(path, mmap=True)
    if X.dtype.kind not in "fiubc" or X.dtype.itemsize > 8 * (1 + (X.dtype.kind == "c")):
        raise DataError(f"{path} holds dtype {X.dtype}; save floats of at most 64 bits or integers.")
    return X


def first_bytes(path: Path, count: int) -> bytes:
    """Return how a file begins; FileError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(count)
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror}. Check the path.") from error


def _unusable(path: Path, error: BaseException) -> FileError:
    return FileError(
        f"{path} cannot be used: {error}. It is cut short, damaged, or holds Python objects; "
        "save numbers or plain strings with numpy.save(path, array)."
    )
