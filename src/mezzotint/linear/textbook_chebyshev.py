"""Polynomials in place of the derivative of a loss, estimated without bias from independent draws of a row.

For a loss l(b a.x) the gradient is b l'(b a.x) a. Replace l' by a polynomial P of degree p that is close to
it on [-R, R]. With p + 1 independent draws Q_j of the row,

    b (m_0 + m_1 u_1 + m_2 u_1 u_2 + ... + m_p u_1 ... u_p) Q_{p+1},    u_j = b Q_j.x,

has the expectation b P(b a.x) a: every product is one of independent factors. Its variance grows
geometrically with the degree (lemma 4 of the paper): a step needs a high degree, a high degree needs fine
draws.

References
----------
H. Zhang et al., "ZipML", arXiv:1611.05402v3, section 4 (lemmas 4 and 5).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mezzotint.errors import DataError, ParameterError
from mezzotint.linear.textbook_problem import Vector
from mezzotint.linear.textbook_run import check_positive

__all__ = [
    "Polynomial",
    "chebyshev_series",
    "estimate_gradient",
    "fit_polynomial",
    "hinge_slope",
    "logistic_slope",
    "power_coefficients",
]

MAX_DEGREE = 15
_NODES = 8192  # the coefficient of degree 15 is off by those of degrees from 2 * 8192 - 15 on


def logistic_slope(z: Vector) -> Vector:
    """Return the derivative of log(1 + exp(-z)): -1 / (1 + exp(z)).

    Parameters
    ----------
    z : ndarray of float64
        b a.x.

    Returns
    -------
    ndarray of float64
        Between -1 and 0.

    Examples
    --------
    >>> logistic_slope(np.zeros(1)).tolist()
    [-0.5]
    """
    slope: Vector = 0.5 * (np.tanh(0.5 * z) - 1.0)
    return slope


def hinge_slope(z: Vector, *, gap: float) -> Vector:
    """Return the derivative of the smoothed hinge: from -1 below 1 - gap straight to 0 above 1 + gap.

    Parameters
    ----------
    z : ndarray of float64
        b a.x.
    gap : float
        Half the width of the transition, positive: a polynomial cannot follow the step of the hinge itself.

    Returns
    -------
    ndarray of float64
        Between -1 and 0.

    Examples
    --------
    >>> hinge_slope(np.array([0.0, 1.0, 2.0]), gap=0.5).tolist()
    [-1.0, -0.5, -0.0]
    """
    check_positive("gap", gap)
    slope: Vector = -np.clip((1.0 + gap - z) / (2.0 * gap), 0.0, 1.0)
    return slope


def chebyshev_series(function: Callable[[Vector], Vector], degree: int, radius: float) -> Vector:
    """Expand a function on [-R, R] in Chebyshev polynomials: f(R t) = sum_k c_k T_k(t).

    Parameters
    ----------
    function : callable
        Array to array.
    degree : int
        Highest degree kept, 0 to 15.
    radius : float
        R, positive.

    Returns
    -------
    ndarray of float64, shape (degree + 1,)
        c, by the Gauss-Chebyshev rule at 8192 nodes.

    Raises
    ------
    ParameterError
        If the degree or the radius is outside its range.

    Examples
    --------
    >>> np.round(chebyshev_series(lambda z: z * z, 2, 2.0), 12).tolist()
    [2.0, 0.0, 2.0]
    """
    check_positive("radius", radius)
    if not 0 <= degree <= MAX_DEGREE:
        raise ParameterError(f"degree came as {degree!r}; give an integer from 0 to {MAX_DEGREE}")
    angles = (np.arange(_NODES) + 0.5) * (np.pi / _NODES)
    values = function(radius * np.cos(angles))
    series = np.array([2.0 / _NODES * (values @ np.cos(k * angles)) for k in range(degree + 1)])
    series[0] /= 2.0
    return series


def power_coefficients(series: Vector) -> Vector:
    """Rewrite sum_k c_k T_k(t) as sum_i a_i t^i.

    Parameters
    ----------
    series : ndarray of float64, shape (p + 1,)
        c, p at most 15.

    Returns
    -------
    ndarray of float64, shape (p + 1,)
        a, each within one rounding of the products' exact sum: the coefficients of T_k are integers below
        2**15 that doubles hold, and `math.fsum` adds without loss.

    Examples
    --------
    >>> power_coefficients(np.array([0.0, 0.0, 0.0, 1.0])).tolist()
    [0.0, -3.0, 0.0, 4.0]
    """
    degree = len(series) - 1
    table = np.zeros((degree + 1, degree + 1))
    table[0, 0] = 1.0
    if degree:
        table[1, 1] = 1.0
    for k in range(2, degree + 1):  # T_k = 2 t T_{k-1} - T_{k-2}
        table[k, 1:] = 2.0 * table[k - 1, :-1]
        table[k] -= table[k - 2]
    return np.array([math.fsum(series * column) for column in table.T])


@dataclass(frozen=True, eq=False, kw_only=True)
class Polynomial:
    """P(z) = sum_i a_i (z / R)^i.

    Powers of z / R rather than of z: within the radius they stay below one, whatever R is.

    Examples
    --------
    >>> Polynomial(powers=np.array([1.0, 0.0, 4.0]), radius=2.0)(np.array([2.0])).tolist()
    [5.0]
    """

    powers: Vector
    """a, shape (p + 1,)."""
    radius: float
    """R."""

    @property
    def degree(self) -> int:
        """p, the number of draws that its value takes."""
        return len(self.powers) - 1

    def __call__(self, z: Vector) -> Vector:
        """Value at z, by Horner's rule."""
        return self.estimate(np.broadcast_to(z, (self.degree, *np.shape(z))))

    def estimate(self, margins: Vector) -> Vector:
        """Value at z without bias, from p independent estimates of z.

        Parameters
        ----------
        margins : ndarray of float64, shape (p, ...)
            Independent, each with the expectation z.

        Returns
        -------
        ndarray of float64, shape (...)
            ``a_0 + u_1 (a_1 + u_2 (a_2 + ...))`` with u = margins / R, which is the sum of a_i u_1 ... u_i.

        Raises
        ------
        DataError
            If there are not exactly p estimates.
        """
        if len(margins) != self.degree:
            raise DataError(
                f"{len(margins)} estimates came; a polynomial of degree {self.degree} takes that many"
            )
        value = np.full(margins.shape[1:], self.powers[-1])
        for power, margin in zip(self.powers[-2::-1], margins[::-1], strict=True):
            value = power + margin / self.radius * value
        return value

    def error(self, function: Callable[[Vector], Vector]) -> float:
        """Return the largest |P - f| on 10,001 equal points of [-R, R]."""
        z = np.linspace(-self.radius, self.radius, 10_001)
        return float(np.abs(self(z) - function(z)).max())


def fit_polynomial(function: Callable[[Vector], Vector], degree: int, radius: float) -> Polynomial:
    """Cut the Chebyshev expansion of a function on [-R, R] after some degree.

    Parameters
    ----------
    function, degree, radius
        As for `chebyshev_series`.

    Returns
    -------
    Polynomial
        Close to the best uniform approximation of its degree: within a factor of 4 for degrees up to 15.

    Raises
    ------
    ParameterError
        If the degree or the radius is outside its range.

    Examples
    --------
    >>> fit_polynomial(logistic_slope, 15, 4.0).error(logistic_slope) < 3e-5
    True
    """
    return Polynomial(powers=power_coefficients(chebyshev_series(function, degree, radius)), radius=radius)


def estimate_gradient(
    polynomial: Polynomial, draws: Vector, labels: NDArray[np.float64], weights: Vector
) -> Vector:
    """Estimate the gradient mean_i b_i P(b_i a_i.x) a_i from p + 1 draws of every row.

    Parameters
    ----------
    polynomial : Polynomial
        P, in place of the derivative of the loss; degree p.
    draws : ndarray of float64, shape (p + 1, n, d)
        Independent unbiased draws of the rows.
    labels : ndarray of float64, shape (n,)
        b, -1 or 1.
    weights : ndarray of float64, shape (d,)
        x.

    Returns
    -------
    ndarray of float64, shape (d,)
        Its expectation is the gradient with P for l'.

    Raises
    ------
    DataError
        If there are not p + 1 draws.

    Examples
    --------
    >>> line = Polynomial(powers=np.array([-1.0, 1.0]), radius=1.0)
    >>> rows = np.array([[1.0, 2.0]])
    >>> estimate_gradient(line, np.stack([rows, rows]), np.array([1.0]), np.array([0.5, 0.5])).tolist()
    [0.5, 1.0]
    """
    margins = labels * (draws[:-1] @ weights)
    gradient: Vector = (labels * polynomial.estimate(margins)) @ draws[-1] / len(labels)
    return gradient
