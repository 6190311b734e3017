"""Judges solutions in plain float64 NumPy, sharing no code with any contestant.

F* is not known, but bracketed: with the intercepts minimised out F is lam-strongly convex in the weights,
so ``F* >= F - |grad F|^2 / (2 lam)`` at any point whose intercept gradient is zero. The best such bound is
subtracted, so that the gaps it gives are upper bounds of the true ones.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_ROWS = 8192  # converted to float64 at a time
Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Verdicts:
    """What was found about a list of solutions.

    Attributes
    ----------
    lower_bound : float
        F* is not below it.
    scale : float
        What gaps are divided by: the larger of ``|F*|`` and ``1e-6 F(0)``.
    gaps : list of float
        Relative gaps, each an upper bound.
    coef_differences : list of float
        Largest difference of a coefficient to the best solution known, over its largest coefficient.
    slack : float
        Relative width of the bracket around F*.
    """

    lower_bound: float
    scale: float
    gaps: list[float]
    coef_differences: list[float]
    slack: float

    def gap(self, objective: float) -> float:
        """Relative gap of an objective."""
        return (objective - self.lower_bound) / self.scale


def judge(X: NDArray[np.float32], y: NDArray[np.int64], penalty: float, coefs: list[Array]) -> Verdicts:
    """Compare solutions of ``mean loss + (penalty / 2) |W|^2``.

    With two classes the best of them is brought to the floor of float64 by a Newton step, and the others
    are compared with that; with more classes the Hessian would be too large.

    Parameters
    ----------
    X : ndarray of float32, shape (n, d)
        Rows.
    y : ndarray of int64, shape (n,)
        Labels 0 .. K - 1; two classes have one row of coefficients.
    penalty : float
        lam > 0.
    coefs : list of ndarray of float64, shape (K or 1, d + 1)
        Solutions, intercept last.
    """
    n_given = len(coefs)
    evaluated = [_evaluate(X, y, penalty, coef) for coef in coefs]
    best = int(np.argmin([bound for _, bound in evaluated]))
    if len(coefs[best]) == 1:
        coefs = [*coefs, _newton_step(X, y, penalty, coefs[best])]
        evaluated.append(_evaluate(X, y, penalty, coefs[-1]))
    values, bounds = zip(*evaluated, strict=True)
    lower = max(value - bound for value, bound in evaluated)
    best = int(np.argmin(bounds))
    zero = float(np.log(max(2, len(coefs[0]))))
    scale = max(abs(lower), 1e-6 * zero)
    centred = [_centred(coef) for coef in coefs]
    size = float(np.abs(centred[best]).max())
    return Verdicts(
        lower_bound=lower,
        scale=scale,
        gaps=[(value - lower) / scale for value in values[:n_given]],
        coef_differences=[float(np.abs(coef - centred[best]).max()) / size for coef in centred[:n_given]],
        slack=min(bounds) / scale,
    )


def objective(X: NDArray[np.float32], y: NDArray[np.int64], penalty: float, coef: Array) -> float:
    """F at `coef`; arguments as in `judge`."""
    squared_norm = float((coef[:, :-1] ** 2).sum())
    return float(_losses(_margins(X, coef), y).mean()) + 0.5 * penalty * squared_norm


def accuracy(X: NDArray[np.float32], y: NDArray[np.int64], coef: Array) -> float:
    """Share of rows whose class is predicted."""
    margins = _margins(X, coef)
    predicted = margins[:, 0] > 0 if len(coef) == 1 else margins.argmax(axis=1)
    return float(np.mean(predicted == y))


def _evaluate(
    X: NDArray[np.float32], y: NDArray[np.int64], penalty: float, coef: Array
) -> tuple[float, float]:
    """(F at `coef`, bound of F - F* from a point with the same weights and the best intercepts)."""
    margins = _margins(X, coef)
    value = float(_losses(margins, y).mean())
    shifted = _with_best_intercepts(margins, y)
    saved = value - float(_losses(shifted, y).mean())
    gradient = _transposed(X, _slopes(shifted, y)) / len(X) + penalty * coef[:, :-1]
    value += 0.5 * penalty * float((coef[:, :-1] ** 2).sum())
    return value, float((gradient**2).sum()) / (2 * penalty) + max(saved, 0.0)


def _newton_step(X: NDArray[np.float32], y: NDArray[np.int64], penalty: float, coef: Array) -> Array:
    """Coefficients after one full Newton step in weights and intercept, for two classes."""
    margins = _margins(X, coef)
    p = _probabilities(margins)
    ridge = np.full(coef.shape[1], penalty)
    ridge[-1] = 0.0
    gradient, hessian = ridge * coef[0], np.diag(ridge)
    slopes, curvature = _slopes(margins, y), p * (1 - p)
    for start in range(0, len(X), _ROWS):
        part = slice(start, start + _ROWS)
        rows = np.column_stack([X[part].astype(np.float64), np.ones(len(X[part]))])
        gradient += slopes[part, 0] @ rows / len(X)
        hessian += rows.T @ (curvature[part] * rows) / len(X)
    return coef - np.linalg.solve(hessian, gradient)


def _with_best_intercepts(margins: Array, y: NDArray[np.int64]) -> Array:
    """Shift the margins of every output by Newton's method in the intercepts."""
    for _ in range(6):
        gradient = _slopes(margins, y).mean(axis=0)
        p = _probabilities(margins)
        curvature = np.diag(p.mean(axis=0)) - p.T @ p / len(p)
        margins = margins - np.linalg.lstsq(curvature, gradient, rcond=1e-12)[0]
    return margins


def _losses(margins: Array, y: NDArray[np.int64]) -> Array:
    if margins.shape[1] == 1:
        return np.asarray(np.logaddexp(0, np.where(y == 1, -1, 1) * margins[:, 0]))
    top = margins.max(axis=1)
    total = np.exp(margins - top[:, None]).sum(axis=1)
    return np.asarray(np.log(total) + top - margins[np.arange(len(y)), y])


def _probabilities(margins: Array) -> Array:
    if margins.shape[1] == 1:
        return np.asarray(0.5 * (1 + np.tanh(0.5 * margins)))
    e = np.exp(margins - margins.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


def _slopes(margins: Array, y: NDArray[np.int64]) -> Array:
    """Derivative of each row's loss by its margins."""
    slopes = _probabilities(margins).copy()
    if margins.shape[1] == 1:
        slopes[:, 0] -= y
    else:
        slopes[np.arange(len(y)), y] -= 1
    return slopes


def _centred(coef: Array) -> Array:
    """Classes may be shifted together without changing a probability: take the shift that sums to zero."""
    return coef if len(coef) == 1 else coef - coef.mean(axis=0)


def _margins(X: NDArray[np.float32], coef: Array) -> Array:
    """``[X 1] coef^T``, shape (n, K)."""
    parts = [rows @ coef[:, :-1].T for _, rows in _blocks(X)]
    return np.concatenate(parts) + coef[:, -1]


def _transposed(X: NDArray[np.float32], values: Array) -> Array:
    """``values^T X``, shape (K, d)."""
    total = np.zeros((values.shape[1], X.shape[1]))
    for start, rows in _blocks(X):
        total += values[start : start + len(rows)].T @ rows
    return total


def _blocks(X: NDArray[np.float32]) -> Iterator[tuple[int, Array]]:
    for start in range(0, len(X), _ROWS):
        yield start, X[start : start + _ROWS].astype(np.float64)
