"""Columns that others express. Caught: means left in when ranks are decided, constant columns kept."""

import os

import numpy as np
import pytest
import scipy.linalg
from sklearn.exceptions import ConvergenceWarning
from tests.linear.problems import make_problem

from mezzotint.errors import DataError
from mezzotint.linear import LinearRegression, LogisticRegression, Ridge, Status, nullspace
from mezzotint.linear.nullspace import check_memory, dependence, looks_deficient
from mezzotint.packed import ArraySource

PATHS = [{}, {"solver": "newton", "bits": 8}, {"solver": "newton", "bits": 4}]
TOL = 1e-10


@pytest.fixture
def by_gram_matrices(monkeypatch):
    monkeypatch.setattr(nullspace, "_DECOMPOSED_WORK", 0)


# ------------------------------------------------------------------------------------ constant columns


@pytest.mark.parametrize("path", PATHS, ids=str)
@pytest.mark.parametrize("constant", [1.0, 7.0, 2025.0])
@pytest.mark.parametrize(("n", "classes"), [(442, 2), (5000, 2), (60_000, 2), (442, 3), (12_000, 3)])
def test_a_constant_column_beside_an_intercept_gets_nothing(rng, n, classes, constant, path):
    X = rng.standard_normal((n, 5))
    y = (X @ rng.standard_normal((5, classes)) + 2 * rng.gumbel(size=(n, classes))).argmax(axis=1)
    plain = LogisticRegression(C=np.inf, tol=TOL, bits=32).fit(X, y)
    model = LogisticRegression(C=np.inf, tol=TOL, **path).fit(np.insert(X, 2, constant, axis=1), y)
    assert model.result_.status is Status.CONVERGED
    assert model.result_.objective <= plain.result_.objective * (1 + TOL)
    assert np.abs(model.coef_[:, 2]).max() * constant <= 1e-9
    np.testing.assert_allclose(np.delete(model.coef_, 2, 1), plain.coef_, rtol=0, atol=2e-4)
    np.testing.assert_allclose(model.intercept_, plain.intercept_, rtol=0, atol=2e-4)


@pytest.mark.parametrize("path", PATHS, ids=str)
@pytest.mark.parametrize("n", [500, 60_000])
def test_a_column_that_is_constant_within_a_fold_is_constant(rng, n, path):
    X, fold = rng.standard_normal((n, 4)), np.arange(n) % 5 != 0
    X[fold, 1] = 2025.0
    y = X[:, 0] + rng.logistic(size=n) > 0
    model = LogisticRegression(C=np.inf, tol=TOL, **path).fit(X, y, sample_weight=fold)
    plain = LogisticRegression(C=np.inf, tol=TOL, bits=32).fit(np.delete(X, 1, 1)[fold], y[fold])
    assert model.result_.status is Status.CONVERGED
    assert model.result_.objective <= plain.result_.objective * (1 + TOL)
    assert abs(model.coef_[0, 1]) * 2025.0 <= 1e-9


# --------------------------------------------------------------------------------- means, sums of columns


@pytest.mark.parametrize("mean", [0.0, 1e2, 1e4, 1e6, 1e8])
@pytest.mark.parametrize("kind", ["wide", "sum", "constant"])
def test_a_mean_does_not_lengthen_the_solution_of_least_norm(rng, mean, kind):
    X = rng.standard_normal((20, 50) if kind == "wide" else (300, 6))
    if kind == "constant":
        X[:, 1] = 2025.0
    X += mean
    if kind == "sum":
        X[:, 5] = X[:, 0] + X[:, 1]
    y = X[:, 2] - mean + rng.standard_normal(len(X))
    exactly = X.astype(np.longdouble)
    centred = (exactly - exactly.mean(axis=0)).astype(np.float64)
    expected = np.linalg.lstsq(centred, y - y.mean(), rcond=1e-6)[0]
    digits = 1e-9 + 1e-14 * mean  # values of a given mean have no more
    coef = LinearRegression(tol=TOL).fit(X, y).coef_
    np.testing.assert_allclose(coef, expected, rtol=0, atol=10 * digits)
    np.testing.assert_allclose(Ridge(alpha=0.0, tol=TOL).fit(X, y).coef_, coef, rtol=0, atol=0)


@pytest.mark.parametrize("path", PATHS, ids=str)
@pytest.mark.parametrize("alpha", [1e-12, 1e-15, 1e-18, 1e-30])
def test_hardly_any_penalty_on_wide_data_fits_them(rng, alpha, path):
    X, y = rng.standard_normal((30, 80)), rng.standard_normal(30)
    model = Ridge(alpha=alpha, **path).fit(X, y)
    np.testing.assert_allclose(model.predict(X), y, rtol=0, atol=1e-8)
    expected = np.linalg.pinv(X - X.mean(axis=0)) @ (y - y.mean())
    if path == {} and alpha >= 1e-15:  # less is no part of the objective that float64 could tell
        np.testing.assert_allclose(model.coef_, expected, rtol=0, atol=1e-8)


# ------------------------------------------------------------------- classification without a penalty, wide


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("scale", [1.0, 1e-8])
def test_wide_data_that_can_be_separated_say_so(rng, classes, scale):
    X, y = scale * rng.standard_normal((40, 90)), np.arange(40) % classes
    with pytest.warns(ConvergenceWarning, match="separated"):
        model = LogisticRegression(C=np.inf).fit(X, y)
    assert model.result_.status is Status.SEPARABLE
    assert model.score(X, y) == 1.0
    assert np.isfinite(model.result_.gap_estimate)


@pytest.mark.parametrize("classes", [2, 3])
def test_wide_data_with_repeated_rows_have_a_solution_of_least_norm(rng, classes):
    X = np.repeat(rng.standard_normal((12, 40)), 6, axis=0)
    y = np.arange(72) % 6 % classes  # each row with every label, in unequal shares
    y[::6] = np.arange(12) % classes
    model = LogisticRegression(C=np.inf, tol=1e-14).fit(X, y)
    assert model.result_.status is Status.CONVERGED
    shares = np.array([np.bincount(y[6 * i : 6 * i + 6], minlength=classes) / 6 for i in range(12)])
    np.testing.assert_allclose(model.predict_proba(X[::6]), shares, rtol=0, atol=1e-6)
    centred = X[::6] - X[::6].mean(axis=0)
    np.testing.assert_allclose(model.coef_ @ np.linalg.pinv(centred) @ centred, model.coef_, atol=1e-9)


# --------------------------------------------------------------------------------------- the set of columns


def dependent_columns(rng, n, condition):
    """Independent columns of a condition number, in any order with as many combinations of theirs."""
    r, q = int(rng.integers(3, 9)), int(rng.integers(1, 6))
    u = np.linalg.qr(rng.standard_normal((n, r)))[0]
    base = (u * np.geomspace(1.0, 1.0 / condition, r)) @ np.linalg.qr(rng.standard_normal((r, r)))[0]
    X = np.hstack([base, base @ rng.standard_normal((r, q))])[:, rng.permutation(r + q)]
    return X * np.sqrt(n), r, q


@pytest.mark.parametrize("condition", [1.0, 1e2, 1e4])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_gram_matrices_find_as_many_columns_as_a_decomposition(rng, monkeypatch, condition, fit_intercept):
    for _ in range(10):
        X, r, q = dependent_columns(rng, 200, condition)
        problem = make_problem(X, X[:, 0], "squared", 0.0, fit_intercept=fit_intercept)
        assert looks_deficient(problem, 0)
        found = [dependence(problem)]
        with monkeypatch.context() as patch:
            patch.setattr(nullspace, "_DECOMPOSED_WORK", 0)
            found.append(dependence(problem))
        for each in found:
            assert (len(each.independent), len(each.dependent)) == (r, q)
            assert sorted([*each.independent, *each.dependent]) == list(range(r + q))
            centred = X - each.mean
            left = centred[:, each.dependent] - centred[:, each.independent] @ each.factors
            size = np.abs(centred).max() * (1 + np.abs(each.factors).sum(axis=0))
            assert (np.abs(left).max(axis=0) <= 1e-13 * condition * size).all()


@pytest.mark.parametrize("route", ["decomposition", "Gram matrices"])
def test_columns_a_millionth_apart_are_independent(rng, monkeypatch, route):
    if route == "Gram matrices":
        monkeypatch.setattr(nullspace, "_DECOMPOSED_WORK", 0)
    for mean in (0.0, 100.0):
        X = rng.standard_normal((400, 6)) + mean
        X[:, 4] = X[:, 1] + 1e-6 * rng.standard_normal(400)
        assert dependence(make_problem(X, X[:, 0], "squared", 0.0)) is None


def test_many_rows_with_nearly_dependent_columns_are_solved(rng, by_gram_matrices):
    X = rng.standard_normal((3000, 5))
    X[:, 4] = X[:, 1] + 1e-5 * rng.standard_normal(3000)
    y = X @ [1.0, 2, 3, 4, 0] + rng.standard_normal(3000)
    centred = X - X.mean(axis=0)
    expected = centred @ scipy.linalg.lstsq(centred, y)[0] + y.mean()
    np.testing.assert_allclose(LinearRegression(tol=1e-14).fit(X, y).predict(X), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("path", PATHS, ids=str)
@pytest.mark.parametrize("gram", [False, True])
def test_least_norm_is_that_of_a_pseudoinverse(rng, monkeypatch, gram, path):
    if gram:
        monkeypatch.setattr(nullspace, "_DECOMPOSED_WORK", 0)
    X, _, _ = dependent_columns(rng, 2000, 10.0)
    X += rng.uniform(-3, 3, X.shape[1])
    y = X[:, 0] + rng.standard_normal(2000)
    expected = np.linalg.pinv(X - X.mean(axis=0), rcond=1e-9) @ (y - y.mean())
    got = LinearRegression(tol=1e-13, **path).fit(X, y).coef_
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("few", [True, False])
def test_both_ways_to_least_norm_keep_the_fit_and_end_in_the_row_space(rng, few):
    r, q = (7, 2) if few else (2, 7)
    base = rng.standard_normal((60, r))
    X = np.hstack([base, base @ rng.standard_normal((r, q))]) + 5.0
    found = dependence(make_problem(X, X[:, 0], "squared", 0.0))
    coef = rng.standard_normal((2, r + q + 1))
    least = found.least_norm(coef)
    np.testing.assert_allclose(
        least[:, :-1] @ X.T + least[:, -1:], coef[:, :-1] @ X.T + coef[:, -1:], atol=1e-11
    )
    centred = X - X.mean(axis=0)
    np.testing.assert_allclose(
        least[:, :-1], coef[:, :-1] @ np.linalg.pinv(centred, 1e-9) @ centred, atol=1e-11
    )


# --------------------------------------------------------------------------------------- memory and reads


def test_more_columns_than_memory_are_refused_before_any_work(monkeypatch):
    pages = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 4 * 2**30 // 4096}
    monkeypatch.setattr(os, "sysconf", pages.__getitem__)
    with pytest.raises(DataError, match=r"65536 columns need matrices of 77 GB, and there are 4 GB"):
        check_memory(65_536)
    check_memory(10_000)


class Counting:
    """A source that is never there all at once and counts the rows that are read."""

    def __init__(self, array):
        self.inner, self.shape, self.dtype = ArraySource(array), array.shape, array.dtype
        self.whole, self.n_read = None, 0

    def block(self, start, stop):
        self.n_read += stop - start
        return self.inner.block(start, stop)

    def rows(self, index):
        self.n_read += len(index)
        return self.inner.rows(index)


def test_wide_data_are_read_a_handful_of_times_however_many_segments(rng):
    for n in (600, 1100):
        source = Counting(rng.standard_normal((n, 1600)).astype(np.float32))
        result = LinearRegression().fit(source, source.inner.block(0, n)[:, 0]).result_
        assert result.status is Status.CONVERGED
        assert result.exact_passes <= 5
        # Finite? how far? the mean, the Gram matrix (twice), and then a gradient and a step in three reads.
        assert source.n_read <= (5 + 3 * result.exact_passes) * n


# ------------------------------------------------------------------------------------ feeble penalties


@pytest.mark.parametrize("path", PATHS, ids=str)
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("alpha", [1e-16, 1e-13, 1e-9])
def test_weights_under_a_feeble_penalty_are_combinations_of_the_rows(rng, alpha, fit_intercept, path):
    """Seen failing without `in_row_space`: gradients do not show what no row sees, to 1e-5 of the weights."""
    X, y = rng.standard_normal((50, 100)) + 1.0, rng.standard_normal(50)
    model = Ridge(alpha=alpha, fit_intercept=fit_intercept, tol=1e-12, **path).fit(X, y)
    mean, middle = (X.mean(axis=0), y.mean()) if fit_intercept else (0.0, 0.0)
    A = X - mean
    expected = A.T @ np.linalg.lstsq(A @ A.T + alpha * np.eye(50), y - middle, rcond=1e-14)[0]
    np.testing.assert_allclose(model.coef_, expected, rtol=0, atol=1e-9)
    np.testing.assert_allclose(X @ model.coef_ + model.intercept_, y, rtol=0, atol=1e-7)
    assert model.result_.status is Status.CONVERGED


def test_columns_too_unlike_keep_the_fit_rather_than_the_least_norm():
    """Least norm in units of the data moved weights of 8e15 to columns where they cancel: the fit went."""
    rng = np.random.default_rng(3)
    a, b = rng.standard_normal((2, 45))
    X = np.column_stack([a, b * 1e-16, a + b * 1e-13, rng.standard_normal(45)])
    y = 3.0 * b + 1e-3 * rng.standard_normal(45)
    result = LinearRegression().fit(X, y).result_
    A = np.column_stack([np.ones(45), a, b, X[:, 3]])
    residual = y - A @ np.linalg.lstsq(A, y)[0]
    assert result.objective <= 0.5 * np.mean(residual**2) * 1.01


# ------------------------------------------------------------------------------------ digits in doubt


@pytest.mark.parametrize("path", PATHS, ids=str)
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("left", [1e-14, 4e-14])
def test_what_digits_in_doubt_would_have_gained_counts_to_the_gap(rng, left, fit_intercept, path):
    """Seeds 16646 and 16934: pinned columns of which 30 to 200 roundings were left, and the fit hung on them.

    Seen failing (converged, without a warning) without `doubt`, and with a gain of zero.
    """
    a, b, hidden = rng.standard_normal((3, 200))
    X = np.column_stack([a, b, a + b + left * hidden])
    real = (X[:, 2].astype(np.longdouble) - X[:, 0] - X[:, 1]).astype(np.float64)
    y = a - b + 3.0 * real / np.linalg.norm(real) * np.sqrt(200) + rng.standard_normal(200)
    with pytest.warns(ConvergenceWarning, match="floor"):
        result = LinearRegression(fit_intercept=fit_intercept, **path).fit(X, y).result_
    A = np.column_stack([a, b, real / np.linalg.norm(real)] + [np.ones(200)] * fit_intercept)
    least = 0.5 * np.mean((y - A @ np.linalg.lstsq(A, y)[0]) ** 2)
    assert result.status is Status.FLOOR
    assert result.gap_estimate == pytest.approx(result.objective - least, rel=0.05)


@pytest.mark.parametrize("seed", range(6))
def test_dependent_columns_of_ordinary_arithmetic_are_in_no_doubt(seed):
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(30, 400)), int(rng.integers(4, 30))
    a, b = rng.standard_normal((2, n))
    X = [
        rng.standard_normal((n, 3)) @ rng.standard_normal((3, d)),
        np.column_stack([a, b, a + b, a * a, b * b, a * b, (a + b) ** 2]),
        np.column_stack([np.eye(d)[rng.integers(0, d, n)], a]),
    ][seed % 3]
    result = LinearRegression().fit(X, 1e8 * a + rng.standard_normal(n)).result_
    assert result.status is Status.CONVERGED
