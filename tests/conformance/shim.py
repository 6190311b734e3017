"""scikit-learn's five linear estimators by name and parameters, ours by everything else.

A shim class is a subclass of one of our estimators with the constructor of scikit-learn's. Its `fit`
translates the parameters, fits *our* estimator and takes over what that has learned; every other method is
ours. What ours cannot do is `Unsupported`: nothing is ever fitted by scikit-learn instead.
"""

import inspect
import os
import warnings
from collections import Counter

import numpy as np
from sklearn import linear_model, svm
from sklearn.exceptions import ConvergenceWarning

from mezzotint import linear as ours

MODES = {  # how the estimators solve: as a user gets them, or packed however small the problem
    "auto": {},
    "8 bits": {"solver": "newton", "bits": 8},
    "4 bits": {"solver": "newton", "bits": 4},
}
MODE = os.environ.get("MEZZOTINT_CONFORMANCE_MODE", "auto")  # inherited by processes that a test starts
THEIRS = (
    linear_model.LogisticRegression,
    linear_model.Ridge,
    linear_model.LinearRegression,
    svm.LinearSVC,
    svm.LinearSVR,
)
fits: Counter[str] = Counter()  # of "ours" and "theirs", in this process

_PACKED_TOL = 1e-18  # far below what tests compare to: coefficients are as exact as the root of this

_SOLVERS = {
    *("auto", "svd", "cholesky", "lsqr", "sparse_cg", "sag", "saga", "lbfgs"),
    *("liblinear", "newton-cg", "newton-cholesky"),
}


class Unsupported(Exception):
    """Raised for a parameter of scikit-learn's that our estimators do not have."""


def _constructor(theirs):
    """A constructor with the signature of `theirs` that does what all of scikit-learn's do: keep."""
    signature = inspect.signature(theirs.__init__)

    def __init__(self, *args, **kwargs):
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        for name, value in list(bound.arguments.items())[1:]:
            setattr(self, name, value)

    __init__.__signature__ = signature
    return __init__


def _refuse(**values):
    """Raise `Unsupported` for the first value that is set."""
    for name, is_set in values.items():
        if is_set:
            raise Unsupported(f"{name} is not supported")


class _Shim:
    n_jobs = verbose = None  # Ridge, LinearSVC and LinearSVR of scikit-learn's have not all of ours

    def fit(self, X, y, sample_weight=None):
        fits["ours"] += 1
        inner = self._mine(**self._translated(), **MODES[MODE])
        if getattr(self, "warm_start", False):
            vars(inner).update(self._learned(self))
        with warnings.catch_warnings():
            if MODE != "auto":  # its tolerance asks for more than float64 has
                warnings.filterwarnings("ignore", ".* stopped at the floor of float64", ConvergenceWarning)
            inner.fit(X, y, sample_weight)
        for name in self._learned(self):
            delattr(self, name)
        vars(self).update(self._learned(inner))
        return self

    @staticmethod
    def _learned(model):
        return {k: v for k, v in vars(model).items() if k.endswith("_") and not k.startswith("_")}

    def _same(self, *names):
        return {name: getattr(self, name) for name in names}

    def _tol(self):
        """scikit-learn bounds a gradient, we a gap, which goes as its square; defaults match.

        What is no tolerance is ours to refuse.
        """
        if MODE != "auto":
            return _PACKED_TOL
        return max(1e-15, self.tol**2) if isinstance(self.tol, float | int) and self.tol >= 0 else self.tol

    def _solver(self):
        """All of scikit-learn's solvers minimise the same; an unknown name is ours to refuse."""
        known = isinstance(self.solver, str) and self.solver in _SOLVERS
        return {} if known else {"solver": self.solver}


def _shim(theirs):
    """Class decorator: take over the constructor of one of scikit-learn's estimators."""

    def decorate(cls):
        cls.__init__ = _constructor(theirs)
        cls.__doc__ = cls._mine.__doc__
        return cls

    return decorate


@_shim(linear_model.LogisticRegression)
class LogisticRegression(_Shim, ours.LogisticRegression):
    _mine = ours.LogisticRegression

    def _translated(self):
        _refuse(
            l1=self.penalty in ("l1", "elasticnet") or (self.l1_ratio and self.penalty not in ("l2", None)),
            intercept_scaling=self.intercept_scaling != 1
            and self.solver == "liblinear"
            and self.fit_intercept,
        )
        names = (
            "fit_intercept",
            "class_weight",
            "random_state",
            "max_iter",
            "warm_start",
            "n_jobs",
            "verbose",
        )
        C = np.inf if self.penalty is None else self.C
        return {"C": C, "tol": self._tol(), **self._same(*names), **self._solver()}


@_shim(linear_model.Ridge)
class Ridge(_Shim, ours.Ridge):
    _mine = ours.Ridge

    def _translated(self):
        _refuse(positive=self.positive, alpha_per_target=np.size(self.alpha) > 1)
        alpha = self.alpha.item() if isinstance(self.alpha, np.ndarray) else self.alpha
        limit = {} if self.max_iter is None else {"max_iter": self.max_iter}
        same = self._same("fit_intercept", "random_state")
        return {"alpha": alpha, "tol": self._tol(), **limit, **same, **self._solver()}


@_shim(linear_model.LinearRegression)
class LinearRegression(_Shim, ours.LinearRegression):
    _mine = ours.LinearRegression

    def _translated(self):
        _refuse(positive=self.positive)
        return {"tol": self._tol(), **self._same("fit_intercept", "n_jobs")}


@_shim(svm.LinearSVC)
class LinearSVC(_Shim, ours.LinearSVC):
    _mine = ours.LinearSVC

    def _translated(self):
        _refuse(
            l1=self.penalty == "l1",
            crammer_singer=self.multi_class == "crammer_singer",
            intercept_scaling=self.intercept_scaling != 1 and self.fit_intercept,
        )
        names = ("C", "loss", "fit_intercept", "class_weight", "random_state", "max_iter", "verbose")
        return {"tol": self._tol(), **self._same(*names)}


@_shim(svm.LinearSVR)
class LinearSVR(_Shim, ours.LinearSVR):
    _mine = ours.LinearSVR

    def _translated(self):
        _refuse(intercept_scaling=self.intercept_scaling != 1 and self.fit_intercept)
        names = ("C", "epsilon", "loss", "fit_intercept", "random_state", "max_iter", "verbose")
        return {"tol": self._tol(), **self._same(*names)}


SHIMS = (LogisticRegression, Ridge, LinearRegression, LinearSVC, LinearSVR)
