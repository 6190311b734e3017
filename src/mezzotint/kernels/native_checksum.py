"""Calls of the compiled checksums; same functions as ``reference.checksum``."""

import numpy as np
from numpy.typing import NDArray

from mezzotint.errors import DataError
from mezzotint.kernels import _native

__all__ = ["checksums"]


def checksums(
    data: NDArray[np.uint8], begins: NDArray[np.int64], ends: NDArray[np.int64], *, n_threads: int = 1
) -> NDArray[np.uint32]:
    """See ``reference.checksum.checksums``."""
    for name, array, dtype in (
        ("data", data, np.uint8),
        ("begins", begins, np.int64),
        ("ends", ends, np.int64),
    ):
        if array.dtype != dtype or array.ndim != 1 or not array.flags.c_contiguous:
            raise DataError(
                f"{name} is {array.dtype} of shape {array.shape}; pass contiguous {np.dtype(dtype)} "
                "of one axis"
            )
    if len(begins) != len(ends) or not ((begins >= 0) & (begins <= ends) & (ends <= len(data))).all():
        raise DataError(
            f"pieces lie outside the {len(data)} bytes of data, or begins and ends differ in number; give "
            "0 <= begin <= end <= len(data) for each"
        )
    out = np.empty(len(begins), dtype=np.uint32)
    _native.checksums(data, begins, ends, out, n_threads)
    return out
