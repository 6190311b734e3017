"""The optimum of a linear problem in float64, found without any solver of mezzotint, and exact gaps to it.

Newton's method with the exact Hessian: every system is solved by conjugate gradients on exact Hessian
products, preconditioned by the Cholesky factor of the Hessian itself (one output: one step solves) or of
its diagonal blocks (multinomial). It goes on until the Newton decrement stops falling.

Gaps are sums of Bregman divergences, not differences of objective values: they keep their relative accuracy
far below the rounding error of F itself.
"""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.special import expit
from threadpoolctl import threadpool_limits

from benchmarks.problems import LinearProblem

Array = NDArray[np.float64]
_BLOCK = 8192  # rows converted to float64 at a time
_KEEP_BYTES = 2**31  # of a float64 copy that is kept, so that it is converted once
_PIECEWISE = ("squared_hinge", "squared_epsilon_insensitive")
_VERSION = b"1"  # of this file's results; part of the cache's key


@dataclass(frozen=True, eq=False, kw_only=True)
class Optimum:
    """The optimum of a problem.

    Attributes
    ----------
    coef : ndarray of float64, shape (K, d + 1)
        Coefficients, intercept last.
    gradient : ndarray of float64, shape (K, d + 1)
        What is left of the gradient there: rounding errors.
    value, value_at_zero : float
        F* and F(0).
    decrement : float
        Newton decrement at `coef`, an estimate of what F* is too high by.
    """

    coef: Array
    gradient: Array
    value: float
    value_at_zero: float
    decrement: float

    @property
    def scale(self) -> float:
        """What gaps are relative to: ``max(|F*|, 1e-6 F(0))``."""
        return max(abs(self.value), 1e-6 * self.value_at_zero)


def optimum(problem: LinearProblem, *, cache: bool = True) -> Optimum:
    """Find the optimum, or read it from the cache in the temporary directory."""
    path = _cache_path(problem)
    if cache and path.exists():
        with np.load(path) as saved:
            return Optimum(
                coef=saved["coef"], gradient=saved["gradient"], value=float(saved["value"]),
                value_at_zero=float(saved["value_at_zero"]), decrement=float(saved["decrement"]),
            )  # fmt: skip
    small = problem.X.size < 2e7
    with threadpool_limits(1 if small else None, "blas"):  # threads cost small products more than they bring
        best = _solve(problem)
    if cache:
        path.parent.mkdir(exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.npz")
        np.savez(partial, **vars(best))
        partial.replace(path)
    return best


def gap(problem: LinearProblem, best: Optimum, coef: Array) -> float:
    """``F(coef) - F*``, accurate to about three digits however small."""
    delta = coef - best.coef
    total = 0.0
    for rows, x in _Rows(problem.X):
        phi, psi = _margins(x, best.coef), _margins(x, delta)
        total += float((_weights(problem, rows) * _divergence(problem, phi, psi, problem.y[rows])).sum())
    ridge = 0.5 * problem.penalty * float((delta[:, :-1] ** 2).sum())
    return total / problem.total_weight + ridge + float((best.gradient * delta).sum())


def relative_gap(problem: LinearProblem, best: Optimum, coef: Array) -> float:
    """``(F(coef) - F*) / max(|F*|, 1e-6 F(0))``."""
    return gap(problem, best, coef) / best.scale


def hessian_condition(problem: LinearProblem, best: Optimum) -> float:
    """Condition number of the Hessian at the optimum (one output), intercept included."""
    blocks = _hessian_blocks(problem, _Rows(problem.X), best.coef)
    eigenvalues = np.linalg.eigvalsh(_used(problem, blocks[0]))
    return float(eigenvalues[-1] / max(eigenvalues[0], 1e-300))


# ---- cache


def _cache_path(problem: LinearProblem) -> Path:
    digest = hashlib.blake2b(_VERSION, digest_size=16)
    for array in (problem.X, problem.y, problem.weights):
        if array is not None:
            digest.update(np.ascontiguousarray(array).view(np.uint8).data)
    parts = problem.loss, problem.shape, problem.strength, problem.epsilon, problem.fit_intercept
    digest.update(repr(parts).encode())
    folder = Path(tempfile.gettempdir()) / f"mezzotint-reference-{os.getuid()}"
    return folder / f"{digest.hexdigest()}.npz"


# ---- rows


class _Rows:
    """Blocks of rows in float64; a copy is kept if it is small."""

    def __init__(self, X: NDArray[Any]) -> None:
        keep = X.dtype == np.float64 or X.size * 8 <= _KEEP_BYTES
        self._rows = X.astype(np.float64, copy=False) if keep else X

    def __iter__(self) -> Iterator[tuple[slice, Array]]:
        for start in range(0, len(self._rows), _BLOCK):
            where = slice(start, min(start + _BLOCK, len(self._rows)))
            yield where, self._rows[where].astype(np.float64, copy=False)


def _weights(problem: LinearProblem, rows: slice) -> Array | float:
    return 1.0 if problem.weights is None else problem.weights[rows]


def _margins(x: Array, coef: Array) -> Array:
    """Margins (K, m)."""
    return coef[:, :-1] @ x.T + coef[:, -1:]


def _transposed(x: Array, c: Array) -> Array:
    """``c [x 1]``, shape (K, d + 1)."""
    return np.column_stack([c @ x, c.sum(axis=1)])


# ---- losses


def _loss(problem: LinearProblem, phi: Array, y: NDArray[Any]) -> Array:
    if problem.loss == "squared":
        return 0.5 * (phi[0] - y) ** 2
    if problem.loss == "logistic":
        return np.logaddexp(0, np.where(y > 0, -phi[0], phi[0]))
    if problem.loss in _PIECEWISE:
        return (0.5 * _excess(problem, phi, y) ** 2).sum(axis=0)
    top = phi.max(axis=0)
    return np.log(np.exp(phi - top).sum(axis=0)) + top - phi[y, np.arange(len(y))]


def _slope(problem: LinearProblem, phi: Array, y: NDArray[Any]) -> Array:
    if problem.loss == "squared":
        return phi - y
    if problem.loss == "logistic":
        return np.where(y > 0, -expit(-phi), expit(phi))
    if problem.loss in _PIECEWISE:
        return _excess(problem, phi, y)
    slope = _softmax(phi)
    slope[y, np.arange(len(y))] -= 1
    return slope


def _excess(problem: LinearProblem, phi: Array, y: NDArray[Any]) -> Array:
    """How far margins lie above the interval without loss, negative below, shape (K, m)."""
    if problem.loss == "squared_hinge":
        label = np.arange(len(phi))[:, None] if len(phi) > 1 else 1
        low, high = np.where(y == label, 1.0, -np.inf), np.where(y == label, np.inf, -1.0)
    else:
        low, high = y - problem.epsilon, y + problem.epsilon
    return np.maximum(phi - high, 0) + np.minimum(phi - low, 0)


def _divergence_of_excess(problem: LinearProblem, phi: Array, psi: Array, y: NDArray[Any]) -> Array:
    """Bregman divergence of a piecewise loss; rows that stay on their side change by psi exactly."""
    before, after = _excess(problem, phi, y), _excess(problem, phi + psi, y)
    stay = before * after > 0
    change = np.where(stay, psi, after - before)
    left = np.where(stay, 0, change - psi)
    return (0.5 * change**2 + before * left).sum(axis=0)


def _softmax(phi: Array) -> Array:
    e = np.exp(phi - phi.max(axis=0))
    return e / e.sum(axis=0)


def _curvature(problem: LinearProblem, phi: Array, y: NDArray[Any]) -> Array:
    """Diagonal of the loss's Hessian, shape (K, m)."""
    if problem.loss == "squared":
        return np.ones_like(phi)
    if problem.loss == "logistic":
        return expit(phi) * expit(-phi)
    if problem.loss in _PIECEWISE:
        return (_excess(problem, phi, y) != 0).astype(np.float64)
    p = _softmax(phi)
    return p * (1 - p)


def _curved(problem: LinearProblem, phi: Array, psi: Array, y: NDArray[Any]) -> Array:
    """The loss's Hessian times psi, shape (K, m)."""
    if problem.loss != "softmax":
        return _curvature(problem, phi, y) * psi
    p = _softmax(phi)
    return p * (psi - (p * psi).sum(axis=0))


def _divergence(problem: LinearProblem, phi: Array, psi: Array, y: NDArray[Any]) -> Array:
    """``l(phi + psi) - l(phi) - l'(phi) psi`` without cancellation, shape (m,).

    With t = psi - E psi it is ``log E exp(t) = log(1 + E (exp(t) - 1 - t))``, E being the mean over the
    classes with their probabilities at phi: every term is positive.
    """
    if problem.loss == "squared":
        return 0.5 * psi[0] ** 2
    if problem.loss in _PIECEWISE:
        return _divergence_of_excess(problem, phi, psi, y)
    if problem.loss == "logistic":
        p, q = expit(phi[0]), expit(-phi[0])
        probabilities, t = np.stack([p, q]), np.stack([q * psi[0], -p * psi[0]])
    else:
        probabilities = _softmax(phi)
        t = psi - (probabilities * psi).sum(axis=0)
    top = np.maximum(t.max(axis=0), 0)
    near = np.log1p((probabilities * _exp_beyond_linear(np.minimum(t, 1))).sum(axis=0))
    far = np.log((probabilities * np.exp(t - top)).sum(axis=0)) + top
    return np.where(top < 1, near, far)


def _exp_beyond_linear(t: Array) -> Array:
    """``exp(t) - 1 - t``, by its series for small t."""
    series = t**2 * (1 / 2 + t * (1 / 6 + t * (1 / 24 + t * (1 / 120 + t * (1 / 720 + t / 5040)))))
    return np.where(np.abs(t) < 0.05, series, np.expm1(t) - t)


# ---- Newton's method


def _solve(problem: LinearProblem) -> Optimum:
    n, d = problem.shape
    if d > n:
        return _solve_wide(problem)
    coef = np.zeros((problem.n_outputs, d + 1))
    if n > 40_000 and n > 32 * d:  # a part of the rows is a cheap start
        coef = _newton(_part(problem, n // 8), coef, polish=False).coef
    return _newton(problem, coef, polish=True)


def _solve_wide(problem: LinearProblem) -> Optimum:
    """More columns than rows: the optimal weights lie in the span of the rows, X^T = Q R, w = Q u."""
    q, r = np.linalg.qr(problem.X.astype(np.float64).T)
    inside = _newton(
        replace(problem, X=np.ascontiguousarray(r.T)), np.zeros((problem.n_outputs, len(r) + 1)), polish=True
    )
    coef = np.column_stack([inside.coef[:, :-1] @ q.T, inside.coef[:, -1]])
    value, gradient = _evaluate(problem, _Rows(problem.X), coef)
    decrement = inside.decrement + float((gradient**2).sum()) / (2 * problem.penalty)
    return replace(inside, coef=coef, gradient=gradient, value=value, decrement=decrement)


def _part(problem: LinearProblem, n: int) -> LinearProblem:
    weights = None if problem.weights is None else problem.weights[:n]
    strength = problem.strength * n / len(problem.y)
    return replace(problem, X=problem.X[:n], y=problem.y[:n], weights=weights, strength=strength)


def _newton(problem: LinearProblem, coef: Array, *, polish: bool) -> Optimum:
    rows = _Rows(problem.X)
    scale = 1e-6 * _evaluate(problem, rows, np.zeros_like(coef))[0]
    value, gradient = _evaluate(problem, rows, coef)
    system = _System(problem, rows)
    system.factorise(coef)
    decrement, stalls = np.inf, 0
    for _ in range(200):
        v, iterations = system.solve(coef, gradient)
        previous, decrement = decrement, -0.5 * float((v * gradient).sum())
        tolerance = max(abs(value), scale)
        best = Optimum(
            coef=coef,
            gradient=gradient,
            value=value,
            value_at_zero=1e6 * scale,
            decrement=max(decrement, 0.0),
        )
        stalls = stalls + 1 if decrement > 0.3 * previous else 0
        done = decrement <= (1e-30 if polish else 1e-6) * tolerance
        if done or (stalls >= 2 and decrement <= 1e-18 * tolerance):
            return best
        coef, value, gradient = _step(
            problem, rows, coef, value, gradient, v, trust=decrement < 1e-10 * tolerance
        )
        if iterations > 12 and decrement > 1e-12 * tolerance:
            system.factorise(coef)
    raise RuntimeError(
        f"no float64 reference for {problem.name!r}: decrement {decrement:.1e} after 200 steps"
    )


def _step(
    problem: LinearProblem, rows: _Rows, coef: Array, value: float, gradient: Array, v: Array, *, trust: bool
) -> tuple[Array, float, Array]:
    """Take the longest of v, v/2, v/4, ... that lowers F; near the optimum (`trust`) v as it is."""
    slope, t = float((gradient * v).sum()), 1.0
    while True:
        new_value, new_gradient = _evaluate(problem, rows, coef + t * v)
        if trust or new_value <= value + 1e-4 * t * slope or t < 1e-9:
            return coef + t * v, new_value, new_gradient
        t /= 2


def _evaluate(problem: LinearProblem, rows: _Rows, coef: Array) -> tuple[float, Array]:
    """F and its gradient."""
    value, gradient = 0.0, np.zeros_like(coef)
    for where, x in rows:
        s, y, phi = _weights(problem, where), problem.y[where], _margins(x, coef)
        value += float((s * _loss(problem, phi, y)).sum())
        gradient += _transposed(x, s * _slope(problem, phi, y))
    gradient /= problem.total_weight
    gradient[:, :-1] += problem.penalty * coef[:, :-1]
    if not problem.fit_intercept:
        gradient[:, -1] = 0
    return value / problem.total_weight + 0.5 * problem.penalty * float((coef[:, :-1] ** 2).sum()), gradient


def _hessian_blocks(problem: LinearProblem, rows: _Rows, coef: Array) -> list[Array]:
    """Diagonal blocks of the Hessian, (d + 1, d + 1) each."""
    d = problem.shape[1]
    blocks = [np.zeros((d + 1, d + 1)) for _ in coef]
    for where, x in rows:
        curvature = _weights(problem, where) * _curvature(problem, _margins(x, coef), problem.y[where])
        for block, c in zip(blocks, curvature, strict=True):
            root = np.sqrt(c)
            half = np.column_stack([x, np.ones(len(x))]) * root[:, None]
            block += half.T @ half
    for block in blocks:
        block /= problem.total_weight
        block[np.arange(d), np.arange(d)] += problem.penalty
    return blocks


def _used(problem: LinearProblem, matrix: Array) -> Array:
    """The matrix without the intercept's row and column if there is none."""
    return matrix if problem.fit_intercept else matrix[:-1, :-1]


class _System:
    """Newton's equations at a point, solved by preconditioned conjugate gradients."""

    def __init__(self, problem: LinearProblem, rows: _Rows) -> None:
        self._problem, self._rows = problem, rows
        self._factors: list[tuple[Any, Array]] = []

    def factorise(self, coef: Array) -> None:
        """Factor the diagonal blocks of the Hessian, scaled to unit diagonal."""
        self._factors = []
        for block in _hessian_blocks(self._problem, self._rows, coef):
            used = _used(self._problem, block)
            j = 1 / np.sqrt(np.maximum(np.diag(used), 1e-300))
            used = used * j * j[:, None]
            used[np.diag_indices_from(used)] += 1e-14
            self._factors.append((cho_factor(used, overwrite_a=True, check_finite=False), j))

    def _precondition(self, r: Array) -> Array:
        out = np.zeros_like(r)
        for k, (factor, j) in enumerate(self._factors):
            out[k, : len(j)] = j * cho_solve(factor, j * r[k, : len(j)], check_finite=False)
        return self._without_shift(out)

    def _without_shift(self, v: Array) -> Array:
        """A shift common to all classes changes no probability, and the optimum has none."""
        return v - v.mean(axis=0) if self._problem.loss == "softmax" else v

    def _product(self, phi: Array, v: Array) -> Array:
        problem, out = self._problem, np.zeros_like(v)
        for where, x in self._rows:
            c = _curved(problem, phi[:, where], _margins(x, v), problem.y[where])
            out += _transposed(x, _weights(problem, where) * c)
        out /= problem.total_weight
        out[:, :-1] += problem.penalty * v[:, :-1]
        if not problem.fit_intercept:
            out[:, -1] = 0
        return out

    def solve(self, coef: Array, gradient: Array) -> tuple[Array, int]:
        """Solve ``H v = -gradient`` to a relative 1e-2 of the preconditioned norm; also the iterations."""
        phi = np.concatenate([_margins(x, coef) for _, x in self._rows], axis=1)
        v, r = np.zeros_like(coef), self._without_shift(-gradient)
        z = self._precondition(r)
        p, rho = z, float((r * z).sum())
        target = 1e-4 * rho
        for iteration in range(1, 201):
            h = self._product(phi, p)
            alpha = rho / max(float((p * h).sum()), 1e-300)
            v, r = v + alpha * p, r - alpha * h
            z = self._precondition(r)
            rho, previous = float((r * z).sum()), rho
            if rho <= target or rho <= 0:
                return v, iteration
            p = z + (rho / previous) * p
        return v, 200
