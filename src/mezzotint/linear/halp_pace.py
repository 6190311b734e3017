"""What HALP needs instead of tuning: the metric of its offset, and the pace of its steps."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mezzotint.kernels import segment_bounds
from mezzotint.kernels.reference.losses import curvature_bound
from mezzotint.linear.design import Coef, FloatDesign
from mezzotint.linear.objective import Problem, dot, norm
from mezzotint.linear.sample import RowSample, draw_sample
from mezzotint.packed import ArraySource
from mezzotint.packed.sources import chunks
from mezzotint.random import Stream, uniforms

Float64 = NDArray[np.float64]

_SAMPLE_ROWS = 2048  # rows that the metric is measured on
_NORM_ROWS = 256  # rows whose lengths are compared
_POWER_STEPS = 10
_MARGIN = 1.1  # power iteration approaches the largest eigenvalue from below
_BOLDNESS = 4.0  # first step * curvature, doubled: four times what plain SVRG's theory allows
_STABLE = 0.6  # of step * curvature / (1 + momentum); the heavy ball flies apart at 2
_EPOCH_STEPS = 400  # steps that an epoch has at least
_LEAST_BATCH_TILES, _MOST_BATCH_TILES = 4, 16
_FORGET = 20.0  # e-foldings of the momentum that an epoch must have time for
_NOISE = 0.8  # noise that the first epochs may have, relative to the move
_LEAST_FRICTION = 0.01
_TOO_SLOW, _TOO_NOISY = 0.04, -0.05
_MOST_PENALTY, _LEAST_SQUARE = 1e30, 1e-300  # a column far below its penalty's size stays where it is


@dataclass(frozen=True, eq=False, kw_only=True)
class Coordinates:
    """Offsets in units of one code around centred columns: w_j = u_j / unit_j, b = t - centre . w.

    Then ``x_i . w + b = t + sum_j u_j (x_ij - centre_j) / unit_j``: all columns share one grid, and u and t
    hardly interact. Without an intercept the centre is 0 and t is fixed.

    Attributes
    ----------
    centre, unit : ndarray of float64, shape (d,)
        unit 0 marks a column that is left where it is.
    penalty : ndarray of float64, shape (d,)
        lam / unit^2.
    smooth : float
        L, an estimate of the largest curvature of the loss over all directions u.
    smooth_row : float
        The largest curvature that one row can have.
    constant : float
        Curvature along t; infinite without an intercept.
    hidden : ndarray of bool, shape (d,)
        Columns that vary although their codes do not (too rare for the sample that chose the scales).
    """

    centre: Float64
    unit: Float64
    penalty: Float64
    smooth: float
    smooth_row: float
    constant: float
    hidden: NDArray[np.bool_]

    def gradient(self, gradient: Coef) -> Coef:
        """Gradient by (u, t) from the gradient by (w, b)."""
        out = gradient.copy()
        out[:, :-1] -= self.centre * gradient[:, -1:]
        out[:, :-1] = np.divide(out[:, :-1], self.unit, out=np.zeros_like(out[:, :-1]), where=self.unit > 0)
        return out

    def to_coef(self, offset: Coef) -> Coef:
        """Move of (w, b) from a move of (u, t)."""
        out = offset.copy()
        out[:, :-1] = np.divide(
            offset[:, :-1], self.unit, out=np.zeros_like(out[:, :-1]), where=self.unit > 0
        )
        out[:, -1] -= np.array([dot(self.centre, row[:-1].copy()) for row in out])
        if np.isinf(self.constant):
            out[:, -1] = 0.0
        return out

    def steps(self, smooth: float) -> Float64:
        """Inverse of the curvature bound of every coordinate, shape (d + 1,)."""
        columns = np.where(self.unit > 0, 1.0 / (smooth + self.penalty), 0.0)
        return np.append(columns, 0.0 if np.isinf(self.constant) else self.smooth / smooth / self.constant)

    def stand_in(self) -> Float64:
        """Curvature that stands in for what the codes do not show, an upper bound, shape (d,)."""
        return np.where(self.hidden, self.smooth * self.hidden.sum(), 0.0)

    def least_gap(self, gradient: Coef) -> float:
        """Lower bound of F - F* from a gradient by (u, t)."""
        steps = 0.5 * self.steps(self.smooth)  # halved: u and t together
        return 0.5 * dot(gradient, gradient * steps)


def coordinates_of(problem: Problem, unit: Float64, seed: int) -> Coordinates:
    """Measure the metric on a row sample.

    Parameters
    ----------
    problem : Problem
    unit : ndarray of float64, shape (d,)
        Scale of the codes; 0 for constant columns.
    seed : int
        Of the sample.
    """
    sample = draw_sample(problem, _SAMPLE_ROWS, seed)
    total = max(dot(sample.weights, np.ones_like(sample.weights)), 1e-300)
    ones = sample.weights[None].astype(np.float32)
    design = FloatDesign(ArraySource(sample.rows), problem.n_threads)
    centre = design.gradient(ones)[0, :-1] / total if problem.fit_intercept else np.zeros_like(unit)
    mean, variance = _hidden_moments(problem, unit)
    hidden = variance > 1e-12 * mean * mean
    if not problem.fit_intercept:  # constant columns then matter: their code is 0, their unit free
        unit = np.where((unit > 0) | hidden, unit, np.abs(mean))
    bound = curvature_bound(problem.loss)
    largest = bound * _MARGIN * _largest_curvature(design, ones, centre, unit, total)
    constant = bound / 0.9 if problem.fit_intercept else np.inf
    if hidden.any():
        centre = np.where(hidden, mean if problem.fit_intercept else 0.0, centre)
        moment = variance if problem.fit_intercept else variance + mean * mean
        unit = np.where(hidden, np.sqrt(bound * moment / max(largest, 1e-12)), unit)
    squared = np.maximum(np.where(unit > 0, unit, 1.0) ** 2, _LEAST_SQUARE)
    rows = bound * _longest_row(sample, centre, unit)
    return Coordinates(
        centre=centre,
        unit=unit,
        penalty=np.where(unit > 0, np.minimum(problem.curvatures / squared, _MOST_PENALTY), 0.0),
        smooth=max(largest, 1e-12),
        smooth_row=max(rows + largest, 1e-12),
        constant=constant,
        hidden=hidden,
    )


def _hidden_moments(problem: Problem, unit: Float64) -> tuple[Float64, Float64]:
    """Weighted mean and variance of the float values of columns whose unit is 0; zeros elsewhere."""
    mean, variance = np.zeros_like(unit), np.zeros_like(unit)
    columns = np.flatnonzero(unit == 0)
    if not len(columns):
        return mean, variance
    base = problem.source.block(0, 1)[0, columns].astype(np.float64)  # differences from it do not cancel
    sums = np.zeros((2, len(columns)))
    bounds = segment_bounds(*problem.source.shape)
    for (first, count), rows in chunks(problem.source, bounds):
        x = rows[:, columns].astype(np.float64) - base
        part = slice(bounds[first], bounds[first + count])
        weighted = x if problem.weights is None else problem.weights[part, None] * x
        sums += weighted.sum(axis=0), (weighted * x).sum(axis=0)
    shift, moment = sums / problem.total_weight
    mean[columns], variance[columns] = base + shift, np.maximum(moment - shift * shift, 0.0)
    return mean, variance


def _largest_curvature(
    design: FloatDesign, weights: NDArray[np.float32], centre: Float64, unit: Float64, total: float
) -> float:
    """Largest eigenvalue of the weighted mean of a a^T, a = (x - centre) / unit, by power iteration."""
    inverse = np.divide(1.0, unit, out=np.zeros_like(unit), where=unit > 0)
    u = uniforms(0, 0, len(unit), stream=Stream.POWER) - 0.5
    margins = np.empty_like(weights)
    size = 0.0
    for _ in range(_POWER_STEPS):
        length = norm(u)
        if length == 0:
            break
        w = u / length * inverse
        product = design.curvature(np.append(w, -dot(centre, w))[None], weights, None, margins)[0]
        u = (product[:-1] - centre * product[-1]) * inverse / total
        size = norm(u)
    return size


def _longest_row(sample: RowSample, centre: Float64, unit: Float64) -> float:
    """Largest s |a|^2 among some rows, relative to the mean weight."""
    rows = sample.rows[:: max(1, len(sample.rows) // _NORM_ROWS)].astype(np.float64)
    weights = sample.weights[:: max(1, len(sample.rows) // _NORM_ROWS)]
    a = np.divide(rows - centre, unit, out=np.zeros_like(rows), where=unit > 0)
    mean_weight = max(dot(sample.weights, np.ones_like(sample.weights)) / len(sample.weights), 1e-300)
    longest = max(float(s) * dot(row.copy(), row.copy()) for s, row in zip(weights, a, strict=True))
    return longest / mean_weight


class Pace:
    """Step, momentum and length of the epochs, adapted to what the exact passes see.

    The slope of F along a move, at its far end against its near end, tells what an epoch is short of. Still
    far downhill: too slow, so more momentum, then longer epochs. Uphill: the steps' noise dominates, so less
    momentum. Momentum is capped so that noise starts small and an epoch has time to forget it.
    """

    def __init__(self, n_rows: int, coordinates: Coordinates) -> None:
        self._coordinates = coordinates
        tiles = -(-n_rows // 16)
        batch_tiles = min(_MOST_BATCH_TILES, max(_LEAST_BATCH_TILES, n_rows // _EPOCH_STEPS // 16))
        self.n_batches = max(1, round(tiles / batch_tiles))
        self.n_passes = -(-_EPOCH_STEPS // self.n_batches)
        self._most_passes = max(8, 8 * self.n_passes)
        self._boldness = _BOLDNESS
        batch_rows = n_rows / self.n_batches
        noise = coordinates.smooth_row / coordinates.smooth / batch_rows
        self._smooth = coordinates.smooth * (1 + noise)
        friction = max(_FORGET / self.n_steps, 0.5 * self._boldness * noise / _NOISE, _LEAST_FRICTION)
        self._friction = min(friction, 1.0)
        self._least_friction = _LEAST_FRICTION
        self._rates, self._last_gain = (0.5, 0.5), 0.0
        self.gap = np.inf

    @property
    def n_steps(self) -> int:
        """Steps of an epoch."""
        return self.n_batches * self.n_passes

    @property
    def momentum(self) -> float:
        """Share of the velocity kept from step to step."""
        return 1.0 - self._friction

    @property
    def step(self) -> Float64:
        """Step of every coordinate: `boldness` / 2 over the curvature, where momentum keeps that stable."""
        stable = _STABLE * (1.0 + self.momentum)
        return min(0.5 * self._boldness, stable) * self._coordinates.steps(self._smooth)

    def moved(self, before: float, after: float, length: float, *, trials: int) -> None:
        """Learn from an accepted move: slopes of F along it at both ends, and how much of it was taken."""
        gain = max(-0.5 * length * (before + after), 0.0)
        self._estimate_gap(gain, shortened=trials > 0)
        if length == 1.0 and after != before:  # what an exact search along the move alone would still gain
            self.gap = max(self.gap, after * after / abs(after - before))
        if trials > 0:
            self._calm()
            return
        left = after / before if before < 0 else 0.0
        if left > _TOO_SLOW:
            self._hurry()
        elif left < _TOO_NOISY:
            self._friction = min(max(0.4, self._friction), 2.0 * self._friction)

    def diverged(self) -> None:
        """Learn that an epoch's move was no good at any length."""
        self._calm()
        self._boldness = max(0.5 * self._boldness, 2.0**-10)

    def _calm(self) -> None:
        """Steps were far too bold: brake, and remember which momentum was too much."""
        self._least_friction = min(0.5, 2.0 * self._friction)
        if self._friction > 0.5:
            self._boldness = max(0.5 * self._boldness, 2.0**-10)
        self._friction = min(1.0, 4.0 * self._friction)

    def _hurry(self) -> None:
        """More momentum, or where that is exhausted longer epochs, which bear more momentum."""
        least = max(self._least_friction, _FORGET / self.n_steps)
        if self._friction > 1.5 * least:
            self._friction = max(0.5 * self._friction, _LEAST_FRICTION)
        elif 2 * self.n_passes <= self._most_passes:
            self.n_passes *= 2
            self._least_friction = max(0.5 * self._least_friction, _LEAST_FRICTION)
            self._friction = max(0.5 * self._friction, self._least_friction)

    def _estimate_gap(self, gain: float, *, shortened: bool) -> None:
        """Gap left if the gains shrink at the slower of the last two rates: gain * rate / (1 - rate)."""
        if shortened:
            self._rates, self._last_gain = (0.9, 0.9), 0.0
            self.gap = max(self.gap - gain, gain * 9.0) if np.isfinite(self.gap) else np.inf
            return
        seen = gain / self._last_gain if self._last_gain > 0 else 0.0
        self._rates = (self._rates[1], min(seen, 0.99))
        self._last_gain = gain
        rate = max(*self._rates, 0.05)
        self.gap = gain * rate / (1.0 - rate)
