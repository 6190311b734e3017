"""The objective that a problem poses, by the estimators' documentation alone: nothing here is mezzotint's.

``F(W, b) = sum_i t_i l(W x_i + b, y_i) + (lam/2) |W|^2``, ``t_i = s_i / S`` and S the sum of the weights s:
what `result_.objective` says it is. Rows of weight zero are left out.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.differential.problems import Problem

Array = NDArray[Any]
TARGETS = ("squared", "squared_interval", "interval")  # losses of a distance to targets
KINKED = ("hinge", "interval")


@dataclass(frozen=True, eq=False, kw_only=True)
class Posed:
    """An objective on the rows of positive weight.

    Attributes
    ----------
    loss : str
        "logistic" and "softmax"; "squared", "squared_hinge" and "squared_interval", halves of squares;
        "hinge" and "interval".
    X : ndarray of float64, shape (n, d)
        Rows of positive weight.
    y : ndarray, shape (K, n)
        One row per output: signs -1 and 1, targets, or class indices (softmax: one row for all K).
    s : ndarray of float64, shape (n,)
        Weights.
    strength : Fraction
        ``lam S``: alpha, or 1 / C of the documented objective divided by the factor of the loss.
    epsilon : float
        Half the width of the interval around a target.
    n_outputs : int
        K.
    fit_intercept : bool
        Whether b is free.
    """

    loss: str
    X: Array
    y: Array
    s: Array
    strength: Fraction
    epsilon: float
    n_outputs: int
    fit_intercept: bool

    def output(self, k: int) -> "Posed":
        """One output as a problem of its own, of losses that do not couple them."""
        return Posed(**{**self.__dict__, "y": self.y[k : k + 1], "n_outputs": 1})


_LOSSES = {
    "squared_hinge": ("squared_hinge", 2),
    "hinge": ("hinge", 1),
    "squared_epsilon_insensitive": ("squared_interval", 2),
    "epsilon_insensitive": ("interval", 1),
}


def pose(problem: Problem) -> Posed:
    """Return the objective of a problem."""
    n = len(problem.X)
    s = np.ones(n) if problem.sample_weight is None else np.asarray(problem.sample_weight, dtype=np.float64)
    kept = s > 0
    y, s = problem.y[kept], s[kept]
    is_classifier = problem.estimator in ("LogisticRegression", "LinearSVC")
    loss, labels, s = _classes(problem, y, s) if is_classifier else _of_targets(problem, y, s)
    return Posed(
        loss=loss,
        X=np.ascontiguousarray(problem.X[kept], dtype=np.float64),
        y=labels,
        s=s,
        strength=_strength(problem),
        epsilon=float(problem.params.get("epsilon", 0.0)),
        n_outputs=len(np.unique(y)) if loss == "softmax" else len(labels),
        fit_intercept=bool(problem.params.get("fit_intercept", True)),
    )


def _strength(problem: Problem) -> Fraction:
    if problem.estimator == "LinearRegression":
        return Fraction(0)
    if problem.estimator == "Ridge":
        return Fraction(float(problem.params["alpha"]))
    C = float(problem.params["C"])
    factor = _LOSSES[problem.params["loss"]][1] if "loss" in problem.params else 1
    return Fraction(0) if np.isinf(C) else 1 / (factor * Fraction(C))


def _classes(problem: Problem, y: Array, s: Array) -> tuple[str, Array, Array]:
    classes, index = np.unique(y, return_inverse=True)
    s = s * _class_weights(problem.params.get("class_weight"), classes, index, s)
    signs = np.where(index == np.arange(len(classes))[:, None], 1.0, -1.0)
    signs = signs if len(classes) > 2 else signs[1:]
    if problem.estimator == "LinearSVC":
        return _LOSSES[problem.params["loss"]][0], signs, s
    return ("softmax", index[None], s) if len(classes) > 2 else ("logistic", signs, s)


def _class_weights(given: Any, classes: Array, index: Array, s: Array) -> Array:
    if given is None:
        return np.ones(len(s))
    if given == "balanced":
        sums = np.bincount(index, weights=s)
        return (sums.sum() / (len(classes) * sums))[index]
    return np.array([given.get(int(label), 1.0) for label in classes])[index]


def _of_targets(problem: Problem, y: Array, s: Array) -> tuple[str, Array, Array]:
    loss = _LOSSES[problem.params["loss"]][0] if "loss" in problem.params else "squared"
    return loss, np.asarray(y, dtype=np.float64).reshape(len(y), -1).T.copy(), s
