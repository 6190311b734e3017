"""Curvature of a row sample, factorised: the preconditioner of Newton-PCG.

M = A^T Omega A / sum(s) + rho I over the sampled rows A, with the intercept as an unpenalised column of
ones that is eliminated in block form. Rows are never rounded here, which makes M the reference that
curvature from rounded data is checked against.
"""

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mezzotint.kernels import ops, segment_bounds
from mezzotint.linear.objective import Coef, dot, fixed_sum
from mezzotint.packed import Source

_FLOAT64_BELOW = 256  # columns up to which the factor is kept in float64
_JITTER = {np.dtype(np.float32): 1e-6, np.dtype(np.float64): 1e-13}  # on a unit diagonal
_CHUNK_VALUES = 2**22  # centred at a time
_MAX_FACTOR_VALUES = 2**26  # over all outputs; beyond it outputs share factors


class SampleCurvature:
    """Preconditioner from a row sample; `build` it for the current curvatures, then `solve`.

    It is block-diagonal over the outputs. Outputs of equal curvature (several targets of least squares)
    share one factor; classes have one each, or share them in groups where memory would not suffice.

    Parameters
    ----------
    source : Source
        Sampled rows, shape (S, d).
    weights : ndarray of float64, shape (S,)
        Their sample weights.
    total : float
        What sums over the sample are divided by.
    penalty : float
        lam.
    fit_intercept : bool
        Rows are centred, so that the intercept decouples from large column means.
    held_out : ndarray of shape (h, d) or None
        Further rows; with fewer sampled rows than columns they measure the energy outside the sample's span.
    exact : bool
        The sample is all rows: M holds the Hessian's diagonal blocks themselves, factorised in float64.
    n_threads : int
        Threads.
    """

    def __init__(
        self,
        source: Source,
        weights: NDArray[np.float64],
        total: float,
        penalty: float,
        *,
        fit_intercept: bool,
        held_out: NDArray[Any] | None,
        exact: bool,
        n_threads: int,
    ) -> None:
        self._weights = weights
        self._total = total
        self._mean = _weighted_mean(source, weights) if fit_intercept else None
        shape = source.shape
        dtype = np.dtype(np.float64 if exact or min(shape) <= _FLOAT64_BELOW else np.float32)
        self._gram: _Gram
        if shape[0] < shape[1]:
            held = None if held_out is None or exact else _centre(held_out, self._mean, dtype)
            centred = _centre(source.block(0, shape[0]), self._mean, dtype)
            self._gram = _WoodburyGram(centred, penalty, held, n_threads)
        else:
            self._gram = _CholeskyGram(
                _Centred(source, self._mean, dtype, keep=not exact), penalty, n_threads
            )
        self._blocks: list[_Block] = []
        self._group = np.zeros(1, dtype=np.int64)
        self._relative = np.ones(1)
        self._max_factors = max(1, _MAX_FACTOR_VALUES // min(shape) ** 2)
        self.build_cost = _build_cost(*shape)

    def build(self, curvature: NDArray[np.float64]) -> int:
        """Factorise for pointwise curvatures; returns the number of factorisations.

        Parameters
        ----------
        curvature : ndarray of float64, shape (1, S) or (K, S)
            Diagonal curvature l'' (softmax: p (1 - p)) of the sampled rows, shared by the outputs or not.
        """
        n_groups = min(len(curvature), self._max_factors)
        self._group = np.arange(len(curvature)) * n_groups // len(curvature)
        omega = curvature * (self._weights / self._total)
        means = np.array([fixed_sum(row) for row in omega])
        self._blocks = []
        self._relative = np.ones(len(curvature))
        for group in range(n_groups):
            members = np.flatnonzero(self._group == group)
            shared = omega[members].sum(axis=0) / len(members)
            self._blocks.append(_Block(self._gram, shared, self._mean))
            self._relative[members] = np.maximum(means[members] / max(fixed_sum(shared), 1e-300), 1e-3)
        return n_groups

    def solve(self, r: Coef) -> Coef:
        """Return ``M^-1 r`` for r of shape (K, d + 1), block elimination of the intercept included."""
        if len(self._group) == 1:
            return self._blocks[0].solve(r)
        out = np.empty_like(r)
        for group, block in enumerate(self._blocks):
            members = self._group == group
            out[members] = block.solve(np.ascontiguousarray(r[members])) / self._relative[members, None]
        # Classes shifted together leave the loss as it is: a null direction that the blocks do not know of.
        out -= out.sum(axis=0) / len(out)
        return out


class _Gram(Protocol):
    """Solves with ``A^T Omega A - m m^T / beta + rho I`` (the intercept eliminated if beta is given)."""

    def factor(self, omega: NDArray[np.float64], beta: float | None) -> "_Factor": ...


class _Factor(Protocol):
    """A factor and ``m = A^T omega``."""

    m: NDArray[np.float64]

    def solve(self, r: Coef) -> Coef: ...


class _Block:
    """The factor of one group of outputs, bordered by the unpenalised intercept."""

    def __init__(self, gram: _Gram, omega: NDArray[np.float64], mean: NDArray[np.float64] | None) -> None:
        self._beta = max(fixed_sum(omega), 1e-300) if mean is not None else None
        self._factor = gram.factor(omega, self._beta)
        # Column of the intercept in the coordinates of the caller, whose rows are not centred.
        self._shift = None if mean is None or self._beta is None else mean + self._factor.m / self._beta

    def solve(self, r: Coef) -> Coef:
        out = np.zeros_like(r)
        if self._shift is None or self._beta is None:
            out[:, :-1] = self._factor.solve(np.ascontiguousarray(r[:, :-1]))
            return out
        u = self._factor.solve(r[:, :-1] - self._shift * r[:, -1:])
        out[:, :-1] = u
        out[:, -1] = r[:, -1] / self._beta - np.array(
            [dot(self._shift, np.ascontiguousarray(row)) for row in u]
        )
        return out


def _centre(rows: NDArray[Any], mean: NDArray[np.float64] | None, dtype: np.dtype[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(rows if mean is None else rows - mean, dtype=dtype)


class _Centred:
    """Centred rows of a source, kept if asked to, else made anew chunk by chunk (all rows may be many)."""

    def __init__(
        self, source: Source, mean: NDArray[np.float64] | None, dtype: np.dtype[Any], *, keep: bool
    ) -> None:
        self._source, self._mean, self._dtype = source, mean, dtype
        self._whole = _centre(source.block(0, source.shape[0]), mean, dtype) if keep else None

    def __iter__(self) -> Iterator[tuple[slice, NDArray[Any]]]:
        n, d = self._source.shape
        if self._whole is not None:
            yield slice(0, n), self._whole
            return
        step = max(1, _CHUNK_VALUES // d)
        for start in range(0, n, step):
            part = slice(start, min(n, start + step))
            yield part, _centre(self._source.block(part.start, part.stop), self._mean, self._dtype)


def _weighted_mean(source: Source, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    n, d = source.shape
    total, step = np.zeros(d), max(1, _CHUNK_VALUES // d)
    for start in range(0, n, step):
        rows = source.block(start, min(n, start + step))
        total += (rows * weights[start : start + step, None]).sum(axis=0, dtype=np.float64)
    mean: NDArray[np.float64] = total / fixed_sum(weights)
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


class _CholeskyGram:
    """At least as many rows as columns: G = A^T Omega A - m m^T / beta + lam I, d x d."""

    def __init__(self, rows: _Centred, penalty: float, n_threads: int) -> None:
        self._rows = rows
        self._penalty = penalty
        self._threads = n_threads

    def factor(self, omega: NDArray[np.float64], beta: float | None) -> "_CholeskyFactor":
        g: NDArray[Any] | None = None
        m = np.zeros(0)
        for part, rows in self._rows:
            share = ops().gram(rows, omega[part], n_threads=self._threads)
            g = share if g is None else g + share
            if beta is not None:
                weighted = _weighted_sum(rows, omega[part], self._threads)
                m = weighted if len(m) == 0 else m + weighted
        if g is None:
            raise ValueError("a preconditioner needs at least one row")
        if beta is not None:
            g -= np.multiply.outer(m, m / beta).astype(g.dtype)
        g[np.diag_indices_from(g)] += g.dtype.type(self._penalty)
        return _CholeskyFactor(g, m, self._threads)


class _CholeskyFactor:
    """Cholesky factor of a positive semidefinite matrix, scaled to unit diagonal (float32 is then enough)."""

    def __init__(self, g: NDArray[Any], m: NDArray[np.float64], n_threads: int) -> None:
        self.m = m
        diagonal = g[np.diag_indices_from(g)].astype(np.float64)
        self._j = 1.0 / np.sqrt(np.maximum(diagonal, 1e-30))
        scale = self._j.astype(g.dtype)
        g *= scale
        g *= scale[:, None]
        self._l = _cholesky_with_jitter(g, n_threads)

    def solve(self, r: Coef) -> Coef:
        x: Coef = ops().cholesky_solve(self._l, r * self._j)
        return x * self._j


class _WoodburyGram:
    """Fewer rows than columns: M = B^T B + rho I; A A^T is kept, so that a build costs S^3 / 3.

    B = P E A with E = sqrt(Omega) and, with an intercept, P the projection that removes sqrt(omega).
    rho = lam + energy of held-out rows outside the span of A, spread over min(S, d - S) directions.
    """

    def __init__(self, rows: NDArray[Any], penalty: float, held: NDArray[Any] | None, n_threads: int) -> None:
        self._rows = rows
        self._penalty = penalty
        self._threads = n_threads
        self._k = ops().gram(np.ascontiguousarray(rows.T), None, n_threads=n_threads)
        self._energy = 0.0 if held is None else _energy_outside(rows, held, self._k, n_threads)

    def factor(self, omega: NDArray[np.float64], beta: float | None) -> "_WoodburyFactor":
        root = np.sqrt(omega)
        e = root.astype(self._k.dtype)
        inner = self._k * e
        inner *= e[:, None]
        unit = None if beta is None else root / np.sqrt(beta)
        if unit is not None:
            inner = _project_both_sides(inner, unit)
        rho = self._penalty + self._energy * fixed_sum(omega)
        diagonal = np.diag_indices_from(inner)
        rounding = 1e-7 * float(inner[diagonal].max()) if inner.dtype == np.float32 else 0.0
        inner[diagonal] += inner.dtype.type(max(rho, rounding))
        m = np.zeros(0) if beta is None else _weighted_sum(self._rows, omega, self._threads)
        return _WoodburyFactor(
            self._rows, root, unit, rho, _CholeskyFactor(inner, m, self._threads), self._threads
        )


class _WoodburyFactor:
    """``M^-1 = (I - B^T (B B^T + rho I)^-1 B) / rho``."""

    def __init__(
        self,
        rows: NDArray[Any],
        root: NDArray[np.float64],
        unit: NDArray[np.float64] | None,
        rho: float,
        inner: _CholeskyFactor,
        n_threads: int,
    ) -> None:
        self.m = inner.m
        self._rows, self._root, self._unit, self._rho = rows, root, unit, rho
        self._inner = inner
        self._threads = n_threads

    def solve(self, r: Coef) -> Coef:
        t = self._inner.solve(self._project(self._root * self._times_rows(r)))
        back = self._transposed(self._root * self._project(t))
        result: Coef = (r - back) / self._rho
        return result

    def _project(self, t: NDArray[np.float64]) -> NDArray[np.float64]:
        if self._unit is None:
            return t
        return np.stack([row - dot(np.ascontiguousarray(row), self._unit) * self._unit for row in t])

    def _times_rows(self, r: Coef) -> NDArray[np.float64]:
        return _margins(self._rows, r, self._threads)

    def _transposed(self, c: NDArray[np.float64]) -> Coef:
        bounds = segment_bounds(*self._rows.shape)
        everything = (0, len(bounds) - 1)
        partials = ops().float_gradient(
            self._rows, bounds, everything, c.astype(np.float32), n_threads=self._threads
        )
        total: Coef = ops().tree_sum(partials)
        return total[:, :-1]


def _margins(rows: NDArray[Any], v: Coef, n_threads: int) -> NDArray[np.float64]:
    """Return ``v A^T``, shape (K, S)."""
    out = np.empty((len(v), len(rows)), dtype=np.float32)
    bounds = segment_bounds(*rows.shape)
    padded = np.concatenate([v, np.zeros((len(v), 1))], axis=1)
    ops().float_margins(rows, bounds, (0, len(bounds) - 1), padded, out, n_threads=n_threads)
    return out.astype(np.float64)


def _weighted_sum(rows: NDArray[Any], omega: NDArray[np.float64], n_threads: int) -> NDArray[np.float64]:
    """Return ``A^T omega`` in a fixed order."""
    bounds = segment_bounds(*rows.shape)
    everything = (0, len(bounds) - 1)
    partials = ops().float_gradient(
        rows, bounds, everything, omega[None].astype(np.float32), n_threads=n_threads
    )
    total: NDArray[np.float64] = ops().tree_sum(partials)[0, :-1]
    return total


def _project_both_sides(k: NDArray[Any], unit: NDArray[np.float64]) -> NDArray[Any]:
    """Return ``P k P`` for ``P = I - unit unit^T``, symmetric k; sums run in a fixed order."""
    u = unit.astype(k.dtype)
    ku = (k * u[:, None]).sum(axis=0)
    uku = k.dtype.type(dot(ku.astype(np.float64), unit))
    out: NDArray[Any] = (
        k - np.multiply.outer(ku, u) - np.multiply.outer(u, ku) + uku * np.multiply.outer(u, u)
    )
    return out


def _energy_outside(rows: NDArray[Any], held: NDArray[Any], k: NDArray[Any], n_threads: int) -> float:
    """Mean squared distance of held-out rows from the span of the sample, per missing direction."""
    n_sample, d = rows.shape
    cross = _margins(rows, held.astype(np.float64), n_threads)
    m = k.copy()
    diagonal = np.diag_indices_from(m)
    m[diagonal] += m.dtype.type(1e-5) * m[diagonal].sum() / m.dtype.type(n_sample)
    largest = float(m[diagonal].max()) or 1.0
    inside = ops().cholesky_solve(
        _cholesky_with_jitter(m / m.dtype.type(largest), n_threads), cross / largest
    )
    pairs = zip(held.astype(np.float64), cross, inside, strict=True)
    energies: list[float] = [max(dot(h, h) - dot(c, s), 0.0) for h, c, s in pairs]
    mean = sum(energies) / len(energies)
    return float(mean / max(1, min(n_sample, d - n_sample)))
