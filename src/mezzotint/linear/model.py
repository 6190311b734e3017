"""The model that inner loops minimise: the loss of coarse data, with an exact gradient at the centre.

Around an exact centre with margins phi and gradient g,

    Fq(z) = (1/S) sum_i s_i [ l(phi_i + z.xq_i) - l'(phi_i) z.xq_i ]  +  g.z  +  (lam/2) |z|^2  -  (1/2) z.R z

reads only coarse samples xq, yet grad Fq(0) = g: where it stops moving, the float problem is solved.
R is the curvature that rounding noise alone adds (its expectation), removed again.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mezzotint.kernels import ops
from mezzotint.linear.design import Coef, Design, RowArray
from mezzotint.linear.objective import Evaluation, Problem, dot, fixed_sum
from mezzotint.linear.pcg import line_search

_FARTHEST = (
    64.0  # change of a margin that a search begins with: logistic losses are straight lines long before
)
_AVERAGED_ROWS = 2**14  # whose probabilities are held in float64 at a time
_PRECISE: dict[str, Any] = {"left": 1e-3, "most": 60}  # line search of a piecewise loss


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

    def lengths(self, v: Coef, wide: NDArray[np.float64] | None = None) -> Coef:
        """How far to go along v, shape (1, 1) or (K, 1). Touches margins only.

        The margins of v are in `eta`. From the centre they may be given as float64 (`wide`): near singular
        curvature makes v so long that its margins cancel, and a short way along it needs their last digits.

        Outputs of a piecewise loss know nothing of each other: each goes as far as suits it, and nearly to
        the least value on its way, because a step that is too long switches many rows on and off.
        """
        if wide is not None:
            self.buffers.eta[:] = wide
            self.buffers.scratch[:] = wide - self.buffers.eta
        if not self._problem.is_piecewise:
            first = min(1.0, _FARTHEST / max(reach(self.buffers.eta), _FARTHEST))
            return np.array([[self._length(v, slice(None), self._problem.y, first=first)]])
        parts = [slice(k, k + 1) for k in range(self._problem.n_outputs)]
        two_parts, labels = wide is not None, self._problem.labels_of
        return np.array([[self._length(v, p, labels(p.start), two_parts, **_PRECISE)] for p in parts])

    def _length(
        self,
        v: Coef,
        part: slice,
        y: NDArray[np.float64],
        two_parts: bool = False,
        **precision: Any,  # noqa: ANN401
    ) -> float:
        """Length for some outputs; with `two_parts` the margins of v are those in `eta` plus `scratch`."""
        v_part, psi, eta = v[part], self.buffers.psi[part], self.buffers.eta[part]
        linear = dot(self._centre.gradient[part], v_part) + dot(self._regulariser(self.z)[part], v_part)
        bend = dot(self._regulariser(v)[part], v_part)
        loss, phi = self._problem.loss, self._centre.phi[part]
        weights, total = self._problem.weights, self._problem.total_weight
        rest = self.buffers.scratch[part]

        def slope(t: float) -> float:
            """The model's derivative by t."""
            offset = np.float32(t) * rest if two_parts else psi
            data = ops().line_slope(loss, phi, offset, eta, t, y, weights, n_threads=self._threads)
            return float(data) / total + linear + t * bend

        return line_search(slope, dot(self.gradient[part], v_part), **precision)

    def jump(self, v: Coef, t: Coef) -> None:
        """Move to ``z + t v`` for good: gradient and curvatures are left behind."""
        self.z = self.z + t * v

    def advance(self, v: Coef, t: Coef) -> None:
        """Move to ``z + t v``; the gradient costs one read of the samples."""
        self.z = self.z + t * v
        psi, eta, change = self.buffers.psi, self.buffers.eta, self.buffers.scratch
        eta *= t.astype(np.float32)
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


def reach(margins: RowArray) -> float:
    """Largest change of a margin."""
    return max(float(margins.max()), -float(margins.min()))


def average_curvature(problem: Problem, second: RowArray) -> NDArray[np.float64]:
    """Average of ``s_i d2l/dm2`` over all rows, shape (K, K)."""
    k = problem.n_outputs
    if problem.loss == "squared":
        return np.eye(k)
    if problem.loss != "softmax":
        means = np.array([fixed_sum(row) for row in second]) / problem.total_weight
        return np.diag(means if len(means) == k else np.repeat(means, k))
    return _average_softmax_curvature(problem, second) / problem.total_weight


def _average_softmax_curvature(problem: Problem, second: RowArray) -> NDArray[np.float64]:
    """``sum_i s_i (diag(p_i) - p_i p_i^T)``, in a fixed order."""
    products, means = np.zeros((1, len(second), len(second))), np.zeros(len(second))
    for start in range(0, problem.n_rows, _AVERAGED_ROWS):
        part = slice(start, start + _AVERAGED_ROWS)
        p = np.ascontiguousarray(second[:, part].T, dtype=np.float64)
        weights = np.ones(len(p)) if problem.weights is None else problem.weights[part]
        ops().add_grams(products, p, weights[None], n_threads=1)
        means += np.array([dot(np.ascontiguousarray(column), weights) for column in p.T])
    out: NDArray[np.float64] = np.diag(means) - products[0]
    return out
