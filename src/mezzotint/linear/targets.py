"""Targets of any mean and size, seen in units in which squares and float32 can do no harm.

Far from zero, targets would drown the residuals; squares of 1e200 are no floats. So the means of the targets
(of the middles of intervals) go into the intercepts first, and what is left is divided by a power of two,
which is exact. A squared loss and its penalty then shrink by its square, one that is not squared by itself.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mezzotint.errors import DataError
from mezzotint.linear.objective import Coef, Problem, dot
from mezzotint.linear.result import Iteration, Result

WITH_TARGETS = ("squared", "squared_epsilon_insensitive", "epsilon_insensitive")

_SAFE = 2.0**20  # sizes of targets within 1/_SAFE and _SAFE are left as they are
_LONG = 1e200  # targets beyond it are not added up as they are
_LEAST = 5e-324  # a bound rounds up


@dataclass(frozen=True, eq=False)
class TargetUnits:
    """Targets as ``(y - mean) 2^-exponent``.

    Attributes
    ----------
    mean : ndarray of float64, shape (K, 1)
        0 without an intercept.
    exponent : int
        A power of two.
    loss_power : {1, 2}
        Which power of the unit a loss shrinks by.
    """

    mean: NDArray[np.float64]
    exponent: int
    loss_power: int

    def inside(self, problem: Problem) -> Problem:
        """Return the problem in these units."""
        y = problem.y - np.tile(self.mean, (len(problem.y) // len(self.mean), 1))
        penalty = float(np.ldexp(problem.penalty, (2 - self.loss_power) * self.exponent))
        if problem.penalty > 0 and not 0 < penalty < np.inf:
            raise DataError(
                f"y reaches {np.abs(problem.y).max():.3g}: scaled to ordinary size, the penalty "
                f"{problem.penalty:.3g} is no float64; scale y."
            )
        if problem.weights is not None:  # targets that do not count may be of any size
            y = np.where(problem.weights > 0, y, 0.0)
        if self.exponent:
            y = np.ldexp(y, -self.exponent)
        return dataclasses.replace(problem, y=y, penalty=penalty, known_extent=problem.extent)

    def enter(self, coef: Coef) -> Coef:
        """Coefficients (K, d + 1) in these units."""
        shifted = np.concatenate([coef[:, :-1], coef[:, -1:] - self.mean], axis=1)
        inside: Coef = np.ldexp(shifted, -self.exponent)
        return inside

    def leave(self, result: Result) -> Result:
        """Return the result for the targets as they are."""
        coef = np.ldexp(result.coef, self.exponent)
        coef = np.concatenate([coef[:, :-1], coef[:, -1:] + self.mean], axis=1)
        result = rounded_intercept(result, np.ldexp(coef[:, -1], -self.exponent), self.loss_power, coef)
        if self.exponent == 0:
            return result
        return dataclasses.replace(
            result,
            objective=self._loss(result.objective),
            gap_estimate=max(self._loss(result.gap_estimate), _LEAST),
            gap_bound=max(self._loss(result.gap_bound), _LEAST),
            at_zero=self._loss(result.at_zero),
            intercept_slope=float(np.ldexp(result.intercept_slope, (self.loss_power - 1) * self.exponent)),
            coef_bound=float(np.ldexp(result.coef_bound, self.exponent)),
            trace=tuple(self._iteration(iteration) for iteration in result.trace),
        )

    def _loss(self, value: float) -> float:
        return float(np.ldexp(value, self.loss_power * self.exponent))

    def _iteration(self, iteration: Iteration) -> Iteration:
        slope = float(np.ldexp(iteration.gradient_norm, (self.loss_power - 1) * self.exponent))
        return dataclasses.replace(
            iteration,
            objective=self._loss(iteration.objective),
            gap_estimate=self._loss(iteration.gap_estimate),
            gradient_norm=slope,
            coef=None if iteration.coef is None else np.ldexp(iteration.coef, self.exponent),
        )


def rounded_intercept(result: Result, intercept: NDArray[np.float64], loss_power: int, coef: Coef) -> Result:
    """Return the result with these coefficients, and in its gaps what the rounding of such intercepts can do.

    At the optimum losses have no slope in the intercept that a smaller power than their own could follow.
    """
    moved = 2.0 * float(np.finfo(np.float64).eps) * np.abs(intercept)
    losses = moved if loss_power == 1 else moved * moved
    lost = float(losses.sum())
    return dataclasses.replace(
        result, coef=coef, gap_estimate=result.gap_estimate + lost, gap_bound=result.gap_bound + lost
    )


def units_of(problem: Problem) -> TargetUnits:
    """Choose units for the targets of a problem.

    Raises
    ------
    DataError
        If the objective at zero is no float64.
    """
    power = 1 if problem.loss == "epsilon_insensitive" else 2
    mean = _means(problem) if problem.fit_intercept else np.zeros((problem.n_outputs, 1))
    middles = problem.y - (mean if len(mean) == len(problem.y) else np.tile(mean, (2, 1)))
    counted = middles if problem.weights is None else middles[:, problem.weights > 0]
    size = float(np.abs(counted).max())
    exponent = 0 if size == 0 or 1.0 / _SAFE <= size <= _SAFE else int(np.frexp(size)[1])
    if (
        power == 2
        and exponent
        and not np.isfinite(_square_at_zero(np.ldexp(counted, -exponent), len(mean), exponent))
    ):
        raise DataError(
            f"y reaches {np.abs(problem.y).max():.3g}: squared, as an objective, that is no float64; scale y."
        )
    return TargetUnits(mean, exponent, power)


def _square_at_zero(y: NDArray[np.float64], n_outputs: int, exponent: int) -> float:
    """Mean square of targets times ``2^exponent``, or of what their intervals are away from zero."""
    away = y if len(y) == n_outputs else np.maximum(y[:n_outputs], 0.0) + np.minimum(y[n_outputs:], 0.0)
    with np.errstate(over="ignore"):
        return float(np.ldexp(np.square(away).mean(), 2 * exponent))


def _means(problem: Problem) -> NDArray[np.float64]:
    """Weighted means of the targets or of the middles of intervals, shape (K, 1)."""
    ones = np.ones(problem.n_rows) if problem.weights is None else problem.weights
    size = max(float(problem.y.max()), -float(problem.y.min()))
    exponent = int(np.frexp(size)[1]) if size > _LONG else 0
    small = np.ldexp(problem.y, -exponent) if exponent else problem.y  # sums of 1e308 are no floats
    sums = np.array([dot(row, ones) for row in small]) / problem.total_weight
    means: NDArray[np.float64] = np.ldexp(sums, exponent).reshape(-1, problem.n_outputs)
    return (means if len(means) == 1 else means.mean(axis=0)[None]).T
