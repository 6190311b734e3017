"""Newton-PCG on the packed copy, preconditioned by a row sample's curvature, inside an exact outer loop.

No step size, no batch, no epoch length; indifferent to column scales and spectra. Each outer step is
accepted on the exact objective only, and a ladder of ever more exact inner models ends in Newton's method
on the float data itself:

    PACKED       coarse samples, curvature of their rounding noise removed
    PACKED_PLAIN coarse samples as they are (always positive semidefinite)
    FLOAT        the same iteration on the float rows
    EXACT        the preconditioner becomes the Hessian of all rows
"""

import time
from dataclasses import replace
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from mezzotint.kernels import ops
from mezzotint.linear.certificate import certify_at_best_intercept, measured_decrement
from mezzotint.linear.design import Coef, Design, design_of
from mezzotint.linear.metric import Metric
from mezzotint.linear.model import InnerModel, RowBuffers
from mezzotint.linear.objective import Evaluation, Problem, dot, margins, norm
from mezzotint.linear.pcg import NewtonStep, StopRule, newton_step
from mezzotint.linear.result import Iteration, Report, Result, Status
from mezzotint.linear.rounded import round_weights
from mezzotint.linear.sample import draw_sample, everything, sample_size, thinned

_ETA = 0.01  # inner reduction of the gradient per outer step
_ETA_CG = 0.1  # reduction per linear solve
_ETA_WARM = 0.03  # the same for the thinned problem that gives the starting point
_THINNED_ROWS_PER_COLUMN = 32
_MAX_NEWTON = 6  # inner Newton steps per outer step
_MAX_CG = 30
_GUARD = 0.03  # least curvature relative to M's while noise is being removed
_GUARD_PLAIN = 1e-6  # and otherwise: beyond it steps would leave the range of float32
_SMALL_SHARE = 0.7  # a sample of this share of the rows might as well be all of them
_LEAST_FALL = 0.1  # share of the gap that a step must gain, of piecewise losses
_SAFETY = 30.0  # iterate until the estimated gap is this much below the tolerance
_LEAST_TOL_ROUNDED = 1e-12  # rounding weights to float32 may cost that share of F
_EXACT_VALUES = 2**26  # and, with fewer rows than columns, values that are held in float64
_EXACT_WORK = 4e11  # n d^2 up to which Newton's method on all rows is the last resort


class Mode(IntEnum):
    """Which data the inner model reads; higher is slower and safer."""

    PACKED = 0
    PACKED_PLAIN = 1
    FLOAT = 2
    EXACT = 3


def is_small(n_rows: int, n_columns: int, bits: int) -> bool:
    """Whether Newton's method on all float rows is cheaper than packing."""
    return sample_size(n_rows, n_columns, bits) >= _SMALL_SHARE * n_rows


def solve_newton(
    problem: Problem,
    *,
    tol: float = 1e-8,
    max_iter: int = 100,
    seed: int = 0,
    start: Coef | None = None,
    started_at: float | None = None,
    keep_coef: bool = False,
    report: Report | None = None,
) -> Result:
    """Minimise the exact objective of a problem.

    Parameters
    ----------
    problem : Problem
        Without a packed copy the same iteration runs on the float rows.
    tol : float
        Relative gap ``(F - F*) / max(|F|, 1e-6 F(0))`` to stop at, judged by the Newton decrement with
        a safety factor of 30; where M is the Hessian of all rows the decrement must reach `tol` squared.
    max_iter : int
        Outer iterations (exact passes that move the centre).
    seed : int
        Of the row sample.
    start : ndarray of float64, shape (K, d + 1), or None
        Starting point; None starts from the optimum of a coarse problem.
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
    solver = _Newton(problem, tol=tol, max_iter=max_iter, seed=seed, keep_coef=keep_coef, report=report)
    if started_at is not None:
        solver.started = started_at
    return solver.run(start)


class _Newton:
    """State of one fit."""

    def __init__(
        self,
        problem: Problem,
        *,
        tol: float,
        max_iter: int,
        seed: int,
        keep_coef: bool,
        report: Report | None,
    ) -> None:
        self.started = time.perf_counter()
        self.problem = problem
        self._tol, self._max_iter, self._seed = tol, max_iter, seed
        self._keep_coef, self._report = keep_coef, report
        self._buffers = RowBuffers.of(problem)
        self._phi = np.empty((problem.n_outputs, problem.n_rows))
        self._trace: list[Iteration] = []
        self._exact_passes = 0
        self._designs: dict[bool, Design] = {}
        n, d = problem.source.shape
        bits = problem.packed.bits if problem.packed is not None else 32
        size = sample_size(n, d, bits, problem.n_blocks)
        small = problem.packed is None and size >= _SMALL_SHARE * n
        self._mode = Mode.PACKED if problem.packed is not None else Mode.EXACT if small else Mode.FLOAT
        sample = everything(problem) if small else draw_sample(problem, size, seed)
        self._metric = Metric(problem, sample, seed=seed, exact=small)
        self._n_builds = 0  # of metrics that have been replaced
        self._inner_done = False  # whether the last inner loop reached its target
        # Weights that end as float32 are float32 all along: then the last exact pass is one at the answer.
        self._rounds = problem.coef_dtype is np.float32 and not small and tol >= _LEAST_TOL_ROUNDED
        self._scale_floor = 0.0

    # ---- the outer loop

    def run(self, start: Coef | None) -> Result:
        if start is None:
            self._metric.build_at_zero()
        centre = self._first_centre(start)
        if not self._metric.resample_if_poor(centre):
            self._metric.renew_if_worn(centre)
        decrement = self._decrement(centre)
        self._record(centre, decrement)
        status = Status.ITERATION_LIMIT
        stalls = slow = n_iter = 0
        before = np.inf
        decrement = self._checked_decrement(centre, decrement)
        while True:
            if self._is_converged(centre, decrement):
                status = Status.CONVERGED
                break
            if n_iter == self._max_iter:
                break
            n_iter += 1
            previous, centre = centre, self._outer_step(centre)
            earlier, before, decrement = before, decrement, self._decrement(centre)
            self._record(centre, decrement)
            decrement = self._checked_decrement(centre, decrement)
            if self._is_converged(centre, decrement):
                continue
            stalls = stalls + 1 if self._unmoved(previous, centre) else 0
            slow = slow + 1 if self._is_slow(previous, centre, (earlier, before, decrement)) else 0
            if slow and stalls and self._at_floor(centre, decrement, stalls):
                status = Status.FLOOR
                break
            # One slow outer step is the coarse data's fault only if the inner loop did what it was asked to.
            if ((slow and self._inner_done) or slow > 1 or stalls) and not self._climb() and stalls >= 3:
                status = Status.STALLED
                break
        return self._finish(centre, status, n_iter, decrement)

    def _is_slow(
        self, previous: Evaluation, centre: Evaluation, decrements: tuple[float, float, float]
    ) -> bool:
        """Whether an outer step fell short of what a step is for, by the last three decrements.

        Where rows switch on and off M's word may go up and down for ever; the objective itself, which is what
        the gap cannot exceed for a piecewise loss, does not.
        """
        earlier, before, now = decrements
        if not self.problem.is_piecewise:
            return now > 0.3 * before
        fallen, claimed = previous.value - centre.value, min(0.5 * before, previous.value)
        return now > 0.3 * min(earlier, before) or fallen < _LEAST_FALL * claimed

    def _first_centre(self, start: Coef | None) -> Evaluation:
        """Evaluate the starting point; one that is worse than zero is not used."""
        at_zero = self._objective_at_zero()
        self._scale_floor = 1e-6 * at_zero
        centre = self._evaluate(self._warm_start() if start is None else start)
        return centre if centre.value <= at_zero else self._evaluate(self.problem.zeros())

    def _outer_step(self, centre: Evaluation) -> Evaluation:
        if self._mode == Mode.EXACT and self._metric.is_faithful:
            self._metric.build_at_centre(centre)
            return self._backtrack(centre, self._exact_step(centre))
        if self._mode == Mode.EXACT:
            self._metric.renew_if_worn(centre)
        model = InnerModel(self.problem, self._design(), centre, self._buffers, self._noise())
        most = 1 if self._mode >= Mode.FLOAT else _MAX_NEWTON
        z = self._minimise(model, _ETA, most, enough=0.25 * self._goal(centre))
        return self._backtrack(centre, z)

    def _exact_step(self, centre: Evaluation) -> Coef:
        """Newton's step with the Hessian itself: with one block per output M is all of it."""
        v = -self._metric.solve(centre.gradient)
        if self.problem.loss == "squared":
            return v
        model = InnerModel(self.problem, self._design(), centre, self._buffers, None)
        wide = None
        if self.problem.is_piecewise:
            wide = margins(self.problem.source, v, self.problem.n_threads, checked=False)
        else:
            self._design().margins(v, self._buffers.eta)
        step: Coef = model.lengths(v, wide) * v
        return step

    def _backtrack(self, centre: Evaluation, z: Coef) -> Evaluation:
        """Accept the longest of z, z/2, z/4, ... on the exact objective; else stay."""
        slope = dot(centre.gradient, z)
        for _ in range(12):
            trial = self._evaluate(centre.coef + z)
            rounding = 4e-16 * abs(centre.value)
            flat = trial.value <= centre.value + rounding and norm(trial.gradient) <= norm(centre.gradient)
            if trial.value <= centre.value + 1e-4 * slope or flat:
                return trial
            z = 0.5 * z
        return self._evaluate(centre.coef)

    def _checked_decrement(self, centre: Evaluation, decrement: float) -> float:
        """Before a metric's word for convergence is taken, renew it; a rough one must ask the coarse data.

        A row whose curvature has vanished since M was built would make the gap look smaller than it is.
        """
        if not self._is_converged(centre, decrement):
            return decrement
        if self._metric.renew_if_worn(centre):
            decrement = self._decrement(centre)
        if self._metric.is_faithful:
            return decrement
        measured = measured_decrement(self.problem, self._design(), self._metric, centre, self._buffers)
        return max(decrement, measured)

    def _is_converged(self, centre: Evaluation, decrement: float) -> bool:
        return 0.0 <= decrement <= self._goal(centre)  # below zero there are rounding errors only

    def _goal(self, centre: Evaluation) -> float:
        """Decrement to reach. Newton's own steps square the gap: the last one costs as much as any other."""
        exact = max(min(self._tol, self._tol**2), 1e-16)
        return 2.0 * (exact if self._mode == Mode.EXACT else self._tol / _SAFETY) * self._scale(centre)

    def _scale(self, centre: Evaluation) -> float:
        return max(abs(centre.value), self._scale_floor)

    @staticmethod
    def _unmoved(before: Evaluation, after: Evaluation) -> bool:
        return after.value >= before.value - 1e-15 * abs(before.value)

    def _at_floor(self, centre: Evaluation, decrement: float, stalls: int) -> bool:
        """Whether the gap is at the level of rounding errors, so that no progress is the end."""
        limit = 1e-9 if stalls >= 2 else 1e-13
        return 0.5 * decrement <= limit * self._scale(centre)

    def _climb(self) -> bool:
        """Step up the ladder; False at its top. Its lowest step is to stop rounding."""
        if self._rounds:
            self._rounds = False
            return True
        n, d = self.problem.source.shape
        affordable = n * d * d * self.problem.n_outputs <= _EXACT_WORK and (n >= d or n * d <= _EXACT_VALUES)
        top = Mode.EXACT if affordable else Mode.FLOAT
        if self._mode >= top:
            return False
        self._mode = Mode(self._mode + 1)
        if self._mode == Mode.EXACT:
            self._n_builds += self._metric.n_builds
            self._metric = Metric(self.problem, everything(self.problem), seed=self._seed, exact=True)
        return True

    # ---- the inner loop

    def _minimise(self, model: InnerModel, eta: float, max_newton: int, *, enough: float = 0.0) -> Coef:
        """Reduce the model's gradient by `eta`, or its decrement to `enough`, in Newton steps; returns z."""
        target = max(eta**2 * self._metric.squared_norm(model.gradient), enough)
        quadratic = self.problem.loss == "squared"
        for _ in range(max_newton):
            rule = StopRule(
                relative=0.0 if quadratic else _ETA_CG**2,
                absolute=0.25 * target,
                max_iterations=_MAX_CG,
                guard=_GUARD if model.removes_noise else _GUARD_PLAIN,
            )
            step = self._step(model, rule)
            if not step.trusted and model.removes_noise:
                self._restore_trust(model)
                continue
            if quadratic:
                self._inner_done = True
                return step.direction
            if not step.direction.any():
                break
            self._move(model, step, stay=max_newton > 1)
            if max_newton == 1:
                break
            self._inner_done = self._metric.squared_norm(model.gradient) <= target
            if self._inner_done:
                break
            self._metric.renew_if_slow(step, model.point, model.pass_bytes)
        # A solve on float rows that ran out of iterations is one that M cannot help.
        if self._mode == Mode.FLOAT:
            self._inner_done = step.iterations >= _MAX_CG
        return model.z

    def _restore_trust(self, model: InnerModel) -> None:
        """H showed far less curvature than M: M is stale, or what was removed from H was not noise."""
        if self._metric.has_moved:
            self._metric.build_at(model.point)
        else:
            self._mode = Mode.PACKED_PLAIN
            model.reset(keep_noise=False)

    def _step(self, model: InnerModel, rule: StopRule) -> NewtonStep:
        buffers = model.buffers
        return newton_step(
            model.hessian_product,
            self._metric,
            model.gradient,
            rule,
            buffers.eta,
            buffers.scratch,
            self.problem.n_threads,
        )

    def _move(self, model: InnerModel, step: NewtonStep, *, stay: bool) -> None:
        v = step.direction
        t = model.lengths(v)
        (model.advance if stay else model.jump)(v, t)
        self._metric.has_moved = True

    # ---- pieces

    def _warm_start(self) -> Coef:
        """Optimum of a coarse problem without any exact pass, roughly.

        Of a thinned one: Newton steps that cost a fraction of a pass each. Least squares take one step on
        all coarse rows, which is all an outer step would do, and rows left out would cost accuracy.
        """
        problem = self.problem
        stride = problem.n_rows // (_THINNED_ROWS_PER_COLUMN * problem.n_columns)
        if problem.loss == "squared" and self._mode != Mode.EXACT:
            return self._coarse_optimum(problem, self._design(), self._buffers, _ETA)
        if stride < 2:
            return problem.zeros()
        small = thinned(problem, stride)
        return self._coarse_optimum(small, design_of(small), RowBuffers.of(small), _ETA_WARM)

    def _coarse_optimum(self, problem: Problem, design: Design, buffers: RowBuffers, eta: float) -> Coef:
        """Minimise the coarse objective itself: its gradient at zero is not corrected."""
        gradient = design.gradient(problem.loss_gradient_at_zero()) / problem.total_weight
        if not problem.fit_intercept:
            gradient[:, -1] = 0.0
        zero = np.zeros((problem.n_outputs, problem.n_rows))
        centre = Evaluation(value=np.nan, gradient=gradient, phi=zero, coef=problem.zeros())
        noise = self._noise() if problem.loss == "squared" else None
        model = InnerModel(problem, design, centre, buffers, noise)
        return self._minimise(model, eta, _MAX_NEWTON)

    def _design(self) -> Design:
        packed = self._mode < Mode.FLOAT
        if packed not in self._designs:
            self._designs[packed] = design_of(self.problem if packed else replace(self.problem, packed=None))
        return self._designs[packed]

    def _noise(self) -> NDArray[np.float64] | None:
        return (
            self.problem.packed.noise
            if self._mode == Mode.PACKED and self.problem.packed is not None
            else None
        )

    def _evaluate(self, coef: Coef) -> Evaluation:
        self._exact_passes += 1
        return self.problem.evaluate(round_weights(coef) if self._rounds else coef, self._phi)

    def _objective_at_zero(self) -> float:
        """F at zero coefficients costs no read of X."""
        self._phi[:] = 0.0
        return (
            float(ops().loss_sum(self.problem.loss, self._phi, self.problem.y, self.problem.weights))
            / self.problem.total_weight
        )

    def _decrement(self, centre: Evaluation) -> float:
        return self._metric.squared_norm(centre.gradient)

    def _record(self, centre: Evaluation, decrement: float) -> None:
        read = sum(design.n_passes * design.pass_bytes for design in self._designs.values())
        n, d = self.problem.source.shape
        iteration = Iteration(
            objective=centre.value,
            gradient_norm=norm(centre.gradient),
            gap_estimate=0.5 * decrement,
            seconds=time.perf_counter() - self.started,
            bytes_read=read + self._exact_passes * n * d * self.problem.source.dtype.itemsize,
            coef=centre.coef.copy() if self._keep_coef else None,
        )
        self._trace.append(iteration)
        if self._report is not None:
            self._report(len(self._trace), iteration)

    def _finish(self, centre: Evaluation, status: Status, n_iter: int, decrement: float) -> Result:
        centre, certificate = certify_at_best_intercept(
            self.problem, centre, 0.5 * decrement, self._buffers, self._evaluate
        )
        return Result(
            coef=centre.coef,
            status=status,
            objective=centre.value,
            gap_estimate=certificate.gap_estimate,
            gap_bound=certificate.gap_bound,
            coef_bound=certificate.coef_bound,
            solver="exact" if self._mode == Mode.EXACT else "newton",
            n_iter=n_iter,
            trace=tuple(self._trace),
            exact_passes=self._exact_passes,
            packed_passes=sum(design.n_passes for design in self._designs.values()),
            factorisations=self._n_builds + self._metric.n_builds,
            gradient_norm=norm(centre.gradient),
        )
