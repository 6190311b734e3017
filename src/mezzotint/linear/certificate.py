"""How far a point can be from the optimum: an estimate and a rigorous bound."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mezzotint.kernels import ops
from mezzotint.linear.design import Design
from mezzotint.linear.model import InnerModel, RowBuffers, average_curvature
from mezzotint.linear.objective import (
    Coef,
    Evaluation,
    Problem,
    centred_over_classes,
    dot,
    fixed_sum,
)
from mezzotint.linear.pcg import Preconditioner, StopRule, newton_step

_SLACK = 1e-15  # relative rounding error of the objective itself
_EPS = float(np.finfo(np.float64).eps)
_ROUNDINGS = 8.0  # of a sum over rows, relative to what it adds up
_LEAST = 5e-324  # a gap below it is no float64, and a bound rounds up
_NEAR = 0.1  # change of a margin within which curvatures are what they are here
_SQUARED = 8  # times that a power is squared
_MOST_GROWTH = 1e100
_TO_A_TENTH = StopRule(relative=0.1, absolute=0.0, max_iterations=30, guard=0.0)


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """Evidence for a solution; see `certify`."""

    gap_estimate: float
    gap_bound: float
    coef_bound: float


def certify(
    problem: Problem, point: Evaluation, gap_estimate: float, curvature: NDArray[np.float64] | None
) -> Certificate:
    """Bound ``F - F*`` and ``|w - w*|`` from the exact gradient.

    With the intercept minimised out, ``G(w) = min_b F(w, b)`` is lam-strongly convex, so
    ``G - G* <= |grad G|^2 / (2 lam)`` and ``|w - w*| <= |grad G| / lam``. At a point from
    `with_best_intercept` ``grad G`` is the gradient of F in w, up to what the slope g_b that is left in the
    intercept accounts for: it moves each component by at most ``|g_b| max_i |x_ij|``, and F by
    ``g_b^2 / h`` at most, h half the curvature in the intercept. Both are added, as is what rounding can
    have done to the sums of the gradient. Without a penalty, and where nothing curves F in the
    intercept although it slopes, there is no bound: inf.

    Parameters
    ----------
    problem : Problem
    point : Evaluation
    gap_estimate : float
    curvature : ndarray of float64, shape (K, K), or None
        Of F in the intercepts at this point; None without an intercept.
    """
    gap_estimate = (
        max(gap_estimate, 0.0) + _SLACK * abs(point.value) + lost_to_rounding(problem, point) + _LEAST
    )
    nowhere = Certificate(gap_estimate=gap_estimate, gap_bound=np.inf, coef_bound=np.inf)
    if problem.penalty <= 0:
        return nowhere
    slope = np.ascontiguousarray(point.gradient[:, -1])
    left = 0.0 if curvature is None else _left_in_intercepts(curvature, slope)
    if not np.isfinite(left):
        return nowhere
    moved = np.abs(slope)[:, None] * problem.extent.magnitude + _rounding(problem, point)
    gradient = np.abs(point.gradient[:, :-1]) + moved
    with np.errstate(over="ignore"):  # no float64 is large enough: inf says so
        units = gradient / np.sqrt(2.0 * problem.penalties)
        posed = gradient if problem.frame is None else np.ldexp(gradient, problem.frame.exponent)
        return Certificate(
            gap_estimate=gap_estimate,
            gap_bound=dot(units, units) + left + _SLACK * abs(point.value) + _LEAST,
            coef_bound=float(np.sqrt(dot(posed, posed)) / problem.penalty),
        )


def roundings(n_terms: int) -> float:
    """Relative rounding error of a sum of products, likely: errors of so many terms go both ways."""
    return (_ROUNDINGS + 2.0 * float(np.sqrt(n_terms))) * _EPS


def _rounding(problem: Problem, point: Evaluation) -> NDArray[np.float64]:
    """How far rounding can have moved the components of a gradient, shape (K, d) or (d,).

    The terms of a sum are slopes times values; a slope is as wrong as its margin is, times the curvature.
    """
    slopes, curvature = _slopes_and_curvature(problem, point)
    wrong: NDArray[np.float64] = slopes + curvature * _margins_reached(problem, point)
    return roundings(problem.n_columns) * wrong[:, None] * problem.extent.magnitude


def lost_to_rounding(problem: Problem, point: Evaluation) -> float:
    """A gap that rounding of the margins can make, or hide."""
    curvature = _slopes_and_curvature(problem, point)[1]
    wrong = roundings(problem.n_columns) * _margins_reached(problem, point)
    return curvature * dot(wrong, wrong)


def noise_of_objective(problem: Problem, point: Evaluation) -> float:
    """How far the value of F itself can be off: by the slopes, times what rounding does to the margins."""
    slopes, _ = _slopes_and_curvature(problem, point)
    targets = 0.0 if problem.loss in ("logistic", "softmax") else float(np.abs(problem.y).max())
    return float(slopes * roundings(problem.n_columns) * (_margins_reached(problem, point) + targets).sum())


def _margins_reached(problem: Problem, point: Evaluation) -> NDArray[np.float64]:
    """How far the sums that margins are can reach on their way, shape (K,)."""
    weights: NDArray[np.float64] = (np.abs(point.coef[:, :-1]) * problem.extent.magnitude).sum(axis=1)
    return weights + np.abs(point.coef[:, -1])


def _slopes_and_curvature(problem: Problem, point: Evaluation) -> tuple[float, float]:
    """Mean slope and curvature of the losses, or more: of logistic ones at most the losses themselves."""
    if problem.loss in ("logistic", "softmax"):
        return min(abs(point.value), 1.0), min(abs(point.value), 1.0)
    return float(np.sqrt(2.0 * abs(point.value))), 1.0


def _left_in_intercepts(curvature: NDArray[np.float64], slope: NDArray[np.float64]) -> float:
    """How far F can be above its minimum over the intercepts; inf if that cannot be told."""
    if not slope.any():
        return 0.0
    step = _newton_step_in_intercepts(curvature, slope)
    fall = -dot(step, slope)
    curved = bool((np.diagonal(curvature) > 0).all())
    near = bool(np.abs(step).max() <= _NEAR) and fall >= 0.0
    return 2.0 * fall if curved and near else float("inf")


def certify_at_best_intercept(
    problem: Problem,
    point: Evaluation,
    gap_estimate: float,
    buffers: RowBuffers,
    evaluate: Callable[[Coef, Evaluation | None], Evaluation],
    *,
    enough: float = 1e-13,
) -> tuple[Evaluation, Certificate]:
    """Minimise the intercept exactly, then certify there; returns the last point with its certificate.

    Without curvature the step in the intercept may fail: then the point stays as it is. Classes are
    made to sum to zero first.
    """
    point = centred_over_classes(problem, point)
    if not problem.fit_intercept or problem.penalty <= 0:
        return point, certify(problem, point, gap_estimate, None)
    curvature = average_curvature(problem, _rows_at(problem, point, np.zeros(problem.n_outputs), buffers))
    best = with_best_intercept(problem, point, buffers, curvature, enough)
    if best is not None:
        shifted = evaluate(best, point)
        far = np.abs(best[:, -1] - point.coef[:, -1]).max() > _NEAR or problem.is_piecewise
        if shifted.value <= point.value + _SLACK * abs(point.value):
            point = shifted
        if far:
            zero = np.zeros(problem.n_outputs)
            curvature = average_curvature(problem, _rows_at(problem, point, zero, buffers))
    return point, certify(problem, point, gap_estimate, curvature)


def measured_decrement(
    problem: Problem, design: Design, metric: Preconditioner, centre: Evaluation, buffers: RowBuffers
) -> float:
    """Return ``g H^-1 g`` with the curvature of the coarse data, by PCG to about a tenth, from below.

    Half of it estimates ``F - F*`` where a row sample's word would not do; inf if PCG does not get so far.
    `buffers` are overwritten: the margins of the step ``-H^-1 g`` are left in `eta`.
    """
    model = InnerModel(problem, design, centre, buffers, None)
    step = newton_step(
        model.hessian_product,
        metric,
        model.gradient,
        _TO_A_TENTH,
        buffers.eta,
        buffers.scratch,
        problem.n_threads,
    )
    return step.decrement if step.solved else float("inf")


def growth_within(loss: str, change: float) -> float:
    """How much curvature can change while no margin changes by more than `change`: e to that, or more.

    The third derivative of logistic losses is at most the second (of softmax, twice that between two
    classes): where the Newton step reaches further than 1, its decrement says little about the gap.

    References
    ----------
    F. Bach, "Self-concordant analysis for logistic regression", Electronic Journal of Statistics 4, 2010.
    """
    if loss not in ("logistic", "softmax"):
        return 1.0
    part = min((2.0 if loss == "softmax" else 1.0) * change / 2**_SQUARED, 0.9)
    power: float = 1.0 / (1.0 - part)
    for _ in range(_SQUARED):  # (1 - x / 256)^-256, with the same bits everywhere
        power = min(power * power, _MOST_GROWTH)
    return power


def with_best_intercept(
    problem: Problem,
    point: Evaluation,
    buffers: RowBuffers,
    curvature: NDArray[np.float64],
    least: float = 1e-13,
) -> Coef | None:
    """Return the point's coefficients with the intercept minimised exactly; reads margins, never X.

    Newton's method in the K intercepts, with `curvature` (K, K) for all that is near. None if they are
    minimal already, up to `least` of themselves. `buffers` are overwritten.
    """
    shift = np.zeros(problem.n_outputs)
    change = np.zeros(problem.n_outputs)  # of dF/db, by the shift
    enough = least * (1.0 + np.abs(point.coef[:, -1]).max())
    for _ in range(4):
        if problem.is_piecewise or np.abs(shift).max() > _NEAR:
            curvature = average_curvature(problem, _rows_at(problem, point, shift, buffers))
        # The shift is what the rows see of it, a float32.
        moved = (shift + _newton_step_in_intercepts(curvature, point.gradient[:, -1] + change)).astype(
            np.float32
        )
        step, shift = moved - shift, moved.astype(np.float64)
        if np.abs(step).max() <= enough:
            break
        _rows_at(problem, point, shift, buffers)
        change = np.array([fixed_sum(c) for c in buffers.scratch]) / problem.total_weight
    if np.abs(shift).max() <= enough or not np.isfinite(shift).all():
        return None
    coef = point.coef.copy()
    coef[:, -1] += shift
    return coef


def _newton_step_in_intercepts(
    curvature: NDArray[np.float64], gradient: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Solve ``curvature step = -gradient``, shapes (K, K) and (K,).

    With softmax, K > 1 rows sum to zero: shifting all classes changes nothing. That direction is given
    curvature, and left out of the step.
    """
    k = len(gradient)
    if k == 1:
        return -gradient / max(float(curvature[0, 0]), 1e-300)
    mean = max(float(np.trace(curvature)) / k, 1e-300)
    null = np.abs(curvature.sum(axis=0)).max() <= 1e-6 * mean
    factor = curvature + (mean if null else 0.0) + 1e-14 * mean * np.eye(k)
    if ops().cholesky(factor, n_threads=1) >= 0:
        return -gradient / mean
    step: NDArray[np.float64] = -ops().cholesky_solve(factor[None], gradient[None])[0]
    return step - step.sum() / k if null else step


def _rows_at(
    problem: Problem, point: Evaluation, shift: NDArray[np.float64], buffers: RowBuffers
) -> NDArray[np.float32]:
    """Leave the change of l' by a shift of the intercepts in `scratch`; return the curvatures there."""
    buffers.psi[:] = shift[:, None]
    ops().curvature_rows(
        problem.loss,
        point.phi,
        buffers.psi,
        problem.y,
        problem.weights,
        c=buffers.scratch,
        second=buffers.second,
        n_threads=problem.row_threads,
    )
    return buffers.second
