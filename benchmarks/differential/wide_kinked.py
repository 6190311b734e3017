"""Losses with a kink over many rows: Mehrotra's interior point method in float64."""

import numpy as np

from benchmarks.differential.posed import Array, Posed

_MOST_STEPS = 80
_ENOUGH = 1e-13  # complementarity over objective


def minimise(posed: Posed, X: Array, t: Array, penalties: Array) -> tuple[Array, float, float]:
    """Return coefficients with the intercept last, the gap by the method's word, and a condition number.

    `X` are scaled and centred columns, `t` weights that sum to one, `penalties` one per column.
    """
    free = X.shape[1] + (1 if posed.fit_intercept else 0)
    A = np.column_stack([X, np.ones(len(X))])[:, :free]
    Q = np.append(penalties, 0.0)[:free]
    signs, q, rows = _hinges(posed)
    state = _start(q, t[rows], free)
    B = A if len(rows) == len(A) else np.vstack([A, A])
    B = B * signs[:, None]
    for _ in range(_MOST_STEPS):
        theta, xi, r, u, z = state
        value = t[rows] @ np.maximum(q + B @ theta, 0) + 0.5 * Q @ theta**2
        if not xi @ z + r @ u > _ENOUGH * value:
            break
        try:
            state = _step(B, Q, *state)
        except np.linalg.LinAlgError:
            break
    theta, xi, r, u, z = state
    whole = np.zeros((1, X.shape[1] + 1))
    whole[0, :free] = theta
    return whole, float(xi @ z + r @ u), _condition(A, t, Q)


def _hinges(posed: Posed) -> tuple[Array, Array, Array]:
    """Signs, offsets and rows of the hinges ``max(0, q + sign m)``."""
    y, n = posed.y[0], len(posed.s)
    if posed.loss == "hinge":
        return -y, np.ones(n), np.arange(n)
    ones = np.ones(n)
    rows = np.concatenate([np.arange(n)] * 2)
    return np.concatenate([ones, -ones]), np.concatenate([-y, y]) - posed.epsilon, rows


def _start(q: Array, t: Array, free: int):
    size = np.abs(q).max() or 1.0
    xi = np.maximum(q, 0) + size
    return np.zeros(free), xi, xi - q, t / 2, t / 2


def _step(B: Array, Q: Array, theta: Array, xi: Array, r: Array, u: Array, z: Array):
    D = 1 / (xi / z + r / u)
    H = (B * D[:, None]).T @ B + np.diag(Q)
    scale = 1 / np.sqrt(np.maximum(np.diag(H), 1e-300))
    factor = np.linalg.cholesky(H * np.outer(scale, scale) + 1e-15 * np.eye(len(H)))
    residual, now = Q * theta + B.T @ u, xi @ z + r @ u

    def direction(to_r: Array, to_xi: Array):
        a, b = to_r / u - r, to_xi / z - xi
        right = (B.T @ (D * (b - a)) - residual) * scale
        dtheta = scale * np.linalg.solve(factor.T, np.linalg.solve(factor, right))
        du = D * (B @ dtheta - (b - a))
        return dtheta, b + xi / z * du, a - r / u * du, du, -du

    zero = np.zeros(len(u))
    plain = direction(zero, zero)
    primal, dual = _longest(xi, r, plain[1], plain[2]), _longest(u, z, plain[3], plain[4])
    ahead = (xi + primal * plain[1]) @ (z + dual * plain[4]) + (r + primal * plain[2]) @ (u + dual * plain[3])
    centre = (ahead / now) ** 3 * now / (2 * len(u))
    step = direction(centre - plain[2] * plain[3], centre - plain[1] * plain[4])
    primal, dual = 0.99 * _longest(xi, r, step[1], step[2]), 0.99 * _longest(u, z, step[3], step[4])
    lengths = (primal, primal, primal, dual, dual)
    return tuple(v + s * dv for v, s, dv in zip((theta, xi, r, u, z), lengths, step, strict=True))


def _longest(a: Array, b: Array, da: Array, db: Array) -> float:
    with np.errstate(divide="ignore", invalid="ignore"):
        limits = [np.where(dv < 0, -v / dv, np.inf).min() for v, dv in ((a, da), (b, db))]
    return min(1.0 / 0.99, *limits)


def _condition(A: Array, t: Array, Q: Array) -> float:
    H = (A * t[:, None]).T @ A + np.diag(Q)
    scale = np.sqrt(np.where(np.diag(H) > 0, np.diag(H), 1.0))
    values = np.linalg.eigvalsh(H / np.outer(scale, scale))
    return float(values[-1] / values[0]) if values[0] > 0 else float("inf")
