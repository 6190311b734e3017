"""Losses with kinks. Caught: slopes that do not cancel, multipliers left at zero, rows curved beyond a kink,

the bound of the last step instead of the highest, steps in zigzag where no row lies on a kink, classes that
saw each other's labels.
"""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn import svm as plain
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import scale
from tests.linear.problems import make_problem

import mezzotint as mz
from mezzotint import kernels
from mezzotint.errors import ParameterError
from mezzotint.linear import LinearSVC, LinearSVR, Status, multipliers

HINGE, INSENSITIVE = {"loss": "hinge"}, {"loss": "epsilon_insensitive"}


def classes(n, d, n_classes=2, seed=0):
    rng = np.random.default_rng([n, d, seed])
    X = rng.standard_normal((n, d))
    scores = X @ rng.standard_normal((d, n_classes)) / np.sqrt(d) + 0.5 * rng.gumbel(size=(n, n_classes))
    return X, scores.argmax(axis=1)


def hinge_objective(model, X, y, C, weights=1.0):
    margin = np.where(y == model.classes_[1], 1, -1) * (X @ model.coef_[0] + model.intercept_[0])
    return C * (weights * np.maximum(0, 1 - margin)).sum() + 0.5 * (model.coef_**2).sum()


def insensitive_objective(model, X, y, C, epsilon):
    beyond = np.maximum(0, np.abs(X @ model.coef_ + model.intercept_ - y) - epsilon)
    return C * beyond.sum() + 0.5 * (model.coef_**2).sum()


def quadratic_program(X, C, excess):
    """w, b of least C sum(xi) + |w|^2 / 2 with xi >= 0 and xi >= each of the rows of excess(w, b)."""
    n, d = X.shape
    start = np.concatenate([np.zeros(d + 1), np.full(n, 2.0)])
    constraints = {
        "type": "ineq",
        "fun": lambda v: (v[d + 1 :] - excess(v[:d], v[d])).ravel(),
    }
    found = minimize(
        lambda v: C * v[d + 1 :].sum() + 0.5 * v[:d] @ v[:d],
        start,
        jac=lambda v: np.concatenate([v[:d], [0.0], np.full(n, C)]),
        method="SLSQP",
        bounds=[(None, None)] * (d + 1) + [(0, None)] * n,
        constraints=constraints,
        options={"ftol": 1e-12, "maxiter": 500},
    )
    return SimpleNamespace(coef_=found.x[None, :d], intercept_=found.x[d : d + 1], classes_=[0, 1])


@pytest.mark.parametrize("C", [0.1, 3.0])
def test_the_optimum_is_that_of_a_quadratic_program(C, rng):
    X, y = classes(30, 3)
    sign = 2 * y - 1
    best = quadratic_program(X, C, lambda w, b: 1 - sign * (X @ w + b))
    model = LinearSVC(C, loss="hinge", tol=1e-12).fit(X, y)
    found = [hinge_objective(m, X, y, C) for m in (model, best)]
    assert found[0] <= found[1] * (1 + 1e-12)
    assert found[0] == pytest.approx(found[1], rel=1e-6)
    target = X[:, 0] + rng.standard_normal(30)
    best = quadratic_program(X, C, lambda w, b: np.stack([s * (X @ w + b - target) - 0.3 for s in (1, -1)]))
    model = LinearSVR(C=C, epsilon=0.3, tol=1e-12, **INSENSITIVE).fit(X, target)
    best.coef_ = best.coef_[0]
    found = [insensitive_objective(m, X, target, C, 0.3) for m in (model, best)]
    assert found[0] <= found[1] * (1 + 1e-12)
    assert found[0] == pytest.approx(found[1], rel=1e-6)


def test_coefficients_are_those_of_libsvm_and_liblinear():
    X, y = load_breast_cancer(return_X_y=True)
    X = scale(X)
    model, expected = LinearSVC(loss="hinge").fit(X, y), plain.SVC(kernel="linear", tol=1e-9).fit(X, y)
    np.testing.assert_allclose(model.coef_, expected.coef_, atol=2e-3)  # libsvm ends 2e-7 of F above
    assert hinge_objective(model, X, y, 1.0) <= hinge_objective(expected, X, y, 1.0)
    options = {"C": 0.01, "fit_intercept": False, **HINGE}
    expected = plain.LinearSVC(tol=1e-7, max_iter=1_000_000, **options).fit(X, y)
    np.testing.assert_allclose(LinearSVC(tol=1e-13, **options).fit(X, y).coef_, expected.coef_, atol=1e-5)
    options = {"C": 0.01, "epsilon": 0.2, "fit_intercept": False, **INSENSITIVE}
    expected = plain.LinearSVR(tol=1e-7, max_iter=1_000_000, **options).fit(X, X[:, 0] + y)
    model = LinearSVR(tol=1e-13, **options).fit(X, X[:, 0] + y)
    np.testing.assert_allclose(model.coef_, expected.coef_, atol=1e-5)


@pytest.mark.parametrize("tol", [1e-1, 1e-3, 1e-6])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_the_certificate_holds_at_any_tolerance(tol, fit_intercept):
    X, y = classes(900, 12)
    weights = np.random.default_rng(0).integers(0, 3, 900).astype(float)
    exact = LinearSVC(loss="hinge", tol=1e-13, fit_intercept=fit_intercept).fit(X, y, weights)
    model = LinearSVC(loss="hinge", tol=tol, fit_intercept=fit_intercept).fit(X, y, weights)
    values = [hinge_objective(m, X, y, 1.0, weights) / weights.sum() for m in (model, exact)]
    result = model.result_
    assert result.status is Status.CONVERGED
    assert values[0] - values[1] <= result.gap_bound <= tol * result.objective
    assert result.objective == pytest.approx(values[0], rel=1e-12)
    assert np.linalg.norm(model.coef_ - exact.coef_) <= result.coef_bound
    for point in result.trace:
        assert point.objective - values[1] <= point.gap_estimate


def hard(seed):
    """Few rows, columns of any scale, heavy tails or far from zero, any penalty."""
    rng = np.random.default_rng([seed, 8])
    n, d = int(rng.integers(20, 400)), int(rng.integers(2, 100))
    X = [
        rng.standard_normal((n, d)) * 10 ** rng.uniform(-3, 3, d),
        rng.standard_t(1.5, (n, d)),
        rng.standard_normal((n, d)) + 10 ** rng.uniform(0, 4),
        (rng.random((n, d)) < np.geomspace(0.5, 3 / n, d)) + 0.0,
        rng.standard_normal((n, 3)) @ rng.standard_normal((3, d)) + 1e-4 * rng.standard_normal((n, d)),
    ][seed % 5]
    scores = (X - X.mean(axis=0)) / np.maximum(X.std(axis=0), 1e-9) @ rng.standard_normal(d)
    return X, scores + rng.choice([0, 0.5, 3]) * rng.standard_normal(n), 10 ** rng.uniform(-1, 5)


@pytest.mark.parametrize("seed", [*range(24), 35])
def test_hard_problems_end_at_the_optimum_too(seed):
    X, scores, C = hard(seed)
    labels = scores > np.quantile(scores, 0.5 if seed % 3 else 0.03)
    for model in (
        LinearSVC(C, loss="hinge", fit_intercept=seed % 7 > 0).fit(X, labels),
        LinearSVR(C=C, epsilon=0.1 * scores.std(), **INSENSITIVE).fit(X, scores),
    ):
        assert model.result_.status is Status.CONVERGED
        assert model.n_iter_ < 300


def test_where_no_row_lies_on_a_kink_steps_do_not_zigzag(rng):
    """Far from zero all rows cross their kinks at once: between them only the penalty curves."""
    problem = make_problem(
        rng.standard_normal((60, 3)) + 65, np.zeros(60), "hinge", 1e-5, fit_intercept=False
    )
    result = multipliers.solve_multipliers(problem)
    assert result.status is Status.CONVERGED
    assert result.n_iter < 100


def test_steps_are_few_where_rows_meet_on_the_kink(monkeypatch):
    X, y = classes(3000, 20)
    assert LinearSVC(loss="hinge").fit(X, y).n_iter_ < 60
    whole = LinearSVC(loss="hinge", tol=1e-12).fit(X, y)
    monkeypatch.setattr(multipliers, "_GATHERED", 0)  # rows too many to gather
    in_place = LinearSVC(loss="hinge", tol=1e-12).fit(X, y)
    np.testing.assert_allclose(in_place.coef_, whole.coef_, atol=1e-6)


def test_a_median_is_the_regression_without_columns(rng):
    y = rng.standard_exponential(501)
    model = LinearSVR(C=1e-9, **INSENSITIVE).fit(rng.standard_normal((501, 2)), y)
    assert model.intercept_[0] == pytest.approx(np.median(y), rel=1e-6)
    constant = LinearSVR(epsilon=2.0, **INSENSITIVE).fit(rng.standard_normal((50, 2)), rng.uniform(-1, 1, 50))
    assert not constant.coef_.any()
    assert constant.result_.objective == 0.0


def test_classes_are_the_problems_of_one_against_the_rest():
    X, y = classes(800, 6, 3)
    together = LinearSVC(loss="hinge", tol=1e-12).fit(X, np.array(["a", "b", "c"])[y])
    for k in range(3):
        alone = LinearSVC(loss="hinge", tol=1e-12).fit(X, y == k)
        np.testing.assert_array_equal(together.coef_[k], alone.coef_[0])
        assert together.intercept_[k] == alone.intercept_[0]
    same = together.to_sklearn()
    assert same.loss == "hinge"
    assert together.predict(X).tolist() == same.predict(X).tolist()


def test_weights_of_zero_are_rows_left_out():
    X, y = classes(900, 8)
    keep = np.arange(900) % 3 > 0
    weighted = LinearSVC(loss="hinge", tol=1e-13).fit(X, y, keep.astype(float))
    part = LinearSVC(loss="hinge", tol=1e-13).fit(X[keep], y[keep])
    np.testing.assert_allclose(weighted.coef_, part.coef_, atol=1e-6)


def test_fits_are_the_same_bits_for_any_number_of_threads_and_any_instruction_set():
    X, y = classes(3000, 20, 3)
    fits = [LinearSVC(loss="hinge", n_jobs=n).fit(X, y) for n in (1, 2, 3)]
    for name in kernels.available():
        if name != "reference":
            with kernels.use(name):
                fits.append(LinearSVC(loss="hinge").fit(X, y))
    for other in fits[1:]:
        np.testing.assert_array_equal(other.coef_, fits[0].coef_)
        np.testing.assert_array_equal(other.intercept_, fits[0].intercept_)


def test_float_rows_are_what_is_fitted_and_codes_where_there_are_none():
    X, y = classes(900, 8)
    exact = LinearSVC(loss="hinge").fit(X, y)
    packed = LinearSVC(loss="hinge", bits=4).fit(mz.pack(X, bits=4), y)
    np.testing.assert_array_equal(packed.coef_, exact.coef_)
    assert packed.solution_ == "exact"
    codes = mz.pack(X, bits=4, keep_source=False)
    quantised = LinearSVC(loss="hinge", tol=1e-13).fit(codes, y)
    assert quantised.solution_ == "quantised"
    expected = LinearSVC(loss="hinge", tol=1e-13).fit(codes.unpack(dtype=np.float64), y)
    np.testing.assert_allclose(quantised.coef_, expected.coef_, atol=1e-6)


def test_a_warm_start_and_a_path_end_where_fits_do():
    X, y = classes(900, 8)
    path = LinearSVC(loss="hinge", tol=1e-13).path(X, y, Cs=[0.01, 1.0])
    for C, coef in zip(path.values, path.coefs, strict=True):
        np.testing.assert_allclose(
            coef, LinearSVC(C, loss="hinge", tol=1e-13).fit(X, y).coef_, rtol=0, atol=1e-6
        )


@pytest.mark.parametrize("max_iter", [1, 2, 3, 5, 8])
def test_the_limit_of_steps_is_kept_and_the_certificate_holds_there(max_iter):
    X, scores = classes(900, 8)[0], classes(900, 8, 10)[1]
    y = scores == 0  # a tenth of the rows
    best = LinearSVC(loss="hinge", tol=1e-13).fit(X, y).result_.objective
    with pytest.warns(match="max_iter"):
        model = LinearSVC(loss="hinge", max_iter=max_iter).fit(X, y)
    assert model.n_iter_ == max_iter
    assert model.result_.gap_bound >= model.result_.objective - best


@pytest.mark.parametrize("solver", ["halp", "zipml"])
def test_solvers_that_need_curvature_or_codes_are_refused(solver):
    X, y = classes(30, 3)
    with pytest.raises(
        ParameterError, match=f"solver='{solver}' with loss='hinge'.*allowed: 'auto', 'newton'"
    ):
        LinearSVC(loss="hinge", solver=solver).fit(X, y)
    with pytest.raises(ParameterError, match="take loss='squared_epsilon_insensitive'"):
        LinearSVR(solver=solver, **INSENSITIVE).fit(X, y)


@pytest.mark.parametrize("scale_of_x", [1.0, 1e109, 1e-109])
def test_where_neither_kinks_nor_the_penalty_curve_steps_end_at_the_next_kink(scale_of_x):
    """Steps were as long as a penalty of 1e-218 allows, and no line search could shorten them."""
    rng = np.random.default_rng(5)
    x, y = rng.standard_normal(22), rng.integers(0, 2, 22)
    C = 1e8 if scale_of_x == 1.0 else 1e6
    best = LinearSVC(C=1e8, **HINGE).fit(x[:, None], y).result_.objective
    result = LinearSVC(C=C, **HINGE).fit(x[:, None] * scale_of_x, y).result_
    assert result.status is Status.CONVERGED
    if scale_of_x >= 1.0:
        assert result.objective == pytest.approx(best, rel=1e-7)
    steps = np.linspace(-20, 20, 4001)  # of one weight, each with its best intercept: a kink of some row
    margins = np.where(y == 1, 1.0, -1.0)
    values = [
        min(np.maximum(0, 1 - margins * (w * x + b)).mean() for b in np.unique(margins - w * x))
        for w in steps[::40]
    ]
    assert best <= min(values) + 1e-6
