"""Would catch: anything that scikit-learn's own checks of estimators find; no failure is expected."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from mezzotint.linear import LinearRegression, LinearSVC, LinearSVR, LogisticRegression, Ridge

CLASSES = (LogisticRegression, Ridge, LinearRegression, LinearSVC, LinearSVR)
DEFAULTS = [estimator() for estimator in CLASSES]  # problems of this size are solved on the float rows
# The checks compare predictions of equivalent fits to 1e-7: the square root of this tolerance.
PACKED = [estimator(solver="newton", bits=bits, tol=1e-15) for estimator in CLASSES for bits in (8, 4)]

KINKS = [LinearSVC(loss="hinge", tol=1e-15), LinearSVR(loss="epsilon_insensitive", tol=1e-15)]


@parametrize_with_checks([*DEFAULTS, *PACKED, *KINKS])
@pytest.mark.filterwarnings("default")
def test_the_estimator_keeps_every_promise_of_scikit_learn(estimator, check):
    check(estimator)
