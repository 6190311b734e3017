"""mezzotint on a benchmark problem: the estimators as a user calls them, with the trace kept."""

import contextlib
import hashlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.problems import LinearProblem
from mezzotint.linear import LinearSVC, LinearSVR, LogisticRegression, Result, Ridge


def estimator(problem: LinearProblem, **options: Any) -> Any:
    """Make the unfitted estimator; without options it has its default parameters."""
    shared = {"fit_intercept": problem.fit_intercept, **options}
    if problem.loss == "squared":
        return Ridge(alpha=problem.strength, **shared)
    if problem.loss == "squared_hinge":
        return LinearSVC(C=problem.C, **shared)
    if problem.loss == "squared_epsilon_insensitive":
        return LinearSVR(C=problem.C, epsilon=problem.epsilon, **shared)
    return LogisticRegression(C=problem.C, **shared)


def fit(problem: LinearProblem, X: Any = None, **options: Any) -> Any:
    """Fit the estimator; X replaces the problem's rows (a memmap, a PackedMatrix)."""
    rows = problem.X if X is None else X
    return estimator(problem, **options).fit(rows, problem.y, sample_weight=problem.weights)


def coefficients(model: Any) -> NDArray[np.float64]:
    """Return the coefficients of an estimator, ours or a peer's, as (K, d + 1) in float64."""
    weights = np.atleast_2d(np.asarray(model.coef_, dtype=np.float64))
    intercept = np.asarray(getattr(model, "intercept_", 0.0), dtype=np.float64)
    return np.column_stack([weights, np.broadcast_to(np.ravel(intercept), len(weights))])


def result_of(problem: LinearProblem, **options: Any) -> Result:
    """Fit with default parameters and return the result alone."""
    result: Result = fit(problem, **options).result_
    return result


def coef_hash(model: Any) -> str:
    """Hash of the bits of coefficients and intercept."""
    return hashlib.sha256(np.ascontiguousarray(coefficients(model)).tobytes()).hexdigest()[:16]


@contextlib.contextmanager
def kept_coefficients() -> Iterator[None]:
    """Make the estimators keep the coefficients of every exact pass in the trace."""
    from mezzotint.linear import solve

    plain = {name: getattr(solve, name) for name in ("solve_newton", "solve_halp")}
    for name, function in plain.items():
        setattr(solve, name, partial(function, keep_coef=True))
    try:
        yield
    finally:
        for name, function in plain.items():
            setattr(solve, name, function)
