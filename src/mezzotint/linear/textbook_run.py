"""One run of a textbook algorithm: draws of its epochs, rounding of its iterates, the record it leaves."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mezzotint.errors import ParameterError
from mezzotint.formats import FixedPoint, Rounding
from mezzotint.linear.textbook_problem import FiniteSum, Stream, Vector
from mezzotint.random import integers, random_bits, to_uniform

__all__ = ["EpochDraws", "EpochOutcome", "TextbookResult", "draw_epochs", "run"]

# HALP with 8 and 16 bits still follows SVRG where one coordinate in 4000 is clipped, and has slowed badly
# where one in 120 is (benchmarks/results/textbook_claims.jsonl).
_TOLERATED_SATURATION = 0.005

Option = Literal["I", "II"]


class EpochDraws(NamedTuple):
    """Everything random that one epoch uses. The algorithms draw nothing themselves.

    Examples
    --------
    >>> import numpy as np
    >>> EpochDraws(indices=np.array([0, 1, 0])).pick
    0
    """

    indices: NDArray[np.int64]
    """Component of each step, shape (T,)."""
    bits: NDArray[np.uint32] | None = None
    """Words that round the iterate after each step, shape (T, *weights)."""
    pick: int = 0
    """Option II: which iterate, 0 <= pick < T, becomes the next centre."""
    step_bits: NDArray[np.uint32] | None = None
    """LM-HALP: words that round the scalar step of each step, shape (T,)."""
    constant_bits: NDArray[np.uint32] | None = None
    """LM-HALP: words that round the constant part of the step once per epoch, shape (d,)."""


def draw_epochs(
    seed: int, problem: FiniteSum, *, n_features: int, steps: int, epochs: int
) -> Iterator[EpochDraws]:
    """Draw the rows and rounding bits of each epoch from the counter-based generator.

    Parameters
    ----------
    seed : int
        Key, 0 <= seed < 2**64.
    problem : FiniteSum
        Tells the number of components.
    n_features : int
        Length d of the weights.
    steps : int
        Inner steps T per epoch.
    epochs : int
        Number of epochs.

    Yields
    ------
    EpochDraws
        A function of (seed, number of the epoch) and the sizes only.

    Examples
    --------
    >>> from mezzotint.linear.textbook_problem import synthetic_regression
    >>> problem = synthetic_regression(0, n_rows=10, n_features=3)
    >>> [epoch.indices.shape for epoch in draw_epochs(0, problem, n_features=3, steps=5, epochs=2)]
    [(5,), (5,)]
    """
    for epoch in range(epochs):
        words = random_bits(seed, 0, steps * n_features, step=epoch, stream=Stream.ROUNDING)
        yield EpochDraws(
            indices=integers(seed, problem.n_components, steps, step=epoch, stream=Stream.ROWS),
            bits=words.reshape(steps, n_features),
            pick=int(integers(seed, steps, 1, step=epoch, stream=Stream.PICK)[0]),
            step_bits=random_bits(seed, 0, steps, step=epoch, stream=Stream.STEP),
            constant_bits=random_bits(seed, 0, n_features, step=epoch, stream=Stream.CONSTANT),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TextbookResult:
    """Record of a run of K epochs.

    Examples
    --------
    >>> from mezzotint.linear.textbook import svrg, synthetic_regression
    >>> problem = synthetic_regression(0, n_rows=50, n_features=3)
    >>> draws = draw_epochs(0, problem, n_features=3, steps=100, epochs=4)
    >>> result = svrg(problem, np.zeros(3), draws, step=0.05)
    >>> result.status, result.gradient_norms.shape
    ('finished', (5,))
    """

    weights: Vector
    """Centre after the last epoch."""
    status: str
    """"finished", "stationary" (the gradient became zero) or "diverged"."""
    gradient_norms: Vector
    """Euclidean norm of the full gradient at the start and after each epoch, shape (K + 1,)."""
    objectives: Vector
    """Objective at the same points, shape (K + 1,)."""
    scales: Vector
    """Quantum of the grid in each epoch, shape (K,); NaN where nothing was rounded."""
    saturated: NDArray[np.int64]
    """Coordinates that were clipped to the range of the grid in each epoch, shape (K,)."""
    rounded: NDArray[np.int64]
    """Coordinates that were rounded in each epoch, shape (K,)."""
    step_saturated: NDArray[np.int64]
    """LM-HALP: scalar steps that were clipped in each epoch, shape (K,); else 0."""
    constant_saturated: NDArray[np.int64]
    """LM-HALP: coordinates of the constant part that were clipped in each epoch, shape (K,); else 0."""
    codes: NDArray[np.int64] | None
    """Integer codes of the last epoch's last iterate (HALP: of its offset)."""

    @property
    def saturation_fraction(self) -> float:
        """Share of all roundings that were clipped, 0 to 1."""
        return float(self.saturated.sum() / max(1, self.rounded.sum()))


class EpochOutcome(NamedTuple):
    """What one epoch hands back to the record.

    Examples
    --------
    >>> EpochOutcome(np.zeros(2)).saturated
    0
    """

    weights: Vector
    scale: float = math.nan
    codes: NDArray[np.int64] | None = None
    saturated: int = 0
    rounded: int = 0
    step_saturated: int = 0
    constant_saturated: int = 0


@dataclass(slots=True)
class Record:
    """A result in the making: measures each centre and says when to stop.

    Examples
    --------
    >>> from mezzotint.linear.textbook_problem import synthetic_regression
    >>> record = Record(synthetic_regression(0, n_rows=10, n_features=3))
    >>> record.measure(np.zeros(3)).shape, record.status
    ((3,), 'finished')
    """

    problem: FiniteSum
    status: str = "finished"
    norms: list[float] = field(default_factory=list)
    objectives: list[float] = field(default_factory=list)
    outcomes: list[EpochOutcome] = field(default_factory=list)

    def measure(self, weights: Vector) -> Vector:
        """Return the full gradient at a centre and note its norm, the objective and the status."""
        gradient = self.problem.gradient(weights)
        norm = float(np.linalg.norm(gradient))
        self.norms.append(norm)
        self.objectives.append(self.problem.objective(weights))
        if norm == 0.0:
            self.status = "stationary"
        elif not norm <= 1e6 * self.norms[0]:  # also where the norm is NaN
            self.status = "diverged"
        return gradient

    def result(self, weights: Vector) -> TextbookResult:
        """Close the record."""
        counts = np.array([outcome[3:] for outcome in self.outcomes], np.int64).reshape(-1, 4).T
        return TextbookResult(
            weights=weights,
            status=self.status,
            gradient_norms=np.array(self.norms),
            objectives=np.array(self.objectives),
            scales=np.array([outcome.scale for outcome in self.outcomes]),
            saturated=counts[0],
            rounded=counts[1],
            step_saturated=counts[2],
            constant_saturated=counts[3],
            codes=self.outcomes[-1].codes if self.outcomes else None,
        )


Advance = Callable[[Vector, Vector, EpochDraws, int], EpochOutcome]


def run(
    problem: FiniteSum,
    start: Vector,
    draws: Iterable[EpochDraws],
    advance: Advance,
    *,
    step: float,
    option: Option = "I",
) -> TextbookResult:
    """Measure, advance by one epoch, repeat: the outer loop that every textbook algorithm shares.

    Parameters
    ----------
    problem, start, draws, step, option
        As for `svrg`.
    advance : callable
        (centre, full gradient, draws of the epoch, steps to run) -> EpochOutcome.

    Returns
    -------
    TextbookResult
        Record of the run.

    Raises
    ------
    ParameterError
        If the step is not positive or the option is unknown.

    Examples
    --------
    >>> from mezzotint.linear.textbook_problem import synthetic_regression
    >>> problem = synthetic_regression(0, n_rows=50, n_features=3)
    >>> draws = draw_epochs(0, problem, n_features=3, steps=1, epochs=200)
    >>> result = run(problem, np.zeros(3), draws, lambda w, g, *_: EpochOutcome(w - 0.5 * g), step=0.5)
    >>> bool(result.gradient_norms[-1] < 1e-12)
    True
    """
    check_positive("step", step)
    if option not in ("I", "II"):
        raise ParameterError(f"option came as {option!r}; allowed are 'I' and 'II'")
    record = Record(problem)
    weights = np.array(start, np.float64)
    # A diverging run overflows: that is what its status says, so NumPy need not.
    with np.errstate(over="ignore", invalid="ignore"):
        gradient = record.measure(weights)
        for epoch in draws:
            if record.status != "finished":
                break
            steps = len(epoch.indices) if option == "I" else epoch.pick
            record.outcomes.append(advance(weights, gradient, epoch, steps))
            weights = record.outcomes[-1].weights
            gradient = record.measure(weights)
    return record.result(weights)


def warn_if_clipped(result: TextbookResult) -> TextbookResult:
    """Pass a result on, with a warning where clipping has slowed it.

    Parameters
    ----------
    result : TextbookResult
        Record of a run of HALP.

    Returns
    -------
    TextbookResult
        The same.

    Warns
    -----
    RuntimeWarning
        If more than one coordinate in 200 was clipped.

    Examples
    --------
    >>> from mezzotint.linear.textbook_problem import synthetic_regression
    >>> problem = synthetic_regression(0, n_rows=10, n_features=3)
    >>> warn_if_clipped(Record(problem).result(np.zeros(3))).saturation_fraction
    0.0
    """
    if result.saturation_fraction > _TOLERATED_SATURATION:
        warnings.warn(
            f"{result.saturation_fraction:.2%} of the offset's coordinates were clipped to its range, "
            "which slows convergence; use a smaller mu",
            RuntimeWarning,
            stacklevel=3,
        )
    return result


class Quantiser:
    """Round the iterates of one epoch to a grid and counts what it clips; without a grid does nothing.

    Works in doubles: floor(x / scale + U) is the exact rounding of `mezzotint.formats` except where
    x / scale + U lies within its own rounding error of an integer.
    """

    __slots__ = ("_grid", "_mode", "_thresholds", "rounded", "saturated")

    def __init__(self, grid: FixedPoint | None, mode: Rounding, bits: NDArray[np.uint32] | None) -> None:
        if grid is not None and mode is Rounding.STOCHASTIC and bits is None:
            raise ParameterError("stochastic rounding needs the bits of every epoch's draws; none came")
        self._grid, self._mode = grid, mode
        self._thresholds = None if grid is None or bits is None else to_uniform(bits)
        self.rounded = self.saturated = 0

    def __call__(self, vector: Vector, t: int) -> Vector:
        if self._grid is None:
            return vector
        codes = self._round(vector / self._grid.scale, t)
        clamped = np.minimum(np.maximum(codes, self._grid.min_code), self._grid.max_code)
        self.saturated += int(np.count_nonzero(clamped != codes))
        self.rounded += codes.size
        clamped *= self._grid.scale
        return clamped

    def _round(self, quotient: Vector, t: int) -> Vector:
        if self._mode is Rounding.NEAREST_EVEN:
            return np.rint(quotient)
        if self._mode is Rounding.TOWARD_ZERO:
            return np.trunc(quotient)
        assert self._thresholds is not None  # refused when this quantiser was made
        quotient += self._thresholds[t]
        return np.floor(quotient)

    def outcome(self, weights: Vector, iterate: Vector) -> EpochOutcome:
        """Report the epoch: the next centre, the last iterate's codes, the counts."""
        if self._grid is None:
            return EpochOutcome(weights)
        scale = self._grid.scale
        with np.errstate(invalid="ignore"):
            codes = (iterate / scale).astype(np.int64)
        return EpochOutcome(weights, scale, codes, self.saturated, self.rounded)


def check_positive(name: str, value: float) -> None:
    """Refuse a parameter that is not a positive finite number."""
    if not 0.0 < value < np.inf:
        raise ParameterError(f"{name} came as {value!r}; it must be a positive finite number")
