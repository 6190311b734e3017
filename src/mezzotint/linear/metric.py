"""The solver's metric M: which rows it samples, when it is built anew, and when its word counts."""

import numpy as np
from numpy.typing import NDArray

from mezzotint.kernels import ops
from mezzotint.kernels.threads import worthwhile
from mezzotint.linear.coupled import CoupledCurvature, remainders
from mezzotint.linear.design import FloatDesign
from mezzotint.linear.objective import Coef, Evaluation, Problem, dot, fixed_sum
from mezzotint.linear.pcg import NewtonStep
from mezzotint.linear.preconditioner import SampleCurvature
from mezzotint.linear.sample import RowSample, candidate_rows, draw_by_curvature

_WORN = 0.5  # share of its curvature at the last build below which a row makes M worn out
_GROWN = 4.0  # an output's curvature, relative to that at the last build, that makes M worn out
_SWITCHED = 0.3  # the same for piecewise losses: share of an output's curvature that came or went
_EFFECTIVE = 0.6  # effective share of a sample below which it is drawn anew
_FLOPS_PER_BYTE = 2.4  # multiply-adds a core does while it reads a byte


class Metric:
    """M = curvature of sampled float rows at the point where it was last built.

    Parameters
    ----------
    problem : Problem
    sample : RowSample
    seed : int
        For drawing rows anew.
    exact : bool
        The sample is all rows and M the Hessian's diagonal blocks in float64.
    coupled : bool
        The sample is all rows and M the whole Hessian of a multinomial problem.
    """

    def __init__(
        self, problem: Problem, sample: RowSample, *, seed: int, exact: bool, coupled: bool = False
    ) -> None:
        self._problem = problem
        self._seed = seed
        self._exact = exact
        self._coupled = coupled
        self.n_builds = 0
        self._take(sample)

    def _take(self, sample: RowSample) -> None:
        self._sample = sample
        self._design = FloatDesign(sample.source, self._problem.n_threads)
        self._curvature = self._curvature_of(sample)
        self._built_at: NDArray[np.float64] | None = None
        self._fresh_rate = np.inf  # PCG iterations per decade right after a build
        self._just_built = False
        self._solved_for: Coef | None = None
        self._solution = np.zeros((0, 0))
        self.has_moved = False  # whether the solver has moved since the last build

    def _curvature_of(self, sample: RowSample) -> SampleCurvature | CoupledCurvature:
        problem = self._problem
        parts = (sample.source, sample.weights, sample.total, problem.curvatures)
        if self._coupled:
            return CoupledCurvature(*parts, fit_intercept=problem.fit_intercept, n_threads=problem.n_threads)
        return SampleCurvature(
            *parts,
            fit_intercept=problem.fit_intercept,
            held_out=sample.held_out,
            coupled=problem.loss == "softmax",
            exact=self._exact,
            n_threads=problem.n_threads,
        )

    @property
    def is_faithful(self) -> bool:
        """Whether ``g M^-1 g`` can be taken for ``g H^-1 g``: only if M is H.

        A sampled row that is alone in some direction (a rare column) stands for many that are not there,
        blocks know nothing of the curvature between classes, outputs may have to share a block, what makes
        a nearly singular matrix positive definite curves what is flat: gaps seem smaller than they are.
        """
        # Piecewise losses take Newton's own steps however singular: conjugate gradients stop at every kink.
        return self.is_hessian and (self._problem.is_piecewise or self._curvature.is_exact)

    @property
    def is_hessian(self) -> bool:
        """Whether M is H but for what was added to factorise it, see `hidden`."""
        problem = self._problem
        own_blocks = problem.n_blocks <= self._curvature.max_factors and problem.loss != "softmax"
        return self._exact and (own_blocks or self._coupled)

    def solve(self, r: Coef) -> Coef:
        """Return ``M^-1 r``; the last one is remembered: decrements are asked for before steps."""
        if r is not self._solved_for:
            self._solution, self._solved_for = self._curvature.solve(r), r
        return self._solution

    def hidden(self, gradient: Coef) -> float:
        """What of ``g H^-1 g`` the curvature may hide that made M positive definite; 0 if M is exact."""
        if not self._exact or self._curvature.is_exact:
            return 0.0
        return self._curvature.hidden(self.solve(gradient), self._problem.curvatures)

    def squared_norm(self, gradient: Coef) -> float:
        """Return ``g M^-1 g``, twice an estimate of the gap."""
        return dot(gradient, self.solve(gradient))

    def build_at_zero(self) -> None:
        """Build M for zero coefficients."""
        index = self._sample.index
        self._build(self._at(index, np.zeros((self._problem.n_outputs, len(index)))))

    def build_at(self, coef: Coef) -> None:
        """Build M for the curvatures at some coefficients."""
        margins = np.empty((self._problem.n_outputs, len(self._sample.index)), np.float32)
        self._design.margins(coef, margins)
        self._build(self._at(self._sample.index, margins.astype(np.float64)))

    def build_at_centre(self, centre: Evaluation) -> None:
        """Build M for the curvatures at an exact centre, whose margins are known."""
        self._build(self._sampled(centre))

    def renew_if_worn(self, centre: Evaluation) -> bool:
        """Build anew if some sampled row has lost much of the curvature it had at the last build."""
        if self._problem.loss == "squared" and self._built_at is not None:
            return False  # curvatures of squares stay what they are
        curvature = self._sampled(centre)
        worn = self._built_at is None or self._is_worn(curvature, self._built_at)
        if worn:
            self._build(curvature)
        return worn

    def _is_worn(self, now: NDArray[np.float64], before: NDArray[np.float64]) -> bool:
        """Whether M no longer stands for the curvatures of the sampled rows: some are lost, or most are new.

        Rows of a piecewise loss switch on and off all the time: one row says nothing, the share of them does.
        """
        piecewise = self._problem.is_piecewise
        if (piecewise or self._coupled) and self.is_faithful:  # it is the Hessian or it is not
            return not np.array_equal(now, before)
        if not piecewise and (now < _WORN * before).any():
            return True
        weights = self._sample.weights
        if not piecewise:
            return any(dot(a, weights) > _GROWN * dot(b, weights) for a, b in zip(now, before, strict=True))
        switched = [dot(row, weights) for row in np.abs(now - before)]
        return any(s > _SWITCHED * dot(row, weights) for s, row in zip(switched, before, strict=True))

    def renew_if_slow(self, step: NewtonStep, coef: Coef, pass_bytes: int) -> None:
        """Build anew when the extra iterations that M's age costs outweigh a build."""
        if self._just_built:
            self._just_built, self._fresh_rate = False, step.per_decade
        extra = step.per_decade - self._fresh_rate
        gain = 3 * extra * _FLOPS_PER_BYTE * pass_bytes * self._problem.n_outputs
        cost = self._curvature.build_cost * (1 if self._built_at is None else len(self._built_at))
        if extra > 0.5 * self._fresh_rate and gain > cost:
            self.build_at(coef)

    def resample_if_poor(self, centre: Evaluation) -> bool:
        """Draw the rows anew by curvature if only a small part of them curves the objective here."""
        n_sample, d = self._sample.source.shape
        if self._sample.is_everything or n_sample < 2 * d:
            return False
        omega = self._sampled(centre).sum(axis=0) * self._sample.weights
        total = fixed_sum(omega)
        effective = total * total / max(dot(omega, omega), 1e-300)
        if effective > _EFFECTIVE * n_sample:
            return False
        candidates = candidate_rows(self._problem, self._seed)
        curvature = self._at(candidates, centre.phi[:, candidates]).sum(axis=0)
        if not curvature.any():
            return False
        del self._sample, self._design, self._curvature  # their memory serves the new sample
        self._take(draw_by_curvature(self._problem, candidates, curvature, n_sample, self._seed))
        self.build_at_centre(centre)
        return True

    def _build(self, curvature: NDArray[np.float64]) -> None:
        if self._built_at is not None and np.array_equal(curvature, self._built_at):
            return
        self.n_builds += self._curvature.build(curvature)
        self._built_at = curvature
        self._solved_for = None
        self._just_built = True
        self.has_moved = False

    def _sampled(self, centre: Evaluation) -> NDArray[np.float64]:
        """Diagonal curvatures l'' of the sampled rows, shape (1 or K, S)."""
        index = self._sample.index
        return self._at(index, centre.phi if self._sample.is_everything else centre.phi[:, index])

    def _labels(self, index: NDArray[np.int64]) -> NDArray[np.float64]:
        y = self._problem.y
        return y if len(index) == y.shape[1] else np.ascontiguousarray(y[:, index])

    def _at(self, index: NDArray[np.int64], margins: NDArray[np.float64]) -> NDArray[np.float64]:
        """Diagonal curvatures l'' (softmax: p (1 - p), or p if M is coupled) of rows at their margins."""
        second = np.empty((self._problem.n_blocks, len(index)), np.float32)
        ops().curvature_rows(
            self._problem.loss,
            np.ascontiguousarray(margins),
            None,
            self._labels(index),
            None,
            c=None,
            second=second,
            n_threads=worthwhile(self._problem.n_threads, 64 * margins.size),
        )
        values = second.astype(np.float64)
        if self._problem.loss != "softmax" or self._coupled:
            return values
        return values * remainders(values)
