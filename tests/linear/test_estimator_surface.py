"""Would catch: a class weight of 0 refused, warnings that blame the library, files that cannot be loaded.

Every test was seen failing: with class weights > 0 only, `stacklevel=3`, without `Status.__reduce__`,
`sparsify` or `dense_coef`, with a float as intercept.
"""

import copy
import inspect
import pickle
import warnings

import numpy as np
import pytest
import scipy.sparse
import skops.io
from sklearn import linear_model as plain
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning, NotFittedError

from mezzotint.errors import DataError
from mezzotint.linear import LinearRegression, LinearSVC, LinearSVR, LogisticRegression, Ridge, Status

ALL = (LogisticRegression, Ridge, LinearRegression, LinearSVC, LinearSVR)
CLASSIFIERS = (LogisticRegression, LinearSVC)


@pytest.fixture
def X(rng):
    return rng.standard_normal((120, 4))


@pytest.fixture
def three(rng, X):
    return np.argmax(X[:, :3] + rng.gumbel(size=(120, 3)), axis=1)


# ------------------------------------------------------------------------------------- classes of weight zero


def test_a_class_of_weight_zero_keeps_its_output_as_in_scikit_learn(X, three):
    shared = {"class_weight": {0: 0, 2: 3}, "fit_intercept": False}
    reference = plain.LogisticRegression(solver="newton-cholesky", tol=1e-12, **shared).fit(X, three)
    ours = LogisticRegression(**shared).fit(X, three)
    assert ours.classes_.tolist() == reference.classes_.tolist()
    np.testing.assert_allclose(ours.coef_, reference.coef_, atol=1e-7)


@pytest.mark.parametrize("estimator", CLASSIFIERS)
def test_rows_of_a_class_of_weight_zero_do_not_matter(X, three, estimator):
    weighted = estimator(class_weight={0: 0}, fit_intercept=False)
    moved = np.where((three == 0)[:, None], 17.0, X)
    np.testing.assert_allclose(weighted.fit(X, three).coef_, copy.copy(weighted).fit(moved, three).coef_)


@pytest.mark.parametrize("estimator", CLASSIFIERS)
def test_an_intercept_makes_a_class_of_weight_zero_impossible(X, three, estimator):
    clf = estimator(class_weight={0: 0}).fit(X, three)
    assert 0 not in clf.predict(X)
    assert clf.result_.status in (Status.CONVERGED, Status.FLOOR)


@pytest.mark.parametrize("estimator", CLASSIFIERS)
def test_one_class_of_positive_weight_is_too_few(X, three, estimator):
    with pytest.raises(DataError, match="leaves fewer than 2 classes of positive weight"):
        estimator(class_weight={0: 0, 1: 0}).fit(X, three)


# ---------------------------------------------------------------------------------------- sparse coefficients


@pytest.mark.parametrize("estimator", CLASSIFIERS)
def test_sparse_coefficients_predict_the_same(X, three, estimator):
    clf = estimator().fit(X, three)
    dense, decisions = clf.coef_, clf.decision_function(X)
    assert clf.sparsify() is clf
    assert scipy.sparse.issparse(clf.coef_)
    assert np.array_equal(clf.decision_function(X), decisions)
    assert np.array_equal(clf.to_sklearn().predict(X), clf.predict(X))
    assert np.array_equal(clf.densify().coef_, dense)
    assert np.array_equal(clf.densify().coef_, dense)


def test_a_warm_start_goes_on_from_sparse_coefficients(X, three):
    clf = LogisticRegression(warm_start=True).fit(X, three).sparsify()
    assert isinstance(clf.fit(X, three).coef_, np.ndarray)


@pytest.mark.parametrize("method", ["sparsify", "densify"])
def test_coefficients_must_exist_to_be_converted(method):
    with pytest.raises(NotFittedError):
        getattr(LogisticRegression(), method)()


@pytest.mark.parametrize("estimator", [Ridge, LinearRegression])
def test_a_single_intercept_is_a_numpy_number(X, estimator):
    assert type(estimator().fit(X, X[:, 0]).intercept_) is np.float64


# ----------------------------------------------------------------------------------- warnings name the caller


@pytest.mark.parametrize("estimator", ALL)
def test_warnings_point_at_the_line_that_called_fit(X, three, estimator):
    settings = {"solver": "newton", "bits": 4, "max_iter": 1, "tol": 1e-15}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        line = inspect.currentframe().f_lineno + 1
        estimator(**settings).fit(np.exp(5 * X), three)
        if estimator is not Ridge and estimator is not LinearRegression:
            estimator().fit(X, three[:, None])
    categories = {warning.category for warning in caught}
    assert categories & {ConvergenceWarning, DataConversionWarning}
    assert {warning.filename for warning in caught} == {__file__}
    assert line in {warning.lineno for warning in caught} <= {line, line + 2}


# ---------------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("estimator", ALL)
def test_skops_stores_a_fitted_estimator_trusting_our_types_alone(X, three, estimator):
    fitted = estimator().fit(X, three)
    data = skops.io.dumps(fitted)
    types = skops.io.get_untrusted_types(data=data)
    assert all(name.startswith("mezzotint.linear.") for name in types)
    loaded = skops.io.loads(data, trusted=types)
    assert np.array_equal(loaded.predict(X), fitted.predict(X))
    assert loaded.result_.status is fitted.result_.status


@pytest.mark.parametrize("status", Status)
def test_a_status_is_stored_by_name(status):
    data = pickle.dumps(status)
    assert status.value.encode() not in data
    assert pickle.loads(data) is status
    assert copy.deepcopy(status) is status
