"""Losses with a kink, solved exactly: Newton's method inside the method of multipliers, on float rows.

A loss like the hinge has no curvature for Newton's method to use. It is the largest of its tangents,

    l_i(m) = max over c in [low_i, high_i] of  c (m - place_i) - epsilon |c|,

and the method of multipliers takes the maximum around the last slopes c_i, with ``(mu/2) (c - c_i)^2`` taken
off: a function whose slope ``clip(soft(c_i + (m - place_i) / mu, epsilon / mu), low_i, high_i)`` is
continuous, and whose curvature is 1/mu on the rows that lie on a kink and 0 elsewhere. Newton's method finds
its minimum in a few steps, each a Cholesky factor of the curved rows alone. The slopes there are the next
c_i, mu shrinks, and the optimum is reached up to rounding errors, not only for mu = 0.

Slopes that cancel (``sum_i s_i c_i = 0``, for the intercept) are feasible for the dual problem, whose value

    D(c) = -|X^T (s c)|^2 / (2 lam S^2) - (1/S) sum_i s_i (place_i c_i + epsilon |c_i|)

is below F everywhere: F - D is a rigorous bound of the gap, and the certificate.

References
----------
R. T. Rockafellar, "Augmented Lagrangians and applications of the proximal point algorithm in convex
programming", Mathematics of Operations Research 1(2), 1976.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mezzotint.kernels import ops, segment_bounds
from mezzotint.kernels.threads import worthwhile
from mezzotint.linear.certificate import roundings
from mezzotint.linear.objective import Coef, Problem, dot, margins, norm
from mezzotint.linear.pcg import line_search
from mezzotint.linear.preconditioner import SampleCurvature
from mezzotint.linear.result import Iteration, Report, Result, Status
from mezzotint.packed import ArraySource
from mezzotint.packed.sources import chunks
from mezzotint.random import Stream, sample_rows

LOSSES = ("hinge", "epsilon_insensitive")

_SHRINK = 0.3  # of mu per outer step
_LEAST_MU = 1e-8  # relative to the first: below it the curvature of the penalty drowns
_ENOUGH = 0.01  # share of the tolerance that the smoothed objective's own gap must fall below
_MAX_NEWTON = 20  # steps for one mu; where they do not end, slopes that move help more than further steps
_LEFT = 0.1  # share of the slope that a line search may leave
# Shares of a kink's curvature that every column gets, in turn while the gap stalls: where no kink curves, and
# the penalty hardly does, a line search could not shorten the step.
_DAMPINGS = (1e-14, 0.0, 1e-12)
_GATHERED = 2**24  # values of curved rows that are gathered; more stay where they are
_STALLS = 18  # outer steps without a smaller gap: as many as mu may shrink while residuals are small
_SPREAD = 256  # rows whose mean decouples the intercept where none is curved
_FLOOR = 1e-12  # relative gap that rounding errors explain
_SLACK = 1e-15  # relative rounding error of the objective itself

Rows = NDArray[np.float64]  # one value per row


class Kinks(NamedTuple):
    """Where the losses of the rows bend, and their slopes on either side; see the module."""

    place: Rows
    epsilon: float
    low: Rows
    high: Rows

    def loss(self, m: Rows) -> Rows:
        """l(m)."""
        beyond = m - self.place
        return np.maximum(
            np.maximum(self.high * (beyond - self.epsilon), self.low * (beyond + self.epsilon)), 0.0
        )

    def slopes(self, m: Rows, c: Rows, mu: float) -> Rows:
        """Slopes of the smoothed losses around slopes c."""
        found: Rows = np.clip(self._unbounded(m, c, mu), self.low, self.high)
        return found

    def curved(self, m: Rows, c: Rows, mu: float) -> NDArray[np.bool_]:
        """Rows whose slope follows the margin: those on a kink."""
        slope = self._unbounded(m, c, mu)
        inside = (slope >= self.low) & (slope <= self.high)
        return inside if self.epsilon == 0.0 else inside & (slope != 0.0)

    def _unbounded(self, m: Rows, c: Rows, mu: float) -> Rows:
        t = m - self.place
        t /= mu
        t += c
        if self.epsilon == 0.0:
            return t
        soft: Rows = np.sign(t) * np.maximum(np.abs(t) - self.epsilon / mu, 0.0)
        return soft

    def conjugate(self, c: Rows) -> Rows:
        """What a slope costs in the dual."""
        cost: Rows = self.place * c + self.epsilon * np.abs(c)
        return cost


def kinks_of(problem: Problem, output: int) -> Kinks:
    """Kinks of one output: of a class against the rest, or of intervals around targets."""
    if problem.loss == "epsilon_insensitive":
        lower, upper = problem.y
        ones = np.ones_like(lower)
        return Kinks(0.5 * (lower + upper), float(0.5 * (upper - lower).max()), -ones, ones)
    label = output if problem.n_outputs > 1 else 1
    sign = np.where(problem.y[0] == label, 1.0, -1.0)
    return Kinks(sign, 0.0, np.minimum(-sign, 0.0), np.maximum(-sign, 0.0))


def solve_multipliers(
    problem: Problem,
    *,
    tol: float = 1e-8,
    max_iter: int = 1000,
    start: Coef | None = None,
    started_at: float | None = None,
    report: Report | None = None,
) -> Result:
    """Minimise the objective of a loss with kinks, one output after the other.

    Parameters
    ----------
    problem : Problem
        Its packed copy is not read.
    tol : float
        Relative duality gap ``(F - D) / max(|F|, 1e-6 F(0))`` to stop at.
    max_iter : int
        Newton steps for each output: two reads of the rows each.
    start : ndarray of float64, shape (K, d + 1), or None
        Starting point; None is zero.
    started_at : float or None
        `time.perf_counter()` value that the trace counts from.
    report : callable or None
        Called with each iteration.

    Returns
    -------
    Result
        `gap_bound` is the duality gap and what rounding can have done to it; `gap_estimate` the same for a
        dual point from which the rounding of its slopes' sums is taken out.
    """
    began = time.perf_counter() if started_at is None else started_at
    trace: list[Iteration] = []
    done: list[_Output] = []
    for k in range(problem.n_outputs):
        output = _Output(problem, kinks_of(problem, k), tol, max_iter)
        done.append(output)
        for point in output.run(None if start is None else start[k : k + 1]):
            passes = sum(each.n_passes for each in done)
            trace.append(_iteration(problem, point, passes, began))
            if report is not None:
                report(len(trace), trace[-1])
    gap = sum(output.best.gap for output in done)
    bound = sum(output.bound for output in done)
    worst = max((output.status for output in done), key=list(Status).index)
    return Result(
        coef=np.concatenate([output.best.coef for output in done]),
        status=worst,
        objective=sum(output.best.value for output in done),
        gap_estimate=gap + sum(output.rounding for output in done),
        gap_bound=bound,
        coef_bound=float(np.sqrt(2.0 * bound / problem.penalty)),
        solver="multipliers",
        at_zero=sum(output.at_zero for output in done),
        n_iter=max(output.n_iter for output in done),
        trace=tuple(trace),
        exact_passes=sum(output.n_passes for output in done),
        factorisations=sum(output.n_iter for output in done),
    )


def _iteration(problem: Problem, point: "_Point", n_passes: int, began: float) -> Iteration:
    n, d = problem.source.shape
    return Iteration(
        objective=point.value,
        gradient_norm=point.gradient_norm,
        gap_estimate=point.gap,
        seconds=time.perf_counter() - began,
        bytes_read=n_passes * n * d * problem.source.dtype.itemsize,
    )


@dataclass(frozen=True, eq=False)
class _Point:
    coef: Coef
    value: float
    gap: float
    gradient_norm: float


class _Output:
    """State of one output's solution."""

    def __init__(self, problem: Problem, kinks: Kinks, tol: float, max_iter: int) -> None:
        self._problem, self._kinks = problem, kinks
        self._tol, self._max_iter = tol, max_iter
        self._s = np.ones(problem.n_rows) if problem.weights is None else problem.weights
        self.n_passes = self.n_iter = self._stalls = 0
        self._dual = self._estimated = -np.inf  # lower bounds of F: rigorous, and as estimated
        self.status = Status.ITERATION_LIMIT

    def run(self, start: Coef | None) -> "Iterator[_Point]":
        """Take outer steps until the gap is small; yields the best point after each."""
        coef = self._problem.zeros()[:1] if start is None else start
        slopes = np.zeros(self._problem.n_rows)
        self.at_zero = self._mean(self._kinks.loss(slopes))
        floor = 1e-6 * self.at_zero
        first = mu = max(float(np.abs(self._kinks.place).max()), 1e-300)
        self.best, scale = _Point(coef, np.inf, np.inf, np.inf), floor
        while True:
            coef, m, slopes = self._inner(coef, slopes, mu, _ENOUGH * self._tol * scale)
            self._note(coef, m, slopes)
            scale = max(abs(self.best.value), floor)
            yield self.best
            if self._has_ended(scale):
                return
            mu = max(mu * _SHRINK, first * _LEAST_MU)

    def _note(self, coef: Coef, m: Rows, slopes: Rows) -> None:
        """Keep the lowest value and the highest bound, which may come from different steps."""
        value = self._mean(self._kinks.loss(m)) + 0.5 * dot(self._problem.penalised(coef), coef)
        c = self._balanced(slopes)
        pull = np.ascontiguousarray(self._transposed(c)[:, :-1])
        wanted = -np.ascontiguousarray(self._problem.penalised(coef)[:, :-1])
        near = np.abs(pull - wanted) <= roundings(0) * self._problem.extent.magnitude
        cost = self._mean(self._kinks.conjugate(c))
        self._dual = max(self._dual, self._quadratic(pull) - cost)
        # Where hardly anything holds a weight, the rounding of its pull, squared, would drown all the rest.
        self._estimated = max(self._estimated, self._quadratic(np.where(near, wanted, pull)) - cost)
        before = self.best.gap
        if value < self.best.value:
            self.best = _Point(coef, value, np.inf, norm(pull - wanted))
        gap = max(self.best.value - self._estimated, 0.0) + _SLACK * abs(self.best.value)
        self.best = replace(self.best, gap=gap)
        self._stalls = 0 if gap < 0.9 * before else self._stalls + 1

    def _quadratic(self, pull: Rows) -> float:
        with np.errstate(over="ignore"):
            return -0.5 * dot(pull, pull / self._problem.penalties)

    @property
    def bound(self) -> float:
        """How far the best value can be above the optimum."""
        return max(self.best.value - self._dual, 0.0) + self.rounding

    @property
    def rounding(self) -> float:
        """How far rounding can have moved the two values that the gap is the difference of.

        A loss is as wrong as its margin, a sum of products; the dual value adds up what slopes (at most 1)
        cost, and leaves out what the intercept makes of their sum, which is zero up to rounding.
        """
        coef, kinks = self.best.coef[0], self._kinks
        margin = dot(np.abs(coef[:-1]), self._problem.extent.magnitude) + abs(float(coef[-1]))
        values = margin + float(np.abs(kinks.place).max()) + kinks.epsilon + self.best.value
        return roundings(self._problem.n_columns) * values

    def _has_ended(self, scale: float) -> bool:
        if self.best.gap <= self._tol * scale:
            self.status = Status.CONVERGED
        elif self._stalls >= _STALLS:
            self.status = Status.FLOOR if self.best.gap <= _FLOOR * scale else Status.STALLED
        else:
            return self.n_iter >= self._max_iter
        return True

    def _inner(self, coef: Coef, c: Rows, mu: float, enough: float) -> tuple[Coef, Rows, Rows]:
        """Minimise the smoothed objective around slopes c to a gap of `enough`; also the slopes there."""
        m = self._margins(coef)
        slopes = self._kinks.slopes(m, c, mu)
        for step in range(_MAX_NEWTON):
            gradient = self._gradient(coef, slopes)
            weights = np.ascontiguousarray(gradient[:, :-1])
            near = dot(weights, weights / self._problem.penalties) <= enough
            if (step and near) or self.n_iter >= self._max_iter:
                break
            v = -self._curvature(self._kinks.curved(m, c, mu), mu).solve(gradient)
            along = self._margins(v)
            t = self._length(coef, v, m, along, c, mu, dot(gradient, v))
            if t == 0.0:
                break
            self.n_iter += 1
            coef, m = coef + t * v, m + t * along
            slopes = self._kinks.slopes(m, c, mu)
        return coef, m, slopes

    def _length(
        self, coef: Coef, v: Coef, m: Rows, along: Rows, c: Rows, mu: float, slope_at_zero: float
    ) -> float:
        linear, bend = dot(self._problem.penalised(coef), v), dot(self._problem.penalised(v), v)

        def slope(t: float) -> float:
            slopes = self._kinks.slopes(m + t * along, c, mu)
            return self._mean(slopes * along) + linear + t * bend

        return line_search(slope, slope_at_zero, left=_LEFT, most=60)

    def _curvature(self, curved: NDArray[np.bool_], mu: float) -> SampleCurvature:
        """Hessian of the smoothed objective; where no row is curved, that of the penalty."""
        index = np.flatnonzero(curved & (self._s > 0))
        bend = np.full((1, len(index)), 1.0 / mu)
        if not len(index):
            index = np.flatnonzero(self._s > 0)
            if len(index) > _SPREAD:
                index = index[np.sort(sample_rows(0, len(index), _SPREAD, stream=Stream.SPREAD))]
            bend = np.zeros((1, len(index)))
        source, weights = self._problem.source, self._s
        if len(index) * source.shape[1] <= _GATHERED:
            source, weights = ArraySource(source.rows(index)), weights[index]
        else:
            every = np.zeros((1, len(curved)))
            every[0, index] = bend
            bend = every
        damping = _DAMPINGS[self._stalls % len(_DAMPINGS)] / mu
        hessian = SampleCurvature(
            source,
            weights,
            self._problem.total_weight,
            self._problem.penalties + damping * np.square(self._problem.extent.magnitude),
            fit_intercept=self._problem.fit_intercept,
            held_out=None,
            coupled=False,
            exact=True,
            n_threads=self._problem.n_threads,
        )
        hessian.build(bend)
        return hessian

    def _balanced(self, c: Rows) -> Rows:
        """Slopes whose sum is zero, as the intercept demands: the side that pulls harder is scaled down."""
        if not self._problem.fit_intercept:
            return c
        up, down = dot(self._s, np.maximum(c, 0.0)), dot(self._s, np.maximum(-c, 0.0))
        least = min(up, down)
        return np.where(c > 0, c * (least / max(up, 1e-300)), c * (least / max(down, 1e-300)))

    def _gradient(self, coef: Coef, slopes: Rows) -> Coef:
        gradient = self._transposed(slopes) + self._problem.penalised(coef)
        if not self._problem.fit_intercept:
            gradient[:, -1] = 0.0
        return gradient

    @property
    def _threads(self) -> int:
        return worthwhile(self._problem.n_threads, 4 * (self._problem.n_columns + 1) * self._problem.n_rows)

    def _mean(self, values: Rows) -> float:
        return dot(self._s, values) / self._problem.total_weight

    def _margins(self, coef: Coef) -> Rows:
        self.n_passes += 1
        found: Rows = margins(self._problem.source, coef, self._threads, checked=False)[0]
        return found

    def _transposed(self, c: Rows) -> Coef:
        """``(1/S) (s c) [X 1]`` in float64, in a fixed order: the gradient of a squared loss at zero."""
        self.n_passes += 1
        source = self._problem.source
        bounds = segment_bounds(*source.shape)
        zero, target = np.zeros((1, source.shape[1] + 1)), -(self._s * c)[None]
        unused, n_threads = np.empty_like(target), self._threads
        partials = [
            ops().exact_pass(
                rows, bounds, segments, zero, "squared", target, None, unused, n_threads=n_threads
            )[1]
            for segments, rows in chunks(source, bounds)
        ]
        total: Coef = ops().tree_sum(np.concatenate(partials)) / self._problem.total_weight
        return total
