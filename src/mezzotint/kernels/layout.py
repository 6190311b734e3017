"""How a matrix is cut up: tiles of codes, blocks of rows, segments of blocks.

All three are functions of the shape (and bits) alone, never of the machine or the number
of threads: that is what makes results the same bits everywhere.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mezzotint.errors import DataError, ParameterError

ROW_GROUP = 16  # rows are padded to it: four tiles of four rows
MAX_COLUMNS = 65_536  # 255 * 128 * 65,536 < 2**31: an int32 row sum cannot overflow
MAX_SEGMENTS = 128
_PARTIAL_VALUES = 2**22  # bounds the float64 partials of one pass: 32 MB
_BLOCK_BYTES = 131_072  # a block of codes stays in L2 between its two uses
_MAX_BLOCK_ROWS = 512
_CACHE_LINE = 64
WIDTHS = {1: (4, 8), 2: (2, 3, 4, 5, 8)}  # draws per value -> stored bits that exist


def segment_bounds(n_rows: int, n_columns: int) -> NDArray[np.int64]:
    """Row boundaries of the fixed list of segments, shape (n_segments + 1,), multiples of 16 but the last."""
    if n_rows == 0:
        return np.zeros(1, dtype=np.int64)
    count = max(1, min(-(-n_rows // 256), _PARTIAL_VALUES // n_columns, MAX_SEGMENTS))
    rows = -(-n_rows // count)
    rows = -(-rows // ROW_GROUP) * ROW_GROUP
    return np.append(np.arange(0, n_rows, rows, dtype=np.int64), np.int64(n_rows))


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where the codes of an (n_rows, n_columns) matrix lie in memory.

    Rows come in groups of 4 and columns in groups of 16: a line of 64 bytes holds four tiles of 4 x 4
    codes, each tile row-major. With 4 bits a byte holds two column groups: the low nibble is column
    group 2t, the high nibble column group 2t + 1. With 2 bits it holds four, lowest bits first. Columns
    are padded to whole lines, rows to 16; the padding has code 0.

    Codes of 5 and 3 bits lie in two planes: of every row group first the codes without their last bit,
    ``code >> 1``, as 4 or 2 bits; then the last bits, 8 bytes per column group, of which bit i (the
    lowest of byte 0 is bit 0) belongs to byte i of an 8-bit line. So a row group is one piece of memory
    (n_columns x bits / 2 bytes, padding counted), and planes start at multiples of 16 bytes, those of
    each 16 rows at a multiple of 64.

    Parameters
    ----------
    n_rows, n_columns : int
        Shape of the matrix; 1 to 65536 columns.
    bits : int
        Stored bits per value: 4 or 8 with one draw, 2, 3, 4, 5 or 8 with two.
    n_draws : {1, 2}
        Draws per value. A code is the sum of the draws' levels, ``n_draws (2**level_bits - 1)`` at most.
    """

    n_rows: int
    n_columns: int
    bits: int
    n_draws: int = 1

    def __post_init__(self) -> None:
        if self.n_draws not in WIDTHS:
            raise ParameterError(f"n_draws={self.n_draws!r}; allowed: 1 or 2")
        if self.bits not in WIDTHS[self.n_draws]:
            names = " or ".join(map(str, WIDTHS[self.n_draws]))
            raise ParameterError(f"bits={self.bits!r}; allowed: {names} with n_draws={self.n_draws}")
        if self.n_rows < 0:
            raise DataError(f"n_rows={self.n_rows}; a matrix has 0 rows or more")
        if not 1 <= self.n_columns <= MAX_COLUMNS:
            raise DataError(
                f"n_columns={self.n_columns}; a packed matrix has 1 to {MAX_COLUMNS} columns (more could "
                "overflow a 32-bit sum of codes); drop columns or fit without a packed copy"
            )

    @property
    def padded_columns(self) -> int:
        """Columns including padding: a multiple of 16 (8 bits), 32 (5 and 4 bits) or 64 (3 and 2 bits)."""
        line = 16 * self.line_groups
        return -(-self.n_columns // line) * line

    @property
    def wide_bits(self) -> int:
        """Bits of a code in lines: `bits` if even, else one less."""
        return self.bits // 2 * 2

    @property
    def line_groups(self) -> int:
        """Column groups in a line of 64 bytes: 1, 2 or 4."""
        return 8 // self.wide_bits

    @property
    def level_bits(self) -> int:
        """Bits of one draw: its levels are 0 to ``2**level_bits - 1``."""
        return self.bits - self.n_draws + 1

    @property
    def last_level(self) -> int:
        """The largest level of one draw."""
        return (1 << self.level_bits) - 1

    @property
    def padded_rows(self) -> int:
        """Rows including padding, a multiple of 16; padding rows hold code 0."""
        return -(-self.n_rows // ROW_GROUP) * ROW_GROUP

    @property
    def row_bytes(self) -> int:
        """Bytes of one padded row."""
        return self.padded_columns * self.bits // 8

    @property
    def n_bytes(self) -> int:
        """Bytes of all codes."""
        return self.padded_rows * self.row_bytes

    @property
    def mid_code(self) -> int:
        """The code in the middle, such as 128 or 8: vectors are multiplied with ``code - mid_code``."""
        return 1 << (self.bits - 1)

    @property
    def block_rows(self) -> int:
        """Rows that share one scale in a gradient pass, a multiple of 16 in [16, 512]."""
        rows = _BLOCK_BYTES // self.row_bytes // ROW_GROUP * ROW_GROUP
        return min(max(rows, ROW_GROUP), _MAX_BLOCK_ROWS)

    def empty_codes(self) -> NDArray[np.uint8]:
        """Uninitialised memory for all codes that starts at a cache line; shape (n_bytes,).

        Kernels take codes at any address, but are faster if the 64 bytes of four tiles are one cache line.
        """
        memory = np.empty(self.n_bytes + _CACHE_LINE, dtype=np.uint8)
        start = -memory.ctypes.data % _CACHE_LINE
        return memory[start : start + self.n_bytes]

    @cached_property
    def segments(self) -> NDArray[np.int64]:
        """Row boundaries of the segments."""
        return segment_bounds(self.n_rows, self.n_columns)
