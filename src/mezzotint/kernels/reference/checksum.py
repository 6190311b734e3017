"""Reference of the checksums: zlib's CRC-32 of pieces of an array."""

import zlib

import numpy as np
from numpy.typing import NDArray

__all__ = ["checksums"]


def checksums(
    data: NDArray[np.uint8], begins: NDArray[np.int64], ends: NDArray[np.int64], *, n_threads: int = 1
) -> NDArray[np.uint32]:
    """Return the CRC-32 of ``data[begin:end]`` for each pair, as zlib computes it.

    The bytes as a polynomial over GF(2), times x^32, modulo the polynomial 0x04C11DB7 (with x^32); bits are
    reflected, and inverted at the start and at the end. Exact: there is no rounding.

    Parameters
    ----------
    data : ndarray of uint8, shape (m,)
        Contiguous.
    begins, ends : ndarray of int64, shape (k,)
        Within `data`; pieces may overlap and be empty.
    n_threads : int
        Pieces are shared between threads.

    Returns
    -------
    ndarray of uint32, shape (k,)
    """
    pieces = zip(begins.tolist(), ends.tolist(), strict=True)
    return np.array([zlib.crc32(data[begin:end].data) for begin, end in pieces], dtype=np.uint32)
