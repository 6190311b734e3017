"""What the textbook algorithms minimise: finite sums, linear models, and the synthetic set of the claims."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from mezzotint.errors import DataError, ParameterError
from mezzotint.random import uniforms

__all__ = ["FiniteSum", "LinearProblem", "normals", "synthetic_regression"]

Vector = NDArray[np.float64]


class FiniteSum(Protocol):
    """An objective F(w) = (1/N) sum_i f_i(w) whose components have gradients.

    Weights may have any shape; gradients have the same.
    """

    @property
    def n_components(self) -> int:
        """Number N of components."""

    def component_gradient(self, index: int, weights: Vector) -> Vector:
        """Gradient of one component f_i."""

    def gradient(self, weights: Vector) -> Vector:
        """Gradient of the mean F."""

    def objective(self, weights: Vector) -> float:
        """Value of the mean F."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearProblem:
    """The finite sum with f_i(w) = l(x_i.w, y_i), without regularisation or intercept.

    Parameters
    ----------
    features : ndarray of float64, shape (n, d)
        Rows x_i.
    targets : ndarray of float64, shape (n,)
        y_i; -1 or 1 for the logistic loss.
    loss : {"squared", "logistic"}, default "squared"
        l(m, y) = (m - y)**2 / 2 or log(1 + exp(-y m)).

    Raises
    ------
    DataError
        If shapes do not fit, a number is not finite, or logistic targets are not -1 or 1.
    ParameterError
        If the loss is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> problem = LinearProblem(features=np.eye(2), targets=np.array([1.0, 3.0]))
    >>> problem.gradient(np.zeros(2)).tolist()
    [-0.5, -1.5]
    """

    features: NDArray[np.float64]
    targets: NDArray[np.float64]
    loss: Literal["squared", "logistic"] = "squared"

    def __post_init__(self) -> None:
        if self.loss not in ("squared", "logistic"):
            raise ParameterError(f"loss came as {self.loss!r}; allowed are 'squared' and 'logistic'")
        if self.features.ndim != 2 or self.targets.shape != self.features.shape[:1] or not self.features.size:
            raise DataError(
                f"features of shape {self.features.shape} do not go with targets of shape "
                f"{self.targets.shape}; pass (n, d) and (n,) with n and d at least 1"
            )
        if not (np.isfinite(self.features).all() and np.isfinite(self.targets).all()):
            raise DataError("features or targets hold NaN or infinity; clean the data first")
        if self.loss == "logistic" and not np.isin(self.targets, (-1.0, 1.0)).all():
            raise DataError("targets of the logistic loss must be -1 or 1; map the two classes to these")

    @property
    def n_components(self) -> int:
        """Number of rows."""
        return len(self.features)

    def slope(self, index: int, margin: float) -> float:
        """Return l'(margin, y_i), the derivative of the pointwise loss of row ``index``."""
        target = float(self.targets[index])
        if self.loss == "squared":
            return margin - target
        return -0.5 * target * (1.0 - math.tanh(0.5 * target * margin))

    def slopes(self, margins: Vector) -> Vector:
        """Return l'(margins, y) for all rows at once."""
        if self.loss == "squared":
            return margins - self.targets
        return -0.5 * self.targets * (1.0 - np.tanh(0.5 * self.targets * margins))

    def component_gradient(self, index: int, weights: Vector) -> Vector:
        """Gradient of one component: l'(x_i.w, y_i) x_i."""
        row: Vector = self.features[index]
        return self.slope(index, float(row @ weights)) * row

    def gradient(self, weights: Vector) -> Vector:
        """Gradient of the mean: X^T l'(X w, y) / n."""
        mean: Vector = self.features.T @ self.slopes(self.features @ weights) / self.n_components
        return mean

    def objective(self, weights: Vector) -> float:
        """Mean loss."""
        margins = self.features @ weights
        if self.loss == "squared":
            return float(np.mean((margins - self.targets) ** 2)) / 2
        return float(np.mean(np.logaddexp(0.0, -self.targets * margins)))


def synthetic_regression(
    seed: int, *, n_rows: int = 1000, n_features: int = 100, noise: float = 0.1
) -> LinearProblem:
    """Make the least-squares problem of the claims: normal data, uniform weights, label noise.

    Without label noise every component would have the same minimiser, and plain SGD would also converge
    linearly: the noise is what variance reduction is needed for.

    Parameters
    ----------
    seed : int
        Key of the random bits.
    n_rows, n_features : int
        Shape of the data; 1000 x 100 in the claims.
    noise : float, default 0.1
        Standard deviation of the label noise.

    Returns
    -------
    LinearProblem
        x ~ N(0, 1), w* ~ U[-1, 1], y = x.w* + noise * N(0, 1).

    Examples
    --------
    >>> synthetic_regression(1).features.shape
    (1000, 100)
    """
    features = normals(seed, n_rows * n_features, stream=Stream.FEATURES).reshape(n_rows, n_features)
    true_weights = 2.0 * uniforms(seed, 0, n_features, stream=Stream.WEIGHTS) - 1.0
    targets = features @ true_weights + noise * normals(seed, n_rows, stream=Stream.NOISE)
    return LinearProblem(features=features, targets=targets)


class Stream(IntEnum):
    """Fourth counter word: what the bits of the textbook are for."""

    ROWS = 0
    ROUNDING = 1
    PICK = 2
    STEP = 3
    CONSTANT = 4
    FEATURES = 16
    WEIGHTS = 17
    NOISE = 18


def normals(seed: int, count: int, *, stream: int) -> Vector:
    """Draw standard normal numbers by the Box-Muller transform of 32-bit uniforms.

    Parameters
    ----------
    seed : int
        Key of the random bits.
    count : int
        How many.
    stream : int
        What they are for.

    Returns
    -------
    ndarray of float64, shape (count,)
        Within 6.8 standard deviations, the farthest that 32 bits reach.

    Examples
    --------
    >>> bool(abs(normals(0, 10_000, stream=0).std() - 1) < 0.02)
    True
    """
    pairs = uniforms(seed, 0, 2 * count, stream=stream)
    radius = np.sqrt(-2.0 * np.log(pairs[0::2] + 2.0**-33))  # never the logarithm of zero
    return radius * np.cos(2.0 * np.pi * pairs[1::2])
