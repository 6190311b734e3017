"""SGD, LP-SGD, SVRG, LP-SVRG and HALP as published: the reference for the fast solvers and the figures.

Plain NumPy, float64 with exact fixed-point values, one component per step, every random number an argument.
Nothing here is fast on purpose; what is meant to be fast lives in the solvers that are tested against it.
LM-HALP, HALP for linear models in integer arithmetic, is in `mezzotint.linear.textbook_integer`.

Conventions
-----------
w~ is the centre of an epoch and g~ the full gradient there; T is the number of inner steps. The next centre
is the last iterate (``option="I"``) or a random one of the first T (``option="II"``, what the theorems
assume). An epoch costs N + 2 T component gradients.

References
----------
C. De Sa, M. Leszczynski, J. Zhang, A. Marzoev, C. R. Aberger, K. Olukotun, C. Re, "High-accuracy
low-precision training", arXiv:1803.03383, 2018.
R. Johnson, T. Zhang, "Accelerating stochastic gradient descent using predictive variance reduction",
NIPS 2013.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mezzotint.formats import FixedPoint, Rounding
from mezzotint.linear.textbook_problem import FiniteSum, LinearProblem, Vector, synthetic_regression
from mezzotint.linear.textbook_run import (
    EpochDraws,
    EpochOutcome,
    Option,
    Quantiser,
    TextbookResult,
    check_positive,
    draw_epochs,
    run,
    warn_if_clipped,
)

__all__ = [
    "EpochDraws",
    "FiniteSum",
    "LinearProblem",
    "TextbookResult",
    "draw_epochs",
    "halp",
    "lp_sgd",
    "lp_svrg",
    "sgd",
    "svrg",
    "svrg_float32",
    "synthetic_regression",
]


def sgd(problem: FiniteSum, start: Vector, draws: Iterable[EpochDraws], *, step: float) -> TextbookResult:
    """Run stochastic gradient descent: w <- w - step * grad f_i(w).

    Parameters
    ----------
    problem : FiniteSum
        The objective.
    start : ndarray of float64
        First weights.
    draws : iterable of EpochDraws
        One entry per epoch; the epochs only say when the full gradient is measured.
    step : float
        Step size, positive.

    Returns
    -------
    TextbookResult
        Record of the run; stalls at a distance proportional to the step.

    Raises
    ------
    ParameterError
        If the step is not positive.

    Examples
    --------
    >>> problem = synthetic_regression(0, n_rows=50, n_features=3)
    >>> draws = draw_epochs(0, problem, n_features=3, steps=100, epochs=2)
    >>> sgd(problem, np.zeros(3), draws, step=0.05).status
    'finished'
    """
    return _sgd(problem, start, draws, step, None, Rounding.STOCHASTIC)


def lp_sgd(
    problem: FiniteSum,
    start: Vector,
    draws: Iterable[EpochDraws],
    *,
    step: float,
    grid: FixedPoint,
    rounding: Rounding | str = Rounding.STOCHASTIC,
) -> TextbookResult:
    """Run low-precision SGD: w <- Q(w - step * grad f_i(w)) on one fixed grid.

    Parameters
    ----------
    problem, start, draws, step
        As for `sgd`; the start is rounded to the grid (nearest).
    grid : FixedPoint
        The representable weights.
    rounding : Rounding or str, default "stochastic"
        How Q rounds; stochastic rounding takes its bits from the draws.

    Returns
    -------
    TextbookResult
        Record of the run; stalls at a distance proportional to the quantum.

    Raises
    ------
    ParameterError
        If the step is not positive, the rounding unknown or its bits are missing.

    Examples
    --------
    >>> problem = synthetic_regression(0, n_rows=50, n_features=3)
    >>> draws = draw_epochs(0, problem, n_features=3, steps=100, epochs=2)
    >>> grid = FixedPoint.spanning(bits=8, bound=2.0)
    >>> bool((lp_sgd(problem, np.zeros(3), draws, step=0.05, grid=grid).weights / grid.scale % 1 == 0).all())
    True
    """
    return _sgd(problem, start, draws, step, grid, Rounding(rounding))


def svrg(
    problem: FiniteSum,
    start: Vector,
    draws: Iterable[EpochDraws],
    *,
    step: float,
    option: Option = "I",
) -> TextbookResult:
    """Run SVRG: w <- w - step * (grad f_i(w) - grad f_i(w~) + g~).

    Parameters
    ----------
    problem : FiniteSum
        The objective.
    start : ndarray of float64
        First centre.
    draws : iterable of EpochDraws
        One entry per epoch.
    step : float
        Step size, positive.
    option : {"I", "II"}, default "I"
        Which iterate becomes the next centre. Option II stops the epoch there: later steps change nothing.

    Returns
    -------
    TextbookResult
        Record of the run; converges linearly.

    Raises
    ------
    ParameterError
        If the step is not positive or the option is unknown.

    Examples
    --------
    >>> problem = synthetic_regression(0, n_rows=50, n_features=3)
    >>> draws = draw_epochs(0, problem, n_features=3, steps=100, epochs=30)
    >>> bool(svrg(problem, np.zeros(3), draws, step=0.05).gradient_norms[-1] < 1e-12)
    True
    """
    return _svrg(problem, start, draws, step, option, None, Rounding.STOCHASTIC)


def svrg_float32(
    problem: LinearProblem, start: Vector, draws: Iterable[EpochDraws], *, step: float, option: Option = "I"
) -> TextbookResult:
    """Run SVRG as a program in float32 does: rows, weights, centre and both gradients are float32.

    Parameters
    ----------
    problem : LinearProblem
        Its rows and targets are rounded to float32 for the run; norms are measured in float64, unrounded.
    start, draws, step, option
        As for `svrg`.

    Returns
    -------
    TextbookResult
        Record of the run; stalls where steps are lost in the last place of the weights.

    Raises
    ------
    ParameterError
        If the step is not positive or the option is unknown.

    Examples
    --------
    >>> problem = synthetic_regression(0, n_rows=50, n_features=3)
    >>> draws = draw_epochs(0, problem, n_features=3, steps=100, epochs=30)
    >>> bool(svrg_float32(problem, np.zeros(3), draws, step=0.05).gradient_norms[-1] > 1e-9)
    True
    """
    single = replace(
        problem, features=problem.features.astype(np.float32), targets=problem.targets.astype(np.float32)
    )

    def advance(centre: Vector, _: Vector, epoch: EpochDraws, steps: int) -> EpochOutcome:
        narrow: Any = centre.astype(np.float32)  # exact after the first epoch
        full = single.gradient(narrow)
        unrounded = Quantiser(None, Rounding.STOCHASTIC, None)
        weights = _svrg_epoch(single, narrow, full, epoch.indices[:steps], step, unrounded)
        assert weights.dtype == full.dtype == np.float32
        return EpochOutcome(weights.astype(np.float64))

    return run(problem, start, draws, advance, step=step, option=option)


def lp_svrg(
    problem: FiniteSum,
    start: Vector,
    draws: Iterable[EpochDraws],
    *,
    step: float,
    grid: FixedPoint,
    rounding: Rounding | str = Rounding.STOCHASTIC,
    option: Option = "I",
) -> TextbookResult:
    """Run low-precision SVRG: every iterate and centre rounded to one fixed grid, g~ in full precision.

    Parameters
    ----------
    problem, start, draws, step, option
        As for `svrg`; the start is rounded to the grid (nearest).
    grid : FixedPoint
        The representable weights.
    rounding : Rounding or str, default "stochastic"
        How iterates are rounded; stochastic rounding takes its bits from the draws.

    Returns
    -------
    TextbookResult
        Record of the run; stalls at a gradient norm proportional to the quantum.

    Raises
    ------
    ParameterError
        If the step is not positive, the option or rounding unknown, or its bits are missing.

    Examples
    --------
    >>> problem = synthetic_regression(0, n_rows=50, n_features=3)
    >>> draws = draw_epochs(0, problem, n_features=3, steps=100, epochs=20)
    >>> grid = FixedPoint.spanning(bits=8, bound=2.0)
    >>> bool(lp_svrg(problem, np.zeros(3), draws, step=0.1, grid=grid).gradient_norms[-1] > 1e-3)
    True
    """
    return _svrg(problem, start, draws, step, option, grid, Rounding(rounding))


def halp(
    problem: FiniteSum,
    start: Vector,
    draws: Iterable[EpochDraws],
    *,
    step: float,
    bits: int | None,
    mu: float,
    rounding: Rounding | str = Rounding.STOCHASTIC,
    option: Option = "I",
) -> TextbookResult:
    """Run HALP: SVRG on a low-precision offset from a full-precision centre, on a grid that shrinks.

    Each epoch sets the quantum s = ||g~|| / (mu * (2**(bits-1) - 1)), starts from z = 0, runs
    z <- Q(z - step * (grad f_i(w~ + z) - grad f_i(w~) + g~)) and re-centres: w~ <- w~ + z.

    Parameters
    ----------
    problem, start, draws, step, option
        As for `svrg`.
    bits : int or None
        Width of the offset's codes, 2 to 48; None leaves the offset unrounded (this is SVRG).
    mu : float
        Positive. The offset reaches ||g~|| / mu in each coordinate: the strong-convexity constant in the
        theorem, in practice tuned. Too small makes the grid coarse, too large clips the offset.
    rounding : Rounding or str, default "stochastic"
        How the offset is rounded; stochastic rounding takes its bits from the draws.

    Returns
    -------
    TextbookResult
        Record of the run, with the quantum and the clipped coordinates of every epoch.

    Raises
    ------
    ParameterError
        If the step or mu is not positive, the option or rounding unknown, or its bits are missing.
    FormatError
        If the width is not allowed.

    Warns
    -----
    RuntimeWarning
        If more than one coordinate in 200 was clipped: mu is too large.

    Notes
    -----
    The quantum is rounded up to 53 - bits binary digits so that every offset is exact in a double.

    References
    ----------
    C. De Sa et al., arXiv:1803.03383, the algorithm named HALP.

    Examples
    --------
    >>> problem = synthetic_regression(0, n_rows=50, n_features=3)
    >>> draws = draw_epochs(0, problem, n_features=3, steps=100, epochs=30)
    >>> bool(halp(problem, np.zeros(3), draws, step=0.05, bits=8, mu=0.25).gradient_norms[-1] < 1e-12)
    True
    """
    mode = Rounding(rounding)
    check_positive("mu", mu)

    def advance(centre: Vector, gradient: Vector, epoch: EpochDraws, steps: int) -> EpochOutcome:
        grid = None
        if bits is not None:
            grid = FixedPoint.spanning(bits=bits, bound=float(np.linalg.norm(gradient)) / mu)
        quantise = Quantiser(grid, mode, epoch.bits)
        offset = np.zeros_like(centre)
        for t, i in enumerate(epoch.indices[:steps].tolist()):
            change = problem.component_gradient(i, centre + offset) - problem.component_gradient(i, centre)
            offset = quantise(offset - step * (change + gradient), t)
        return quantise.outcome(centre + offset, offset)

    return warn_if_clipped(run(problem, start, draws, advance, step=step, option=option))


def _sgd(
    problem: FiniteSum,
    start: Vector,
    draws: Iterable[EpochDraws],
    step: float,
    grid: FixedPoint | None,
    mode: Rounding,
) -> TextbookResult:
    def advance(weights: Vector, gradient: Vector, epoch: EpochDraws, steps: int) -> EpochOutcome:
        quantise = Quantiser(grid, mode, epoch.bits)
        for t, i in enumerate(epoch.indices[:steps].tolist()):
            weights = quantise(weights - step * problem.component_gradient(i, weights), t)
        return quantise.outcome(weights, weights)

    return run(problem, _on_grid(start, grid), draws, advance, step=step)


def _svrg(
    problem: FiniteSum,
    start: Vector,
    draws: Iterable[EpochDraws],
    step: float,
    option: Option,
    grid: FixedPoint | None,
    mode: Rounding,
) -> TextbookResult:
    def advance(centre: Vector, gradient: Vector, epoch: EpochDraws, steps: int) -> EpochOutcome:
        quantise = Quantiser(grid, mode, epoch.bits)
        weights = _svrg_epoch(problem, centre, gradient, epoch.indices[:steps], step, quantise)
        return quantise.outcome(weights, weights)

    return run(problem, _on_grid(start, grid), draws, advance, step=step, option=option)


def _svrg_epoch(
    problem: FiniteSum,
    centre: Vector,
    gradient: Vector,
    indices: NDArray[np.int64],
    step: float,
    quantise: Quantiser,
) -> Vector:
    """Inner steps of one epoch, in the precision of the centre and of the problem's rows."""
    weights = centre
    for t, i in enumerate(indices.tolist()):
        change = problem.component_gradient(i, weights) - problem.component_gradient(i, centre)
        weights = quantise(weights - step * (change + gradient), t)
    return weights


def _on_grid(start: Vector, grid: FixedPoint | None) -> Vector:
    """Round the first weights to the grid (nearest), so that all of a low-precision run lies on it."""
    return Quantiser(grid, Rounding.NEAREST_EVEN, None)(np.asarray(start, np.float64), 0)
