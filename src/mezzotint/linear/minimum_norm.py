"""Least squares without a penalty where the columns do not determine the solution.

Of all minimisers of ``sum_i s_i |y_i - W x_i - b|^2`` the one with the least ``|W|`` is returned, as
``scipy.linalg.lstsq`` returns for the centred, weighted data. Whether columns are dependent is looked up
in a row sample first, which costs little; only then is the matter settled on all rows:

- small data: singular value decomposition of the centred rows;
- more rows than columns: eigenvectors of the Gram matrix of the columns, scaled to unit diagonal;
- more columns than rows: eigenvectors of the Gram matrix of the rows.

A Gram matrix squares the condition number; steps from exact gradients remove the error it makes.
"""

import itertools
import time
from collections.abc import Callable, Iterator

import numpy as np
import scipy.linalg
import threadpoolctl
from numpy.typing import NDArray

from mezzotint.kernels import ops, segment_bounds
from mezzotint.linear.certificate import certify
from mezzotint.linear.objective import Coef, Evaluation, Problem, dot, norm
from mezzotint.linear.result import Iteration, Report, Result, Status
from mezzotint.random import sample_rows

Matrix = NDArray[np.float64]
Solve = Callable[[Coef], Coef]  # a gradient -> the step of least norm that removes it

_STREAM = 3  # random bits of the row sample
_PIVOT = 1e-10  # of a unit-diagonal Gram matrix: a smaller one may come from dependent columns
_SVD_WORK, _SVD_VALUES = 3e8, 1e7  # n d min(n, d) and n d up to which singular values are affordable
_MAX_STEPS = 10
_EPS = float(np.finfo(np.float64).eps)


def looks_deficient(problem: Problem, seed: int) -> bool:
    """Whether a row sample leaves doubt that all columns are independent.

    Dependent columns are dependent in every sample, so False is certain (up to a condition number of about
    1e5, after scaling columns); True only says that it needs a look.
    """
    eligible = np.arange(problem.n_rows) if problem.weights is None else np.flatnonzero(problem.weights)
    d = problem.n_columns
    if len(eligible) < d + problem.fit_intercept:
        return True
    count = min(len(eligible), d + max(64, d // 4))
    index = eligible[np.sort(sample_rows(seed, len(eligible), count, stream=_STREAM))]
    rows = problem.source.rows(index).astype(np.float64)
    mean = rows.sum(axis=0) / len(rows) if problem.fit_intercept else np.zeros(d)
    rows -= mean
    gram = np.zeros((d, d))
    ops().add_grams(gram[None], rows, n_threads=problem.n_threads)
    scale = _unit_scale(gram, mean, float(len(rows)))
    if not scale.all():
        return True
    gram *= scale
    gram *= scale[:, None]
    failed = ops().cholesky(gram, n_threads=problem.n_threads) >= 0
    return bool(failed or gram[np.diag_indices(d)].min() ** 2 < _PIVOT)


def solve_minimum_norm(
    problem: Problem, *, tol: float = 1e-8, report: Report | None = None, started_at: float | None = None
) -> Result | None:
    """Return the least-squares solution of least norm, or None if the columns are independent after all.

    Parameters
    ----------
    problem : Problem
        Squared loss without a penalty.
    tol : float
        Relative gap to stop at, with a safety factor of ten.
    report : callable or None
        Called with each iteration.
    started_at : float or None
        `time.perf_counter()` value that the trace counts from.

    Returns
    -------
    Result or None
        Small problems always have a Result; None sends a large one to the regular solver.

    Notes
    -----
    BLAS and LAPACK run on one thread, so that the result does not depend on the number of threads; unlike
    the other solvers' its last bits may depend on the machine.
    """
    started = time.perf_counter() if started_at is None else started_at
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        mean = _column_means(problem)
        solve = _step_solver(problem, mean)
        return None if solve is None else _refine(problem, mean, solve, tol, report, started)


def _step_solver(problem: Problem, mean: Matrix) -> Solve | None:
    n, d = problem.source.shape
    if n * d <= _SVD_VALUES and n * d * min(n, d) <= _SVD_WORK:
        return _by_singular_values(problem, mean)
    n_used = n if problem.weights is None else np.count_nonzero(problem.weights)
    return _by_row_gram(problem, mean) if n_used < d else _by_column_gram(problem, mean)


def _by_singular_values(problem: Problem, mean: Matrix) -> Solve:
    rows = np.concatenate([block for _, block in _weighted_blocks(problem, mean)])
    if len(rows) > rows.shape[1]:  # R has the same right singular vectors, and the left ones are not needed
        rows = scipy.linalg.qr(rows, mode="r", check_finite=False, overwrite_a=True)[0][: rows.shape[1]]
    _, s, vt = scipy.linalg.svd(rows, full_matrices=False, check_finite=False, overwrite_a=True)
    keep = s > max(problem.source.shape) * _EPS * s[0]
    s, vt = s[keep], vt[keep]
    return lambda gradient: -((gradient @ vt.T) / s**2) @ vt


def _by_column_gram(problem: Problem, mean: Matrix) -> Solve | None:
    """Solve with the columns scaled to unit length, then take out what lies in the null space."""
    d = problem.n_columns
    gram = np.zeros((d, d))
    for _, block in _weighted_blocks(problem, mean):
        ops().add_grams(gram[None], block, n_threads=problem.n_threads)
    scale = _unit_scale(gram, mean, 1.0)
    live = np.flatnonzero(scale)
    scale = scale[live]
    values, vectors = _eigenvectors(gram[np.ix_(live, live)] * scale * scale[:, None])
    keep = values > d * _EPS * values.max(initial=0.0)
    if len(live) == d and keep.all():
        return None
    inside, values = _embed(vectors[:, keep] * scale[:, None], live, d), values[keep]
    null = _orthonormal(_embed(vectors[:, ~keep] * scale[:, None], live, d))

    def solve(gradient: Coef) -> Coef:
        step: Coef = -((gradient @ inside) / values) @ inside.T
        return step - (step @ null) @ null.T

    return solve


def _by_row_gram(problem: Problem, mean: Matrix) -> Solve:
    """More columns than rows: ``(A^T A)^+ g = A^T (A A^T)^+2 A g`` for the weighted, centred rows A."""
    n = problem.n_rows
    gram = np.zeros((n, n))
    for at, block in _weighted_blocks(problem, mean):
        for other_at, other in _weighted_blocks(problem, mean):
            gram[at, other_at] = block @ other.T
    values, vectors = _eigenvectors(gram)
    keep = values > n * _EPS * values.max()
    values, vectors = values[keep], vectors[:, keep]

    def solve(gradient: Coef) -> Coef:
        along = np.concatenate([gradient @ block.T for _, block in _weighted_blocks(problem, mean)], axis=1)
        combination = ((along @ vectors) / values**2) @ vectors.T
        step = np.zeros_like(gradient)
        for at, block in _weighted_blocks(problem, mean):
            step -= combination[:, at] @ block
        return step

    return solve


def _eigenvectors(gram: Matrix) -> tuple[Matrix, Matrix]:
    if len(gram) == 0:
        return np.zeros(0), np.zeros((0, 0))
    values, vectors = scipy.linalg.eigh(gram, check_finite=False, overwrite_a=True)
    return values, vectors


def _embed(rows: Matrix, at: NDArray[np.int64], d: int) -> Matrix:
    out = np.zeros((d, rows.shape[1]))
    out[at] = rows
    return out


def _orthonormal(vectors: Matrix) -> Matrix:
    if vectors.shape[1] == 0:
        return vectors
    q: Matrix = scipy.linalg.qr(vectors / np.sqrt((vectors**2).sum(axis=0)), mode="economic")[0]
    return q


def _unit_scale(gram: Matrix, mean: Matrix, total: float) -> Matrix:
    """Return ``1 / sqrt(diagonal)``; 0 for columns that are constant up to the rounding of their mean."""
    diagonal = gram.diagonal()
    constant = diagonal <= total * (64 * _EPS * mean) ** 2
    scale: Matrix = np.where(constant, 0.0, 1.0 / np.sqrt(np.where(constant, 1.0, diagonal)))
    return scale


def _weighted_blocks(problem: Problem, mean: Matrix) -> Iterator[tuple[slice, Matrix]]:
    """Yield ``sqrt(s / S) (x - mean)`` in float64, a bounded number of rows at a time."""
    bounds = segment_bounds(*problem.source.shape)
    for start, stop in itertools.pairwise(bounds.tolist()):
        at = slice(start, stop)
        yield at, (problem.source.block(start, stop) - mean) * _root_weights(problem, at)


def _root_weights(problem: Problem, at: slice) -> Matrix:
    weights = np.ones(at.stop - at.start) if problem.weights is None else problem.weights[at]
    roots: Matrix = np.sqrt(weights / problem.total_weight)[:, None]
    return roots


def _column_means(problem: Problem) -> Matrix:
    zero = np.zeros(problem.n_columns)
    if not problem.fit_intercept:
        return zero
    parts = [(x * _root_weights(problem, at)).sum(axis=0) for at, x in _weighted_blocks(problem, zero)]
    mean: Matrix = ops().tree_sum(np.stack(parts))
    return mean


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
    converged = best_gap <= 0.1 * tol * max(best.value, 1e-6 * trace[0].objective)
    return _result(problem, best, best_gap, Status.CONVERGED if converged else Status.STALLED, trace)


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
    certificate = certify(problem, point, gap)
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
        gradient_norm=norm(point.gradient),
    )
