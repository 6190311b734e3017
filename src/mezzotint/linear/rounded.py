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

from mezzotint.linear.certificate import noise_of_objective
from mezzotint.linear.objective import Coef, Problem, dot, norm
from mezzotint.linear.result import Result
from mezzotint.packed import Source

_CURVATURE = {"logistic": 0.25, "softmax": 0.5, "squared": 1.0}  # the most that l'' can be
_LAST_PLACE = 2.0**-23  # of a float32
_SEEN = 0.01  # of a bound of what rounding costs: a smaller (or negative) difference of two values is noise
_SLACK = 1e-15  # relative rounding error of the objective itself


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


def rounded(problem: Problem, result: Result, tol: float) -> Result:
    """Round a result to the type of the problem's coefficients.

    Parameters
    ----------
    problem : Problem
        The problem that was solved.
    result : Result
        Its solution.
    tol : float
        Relative gap that rounding must not exceed, unless the result itself is further off.

    Returns
    -------
    Result
        Estimate and bounds hold for its `coef`, which are float32 numbers if they were rounded.
    """
    if problem.coef_dtype is np.float64:
        return result
    coef = _float32(result.coef)
    if not (np.abs(coef - result.coef) <= _LAST_PLACE * np.abs(result.coef)).all():
        return result  # beyond the range of float32, at either end
    if np.isnan(result.intercept_slope):  # a descent without a certificate that could break
        return dataclasses.replace(result, coef=coef)
    step = coef - result.coef
    cost = _cost(problem, result, step)
    if cost.bound > max(tol * result.scale, result.gap_estimate):
        return result
    return dataclasses.replace(
        result,
        coef=coef,
        objective=result.objective + cost.estimate,
        gap_estimate=result.gap_estimate + max(cost.estimate, _SEEN * cost.bound),
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
        return _Cost(bend, result.intercept_slope * norm(d) + bend, 0)
    point = problem.evaluate(result.coef + step)
    added = point.value - result.objective
    return _Cost(added, added + _SLACK * abs(result.objective) + noise_of_objective(problem, point), 1)


def _float32(coef: Coef) -> Coef:
    with np.errstate(over="ignore"):
        return coef.astype(np.float32).astype(np.float64)
