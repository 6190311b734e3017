"""ZipML's outer loop: minibatch descent with step alpha / k in epoch k, and how alpha is chosen.

The paper tunes alpha in full precision and reuses it unchanged at low precision, which prefers smaller steps:
a comparison that favours full precision.

References
----------
H. Zhang, J. Li, K. Kara, D. Alistarh, J. Liu, C. Zhang, "ZipML: training linear models with end-to-end low
precision, and a little bit of deep learning", ICML 2017, arXiv:1611.05402v3, section 5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mezzotint.errors import ParameterError
from mezzotint.linear.textbook_problem import Stream, Vector
from mezzotint.linear.textbook_run import check_positive
from mezzotint.random import permutation

__all__ = ["Descent", "Schedule", "descend", "tune"]

Gradient = Callable[[Vector, NDArray[np.int64], int], Vector]


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How long to descend and in which steps.

    Parameters
    ----------
    step : float
        alpha, positive: epoch k = 1, 2, ... takes steps of alpha / k.
    epochs : int
        Passes over the rows, >= 1.
    batch : int
        Rows of a minibatch, >= 1; the last one of an epoch may be smaller.
    seed : int
        Key of the order of the rows, drawn anew for every epoch.

    Raises
    ------
    ParameterError
        If a value is outside its range.

    Examples
    --------
    >>> Schedule(step=0.5).batch
    16
    """

    step: float
    epochs: int = 100
    batch: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        check_positive("step", self.step)
        for name, value in (("epochs", self.epochs), ("batch", self.batch)):
            if value < 1:
                raise ParameterError(f"{name} came as {value}; it must be at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Descent:
    """What a run leaves.

    Examples
    --------
    >>> Descent(weights=np.zeros(2), objectives=np.array([1.0, 0.5])).last
    0.5
    """

    weights: Vector
    """Last iterate."""
    objectives: Vector
    """Objective at the start and after each epoch, shape (epochs + 1,); infinite once it overflowed."""

    @property
    def last(self) -> float:
        """Objective at the end."""
        return float(self.objectives[-1])


def descend(
    gradient: Gradient,
    objective: Callable[[Vector], float],
    n_rows: int,
    start: Vector,
    schedule: Schedule,
    *,
    radius: float = np.inf,
) -> Descent:
    """Run minibatch descent: x <- project(x - (alpha / k) * gradient(x, rows, epoch)).

    Parameters
    ----------
    gradient : callable
        (weights, row numbers, epoch from 0) -> estimate of the gradient, mean over these rows.
    objective : callable
        What is recorded, weights -> number.
    n_rows : int
        Number of rows; every epoch visits each of them once, in a random order.
    start : ndarray of float64
        First weights.
    schedule : Schedule
        Steps, epochs, minibatches.
    radius : float, default infinity
        Iterates are kept in the ball of this radius around zero.

    Returns
    -------
    Descent
        Last weights and the objective after every epoch.

    Examples
    --------
    >>> pull = lambda x, rows, epoch: x - 3.0
    >>> descend(pull, lambda x: float(x[0]), 8, np.zeros(1), Schedule(step=0.5, epochs=3, batch=1)).last
    2.99...
    """
    weights, objectives = np.array(start, np.float64), [objective(start)]
    with np.errstate(over="ignore", invalid="ignore"):  # a run that diverges ends as infinity
        for epoch in range(schedule.epochs):
            order = permutation(schedule.seed, n_rows, step=epoch, stream=Stream.ROWS)
            step = schedule.step / (epoch + 1)
            for first in range(0, n_rows, schedule.batch):
                weights -= step * gradient(weights, order[first : first + schedule.batch], epoch)
                if radius < np.inf:
                    weights *= radius / max(float(np.linalg.norm(weights)), radius)
            value = objective(weights)
            objectives.append(value if np.isfinite(value) else np.inf)
    return Descent(weights=weights, objectives=np.array(objectives))


def tune(run: Callable[[float], float], steps: Iterable[float]) -> float:
    """Choose the step with which a run ends lowest.

    Parameters
    ----------
    run : callable
        Step -> objective at the end.
    steps : iterable of float
        Candidates.

    Returns
    -------
    float
        The best; the first of several.

    Examples
    --------
    >>> tune(lambda step: abs(step - 0.3), [0.1, 0.25, 0.5])
    0.25
    """
    return min(steps, key=run)
