"""Coefficients as float32 where the rows are float32, and what that costs the certificate.

scikit-learn keeps the type of X. Rounding the weights to 24 bits moves the objective by about 1e-15 of it,
which no tolerance notices, but a certificate has to hold for the numbers that are handed out:

- The Newton solver evaluates at weights that are float32 numbers (`round_weights`), so its last exact pass
  is one at the rounded point; only the intercept is left, and what that costs follows without a look at X.
- What other solvers end at, and Newton's method on all rows of a small problem, is evaluated once more.

Where the cost exceeds the tolerance, the coefficients stay in float64.
"""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from mezzotint.kernels import ops
from mezzotint.linear.objective import Coef, Problem, dot, norm
from mezzotint.linear.result import Result
from mezzotint.packed import Source

_CURVATURE = {"logistic": 0.25, "softmax": 0.5, "squared": 1.0}  # the most that l'' can be
_SLACK = 1e-15  # relative rounding error of the objective itself
_SCALE_FLOOR = 1e-6  # of F(0): what tolerances refer to where F is nearly zero


def coefficient_type(source: Source, loss: str) -> type[np.float32] | type[np.float64]:
    """Return scikit-learn's type of coefficients: that of float32 rows; liblinear has float64 alone."""
    given = getattr(source, "given_dtype", source.dtype)  # before narrower types became float32
    return np.float32 if given == np.float32 and loss in _CURVATURE else np.float64


def narrowed(coef: Coef, dtype: type[np.floating]) -> NDArray[np.floating]:
    """Return coefficients in `dtype` if that loses nothing, else as they are."""
    with np.errstate(over="ignore"):
        narrow = coef.astype(dtype)
    return narrow if np.array_equal(narrow, coef) else coef


def round_weights(coef: Coef) -> Coef:
    """Return coefficients with weights that are float32 numbers; the intercept is left as it is."""
    out = _float32(coef)
    out[:, -1] = coef[:, -1]
    return out


def rounded(problem: Problem, result: Result, shift: Coef | float, tol: float) -> Result:
    """Shift the intercepts of a result, and round it to the type of the problem's coefficients.

    Parameters
    ----------
    problem : Problem
        The problem that was solved.
    result : Result
        Its solution.
    shift : ndarray of float64, shape (K, 1), or float
        What comes on top of the intercepts: means that had been taken out of the targets.
    tol : float
        Relative gap that rounding must not exceed, unless the result itself is further off.

    Returns
    -------
    Result
        Estimate and bounds hold for its `coef`, which are float32 numbers if they were rounded.
    """
    shifted = _with_intercepts(result.coef, shift)
    if problem.coef_dtype is np.float64:
        return dataclasses.replace(result, coef=shifted)
    coef = _float32(shifted)
    if np.isnan(result.gradient_norm):  # a descent without a certificate that could break
        return dataclasses.replace(result, coef=coef if np.isfinite(coef).all() else shifted)
    step = _with_intercepts(coef, -np.asarray(shift)) - result.coef
    cost = _cost(problem, result, step)
    if not np.isfinite(coef).all() or _is_too_dear(cost, problem, result, tol):
        return dataclasses.replace(result, coef=shifted)
    return dataclasses.replace(
        result,
        coef=coef,
        objective=result.objective + cost.estimate,
        gap_estimate=max(result.gap_estimate + cost.estimate, 0.0),
        gap_bound=result.gap_bound + cost.bound,
        coef_bound=result.coef_bound + norm(np.ascontiguousarray(step[:, :-1])),
        exact_passes=result.exact_passes + cost.passes,
    )


@dataclasses.dataclass(frozen=True)
class _Cost:
    """What a step from the solution adds to F: an estimate, a bound, and the reads of X to know it."""

    estimate: float
    bound: float
    passes: int


def _cost(problem: Problem, result: Result, step: Coef) -> _Cost:
    """Return what a step costs.

    A step d of the intercepts alone changes every margin by d, whatever the rows are:
    ``F(c + d) - F(c) <= |g| |d| + L |d|^2 / 2``. Weights have to be evaluated.
    """
    d = np.ascontiguousarray(step[:, -1])
    bend = 0.5 * _CURVATURE[problem.loss] * dot(d, d)
    if not step[:, :-1].any():
        return _Cost(bend, result.gradient_norm * norm(d) + bend, 0)
    added = problem.evaluate(result.coef + step).value - result.objective
    return _Cost(added, added + _SLACK * abs(result.objective), 1)


def _is_too_dear(cost: _Cost, problem: Problem, result: Result, tol: float) -> bool:
    allowed = max(tol * abs(result.objective), result.gap_estimate)
    return cost.bound > allowed and cost.bound > tol * _SCALE_FLOOR * _at_zero(problem)


def _at_zero(problem: Problem) -> float:
    """F at zero coefficients."""
    zero = np.zeros((problem.n_outputs, problem.n_rows))
    return float(ops().loss_sum(problem.loss, zero, problem.y, problem.weights)) / problem.total_weight


def _with_intercepts(coef: Coef, shift: Coef | float) -> Coef:
    return np.concatenate([coef[:, :-1], coef[:, -1:] + shift], axis=1)


def _float32(coef: Coef) -> Coef:
    with np.errstate(over="ignore"):
        return coef.astype(np.float32).astype(np.float64)
