"""Would catch: another optimum or shape than scikit-learn's; fits that depend on what they must not."""

import pickle

import joblib
import ml_dtypes
import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn import linear_model as plain
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import mezzotint
from mezzotint.linear import LinearRegression, LogisticRegression, Ridge, Status

N, D = 1500, 12
ROUTES = {
    "auto": {},
    "packed 8": {"solver": "newton", "tol": 1e-14},
    "packed 4": {"solver": "newton", "bits": 4, "tol": 1e-14},
    "float rows": {"solver": "newton", "bits": 32, "tol": 1e-14},
}


@pytest.fixture
def X(rng):
    """Columns of different scale and mean."""
    return rng.standard_normal((N, D)) * np.geomspace(0.3, 10, D) + rng.standard_normal(D)


@pytest.fixture
def scores(rng, X):
    return (X - X.mean(axis=0)) / X.std(axis=0) @ rng.standard_normal((D, 3))


@pytest.fixture
def binary(rng, scores):
    return np.where(scores[:, 0] + rng.logistic(size=N) > 0.5, "yes", "no")


@pytest.fixture
def multi(rng, scores):
    return np.array([30, 10, 20])[np.argmax(scores + rng.gumbel(size=(N, 3)), axis=1)]


@pytest.fixture
def weights(rng):
    return rng.integers(0, 4, N).astype(np.float64)


def sklearn_logistic(**parameters):
    return plain.LogisticRegression(solver="newton-cholesky", tol=1e-12, max_iter=1000, **parameters)


def assert_same_coefficients(ours, reference, rtol=1e-6):
    assert np.shape(ours.coef_) == np.shape(reference.coef_)
    assert np.shape(ours.intercept_) == np.shape(reference.intercept_)
    scale = np.abs(reference.coef_).max()
    np.testing.assert_allclose(ours.coef_, reference.coef_, rtol=0, atol=rtol * scale)
    np.testing.assert_allclose(ours.intercept_, reference.intercept_, rtol=rtol, atol=rtol * scale)


# ------------------------------------------------------------------------- the same optimum as scikit-learn


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("classes", ["binary", "multi"])
def test_logistic_regression_finds_scikit_learns_optimum(request, X, weights, classes, fit_intercept, route):
    y = request.getfixturevalue(classes)
    shared = {"C": 0.5, "fit_intercept": fit_intercept, "class_weight": "balanced"}
    reference = sklearn_logistic(**shared).fit(X, y, weights)
    ours = LogisticRegression(**shared, **ROUTES[route]).fit(X, y, weights)
    assert_same_coefficients(ours, reference)
    assert ours.classes_.tolist() == reference.classes_.tolist()
    assert ours.result_.status is Status.CONVERGED


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("targets", [1, 3])
def test_ridge_finds_scikit_learns_optimum(rng, X, scores, weights, targets, fit_intercept, route):
    y = scores[:, 0] if targets == 1 else scores + 5 + rng.standard_normal(scores.shape)
    shared = {"alpha": 20.0, "fit_intercept": fit_intercept}
    reference = plain.Ridge(**shared).fit(X, y, weights)
    assert_same_coefficients(Ridge(**shared, **ROUTES[route]).fit(X, y, weights), reference)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_linear_regression_finds_scikit_learns_optimum(rng, X, scores, weights, fit_intercept, route):
    y = scores[:, 0] + rng.standard_normal(N) - 7
    reference = plain.LinearRegression(fit_intercept=fit_intercept).fit(X, y, weights)
    ours = LinearRegression(fit_intercept=fit_intercept, **ROUTES[route]).fit(X, y, weights)
    assert_same_coefficients(ours, reference)


@pytest.mark.parametrize("route", ROUTES)
def test_targets_far_from_zero_cost_no_accuracy(X, scores, weights, route):
    parameters = {**ROUTES[route], "tol": 1e-8}
    far = Ridge(**parameters).fit(X, scores[:, 0] + 1e6, weights)
    near = plain.Ridge().fit(X, scores[:, 0], weights)
    np.testing.assert_allclose(far.coef_, near.coef_, rtol=0, atol=1e-4 * np.abs(near.coef_).max())
    assert far.result_.gap_estimate <= 1e-8 * far.result_.objective
    assert far.intercept_ - 1e6 == pytest.approx(near.intercept_, abs=1e-3)


@pytest.mark.parametrize("shape", [(N,), (N, 1), (N, 3)])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("ours", [LinearRegression, Ridge])
def test_regression_has_scikit_learns_shapes(X, scores, ours, shape, fit_intercept):
    y = scores[:, : shape[-1] if len(shape) > 1 else 1].reshape(shape)
    a = ours(fit_intercept=fit_intercept).fit(X, y)
    b = getattr(plain, ours.__name__)(fit_intercept=fit_intercept).fit(X, y)
    assert a.coef_.shape == b.coef_.shape
    assert np.shape(a.intercept_) == np.shape(b.intercept_)
    assert a.predict(X).shape == b.predict(X).shape
    if not fit_intercept:
        assert a.intercept_ == b.intercept_ == 0.0


def test_multinomial_coefficients_sum_to_zero_over_the_classes(X, multi):
    clf = LogisticRegression(C=np.inf).fit(X, multi)
    np.testing.assert_allclose(clf.coef_.sum(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(clf.intercept_.sum(), 0, atol=1e-12)


def test_the_result_certifies_the_distance_to_the_true_coefficients(X, binary):
    reference = sklearn_logistic().fit(X, binary)
    result = LogisticRegression(solver="newton", tol=1e-6).fit(X, binary).result_
    assert np.linalg.norm(result.coef[0, :-1] - reference.coef_[0]) <= result.coef_bound + 1e-7
    assert result.gap_estimate <= 1e-6 * result.objective


@pytest.mark.parametrize("classes", ["binary", "multi"])
def test_predictions_equal_those_of_the_plain_estimator(request, X, classes):
    y = request.getfixturevalue(classes)
    ours = LogisticRegression().fit(X, y)
    reference = ours.to_sklearn()
    for method in ("decision_function", "predict_proba", "predict_log_proba"):
        expected = getattr(reference, method)(X)
        np.testing.assert_allclose(getattr(ours, method)(X), expected, rtol=1e-9, atol=1e-12)
    assert ours.predict(X).tolist() == reference.predict(X).tolist()
    assert ours.score(X, y) == reference.score(X, y)


def test_log_probabilities_stay_finite_for_impossible_classes(X, binary):
    clf = LogisticRegression().fit(X, binary)
    assert np.isfinite(clf.predict_log_proba(X * 1e6)).all()


@pytest.mark.parametrize("model", [LogisticRegression(C=3.0), Ridge(alpha=2.0), LinearRegression()])
def test_to_sklearn_returns_the_estimator_of_the_same_name(X, scores, model):
    model.fit(pd.DataFrame(X, columns=[f"c{j}" for j in range(D)]), scores[:, 0] > 0)
    copy = model.to_sklearn()
    assert type(copy).__name__ == type(model).__name__
    assert copy.feature_names_in_.tolist() == [f"c{j}" for j in range(D)]
    copy.coef_[...] = 0
    assert model.coef_.any()


# --------------------------------------------------------------------------------- what a fit depends on


def test_the_coefficients_are_the_same_bits_for_any_number_of_threads(X, binary):
    fits = [LogisticRegression(solver="newton", n_jobs=k).fit(X, binary).coef_.tobytes() for k in (1, 2, 3)]
    assert len(set(fits)) == 1


def test_a_fit_repeats_without_a_random_state(X, multi):
    fits = [LogisticRegression(solver="newton").fit(X, multi).coef_.tobytes() for _ in range(2)]
    assert len(set(fits)) == 1


def inputs(X):
    as_float32 = X.astype(np.float32)
    return {
        "float32": as_float32,
        "Fortran order": np.asfortranarray(as_float32),
        "strided": np.repeat(as_float32, 2, axis=1)[:, ::2],
        "other byte order": as_float32.astype(">f4"),
        "nested lists": as_float32.tolist(),
        "pandas": pd.DataFrame(as_float32),
        "polars": pl.DataFrame(as_float32),
        "objects": as_float32.astype(object),
    }


@pytest.mark.parametrize("kind", inputs(np.zeros((2, 2))))
@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_the_kind_of_array_does_not_matter(X, binary, kind):
    clf, reference = LogisticRegression(), LogisticRegression().fit(X.astype(np.float32), binary)
    data = inputs(X)[kind]
    np.testing.assert_allclose(clf.fit(data, binary).coef_, reference.coef_, rtol=6e-8)  # float32 or not
    assert clf.predict(data).tolist() == reference.predict(X.astype(np.float32)).tolist()


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.float16, ml_dtypes.bfloat16, bool])
def test_narrow_types_are_their_values(rng, dtype):
    X = rng.integers(0, 2 if dtype is bool else 100, (400, 4)).astype(dtype)
    y = X[:, 0].astype(np.float64) - X[:, 1].astype(np.float64)
    reference = plain.Ridge().fit(X.astype(np.float64), y)
    assert_same_coefficients(Ridge().fit(X, y), reference, rtol=1e-8)


def test_a_memory_map_is_read_where_it_lies(tmp_path, X, binary):
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    expected = LogisticRegression(solver="newton").fit(X, binary).coef_
    assert np.array_equal(LogisticRegression(solver="newton").fit(mapped, binary).coef_, expected)


@pytest.mark.parametrize("bits", [8, 4])
def test_a_packed_matrix_gives_the_fit_of_its_source(X, binary, bits):
    packed = mezzotint.pack(X, bits=bits)
    clf = LogisticRegression(solver="newton", bits=32).fit(packed, binary)
    expected = LogisticRegression(solver="newton", bits=bits).fit(X, binary)
    assert np.array_equal(clf.coef_, expected.coef_)
    assert np.array_equal(clf.predict(packed), expected.predict(X))
    assert clf.result_.packed_passes > 0


def test_the_input_is_not_changed(X, binary, weights):
    before = X.copy(), binary.copy(), weights.copy()
    LogisticRegression(solver="newton", class_weight="balanced").fit(X, binary, weights)
    assert all(np.array_equal(a, b) for a, b in zip(before, (X, binary, weights), strict=True))


# ---------------------------------------------------------------------------------- weights and subsets


@pytest.mark.parametrize("route", ROUTES)
def test_rows_of_weight_zero_might_as_well_not_be_there(X, multi, route):
    rows = np.arange(N) % 5 != 0
    rows &= (multi != 20) | (np.arange(N) < 900)
    clf = LogisticRegression(**ROUTES[route])
    subset = clone(clf).fit(X[rows], multi[rows])
    masked = clf.fit(X, multi, sample_weight=rows)
    assert_same_coefficients(masked, subset)


def test_a_class_without_weighted_rows_is_not_a_class(X, multi):
    clf = LogisticRegression().fit(X, multi, sample_weight=multi != 20)
    rows = multi != 20
    subset = LogisticRegression().fit(X[rows], multi[rows])
    assert clf.classes_.tolist() == [10, 30]
    assert_same_coefficients(clf, subset)


def test_integer_weights_are_repetitions(X, scores, weights):
    y = scores[:, 1]
    repeated = np.repeat(np.arange(N), weights.astype(int))
    assert_same_coefficients(Ridge().fit(X, y, weights), Ridge().fit(X[repeated], y[repeated]), rtol=1e-9)


def test_a_number_as_weight_counts_for_every_row(X, binary):
    doubled = LogisticRegression(C=1.0).fit(X, binary, sample_weight=2.0)
    assert_same_coefficients(doubled, LogisticRegression(C=2.0).fit(X, binary), rtol=1e-9)


def test_a_mapping_of_class_weights_multiplies_the_sample_weights(X, multi, weights):
    clf = LogisticRegression(class_weight={10: 2.0, 20: 0.5}).fit(X, multi, weights)
    factor = np.select([multi == 10, multi == 20], [2.0, 0.5], 1.0)
    assert_same_coefficients(clf, LogisticRegression().fit(X, multi, weights * factor), rtol=1e-9)


# ------------------------------------------------------------------------------- the life of an estimator


def test_a_warm_start_begins_where_the_last_fit_ended(X, binary):
    clf = LogisticRegression(solver="newton", warm_start=True).fit(X, binary)
    first = clf.result_.trace[0].objective
    clf.fit(X, binary)
    assert clf.result_.trace[0].objective == pytest.approx(clf.result_.objective, rel=1e-8)
    assert clf.result_.trace[0].objective < first


def test_a_warm_start_is_given_up_when_the_problem_has_changed(X, binary, multi):
    clf = LogisticRegression(warm_start=True).fit(X, binary)
    assert_same_coefficients(clf.fit(X[:, :5], multi), LogisticRegression().fit(X[:, :5], multi))
    model = Ridge(warm_start=True, fit_intercept=False).fit(X, X[:, 0] + 3)
    model.set_params(fit_intercept=True)
    assert_same_coefficients(model.fit(X, X[:, 1]), Ridge().fit(X, X[:, 1]))


def test_too_few_iterations_end_in_a_warning_with_the_status(X, binary):
    clf = LogisticRegression(solver="newton", bits=4, max_iter=1, tol=1e-13)
    with pytest.warns(ConvergenceWarning, match="stopped at max_iter: the best point found is returned"):
        clf.fit(X, binary)
    assert clf.result_.status is Status.ITERATION_LIMIT
    assert clf.score(X, binary) > 0.5


def test_verbose_writes_a_line_per_exact_pass(capsys, X, binary):
    clf = LogisticRegression(solver="newton", verbose=1).fit(X, binary)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(clf.result_.trace)
    assert "exact pass 1, objective" in lines[0]
    assert "estimated gap" in lines[0]


def test_quiet_estimators_write_nothing(capsys, X, binary):
    LogisticRegression().fit(X, binary)
    assert capsys.readouterr() == ("", "")


def test_pickles_hold_the_model_and_not_the_data(X, binary):
    clf = LogisticRegression(solver="newton").fit(X, binary)
    data = pickle.dumps(clf)
    assert len(data) < X.nbytes / 10
    assert np.array_equal(pickle.loads(data).predict_proba(X), clf.predict_proba(X))


def test_estimators_work_in_pipelines_searches_and_cross_validation(X, binary):
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    search = GridSearchCV(pipeline, {"logisticregression__C": [0.01, 1.0]}, cv=3).fit(X, binary)
    reference = GridSearchCV(
        make_pipeline(StandardScaler(), sklearn_logistic()), {"logisticregression__C": [0.01, 1.0]}, cv=3
    ).fit(X, binary)
    np.testing.assert_allclose(
        search.cv_results_["mean_test_score"], reference.cv_results_["mean_test_score"], atol=2e-3
    )
    assert len(cross_val_score(Ridge(), X, X[:, 0], cv=3)) == 3


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_joblib_workers_return_the_same_bits(X, binary, backend):
    fit = joblib.delayed(LogisticRegression(solver="newton").fit)
    fits = joblib.Parallel(n_jobs=2, backend=backend)(fit(X, binary) for _ in range(2))
    expected = LogisticRegression(solver="newton").fit(X, binary).coef_
    assert all(np.array_equal(clf.coef_, expected) for clf in fits)


def test_solution_says_exact(X, binary):
    assert LogisticRegression().fit(X, binary).solution_ == "exact"
