"""Would catch: bad input that is taken, or refused in words that do not say what to do."""

import numpy as np
import pytest
import scipy.sparse
from sklearn.exceptions import DataConversionWarning, NotFittedError

from mezzotint.errors import DataError, DataTypeError, ParameterError
from mezzotint.linear import LinearRegression, LogisticRegression, Ridge

X = np.arange(24.0).reshape(8, 3) % 7
Y = np.array([0, 1] * 4)
ALL = (LogisticRegression, Ridge, LinearRegression)
PATHS = ({}, {"solver": "newton"}, {"solver": "newton", "bits": 4}, {"bits": 32})


def changed(array, at, value):
    out = np.array(array, dtype=np.float64)
    out[at] = value
    return out


# --------------------------------------------------------------------------------------------------- X


@pytest.mark.parametrize("estimator", ALL)
@pytest.mark.parametrize("parameters", PATHS, ids=str)
@pytest.mark.parametrize(("value", "name"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")])
def test_the_first_bad_value_is_named(estimator, parameters, value, name):
    with pytest.raises(DataError, match=rf"Input X contains {name}: .* in row 5, column 1\. .*SimpleImputer"):
        estimator(**parameters).fit(changed(X, (5, 1), value), Y)


@pytest.mark.parametrize("estimator", ALL)
def test_bad_values_are_named_in_predict_too(estimator):
    model = estimator().fit(X, Y)
    with pytest.raises(DataError, match=r"Input X contains NaN: .* in row 2, column 0"):
        model.predict(changed(X, (2, 0), np.nan))


BAD_X = {
    "one dimension": (X[:, 0], "Expected 2D array, got 1D array instead .*reshape"),
    "three dimensions": (X[None], "Expected 2D array, got 3D array"),
    "no rows": (X[:0], r"0 sample\(s\) .* minimum of 1 is required"),
    "no columns": (X[:, :0], r"0 feature\(s\) .* minimum of 1 is required"),
    "strings": (
        np.full((8, 3), "a", dtype=object),
        "dtype object and cannot be read as numbers",
    ),
    "complex": (X + 0j, "Complex data not supported"),
    "sparse matrix": (scipy.sparse.csr_matrix(X), r"sparse matrix .*dense data only.*X\.toarray\(\)"),
    "sparse array": (scipy.sparse.csc_array(X), r"sparse matrix .*X\.toarray\(\)"),
}


@pytest.mark.parametrize("estimator", ALL)
@pytest.mark.parametrize("kind", BAD_X)
def test_samples_that_cannot_be_used_are_refused(estimator, kind):
    samples, message = BAD_X[kind]
    with pytest.raises(DataError, match=message):
        estimator().fit(samples, Y)


def test_elements_that_are_no_numbers_are_a_type_error_too():
    objects = X.astype(object)
    objects[0, 0] = {}
    with pytest.raises(DataTypeError, match="must be a number, not a string or an object"):
        Ridge().fit(objects, Y)


def test_another_number_of_columns_is_refused_in_predict():
    with pytest.raises(ValueError, match="X has 2 features, but Ridge is expecting 3 features"):
        Ridge().fit(X, Y).predict(X[:, :2])


@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function", "to_sklearn"])
def test_an_unfitted_estimator_says_so(method):
    with pytest.raises(NotFittedError, match="not fitted yet"):
        getattr(LogisticRegression(), method)(*([] if method == "to_sklearn" else [X]))


# --------------------------------------------------------------------------------------------------- y


@pytest.mark.parametrize("estimator", ALL)
def test_labels_of_another_length_are_refused(estimator):
    with pytest.raises(DataError, match="X has 8 rows, y has 7"):
        estimator().fit(X, Y[:7])


@pytest.mark.parametrize("estimator", ALL)
def test_missing_labels_are_refused(estimator):
    with pytest.raises(ValueError, match="requires y to be passed"):
        estimator().fit(X, None)
    with pytest.raises(DataError, match="y is a sparse matrix"):
        estimator().fit(X, scipy.sparse.csr_matrix(Y[:, None]))


def test_one_class_is_refused():
    with pytest.raises(DataError, match=r"only one class: \[1\]\. .* at least 2 classes"):
        LogisticRegression().fit(X, np.ones(8, dtype=int))
    with pytest.raises(DataError, match=r"only one class among the rows of positive sample_weight: \[0\]"):
        LogisticRegression().fit(X, Y, sample_weight=1 - Y)


def test_numbers_that_are_no_labels_are_refused():
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        LogisticRegression().fit(X, Y + 0.5 * np.arange(8) / 10)
    with pytest.raises(DataError, match=r"Input y contains NaN: .* at row 3"):
        LogisticRegression().fit(X, changed(Y, 3, np.nan))
    with pytest.raises(DataError, match=r"y has shape \(8, 2\); y should be a 1d array"):
        LogisticRegression().fit(X, np.stack([Y, Y], axis=1))


def test_a_column_of_labels_is_taken_with_a_warning():
    with pytest.warns(DataConversionWarning, match="column-vector y was passed"):
        clf = LogisticRegression().fit(X, Y[:, None])
    assert np.array_equal(clf.coef_, LogisticRegression().fit(X, Y).coef_)


@pytest.mark.parametrize("labels", [[True, False], ["no", "yes"], [-1, 1], [0.0, 1.0], [3, 700_000_000_000]])
def test_labels_of_any_type_come_back(labels):
    y = np.array(labels)[Y]
    predicted = LogisticRegression(C=1e3).fit(X, y).predict(X)
    assert predicted.dtype == y.dtype
    assert set(predicted) <= set(y)


@pytest.mark.parametrize("estimator", [Ridge, LinearRegression])
def test_targets_that_cannot_be_used_are_refused(estimator):
    with pytest.raises(DataError, match=r"Input y contains infinity: .* at row 1"):
        estimator().fit(X, changed(Y, 1, np.inf))
    with pytest.raises(DataError, match="y cannot be read as numbers"):
        estimator().fit(X, ["a"] * 8)
    with pytest.raises(DataError, match=r"y has shape \(8, 1, 1\)"):
        estimator().fit(X, Y[:, None, None])


# --------------------------------------------------------------------------------------- sample weights


BAD_WEIGHTS = {
    "too short": (np.ones(7), r"shape \(7,\) but X has 8 rows; .*one weight per row"),
    "two dimensions": (np.ones((8, 2)), r"shape \(8, 2\) but X has 8 rows"),
    "negative": (changed(np.ones(8), 4, -1), r"negative: -1\.0 in row 4\. Weights must be >= 0"),
    "NaN": (changed(np.ones(8), 6, np.nan), "Input sample_weight contains NaN: .* at row 6"),
    "infinite": (changed(np.ones(8), 6, np.inf), "Input sample_weight contains infinity"),
    "all zero": (np.zeros(8), "zero for every row; at least one row"),
    "words": (["a"] * 8, "sample_weight cannot be read as numbers"),
}


@pytest.mark.parametrize("estimator", ALL)
@pytest.mark.parametrize("kind", BAD_WEIGHTS)
def test_sample_weights_that_cannot_be_used_are_refused(estimator, kind):
    weights, message = BAD_WEIGHTS[kind]
    with pytest.raises(DataError, match=message):
        estimator().fit(X, Y, sample_weight=weights)


@pytest.mark.parametrize(
    ("class_weight", "message"),
    [
        ("heavy", "class_weight='heavy' is not possible; allowed: None, 'balanced', or a mapping"),
        ({7: 1.0}, r"names the labels \[7\], which no row of positive weight has, and leaves out \[0, 1\]"),
        ({0: -1.0}, r"class_weight\[0\]=-1.0 is not possible; give a finite number >= 0"),
    ],
)
def test_class_weights_that_cannot_be_used_are_refused(class_weight, message):
    with pytest.raises(ParameterError, match=message):
        LogisticRegression(class_weight=class_weight).fit(X, Y)


# ------------------------------------------------------------------------------------------- parameters


BAD_PARAMETERS = [
    ("bits", -8, "bits=-8 is not possible; allowed: 8, 4, 32"),
    ("bits", 16, "bits=16 is not possible"),
    ("bits", "8", "bits='8' is not possible"),
    ("solver", "lbfgs", "solver='lbfgs' is unknown; allowed: 'auto', 'newton', 'halp'"),
    ("tol", 0, "tol=0 is not possible; give a finite number > 0"),
    ("tol", np.nan, "tol=nan is not possible"),
    ("tol", "small", "tol='small' is not possible"),
    ("max_iter", 0, "max_iter=0 is not possible; give an integer >= 1"),
    ("max_iter", 1.5, "max_iter=1.5 is not possible"),
    ("n_jobs", 0, "n_jobs=0 is not possible"),
    ("n_jobs", 1.5, "n_jobs=1.5 is not possible"),
    ("fit_intercept", "yes", "fit_intercept='yes' is not possible; give True or False"),
    ("warm_start", 2, "warm_start=2 is not possible"),
    ("random_state", -1, "random_state=-1 is not possible; give None, an integer >= 0"),
    ("verbose", -1, "verbose=-1 is not possible"),
]


@pytest.mark.parametrize("estimator", ALL)
@pytest.mark.parametrize(("name", "value", "message"), BAD_PARAMETERS)
def test_parameters_outside_their_set_are_refused_at_fit(estimator, name, value, message):
    with pytest.raises(ParameterError, match=message):
        estimator(**{name: value}).fit(X, Y)


@pytest.mark.parametrize("value", [0, -1.0, np.nan, "1", True, None])
def test_a_bad_strength_of_the_penalty_is_refused(value):
    with pytest.raises(ParameterError, match=r"C=.* is not possible; give a number > 0"):
        LogisticRegression(C=value).fit(X, Y)
    if value != 0 or isinstance(value, bool):
        with pytest.raises(ParameterError, match=r"alpha=.* is not possible; give a finite number >= 0"):
            Ridge(alpha=value).fit(X, Y)


@pytest.mark.parametrize("state", [None, 3, np.int64(3), np.random.RandomState(0), np.random.default_rng(0)])
def test_every_kind_of_random_state_works(state):
    assert (
        LogisticRegression(solver="newton", random_state=state).fit(X, Y).result_.status.name == "CONVERGED"
    )
