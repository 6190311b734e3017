"""Other libraries' solvers of the same problems, each run in its own process with a time limit.

A peer is one solver on one dtype; the conversion of X to it is part of its time. It is run for a few
tolerances from loose to tight, and the time to an accuracy is the smallest of a run whose solution has it.
snapml and scikit-learn-intelex are optional: without them the results say so.
"""

import importlib.util
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks import forked
from benchmarks.ours import coefficients
from benchmarks.problems import LinearProblem

N_THREADS = 2
_MANY = 100_000  # iterations: the time limit ends a run, not a cap
_MOST_REPEATS, _ENOUGH_S = 15, 0.4  # short fits are repeated, the first one not counted


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A solver on a dtype.

    Attributes
    ----------
    library, solver : str
        Names for the tables.
    dtype : str
        What X is converted to, within the time.
    tolerances : tuple of float
        From loose to tight.
    make : callable
        From (problem, tolerance) to an unfitted estimator; imports its library.
    """

    library: str
    solver: str
    dtype: str
    tolerances: tuple[float, ...]
    make: Callable[[LinearProblem, float], Any] = field(repr=False)


def line_up(problem: LinearProblem) -> tuple[list[Peer], dict[str, str]]:
    """Return the peers for a problem, those on X's own dtype first, and why others are left out."""
    peers, skipped = [], {}
    makers = (_snap_ridge, _intel_ridge, _ridge_peers)
    if problem.loss == "squared_hinge":
        makers = (_snap_svm, _liblinear_svm)
    elif problem.loss != "squared":
        makers = (_snap_logistic, _intel_logistic, _sklearn_peers)
    for maker in makers:
        for found in maker(problem):
            if isinstance(found, Peer):
                peers.append(found)
            else:
                skipped[found[0]] = found[1]
    return sorted(peers, key=lambda peer: peer.dtype != problem.X.dtype), skipped


def run(peer: Peer, problem: LinearProblem, tolerance: float, limit_s: float) -> forked.Outcome:
    """Fit once (short fits: several times); the value is (median seconds, coefficients)."""

    def work(ready: Callable[[], None]) -> tuple[float, Any]:
        model = peer.make(problem, tolerance)
        ready()
        return repeated(lambda: _fit(model, problem, peer.dtype))

    return forked.call(work, limit_s)


def repeated(fit: Callable[[], Any]) -> tuple[float, Any]:
    """Median seconds of repeated fits (one, if it takes long) and the coefficients."""
    seconds: list[float] = []
    while len(seconds) < _MOST_REPEATS and sum(seconds) < _ENOUGH_S:
        start = time.perf_counter()
        model = fit()
        seconds.append(time.perf_counter() - start)
    counted = seconds[1:] or seconds
    return float(np.median(counted)), coefficients(model)


def _fit(model: Any, problem: LinearProblem, dtype: str) -> Any:
    rows = problem.X.astype(dtype, copy=False)
    if problem.weights is None:
        return model.fit(rows, problem.y)
    return model.fit(rows, problem.y, sample_weight=problem.weights)


Found = Iterator[Peer | tuple[str, str]]  # a peer, or (name, why it is left out)


def _on_both(library: str, solver: str, tolerances: tuple[float, ...], make: Any) -> Iterator[Peer]:
    for dtype in ("float32", "float64"):
        yield Peer(library=library, solver=solver, dtype=dtype, tolerances=tolerances, make=make)


# ---- scikit-learn


def _sklearn_peers(problem: LinearProblem) -> Found:
    n, d = problem.shape
    unknowns = d * problem.n_outputs
    yield from _on_both("scikit-learn", "lbfgs", (1e-4, 1e-6, 1e-8), _sklearn("lbfgs"))
    if unknowns > 2000 or n * unknowns**2 > 3e12:
        why = f"its Hessian needs {n * unknowns**2:.0e} multiply-adds per iteration"
        yield "scikit-learn newton-cholesky", why
    else:
        yield from _on_both("scikit-learn", "newton-cholesky", (1e-5, 1e-8), _sklearn("newton-cholesky"))
    yield from _on_both("scikit-learn", "newton-cg", (1e-4, 1e-7), _sklearn("newton-cg"))
    yield from _liblinear(problem)
    if n * d > 2e7:
        yield "scikit-learn saga", "stochastic, one row at a time: hours at this size"
    else:
        yield from _on_both("scikit-learn", "saga", (1e-3, 1e-6), _sklearn("saga"))


def _liblinear(problem: LinearProblem) -> Found:
    name = "scikit-learn liblinear"
    if problem.loss == "softmax":
        yield name, "has no multinomial loss"
    elif problem.fit_intercept:
        yield name, "penalises the intercept: another problem"
    else:
        make = _sklearn("liblinear")
        yield Peer(
            library="scikit-learn",
            solver="liblinear",
            dtype=str(problem.X.dtype),
            tolerances=(1e-3, 1e-6),
            make=make,
        )
        yield f"{name}, other dtypes", "it converts to float64 inside"


def _liblinear_svm(problem: LinearProblem) -> Found:
    def maker(dual: bool) -> Callable[[LinearProblem, float], Any]:
        def make(problem: LinearProblem, tolerance: float) -> Any:
            from sklearn.svm import LinearSVC

            return LinearSVC(C=problem.C, fit_intercept=False, dual=dual, tol=tolerance, max_iter=_MANY)

        return make

    if problem.fit_intercept:
        yield "scikit-learn liblinear", "penalises the intercept: another problem"
        return
    dtype = str(problem.X.dtype)
    for solver, dual, tolerances in (("primal", False, (1e-2, 1e-4, 1e-7)), ("dual", True, (1e-2, 1e-4))):
        yield Peer(
            library="scikit-learn",
            solver=f"liblinear {solver}",
            dtype=dtype,
            tolerances=tolerances,
            make=maker(dual),
        )
    yield "scikit-learn liblinear, other dtypes", "it converts to float64 inside"


def _sklearn(solver: str) -> Callable[[LinearProblem, float], Any]:
    def make(problem: LinearProblem, tolerance: float) -> Any:
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(
            C=problem.C, fit_intercept=problem.fit_intercept, solver=solver, tol=tolerance, max_iter=_MANY
        )

    return make


def _ridge_peers(problem: LinearProblem) -> Found:
    n, d = problem.shape
    if d <= 8192:
        yield from _on_both("scikit-learn", "cholesky", (1e-4,), _sklearn_ridge("cholesky"))
    for solver in ("lsqr", "sparse_cg"):
        yield from _on_both("scikit-learn", solver, (1e-4, 1e-7, 1e-10), _sklearn_ridge(solver))
    yield from _on_both("scikit-learn", "sag", (1e-4, 1e-7), _sklearn_ridge("sag"))
    if n * d**2 > 1e11:
        yield "scikit-learn svd", "always slower than its cholesky at this size"
    else:
        yield from _on_both("scikit-learn", "svd", (1e-4,), _sklearn_ridge("svd"))


def _sklearn_ridge(solver: str) -> Callable[[LinearProblem, float], Any]:
    def make(problem: LinearProblem, tolerance: float) -> Any:
        from sklearn.linear_model import Ridge

        return Ridge(
            alpha=problem.strength,
            fit_intercept=problem.fit_intercept,
            solver=solver,
            tol=tolerance,
            max_iter=_MANY,
        )

    return make


# ---- scikit-learn-intelex


def _missing(module: str, name: str) -> Found:
    if importlib.util.find_spec(module) is None:
        yield name, f"not installed (pip install {name})"


def _intel_logistic(problem: LinearProblem) -> Found:
    def make(problem: LinearProblem, tolerance: float) -> Any:
        from sklearnex.linear_model import LogisticRegression

        return LogisticRegression(
            C=problem.C, fit_intercept=problem.fit_intercept, solver="lbfgs", tol=tolerance, max_iter=_MANY
        )

    missing = list(_missing("sklearnex", "scikit-learn-intelex"))
    yield from missing or _on_both("scikit-learn-intelex", "lbfgs", (1e-4, 1e-6, 1e-8), make)


def _intel_ridge(problem: LinearProblem) -> Found:
    def make(problem: LinearProblem, tolerance: float) -> Any:
        from sklearnex.linear_model import Ridge

        return Ridge(alpha=problem.strength, fit_intercept=problem.fit_intercept)

    missing = list(_missing("sklearnex", "scikit-learn-intelex"))
    yield from missing or _on_both("scikit-learn-intelex", "normal equations", (0.0,), make)


# ---- snapml


def _snap_refusal(problem: LinearProblem) -> Found:
    yield from _missing("snapml", "snapml")
    if problem.loss == "softmax":
        yield "snapml", "has no multinomial loss"
    elif problem.fit_intercept:
        yield "snapml", "penalises the intercept: another problem"
    elif problem.weights is not None:
        yield "snapml", "takes no sample weights"


def _snap_logistic(problem: LinearProblem) -> Found:
    def maker(dual: bool) -> Callable[[LinearProblem, float], Any]:
        def make(problem: LinearProblem, tolerance: float) -> Any:
            import snapml

            return snapml.LogisticRegression(
                regularizer=problem.strength, fit_intercept=False, n_jobs=N_THREADS, max_iter=_MANY,
                dual=dual, tol=tolerance,
            )  # fmt: skip

        return make

    refusals = list(_snap_refusal(problem))
    yield from refusals
    if not refusals:
        yield from _on_both("snapml", "dual", (1e-3, 1e-5, 1e-7), maker(True))
        yield from _on_both("snapml", "primal", (1e-3, 1e-7), maker(False))


def _snap_svm(problem: LinearProblem) -> Found:
    def make(problem: LinearProblem, tolerance: float) -> Any:
        import snapml

        return snapml.SupportVectorMachine(
            loss="squared_hinge", regularizer=problem.strength, fit_intercept=False, n_jobs=N_THREADS,
            max_iter=_MANY, tol=tolerance,
        )  # fmt: skip

    refusals = list(_snap_refusal(problem))
    yield from refusals or _on_both("snapml", "dual", (1e-3, 1e-5, 1e-7), make)


def _snap_ridge(problem: LinearProblem) -> Found:
    def make(problem: LinearProblem, tolerance: float) -> Any:
        import snapml

        return snapml.LinearRegression(
            regularizer=problem.strength, fit_intercept=False, n_jobs=N_THREADS, max_iter=_MANY,
            dual=True, tol=tolerance,
        )  # fmt: skip

    refusals = list(_snap_refusal(problem))
    yield from refusals or _on_both("snapml", "dual", (1e-3, 1e-6), make)
