"""Factors of curvature matrices from a row sample: one per block, built and solved with together.

G_k = A^T Omega_k A - m_k m_k^T / beta_k + lam I for the centred rows A, where the second term eliminates an
intercept (m_k = A^T omega_k, beta_k = sum omega_k). With at least as many rows as columns G_k is factorised
itself (`CholeskyGrams`), otherwise a matrix of the size of the sample is (`WoodburyGrams`).

Consecutive outputs share a factor where there are fewer factors than outputs, see `factor_of`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mezzotint.kernels import ops, segment_bounds
from mezzotint.kernels.threads import worthwhile
from mezzotint.linear.objective import Coef, dot, fixed_sum
from mezzotint.packed import Source

Array = NDArray[np.float64]
Penalty = float | NDArray[np.float64]  # the same for all columns, or of each

_JITTER = {np.dtype(np.float32): 1e-6, np.dtype(np.float64): 1e-13}  # on a unit diagonal
_MOST_JITTER = 10.0  # more than any matrix of finite numbers with a unit diagonal can need
_WELL_POSED = 1e-11  # least squared pivot, on a unit diagonal, that the jitter does not show in
# Of the largest diagonal: below it what is added drowns in rounding, and ``(r - B^T ...) / rho`` cancels.
_LEAST_RHO = {np.dtype(np.float32): 1e-7, np.dtype(np.float64): 1e-16}
_RELIABLE_RHO = 1e-10  # and below which it costs many of the digits of a step
# Share of what is taken off a column with its mean: what is left below it are roundings.
_CANCELLED = {np.dtype(dtype): 8.0 * float(np.finfo(dtype).eps) for dtype in (np.float32, np.float64)}
_CHUNK_VALUES = 2**22  # centred at a time
_TINY = float(np.finfo(np.float64).tiny)


class NotFinite(ArithmeticError):
    """A curvature matrix holds NaN or infinity: columns reach further than was known."""


def factor_of(n_outputs: int, n_factors: int) -> NDArray[np.int64]:
    """Index of the factor that each output uses, shape (n_outputs,)."""
    return np.arange(n_outputs, dtype=np.int64) * n_factors // n_outputs


@dataclass(frozen=True, eq=False)
class Added:
    """What was added to diagonals of matrices M, to make them positive definite.

    Attributes
    ----------
    amount : ndarray of float64, shape (G, d) or (G, 1)
        J.
    least : ndarray of float64, shape (G, d) or (G, 1)
        A tenth of the least pivot that was left without J, in the same units: M has about that at least.
    """

    amount: Array
    least: Array

    def hidden(self, step: Coef, curvatures: Penalty) -> float:
        """What J may hide of ``r M^-1 r``, for the step ``v = (M + J)^-1 r`` (K, d) without intercepts.

        Without J it is ``r.v + v.Jv + (Jv) M^-1 (Jv)``, and M is at least the curvature that columns have by
        themselves. Where there is none either, what J hides is all there may be, and inf says so.
        """
        member = factor_of(len(step), len(self.amount))
        pull = self.amount[member] * step
        least = np.broadcast_to(curvatures, pull.shape) + self.least[member]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return fixed_sum(pull * step) + fixed_sum(np.where(pull != 0, pull * pull / least, 0.0))


class Grams(Protocol):
    """Makes factors of the matrices G_k for pointwise curvatures."""

    def factor(self, omega: Array, beta: Array | None) -> "Factors":
        """Factorise for omega of shape (G, S); beta of shape (G,) eliminates an intercept."""


class Factors(Protocol):
    """G factors and their ``m = A^T omega``, shape (G, d) (zeros without an intercept)."""

    m: Array

    @property
    def is_exact(self) -> bool:
        """Whether these are factors of G_k itself: nothing that matters was added to them."""

    @property
    def added(self) -> Added:
        """What was added to the diagonals of G_k to make them positive definite."""

    def solve(self, r: Coef) -> Coef:
        """Solve with r of shape (K, d), row k by factor ``k * G // K``."""


def centre(rows: NDArray[Any], mean: Array | None, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the rows in `dtype`, minus the mean if there is one."""
    return np.ascontiguousarray(rows if mean is None else rows - mean, dtype=dtype)


def weighted_mean(source: Source, weights: Array) -> Array:
    """Mean of the rows, shape (d,)."""
    n, d = source.shape
    total, step = np.zeros(d), max(1, _CHUNK_VALUES // d)
    for start in range(0, n, step):
        rows = source.block(start, min(n, start + step))
        total += (rows * weights[start : start + step, None]).sum(axis=0, dtype=np.float64)
    mean: Array = total / fixed_sum(weights)
    return mean


class CentredRows:
    """Centred rows of a source, kept if asked to, else made anew chunk by chunk (all rows may be many)."""

    def __init__(self, source: Source, mean: Array | None, dtype: np.dtype[Any], *, keep: bool) -> None:
        self._source, self._mean, self._dtype = source, mean, dtype
        self.n_columns = source.shape[1]
        self._whole = centre(source.block(0, source.shape[0]), mean, dtype) if keep else None

    def __iter__(self) -> Iterator[tuple[slice, NDArray[Any]]]:
        n, d = self._source.shape
        if self._whole is not None:
            yield slice(0, n), self._whole
            return
        step = max(1, _CHUNK_VALUES // d)
        for start in range(0, n, step):
            part = slice(start, min(n, start + step))
            yield part, centre(self._source.block(part.start, part.stop), self._mean, self._dtype)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the rows."""
        return self._dtype


class CholeskyGrams:
    """At least as many rows as columns: G_k is d x d and factorised itself."""

    def __init__(self, rows: CentredRows, penalty: Penalty, n_threads: int) -> None:
        self._rows = rows
        self._penalty = penalty
        self._threads = n_threads

    def factor(self, omega: Array, beta: Array | None) -> "CholeskyFactors":
        """See `Grams.factor`."""
        d = self._rows.n_columns
        g = np.zeros((len(omega), d, d), self._rows.dtype)
        m = np.zeros((len(omega), d))
        for part, rows in self._rows:
            work = len(omega) * rows.size * d / 2
            weights, n_threads = np.ascontiguousarray(omega[:, part]), worthwhile(self._threads, work)
            ops().add_grams(g, rows, weights, n_threads=n_threads)
            if beta is not None:
                m += _times_transposed(rows, omega[:, part], self._threads)
        for k, matrix in enumerate(g):
            if beta is not None:
                matrix -= np.multiply.outer(m[k], m[k] / beta[k]).astype(g.dtype)
                _forget_constant(matrix, m[k] * m[k] / beta[k])
            _diagonal(matrix)[:] += np.asarray(self._penalty, g.dtype)
        return CholeskyFactors(g, m, self._threads)


class CholeskyFactors:
    """Cholesky factors of semidefinite matrices, scaled to unit diagonal (float32 is then enough)."""

    def __init__(self, g: NDArray[Any], m: Array, n_threads: int) -> None:
        """Factorise matrices of shape (G, d, d), which are overwritten."""
        self.m = m
        self._factors = g
        self._threads = worthwhile(n_threads, g.size)
        self._j, self.added = np.empty(g.shape[:2]), Added(np.empty(g.shape[:2]), np.empty(g.shape[:2]))
        least = np.inf
        parts = zip(g, self._j, self.added.amount, self.added.least, strict=True)
        for matrix, j, amount, left in parts:
            j[:] = _unit_scale(np.diagonal(matrix).astype(np.float64))
            scale = j.astype(g.dtype)
            matrix *= scale
            matrix *= scale[:, None]
            matrix[:], jitter = cholesky_with_jitter(matrix, n_threads)
            root = float(np.diagonal(matrix).min())
            pivot = root * root
            amount[:], left[:] = jitter / (j * j), max(pivot - 2.0 * jitter, 0.0) / 10.0 / (j * j)
            least = min(least, pivot)
        self.is_exact = g.dtype == np.float64 and least > _WELL_POSED

    def solve(self, r: Coef) -> Coef:
        """See `Factors.solve`."""
        j = self._j[factor_of(len(r), len(self._j))]
        x: Coef = ops().cholesky_solve(self._factors, r * j, n_threads=self._threads)
        return x * j


def _forget_constant(matrix: NDArray[Any], taken_off: Array) -> None:
    """Take the columns out of which nothing but rounding is left: constant where the objective curves."""
    left = np.diagonal(matrix) - _CANCELLED[matrix.dtype] * taken_off
    if left.min() <= 0:
        constant = (left <= 0) & (taken_off > 0)
        matrix[constant] = matrix[:, constant] = 0.0


def _unit_scale(diagonal: Array) -> Array:
    """Return ``1 / sqrt(diagonal)``; columns without any curvature count as average ones."""
    if diagonal.min() > 0:
        return np.asarray(1.0 / np.sqrt(diagonal))
    curved = diagonal > 0
    average = fixed_sum(diagonal[curved]) / max(1, int(np.count_nonzero(curved))) or 1.0
    scale: Array = 1.0 / np.sqrt(np.where(curved, diagonal, average))
    return scale


def _diagonal(matrix: NDArray[Any]) -> NDArray[Any]:
    """The diagonal of a contiguous square matrix, to write to."""
    return matrix.reshape(-1)[:: len(matrix) + 1]


def cholesky_with_jitter(m: NDArray[Any], n_threads: int) -> tuple[NDArray[Any], float]:
    """Factor a symmetric matrix with unit-size diagonal, adding more to it until it is positive definite.

    Returns the factor and what was added.

    Raises
    ------
    NotFinite
        If the matrix holds NaN or infinity, which no addition cures.
    """
    jitter = _JITTER[m.dtype]
    while jitter < _MOST_JITTER:
        factor = m.copy()
        _diagonal(factor)[:] += m.dtype.type(jitter)
        if ops().cholesky(factor, n_threads=worthwhile(n_threads, len(m) ** 3 / 6)) < 0:
            return factor, jitter
        jitter *= 10
    raise NotFinite("the curvature of the sampled rows is not finite")


class WoodburyGrams:
    """Fewer rows than columns: G_k + lam I = B^T B + rho I; A A^T is kept, so that a build costs S^3 / 3.

    B = P E A with E = sqrt(Omega_k) and, with an intercept, P the projection that removes sqrt(omega_k).
    rho = lam + energy of held-out rows outside the span of A, spread over min(S, d - S) directions.
    """

    def __init__(
        self, rows: NDArray[Any], penalty: Penalty, held: NDArray[Any] | None, n_threads: int
    ) -> None:
        self._rows = rows
        self._penalty = penalty
        self._threads = n_threads
        self._k = _inner_products(rows, n_threads)
        self._energy = 0.0 if held is None else _energy_outside(rows, held, self._k, n_threads)

    def factor(self, omega: Array, beta: Array | None) -> Factors:
        """See `Grams.factor`."""
        outside = np.array([self._energy * fixed_sum(row) for row in omega])
        if np.ndim(self._penalty):
            rho = np.asarray(self._penalty) + outside[:, None]
            each = [
                self._in_units_of(r, omega[[k]], beta if beta is None else beta[[k]])
                for k, r in enumerate(rho)
            ]
            return _SeparateFactors(each)
        return _woodbury(self._rows, self._k, omega, beta, self._penalty + outside, self._threads)

    def _in_units_of(self, rho: Array, omega: Array, beta: Array | None) -> "_UnitFactors":
        """Factor of one G_k with a penalty for each column: of columns over the roots of theirs."""
        # Where no row is curved, a column without a penalty gets what it would have if all were.
        lengths = self._k[np.diag_indices_from(self._k)]
        largest = (lengths * omega).max(initial=0.0) or lengths.max(initial=0.0)
        least = _LEAST_RHO[self._k.dtype] * float(largest)
        unit = 1.0 / np.sqrt(np.maximum(rho, max(least, _TINY)))
        rows = (self._rows * unit).astype(self._rows.dtype)
        k = _inner_products(rows, self._threads)
        return _UnitFactors(unit, _woodbury(rows, k, omega, beta, np.ones(1), self._threads))


def _woodbury(
    rows: NDArray[Any], k: NDArray[Any], omega: Array, beta: Array | None, rho: Array, n_threads: int
) -> "_WoodburyFactors":
    """Factors for ``k = A A^T`` of the rows A."""
    root = np.sqrt(omega)
    unit = None if beta is None else root / np.sqrt(beta)[:, None]
    inner = np.empty((len(omega), *k.shape), k.dtype)
    shifts, reliable = rho.copy(), True
    for i, matrix in enumerate(inner):
        matrix[:] = _weighted(k, root[i], None if unit is None else unit[i])
        diagonal = np.diag_indices_from(matrix)
        largest = float(matrix[diagonal].max())
        least = _LEAST_RHO[matrix.dtype] * largest
        reliable &= bool(rho[i] >= _RELIABLE_RHO * largest)
        if matrix.dtype == np.float64 or rho[i] == 0:  # what is divided by is then what was added
            shifts[i] = max(rho[i], least) or 1.0
        matrix[diagonal] += matrix.dtype.type(max(shifts[i], least))
    m = np.zeros((len(omega), rows.shape[1]))
    if beta is not None:
        m = _times_transposed(rows, omega, n_threads)
    factors = CholeskyFactors(inner, m, n_threads)
    return _WoodburyFactors(rows, root, unit, shifts, factors, reliable, shifts - rho, n_threads)


def _weighted(k: NDArray[Any], root: Array, unit: Array | None) -> NDArray[Any]:
    """Return ``B B^T``."""
    e = root.astype(k.dtype)
    inner: NDArray[Any] = k * e
    inner *= e[:, None]
    return inner if unit is None else _project_both_sides(inner, unit)


class _WoodburyFactors:
    """``M^-1 = (I - B^T (B B^T + rho I)^-1 B) / rho``."""

    def __init__(
        self,
        rows: NDArray[Any],
        root: Array,
        unit: Array | None,
        rho: Array,
        inner: CholeskyFactors,
        is_exact: bool,
        added: Array,
        n_threads: int,
    ) -> None:
        self.m = inner.m
        self.is_exact = is_exact and inner.is_exact
        self.added = Added(added[:, None], np.zeros((len(added), 1)))
        self._rows, self._root, self._unit, self._rho = rows, root, unit, rho
        self._inner = inner
        self._threads = n_threads

    def solve(self, r: Coef) -> Coef:
        member = factor_of(len(r), len(self._rho))
        root = self._root[member]
        unit = None if self._unit is None else self._unit[member]
        t = _without(unit, root * _times(self._rows, r, self._threads))
        t = _without(unit, self._inner.solve(t))
        back = _times_transposed(self._rows, root * t, self._threads)
        result: Coef = (r - back) / self._rho[member, None]
        return result


class _UnitFactors:
    """Factors of columns in units of their own."""

    def __init__(self, unit: Array, factors: _WoodburyFactors) -> None:
        self._unit, self._factors = unit, factors
        self.m = factors.m / unit
        self.is_exact = factors.is_exact
        self.added = Added(factors.added.amount / (unit * unit), factors.added.least / (unit * unit))

    def solve(self, r: Coef) -> Coef:
        out: Coef = self._factors.solve(r * self._unit) * self._unit
        return out


class _SeparateFactors:
    """One factor after the other."""

    def __init__(self, factors: list[_UnitFactors]) -> None:
        self._factors = factors
        self.m = np.concatenate([each.m for each in factors])
        self.is_exact = all(each.is_exact for each in factors)
        amounts, least = ([getattr(each.added, name) for each in factors] for name in ("amount", "least"))
        self.added = Added(np.concatenate(amounts), np.concatenate(least))

    def solve(self, r: Coef) -> Coef:
        member = factor_of(len(r), len(self._factors))
        return np.concatenate([self._factors[m].solve(r[[k]]) for k, m in enumerate(member.tolist())])


def _without(unit: Array | None, t: Array) -> Array:
    """Take the direction of a unit vector out of every row."""
    if unit is None:
        return t
    out: Array = t - ops().dots(t, unit)[:, None] * unit
    return out


def _inner_products(rows: NDArray[Any], n_threads: int) -> NDArray[Any]:
    """Return ``A A^T``."""
    size = len(rows)
    out = np.zeros((1, size, size), rows.dtype)
    columns = np.ascontiguousarray(rows.T)
    ops().add_grams(out, columns, n_threads=worthwhile(n_threads, columns.size * size / 2))
    inner: NDArray[Any] = out[0]
    return inner


def _times(rows: NDArray[Any], v: Coef, n_threads: int) -> Array:
    """Return ``v A^T``, shape (K, S); to the precision of the rows."""
    bounds = segment_bounds(*rows.shape)
    padded = np.concatenate([v, np.zeros((len(v), 1))], axis=1)
    n_threads = worthwhile(n_threads, rows.size * len(v))
    if rows.dtype == np.float64:
        return _exactly(rows, padded, np.zeros((len(v), len(rows))), n_threads)[0]
    out = np.empty((len(v), len(rows)), dtype=np.float32)
    ops().float_margins(rows, bounds, (0, len(bounds) - 1), padded, out, n_threads=n_threads)
    return out.astype(np.float64)


def _times_transposed(rows: NDArray[Any], c: Array, n_threads: int) -> Coef:
    """Return ``c A``, shape (K, d), in a fixed order; to the precision of the rows."""
    bounds = segment_bounds(*rows.shape)
    n_threads = worthwhile(n_threads, rows.size * len(c))
    if rows.dtype == np.float64:
        return _exactly(rows, np.zeros((len(c), rows.shape[1] + 1)), -c, n_threads)[1][:, :-1]
    coefficients = np.ascontiguousarray(c, dtype=np.float32)
    partials = ops().float_gradient(rows, bounds, (0, len(bounds) - 1), coefficients, n_threads=n_threads)
    total: Coef = ops().tree_sum(partials)
    return total[:, :-1]


def _exactly(rows: NDArray[Any], v: Coef, y: Array, n_threads: int) -> tuple[Array, Coef]:
    """Margins ``m = v [A 1]^T`` and ``(m - y) [A 1]`` in float64: the pass of a squared loss."""
    bounds = segment_bounds(*rows.shape)
    margins, labels = np.empty(y.shape), np.ascontiguousarray(y)
    _, partials = ops().exact_pass(
        rows, bounds, (0, len(bounds) - 1), v, "squared", labels, None, margins, n_threads=n_threads
    )
    total: Coef = ops().tree_sum(partials)
    return margins, total


def _project_both_sides(k: NDArray[Any], unit: Array) -> NDArray[Any]:
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
    cross = _times(rows, held.astype(np.float64), n_threads)
    m = k.copy()
    diagonal = np.diag_indices_from(m)
    m[diagonal] += m.dtype.type(1e-5) * m[diagonal].sum() / m.dtype.type(n_sample)
    largest = float(m[diagonal].max()) or 1.0
    factor, _ = cholesky_with_jitter(m / m.dtype.type(largest), n_threads)
    inside = ops().cholesky_solve(factor[None], cross / largest)
    pairs = zip(held.astype(np.float64), cross, inside, strict=True)
    energies: list[float] = [max(dot(h, h) - dot(c, s), 0.0) for h, c, s in pairs]
    mean = fixed_sum(np.array(energies)) / len(energies)
    return float(mean / max(1, min(n_sample, d - n_sample)))
