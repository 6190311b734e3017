"""Would catch: another solution than the one of least norm where columns are dependent."""

import numpy as np
import pytest
import scipy.linalg
import threadpoolctl

from mezzotint.linear import LinearRegression, Ridge, Status, nullspace


def deficient(rng, kind, n, d):
    X = rng.standard_normal((n, d)) + 1
    if kind == "repeated":
        X[:, 1] = X[:, 0]
    elif kind == "constant":
        X[:, 1], X[:, 2] = 3.7, 0.0
    elif kind == "combined":
        X[:, 1] = X[:, 3:8] @ rng.standard_normal(5)
    elif kind == "scaled":
        X[:, 1], X[:, 5] = 1e4 * X[:, 3], 1e-3 * X[:, 6]
    elif kind == "one-hot":
        X = np.eye(d)[rng.integers(0, d, n)]
    elif kind == "float32":
        X = X.astype(np.float32)
        X[:, 1], X[:, 4] = X[:, 0], 0.1
    return X


def lstsq(X, y, weights, fit_intercept):
    """SciPy's solution of the centred, weighted problem."""
    X = X.astype(np.float64)
    mean = np.average(X, axis=0, weights=weights) * fit_intercept
    y_mean = np.average(y, axis=0, weights=weights) * fit_intercept
    root = np.sqrt(weights)[:, None]
    coef = scipy.linalg.lstsq((X - mean) * root, (y - y_mean) * root, cond=1e-12)[0].T
    return coef, y_mean - coef @ mean


@pytest.fixture(params=["decomposition", "Gram matrix"])
def route(request, monkeypatch):
    if request.param == "Gram matrix":
        monkeypatch.setattr(nullspace, "_DECOMPOSED_WORK", 0)
    return request.param


@pytest.mark.parametrize("kind", ["repeated", "constant", "combined", "scaled", "one-hot", "float32"])
@pytest.mark.parametrize("shape", [(600, 30), (40, 90), (30, 30)])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_the_solution_has_least_norm(rng, route, kind, shape, fit_intercept):
    X = deficient(rng, kind, *shape)
    y = X[:, :9] @ rng.standard_normal((9, 2)) + rng.standard_normal((len(X), 2)) + 2
    weights = rng.integers(0, 3, len(X)).astype(np.float64)
    model = LinearRegression(fit_intercept=fit_intercept).fit(X, y, weights)
    coef, intercept = lstsq(X, y, weights, fit_intercept)
    scale = max(1.0, np.abs(coef).max())
    rounding = 6e-8 if kind == "float32" else 0.0
    np.testing.assert_allclose(model.coef_, coef, rtol=rounding, atol=3e-8 * scale)
    np.testing.assert_allclose(model.intercept_, intercept, rtol=rounding, atol=3e-8 * scale)
    assert model.result_.status is Status.CONVERGED


@pytest.mark.parametrize("solver", ["newton", "auto"])
def test_the_packed_solver_gives_way_to_dependent_columns(rng, solver):
    X = deficient(rng, "repeated", 3000, 8)
    model = LinearRegression(solver=solver, bits=4).fit(X, X[:, 0] + rng.standard_normal(3000))
    assert model.coef_[0] == pytest.approx(model.coef_[1], abs=1e-12)
    assert model.result_.solver == "exact"


def test_independent_columns_do_not_cost_a_decomposition(rng, monkeypatch):
    monkeypatch.setattr(nullspace, "dependence", lambda *_, **__: pytest.fail("decomposed"))
    X = rng.standard_normal((3000, 20)) * np.geomspace(1e-4, 1e4, 20)
    LinearRegression(solver="newton").fit(X, X[:, 0])


def test_a_large_doubtful_problem_goes_back_to_the_solver(rng, route):
    X = rng.standard_normal((2000, 5))
    X[:, 1] = X[:, 0] + 1e-6 * rng.standard_normal(2000)
    y = X[:, 2] + rng.standard_normal(2000)
    model = LinearRegression(tol=1e-14).fit(X, y)
    assert model.result_.solver == ("exact" if route == "decomposition" else model.result_.solver)
    coef, _ = lstsq(X, y[:, None], np.ones(2000), True)
    np.testing.assert_allclose(model.predict(X), (X - X.mean(axis=0)) @ coef[0] + y.mean(), atol=1e-6)


def test_a_perfect_fit_is_perfect(rng):
    X = rng.standard_normal((20, 60))
    y = rng.standard_normal(20)
    np.testing.assert_allclose(LinearRegression().fit(X, y).predict(X), y, atol=1e-12)


def test_one_row_is_predicted_by_the_intercept():
    model = LinearRegression().fit([[1.0, 2.0]], [3.0])
    assert model.coef_.tolist() == [0.0, 0.0]
    assert model.intercept_ == 3.0


def test_ridge_without_a_penalty_is_least_norm_too(rng):
    X = deficient(rng, "repeated", 100, 9)
    expected = LinearRegression().fit(X, X[:, 3]).coef_
    np.testing.assert_array_equal(Ridge(alpha=0.0).fit(X, X[:, 3]).coef_, expected)


def test_the_number_of_blas_threads_does_not_show(rng, route):
    X = deficient(rng, "combined", 800, 40)
    y = X[:, 0] + rng.standard_normal(800)
    fits = set()
    for k in (1, 2):
        with threadpoolctl.threadpool_limits(k):
            fits.add(LinearRegression(n_jobs=k).fit(X, y).coef_.tobytes())
    assert len(fits) == 1
