"""How a matrix is cut up: tiles of codes, blocks of rows, segments of blocks.

All three are functions of the shape (and bits) alone, never of the machine or the number
of threads: that is what makes results the same bits everywhere.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mezzotint.errors import DataError, ParameterError

ROW_GROUP = 16  # rows are padded to it: four tiles of four rows
MAX_COLUMNS = 65_536  # 255 * 128 * 65,536 < 2**31: an int32 row sum cannot overflow
MAX_SEGMENTS = 128
_PARTIAL_VALUES = 2**22  # bounds the float64 partials of one pass: 32 MB for each output
_BLOCK_BYTES = 131_072  # a block of codes stays in L2 between its two uses
_MAX_BLOCK_ROWS = 512
_CACHE_LINE = 64
WIDTHS = {1: (4, 8), 2: (2, 3, 4, 5, 8)}  # draws per value -> stored bits that exist
_TABLE_BITS = 5  # codes of at most so many bits may be looked up in a table
_LARGEST_BYTE = 255


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
    levels : tuple of int, optional
        Where the levels of a draw lie if they are not evenly spaced: ``2**level_bits`` integers, ascending
        from 0, whose sums are at most 255. Codes then count levels, and products see ``code_values``.
    """

    n_rows: int
    n_columns: int
    bits: int
    n_draws: int = 1
    levels: tuple[int, ...] | None = None

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
        if self.levels is not None:
            self._check_levels(self.levels)

    def _check_levels(self, levels: tuple[int, ...]) -> None:
        most = _LARGEST_BYTE // self.n_draws
        ascending = all(a < b for a, b in pairwise(levels))
        if self.bits > _TABLE_BITS or len(levels) != 1 << self.level_bits or not ascending:
            raise ParameterError(
                f"levels={levels!r} with bits={self.bits}, n_draws={self.n_draws}; allowed: ascending "
                f"integers, 2 to the {self.level_bits} of them, for codes of at most {_TABLE_BITS} bits"
            )
        if levels[0] != 0 or levels[-1] > most:
            raise ParameterError(
                f"levels reach from {levels[0]} to {levels[-1]}; allowed: from 0 to at most {most}"
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
        return (1 << self.level_bits) - 1 if self.levels is None else self.levels[-1]

    @cached_property
    def level_places(self) -> NDArray[np.float64]:
        """Levels of one draw in order, shape (2**level_bits,): `levels`, or 0, 1, 2, ..."""
        count = 1 << self.level_bits
        return (
            np.arange(count, dtype=np.float64) if self.levels is None else np.array(self.levels, np.float64)
        )

    @cached_property
    def code_values(self) -> NDArray[np.float64]:
        """What products see of each code, shape (2**bits,): the sum of the draws' levels."""
        if self.levels is None:
            return np.arange(1 << self.bits, dtype=np.float64)
        return np.asarray(np.sum(self._draws_of_codes, axis=0), dtype=np.float64)

    @cached_property
    def code_gaps(self) -> NDArray[np.float64]:
        """How far apart the draws of each code are, shape (2**bits,): without a table, the last bit."""
        if self.levels is None:
            return np.arange(1 << self.bits, dtype=np.float64) % 2
        draws = self._draws_of_codes
        return np.asarray(draws[-1] - draws[0])

    @property
    def _draws_of_codes(self) -> list[NDArray[np.float64]]:
        """The draws that each code stands for; codes beyond the last sum stand for that."""
        codes = np.arange(1 << self.bits)
        index = [codes] if self.n_draws == 1 else [codes >> 1, (codes + 1) >> 1]
        return [self.level_places[np.minimum(i, len(self.level_places) - 1)] for i in index]

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
        """The middle of what products see, such as 128 or 8: it is subtracted before they multiply."""
        return 1 << (self.bits - 1) if self.levels is None else (_LARGEST_BYTE + 1) // 2

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
