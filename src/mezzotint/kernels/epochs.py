"""What an inner epoch is given and gives back; see mezzotint.kernels.reference.halp for the arithmetic."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mezzotint.kernels.layout import ROW_GROUP

SLAB_TILES = 4  # tiles that share one scale of their row coefficients


@dataclass(frozen=True, kw_only=True, eq=False)
class EpochRows:
    """The rows' side of an objective at the centre.

    Attributes
    ----------
    loss : str
        A loss of `mezzotint.kernels.reference.losses`.
    phi : ndarray of float64, shape (K, n)
        Margins at the centre.
    y : ndarray of float64, shape (1, n), (K, n) or (2 K, n)
        Labels or class indices, targets, ends of intervals.
    weights : ndarray of float64, shape (n,), or None
        Sample weights.
    """

    loss: str
    phi: NDArray[np.float64]
    y: NDArray[np.float64]
    weights: NDArray[np.float64] | None


@dataclass(frozen=True, kw_only=True, eq=False)
class EpochModel:
    """The columns' side: which way is down at the centre, and how far a step goes.

    Attributes
    ----------
    shift : ndarray of float64, shape (d,)
        Subtracted from every value of a column, so that the columns are centred.
    gradient : ndarray of float64, shape (K, d + 1)
        Exact gradient in the offset's coordinates; the last column belongs to the constant.
    penalty : ndarray of float64, shape (d,)
        Curvature of the penalty in the offset's coordinates.
    step : ndarray of float64, shape (d + 1,)
        Step of each coordinate; 0 keeps a coordinate where it is.
    """

    shift: NDArray[np.float64]
    gradient: NDArray[np.float64]
    penalty: NDArray[np.float64]
    step: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Minibatches:
    """Which rows each step sees.

    Attributes
    ----------
    order : ndarray of int64, shape (n_passes, n_tiles)
        For each pass an order of the tiles of 16 rows.
    n_batches : int
        Steps per pass; step b of a pass takes tiles ``b n_tiles // n_batches`` up to the next one's.
    batch_weight : float
        Factor of a batch's sum: n_batches over the sum of the sample weights.
    tail : int
        How many of the last steps are averaged.
    seed : int
        Of the random bits of rounding.
    first_step : int
        Number of the first step in the stream of random bits.
    """

    order: NDArray[np.int64]
    n_batches: int
    batch_weight: float
    tail: int = 1
    seed: int = 0
    first_step: int = 0

    @property
    def n_steps(self) -> int:
        """Steps of the whole epoch."""
        return len(self.order) * self.n_batches

    def rows_of(self, step: int, n_rows: int) -> list[NDArray[np.int64]]:
        """Rows of a step as slabs, that is tiles in groups of four."""
        tiles, batch = self.order[step // self.n_batches], step % self.n_batches
        first, last = (len(tiles) * b // self.n_batches for b in (batch, batch + 1))
        slabs = [tiles[i : min(i + SLAB_TILES, last)] for i in range(first, last, SLAB_TILES)]
        rows = [(slab[:, None] * ROW_GROUP + np.arange(ROW_GROUP)).reshape(-1) for slab in slabs]
        return [r[r < n_rows] for r in rows]


@dataclass(frozen=True, kw_only=True, eq=False)
class EpochSchedule(Minibatches):
    """Which rows each step of HALP sees, and how the steps are strung together.

    Attributes
    ----------
    momentum : float
        In [0, 1).
    """

    momentum: float


@dataclass(frozen=True, kw_only=True, eq=False)
class EpochResult:
    """Where an epoch went.

    Attributes
    ----------
    average : ndarray of float64, shape (K, d + 1)
        Mean offset over the tail; the last column is the constant.
    doublings : int
        How often an offset saturated, so that its grid was doubled.
    finite : bool
        False if the steps diverged; `average` is then unspecified.
    """

    average: NDArray[np.float64]
    doublings: int
    finite: bool
