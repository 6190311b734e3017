"""What an epoch of stochastic gradient descent is given and gives back; see kernels.reference.zipml."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mezzotint.kernels.epochs import Minibatches

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
class DescentSchedule(Minibatches):
    """Which rows each step sees, how far it goes, and in how many bits it is computed.

    Attributes
    ----------
    rates : ndarray of float64, shape (n_passes,)
        Rate of every pass.
    model_bits : {16, 8}
        Bits of the weights that rows are multiplied with, stochastically rounded anew in every step.
    gradient_bits : {0, 4, 8, 16}
        Bits of the gradient, stochastically rounded; 0 leaves it as it is.
    """

    rates: Float64
    model_bits: int = 16
    gradient_bits: int = 0


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
