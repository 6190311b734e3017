"""The values that codes stand for, as a source of float rows: what is left where the floats are gone."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mezzotint.packed.matrix import PackedMatrix
from mezzotint.packed.sources import FloatArray

_CHUNK_VALUES = 2**22  # decoded at a time


class DecodedSource:
    """Rows of a PackedMatrix, decoded when they are asked for.

    Parameters
    ----------
    packed : PackedMatrix
        Its own source is not read.
    """

    is_decoded = True

    def __init__(self, packed: PackedMatrix) -> None:
        self._packed = packed

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self._packed.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """float64: the affine map of a code is not exact in float32."""
        return np.dtype(np.float64)

    @property
    def whole(self) -> FloatArray | None:
        """None: the rows are never decoded all at once."""
        return None

    def block(self, start: int, stop: int) -> FloatArray:
        """Decode rows [start, stop)."""
        return self._packed.unpack(start, stop, dtype=self.dtype)

    def rows(self, index: NDArray[np.int64]) -> FloatArray:
        """Decode the rows of an increasing index."""
        out = np.empty((len(index), self.shape[1]))
        step = max(1, _CHUNK_VALUES // self.shape[1])
        for start in range(0, self.shape[0], step):
            stop = min(start + step, self.shape[0])
            first, last = np.searchsorted(index, (start, stop))
            if last > first:
                out[first:last] = self.block(start, stop)[index[first:last] - start]
        return out
