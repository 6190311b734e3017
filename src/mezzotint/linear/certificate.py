"""How far a point can be from the optimum: an estimate and a rigorous bound."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mezzotint.kernels import ops
from mezzotint.linear.design import Design
from mezzotint.linear.model import InnerModel, RowBuffers, average_curvature
from mezzotint.linear.objective import Coef, Evaluation, Problem, dot, fixed_sum
from mezzotint.linear.pcg import Preconditioner, StopRule, newton_step

_SLACK = 1e-15  # relative rounding error of the objective itself
_TO_A_TENTH = StopRule(relative=0.1, absolute=0.0, max_iterations=30, guard=0.0)


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """Evidence for a solution; see `certify`."""

    gap_estimate: float
    gap_bound: float
    coef_bound: float


def certify(problem: Problem, point: Evaluation, gap_estimate: float) -> Certificate:
    """Bound ``F - F*`` and ``|w - w*|`` from the exact gradient.

    With the intercept minimised out, ``G(w) = min_b F(w, b)`` is lam-strongly convex, so
    ``G - G* <= |grad G|^2 / (2 lam)`` and ``|w - w*| <= |grad G| / lam``. Call it at a point from
    `with_best_intercept`, where ``grad G`` is the gradient of F in w. Both bounds hold up to the
    rounding of float64 (a slack of 1e-15 |F| is added); they are inf without a penalty.
    """
    gap_estimate = max(gap_estimate, 0.0)
    if problem.penalty <= 0:
        return Certificate(gap_estimate=gap_estimate, gap_bound=np.inf, coef_bound=np.inf)
    gradient = np.ascontiguousarray(point.gradient[:, :-1])
    squared = dot(gradient, gradient)
    return Certificate(
        gap_estimate=gap_estimate,
        gap_bound=squared / (2 * problem.penalty) + _SLACK * abs(point.value),
        coef_bound=float(np.sqrt(squared)) / problem.penalty,
    )


def certify_at_best_intercept(
    problem: Problem,
    point: Evaluation,
    gap_estimate: float,
    buffers: RowBuffers,
    evaluate: Callable[[Coef], Evaluation],
) -> tuple[Evaluation, Certificate]:
    """Minimise the intercept exactly, then certify there; returns the last point with its certificate.

    Without curvature the step in the intercept may fail: then the point stays and the bounds are inf.
    """
    if problem.fit_intercept and problem.penalty > 0:
        best = with_best_intercept(problem, point, buffers)
        if best is not None:
            shifted = evaluate(best)
            if not shifted.value <= point.value + _SLACK * abs(point.value):
                return point, Certificate(gap_estimate=gap_estimate, gap_bound=np.inf, coef_bound=np.inf)
            point = shifted
    return point, certify(problem, point, gap_estimate)


def measured_decrement(
    problem: Problem, design: Design, metric: Preconditioner, centre: Evaluation, buffers: RowBuffers
) -> float:
    """Return ``g H^-1 g`` with the curvature of the coarse data, by PCG to about a tenth, from below.

    Half of it estimates ``F - F*`` where a row sample's word would not do. `buffers` are overwritten.
    """
    model = InnerModel(problem, design, centre, buffers, None)
    return newton_step(
        model.hessian_product,
        metric,
        model.gradient,
        _TO_A_TENTH,
        buffers.eta,
        buffers.scratch,
        problem.n_threads,
    ).decrement


def with_best_intercept(problem: Problem, point: Evaluation, buffers: RowBuffers) -> Coef | None:
    """Return the point's coefficients with the intercept minimised exactly; reads margins, never X.

    Newton's method in the K intercepts. None if they are minimal already, to 13 digits. `buffers` are
    overwritten.
    """
    shift = np.zeros(problem.n_outputs)
    change = np.zeros(problem.n_outputs)  # of dF/db, by the shift
    for _ in range(4):
        curvature = average_curvature(problem, _rows_at(problem, point, shift, buffers))
        step = _newton_step_in_intercepts(curvature, point.gradient[:, -1] + change)
        shift = shift + step
        if np.abs(step).max() <= 1e-13 * (1.0 + np.abs(point.coef[:, -1]).max()):
            break
        _rows_at(problem, point, shift, buffers)
        change = np.array([fixed_sum(c) for c in buffers.scratch]) / problem.total_weight
    if np.abs(shift).max() <= 1e-13 * (1.0 + np.abs(point.coef[:, -1]).max()):
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
