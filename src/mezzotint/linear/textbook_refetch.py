"""Support vector machines on low-precision rows; a row is read in full where its side of the hinge is unsure.

The hinge loss max(0, 1 - b a.x) has the gradient -b a where 1 - b a.x > 0 and 0 elsewhere. A low-precision
row Q(a) whose entries lie within ``width_j`` of a_j has a margin within ``r = sum_j |x_j| width_j`` of the
true one, so the sign of 1 - b Q(a).x is that of 1 - b a.x whenever it is farther than r from zero. Other rows
are read in full precision. How many there are is not bounded by theory; `RefetchRun` counts them.

The paper's radius |x|_1 / s is the same sum with one width for all columns, that of the widest.

References
----------
H. Zhang et al., "ZipML", arXiv:1611.05402v3, section 4 and its appendix on l1 refetching.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mezzotint.errors import DataError
from mezzotint.linear.textbook_descent import Descent, Schedule, descend
from mezzotint.linear.textbook_problem import Vector

__all__ = ["RefetchRun", "SupportVectors", "hinge_sides", "margin_radius", "refetch_svm"]

Sides = NDArray[np.int8]

# Computed levels are a little off: an entry may exceed the width of its column by this share of it.
_WIDTH_SLACK = 2.0**-40


def margin_radius(rows: Vector, widths: Vector, weights: Vector) -> Vector:
    """How far the margin of a low-precision row can be from that of the true row, rounding included.

    Parameters
    ----------
    rows : ndarray of float64, shape (n, d)
        Low-precision rows Q(a).
    widths : ndarray of float64, shape (d,)
        How far Q(a)_j can be from a_j: the distance of two levels (half of it if rounded to the nearest).
    weights : ndarray of float64, shape (d,)
        x.

    Returns
    -------
    ndarray of float64, shape (n,)
        ``sum_j |x_j| width_j``, plus what float64 can lose in computing both margins and this sum.

    Notes
    -----
    A dot product of d terms in float64 is off by at most d 2^-53 / (1 - d 2^-53) times the sum of their
    absolute values, in any order of summation; (d + 4) 2^-52 covers both margins, the radius, the subtraction
    from one and the comparison.

    Examples
    --------
    >>> float(margin_radius(np.array([[1.0, 0.0]]), np.array([0.5, 0.25]), np.array([2.0, -4.0]))[0])
    2.0...
    """
    size = np.abs(weights)
    reach = float(widths @ size) * (1.0 + _WIDTH_SLACK)
    lost = (len(weights) + 4) * 2.0**-52 * (1.0 + np.abs(rows) @ size + reach)
    radius: Vector = reach + lost
    return radius


def hinge_sides(margins: Vector, radius: Vector) -> Sides:
    """On which side of the hinge a row is for certain: 1 where it pulls, -1 where it does not, 0 if unsure.

    Parameters
    ----------
    margins : ndarray of float64, shape (n,)
        b Q(a).x.
    radius : ndarray of float64, shape (n,)
        From `margin_radius`.

    Returns
    -------
    ndarray of int8, shape (n,)
        The sign of 1 - b a.x, or 0.

    Examples
    --------
    >>> hinge_sides(np.array([0.0, 0.9, 2.0]), np.full(3, 0.5)).tolist()
    [1, 0, -1]
    """
    slack = 1.0 - margins
    return np.where(slack > radius, 1, np.where(slack < -radius, -1, 0)).astype(np.int8)


@dataclass(frozen=True, eq=False, kw_only=True)
class SupportVectors:
    """The support vector machine (1/n) sum max(0, 1 - b_i a_i.x) + (c/2) |x|^2 with low-precision rows.

    Parameters
    ----------
    rows : ndarray of float64, shape (n, d)
        a, read only where that is necessary.
    labels : ndarray of float64, shape (n,)
        b, -1 or 1.
    low : ndarray of float64, shape (n, d)
        Q(a), unbiased.
    widths : ndarray of float64, shape (d,)
        Bound of |Q(a)_j - a_j| in each column; zero everywhere if `low` is `rows`.
    penalty : float
        c >= 0.

    Raises
    ------
    DataError
        If shapes do not fit, labels are not -1 or 1, or an entry of `low` is farther off than its width.

    Examples
    --------
    >>> rows = np.array([[1.0], [-1.0]])
    >>> machine = SupportVectors(rows=rows, labels=np.array([1.0, -1.0]), low=rows, widths=np.zeros(1))
    >>> machine.objective(np.array([0.5]))
    0.5
    """

    rows: Vector
    labels: Vector
    low: Vector
    widths: Vector
    penalty: float = 0.0

    def __post_init__(self) -> None:
        if self.low.shape != self.rows.shape or self.labels.shape != self.rows.shape[:1]:
            raise DataError(
                f"rows of shape {self.rows.shape} came with low-precision rows of shape {self.low.shape} and "
                f"labels of shape {self.labels.shape}; pass (n, d), (n, d) and (n,)"
            )
        if not np.isin(self.labels, (-1.0, 1.0)).all():
            raise DataError("labels must be -1 or 1; map the two classes to these")
        if (np.abs(self.low - self.rows) > self.widths * (1.0 + _WIDTH_SLACK)).any():
            raise DataError(
                "a low-precision entry is farther from its value than the width of its column, so no margin "
                "can be trusted; pass the distance of the levels that the rows were rounded to"
            )

    def objective(self, weights: Vector) -> float:
        """Loss of the true rows, penalty included."""
        losses = np.maximum(0.0, 1.0 - self.labels * (self.rows @ weights))
        return float(losses.mean() + 0.5 * self.penalty * (weights @ weights))

    def sides(self, index: NDArray[np.int64], weights: Vector) -> tuple[Sides, NDArray[np.bool_]]:
        """Side of the hinge of some rows, and which of them had to be read in full for it."""
        low, labels = self.low[index], self.labels[index]
        sides = hinge_sides(labels * (low @ weights), margin_radius(low, self.widths, weights))
        unsure = sides == 0
        if unsure.any():
            full = labels[unsure] * (self.rows[index[unsure]] @ weights)
            sides[unsure] = np.where(full < 1.0, 1, -1)
        return sides, unsure


@dataclass(frozen=True, slots=True, kw_only=True)
class RefetchRun:
    """What training with refetching leaves.

    Examples
    --------
    >>> run = RefetchRun(
    ...     descent=Descent(weights=np.zeros(1), objectives=np.ones(3)), refetched=np.array([0.5, 0.25])
    ... )
    >>> run.fraction
    0.375
    """

    descent: Descent
    refetched: Vector
    """Fraction of the rows that were read in full in each epoch, shape (epochs,)."""

    @property
    def fraction(self) -> float:
        """Mean over the epochs."""
        return float(self.refetched.mean())


def refetch_svm(machine: SupportVectors, schedule: Schedule) -> RefetchRun:
    """Train a support vector machine on low-precision rows, never on the wrong side of a hinge.

    Parameters
    ----------
    machine : SupportVectors
        Rows, labels, low-precision rows.
    schedule : Schedule
        Steps, epochs, minibatches.

    Returns
    -------
    RefetchRun
        Weights, objective after every epoch, fraction of rows refetched.

    Notes
    -----
    A row that was read in full also enters the gradient in full. Whether it is depends on its draw, so near
    the hinge the gradient is not exactly unbiased; away from it, where no draw is unsure, it is.

    Examples
    --------
    >>> rows = np.array([[1.0], [-1.0]])
    >>> machine = SupportVectors(rows=rows, labels=np.array([1.0, -1.0]), low=rows, widths=np.zeros(1))
    >>> refetch_svm(machine, Schedule(step=0.5, epochs=5, batch=1)).descent.last
    0.0
    """
    counts = np.zeros(schedule.epochs)

    def gradient(weights: Vector, index: NDArray[np.int64], epoch: int) -> Vector:
        sides, unsure = machine.sides(index, weights)
        counts[epoch] += np.count_nonzero(unsure)
        pulling = np.where(sides > 0, machine.labels[index], 0.0)
        used = np.where(unsure[:, None], machine.rows[index], machine.low[index])
        total: Vector = machine.penalty * weights - pulling @ used / len(index)
        return total

    start = np.zeros(machine.rows.shape[1])
    descent = descend(gradient, machine.objective, len(machine.rows), start, schedule)
    return RefetchRun(descent=descent, refetched=counts / len(machine.rows))
