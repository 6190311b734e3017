"""Codes split into planes of bits, most significant first, so that fewer bits are fewer bytes.

A 16-bit code is cut into planes of 1, 1, 2, 4 and 8 bits: the first plane holds its top bit, the first three
its top 4 bits. Within a plane every row takes the same whole number of bytes, and a byte holds its
values from the lowest bits up. The idea, one copy for every precision, is MLWeaving's.

References
----------
Wang et al., "Accelerating Generalized Linear Models with MLWeaving", PVLDB 12(7), 2019.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

PLANE_WIDTHS = (1, 1, 2, 4, 8)
READABLE_BITS = (1, 2, 4, 8, 16)  # sums of the first planes
STORABLE_BITS = (4, 8, 16)  # fewer would take less space on disk than in memory
COLUMN_GROUP = 32  # columns are padded to it: every plane has exactly its share of the bytes

Codes = NDArray[np.unsignedinteger[Any]]


def widths_of(bits: int) -> tuple[int, ...]:
    """Widths of the planes that hold the top `bits` bits of a code: 1, 2, 4, 8 or 16."""
    return PLANE_WIDTHS[: READABLE_BITS.index(bits) + 1]


def plane_row_bytes(n_columns: int, width: int) -> int:
    """Bytes of one row in a plane of values of `width` bits."""
    return -(-n_columns // COLUMN_GROUP) * COLUMN_GROUP * width // 8


def split(codes: Codes, bits: int) -> list[NDArray[np.uint8]]:
    """Cut codes of `bits` bits into planes.

    Parameters
    ----------
    codes : ndarray of uint8 or uint16, shape (m, d)
        Values under ``2**bits``.
    bits : {1, 2, 4, 8, 16}
        Bits of a code.

    Returns
    -------
    list of ndarray of uint8, shape (m, plane_row_bytes(d, width))
        One array per plane, most significant first; padding columns hold 0.
    """
    planes, below = [], bits
    for width in widths_of(bits):
        below -= width
        values = (codes >> np.uint8(below)) & np.uint8(2**width - 1)
        planes.append(_squeeze(values.astype(np.uint8), width))
    return planes


def join(planes: Sequence[NDArray[np.uint8]], n_columns: int) -> Codes:
    """Put the first planes together to codes of as many bits.

    Parameters
    ----------
    planes : sequence of ndarray of uint8, shape (m, plane_row_bytes(n_columns, width))
        The first 1 to 5 planes, as `split` returned them.
    n_columns : int
        Columns without padding.

    Returns
    -------
    ndarray of uint8 (up to 8 bits) or uint16, shape (m, n_columns)
        The top bits of the codes that were split.
    """
    dtype = np.uint16 if len(planes) == len(PLANE_WIDTHS) else np.uint8
    codes = np.zeros((len(planes[0]), n_columns), dtype=dtype)
    for width, plane in zip(PLANE_WIDTHS, planes, strict=False):
        codes <<= dtype(width)
        codes |= _spread(plane, width, n_columns)
    return codes


def _squeeze(values: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    padded = np.zeros((len(values), plane_row_bytes(values.shape[1], 8)), dtype=np.uint8)
    padded[:, : values.shape[1]] = values
    per_byte = 8 // width
    plane = padded[:, ::per_byte].copy()
    for place in range(1, per_byte):
        plane |= padded[:, place::per_byte] << np.uint8(place * width)
    return plane


def _spread(plane: NDArray[np.uint8], width: int, n_columns: int) -> NDArray[np.uint8]:
    per_byte = 8 // width
    values = np.empty((len(plane), plane.shape[1] * per_byte), dtype=np.uint8)
    for place in range(per_byte):
        values[:, place::per_byte] = (plane >> np.uint8(place * width)) & np.uint8(2**width - 1)
    return values[:, :n_columns]
