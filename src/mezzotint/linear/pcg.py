"""Preconditioned conjugate gradients for one Newton step, and the line search along it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mezzotint.kernels import ops
from mezzotint.kernels.threads import worthwhile
from mezzotint.linear.decades import decades
from mezzotint.linear.objective import Coef, dot

RowArray = NDArray[np.float32]


class Preconditioner(Protocol):
    """An approximation M of the curvature that can be solved with."""

    def solve(self, r: Coef) -> Coef:
        """Return ``M^-1 r``."""


@dataclass(frozen=True, kw_only=True)
class NewtonStep:
    """Approximate solution v of ``H v = -g``.

    Attributes
    ----------
    direction : ndarray, shape (K, d + 1)
        v; its margins ``X v`` are left in the buffer given to `newton_step`.
    iterations : int
        Products with H.
    per_decade : float
        Iterations per decade of the residual: how well M still fits H.
    decrement : float
        ``-g.v``, which tends to ``g H^-1 g`` from below; half of it estimates F - F*.
    trusted : bool
        False if H showed far less curvature than M, which is built from unrounded rows: then what
        the rounding noise removal took away was not noise.
    solved : bool
        Whether the residual came down as far as the rule asked.
    """

    direction: Coef
    iterations: int
    per_decade: float
    decrement: float
    trusted: bool
    solved: bool


@dataclass(frozen=True, kw_only=True)
class StopRule:
    """When a PCG solve ends: residuals are measured in the norm of M^-1, squared."""

    relative: float
    absolute: float
    max_iterations: int
    guard: float  # least ratio of H's to M's curvature along a search direction


def newton_step(
    hessian_product: Callable[[Coef, RowArray], Coef],
    preconditioner: Preconditioner,
    gradient: Coef,
    rule: StopRule,
    margins: RowArray,
    scratch: RowArray,
    n_threads: int,
) -> NewtonStep:
    """Solve ``H v = -gradient`` approximately by PCG with the Polak-Ribiere (flexible) beta.

    Parameters
    ----------
    hessian_product : callable
        ``(p, out) -> H p``; fills `out` with the margins ``X p``.
    preconditioner : Preconditioner
    gradient : ndarray, shape (K, d + 1)
    rule : StopRule
    margins : ndarray of float32, shape (K, n)
        Overwritten with ``X v``.
    scratch : ndarray of float32, shape (K, n)
        Overwritten.
    n_threads : int
        Threads.
    """
    v = np.zeros_like(gradient)
    margins[:] = 0
    r = -gradient
    p = h = -preconditioner.solve(gradient)
    rh0 = rh = rh_new = p_m_p = dot(r, h)
    iterations, trusted, solved = 0, True, rh == 0
    while rh > 0 and iterations < rule.max_iterations:
        q = hessian_product(p, scratch)
        iterations += 1
        p_q = dot(p, q)
        if not p_q > rule.guard * p_m_p:
            trusted = False
            break
        step = rh / p_q
        v += step * p
        ops().add_scaled(margins, step, scratch, n_threads=worthwhile(n_threads, 4 * scratch.size))
        r_new = r - step * q
        h = preconditioner.solve(r_new)
        rh_new = dot(r_new, h)
        solved = rh_new <= max(rule.relative * rh0, rule.absolute)
        if solved:
            break
        beta = max(dot(r_new - r, h), 0.0) / rh
        p = h + beta * p
        p_m_p = rh_new + beta * beta * p_m_p
        r, rh = r_new, rh_new
    fallen = 0.5 * decades(rh0, max(rh_new, 1e-300)) if rh0 > 0 else 1.0
    return NewtonStep(
        direction=v,
        iterations=iterations,
        per_decade=iterations / max(fallen, 0.3),
        decrement=-dot(gradient, v),
        trusted=trusted,
        solved=solved,
    )


def line_search(
    slope: Callable[[float], float],
    slope_at_zero: float,
    *,
    left: float = 0.3,
    most: int = 15,
    first: float = 1.0,
) -> float:
    """Find t with ``|slope(t)| <= left |slope(0)|`` on a convex function of one variable.

    Doubling `first` until the slope changes sign, then a guarded secant; at most `most` evaluations, of
    margins only, never of the data. 0 where the function does not fall, which rounding errors can cause.
    """
    if not slope_at_zero < 0:
        return 0.0
    t, low, high, slope_low = first, 0.0, np.inf, slope_at_zero
    for _ in range(most):
        s = slope(t)
        if abs(s) <= left * abs(slope_at_zero):
            break
        if s > 0:
            high = t
            t = low + (t - low) * min(0.9, max(0.1, slope_low / (slope_low - s)))
        else:
            low, slope_low = t, s
            t = 2 * t if high == np.inf else 0.5 * (t + high)
    return t
