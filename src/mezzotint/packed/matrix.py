"""PackedMatrix: samples as low-bit codes in a tile layout, with a scale per column."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mezzotint.errors import DataError
from mezzotint.kernels import Layout, ops
from mezzotint.packed.sources import Source

SHARD_BYTES = 2**30  # about the largest file of a store


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The store that a PackedMatrix was opened from.

    Attributes
    ----------
    path : Path
        Folder of the store.
    stored_bits : int
        Bits per value in the store.
    bits : int
        How many of these the codes were made from.
    bytes_read : int
        Bytes of codes read to open it: 0 where the codes are mapped.
    rows : tuple of int
        First row of the store that was opened, and the row after the last.
    n_shards : int
        Files of codes that the store has.
    """

    path: Path
    stored_bits: int
    bits: int
    bytes_read: int
    rows: tuple[int, int]
    n_shards: int


class HeldCodes:
    """Codes in memory; those of a store are `StoredCodes`, which verify what they hand out.

    Parameters
    ----------
    array : ndarray of uint8
        Whoever uses codes gets them from `read`, so that there is one place to verify them.
    """

    def __init__(self, array: NDArray[np.uint8]) -> None:
        self._array = array

    @property
    def nbytes(self) -> int:
        """Bytes of all codes."""
        return self._array.nbytes

    def read(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Return all codes, of which rows [start, stop) may be used."""
        return self._array


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class PackedMatrix:
    """An (n, d) matrix in 8 or 4 bits per value, or in two random draws with 2 to 5 or 8 bits.

    ``value(i, j) = row_scale_i * (offset_j + scale_j * code_ij)``; scales and offsets fold into the
    vectors a matrix is multiplied with, never into the codes. With two draws a code is the sum of their
    levels, a value the mean of the draws, and an odd code says that the draws differ, by
    ``2 scale_j``. If the layout has a table of levels, ``code_values[code]`` takes the place of the code.
    Rows are never sliced: row subsets (cross-validation, bootstrap) are 0/1 sample weights on the one packed
    copy.

    Attributes
    ----------
    held : HeldCodes
        Keeps the codes, and hands them out.
    layout : Layout
        Shape, bits and position of the codes.
    offset, scale : ndarray of float64, shape (d,)
        The affine map of each column; scale is 0 for a constant column.
    noise : ndarray of float64, shape (d,)
        Mean squared rounding error of each column (of the mean of its draws), estimated from a row sample.
    source : Source or None
        The float rows the codes were made from; needed for exact solutions.
    row_scale : None
        Reserved for data scaled by row; all rows have scale 1.
    origin : Origin or None
        The store it was opened from. Without a source, what is trained on it is the optimum of the
        quantised values.
    """

    held: HeldCodes
    layout: Layout
    offset: NDArray[np.float64]
    scale: NDArray[np.float64]
    noise: NDArray[np.float64]
    source: Source | None = None
    dtype: np.dtype[Any] = field(default_factory=lambda: np.dtype(np.float32))
    row_scale: None = None
    origin: Origin | None = None

    @property
    def codes(self) -> NDArray[np.uint8]:
        """Unsigned codes, ``layout.n_bytes`` of them; only kernels interpret their order.

        Of an opened store all blocks are verified before it returns, each once; StoreError if one is damaged.
        """
        return self.held.read(0, self.layout.n_rows)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.layout.n_rows, self.layout.n_columns

    @property
    def bits(self) -> int:
        """Stored bits per value: 8 or 4, with two draws 2, 3, 4, 5 or 8."""
        return self.layout.bits

    @property
    def n_draws(self) -> int:
        """Independent draws held per value: 1 or 2."""
        return self.layout.n_draws

    @property
    def level_bits(self) -> int:
        """Bits of one draw: its levels are 0 to ``2**level_bits - 1``, ``n_draws * scale`` apart."""
        return self.layout.level_bits

    @property
    def levels(self) -> tuple[int, ...] | None:
        """Levels of one draw, ``n_draws * scale`` times which is added to the offset; None: evenly spaced."""
        return self.layout.levels

    @property
    def nbytes(self) -> int:
        """Bytes of codes, scales and offsets; the attached source is not counted."""
        return self.held.nbytes + self.offset.nbytes + self.scale.nbytes + self.noise.nbytes

    def __len__(self) -> int:
        return self.layout.n_rows

    def __repr__(self) -> str:
        n, d = self.shape
        saving = 4 * n * d / self.nbytes
        attached = getattr(self.source, "note", "float source attached")
        source = attached if self.source is not None else "no float source"
        size = f"{_size(self.nbytes)}, {saving:.1f}x smaller than float32"
        draws = f": {self.n_draws} draws of {self.level_bits}" if self.n_draws > 1 else ""
        levels = "" if self.levels is None else ", optimal levels"
        return f"PackedMatrix({n} x {d}, {self.bits} bits{draws}{levels}, {size}, {source})"

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
            the column's range: then it is the range's end. The mean of two draws is within a step between
            levels (``2 scale``).
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
        codes = self.held.read(start, stop)
        ops().unpack_rows(codes, self.layout, self.offset, self.scale, start, stop - start, out, n_threads=1)
        return out

    def save(self, path: str | Path, *, shard_bytes: int = SHARD_BYTES) -> None:
        """Write the codes as a store, which `mezzotint.open` maps without reading it.

        The source is not saved. A store that is there is replaced when the new one is complete.

        Parameters
        ----------
        path : str or Path
            Folder to write.
        shard_bytes : int
            Largest size of a file, about.

        Raises
        ------
        ParameterError
            If `shard_bytes` is not positive, or the matrix has scales per row.
        StoreError
            If `path` cannot be written, is no store, or another process is writing there.

        Examples
        --------
        >>> import numpy as np, mezzotint as mz, tempfile
        >>> packed = mz.pack(np.linspace(-1, 1, 2000, dtype=np.float32).reshape(500, 4))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     packed.save(folder + "/rows.mzt")
        ...     bool((mz.open(folder + "/rows.mzt").codes == packed.codes).all())
        True
        """
        from mezzotint.packed.store_pack import save

        save(self, path, shard_bytes)


def _size(n_bytes: int) -> str:
    """Bytes for people: three digits and a decimal unit."""
    value, unit = float(n_bytes), "bytes"
    for larger in ("KB", "MB", "GB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.3g} {unit}"
