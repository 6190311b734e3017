"""Columns and targets of any scale. Caught: a frame that leaves single extreme columns as they are."""

import dataclasses
import subprocess
import sys

import mpmath
import numpy as np
import pytest
from tests.linear.problems import make_problem

from mezzotint.errors import DataError
from mezzotint.linear import LinearRegression, LinearSVC, LinearSVR, LogisticRegression, Ridge, Status
from mezzotint.linear.extent import column_extent, exact_extent
from mezzotint.linear.frame import FramedSource, in_frame
from mezzotint.linear.targets import units_of
from mezzotint.packed import ArraySource, as_source

SCALES = {
    np.float64: [1e-300, 1e-160, 1e-30, 1e12, 1e30, 1e160, 1e300],
    np.float32: [1e-36, 1e-30, 1e12, 1e30, 1e37],
}
EACH = [(dtype, s) for dtype, scales in SCALES.items() for s in scales]
PATHS = [{}, {"solver": "newton", "bits": 8}]
TOL = 1e-12


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(4)
    X = rng.standard_normal((600, 4)).astype(np.float32)
    t = X @ [1.0, -2, 0.5, 0] + 0.3
    return X, t + rng.logistic(size=600) > 0, t + rng.standard_normal(600)


def power(scale):
    """The nearest power of two: products with it are exact, so the problems are the same one."""
    return 2.0 ** int(np.round(np.log2(scale)))


def scaled(X, s, columns, dtype):
    factor = np.ones(X.shape[1])
    factor[columns] = s
    return (X.astype(np.float64) * factor).astype(dtype), factor


@pytest.mark.parametrize("path", PATHS, ids=str)
@pytest.mark.parametrize("columns", [slice(None), slice(1, 2)], ids=["all", "one"])
@pytest.mark.parametrize(("dtype", "scale"), EACH)
@pytest.mark.parametrize("kind", ["logistic", "least squares"])
def test_unpenalised_coefficients_go_with_the_inverse_of_a_scale(data, kind, dtype, scale, columns, path):
    X, label, target = data
    if kind == "logistic":
        make, y = (lambda: LogisticRegression(C=np.inf, tol=TOL, **path)), label
    else:
        make, y = (lambda: LinearRegression(tol=TOL, **path)), target
    s = power(scale)
    plain = make().fit(X.astype(dtype), y)
    rows, factor = scaled(X, s, columns, dtype)
    model = make().fit(rows, y)
    with np.errstate(under="ignore"):
        np.testing.assert_allclose(model.coef_.ravel() * factor, plain.coef_.ravel(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.intercept_, plain.intercept_, rtol=1e-5, atol=1e-6)
    assert model.result_.objective == pytest.approx(plain.result_.objective, rel=1e-11)


def gap_of_ridge(X, y, coef, alpha):
    """(F - F*) / F* of ridge with the best intercept, and the coefficients of the closed form."""
    with mpmath.workdps(700):
        n, d = X.shape
        A, t, w = mpmath.matrix(X.tolist()), mpmath.matrix(y.tolist()), mpmath.matrix(coef.tolist())
        for j in range(d):
            mean = mpmath.fsum(A[:, j]) / n
            for i in range(n):
                A[i, j] -= mean
        t -= mpmath.ones(n, 1) * (mpmath.fsum(t) / n)
        H = A.T * A + alpha * mpmath.eye(d)
        best = mpmath.lu_solve(H, A.T * t)
        away, rest = w - best, t - A * best
        least = (rest.T * rest + alpha * best.T * best)[0]
        return float((away.T * H * away)[0] / least), np.array([float(v) for v in best])


@pytest.mark.parametrize("path", PATHS, ids=str)
@pytest.mark.parametrize("columns", [slice(None), slice(1, 2)], ids=["all", "one"])
@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e-30, 1e-12, 1e12, 1e30, 1e100])
def test_ridge_of_scaled_columns_is_the_closed_form(data, scale, columns, path):
    X, y = data[0][:60], data[2][:60]
    rows, factor = scaled(X, scale, columns, np.float64)
    got = Ridge(tol=TOL, **path).fit(rows, y).coef_
    gap, expected = gap_of_ridge(rows, y, got, 1.0)
    assert gap <= TOL
    seen = factor >= 1.0  # a tiny column beside a penalty says nothing that the objective would notice
    np.testing.assert_allclose((got * factor)[seen], (expected * factor)[seen], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("path", PATHS, ids=str)
@pytest.mark.parametrize("exponent", [-500, -100, 40, 100, 500])
@pytest.mark.parametrize("kind", ["logistic", "ridge", "svc", "svr", "svr squared"])
def test_columns_and_penalty_of_other_units_are_the_same_problem_bit_for_bit(data, kind, exponent, path):
    X, label, target = data
    s, rows = 2.0**exponent, X.astype(np.float64)
    fits = []
    for scale, C in ((1.0, 1.0), (s, s**-2)):
        model = {
            "logistic": LogisticRegression(C=C, tol=1e-10, **path),
            "ridge": Ridge(alpha=1 / C, tol=1e-10, **path),
            "svc": LinearSVC(C=C, tol=1e-10, **path),
            "svr": LinearSVR(C=C, tol=1e-10, **path),
            "svr squared": LinearSVR(C=C, tol=1e-10, loss="squared_epsilon_insensitive", **path),
        }[kind]
        model.fit(rows * scale, label if kind in ("logistic", "svc") else target)
        assert model.result_.status is Status.CONVERGED
        fits.append((model.coef_ * scale, model.intercept_))
    np.testing.assert_array_equal(fits[1][0], fits[0][0])
    np.testing.assert_array_equal(fits[1][1], fits[0][1])


@pytest.mark.parametrize("estimator", [LogisticRegression, LinearSVC, Ridge])
@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e-30])
@pytest.mark.parametrize("path", PATHS, ids=str)
def test_tiny_columns_beside_a_penalty_leave_the_best_intercept(data, estimator, scale, path):
    X, label, target = data
    y = target if estimator is Ridge else label
    rows = X.astype(np.float64) * power(scale)
    model = estimator(tol=TOL, **path).fit(rows, y)
    assert model.result_.status is Status.CONVERGED
    assert model.result_.gap_bound <= 10 * TOL * model.result_.objective
    centre = {Ridge: target.mean(), LinearSVC: 2 * label.mean() - 1}
    share = label.mean()
    expected = centre.get(estimator, np.log(share / (1 - share)))
    np.testing.assert_allclose(model.intercept_, expected, rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-150, 1e-30, 1e8, 1e30, 1e150])
@pytest.mark.parametrize("path", PATHS, ids=str)
def test_coefficients_go_with_the_scale_of_targets(data, scale, path):
    X, y, s = data[0].astype(np.float64), data[2], power(scale)
    for estimator in (LinearRegression, Ridge):
        plain = estimator(tol=TOL, **path).fit(X, y)
        model = estimator(tol=TOL, **path).fit(X, y * s)
        np.testing.assert_allclose(model.coef_ / s, plain.coef_, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(model.intercept_ / s, plain.intercept_, rtol=1e-5, atol=1e-6)
    loss = "squared_epsilon_insensitive"
    plain = LinearSVR(loss=loss, epsilon=0.1, tol=TOL, **path).fit(X, y)
    model = LinearSVR(loss=loss, epsilon=0.1 * s, tol=TOL, **path).fit(X, y * s)
    np.testing.assert_allclose(model.coef_ / s, plain.coef_, rtol=1e-5, atol=1e-6)


def test_targets_whose_squares_are_no_floats_are_named(data):
    for estimator in (LinearRegression(), Ridge(), Ridge(solver="newton", bits=4)):
        with pytest.raises(DataError, match=r"^y reaches .*scale y"):
            estimator.fit(data[0], data[2] * 1e160)


@pytest.mark.parametrize("path", PATHS, ids=str)
def test_a_column_whose_penalty_is_no_float_is_named(data, path):
    for columns, name in ((slice(None), "column 0"), (slice(2, 3), "column 2")):
        rows, _ = scaled(data[0], 1e200, columns, np.float64)
        with pytest.raises(DataError, match=f"{name} reaches .*StandardScaler"):
            Ridge(alpha=1.0, **path).fit(rows, data[2])


@pytest.mark.parametrize("path", PATHS, ids=str)
def test_means_of_a_hundred_million_cost_no_accuracy(data, path):
    X, label, target = data
    rows = np.round(X.astype(np.float64) * 2**20) / 2**20
    for make, y in (
        (lambda: LogisticRegression(C=np.inf, tol=TOL, **path), label),
        (lambda: LogisticRegression(C=1.0, tol=TOL, **path), label),
        (lambda: LinearRegression(tol=TOL, **path), target),
        (lambda: Ridge(tol=TOL, **path), target),
    ):
        plain, model = make().fit(rows, y), make().fit(rows + 1e8, y)
        np.testing.assert_allclose(model.coef_, plain.coef_, rtol=1e-5, atol=1e-6)


END = """
import sys, warnings, numpy as np
warnings.simplefilter("ignore")
import mezzotint.linear as ml
from mezzotint.errors import DataError
rng = np.random.default_rng(0)
def end(model, X, y):
    try:
        model.fit(X, y)
        assert np.isfinite(model.coef_).all()
        print("fitted")
    except DataError as error:
        print("refused:", error)
X = rng.standard_normal((600, 12)); y = X[:, 0].copy(); X[7, 3] = np.finfo(float).max
end(ml.Ridge(), X, y); end(ml.LogisticRegression(), X, y > 0); end(ml.LinearSVC(), X, y > 0)
X = rng.standard_normal((600, 12)) * 1e160
end(ml.Ridge(), X, y); end(ml.LogisticRegression(), X, y > 0); end(ml.LinearSVC(), X, y > 0)
X = rng.standard_normal((3000, 300)).astype(np.float32)
t = X @ rng.standard_normal(300) / 300**0.5
for scale in (1e21, 1e-25):
    Z = X.copy(); Z[:, 0] *= np.float32(scale)
    for C in (1.0, np.inf):
        end(ml.LogisticRegression(C=C, solver="newton"), Z, t + rng.logistic(size=3000) > 0)
    end(ml.Ridge(solver="newton"), Z, t)
"""


def test_finite_data_come_to_an_end():
    command = [sys.executable, *["-S"] * sys.flags.no_site, "-c", END]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 12
    assert [line for line in lines[6:] if line != "fitted"] == []


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_entering_and_leaving_a_frame_are_inverse(rng, fit_intercept):
    X = rng.standard_normal((50, 4)) * [1e-200, 1.0, 1e12, 1e150] + [0, 1e9, 0, 0]
    problem = in_frame(make_problem(X, X[:, 1], "squared", 0.0, fit_intercept=fit_intercept))
    frame = problem.frame
    coef = np.append(rng.standard_normal((2, 4)) / np.abs(X).max(axis=0), rng.standard_normal((2, 1)), axis=1)
    back = frame.leave(frame.enter(coef))
    np.testing.assert_array_equal(back[:, :-1], coef[:, :-1])
    size = 1 + np.abs(coef[:, :-1] @ frame.centre).max()
    np.testing.assert_allclose(back[:, -1], coef[:, -1], rtol=0, atol=1e-14 * size)
    assert frame.centre.any() == fit_intercept
    inside = frame.enter(coef)
    margins = problem.source.block(0, 50) @ inside[:, :-1].T + inside[:, -1]
    np.testing.assert_allclose(margins, X @ coef[:, :-1].T + coef[:, -1], rtol=0, atol=1e-14 * size)


def test_rows_of_a_framed_source_are_those_of_its_blocks(rng):
    X = rng.standard_normal((200, 3)) * [1e-100, 1, 1e100]
    problem = in_frame(make_problem(X, X[:, 1], "squared", 0.0))
    assert isinstance(problem.source, FramedSource)
    index = np.array([0, 3, 77, 199])
    np.testing.assert_array_equal(problem.source.rows(index), problem.source.block(0, 200)[index])
    np.testing.assert_array_equal(problem.source.block(3, 4)[0], problem.source.rows(index)[1])
    assert np.abs(problem.source.block(0, 200)).max() < 8


def test_ordinary_columns_need_no_frame(rng):
    problem = make_problem(rng.standard_normal((50, 2)) + 100, rng.standard_normal(50), "squared", 1.0)
    assert in_frame(problem) is problem


def test_an_extent_is_of_the_rows_that_count_and_its_reach_of_all(rng):
    X, weights = rng.standard_normal((30_000, 50)), (np.arange(30_000) % 3 > 0).astype(np.float64)
    X[0, 0], X[1, 1] = 1e9, -1e9
    extent = exact_extent(as_source(X), weights)
    np.testing.assert_array_equal(extent.low, X[weights > 0].min(axis=0))
    np.testing.assert_array_equal(extent.high, X[weights > 0].max(axis=0))
    np.testing.assert_array_equal(extent.reach, np.abs(X).max(axis=0))
    assert extent.magnitude[1] == 1e9 > extent.magnitude[0]


def test_a_column_of_rare_values_is_read_whole():
    X = np.ones((300_000, 8), np.float32)
    X[:, 5] = 0
    X[77_777, 5] = -1e30
    extent = column_extent(ArraySource(X), None, None, 0)
    assert (extent.low[5], extent.high[5]) == (np.float32(-1e30), 0.0)


@pytest.mark.parametrize(("size", "loss", "root"), [(1e30, "squared", 2), (1e-9, "epsilon_insensitive", 1)])
def test_units_of_targets_are_powers_of_two_around_their_mean(rng, size, loss, root):
    y = size * (5 + rng.standard_normal(100))
    ends = y if loss == "squared" else np.stack([y - size, y + size])
    problem = make_problem(rng.standard_normal((100, 2)), y, loss, 0.25)
    problem = problem if loss == "squared" else make_interval(problem, ends)
    units = units_of(problem)
    inside = units.inside(problem)
    assert units.loss_power == root
    assert 0.5 <= np.abs(inside.y).max() <= 2.0
    np.testing.assert_allclose(np.ldexp(inside.y, units.exponent) + y.mean(), problem.y, rtol=1e-14)
    assert inside.penalty == np.ldexp(0.25, 0 if loss == "squared" else units.exponent)
    coef = rng.standard_normal((1, 3))
    np.testing.assert_array_equal(units.enter(coef)[0, :-1], np.ldexp(coef[0, :-1], -units.exponent))


def make_interval(problem, ends):
    """The same problem with lower and upper ends for targets."""
    return dataclasses.replace(problem, y=np.ascontiguousarray(ends), n_outputs=1)


@pytest.mark.parametrize(("dtype", "constant"), [(np.float32, 1e4), (np.float32, 1e8), (np.float64, 1e8)])
def test_a_large_constant_column_leaves_its_penalty_to_decide(rng, dtype, constant):
    """1e8 in a column hid a penalty 1e26 times smaller: its weight and the intercept cancelled instead."""
    X = rng.standard_normal((9, 5)).astype(dtype)
    X[:, 3] = constant
    y = 1e-7 * rng.standard_normal(9)
    model = Ridge(alpha=1e-10, solver="newton", bits=4).fit(X, y)
    assert abs(model.coef_[3]) * constant <= 1e-9 * np.abs(y).max()
