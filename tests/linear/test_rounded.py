"""Would catch: coefficients of another type than scikit-learn's; bounds that rounding breaks; more reads.

Seen failing with `coefficient_type` always float64 or that of the blocks; with a `_cost` of zero or without
its slope; without `round_weights` in the Newton solver.
"""

import dataclasses

import numpy as np
import pytest
from sklearn import linear_model as plain
from sklearn import svm as plain_svm

from mezzotint.linear import LinearRegression, LinearSVC, LinearSVR, LogisticRegression, Ridge
from mezzotint.linear import rounded as module
from mezzotint.linear.newton import solve_newton
from mezzotint.linear.objective import Problem
from mezzotint.packed import as_source

PAIRS = (
    (LogisticRegression, plain.LogisticRegression),
    (Ridge, plain.Ridge),
    (LinearRegression, plain.LinearRegression),
    (LinearSVC, plain_svm.LinearSVC),
    (LinearSVR, plain_svm.LinearSVR),
)
ROUTES = {
    "auto": {},
    "packed": {"solver": "newton"},
    "4 bits": {"solver": "newton", "bits": 4},
    "halp": {"solver": "halp", "fit_intercept": False},
}
LOSSES = ("logistic", "softmax", "squared")


@pytest.fixture
def X(rng):
    """Columns of different scale and mean, with an outlier."""
    X = rng.standard_normal((600, 8)) * np.geomspace(0.01, 100, 8) + rng.standard_normal(8)
    X[3, 0] = 50.0
    return X.astype(np.float32)


@pytest.fixture
def scores(X):
    return (X - X.mean(axis=0)) / X.std(axis=0) @ np.linspace(-1, 1, 8)


def tame(X):
    """Rows that suit a minibatch method."""
    return np.clip((X - X.mean(axis=0)) / X.std(axis=0), -3, 3)


def targets(estimator, scores, rng):
    if estimator in (LogisticRegression, LinearSVC):
        return scores + rng.logistic(size=len(scores)) > 0
    return scores + rng.standard_normal(len(scores))


# --------------------------------------------------------------------------------------------------- types


@pytest.mark.filterwarnings("ignore:Liblinear failed")
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8, np.int32])
@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_types_are_scikit_learns(rng, scores, ours, theirs, dtype, n_classes):
    X = np.round(10 * rng.standard_normal((600, 3))).astype(dtype)
    y = np.digitize(scores, [-0.5, 0.5][: n_classes - 1])
    a, b = ours().fit(X, y), theirs().fit(X, y)
    assert a.coef_.dtype == b.coef_.dtype
    assert np.asarray(a.intercept_).dtype == np.asarray(b.intercept_).dtype
    for rows in (X, X.astype(np.float32), X.astype(np.float64)):
        for method in ("predict", "decision_function", "predict_proba", "predict_log_proba"):
            if hasattr(b, method):
                assert getattr(a, method)(rows).dtype == getattr(b, method)(rows).dtype, method


@pytest.mark.parametrize("shape", [(600,), (600, 1), (600, 2)])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_types_are_scikit_learns_for_every_shape_of_targets(X, scores, fit_intercept, shape):
    y = np.resize(scores, shape)
    a = Ridge(fit_intercept=fit_intercept).fit(X, y)
    b = plain.Ridge(fit_intercept=fit_intercept).fit(X, y)
    assert a.coef_.dtype == b.coef_.dtype == np.float32
    assert type(a.intercept_) is type(b.intercept_)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("route", ROUTES)
def test_the_type_does_not_depend_on_the_route(rng, X, scores, route):
    X = X if route != "halp" else tame(X)
    for estimator in (LogisticRegression, Ridge, LinearRegression):
        model = estimator(**ROUTES[route]).fit(X, targets(estimator, scores, rng))
        assert model.coef_.dtype == np.float32
        assert model.result_.coef.dtype == np.float64
        assert np.array_equal(np.atleast_2d(model.coef_), model.result_.coef[:, :-1])


def test_paths_stay_in_float64(X, scores):
    coefs = Ridge().path(X, scores, alphas=[1.0, 2.0]).coefs
    assert coefs.dtype == np.float64
    assert not np.array_equal(coefs, coefs.astype(np.float32))


def test_a_warm_start_goes_on_from_float32(rng, X, scores):
    clf = LogisticRegression(warm_start=True).fit(X, targets(LogisticRegression, scores, rng))
    assert clf.fit(X, scores > 0).coef_.dtype == np.float32


@pytest.mark.parametrize("estimator", [Ridge, LinearRegression])
def test_float64_stays_where_rounding_costs_more_than_the_tolerance(X, scores, estimator):
    assert estimator(tol=1e-15).fit(X, scores + 1.0).coef_.dtype == np.float64
    far = estimator().fit(X, scores + 1e9)  # the intercept alone would be off by 32
    assert far.coef_.dtype == np.float64
    assert far.intercept_.dtype == np.float64


def test_numbers_beyond_float32_stay_in_float64(X, scores):
    coef = np.array([[1e39, 0.5]])
    assert module.narrowed(coef, np.float32) is coef
    assert module.narrowed(coef[:, 1:], np.float32).dtype == np.float32
    problem = problem_of("squared", X[:, :1], [scores], coef_dtype=np.float32)
    result = dataclasses.replace(solve_newton(problem), coef=coef)
    assert np.array_equal(module.rounded(problem, result, 1e-8).coef, coef)


# -------------------------------------------------------------------------------------------------- bounds


def problem_of(loss, X, y, weights=None, penalty=1e-2, fit_intercept=True, coef_dtype=np.float64):
    n_outputs = {"logistic": 1, "softmax": 3, "squared": len(y)}[loss]
    return Problem(
        source=as_source(X),
        packed=None,
        loss=loss,
        y=np.asarray(y, dtype=np.float64),
        n_outputs=n_outputs,
        weights=weights,
        penalty=penalty,
        fit_intercept=fit_intercept,
        n_threads=1,
        coef_dtype=coef_dtype,
    )


def example(rng, loss, X, scores):
    y = {"logistic": [scores > 0], "softmax": [np.digitize(scores, [-1, 1])], "squared": [scores, -scores]}[
        loss
    ]
    return problem_of(loss, X, y, rng.integers(0, 3, len(X)).astype(np.float64))


@pytest.mark.parametrize("loss", LOSSES)
def test_no_step_of_the_intercepts_costs_more_than_it_is_said_to(rng, X, scores, loss):
    problem = dataclasses.replace(example(rng, loss, X, scores), penalty=0.0)
    result = solve_newton(problem, tol=1e-2, max_iter=3)
    uphill = problem.evaluate(result.coef).gradient[:, -1]
    for scale in (1e-6, 1e-3, 1.0):
        step = np.zeros(result.coef.shape)
        step[:, -1] = scale * uphill / np.linalg.norm(uphill)
        added = problem.evaluate(result.coef + step).value - result.objective
        cost = module._cost(problem, result, step)
        assert added <= cost.bound * (1 + 1e-6) + 1e-15
        assert cost.bound <= 1e3 * added + 1e-9
        assert cost.passes == 0


@pytest.mark.parametrize("loss", LOSSES)
def test_a_step_of_the_weights_is_evaluated(rng, X, scores, loss):
    problem = example(rng, loss, X, scores)
    result = solve_newton(problem)
    step = 1e-3 * rng.standard_normal(result.coef.shape)
    added = problem.evaluate(result.coef + step).value - result.objective
    cost = module._cost(problem, result, step)
    assert added == cost.estimate <= cost.bound
    assert cost.passes == 1


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("loss", LOSSES)
def test_bounds_hold_for_rounded_coefficients(rng, X, scores, loss, route):
    estimator = Ridge if loss == "squared" else LogisticRegression
    X = X if route != "halp" else tame(X)
    y = targets(estimator, scores, rng) if loss != "softmax" else np.digitize(scores, [-1, 1])
    model = estimator(**ROUTES[route], tol=1e-6).fit(X, y)
    labels = y[None] if loss == "squared" else np.unique(y, return_inverse=True)[1][None]
    problem = problem_of(loss, X, labels, penalty=1.0 / len(X), fit_intercept=model.fit_intercept)
    best = solve_newton(problem, tol=1e-8)
    coef = np.column_stack([np.atleast_2d(model.coef_), np.resize(model.intercept_, len(best.coef))]).astype(
        np.float64
    )
    gap = problem.evaluate(coef).value - best.objective
    assert model.coef_.dtype == np.float32
    assert gap <= model.result_.gap_bound + 1e-15
    assert np.linalg.norm(coef[:, :-1] - best.coef[:, :-1]) <= model.result_.coef_bound


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("n_classes", [0, 2, 3])
@pytest.mark.parametrize("solver", ["newton", "auto"])
def test_float32_coefficients_of_packed_rows_take_no_more_reads(
    rng, monkeypatch, n_classes, fit_intercept, solver
):
    X = rng.standard_normal((4000 if solver == "newton" else 300, 16)).astype(np.float32) + 0.5
    y = X[:, 0] + rng.standard_normal(len(X))
    y = np.digitize(y, [0, 1][: n_classes - 1]) if n_classes else y
    model = (LogisticRegression if n_classes else Ridge)(solver=solver, fit_intercept=fit_intercept)
    narrow = model.fit(X, y).result_
    monkeypatch.setattr("mezzotint.linear._base.coefficient_type", lambda *_: np.float64)
    wide = model.fit(X, y).result_
    more = solver == "auto" and n_classes > 2  # whose steps are not rounded
    assert not np.array_equal(narrow.coef, wide.coef)
    assert narrow.exact_passes <= wide.exact_passes + more
    assert narrow.packed_passes <= wide.packed_passes


def test_a_difference_of_two_values_that_is_noise_takes_nothing_off_the_estimate(rng, monkeypatch):
    """Seen failing with the difference as it is: an estimate of zero, or below that of the point itself."""
    X = rng.standard_normal((600, 8)).astype(np.float32)
    model = LogisticRegression(C=10.0).fit(X, X[:, 0] + rng.standard_normal(600) > 0)
    before = dataclasses.replace(model.result_, coef=model.result_.coef + 1e-9, gap_estimate=1e-15)
    monkeypatch.setattr(module, "_cost", lambda *_: module._Cost(-1e-12, 1e-11, 1))
    problem = Problem(
        source=as_source(X),
        packed=None,
        loss="logistic",
        y=np.zeros((1, 600)),
        n_outputs=1,
        weights=None,
        penalty=1.0,
        fit_intercept=True,
        n_threads=1,
        coef_dtype=np.float32,
    )
    after = module.rounded(problem, before, 1e-8)
    assert after.exact_passes == before.exact_passes + 1
    assert after.gap_estimate > before.gap_estimate
