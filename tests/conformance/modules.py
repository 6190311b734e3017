"""Which of scikit-learn's test modules are run on our estimators, and how often."""

import pathlib
import re

import sklearn

NAMES = ("LogisticRegression", "Ridge", "LinearRegression", "LinearSVC", "LinearSVR")
LEFT_OUT = {
    "tests.test_common": "checks of all estimators; test_sklearn.py runs them on ours",
    "utils.tests.test_pprint": "prints copies of estimators that it defines itself, and fits none",
}
ON_DEMAND = {  # long for the few tests that fit one of ours
    "ensemble.tests.test_bagging",
    "ensemble.tests.test_forest",
    "ensemble.tests.test_gradient_boosting",
    "inspection._plot.tests.test_plot_partial_dependence",
    "inspection.tests.test_partial_dependence",
    "linear_model._glm.tests.test_glm",
    "model_selection.tests.test_successive_halving",
    "model_selection.tests.test_validation",
    "preprocessing.tests.test_polynomial",
    "preprocessing.tests.test_target_encoder",
    "tests.test_docstring_parameters",
    "utils.tests.test_estimator_checks",
}
PACKED = {  # where the numbers that a fit ends in are the subject; run with packing forced too
    "compose.tests.test_target",
    "linear_model.tests.test_base",
    "linear_model.tests.test_logistic",
    "linear_model.tests.test_ridge",
    "linear_model.tests.test_sag",
    "svm.tests.test_bounds",
    "svm.tests.test_svm",
    "tests.test_multiclass",
    "tests.test_multioutput",
}


def found():
    """Test modules of the installed scikit-learn that name one of the estimators, without `sklearn.`."""
    root, words = pathlib.Path(sklearn.__file__).parent, re.compile(rf"\b({'|'.join(NAMES)})\b")
    paths = [path for path in root.glob("**/tests/test_*.py") if words.search(path.read_text())]
    return sorted(".".join(path.relative_to(root).with_suffix("").parts) for path in paths)


def every_module():
    """All modules that are run."""
    return [name for name in found() if name not in LEFT_OUT]


def quick_modules(mode):
    """Those of them that `make test` runs."""
    chosen = set(every_module()) - ON_DEMAND
    return sorted(chosen if mode == "auto" else chosen & PACKED)
