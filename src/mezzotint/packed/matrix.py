"""PackedMatrix: samples as low-bit codes in a tile layout, with a scale per column."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mezzotint.errors import DataError
from mezzotint.kernels import Layout, ops
from mezzotint.packed.sources import Source


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class PackedMatrix:
    """An (n, d) matrix in 8 or 4 bits per value.

    ``value(i, j) = row_scale_i * (offset_j + scale_j * code_ij)``; scales and offsets fold into the
    vectors a matrix is multiplied with, never into the codes. Rows are never sliced: row subsets
    (cross-validation, bootstrap) are 0/1 sample weights on the one packed copy.

    Attributes
    ----------
    codes : ndarray of uint8, shape (layout.n_bytes,)
        Unsigned codes; only kernels interpret their order.
    layout : Layout
        Shape, bits and position of the codes.
    offset, scale : ndarray of float64, shape (d,)
        The affine map of each column; scale is 0 for a constant column.
    noise : ndarray of float64, shape (d,)
        Mean squared rounding error of each column, estimated from a row sample.
    source : Source or None
        The float rows the codes were made from; needed for exact solutions.
    row_scale : None
        Reserved for data scaled by row; all rows have scale 1.
    n_draws : int
        Independent draws held per value; 1.
    """

    codes: NDArray[np.uint8]
    layout: Layout
    offset: NDArray[np.float64]
    scale: NDArray[np.float64]
    noise: NDArray[np.float64]
    source: Source | None = None
    dtype: np.dtype[Any] = field(default_factory=lambda: np.dtype(np.float32))
    row_scale: None = None
    n_draws: int = 1

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.layout.n_rows, self.layout.n_columns

    @property
    def bits(self) -> int:
        """Bits per code: 8 or 4."""
        return self.layout.bits

    @property
    def nbytes(self) -> int:
        """Bytes of codes, scales and offsets; the attached source is not counted."""
        return self.codes.nbytes + self.offset.nbytes + self.scale.nbytes + self.noise.nbytes

    def __len__(self) -> int:
        return self.layout.n_rows

    def __repr__(self) -> str:
        n, d = self.shape
        saving = 4 * n * d / self.nbytes
        attached = getattr(self.source, "note", "float source attached")
        source = attached if self.source is not None else "no float source"
        size = f"{_size(self.nbytes)}, {saving:.1f}x smaller than float32"
        return f"PackedMatrix({n} x {d}, {self.bits} bits, {size}, {source})"

    def unpack(
        self, start: int = 0, stop: int | None = None, *, dtype: DTypeLike | None = None
    ) -> NDArray[Any]:
        """Decode rows [start, stop) to floats.

        Parameters
        ----------
        start, stop : int
            Row range; the default is all rows.
        dtype : float32 or float64
            Default: the type of the source (float32 for narrow types).

        Returns
        -------
        ndarray of shape (stop - start, d)
            Each value is within half a step (``scale / 2``) of the original, unless that lay outside
            the column's range: then it is the range's end.
        """
        n, d = self.shape
        stop = n if stop is None else stop
        if not 0 <= start <= stop <= n:
            raise DataError(
                f"rows [{start}, {stop}) of a matrix with {n} rows; give 0 <= start <= stop <= {n}."
            )
        out = np.empty((stop - start, d), dtype=self.dtype if dtype is None else dtype)
        if out.dtype not in (np.float32, np.float64):
            raise DataError(f"dtype {out.dtype} was asked for; unpack gives float32 or float64.")
        ops().unpack_rows(
            self.codes, self.layout, self.offset, self.scale, start, stop - start, out, n_threads=1
        )
        return out


def _size(n_bytes: int) -> str:
    """Bytes for people: three digits and a decimal unit."""
    value, unit = float(n_bytes), "bytes"
    for larger in ("KB", "MB", "GB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.3g} {unit}"
