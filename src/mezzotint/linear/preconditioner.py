"""Curvature of a row sample, factorised: the preconditioner of Newton-PCG.

M = A^T Omega A / sum(s) + rho I over the sampled rows A, with the intercept as an unpenalised column of
ones that is eliminated in block form. Rows are never rounded here, which makes M the reference that
curvature from rounded data is checked against.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mezzotint.kernels import ops, segment_bounds
from mezzotint.linear.objective import Coef, dot, fixed_sum

_FLOAT64_BELOW = 512  # columns up to which the factor is kept in float64
_JITTER = {np.dtype(np.float32): 1e-6, np.dtype(np.float64): 1e-13}  # on a unit diagonal


class SampleCurvature:
    """Preconditioner from a row sample; `build` it for the current curvatures, then `solve`.

    Parameters
    ----------
    rows : ndarray of shape (S, d), float32 or float64
        Sampled rows.
    weights : ndarray of float64, shape (S,)
        Their sample weights.
    penalty : float
        lam.
    fit_intercept : bool
        Rows are centred, so that the intercept decouples from large column means.
    held_out : ndarray of shape (h, d) or None
        Further rows; with fewer sampled rows than columns they measure the energy outside the sample's span.
    exact : bool
        The sample is all rows: M is the Hessian itself and is factorised in float64.
    n_threads : int
        Threads.
    """

    def __init__(
        self,
        rows: NDArray[Any],
        weights: NDArray[np.float64],
        penalty: float,
        *,
        fit_intercept: bool,
        held_out: NDArray[Any] | None,
        exact: bool,
        n_threads: int,
    ) -> None:
        self._threads = n_threads
        self._intercept = fit_intercept
        self._total = fixed_sum(weights)
        self._penalty = penalty
        wide = rows.shape[1] > rows.shape[0]
        dtype = np.float64 if exact or min(rows.shape) <= _FLOAT64_BELOW else np.float32
        self._mean = _weighted_mean(rows, weights) if fit_intercept else np.zeros(rows.shape[1])
        centred = np.ascontiguousarray(rows - self._mean, dtype=dtype)
        self._factor: _Cholesky | _Woodbury
        if wide:
            held = None if held_out is None or exact else np.ascontiguousarray(held_out - self._mean, dtype=dtype)
            self._factor = _Woodbury(centred, penalty, held, n_threads)
        else:
            self._factor = _Cholesky(centred, penalty, n_threads)
        # Whether g M^-1 g can be taken for g H^-1 g: one output, and a sample that sees every direction well.
        self._samples_well = exact or rows.shape[0] >= 3 * rows.shape[1]
        self.is_faithful = False
        self.n_builds = 0
        self.build_cost = _build_cost(*rows.shape)
        self._class_scale = np.ones(1)
        self._beta = 1.0
        self._m = np.zeros(rows.shape[1])

    def build(self, curvature: NDArray[np.float64], weights: NDArray[np.float64]) -> None:
        """Factorise for pointwise curvatures.

        Parameters
        ----------
        curvature : ndarray of float64, shape (K, S)
            Diagonal curvature l'' (softmax: p (1 - p)) of every output at the sampled rows. One factor is
            shared; each output is rescaled by its mean curvature relative to the average.
        weights : ndarray of float64, shape (S,)
            Sample weights.
        """
        self.n_builds += 1
        self.is_faithful = self._samples_well and len(curvature) == 1
        per_class = np.array([dot(row, weights) for row in curvature])
        scale = per_class / (per_class.sum() / len(per_class))
        self._class_scale = np.maximum(scale, 1e-3)
        omega = curvature.sum(axis=0) * weights * (1.0 / (len(curvature) * self._total))
        self._beta = max(fixed_sum(omega), 1e-300)
        self._m = self._factor.build(omega, self._beta if self._intercept else None)

    def solve(self, r: Coef) -> Coef:
        """Return ``M^-1 r`` for r of shape (K, d + 1), block elimination of the intercept included."""
        out = np.zeros_like(r)
        r = r / self._class_scale[:, None]
        if not self._intercept:
            out[:, :-1] = self._factor.solve(np.ascontiguousarray(r[:, :-1]))
            return out
        r0 = r[:, -1:]
        u = self._factor.solve(np.ascontiguousarray(r[:, :-1] - (self._mean + self._m / self._beta) * r0))
        out[:, :-1] = u
        shift = self._mean + self._m / self._beta
        out[:, -1] = r0[:, 0] / self._beta - np.array([dot(shift, row) for row in u])
        return out


def _weighted_mean(rows: NDArray[Any], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    mean: NDArray[np.float64] = (rows * weights[:, None]).sum(axis=0, dtype=np.float64) / fixed_sum(weights)
    return mean


def _build_cost(n_sample: int, n_columns: int) -> float:
    """Multiply-adds of one build."""
    if n_sample < n_columns:
        return n_sample**3 / 3
    return n_sample * n_columns**2 / 2 + n_columns**3 / 3


def _cholesky_with_jitter(m: NDArray[Any], n_threads: int) -> NDArray[Any]:
    """Factor a symmetric matrix with unit-size diagonal, adding more to it until it is positive definite."""
    jitter = _JITTER[m.dtype]
    diagonal = np.diag_indices_from(m)
    while True:
        factor = m.copy()
        factor[diagonal] += m.dtype.type(jitter)
        if ops().cholesky(factor, n_threads=n_threads) < 0:
            return factor
        jitter *= 10


class _Cholesky:
    """Factor of G = A^T Omega A - m m^T / beta + lam I, scaled to unit diagonal (float32 is then enough)."""

    def __init__(self, rows: NDArray[Any], penalty: float, n_threads: int) -> None:
        self._rows = rows
        self._penalty = penalty
        self._threads = n_threads
        self._bounds = segment_bounds(*rows.shape)
        self._all = (0, len(self._bounds) - 1)
        self._l: NDArray[Any] = np.eye(1)
        self._j: NDArray[np.float64] = np.ones(1)

    def build(self, omega: NDArray[np.float64], beta: float | None) -> NDArray[np.float64]:
        g = ops().gram(self._rows, omega, n_threads=self._threads)
        m = np.zeros(g.shape[0])
        if beta is not None:
            m = _weighted_sum(self._rows, omega, self._bounds, self._threads)
            g -= np.multiply.outer(m, m / beta).astype(g.dtype)
        diagonal = np.diag_indices_from(g)
        g[diagonal] += g.dtype.type(self._penalty)
        self._j = 1.0 / np.sqrt(np.maximum(g[diagonal].astype(np.float64), 1e-30))
        scale = self._j.astype(g.dtype)
        g *= scale
        g *= scale[:, None]
        self._l = _cholesky_with_jitter(g, self._threads)
        return m

    def solve(self, r: Coef) -> Coef:
        x: Coef = ops().cholesky_solve(self._l, r * self._j)
        return x * self._j


class _Woodbury:
    """M = B^T B + rho I with fewer rows than columns; K = A A^T is kept, so a rebuild costs S^3 / 3.

    B = P E A with E = sqrt(Omega) and, with an intercept, P the projection that removes sqrt(omega).
    rho = lam + energy of held-out rows outside the span of A, spread over min(S, d - S) directions.
    """

    def __init__(self, rows: NDArray[Any], penalty: float, held: NDArray[Any] | None, n_threads: int) -> None:
        self._rows = rows
        self._penalty = penalty
        self._threads = n_threads
        self._bounds = segment_bounds(*rows.shape)
        self._all = (0, len(self._bounds) - 1)
        self._k = ops().gram(np.ascontiguousarray(rows.T), None, n_threads=n_threads)
        self._energy = 0.0 if held is None else _energy_outside(rows, held, self._k, n_threads)
        self._rho = penalty
        self._root: NDArray[np.float64] = np.ones(1)
        self._unit: NDArray[np.float64] | None = None
        self._l: NDArray[Any] = np.eye(1)
        self._j: NDArray[np.float64] = np.ones(1)

    def build(self, omega: NDArray[np.float64], beta: float | None) -> NDArray[np.float64]:
        self._root = np.sqrt(omega)
        self._unit = None if beta is None else self._root / np.sqrt(beta)
        self._rho = self._penalty + self._energy * fixed_sum(omega)
        e = self._root.astype(self._k.dtype)
        inner = self._k * e * e[:, None]
        if self._unit is not None:
            inner = _project_both_sides(inner, self._unit)
        diagonal = np.diag_indices_from(inner)
        largest = float(inner[diagonal].max())
        inner[diagonal] += inner.dtype.type(max(self._rho, 1e-7 * largest * (inner.dtype == np.float32)))
        self._j = 1.0 / np.sqrt(inner[diagonal].astype(np.float64))
        scale = self._j.astype(inner.dtype)
        self._l = _cholesky_with_jitter(inner * scale * scale[:, None], self._threads)
        return np.zeros(0) if beta is None else _weighted_sum(self._rows, omega, self._bounds, self._threads)

    def solve(self, r: Coef) -> Coef:
        t = self._project(self._root * self._times_rows(r))
        t = self._j * ops().cholesky_solve(self._l, self._j * t)
        back = self._transposed(self._root * self._project(t))
        result: Coef = (r - back) / self._rho
        return result

    def _project(self, t: NDArray[np.float64]) -> NDArray[np.float64]:
        if self._unit is None:
            return t
        return np.stack([row - dot(row, self._unit) * self._unit for row in t])

    def _times_rows(self, r: Coef) -> NDArray[np.float64]:
        out = np.empty((len(r), len(self._rows)), dtype=np.float32)
        padded = np.concatenate([r, np.zeros((len(r), 1))], axis=1)
        ops().float_margins(self._rows, self._bounds, self._all, padded, out, n_threads=self._threads)
        return out.astype(np.float64)

    def _transposed(self, c: NDArray[np.float64]) -> Coef:
        partials = ops().float_gradient(self._rows, self._bounds, self._all, c.astype(np.float32), n_threads=self._threads)
        total: Coef = ops().tree_sum(partials)
        return total[:, :-1]


def _weighted_sum(
    rows: NDArray[Any], omega: NDArray[np.float64], bounds: NDArray[np.int64], n_threads: int
) -> NDArray[np.float64]:
    """Return ``A^T omega`` in a fixed order."""
    partials = ops().float_gradient(rows, bounds, (0, len(bounds) - 1), omega[None].astype(np.float32), n_threads=n_threads)
    total: NDArray[np.float64] = ops().tree_sum(partials)[0, :-1]
    return total


def _project_both_sides(k: NDArray[Any], unit: NDArray[np.float64]) -> NDArray[Any]:
    """Return ``P k P`` for ``P = I - unit unit^T``, symmetric k; sums run in a fixed order."""
    u = unit.astype(k.dtype)
    ku = (k * u[:, None]).sum(axis=0)
    uku = k.dtype.type(dot(ku.astype(np.float64), unit))
    out: NDArray[Any] = k - np.multiply.outer(ku, u) - np.multiply.outer(u, ku) + uku * np.multiply.outer(u, u)
    return out


def _energy_outside(rows: NDArray[Any], held: NDArray[Any], k: NDArray[Any], n_threads: int) -> float:
    """Mean squared distance of held-out rows from the span of the sample, per missing direction."""
    n_sample, d = rows.shape
    cross = np.empty((len(held), n_sample), dtype=np.float32)
    padded = np.concatenate([held.astype(np.float64), np.zeros((len(held), 1))], axis=1)
    ops().float_margins(rows, segment_bounds(*rows.shape), (0, len(segment_bounds(*rows.shape)) - 1), padded, cross, n_threads=n_threads)
    m = k.copy()
    diagonal = np.diag_indices_from(m)
    m[diagonal] += m.dtype.type(1e-5) * m[diagonal].sum() / m.dtype.type(n_sample)
    largest = float(m[diagonal].max()) or 1.0
    inside = ops().cholesky_solve(_cholesky_with_jitter(m / m.dtype.type(largest), n_threads), cross.astype(np.float64) / largest)
    energies = [max(dot(h, h) - dot(c, s), 0.0) for h, c, s in zip(held.astype(np.float64), cross.astype(np.float64), inside, strict=True)]
    return float(np.mean(energies)) / max(1, min(n_sample, d - n_sample))
