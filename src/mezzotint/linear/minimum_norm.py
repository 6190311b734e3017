"""Least squares without a penalty where the columns do not determine the solution, or hardly do.

Of all minimisers of ``sum_i s_i |y_i - W x_i - b|^2`` the one with the least ``|W|`` is returned, as
``scipy.linalg.lstsq`` returns for the centred, weighted data:

- small data: QR decomposition of the columns that determine the others (`mezzotint.linear.nullspace`);
- more columns than rows, and many values: eigenvectors of the Gram matrix of the rows.

Many rows with dependent columns are the regular solver's: it pins what others express.
Steps from exact gradients remove the error that squaring the condition number makes.
"""

import time
from collections.abc import Callable, Iterator

import numpy as np
import scipy.linalg
import threadpoolctl
from numpy.typing import NDArray

from mezzotint.linear.centred import column_means, weighted_blocks
from mezzotint.linear.certificate import certify, lost_to_rounding
from mezzotint.linear.nullspace import Dependence, check_memory, is_small
from mezzotint.linear.objective import LEAST_SCALE, Coef, Evaluation, Problem, dot, norm
from mezzotint.linear.result import Iteration, Report, Result, Status

Matrix = NDArray[np.float64]
Solve = Callable[[Coef], Coef]  # a gradient -> the step that removes it

_MAX_STEPS = 10
_HELD_BYTES = 2**30  # of rows that are multiplied with all others at a time
_FLOOR = 1e-24  # of the objective at the first point: what is left is rounding of a perfect fit
_EPS = float(np.finfo(np.float64).eps)


def solve_minimum_norm(
    problem: Problem,
    dependence: Dependence | None,
    *,
    tol: float = 1e-8,
    report: Report | None = None,
    started_at: float | None = None,
) -> Result:
    """Return the least-squares solution of least norm.

    Parameters
    ----------
    problem : Problem
        Squared loss without a penalty; small, or with more columns than rows.
    dependence : Dependence or None
        Of a small problem: which columns others express.
    tol : float
        Relative gap to stop at, with a safety factor of ten.
    report : callable or None
        Called with each iteration.
    started_at : float or None
        `time.perf_counter()` value that the trace counts from.

    Returns
    -------
    Result

    Notes
    -----
    BLAS and LAPACK run on one thread, so that the result does not depend on the number of threads; unlike
    the other solvers' its last bits may depend on the machine.
    """
    started = time.perf_counter() if started_at is None else started_at
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        mean = column_means(problem)
        by = _by_decomposition if is_small(problem) else _by_row_gram
        return _refine(problem, mean, by(problem, mean, dependence), tol, report, started)


def _by_decomposition(problem: Problem, mean: Matrix, dependence: Dependence | None) -> Solve:
    """Columns of unit length that determine the others; weights of these are zero."""
    live = np.arange(problem.n_columns) if dependence is None else dependence.independent
    rows = np.concatenate([block[:, live] for _, block in weighted_blocks(problem, mean)])
    size = np.sqrt((rows**2).sum(axis=0))
    r = scipy.linalg.qr(rows / size, mode="r", check_finite=False, overwrite_a=True)[0][: len(live)]

    def solve(gradient: Coef) -> Coef:
        half = scipy.linalg.solve_triangular(
            r, gradient[:, live].T / size[:, None], trans="T", check_finite=False
        )
        step = np.zeros_like(gradient)
        step[:, live] = -(scipy.linalg.solve_triangular(r, half, check_finite=False) / size[:, None]).T
        return step

    return solve


def _by_row_gram(problem: Problem, mean: Matrix, dependence: Dependence | None) -> Solve:
    """More columns than rows: ``(A^T A)^+ g = A^T (A A^T)^+2 A g`` for the weighted, centred rows A.

    Columns in the units of the data, whose weights are to be short.
    """
    check_memory(problem.n_rows)
    exponent = np.zeros(problem.n_columns, np.int64) if problem.frame is None else problem.frame.exponent
    unit = np.ldexp(1.0, np.maximum(exponent - exponent.max(), -1000))
    n = problem.n_rows
    gram = np.zeros((n, n))
    for at, held in _held_rows(problem, mean, unit):
        for other_at, other in weighted_blocks(problem, mean):
            if other_at.start < at.stop:
                gram[at, other_at] = held @ (other * unit).T
    values, vectors = scipy.linalg.eigh(gram, check_finite=False, overwrite_a=True)
    keep = values > n * _EPS * values.max(initial=0.0)
    values, vectors = values[keep], vectors[:, keep]

    def solve(gradient: Coef) -> Coef:
        g = gradient * unit
        along = np.concatenate([g @ (block * unit).T for _, block in weighted_blocks(problem, mean)], axis=1)
        combination = ((along @ vectors) / values**2) @ vectors.T
        step = np.zeros_like(gradient)
        for at, block in weighted_blocks(problem, mean):
            step -= combination[:, at] @ (block * unit)
        out: Coef = step * unit
        return out

    return solve


def _held_rows(problem: Problem, mean: Matrix, unit: Matrix) -> Iterator[tuple[slice, Matrix]]:
    """As many weighted blocks at a time as fit, so that the rows are read a handful of times."""
    first, held, size = 0, [], 0
    for at, block in weighted_blocks(problem, mean):
        held.append(block * unit)
        size += block.nbytes
        if size >= _HELD_BYTES or at.stop == problem.n_rows:
            yield slice(first, at.stop), np.concatenate(held)
            first, held, size = at.stop, [], 0


def _refine(
    problem: Problem, mean: Matrix, solve: Solve, tol: float, report: Report | None, started: float
) -> Result:
    """Step from zero along exact gradients until the gap no longer falls; nothing leaves the row space."""
    trace: list[Iteration] = []
    coef, phi = problem.zeros(), np.empty((problem.n_outputs, problem.n_rows))
    best, best_gap = None, np.inf
    for _ in range(_MAX_STEPS):
        point = problem.evaluate(coef, phi)
        shift = point.gradient[:, -1:].copy()  # the intercept's own Newton step: its curvature is 1
        gradient = point.gradient[:, :-1] - shift * mean
        step = solve(gradient)
        gap = 0.5 * (dot(shift, shift) - dot(gradient, np.ascontiguousarray(step)))
        trace.append(_iteration(problem, point, gap, len(trace) + 1, started))
        if report is not None:
            report(len(trace), trace[-1])
        if best is not None and gap >= 0.25 * best_gap:
            break
        best, best_gap = point, gap
        coef = coef + np.concatenate([step, -shift - (step @ mean)[:, None]], axis=1)
    assert best is not None
    converged = best_gap <= 0.1 * tol * max(best.value, LEAST_SCALE * trace[0].objective)
    at_floor = best_gap <= max(_FLOOR * trace[0].objective, lost_to_rounding(problem, best))
    status = Status.CONVERGED if converged else Status.FLOOR if at_floor else Status.STALLED
    return _result(problem, best, best_gap, status, trace)


def _iteration(problem: Problem, point: Evaluation, gap: float, passes: int, started: float) -> Iteration:
    n, d = problem.source.shape
    return Iteration(
        objective=point.value,
        gradient_norm=norm(point.gradient),
        gap_estimate=gap,
        seconds=time.perf_counter() - started,
        bytes_read=passes * n * d * problem.source.dtype.itemsize,
    )


def _result(
    problem: Problem, point: Evaluation, gap: float, status: Status, trace: list[Iteration]
) -> Result:
    certificate = certify(problem, point, gap, None)
    return Result(
        coef=point.coef,
        status=status,
        objective=point.value,
        gap_estimate=certificate.gap_estimate,
        gap_bound=certificate.gap_bound,
        coef_bound=certificate.coef_bound,
        solver="exact",
        n_iter=len(trace),
        trace=tuple(trace),
        exact_passes=len(trace),
        factorisations=1,
        at_zero=trace[0].objective,
        intercept_slope=norm(point.gradient[:, -1].copy()),
    )
