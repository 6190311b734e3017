"""ZipML's training from quantised samples as published: the reference for the fast solver and the figures.

Proximal minibatch SGD for least squares (and with labels -1 and 1 the least-squares SVM)::

    x <- prox( x - (alpha / e) Qg( g( Qm(x), draws of the rows ) ) ),    e the number of the epoch, from 1

Three flows move numbers: samples to where gradients are made, the model to the same place, gradients back to
where the model is updated. Each can be quantised; the update and the master copy stay in full precision.

The samples are drawn once, as a file of them would be, or in several copies that the epochs take in turn (the
authors' FPGA stores such copies). The gradient is unbiased over the draws, but one stored copy is one
outcome: with it the run approaches the minimiser of that copy's own objective, which lies off by quantisation
noise divided by the square root of the number of rows.

References
----------
H. Zhang et al., "ZipML", arXiv:1611.05402v3, equations 1 to 3, page 10 (protocol) and appendices B and C.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mezzotint.errors import DataError, ParameterError
from mezzotint.formats.quantiser import ScaledCodes, intervals_of_bits
from mezzotint.linear.textbook_problem import LinearProblem, Vector
from mezzotint.linear.textbook_run import check_positive
from mezzotint.linear.textbook_zipml_gradients import (
    Estimator,
    double_gradient,
    naive_gradient,
    round_vector,
    symmetrised_gradient,
    variance_reduced_gradient,
)
from mezzotint.linear.textbook_zipml_samples import (
    ColumnLevels,
    DrawnSamples,
    optimal_columns,
    uniform_columns,
)
from mezzotint.random import permutation, random_bits

__all__ = [
    "ColumnLevels",
    "DrawnSamples",
    "Flows",
    "Penalty",
    "ZipmlResult",
    "optimal_columns",
    "uniform_columns",
    "zipml_sgd",
]

_FLOAT_BYTES = 4  # unquantised numbers are counted as the float32 that a full-precision run would move
_DIVERGED = 1e100

_GRADIENTS: dict[str, Callable[..., Vector]] = {
    "naive": naive_gradient,
    "double": double_gradient,
    "symmetrised": symmetrised_gradient,
    "variance-reduced": variance_reduced_gradient,
}


class _Stream(IntEnum):
    """Fourth counter word: what the bits of a run are for."""

    ORDER = 32
    TIES = 33
    MODEL = 34
    GRADIENT = 35


@dataclass(frozen=True, slots=True, kw_only=True)
class Penalty:
    """The non-smooth part of the objective: l1 |x|_1 + (l2 / 2) |x|**2, and a box.

    Examples
    --------
    >>> Penalty(l1=1.0, upper=2.0).prox(np.array([-2.0, 1.5, 9.0]), 1.0).tolist()
    [-1.0, 0.5, 2.0]
    """

    l1: float = 0.0
    l2: float = 0.0
    lower: float = -np.inf
    upper: float = np.inf

    def __post_init__(self) -> None:
        if not (0 <= self.l1 < np.inf and 0 <= self.l2 < np.inf and self.lower <= self.upper):
            raise ParameterError(f"{self} came; l1 and l2 must be finite and >= 0, and lower <= upper")

    def value(self, weights: Vector) -> float:
        """Return the penalty of weights inside the box."""
        return self.l1 * float(np.abs(weights).sum()) + 0.5 * self.l2 * float(np.sum(weights * weights))

    def prox(self, weights: Vector, step: float) -> Vector:
        """Return the proximal point: shrink by step * l1, divide by 1 + step * l2, clip to the box."""
        shrunk = np.sign(weights) * np.maximum(np.abs(weights) - step * self.l1, 0.0)
        point: Vector = np.clip(shrunk / (1.0 + step * self.l2), self.lower, self.upper)
        return point


class Flows(NamedTuple):
    """Bytes that one epoch moves; what is not quantised counts as float32, targets are not counted.

    Examples
    --------
    >>> Flows(samples=100, model=20, gradient=20).total
    140
    """

    samples: int
    """From the store of samples to where gradients are made."""
    model: int
    """From the store of the model to where gradients are made, once per minibatch."""
    gradient: int
    """From there to where the model is updated, once per minibatch."""

    @property
    def total(self) -> int:
        """Bytes of all three flows."""
        return sum(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ZipmlResult:
    """Record of a run.

    Examples
    --------
    >>> result = zipml_sgd(
    ...     LinearProblem(features=np.eye(2), targets=np.ones(2)), np.zeros(2), step=1.0, epochs=3
    ... )
    >>> result.status, result.objectives.shape
    ('finished', (4,))
    """

    weights: Vector
    """Weights after the last epoch."""
    status: str
    """"finished" or "diverged"."""
    objectives: Vector
    """Full-precision objective (penalty included) at the start and after each epoch run."""
    flows: Flows
    """Bytes moved per epoch."""


def zipml_sgd(
    problem: LinearProblem,
    start: Vector,
    samples: Sequence[DrawnSamples] = (),
    *,
    estimator: Estimator = "variance-reduced",
    step: float,
    epochs: int = 100,
    batch_size: int = 16,
    model_bits: int | None = None,
    gradient_bits: int | None = None,
    penalty: Penalty | None = None,
    seed: int = 0,
) -> ZipmlResult:
    """Run proximal minibatch SGD with step alpha / epoch on quantised samples, model and gradient.

    Parameters
    ----------
    problem : LinearProblem
        Squared loss. Its floats serve the record, and the gradients where no samples are given.
    start : ndarray of float64, shape (d,)
        First weights.
    samples : sequence of DrawnSamples, default ()
        Copies of the draws, taken in turn by the epochs; none means the float rows themselves.
    estimator : {"variance-reduced", "symmetrised", "double", "naive"}, default "variance-reduced"
        How a gradient is made from draws. "naive" takes their mean for the truth: with one draw the paper's
        naive stochastic rounding, with nearest rounding its deterministic one.
    step : float
        Alpha, positive.
    epochs : int, default 100
        Passes over the rows, each in a new random order.
    batch_size : int, default 16
        Rows per update.
    model_bits, gradient_bits : int, optional
        Widths of the row-scaled quantisers of the model and of a minibatch's gradient; None: not quantised.
    penalty : Penalty, optional
        L1, L2 and box, applied as a proximal step; none by default.
    seed : int, default 0
        Key of the row order, of the ties of double sampling and of the rounding of model and gradient.

    Returns
    -------
    ZipmlResult
        Record of the run.

    Raises
    ------
    ParameterError
        If the loss is not squared, or a parameter is outside its set.
    DataError
        If the samples have another shape than the features.

    Examples
    --------
    >>> from mezzotint.linear.textbook import synthetic_regression
    >>> problem = synthetic_regression(0, n_rows=500, n_features=4)
    >>> levels = uniform_columns(problem.features, bits=4)
    >>> samples = [DrawnSamples.draw(problem.features, levels, n_draws=2, seed=copy) for copy in range(2)]
    >>> full = zipml_sgd(problem, np.zeros(4), step=0.5, epochs=20)
    >>> low = zipml_sgd(problem, np.zeros(4), samples, step=0.5, epochs=20, model_bits=8, gradient_bits=8)
    >>> bool(low.objectives[-1] < 2 * full.objectives[-1]), full.flows.samples, low.flows.samples
    (True, 8000, 1250)
    """
    check_positive("step", step)
    run = _Run(problem, tuple(samples), estimator, batch_size, model_bits, gradient_bits, seed)
    penalty = penalty or Penalty()
    weights = np.array(start, np.float64)
    objectives = [problem.objective(weights) + penalty.value(weights)]
    status = "finished"
    with np.errstate(over="ignore", invalid="ignore"):
        for epoch in range(epochs):
            weights = run.epoch(weights, epoch, step / (epoch + 1), penalty)
            objectives.append(problem.objective(weights) + penalty.value(weights))
            if not _is_sound(weights):
                status = "diverged"
                break
    return ZipmlResult(weights=weights, status=status, objectives=np.array(objectives), flows=run.flows)


@dataclass(slots=True)
class _Run:
    """What stays the same over the epochs of a run."""

    problem: LinearProblem
    copies: tuple[DrawnSamples, ...]
    estimator: Estimator
    batch_size: int
    model_bits: int | None
    gradient_bits: int | None
    seed: int
    _decoded: tuple[int, tuple[Vector, ...]] = field(default=(-1, ()))

    def __post_init__(self) -> None:
        if self.problem.loss != "squared":
            raise ParameterError(
                f"the problem has the loss {self.problem.loss!r}; double sampling needs 'squared', "
                "with labels -1 and 1 it is the least-squares SVM"
            )
        if self.estimator not in _GRADIENTS:
            raise ParameterError(f"estimator came as {self.estimator!r}; allowed are {sorted(_GRADIENTS)}")
        shape = self.problem.features.shape
        if any(samples.sums.shape != shape for samples in self.copies):
            raise DataError(
                f"the samples have another shape than the features, {shape}; draw them from these"
            )
        if self.batch_size < 1:
            raise ParameterError(f"batch_size came as {self.batch_size!r}; give an integer of at least 1")

    @property
    def flows(self) -> Flows:
        """Bytes of one epoch."""
        rows, columns = self.problem.features.shape
        bits = self.copies[0].stored_bits if self.copies else 8 * _FLOAT_BYTES
        updates = -(-rows // self.batch_size)
        model, gradient = (updates * _moved(columns, b) for b in (self.model_bits, self.gradient_bits))
        return Flows(-(-rows * columns * bits // 8), model, gradient)

    def epoch(self, weights: Vector, epoch: int, step: float, penalty: Penalty) -> Vector:
        """Visit every row once."""
        order = permutation(self.seed, self.problem.n_components, step=epoch, stream=_Stream.ORDER)
        batches = [order[first : first + self.batch_size] for first in range(0, len(order), self.batch_size)]
        gradient, arrays = self._estimates(epoch)
        shape = (len(batches), len(weights))
        model_words = self._words(self.model_bits, shape, epoch, _Stream.MODEL)
        gradient_words = self._words(self.gradient_bits, shape, epoch, _Stream.GRADIENT)
        for rows, r3, r4 in zip(batches, model_words, gradient_words, strict=True):
            x = round_vector(weights, self.model_bits, r3)
            g = gradient(*(array[rows] for array in arrays), self.problem.targets[rows], x)
            weights = penalty.prox(weights - step * round_vector(g, self.gradient_bits, r4), step)
            if not _is_sound(weights):
                break
        return weights

    def _estimates(self, epoch: int) -> tuple[Callable[..., Vector], tuple[Vector, ...]]:
        """Return the estimator of an epoch and the arrays whose rows it takes."""
        if not self.copies:
            return naive_gradient, (self.problem.features,)
        gradient, copy = _GRADIENTS[self.estimator], epoch % len(self.copies)
        samples = self.copies[copy]
        if self.estimator in ("double", "symmetrised"):
            return gradient, samples.pair(self._ties(samples.sums.shape, epoch))
        if self._decoded[0] != copy:
            means = (samples.mean,)
            decoded = means if self.estimator == "naive" else (*means, samples.mean_variance)
            self._decoded = (copy, decoded)
        return gradient, self._decoded[1]

    def _ties(self, shape: tuple[int, ...], epoch: int) -> NDArray[np.uint8]:
        """One fair bit per value, new in every epoch."""
        count = int(np.prod(shape))
        words = random_bits(self.seed, 0, -(-count // 32), step=epoch, stream=_Stream.TIES)
        return np.unpackbits(words.view(np.uint8), count=count).reshape(shape)

    def _words(
        self, bits: int | None, shape: tuple[int, int], epoch: int, stream: _Stream
    ) -> Sequence[NDArray[np.uint32] | None] | NDArray[np.uint32]:
        """One word per coordinate of every vector that an epoch rounds; none where nothing is rounded."""
        if bits is None:
            return [None] * shape[0]
        return random_bits(self.seed, 0, shape[0] * shape[1], step=epoch, stream=stream).reshape(shape)


def _moved(columns: int, bits: int | None) -> int:
    """Bytes of one vector of a model or gradient."""
    if bits is None:
        return _FLOAT_BYTES * columns
    return ScaledCodes(np.zeros(columns, np.int32), np.zeros(1), intervals_of_bits(bits)).n_bytes


def _is_sound(weights: Vector) -> bool:
    """Whether weights are finite with room for the squares of the next step."""
    return float(np.abs(weights).max()) < _DIVERGED
