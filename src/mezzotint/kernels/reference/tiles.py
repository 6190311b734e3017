"""Between codes as a plain matrix and the bytes of a Layout: tiles, lines and planes, in plain NumPy."""

import numpy as np
from numpy.typing import NDArray

from mezzotint.kernels.layout import Layout

Bytes = NDArray[np.uint8]


def to_tiles(q: Bytes, layout: Layout) -> Bytes:
    """(rows, columns), both padded -> bytes, in the order that Layout describes."""
    row_groups, groups = q.shape[0] // 4, q.shape[1] // 16
    n_lines, has_odd = groups // layout.line_groups, layout.bits % 2
    tiles: Bytes = q.reshape(row_groups, 4, groups, 4, 4).transpose(0, 2, 3, 1, 4)
    tiles = tiles.reshape(row_groups, groups, 64)
    wide = (tiles >> np.uint8(has_odd)).reshape(row_groups, n_lines, layout.line_groups, 64)
    shifts = np.arange(layout.line_groups, dtype=np.uint8) * np.uint8(layout.wide_bits)
    lines: Bytes = np.bitwise_or.reduce(wide << shifts[:, None], axis=2).reshape(row_groups, 64 * n_lines)
    if not has_odd:
        return lines.reshape(-1)
    odd = np.packbits(tiles & np.uint8(1), axis=2, bitorder="little").reshape(row_groups, 8 * groups)
    return np.concatenate([lines, odd], axis=1).reshape(-1)


def from_tiles(codes: Bytes, layout: Layout, start: int, stop: int) -> Bytes:
    """Codes of rows start (a multiple of 4) to stop, shape (stop - start, n_columns)."""
    row_groups, groups = -(-(stop - start) // 4), layout.padded_columns // 16
    n_lines, group_bytes = groups // layout.line_groups, 4 * layout.row_bytes
    first = start // 4 * group_bytes
    rows = codes[first : first + row_groups * group_bytes].reshape(row_groups, group_bytes)
    shifts = np.arange(layout.line_groups, dtype=np.uint8) * np.uint8(layout.wide_bits)
    wide = rows[:, : 64 * n_lines].reshape(row_groups, n_lines, 1, 64) >> shifts[:, None]
    tiles = (wide & np.uint8(2**layout.wide_bits - 1)).reshape(row_groups, groups, 64)
    if layout.bits % 2:
        odd = np.unpackbits(rows[:, 64 * n_lines :], axis=1, bitorder="little")
        tiles = tiles << np.uint8(1) | odd.reshape(tiles.shape)
    q = tiles.reshape(row_groups, groups, 4, 4, 4).transpose(0, 3, 1, 2, 4)
    q = q.reshape(row_groups * 4, layout.padded_columns)
    return q[: stop - start, : layout.n_columns]


def values_of(codes: Bytes, layout: Layout, start: int, stop: int) -> NDArray[np.float64]:
    """What products see of these rows; see `Layout.code_values`."""
    return layout.code_values[from_tiles(codes, layout, start, stop)]


def gaps_of(codes: Bytes, layout: Layout, start: int, stop: int) -> NDArray[np.float64]:
    """How far apart the draws of these rows are; see `Layout.code_gaps`."""
    return layout.code_gaps[from_tiles(codes, layout, start, stop)]
