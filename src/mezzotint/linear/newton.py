"""Newton-PCG on the packed copy, preconditioned by a row sample's curvature, inside an exact outer loop.

No step size, no batch, no epoch length; indifferent to column scales and spectra. Each outer step is
accepted on the exact objective only, and a ladder of ever more exact inner models ends in Newton's method
on the float data itself:

    PACKED       coarse samples, curvature of their rounding noise removed
    PACKED_PLAIN coarse samples as they are (always positive semidefinite)
    FLOAT        the same iteration on the float rows
    EXACT        the preconditioner becomes the Hessian of all rows, of softmax its diagonal blocks
    COUPLED      softmax: the whole Hessian
"""

import time
from dataclasses import replace
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from mezzotint.linear import coupled
from mezzotint.linear.certificate import certify_at_best_intercept, growth_within, measured_decrement
from mezzotint.linear.design import Coef, Design, design_of
from mezzotint.linear.frame import widened
from mezzotint.linear.metric import Metric
from mezzotint.linear.model import InnerModel, RowBuffers, reach
from mezzotint.linear.objective import (
    LEAST_SCALE,
    Evaluation,
    Evaluator,
    Problem,
    dot,
    margins,
    norm,
    separates,
)
from mezzotint.linear.pcg import NewtonStep, StopRule, newton_step
from mezzotint.linear.result import Iteration, Report, Result, Status
from mezzotint.linear.rounded import round_weights
from mezzotint.linear.sample import draw_sample, everything, sample_size, thinned

_ETA = 0.01  # inner reduction of the gradient per outer step
_ETA_CG = 0.1  # reduction per linear solve
_ETA_WARM = 0.03  # the same for the thinned problem that gives the starting point
_THINNED_ROWS_PER_COLUMN = 32
_MAX_NEWTON = 6  # inner Newton steps per outer step
_MAX_CG, _MAX_CG_EXACT = 30, 200
_GUARD = 0.03  # least curvature relative to M's while noise is being removed
_GUARD_PLAIN = 1e-6  # and otherwise: beyond it steps would leave the range of float32
_SMALL_SHARE = 0.7  # a sample of this share of the rows might as well be all of them
_FALLEN = 0.75  # share of the objective that is left after a step that was worth it, whatever the decrement
_ABSURD = 20.0  # decrements beyond that many times the objective, which bounds the gap, are no news of it
_SEPARABLE = 0.1  # share of F(0) below which it is worth looking whether all margins are right
_FLAT = 0.5  # change of a margin by the Newton step at an optimum: at one that exists it tends to zero
_LEAST_FALL = 0.1  # share of the gap that a step must gain, of piecewise losses
_SAFETY = 30.0  # iterate until the estimated gap is this much below the tolerance
_LEAST_TOL_ROUNDED = 1e-12  # rounding weights to float32 may cost that share of F
_LEAST_ROUNDED = 4e-15  # and gaps below that are not asked for while they are rounded;
_LEAST_ROUNDED_SQUARES = 1e-12  # of squares, whose one step leaves nothing but what rounding costs
_ROUNDED_INTERCEPT = 2.0**-25  # of an intercept that will be rounded: a step below it is not worth a read
_CANCELS = 30.0  # times the tolerance that rounding may cost where large terms of the margins cancel
_EXACT_VALUES = 2**26  # and, with fewer rows than columns, values that are held in float64
_EXACT_WORK = 4e11  # n d^2 up to which Newton's method on all rows is the last resort


class Mode(IntEnum):
    """Which data the inner model reads; higher is slower and safer."""

    PACKED = 0
    PACKED_PLAIN = 1
    FLOAT = 2
    EXACT = 3
    COUPLED = 4


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
        Relative gap ``(F - F*) / max(|F|, 1e-12 F(0))`` to stop at, judged by the Newton decrement with
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
        self._trace: list[Iteration] = []
        self._designs: dict[Mode, Design] = {}
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
        # Not where many steps end each other's errors: what blocks say of classes grows with what is left.
        self._rounds = problem.coef_dtype is np.float32 and tol >= _LEAST_TOL_ROUNDED
        self._rounds &= not (small and problem.loss == "softmax")
        self._evaluator = Evaluator(problem)
        self._at_zero = self._evaluator.objective_at_zero()
        self._scale_floor = LEAST_SCALE * self._at_zero
        self._may_restart = problem.loss != "squared"
        self._is_flat = False  # whether the last Newton step went on for ever, without a penalty to end it

    # ---- the outer loop

    def run(self, start: Coef | None) -> Result:
        if start is None:
            self._metric.build_at_zero()
        else:
            self._may_restart = False
        centre, decrement = self._first_centre(start)
        self._record(centre, decrement)
        status: Status | None = None
        stalls = slow = n_iter = 0
        before = np.inf
        decrement = self._checked_decrement(centre, decrement)
        while True:
            status = self._end(centre, decrement)
            if status is not None or n_iter == self._max_iter:
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
                decrement = self._trusted(centre, decrement)
                status = self._status_at_floor(centre, decrement, stalls)
            # One slow outer step is the coarse data's fault only if the inner loop did what it was asked to.
            elif ((slow and self._inner_done) or slow > 1 or stalls) and not self._climb() and stalls >= 3:
                centre, decrement, status = self._at_the_top(centre, decrement)
                stalls = 0
            if status is not None:
                break
        return self._finish(centre, status or Status.ITERATION_LIMIT, n_iter, decrement)

    def _status_at_floor(self, centre: Evaluation, decrement: float, stalls: int) -> Status | None:
        """Status where the exact objective no longer falls, if the decrement can be trusted to say so."""
        if self._is_enough(centre, decrement):
            return Status.CONVERGED
        return Status.FLOOR if self._at_floor(centre, decrement, stalls) else None

    def _at_the_top(self, centre: Evaluation, decrement: float) -> tuple[Evaluation, float, Status | None]:
        """Where even the last rung makes no progress: enough, or once more from zero, or stalled."""
        decrement = self._trusted(centre, decrement)
        if self._is_enough(centre, decrement):
            return centre, decrement, Status.CONVERGED
        if not self._may_restart:
            return centre, decrement, Status.STALLED
        return *self._at_zero_coefficients(), None

    def _end(self, centre: Evaluation, decrement: float) -> Status | None:
        """Status that a centre ends with, if it does."""
        unpenalised = self.problem.penalty == 0 and self.problem.loss in ("logistic", "softmax")
        if unpenalised and centre.value < _SEPARABLE * self._at_zero and separates(self.problem, centre.phi):
            return Status.SEPARABLE
        if not self._is_converged(centre, decrement):
            return None
        return Status.SEPARABLE if unpenalised and self._is_flat else Status.CONVERGED

    def _is_slow(
        self, previous: Evaluation, centre: Evaluation, decrements: tuple[float, float, float]
    ) -> bool:
        """Whether an outer step fell short of what a step is for, by the last three decrements.

        Where rows switch on and off M's word may go up and down for ever; the objective itself, which is what
        the gap cannot exceed for a piecewise loss, does not.
        """
        earlier, before, now = decrements
        if not self.problem.is_piecewise:  # far from the optimum of separable classes the objective tells
            return now > 0.3 * min(earlier, before) and not centre.value < _FALLEN * previous.value
        fallen, claimed = previous.value - centre.value, min(0.5 * before, previous.value)
        return now > 0.3 * min(earlier, before) or fallen < _LEAST_FALL * claimed

    def _first_centre(self, start: Coef | None) -> tuple[Evaluation, float]:
        """Evaluate the starting point, and its decrement; one that is worse than zero is not used.

        A coarse optimum where margins are so long that nothing curves is worse, too: Newton's method would
        have to walk back all the way, guided by curvatures that tell it nothing.
        """
        centre = self._evaluate(self._warm_start() if start is None else start)
        if not centre.value <= self._at_zero:
            return self._at_zero_coefficients()
        fresh = start is None and not centre.coef.any()  # M was built for zero coefficients
        decrement = self._decrement(centre) if fresh else self._renewed_decrement(centre)
        lost = start is None and centre.coef.any() and not decrement <= _ABSURD * centre.value
        if lost and not self.problem.is_piecewise and self.problem.loss != "squared":
            return self._at_zero_coefficients()
        return centre, decrement

    def _at_zero_coefficients(self) -> tuple[Evaluation, float]:
        """Evaluate at zero, where the curvature of every row can be seen."""
        self._may_restart = False
        centre = self._evaluate(self.problem.zeros())
        return centre, self._renewed_decrement(centre)

    def _renewed_decrement(self, centre: Evaluation) -> float:
        if not self._metric.resample_if_poor(centre):
            self._metric.renew_if_worn(centre)
        return self._decrement(centre)

    def _outer_step(self, centre: Evaluation) -> Evaluation:
        if self._mode >= Mode.EXACT:
            blocks_only = self.problem.loss == "softmax" and self._mode == Mode.EXACT
            (self._metric.renew_if_worn if blocks_only else self._metric.build_at_centre)(centre)
            if self._metric.is_faithful:
                return self._backtrack(centre, self._exact_step(centre))
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
            trial = self._evaluate(centre.coef + z, centre)
            rounding = 4e-16 * abs(centre.value)
            flat = trial.value <= centre.value + rounding and norm(trial.gradient) <= norm(centre.gradient)
            if trial.value <= centre.value + 1e-4 * slope or flat:
                return trial
            z = 0.5 * z
        return centre

    def _checked_decrement(self, centre: Evaluation, decrement: float) -> float:
        """Before a metric's word for convergence is taken, renew it; a rough one must ask the coarse data.

        A row whose curvature has vanished since M was built would make the gap look smaller than it is.
        """
        if not self._is_converged(centre, decrement):
            return decrement
        if self._metric.renew_if_worn(centre):
            decrement = self._decrement(centre)
        return self._trusted(centre, decrement)

    def _trusted(self, centre: Evaluation, decrement: float) -> float:
        """The decrement where M is H, else the larger of M's and the coarse data's; grown by its reach.

        What was added to M to factorise it counts as well.
        """
        eta = self._buffers.eta
        if not self._metric.is_hessian:
            measured = measured_decrement(self.problem, self._design(), self._metric, centre, self._buffers)
            decrement = max(decrement, measured)
        elif self.problem.loss in ("logistic", "softmax"):
            self._design().margins(-self._metric.solve(centre.gradient), eta)
        else:
            eta[:] = 0.0
        decrement += self._metric.hidden(centre.gradient)
        self._is_flat = reach(eta) > _FLAT
        return decrement * growth_within(self.problem.loss, reach(eta))

    def _is_enough(self, centre: Evaluation, decrement: float) -> bool:
        """Whether the gap is as small as was asked for, although Newton's own steps would square it."""
        return 0.0 <= 0.5 * decrement <= self._tol * self._scale(centre)

    def _is_converged(self, centre: Evaluation, decrement: float) -> bool:
        return 0.0 <= decrement <= self._goal(centre)  # below zero there are rounding errors only

    def _goal(self, centre: Evaluation) -> float:
        """Decrement to reach. Newton's own steps square the gap: the last one costs as much as any other."""
        rounded = _LEAST_ROUNDED_SQUARES if self.problem.loss == "squared" else _LEAST_ROUNDED
        exact = max(min(self._tol, self._tol * self._tol), rounded if self._rounds else 1e-16)
        return 2.0 * (exact if self._mode >= Mode.EXACT else self._tol / _SAFETY) * self._scale(centre)

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
        if self.problem.loss == "softmax" and coupled.is_affordable(n, d, self.problem.n_outputs):
            top = Mode.COUPLED
        if self._mode >= top:
            return False
        self._mode = Mode(self._mode + 1)
        if self._mode >= Mode.EXACT:
            self._n_builds += self._metric.n_builds
            rows, whole = everything(self.problem), self._mode == Mode.COUPLED
            self._metric = Metric(self.problem, rows, seed=self._seed, exact=True, coupled=whole)
        return True

    # ---- the inner loop

    def _minimise(self, model: InnerModel, eta: float, max_newton: int, *, enough: float = 0.0) -> Coef:
        """Reduce the model's gradient by `eta`, or its decrement to `enough`, in Newton steps; returns z."""
        target = max(eta * eta * self._metric.squared_norm(model.gradient), enough)
        quadratic = self.problem.loss == "squared"
        for _ in range(max_newton):
            rule = StopRule(
                relative=0.0 if quadratic else _ETA_CG * _ETA_CG,
                absolute=0.25 * target,
                max_iterations=_MAX_CG if self._mode < Mode.EXACT else _MAX_CG_EXACT,
                guard=_GUARD if model.removes_noise else _GUARD_PLAIN,
            )
            step = self._step(model, rule)
            if not step.trusted and (model.removes_noise or self._metric.has_moved):
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
        small = thinned(problem, stride, self._seed)
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
        """What the inner model reads: codes, float rows as they are, at last in float64."""
        found = self._designs.get(self._mode)
        if found is None:
            mode = Mode.PACKED if self._mode < Mode.FLOAT else min(self._mode, Mode.EXACT)
            found = self._designs.get(mode) or self._new_design(mode)
            self._designs[self._mode] = self._designs[mode] = found
        return found

    def _new_design(self, mode: Mode) -> Design:
        source = self.problem.source
        if mode == Mode.EXACT and source.dtype != np.float64:
            source = widened(source)
        return design_of(
            self.problem if mode == Mode.PACKED else replace(self.problem, source=source, packed=None)
        )

    def _noise(self) -> NDArray[np.float64] | None:
        return (
            self.problem.packed.noise
            if self._mode == Mode.PACKED and self.problem.packed is not None
            else None
        )

    def _evaluate(self, coef: Coef, beside: Evaluation | None = None) -> Evaluation:
        return self._evaluator(round_weights(coef) if self._rounds else coef, beside)

    def _decrement(self, centre: Evaluation) -> float:
        return self._metric.squared_norm(centre.gradient)

    def _record(self, centre: Evaluation, decrement: float) -> None:
        read = sum(design.n_passes * design.pass_bytes for design in set(self._designs.values()))
        n, d = self.problem.source.shape
        iteration = Iteration(
            objective=centre.value,
            gradient_norm=norm(centre.gradient),
            gap_estimate=0.5 * decrement,
            seconds=time.perf_counter() - self.started,
            bytes_read=read + self._evaluator.n_passes * n * d * self.problem.source.dtype.itemsize,
            coef=centre.coef.copy() if self._keep_coef else None,
        )
        self._trace.append(iteration)
        if self._report is not None:
            self._report(len(self._trace), iteration)

    def _finish(self, centre: Evaluation, status: Status, n_iter: int, decrement: float) -> Result:
        centre, certificate = certify_at_best_intercept(
            self.problem,
            centre,
            0.5 * decrement,
            self._buffers,
            self._evaluate,
            enough=_ROUNDED_INTERCEPT if self._rounds else 1e-13,
        )
        cancels = certificate.gap_estimate > _CANCELS * self._tol * max(
            abs(centre.value), 1e-6 * self._at_zero
        )
        return Result(
            coef=centre.coef,
            status=Status.FLOOR if status is Status.CONVERGED and cancels else status,
            objective=centre.value,
            gap_estimate=certificate.gap_estimate,
            gap_bound=certificate.gap_bound,
            coef_bound=certificate.coef_bound,
            solver="exact" if self._mode >= Mode.EXACT else "newton",
            n_iter=n_iter,
            trace=tuple(self._trace),
            exact_passes=self._evaluator.n_passes,
            packed_passes=sum(design.n_passes for design in set(self._designs.values())),
            factorisations=self._n_builds + self._metric.n_builds,
            at_zero=self._at_zero,
            intercept_slope=norm(centre.gradient[:, -1].copy()),
        )
