"""What an epoch of stochastic gradient descent is given and gives back; see kernels.reference.zipml."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mezzotint.kernels.epochs import slabs_of_step

Float64 = NDArray[np.float64]

MODEL_BITS = (8, 16)
GRADIENT_BITS = (4, 8, 16)


@dataclass(frozen=True, kw_only=True, eq=False)
class DescentModel:
    """The columns' side of an objective, and where its minimiser may lie.

    Attributes
    ----------
    scale : ndarray of float64, shape (d,)
        Value of one code; of float rows 1.
    centre : ndarray of float64, shape (d,)
        Value of the middle code; of float rows 0.
    step : ndarray of float64, shape (d + 1,)
        Factor of the rate for each column, >= 0; the last belongs to the intercept.
    low, high : ndarray of float64, shape (d,)
        Box that the weights stay in; may be infinite.
    l2, l1 : float
        Penalties lam/2 |w|^2 (by its gradient) and lam |w|_1 (by its proximal step).
    corrects : bool
        Codes are sums of two draws and the loss is the squared one: the gradient's bias is taken out.
    """

    scale: Float64
    centre: Float64
    step: Float64
    low: Float64
    high: Float64
    l2: float = 0.0
    l1: float = 0.0
    corrects: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class DescentSchedule:
    """Which rows each step sees, how far it goes, and in how many bits it is computed.

    Attributes
    ----------
    order : ndarray of int64, shape (n_passes, n_tiles)
        For each pass an order of the tiles of 16 rows.
    n_batches : int
        Steps per pass; step b of a pass takes tiles ``b n_tiles // n_batches`` up to the next one's.
    rates : ndarray of float64, shape (n_passes,)
        Rate of every pass.
    batch_weight : float
        Factor of a batch's sum: n_batches over the sum of the sample weights.
    tail : int
        How many of the last steps are averaged.
    model_bits : {16, 8}
        Bits of the weights that rows are multiplied with, stochastically rounded anew in every step.
    gradient_bits : {0, 4, 8, 16}
        Bits of the gradient, stochastically rounded; 0 leaves it as it is.
    seed : int
        Of the random bits of rounding.
    first_step : int
        Number of the first step in the stream of random bits.
    """

    order: NDArray[np.int64]
    n_batches: int
    rates: Float64
    batch_weight: float
    tail: int = 1
    model_bits: int = 16
    gradient_bits: int = 0
    seed: int = 0
    first_step: int = 0

    @property
    def n_steps(self) -> int:
        """Steps of the whole epoch."""
        return len(self.order) * self.n_batches

    def rows_of(self, step: int, n_rows: int) -> list[NDArray[np.int64]]:
        """Rows of a step as slabs, that is tiles in groups of four."""
        return slabs_of_step(self.order, self.n_batches, step, n_rows)


@dataclass(frozen=True, kw_only=True, eq=False)
class DescentResult:
    """Where the descent went.

    Attributes
    ----------
    coef : ndarray of float64, shape (K, d + 1)
        After the last step; the intercept last.
    average : ndarray of float64, shape (K, d + 1)
        Mean over the tail.
    losses : ndarray of float64, shape (n_passes,)
        Weighted sum of the losses that the steps of each pass met, before they moved.
    finite : bool
        False if the steps diverged; the other fields are then unspecified.
    """

    coef: Float64
    average: Float64
    losses: Float64
    finite: bool
