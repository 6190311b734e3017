"""The protocol of the least-squares reproductions: alpha tuned on floats, reused unchanged at few bits.

Labels -1 and 1 make it the least-squares SVM, with a small L2 penalty and a column of ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mezzotint.linear.textbook_descent import tune
from mezzotint.linear.textbook_problem import LinearProblem
from mezzotint.linear.textbook_zipml import (
    ColumnLevels,
    DrawnSamples,
    Penalty,
    ZipmlResult,
    uniform_columns,
    zipml_sgd,
)
from mezzotint.reproduce.data import DataSet

__all__ = ["SEED", "LeastSquares", "first_matching", "tuned"]

SEED = 0
_STEPS = tuple(2.0**k for k in range(-9, 2))
_SVM_PENALTY = 1e-3
_ORDERS = 4  # orders of the rows that the spread is taken over, beside the first


@dataclass(frozen=True, eq=False, kw_only=True)
class LeastSquares:
    """A data set with the step that is best in full precision, and how far that comes.

    Examples
    --------
    >>> from mezzotint.reproduce.data import synthetic
    >>> task = tuned(synthetic(3, n_rows=200), epochs=5)
    >>> task.gap(task.draws(8, copies=2)) < 0.01
    True
    """

    name: str
    problem: LinearProblem
    penalty: Penalty
    step: float
    epochs: int
    batch: int
    full: ZipmlResult

    def draws(
        self,
        bits: int,
        *,
        copies: int,
        levels: ColumnLevels | None = None,
        n_draws: int = 2,
        rounding: str = "stochastic",
    ) -> list[DrawnSamples]:
        """Draw copies of the samples, on uniform levels if no others are given."""
        table = levels or uniform_columns(self.problem.features, bits)
        return [
            DrawnSamples.draw(
                self.problem.features, table, n_draws=n_draws, rounding=rounding, seed=SEED, copy=copy
            )
            for copy in range(copies)
        ]

    def run(self, samples: list[DrawnSamples], **options: Any) -> ZipmlResult:  # noqa: ANN401
        """Train on draws with the step of full precision."""
        return _descend(
            self.problem, self.penalty, self.step, self.epochs, self.batch, samples=samples, **options
        )

    def gap(self, samples: list[DrawnSamples], **options: Any) -> float:  # noqa: ANN401
        """Final objective relative to full precision's, minus one; infinite where the run diverged."""
        return _last(self.run(samples, **options)) / _last(self.full) - 1.0

    def spread(self) -> float:
        """How far the order of the rows alone moves full precision's final objective, relative to it."""
        orders = range(SEED + 1, SEED + 1 + _ORDERS)
        others = [
            _last(_descend(self.problem, self.penalty, self.step, self.epochs, self.batch, seed=seed))
            for seed in orders
        ]
        ends = [_last(self.full), *others]
        return (max(ends) - min(ends)) / ends[0]


def tuned(data: DataSet, *, epochs: int, batch: int = 16) -> LeastSquares:
    """Choose alpha on float rows.

    Parameters
    ----------
    data : DataSet
        Rows and targets; labels -1 and 1 make a least-squares SVM.
    epochs : int
        Length of every run.
    batch : int, default 16
        Rows of a minibatch.

    Returns
    -------
    LeastSquares
        The data set with its step and the run in full precision.

    Examples
    --------
    >>> from mezzotint.reproduce.data import synthetic
    >>> tuned(synthetic(3, n_rows=200), epochs=3).batch
    16
    """
    classes = bool(np.isin(data.y, (-1.0, 1.0)).all())
    features = np.column_stack([data.X, np.ones(len(data.X))]) if classes else data.X
    problem = LinearProblem(features=features, targets=data.y)
    penalty = Penalty(l2=_SVM_PENALTY) if classes else Penalty()
    step = tune(lambda s: _last(_descend(problem, penalty, s, epochs, batch)), _STEPS)
    return LeastSquares(
        name=data.name,
        problem=problem,
        penalty=penalty,
        step=step,
        epochs=epochs,
        batch=batch,
        full=_descend(problem, penalty, step, epochs, batch),
    )


def first_matching(gaps: dict[int, float], tolerance: float = 0.01) -> int | None:
    """Fewest bits whose gap is within the tolerance; None if there are none.

    Parameters
    ----------
    gaps : dict of int to float
        Gap for each number of bits.
    tolerance : float, default 0.01
        One per cent of the loss of full precision.

    Returns
    -------
    int or None
        The bits.

    Examples
    --------
    >>> first_matching({2: 0.5, 3: 0.009, 4: 0.001})
    3
    """
    return min((bits for bits, gap in gaps.items() if gap <= tolerance), default=None)


def _descend(
    problem: LinearProblem,
    penalty: Penalty,
    step: float,
    epochs: int,
    batch: int,
    *,
    samples: list[DrawnSamples] | None = None,
    seed: int = SEED,
    **options: Any,  # noqa: ANN401
) -> ZipmlResult:
    start: NDArray[np.float64] = np.zeros(problem.features.shape[1])
    return zipml_sgd(
        problem,
        start,
        samples or (),
        step=step,
        epochs=epochs,
        batch_size=batch,
        penalty=penalty,
        seed=seed,
        **options,
    )


def _last(result: ZipmlResult) -> float:
    """Objective at the end, infinite where the run diverged."""
    value = float(result.objectives[-1])
    return value if result.status == "finished" and np.isfinite(value) else np.inf
