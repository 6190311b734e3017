"""The model that inner loops minimise: the loss of coarse data, with an exact gradient at the centre.

Around an exact centre with margins phi and gradient g,

    Fq(z) = (1/S) sum_i s_i [ l(phi_i + z.xq_i) - l'(phi_i) z.xq_i ]  +  g.z  +  (lam/2) |z|^2  -  (1/2) z.R z

reads only coarse samples xq, yet grad Fq(0) = g: where it stops moving, the float problem is solved.
R is the curvature that rounding noise alone adds (its expectation), removed again.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mezzotint.kernels import ops
from mezzotint.linear.design import Coef, Design, RowArray
from mezzotint.linear.objective import Evaluation, Problem, dot, fixed_sum


@dataclass(frozen=True, eq=False)
class RowBuffers:
    """Float32 arrays of one value per row and output, allocated once per fit.

    psi holds the margins of the offset z, eta those of a Newton direction, scratch those of a search
    direction or the change of l', second the curvatures (softmax: probabilities).
    """

    psi: RowArray
    eta: RowArray
    scratch: RowArray
    second: RowArray
    row_weights: RowArray | None  # softmax only: sample weights, shape (1, n)

    @staticmethod
    def of(problem: Problem) -> "RowBuffers":
        """Allocate for a problem."""
        shape = problem.n_outputs, problem.n_rows
        softmax = problem.loss == "softmax"
        return RowBuffers(
            psi=np.empty(shape, np.float32),
            eta=np.empty(shape, np.float32),
            scratch=np.empty(shape, np.float32),
            second=np.empty((problem.n_blocks, problem.n_rows), np.float32),
            row_weights=_row_weights(problem) if softmax else None,
        )


def _row_weights(problem: Problem) -> RowArray:
    """Sample weights as the softmax products take them, shape (1, n)."""
    if problem.weights is None:
        return np.ones((1, problem.n_rows), np.float32)
    return problem.weights[None].astype(np.float32)


class InnerModel:
    """Fq at one centre, and the offset z reached so far.

    Parameters
    ----------
    problem : Problem
    design : Design
        The coarse samples (or the float rows: then Fq is F).
    centre : Evaluation
        Exact margins and gradient.
    buffers : RowBuffers
        Overwritten.
    noise : ndarray of float64, shape (d,), or None
        Mean squared rounding error per column to be removed from the curvature.
    """

    def __init__(
        self,
        problem: Problem,
        design: Design,
        centre: Evaluation,
        buffers: RowBuffers,
        noise: NDArray[np.float64] | None,
    ) -> None:
        self._problem = problem
        self._design = design
        self._centre = centre
        self.buffers = buffers
        self._noise = noise
        self.reset()

    def reset(self, *, keep_noise: bool = True) -> None:
        """Return to the centre, z = 0."""
        if not keep_noise:
            self._noise = None
        self.z = np.zeros_like(self._centre.coef)
        self.gradient = self._centre.gradient
        self.buffers.psi[:] = 0
        self._update_rows(None)
        self._mean_curvature = (
            average_curvature(self._problem, self.buffers.second) if self._noise is not None else None
        )

    def hessian_product(self, p: Coef, margins: RowArray) -> Coef:
        """Return ``H p`` at the current z and leave ``Xq p`` in `margins`; one read of the samples."""
        weights, probabilities = self._curvature_arguments()
        product = self._design.curvature(p, weights, probabilities, margins) / self._problem.total_weight
        return self._free(product + self._regulariser(p))

    def slope_along(self, v: Coef, t: float) -> float:
        """Return ``d Fq(z + t v) / dt``; `eta` holds the margins of v. Touches margins only."""
        data = ops().line_slope(
            *self._row_arguments(),
            self.buffers.psi,
            self.buffers.eta,
            t,
            *self._labels(),
            n_threads=self._threads,
        )
        linear = dot(self._centre.gradient, v) + dot(self._regulariser(self.z), v)
        return float(data) / self._problem.total_weight + linear + t * dot(self._regulariser(v), v)

    def jump(self, v: Coef, t: float) -> None:
        """Move to ``z + t v`` for good: gradient and curvatures are left behind."""
        self.z = self.z + t * v

    def advance(self, v: Coef, t: float) -> None:
        """Move to ``z + t v``; the gradient costs one read of the samples."""
        self.z = self.z + t * v
        psi, eta, change = self.buffers.psi, self.buffers.eta, self.buffers.scratch
        eta *= np.float32(t)
        psi += eta
        self._update_rows(change)
        data = self._design.gradient(change) / self._problem.total_weight
        self.gradient = self._free(self._centre.gradient + self._regulariser(self.z) + data)

    @property
    def removes_noise(self) -> bool:
        """Whether the curvature of rounding noise is subtracted."""
        return self._noise is not None

    @property
    def point(self) -> Coef:
        """Coefficients reached: centre plus offset."""
        return self._centre.coef + self.z

    @property
    def pass_bytes(self) -> int:
        """Bytes of samples that one product reads."""
        return self._design.pass_bytes

    @property
    def _threads(self) -> int:
        return self._problem.row_threads

    def _row_arguments(self) -> tuple[str, NDArray[np.float64]]:
        return self._problem.loss, self._centre.phi

    def _labels(self) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        return self._problem.y, self._problem.weights

    def _update_rows(self, change: RowArray | None) -> None:
        ops().curvature_rows(
            *self._row_arguments(),
            None if change is None else self.buffers.psi,
            *self._labels(),
            c=change,
            second=self.buffers.second,
            n_threads=self._threads,
        )

    def _curvature_arguments(self) -> tuple[RowArray, RowArray | None]:
        if self.buffers.row_weights is not None:
            return self.buffers.row_weights, self.buffers.second
        return self.buffers.second, None

    def _regulariser(self, v: Coef) -> Coef:
        """Return ``(lam - R) v``."""
        out = self._problem.penalised(v)
        if self._noise is not None and self._mean_curvature is not None:
            mixed = (self._mean_curvature[:, :, None] * v[None, :, :-1]).sum(axis=1)
            out[:, :-1] -= mixed * self._noise
        return out

    def _free(self, gradient: Coef) -> Coef:
        """Without an intercept its column stays zero; softmax gradients sum to zero over the classes."""
        if not self._problem.fit_intercept:
            gradient[:, -1] = 0.0
        return gradient


def average_curvature(problem: Problem, second: RowArray) -> NDArray[np.float64]:
    """Average of ``s_i d2l/dm2`` over the rows, shape (K, K).

    Of smooth losses a spread of at most 4096 rows speaks for all; of piecewise ones few rows curve.
    """
    if problem.is_piecewise:
        return np.diag([fixed_sum(row) for row in second]) / problem.total_weight
    n = problem.n_rows
    count = min(n, 4096)
    index = np.arange(count) * n // count
    weights = np.ones(len(index)) if problem.weights is None else problem.weights[index]
    total = max(float(weights.sum()), 1e-300)
    if problem.loss != "softmax":
        mean = float(second[0, index].astype(np.float64).sum()) / total
        return np.eye(problem.n_outputs) * mean
    p = second[:, index].astype(np.float64)
    weighted = p * (weights / total)
    out = np.stack([-(weighted * row).sum(axis=1) for row in p])
    out[np.diag_indices_from(out)] += weighted.sum(axis=1)
    return out
