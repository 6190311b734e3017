"""Least-squares gradients from quantised rows: what each estimator computes, and its exact mean and variance.

With rows a, targets b, weights x and residual r = a.x - b the gradient of a row is a r. Let Q, Q1, Q2, ...
be independent unbiased draws of a, with the variance D_i = (u - a_i)(a_i - l_i) per coordinate, and m the
mean of k draws:

- naive: Q (Q.x - b). Biased by D x, because the same draw is used twice: a ridge penalty nobody asked for.
- double: Q1 (Q2.x - b). Unbiased.
- symmetrised: the mean of the above and the same with Q1 and Q2 exchanged. Unbiased, about half the variance.
- variance-reduced: m (m.x - b) - w x, with w the draws' own estimate of Var m. The mean of the symmetrised
  estimator over everything that the sum of the draws does not tell: unbiased, never of larger variance, and
  without a random bit.

All functions take a minibatch and return the mean over its rows.

References
----------
H. Zhang et al., "ZipML", arXiv:1611.05402v3, pages 5 and 6 and appendices B and C; the variances are ours.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mezzotint.errors import ParameterError
from mezzotint.formats.quantiser import intervals_of_bits, quantise, row_scale

__all__ = [
    "Estimator",
    "double_gradient",
    "estimator_bias",
    "estimator_variance",
    "naive_gradient",
    "round_vector",
    "symmetrised_gradient",
    "variance_reduced_gradient",
]

Vector = NDArray[np.float64]
Estimator = Literal["naive", "double", "symmetrised", "variance-reduced"]


def naive_gradient(rows: Vector, targets: Vector, weights: Vector) -> Vector:
    """Return the mean of q (q.x - b): the gradient if rows are exact, biased by D x if they are draws.

    Parameters
    ----------
    rows : ndarray of float64, shape (B, d)
        Floats, one draw of them, or deterministically rounded ones.
    targets : ndarray of float64, shape (B,)
        Targets b.
    weights : ndarray of float64, shape (d,)
        Weights x.

    Returns
    -------
    ndarray of float64, shape (d,)
        Mean over the rows.

    Examples
    --------
    >>> naive_gradient(np.eye(2), np.array([1.0, 0.0]), np.array([3.0, 4.0])).tolist()
    [1.0, 2.0]
    """
    mean: Vector = rows.T @ (rows @ weights - targets) / len(rows)
    return mean


def double_gradient(first: Vector, second: Vector, targets: Vector, weights: Vector) -> Vector:
    """Return the mean of q1 (q2.x - b), equation 6.

    Parameters
    ----------
    first, second : ndarray of float64, shape (B, d)
        Two independent draws of the rows.
    targets, weights
        As for `naive_gradient`.

    Returns
    -------
    ndarray of float64, shape (d,)
        Mean over the rows.

    Examples
    --------
    >>> double_gradient(np.eye(2), 2 * np.eye(2), np.zeros(2), np.array([3.0, 4.0])).tolist()
    [3.0, 4.0]
    """
    mean: Vector = first.T @ (second @ weights - targets) / len(first)
    return mean


def symmetrised_gradient(first: Vector, second: Vector, targets: Vector, weights: Vector) -> Vector:
    """Return the mean of the two orders of `double_gradient`, footnote 2.

    Parameters
    ----------
    first, second, targets, weights
        As for `double_gradient`.

    Returns
    -------
    ndarray of float64, shape (d,)
        Mean over the rows.

    Examples
    --------
    >>> symmetrised_gradient(np.eye(2), 2 * np.eye(2), np.array([1.0, 0.0]), np.array([3.0, 4.0])).tolist()
    [2.25, 4.0]
    """
    forth = double_gradient(first, second, targets, weights)
    return 0.5 * (forth + double_gradient(second, first, targets, weights))


def variance_reduced_gradient(mean: Vector, variance: Vector, targets: Vector, weights: Vector) -> Vector:
    """Return the mean of m (m.x - b) - w x.

    Parameters
    ----------
    mean : ndarray of float64, shape (B, d)
        Mean m of the draws of each value.
    variance : ndarray of float64, shape (B, d)
        Their estimate w of the variance of m, from `mezzotint.formats.draws.draw_variance`.
    targets, weights
        As for `naive_gradient`.

    Returns
    -------
    ndarray of float64, shape (d,)
        Mean over the rows.

    Examples
    --------
    >>> m, w = np.array([[0.5, 1.0]]), np.array([[0.25, 0.0]])
    >>> variance_reduced_gradient(m, w, np.array([1.0]), np.array([2.0, 0.0])).tolist()
    [-0.5, 0.0]
    """
    correction = variance.sum(axis=0) / len(mean) * weights
    reduced: Vector = naive_gradient(mean, targets, weights) - correction
    return reduced


def round_vector(vector: Vector, bits: int | None, random_bits: NDArray[np.uint32] | None) -> Vector:
    """Quantise a model or gradient with row scaling, as it is before and after it is moved.

    Parameters
    ----------
    vector : ndarray of float64, shape (d,)
        Weights or gradient.
    bits : int or None
        Width, 1 to 16, with the paper's number of intervals; None leaves the vector alone.
    random_bits : ndarray of uint32, shape (d,), or None
        One word per coordinate.

    Returns
    -------
    ndarray of float64, shape (d,)
        Unbiased. Around any of the gradients above, which are affine in the weights, it gives the end-to-end
        estimator Q4(Q1 (Q2.Q3(x) - b)) of equation 13, unbiased as they are.

    Raises
    ------
    ParameterError
        If there are bits without random bits.
    DataError
        If the vector is not finite.

    Examples
    --------
    >>> round_vector(np.array([3.0, 4.0]), 1, np.zeros(2, np.uint32)).tolist()
    [0.0, 0.0]
    """
    if bits is None:
        return vector
    if random_bits is None:
        raise ParameterError("rounding a vector needs one random word per coordinate; none came")
    return quantise(vector, intervals_of_bits(bits), row_scale(vector), random_bits).values


def estimator_bias(estimator: Estimator, variance: Vector, weights: Vector) -> Vector:
    """Return the exact bias of an estimator for one row: D x for the naive one, zero for the others.

    Parameters
    ----------
    estimator : {"naive", "double", "symmetrised", "variance-reduced"}
        Which estimator.
    variance : ndarray of float64, shape (d,)
        Variance D of one draw of each coordinate.
    weights : ndarray of float64, shape (d,)
        Weights x.

    Returns
    -------
    ndarray of float64, shape (d,)
        E g - a (a.x - b).

    Examples
    --------
    >>> estimator_bias("naive", np.array([0.25, 0.0]), np.array([2.0, 3.0])).tolist()
    [0.5, 0.0]
    """
    return variance * weights if estimator == "naive" else np.zeros_like(weights)


def estimator_variance(
    estimator: Estimator, row: Vector, target: float, weights: Vector, variance: Vector, *, n_draws: int = 2
) -> Vector:
    """Return E (g - a (a.x - b))**2 of an unbiased estimator for one row and every coordinate, exactly.

    With V = sum_j D_j x_j**2, c_i = r D_i a_i x_i and q_i = D_i**2 x_i**2::

        double             a_i**2 V + r**2 D_i + D_i V
        symmetrised        (a_i**2 V + r**2 D_i) / 2 + c_i + (D_i V + q_i) / 2
        variance-reduced   (a_i**2 V + r**2 D_i + 2 c_i) / k + (D_i V - q_i) / k**2 + 2 q_i / (k (k - 1))

    Parameters
    ----------
    estimator : {"double", "symmetrised", "variance-reduced"}
        Which estimator.
    row : ndarray of float64, shape (d,)
        Row a.
    target : float
        Target b.
    weights : ndarray of float64, shape (d,)
        Weights x.
    variance : ndarray of float64, shape (d,)
        Variance D of one draw of each coordinate.
    n_draws : int, default 2
        Number k of draws of the variance-reduced estimator; the others use two.

    Returns
    -------
    ndarray of float64, shape (d,)
        Variances; their sum is the E |g - g_full|**2 of lemma 1.

    Raises
    ------
    ParameterError
        If the estimator is the naive one, whose error is not variance alone.

    Examples
    --------
    >>> one = np.ones(2)
    >>> estimators = ("double", "symmetrised", "variance-reduced")
    >>> [float(estimator_variance(name, one, 1.0, one, one)[0]) for name in estimators]
    [5.0, 4.0, 3.75]
    """
    r = float(row @ weights) - target
    spread = float(variance @ weights**2)
    linear, both = row**2 * spread + r * r * variance, variance * spread
    cross, square = r * variance * row * weights, variance**2 * weights**2
    if estimator == "naive":
        raise ParameterError("the naive estimator is biased; its bias is known, see estimator_bias")
    k = n_draws
    exact: dict[Estimator, Vector] = {
        "double": linear + both,
        "symmetrised": linear / 2 + cross + (both + square) / 2,
        "variance-reduced": (linear + 2 * cross) / k + (both - square) / k**2 + 2 * square / (k * (k - 1)),
    }
    return exact[estimator]
