"""CodesSource: the numbers that a user's codes stand for, decoded a block at a time."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mezzotint.packed.sources import FloatArray


@dataclass(frozen=True, eq=False, kw_only=True)
class Codes:
    """Integer codes as they lie in memory or in a mapped file.

    Attributes
    ----------
    stored : ndarray of shape (n, n_columns) or (n, row bytes)
        One code per element; or rows of uint8 that hold `bits` bits per code.
    n_columns : int
        Codes per row.
    bits : int
        1 to 8, or 16. Under 8 the codes of a row follow one another without gaps.
    bit_order : {"little", "big"}
        Whether a row's first code begins at the lowest or the highest bit of its first byte.
    """

    stored: NDArray[Any]
    n_columns: int
    bits: int
    bit_order: Literal["little", "big"]

    def take(self, rows: slice | NDArray[np.int64]) -> NDArray[Any]:
        """Return codes of some rows, one per element, in the user's (possibly signed) numbers."""
        part: NDArray[Any] = np.asarray(self.stored[rows])
        if self.bits >= 8:
            return part
        single = np.unpackbits(part, axis=1, count=self.n_columns * self.bits, bitorder=self.bit_order)
        bits = single.reshape(len(part), self.n_columns, self.bits)
        if self.bit_order == "big":
            bits = bits[:, :, ::-1]
        codes: NDArray[np.uint8] = bits[:, :, 0].copy()
        for place in range(1, self.bits):
            codes |= bits[:, :, place] << np.uint8(place)
        return codes

    @property
    def lowest(self) -> int:
        """The smallest code there can be: 0, or -128 or -32768 for signed codes."""
        return int(np.iinfo(self.stored.dtype).min) if self.bits >= 8 else 0

    def unsigned(self, rows: slice | NDArray[np.int64]) -> NDArray[np.int64]:
        """Return codes counted from the smallest there can be."""
        return self.take(rows).astype(np.int64) - self.lowest


class CodesSource:
    """Decoded codes: ``row_scale_i * (offset_j + scale_j * position(code_ij))``, in float64.

    The position of a code is the code itself plus `shift` (1/2 for the middle of a bin), or what
    `levels` says.

    Parameters
    ----------
    codes : Codes
        The integers.
    offset, scale : ndarray of float64, shape (d,)
        The map of each column.
    shift : float
        Added to codes; ignored where `levels` is given.
    levels : ndarray of float64, shape (L,), or None
        Position of each code, counted from the smallest there can be.
    row_scale : ndarray of float64, shape (n,), or None
        Factor of each row.
    """

    note = "decoded codes attached: solutions are those of the decoded values"

    def __init__(
        self,
        codes: Codes,
        *,
        offset: NDArray[np.float64],
        scale: NDArray[np.float64],
        shift: float,
        levels: NDArray[np.float64] | None,
        row_scale: NDArray[np.float64] | None,
    ) -> None:
        self.codes = codes
        self._offset, self._scale, self._shift = offset, scale, shift
        self._levels, self._row_scale = levels, row_scale
        self._dtype = np.dtype(np.float32 if self._fits_float32() else np.float64)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.codes.stored), self.codes.n_columns

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the blocks: float32 if every value that a code can stand for is one, else float64."""
        return self._dtype

    @property
    def whole(self) -> None:
        """None: the values are made on demand."""
        return

    @property
    def is_affine(self) -> bool:
        """Whether values are an affine map of the codes with one scale per column."""
        return self._levels is None and self._row_scale is None

    def unsigned_map(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return (offset, scale) per column for codes counted from 0, of affine codes."""
        return self._offset + self._scale * (self.codes.lowest + self._shift), self._scale

    @property
    def largest(self) -> NDArray[np.float64]:
        """The largest magnitude a value of each column can have."""
        positions = self._positions()
        row = 1.0 if self._row_scale is None else np.abs(self._row_scale).max()
        with np.errstate(over="ignore", invalid="ignore"):
            ends = [self._offset + self._scale * p for p in (positions.min(), positions.max())]
            out: NDArray[np.float64] = np.abs(ends).max(axis=0) * row
        return out

    def block(self, start: int, stop: int) -> FloatArray:
        """Rows [start, stop), decoded."""
        return self._decode(slice(start, stop))

    def rows(self, index: NDArray[np.int64]) -> FloatArray:
        """Gather the rows of an increasing index, decoded."""
        return self._decode(index)

    def _decode(self, rows: slice | NDArray[np.int64]) -> FloatArray:
        if self._levels is None:
            positions = self.codes.take(rows) + self._shift
        else:
            positions = self._levels[self.codes.unsigned(rows)]
        positions *= self._scale
        positions += self._offset
        if self._row_scale is not None:
            positions *= self._row_scale[rows][:, None]
        return np.ascontiguousarray(positions, dtype=self._dtype)

    def _fits_float32(self) -> bool:
        if self._row_scale is not None or self.codes.bits > 8:
            return False
        with np.errstate(over="ignore"):
            for position in self._positions():  # one row of values at a time: the table of all may be large
                value = self._offset + self._scale * position
                if (value.astype(np.float32) != value).any():
                    return False
        return True

    def _positions(self) -> NDArray[np.float64]:
        """Positions of all codes, in their order."""
        if self._levels is not None:
            return self._levels
        return np.arange(2.0**self.codes.bits) + self.codes.lowest + self._shift
