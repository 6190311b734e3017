"""scikit-learn's own judge of estimators."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from mezzotint.linear import LinearRegression, LogisticRegression, Ridge

ESTIMATORS = [LogisticRegression(n_jobs=1), Ridge(n_jobs=1), LinearRegression(n_jobs=1)]


@parametrize_with_checks(ESTIMATORS)
@pytest.mark.filterwarnings("default")
def test_the_estimator_keeps_every_promise_of_scikit_learn(estimator, check):
    check(estimator)
