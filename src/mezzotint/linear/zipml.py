"""Proximal minibatch SGD from packed samples alone: ZipML's method, with its guarantees.

Nothing but the codes is read. Where they are sums of two stochastic draws (``mz.pack(..., n_draws=2)``) and
the loss is the squared one, every step follows an unbiased estimate of the float data's gradient; otherwise
the steps minimise the loss of the decoded values. The arithmetic of a step is in
``mezzotint.kernels.reference.zipml``; here are its coordinates, its rate and the record of a run.

References
----------
H. Zhang, J. Li, K. Kara, D. Alistarh, J. Liu, C. Zhang, "ZipML: training linear models with end-to-end low
precision, and a little bit of deep learning", ICML 2017, arXiv:1611.05402.
"""

import time
from dataclasses import dataclass
from numbers import Real

import numpy as np
from numpy.typing import NDArray

from mezzotint.errors import DataError, ParameterError
from mezzotint.kernels import ops
from mezzotint.kernels.descent import (
    GRADIENT_BITS,
    MODEL_BITS,
    DescentModel,
    DescentResult,
    DescentSchedule,
)
from mezzotint.kernels.epochs import EpochRows
from mezzotint.kernels.layout import ROW_GROUP
from mezzotint.linear.halp_pace import Coordinates, coordinates_of
from mezzotint.linear.objective import Coef, Problem, dot, fixed_sum
from mezzotint.linear.result import Flows, Iteration, Report, Result, Status
from mezzotint.linear.validation import check_count, check_flag, check_real
from mezzotint.linear.visiting import run_length, visiting_order
from mezzotint.packed import PackedMatrix

_TRIAL_RATES = (0.5, 1.0, 2.0, 4.0)  # times the inverse of the curvature that a batch sees
_TRIAL_PASSES = 2

Float64 = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ZipML:
    """Settings of ``solver="zipml"``; pass an instance as `solver` to change them.

    Parameters
    ----------
    model_bits : {16, 8}, default 16
        Bits of the weights that the samples are multiplied with, rounded stochastically anew in every step.
    gradient_bits : {0, 4, 8, 16}, default 0
        Bits of the gradient, rounded stochastically; 0 leaves it as it is.
    rate : float or None, default None
        Of the first pass, in units of the inverse of the largest curvature that a batch can have. None tries
        four rates for two passes each and takes the best.
    halving : float or None, default None
        The rate of pass k is ``rate / (1 + (k - 1) / halving)``: after so many passes it is half. 1 is the
        paper's ``rate / k``; None is a tenth of the passes, at least 1, which forgives bad conditioning.
    batch_size : int, default 256
        Rows of a step, rounded to a multiple of 16.
    l1 : float, default 0.0
        Penalty ``l1 |w|_1`` added to the objective that is divided by the sum of the sample weights, by its
        proximal step.
    bounds : tuple of two floats, default (-inf, inf)
        Box that every weight (not the intercept) is projected to; it holds zero. The default is no box.
    average : bool, default True
        Return the mean of the last pass instead of the last step.

    Raises
    ------
    ParameterError
        If a setting is outside its set.

    Examples
    --------
    >>> ZipML(model_bits=8, gradient_bits=8).batch_size
    256
    """

    model_bits: int = 16
    gradient_bits: int = 0
    rate: float | None = None
    halving: float | None = None
    batch_size: int = 256
    l1: float = 0.0
    bounds: tuple[float, float] = (-np.inf, np.inf)
    average: bool = True

    def __post_init__(self) -> None:
        _require(self._has_bits("model_bits", MODEL_BITS), "model_bits", self.model_bits, "16 or 8")
        has_bits = self._has_bits("gradient_bits", (0, *GRADIENT_BITS))
        _require(has_bits, "gradient_bits", self.gradient_bits, "0 (none), 4, 8 or 16")
        if self.rate is not None:
            check_real("rate", self.rate, low=0, low_allowed=False)
        if self.halving is not None:
            check_real("halving", self.halving, low=0, low_allowed=False, infinity_allowed=True)
        check_count("batch_size", self.batch_size, low=1)
        check_real("l1", self.l1, low=0, low_allowed=True)
        allowed = "(low, high) with low <= 0 <= high; (-inf, inf) is no box"
        _require(_is_box(self.bounds), "bounds", self.bounds, allowed)
        check_flag("average", self.average)

    def _has_bits(self, name: str, allowed: tuple[int, ...]) -> bool:
        bits = getattr(self, name)
        return isinstance(bits, int | np.integer) and not isinstance(bits, bool) and bits in allowed


def _is_box(bounds: object) -> bool:
    if not isinstance(bounds, tuple | list) or len(bounds) != 2:
        return False
    low, high = bounds
    return isinstance(low, Real) and isinstance(high, Real) and float(low) <= 0 <= float(high)


def _require(holds: bool, name: str, value: object, allowed: str) -> None:
    if not holds:
        raise ParameterError(f"{name}={value!r} is not possible; allowed: {allowed}.")


def n_draws_for(loss: str) -> int:
    """Draws per value of samples that are packed for a loss: two where that makes its gradients unbiased."""
    return 2 if loss == "squared" else 1


def check_unweighted(n_draws: int, loss: str, weights: object) -> None:
    """Refuse sample weights where gradients of double-sampled codes are corrected.

    Raises
    ------
    DataError
        If there are weights.
    """
    if weights is not None and is_unbiased(n_draws, loss):
        raise DataError(
            "sample_weight came with double-sampled codes; the correction of their gradients counts every "
            "row once. Leave sample_weight out (equal weights, too), or leave rows out when packing."
        )


def solve_zipml(
    problem: Problem,
    *,
    settings: ZipML | None = None,
    max_iter: int = 100,
    seed: int = 0,
    start: Coef | None = None,
    started_at: float | None = None,
    report: Report | None = None,
) -> Result:
    """Minimise a problem's loss on its packed samples by minibatch SGD.

    Parameters
    ----------
    problem : Problem
        With packed samples. Of `source` only a row sample is read, for the step sizes: a decoded one will do.
    settings : ZipML or None
        None means the defaults.
    max_iter : int
        Passes over the samples.
    seed : int
        Of the visiting order and of stochastic rounding.
    start : ndarray of float64, shape (K, d + 1), or None
        Where to start; None means zeros.
    started_at : float or None
        `time.perf_counter()` value that the trace counts from.
    report : callable or None
        Called after each pass.

    Returns
    -------
    Result
        Its objective is the estimate that the codes allow: unbiased for two draws and the squared loss. SGD
        has no certificate: the bounds are infinite and the estimate of the gap is NaN.

    Raises
    ------
    DataError
        If there are no packed samples, or sample weights on double-sampled ones.
    """
    if problem.packed is None:
        raise DataError("solver='zipml' runs on packed samples; pack X first: mz.pack(X, bits=7, n_draws=2).")
    run = _Run(problem, problem.packed, settings or ZipML(), seed, started_at, report)
    return run.solve(problem.zeros() if start is None else start, max_iter)


def is_unbiased(n_draws: int, loss: str) -> bool:
    """Whether steps on samples of so many draws follow unbiased gradients of the float data."""
    return n_draws == 2 and loss == "squared"


class _Run:
    """One descent."""

    def __init__(
        self,
        problem: Problem,
        packed: PackedMatrix,
        settings: ZipML,
        seed: int,
        started_at: float | None,
        report: Report | None,
    ) -> None:
        self.started = time.perf_counter() if started_at is None else started_at
        self.problem, self.packed = problem, packed
        self._settings, self._seed, self._report = settings, seed, report
        self._corrects = is_unbiased(packed.n_draws, problem.loss)
        check_unweighted(packed.n_draws, problem.loss, problem.weights)
        n = problem.n_rows
        self._tiles = -(-n // ROW_GROUP)
        batch_tiles = max(1, min(self._tiles, round(settings.batch_size / ROW_GROUP)))
        self._n_batches = max(1, round(self._tiles / batch_tiles))
        self._run = run_length(self._tiles, problem.n_columns, self._n_batches)
        self._coordinates: Coordinates = coordinates_of(problem, packed.scale, seed)
        self._model = self._columns()
        self._rows = EpochRows(
            loss=problem.loss,
            phi=np.zeros((problem.n_outputs, n)),
            y=problem.y,
            weights=problem.weights,
        )
        self._variance = self._mean_variance()
        self._passes = 0
        self._trace: list[Iteration] = []

    def solve(self, start: Coef, max_iter: int) -> Result:
        first = self._centred(start, 1.0)
        rate = self._settings.rate or self._best_rate(first)
        halving = self._settings.halving or max(1.0, max_iter / 10)
        coef, average, finite = first, first, True
        for k in range(max_iter):
            result = self._pass(coef, rate / (1.0 + k / halving))
            finite = result.finite
            if not finite:
                break
            coef, average = result.coef, result.average
            self._record(result)
        return self._finish(self._centred(average if self._settings.average else coef, -1.0), finite)

    def _pass(self, coef: Coef, rate: float) -> DescentResult:
        self._passes += 1
        schedule = DescentSchedule(
            order=visiting_order(self._seed, self._tiles, self._run, pass_number=self._passes)[None],
            n_batches=self._n_batches,
            rates=np.array([rate]),
            batch_weight=self._n_batches / self.problem.total_weight,
            tail=self._n_batches,
            model_bits=self._settings.model_bits,
            gradient_bits=self._settings.gradient_bits,
            seed=self._seed,
            first_step=self._passes * self._n_batches,
        )
        packed = self.packed
        result: DescentResult = ops().zipml_epoch(
            packed.codes,
            packed.layout,
            self._rows,
            self._model,
            schedule,
            coef,
            n_threads=self.problem.n_threads,
        )
        return result

    def _best_rate(self, start: Coef) -> float:
        """Rate whose first passes end lowest; one that diverges is out."""
        met = {rate: self._trial(start, rate) for rate in _TRIAL_RATES}
        return min(met, key=lambda rate: met[rate])

    def _trial(self, start: Coef, rate: float) -> float:
        coef = start
        for k in range(1, _TRIAL_PASSES + 1):
            result = self._pass(coef, rate / k)
            if not result.finite:
                return np.inf
            coef = result.coef
        return self._objective(self._centred(coef, -1.0))

    # ---- coordinates

    def _columns(self) -> DescentModel:
        """Columns are centred, so that the intercept hardly interacts; steps are those of a common grid."""
        packed, coordinates = self.packed, self._coordinates
        rows = self.problem.n_rows / self._n_batches
        noise = coordinates.smooth_row / coordinates.smooth / rows
        steps = coordinates.steps(coordinates.smooth * (1 + noise))
        squared = np.where(coordinates.unit > 0, coordinates.unit, 1.0) ** 2
        d, (low, high) = self.problem.n_columns, self._settings.bounds
        return DescentModel(
            scale=packed.scale,
            centre=packed.offset + packed.scale * packed.layout.mid_code - coordinates.centre,
            step=np.append(steps[:-1] / squared, steps[-1]),
            low=np.full(d, float(low)),
            high=np.full(d, float(high)),
            l2=self.problem.penalty,
            l1=self._settings.l1,
            corrects=self._corrects,
        )

    def _centred(self, coef: Coef, sign: float) -> Coef:
        """Intercept of centred columns from that of the columns (sign 1), or back (sign -1)."""
        out = coef.copy()
        out[:, -1] += sign * np.array([dot(self._coordinates.centre, row[:-1].copy()) for row in coef])
        if not self.problem.fit_intercept:
            out[:, -1] = 0.0
        return out

    # ---- record

    def _mean_variance(self) -> Float64:
        """Mean variance of the codes' means about the float values, by column; 0 if it is not taken out."""
        if not self._corrects:
            return np.zeros(self.problem.n_columns)
        packed = self.packed
        partials = ops().gap_squares(packed.codes, packed.layout, None, n_threads=self.problem.n_threads)
        variance: Float64 = packed.scale**2 * ops().tree_sum(partials) / self.problem.n_rows
        return variance

    def _objective(self, coef: Coef) -> float:
        """Objective on the codes, less what their variance adds."""
        problem, packed = self.problem, self.packed
        margins = np.empty((problem.n_outputs, problem.n_rows), np.float32)
        ops().packed_margins(
            packed.codes,
            packed.layout,
            packed.offset,
            packed.scale,
            coef,
            margins,
            n_threads=problem.n_threads,
        )
        met = ops().loss_sum(problem.loss, margins.astype(np.float64), problem.y, problem.weights)
        return float(met) / problem.total_weight + self._penalties(coef)

    def _penalties(self, coef: Coef) -> float:
        weights = np.ascontiguousarray(coef[:, :-1])
        squares = weights * weights
        l1 = self._settings.l1 * fixed_sum(np.abs(weights))
        return 0.5 * fixed_sum(squares * (self.problem.penalty - self._variance)) + l1

    def _record(self, result: DescentResult) -> None:
        met = float(result.losses[-1]) / self.problem.total_weight
        iteration = Iteration(
            objective=met + self._penalties(result.coef),
            gradient_norm=np.nan,
            gap_estimate=np.nan,
            seconds=time.perf_counter() - self.started,
            bytes_read=self._passes * self.packed.layout.n_bytes,
        )
        self._trace.append(iteration)
        if self._report is not None:
            self._report(len(self._trace), iteration)

    def _flows(self) -> Flows:
        """Bytes of the three flows; a row-scaled vector also carries its scale."""
        vectors = self._passes * self._n_batches * self.problem.n_outputs
        d, settings = self.problem.n_columns, self._settings
        return Flows(
            samples=self._passes * self.packed.layout.n_bytes,
            model=vectors * (d * settings.model_bits // 8 + 8),
            gradient=vectors * (d * settings.gradient_bits // 8 + 8 if settings.gradient_bits else 8 * d),
        )

    def _ending(self, objective: float, finite: bool) -> Status:
        """Say whether the descent went somewhere, and if it did not, what was the cause."""
        at_zero = self._objective(self.problem.zeros())
        # No loss is below zero. An estimate of a small one may be; one that is further below than zero
        # weights are above has no minimum, at any rate. Where the objective rose instead, there is one.
        bounded = not objective < -at_zero
        if self._settings.rate is not None and bounded and not (finite and objective <= 2.0 * at_zero):
            return Status.RATE_TOO_LARGE
        return Status.FINISHED if finite and objective >= -at_zero else Status.NO_MINIMUM

    def _finish(self, coef: Coef, finite: bool) -> Result:
        objective = self._objective(coef)
        return Result(
            coef=coef,
            status=self._ending(objective, finite),
            objective=objective,
            gap_estimate=np.nan,
            gap_bound=np.inf,
            coef_bound=np.inf,
            solver="zipml",
            n_iter=len(self._trace),
            trace=tuple(self._trace),
            packed_passes=self._passes,
            flows=self._flows(),
            solution="unbiased" if self._corrects else "quantised",
        )
