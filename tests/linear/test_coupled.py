"""Whole Hessians of multinomial problems, separable data. Caught: blocks alone, remainders as 1 - p."""

import mpmath
import numpy as np
import pytest
from scipy.special import expit, log_expit
from tests.linear.problems import Dense, make_problem

from mezzotint.linear import LogisticRegression, Status
from mezzotint.linear.coupled import CoupledCurvature, is_affordable, remainders
from mezzotint.packed import as_source

K, D, N = 3, 4, 80


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("penalty", [0.0, 1e-3, 1.0, "vector"])
def test_coupled_curvature_solves_with_the_dense_hessian(rng, fit_intercept, weighted, penalty):
    X = rng.standard_normal((N, D)) + 2.0
    weights = rng.integers(0, 4, N).astype(np.float64) if weighted else np.ones(N)
    p = rng.dirichlet(np.ones(K), N).T
    lam = 10.0 ** rng.uniform(-3, 0, D) if penalty == "vector" else penalty
    made = CoupledCurvature(
        as_source(X), weights, weights.sum(), lam, fit_intercept=fit_intercept, n_threads=1
    )
    assert made.build(p) == 1
    r = rng.standard_normal((K, D + 1))
    r -= r.mean(axis=0)
    if not fit_intercept:
        r[:, -1] = 0.0
    width = D + fit_intercept
    design = np.column_stack([X, np.ones(N)])[:, :width]
    hessian = np.zeros((K, width, K, width))
    for a in range(K):
        for b in range(K):
            curvature = weights / weights.sum() * p[a] * ((a == b) - p[b])
            hessian[a, :, b] = (design * curvature[:, None]).T @ design
        hessian[a, np.arange(D), a, np.arange(D)] += lam
    flat = hessian.reshape(K * width, -1)
    expected = np.linalg.lstsq(flat, r[:, :width].ravel(), rcond=1e-12)[0].reshape(K, width)
    got = made.solve(r)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(got[:, :width], expected, rtol=0, atol=1e-10 * scale)
    if not fit_intercept:
        assert not got[:, -1].any()
    np.testing.assert_allclose(got.sum(axis=0), 0.0, rtol=0, atol=1e-14 * scale)
    assert made.is_exact
    assert made.hidden(got, lam) <= 1e-9 * (r * got).sum() or penalty == 0.0


def test_solving_before_building_is_an_error():
    made = CoupledCurvature(as_source(np.eye(3)), np.ones(3), 3.0, 1.0, fit_intercept=True, n_threads=1)
    for call in (lambda: made.solve(np.zeros((2, 4))), lambda: made.hidden(np.zeros((2, 4)), 1.0)):
        with pytest.raises(RuntimeError, match="build comes before"):
            call()
    assert not made.is_exact


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_remainders_are_accurate_where_a_probability_is_nearly_one(rng, classes):
    margins = rng.standard_normal((classes, 200)) * np.geomspace(1, 200, 200)
    e = np.exp(margins - margins.max(axis=0))
    rounded = (e / e.sum(axis=0)).astype(np.float32).astype(np.float64)
    got = remainders(rounded)
    for k in range(classes):
        for i in range(200):
            exact = mpmath.fsum([mpmath.mpf(rounded[j, i]) for j in range(classes) if j != k])
            assert abs(got[k, i] - exact) <= classes * 2.0**-53 * exact
    assert got[:, -1].min() < 1e-8  # where 1 - p would be rounding


def test_only_hessians_of_some_thousand_unknowns_are_made_whole():
    assert is_affordable(10_000, 100, 10)
    assert not is_affordable(10_000, 1000, 3)
    assert not is_affordable(10**8, 100, 10)


# ------------------------------------------------------------------------------------------ separable data


def multinomial_value(coef, intercept, X, y, C):
    """scikit-learn's objective, accurate for losses near zero."""
    z = X @ coef.T + intercept
    other = z - z[np.arange(len(y)), y][:, None]
    other[np.arange(len(y)), y] = -np.inf
    return float(C * np.log1p(np.exp(other).sum(axis=1)).sum() + 0.5 * (coef**2).sum())


def multinomial_newton(X, y, C):
    """Damped Newton's method in float64 with accurate residuals: the least value."""
    design = np.column_stack([X, np.ones(len(X))])
    at, k, width = np.arange(len(y)), int(y.max()) + 1, X.shape[1] + 1
    ridge = np.append(np.ones(width - 1), 0.0)
    w, value = np.zeros((k, width)), np.inf
    for _ in range(200):
        z = w @ design.T
        p = np.exp(z - z.max(axis=0))
        p /= p.sum(axis=0)
        rest = np.array([np.delete(p, a, 0).sum(axis=0) for a in range(k)])
        residual = p.copy()
        residual[y, at] = -rest[y, at]
        hessian = np.zeros((k, width, k, width))
        for a in range(k):
            for b in range(k):
                curvature = C * p[a] * (rest[a] if a == b else -p[b])
                hessian[a, :, b] = (design * curvature[:, None]).T @ design
            hessian[a, np.arange(width), a, np.arange(width)] += ridge
        hessian[:, -1, :, -1] += np.trace(hessian[:, -1, :, -1]) / k  # of a shift of all intercepts
        gradient = C * residual @ design + ridge * w
        step = np.linalg.solve(hessian.reshape(k * width, -1), gradient.ravel()).reshape(k, width)
        tries = (w - t * step for t in 0.5 ** np.arange(30))
        better = next((v for v in tries if multinomial_value(v[:, :-1], v[:, -1], X, y, C) < value), None)
        if better is None:
            break
        w, value = better, multinomial_value(better[:, :-1], better[:, -1], X, y, C)
    return value


@pytest.mark.parametrize("C", [1e8, 1e10, 1e12])
@pytest.mark.parametrize("seed", range(3))
def test_separable_classes_with_hardly_any_penalty_are_solved(seed, C):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((170, 22)).astype(np.float32)
    y = (X @ rng.standard_normal((22, 4))).argmax(axis=1)
    model = LogisticRegression(C=C).fit(X, y)
    wide = X.astype(np.float64)
    value = multinomial_value(model.coef_, model.intercept_, wide, y, C)
    assert model.result_.status in (Status.CONVERGED, Status.FLOOR)
    assert value <= multinomial_newton(wide, y, C) * (1 + 1e-7)
    assert model.result_.objective == pytest.approx(value / (C * 170), rel=1e-9)


def binary_value(coef, intercept, X, y, C):
    z = np.where(y, 1, -1) * (X @ coef + intercept)
    return float(-C * log_expit(z).sum() + 0.5 * coef @ coef)


def dense_newton(X, y, C):
    """Damped Newton's method in float64 on scikit-learn's objective: its least value."""
    signed = np.column_stack([X, np.ones(len(X))]) * np.where(y, 1.0, -1.0)[:, None]
    ridge = np.append(np.ones(X.shape[1]), 0.0)
    w, value = np.zeros(len(ridge)), np.inf
    for _ in range(200):
        wrong, right = expit(-signed @ w), expit(signed @ w)
        gradient = ridge * w - C * signed.T @ wrong
        hessian = np.diag(ridge) + C * (signed * (wrong * right)[:, None]).T @ signed
        step, t = np.linalg.solve(hessian, gradient), 1.0
        while t > 1e-9 and binary_value(w[:-1] - t * step[:-1], w[-1] - t * step[-1], X, y, C) >= value:
            t /= 2
        if t <= 1e-9:
            break
        w = w - t * step
        value = binary_value(w[:-1], w[-1], X, y, C)
    return value


WRONG_BEFORE = [
    (1, 1e12, 8), (6, 1e6, 4), (17, 1e12, 8), (19, 1e8, 4), (19, 1e10, 4), (19, 1e12, 4), (34, 1e10, 4),
    (34, 1e12, 8), (34, 1e12, 4), (35, 1e10, 8), (37, 1e12, 8), (38, 1e10, 8), (38, 1e12, 8),
]  # fmt: skip


@pytest.mark.parametrize(("seed", "C", "bits"), WRONG_BEFORE)
def test_separable_rows_in_few_bits_are_solved(seed, C, bits):
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(60, 300)), int(rng.integers(2, 25))
    X = rng.standard_normal((n, d))
    y = X @ rng.standard_normal(d) > 0
    model = LogisticRegression(C=C, solver="newton", bits=bits).fit(X, y)
    value = binary_value(model.coef_[0], model.intercept_[0], X, y, C)
    assert model.result_.status in (Status.CONVERGED, Status.FLOOR)
    assert value <= dense_newton(X, y, C) * (1 + 1e-9)


@pytest.mark.parametrize("classes", [3, 4])
def test_classes_that_overlap_in_pairs_are_solved_by_the_whole_hessian(rng, classes):
    X = rng.standard_normal((150, 3))
    X[:, 0] += 30.0 * (np.arange(150) % 2)  # pairs of classes far apart, alike within
    y = (np.arange(150) % 2) + 2 * (rng.uniform(size=150) < 0.5) * (classes > 3)
    y = np.where((y == 0) & (classes == 3) & (rng.uniform(size=150) < 0.5), 2, y)
    problem = make_problem(X, y, "softmax", 1e-10)
    model = LogisticRegression(C=1e10 / 150, tol=1e-10).fit(X, y)
    coef = np.column_stack([model.coef_, model.intercept_])
    dense = Dense(problem)
    direction = dense.newton_direction(coef)
    better = min(dense.value(coef - t * direction) for t in (1.0, 0.5, 0.1))
    assert model.result_.status is Status.CONVERGED
    assert dense.value(coef) - better <= 1e-9 * better


LOOSE = [(43, 1e6, 0.1), (28, 1e4, 0.1), (30, 1e8, 0.1), (14, 1e8, 1e-2)]
SHORT = pytest.mark.xfail(strict=True, reason="at tol=0.3 the estimate is 25 times too small: gap 0.97 of F")


@pytest.mark.parametrize(
    ("seed", "C", "tol"), [*LOOSE, pytest.param(13, 1e8, 0.3, marks=SHORT), (13, 1e8, 0.1)]
)
def test_a_loose_estimate_on_separable_rows_is_within_ten_times_of_the_truth(seed, C, tol):
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(60, 300)), int(rng.integers(2, 25))
    X = rng.standard_normal((n, d))
    y = X @ rng.standard_normal(d) > 0
    model = LogisticRegression(C=C, tol=tol, solver="newton", bits=4).fit(X, y)
    gap = binary_value(model.coef_[0], model.intercept_[0], X, y, C) - dense_newton(X, y, C)
    assert model.result_.status is Status.CONVERGED
    assert gap <= C * n * model.result_.gap_bound
    assert gap <= 10.0 * C * n * model.result_.gap_estimate
