"""Bounds against what is true. Caught: intercepts whose curvature was averaged over rows of weight zero."""

import fractions
import math

import numpy as np
import pytest
from tests.linear.problems import Dense, make_problem, optimum

from mezzotint.linear import LinearRegression, LinearSVC, LogisticRegression, Ridge, Status, newton
from mezzotint.linear.certificate import certify, growth_within

N = 20_480


@pytest.fixture(scope="module")
def rare():
    """One label in a hundred, so that nearly all of the fit is the intercept."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((N, 3)), np.zeros(N, int)
    y[rng.permutation(N)[:200]] = 1
    return X, y, {"plain": None, "aliased": (np.arange(N) % 5 != 0).astype(np.float64)}


@pytest.mark.filterwarnings("ignore:LogisticRegression stopped at max_iter")
@pytest.mark.parametrize("weights", ["plain", "aliased"])
@pytest.mark.parametrize("C", [1e-6, 1e-4, 1e-2, 1.0])
def test_the_bound_holds_wherever_halp_and_newton_stop(rare, weights, C):
    X, y, weight = rare
    w = weight[weights]
    best = LogisticRegression(C=C, bits=32, tol=1e-13).fit(X, y, w).result_.objective
    ends = [{"solver": "halp", "max_iter": m} for m in (1, 2, 3)]
    ends += [{"solver": solver, "tol": tol} for solver in ("newton", "halp") for tol in (0.1, 1e-2, 1e-4)]
    for end in ends:
        with np.errstate(all="raise", under="ignore"):
            result = LogisticRegression(C=C, **end).fit(X, y, w).result_
        assert result.objective - best <= result.gap_bound, end
        assert np.isfinite(result.gap_bound) or result.status is not Status.CONVERGED, end


@pytest.mark.parametrize("weights", [None, np.arange(N) % 5 != 0])
@pytest.mark.parametrize("tol", [1e-2, 1e-4, 1e-8])
def test_the_bound_of_ridge_holds_although_the_penalty_is_all_there_is(rng, weights, tol):
    X = rng.standard_normal((N, 3)).astype(np.float32)
    y = X @ [1.0, 2, 3] + 5 + rng.standard_normal(N)
    result = Ridge(alpha=1e5, tol=tol, solver="newton", bits=4).fit(X, y, weights).result_
    best = Ridge(alpha=1e5, tol=1e-13, bits=32).fit(X, y, weights).result_
    assert result.objective - best.objective <= result.gap_bound < np.inf


@pytest.mark.parametrize("curvature", [np.zeros((1, 1)), np.full((1, 1), 1e-9)])
def test_a_slope_in_the_intercept_that_nothing_curves_has_no_bound(curvature):
    problem = make_problem(np.eye(4), [0, 1, 1, 1], "logistic", 1.0)
    point = problem.evaluate(problem.zeros())
    assert point.gradient[0, -1] == -0.25
    certificate = certify(problem, point, 0.0, curvature)
    assert (certificate.gap_bound, certificate.coef_bound) == (np.inf, np.inf)
    near = certify(problem, point, 0.0, np.full((1, 1), 10.0))
    assert near.gap_bound >= 2 * 0.25**2 / 10.0


def test_without_a_penalty_there_is_no_bound(rng):
    X = rng.standard_normal((50, 2))
    assert LinearRegression().fit(X, X[:, 0]).result_.gap_bound == np.inf


def exact_gap(X, y, coef, intercept, alpha):
    """F - F* of ridge with an intercept, in rational numbers."""
    rows = [[fractions.Fraction(float(v)) for v in row] for row in X]
    y, lam = [fractions.Fraction(float(v)) for v in y], fractions.Fraction(alpha) / len(y)
    n, d = len(rows), len(rows[0])
    A = [[*row, fractions.Fraction(1)] for row in rows]
    H = [[sum(a[i] * a[j] for a in A) / n + (lam if i == j < d else 0) for j in range(d + 1)]
         for i in range(d + 1)]  # fmt: skip
    w = [fractions.Fraction(float(v)) for v in (*coef, intercept)]
    r = [sum(p * q for p, q in zip(a, w, strict=True)) - t for a, t in zip(A, y, strict=True)]
    g = [sum(a[i] * e for a, e in zip(A, r, strict=True)) / n + (lam * w[i] if i < d else 0)
         for i in range(d + 1)]  # fmt: skip
    left = [[*row, v] for row, v in zip(H, g, strict=True)]
    for i in range(d + 1):  # Gauss and Jordan: H is positive definite
        left[i] = [v / left[i][i] for v in left[i]]
        for j in range(d + 1):
            if j != i:
                left[j] = [a - left[j][i] * b for a, b in zip(left[j], left[i], strict=True)]
    return sum(a * row[-1] for a, row in zip(g, left, strict=True)) / 2


@pytest.mark.filterwarnings("ignore:Ridge stopped at the floor")  # what an intercept of 1e12 rounds to is it
@pytest.mark.parametrize("mean", [0.0, 1e4, 1e8, 1e12])
@pytest.mark.parametrize("column_mean", [0.0, 1e8])
@pytest.mark.parametrize("settings", [{}, {"solver": "newton", "bits": 8}, {"solver": "halp"}], ids=str)
def test_what_rounding_does_to_intercepts_is_in_the_bound(rng, mean, column_mean, settings):
    X = rng.standard_normal((60, 3)) + column_mean
    y = X @ [1.0, -2, 3] + rng.standard_normal(60) + mean
    model = Ridge(alpha=2.0, tol=1e-12, **settings).fit(X, y)
    gap = exact_gap(X, y, model.coef_, model.intercept_, 2.0)
    assert gap <= fractions.Fraction(model.result_.gap_bound)


def test_growth_is_at_least_the_exponential_of_the_change():
    for change in (1e-3, 0.1, 1.0, 3.0, 20.0):
        assert growth_within("logistic", change) >= math.exp(change)
        assert growth_within("softmax", change) >= math.exp(2 * change)


def test_growth_of_little_change_is_little_and_of_losses_without_a_third_derivative_is_none():
    assert growth_within("logistic", 0.0) == 1.0
    assert growth_within("logistic", 0.1) == pytest.approx(math.exp(0.1), rel=1e-4)
    assert growth_within("softmax", 0.1) == growth_within("logistic", 0.2)
    assert growth_within("squared", 5.0) == growth_within("squared_hinge", 5.0) == 1.0


@pytest.mark.filterwarnings("ignore:LogisticRegression stopped")
@pytest.mark.parametrize("path", [{}, {"solver": "newton", "bits": 8}], ids=str)
def test_nothing_has_converged_that_may_have_grown_too_much(rng, monkeypatch, path):
    X = rng.standard_normal((300, 4))
    y = X[:, 0] + rng.logistic(size=300) > 0
    model = LogisticRegression(C=np.inf, **path)  # no bound settles it
    assert model.fit(X, y).result_.status is Status.CONVERGED
    monkeypatch.setattr(newton, "growth_within", lambda *_: 1e60)
    assert model.fit(X, y).result_.status is not Status.CONVERGED


def test_growth_ends_where_it_means_nothing():
    assert growth_within("softmax", 1e30) == 1e100


def fitted(kind, seed, settings):
    """A random small problem, unpacked, and the result of an estimator."""
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(80, 400)), int(rng.integers(2, 12))
    X = rng.standard_normal((n, d)) * 10.0 ** rng.uniform(-1, 1, d)
    t = X @ (rng.standard_normal((d, 3)) / X.std(axis=0)[:, None]) + rng.gumbel(size=(n, 3))
    weights, C = rng.integers(0, 3, n).astype(np.float64), 10.0 ** rng.uniform(-2, 3)
    lam = 1.0 / (C * weights.sum())
    if kind == "ridge":
        y, loss = t[:, 0], "squared"
        model = Ridge(alpha=1.0 / C, tol=1e-5, **settings)
    elif kind == "squared hinge":
        y, loss = (t[:, 0] > 0).astype(int), "squared_hinge"
        model = LinearSVC(C=C, tol=1e-5, **settings)
    else:
        y, loss = (t.argmax(axis=1), "softmax") if kind == "softmax" else ((t[:, 0] > 0) * 1, "logistic")
        model = LogisticRegression(C=C, tol=1e-5, **settings)
    return make_problem(X, y, loss, lam, weights=weights), model.fit(X, y, weights), (X, y, weights)


@pytest.mark.parametrize("kind", ["logistic", "softmax", "squared hinge", "ridge"])
@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("seed", range(4))
def test_an_estimate_that_says_converged_is_within_ten_times_of_the_truth(kind, bits, seed):
    problem, model, (X, y, weights) = fitted(kind, seed, {"solver": "newton", "bits": bits})
    result = model.result_
    if kind == "squared hinge":
        tight = type(model)(C=model.C, tol=1e-15, bits=32).fit(X, y, weights).result_
        value, best = result.objective, tight.objective
    else:
        value, best = Dense(problem).value(result.coef), optimum(problem)[0]
        assert result.objective == pytest.approx(value, rel=1e-13)
    rounding = 4e-16 * abs(value)
    assert result.status is Status.CONVERGED
    assert value - best <= 10.0 * result.gap_estimate + rounding
    assert value - best <= result.gap_bound + rounding
