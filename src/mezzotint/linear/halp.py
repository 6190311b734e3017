"""Minibatch HALP on packed rows: SVRG on an 8-bit offset around an exact centre.

Each outer iteration reads the float rows once (objective, margins, gradient), then runs one inner epoch
on the codes (kernels.reference.halp) and moves the centre by the average offset of the epoch's last
quarter. A move is accepted only if the exact objective does not rise. Nothing has to be tuned:
`Coordinates` is the metric, `Pace` chooses step, momentum and length of an epoch; docs/halp-solver.md has
the measurements.

With ``float32=True`` the same loop runs on the float rows with a float32 offset: plain SVRG, the baseline.
It visits rows at random, so they must lie in memory (or be mapped) as float32: anything else is copied.
"""

import time
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mezzotint.errors import ParameterError
from mezzotint.kernels import ops, segment_bounds
from mezzotint.kernels.epochs import EpochModel, EpochResult, EpochRows, EpochSchedule
from mezzotint.kernels.layout import ROW_GROUP
from mezzotint.linear.certificate import certify_at_best_intercept, growth_within, measured_decrement
from mezzotint.linear.design import Coef, design_of
from mezzotint.linear.halp_pace import Coordinates, Pace, coordinates_of
from mezzotint.linear.metric import Metric
from mezzotint.linear.model import RowBuffers, reach
from mezzotint.linear.objective import LEAST_SCALE, Evaluation, Evaluator, Problem, dot, norm
from mezzotint.linear.result import Iteration, Report, Result, Status
from mezzotint.linear.sample import draw_sample, sample_size
from mezzotint.packed import PackedMatrix, Source
from mezzotint.packed.sources import chunks
from mezzotint.random import Stream, integers, permutation, sample_rows

_UNIT_ROWS = 4096  # that the units of float columns are taken from
_RANGE = 8.0  # first range of a grid, in longest first steps; it doubles whenever an offset saturates
_OFFSET_LIMIT = 127
_SAFETY = 50.0  # iterate until the estimated gap is this much below the tolerance; it errs by up to 5
_MOST_TRIALS = 4  # lengths of a step tried before the epoch is given up
_MOST_STALLS = 5
_FLOOR = 1e-13  # relative gap below which standing still means rounding errors


def solve_halp(
    problem: Problem,
    *,
    tol: float = 1e-8,
    max_iter: int = 100,
    seed: int = 0,
    float32: bool = False,
    start: Coef | None = None,
    started_at: float | None = None,
    keep_coef: bool = False,
    report: Report | None = None,
) -> Result:
    """Minimise the exact objective of a problem with HALP.

    Parameters
    ----------
    problem : Problem
        With a packed copy unless `float32`.
    tol : float
        Relative gap ``(F - F*) / max(|F|, 1e-12 F(0))`` to stop at, judged by an estimate with a safety
        factor of fifty. The estimate that is reported is measured anew at the end.
    max_iter : int
        Outer iterations.
    seed : int
        Of the row sample, the visiting order and stochastic rounding.
    float32 : bool
        Run on float32 rows instead of codes, with a float32 offset instead of one of 8 bits.
    start : ndarray of float64, shape (K, d + 1), or None
        Starting point; None means zeros.
    started_at : float or None
        `time.perf_counter()` value that the trace counts from.
    keep_coef : bool
        Keep the coefficients of every iteration in the trace.
    report : callable or None
        Called with each iteration.

    Returns
    -------
    Result
    """
    data: _Epochs = _FloatEpochs(problem, seed) if float32 else _PackedEpochs(problem)
    solver = _Halp(problem, data, tol=tol, max_iter=max_iter, seed=seed, keep_coef=keep_coef, report=report)
    if started_at is not None:
        solver.started = started_at
    return solver.run(problem.zeros() if start is None else start)


class _Epochs(Protocol):
    """Rows that inner epochs run on."""

    name: str
    bits: int
    n_passes: int
    pass_bytes: int
    unit: NDArray[np.float64]

    def shift(self, coordinates: Coordinates) -> NDArray[np.float64]:
        """The column centres as the epoch's kernel counts them."""

    def unseen(self, coordinates: Coordinates) -> NDArray[np.float64]:
        """Curvature of each column that the epoch's kernel does not see."""

    def run(
        self, unit: NDArray[np.float64], rows: EpochRows, model: EpochModel, schedule: EpochSchedule
    ) -> EpochResult:
        """Run an epoch."""


class _PackedEpochs:
    """Codes, and offsets of 8 bits."""

    name = "halp"

    def __init__(self, problem: Problem) -> None:
        if problem.packed is None:
            raise ParameterError(
                "solver='halp' needs packed rows; pack X with bits=8 or 4, or use float32=True."
            )
        self._packed: PackedMatrix = problem.packed
        self._n_threads = problem.n_threads
        self.bits = self._packed.bits
        self.unit = self._packed.scale
        self.n_passes = 0
        self.pass_bytes = self._packed.layout.n_bytes

    def shift(self, coordinates: Coordinates) -> NDArray[np.float64]:
        """Centres in codes, counted from the middle code."""
        unit = np.where(coordinates.unit > 0, coordinates.unit, 1.0)
        centre = np.where(coordinates.hidden, 0.0, (coordinates.centre - self._packed.offset) / unit)
        shift: NDArray[np.float64] = centre - self._packed.layout.mid_code
        return shift

    def unseen(self, coordinates: Coordinates) -> NDArray[np.float64]:
        """Curvature of columns whose codes are all the same."""
        return coordinates.stand_in()

    def run(
        self, unit: NDArray[np.float64], rows: EpochRows, model: EpochModel, schedule: EpochSchedule
    ) -> EpochResult:
        """Run an epoch on the codes."""
        self.n_passes += len(schedule.order)
        packed = self._packed
        longest = np.abs(model.gradient[:, :-1] * model.step[:-1]).max(axis=1)
        quantum = np.where(longest > 0, _RANGE * longest / _OFFSET_LIMIT, 1.0)
        result: EpochResult = ops().halp_epoch(
            packed.codes, packed.layout, rows, model, quantum, schedule, n_threads=self._n_threads
        )
        return result


class _FloatEpochs:
    """Float32 rows and offsets."""

    name = "svrg-float32"
    bits = 32

    def __init__(self, problem: Problem, seed: int) -> None:
        self._x = _float32_rows(problem.source)
        self._n_threads = problem.n_threads
        if problem.packed is not None:
            self.unit = problem.packed.scale
        else:
            n = len(self._x)
            rows = np.sort(sample_rows(seed, n, min(n, _UNIT_ROWS), stream=Stream.HALP_UNITS))
            self.unit = ops().column_scales(self._x[rows], 8, n_threads=problem.n_threads)[1]
        self.n_passes = 0
        self.pass_bytes = self._x.nbytes

    def shift(self, coordinates: Coordinates) -> NDArray[np.float64]:
        """Centres in units of the columns."""
        shift: NDArray[np.float64] = coordinates.centre / np.where(
            coordinates.unit > 0, coordinates.unit, 1.0
        )
        return shift

    def unseen(self, coordinates: Coordinates) -> NDArray[np.float64]:
        """Nothing: float rows show everything."""
        return np.zeros_like(coordinates.unit)

    def run(
        self, unit: NDArray[np.float64], rows: EpochRows, model: EpochModel, schedule: EpochSchedule
    ) -> EpochResult:
        """Run an epoch on the float rows."""
        self.n_passes += len(schedule.order)
        result: EpochResult = ops().svrg_epoch(
            self._x, unit, rows, model, schedule, n_threads=self._n_threads
        )
        return result


def _float32_rows(source: Source) -> NDArray[np.float32]:
    """The rows where a minibatch finds them: X itself if it is C-contiguous float32, else one copy."""
    if source.whole is not None:
        return np.ascontiguousarray(source.whole, np.float32)
    rows, bounds = np.empty(source.shape, np.float32), segment_bounds(*source.shape)
    for (first, count), part in chunks(source, bounds):  # never all of it in float64 beside the copy
        rows[bounds[first] : bounds[first + count]] = part
    return rows


class _Halp:
    """State of one fit."""

    def __init__(
        self,
        problem: Problem,
        data: _Epochs,
        *,
        tol: float,
        max_iter: int,
        seed: int,
        keep_coef: bool,
        report: Report | None,
    ) -> None:
        self.started = time.perf_counter()
        self.problem = problem
        self._data = data
        self._tol, self._max_iter, self._seed = tol, max_iter, seed
        self._keep_coef, self._report = keep_coef, report
        self._evaluate = Evaluator(problem)
        self._trace: list[Iteration] = []
        self._coordinates: Coordinates = coordinates_of(problem, data.unit, seed)
        self._pace = Pace(problem.n_rows, self._coordinates)
        self._tiles = permutation(seed, -(-problem.n_rows // ROW_GROUP), stream=Stream.HALP_ORDER)
        self._passes = self._steps = 0
        self._at_zero = self._evaluate.objective_at_zero()
        self._scale_floor = LEAST_SCALE * self._at_zero

    # ---- the outer loop

    def run(self, start: Coef) -> Result:
        centre = self._evaluate(start)
        gap = self._least_gap(centre)
        self._record(centre, gap)
        status, stalls, n_iter = Status.ITERATION_LIMIT, 0, 0
        while True:
            if gap <= self._tol / _SAFETY * self._scale(centre) and (n_iter or gap == 0):
                gap = self._measured_gap(centre)
                if gap <= self._tol * self._scale(centre):
                    status = Status.CONVERGED
                    break
            if stalls >= _MOST_STALLS:
                at_floor = gap <= _FLOOR * self._scale(centre)
                status = Status.FLOOR if at_floor else Status.STALLED
                break
            if n_iter == self._max_iter:
                break
            n_iter += 1
            before = centre.value
            centre = self._outer_step(centre)
            stalls = stalls + 1 if centre.value >= before - 1e-15 * abs(before) else 0
            gap = max(self._pace.gap, self._least_gap(centre))
            self._record(centre, gap)
        return self._finish(centre, status, n_iter, gap)

    def _outer_step(self, centre: Evaluation) -> Evaluation:
        """One epoch, and the longest part of its move that the exact objective accepts."""
        epoch = self._epoch(centre)
        if not epoch.finite:
            self._pace.diverged()
            return centre
        move = self._coordinates.to_coef(epoch.average)
        before = dot(centre.gradient, move)
        length = 1.0
        for trial in range(_MOST_TRIALS):
            point = self._evaluate(centre.coef + length * move, centre)
            after = dot(point.gradient, move)
            if self._accepts(centre, point):
                self._pace.moved(before, after, length, trials=trial)
                return point
            # The slopes at both ends tell where the objective is least.
            length *= min(0.5, max(0.1, before / (before - after))) if after > 0 > before else 0.5
        self._pace.diverged()
        return centre

    def _accepts(self, centre: Evaluation, point: Evaluation) -> bool:
        if point.value <= centre.value:
            return True
        flat = point.value <= centre.value + 4e-16 * abs(centre.value)
        return flat and norm(point.gradient) <= norm(centre.gradient)

    def _epoch(self, centre: Evaluation) -> EpochResult:
        problem, coordinates = self.problem, self._coordinates
        rows = EpochRows(loss=problem.loss, phi=centre.phi, y=problem.y, weights=problem.weights)
        model = EpochModel(
            shift=self._data.shift(coordinates),
            gradient=coordinates.gradient(centre.gradient),
            penalty=coordinates.penalty + self._data.unseen(coordinates),
            step=self._pace.step,
        )
        schedule = self._schedule()
        self._passes += len(schedule.order)
        self._steps += schedule.n_steps
        return self._data.run(coordinates.unit, rows, model, schedule)

    def _schedule(self) -> EpochSchedule:
        """One random order of the tiles for the whole fit, started anywhere in each pass."""
        count = len(self._tiles)
        starts = integers(
            self._seed, count, self._pace.n_passes, start=self._passes, step=1, stream=Stream.HALP_ORDER
        )
        n_batches = self._pace.n_batches
        return EpochSchedule(
            order=np.array([np.roll(self._tiles, -int(start)) for start in starts]),
            n_batches=n_batches,
            tail=max(1, self._pace.n_steps // 4),
            momentum=self._pace.momentum,
            batch_weight=n_batches / self.problem.total_weight,
            seed=self._seed,
            first_step=self._steps,
        )

    # ---- pieces

    def _scale(self, centre: Evaluation) -> float:
        return max(abs(centre.value), self._scale_floor)

    def _least_gap(self, centre: Evaluation) -> float:
        """A lower bound of F - F*: what a step of length 1/L on every coordinate would gain."""
        return self._coordinates.least_gap(self._coordinates.gradient(centre.gradient))

    def _measured_gap(self, centre: Evaluation) -> float:
        """Newton's decrement, as the newton solver reports it: the pace of epochs errs by more."""
        problem = self.problem
        size = sample_size(problem.n_rows, problem.n_columns, self._data.bits, problem.n_blocks)
        metric = Metric(problem, draw_sample(problem, size, self._seed), seed=self._seed, exact=False)
        if not metric.resample_if_poor(centre):
            metric.build_at_centre(centre)
        sampled, buffers = metric.squared_norm(centre.gradient), RowBuffers.of(problem)
        measured = measured_decrement(problem, design_of(problem), metric, centre, buffers)
        return 0.5 * max(sampled, measured) * growth_within(problem.loss, reach(buffers.eta))

    def _record(self, centre: Evaluation, gap: float) -> None:
        n, d = self.problem.source.shape
        exact_bytes = self._evaluate.n_passes * n * d * self.problem.source.dtype.itemsize
        iteration = Iteration(
            objective=centre.value,
            gradient_norm=norm(centre.gradient),
            gap_estimate=gap,
            seconds=time.perf_counter() - self.started,
            bytes_read=exact_bytes + self._data.n_passes * self._data.pass_bytes,
            coef=centre.coef.copy() if self._keep_coef else None,
        )
        self._trace.append(iteration)
        if self._report is not None:
            self._report(len(self._trace), iteration)

    def _finish(self, centre: Evaluation, status: Status, n_iter: int, gap: float) -> Result:
        buffers = RowBuffers.of(self.problem)
        centre, certificate = certify_at_best_intercept(self.problem, centre, gap, buffers, self._evaluate)
        return Result(
            coef=centre.coef,
            status=status,
            objective=centre.value,
            gap_estimate=certificate.gap_estimate,
            gap_bound=certificate.gap_bound,
            coef_bound=certificate.coef_bound,
            solver=self._data.name,
            n_iter=n_iter,
            trace=tuple(self._trace),
            exact_passes=self._evaluate.n_passes,
            packed_passes=self._data.n_passes if self._data.bits < 32 else 0,
            at_zero=self._at_zero,
            intercept_slope=norm(centre.gradient[:, -1].copy()),
        )
