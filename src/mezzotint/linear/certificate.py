"""How far a point can be from the optimum: an estimate and a rigorous bound."""

from dataclasses import dataclass

import numpy as np

from mezzotint.linear.objective import Evaluation, Problem, dot

_SLACK = 1e-15  # relative rounding error of the objective itself


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """Evidence for a solution; see `certify`."""

    gap_estimate: float
    gap_bound: float
    coef_bound: float


def certify(problem: Problem, point: Evaluation, gap_estimate: float) -> Certificate:
    """Bound ``F - F*`` and ``|w - w*|`` from the exact gradient.

    F is lam-strongly convex in the weights once the intercept is minimised out.
    """
    gap_estimate = max(gap_estimate, 0.0)
    if problem.penalty <= 0:
        return Certificate(gap_estimate=gap_estimate, gap_bound=np.inf, coef_bound=np.inf)
    squared = dot(point.gradient[:, :-1].copy(), point.gradient[:, :-1].copy())
    bound = squared / (2 * problem.penalty)
    return Certificate(
        gap_estimate=gap_estimate,
        gap_bound=bound + _SLACK * abs(point.value),
        coef_bound=float(np.sqrt(squared)) / problem.penalty,
    )
