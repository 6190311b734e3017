"""The minimum of a posed problem in high precision, with a bound of its own error.

The precision is raised until the bound is far below any tolerance.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from flint import arb

from benchmarks.differential import kinked, smooth
from benchmarks.differential.exact import Exact, at_precision, objective
from benchmarks.differential.large import Large, Point, to_arb
from benchmarks.differential.posed import KINKED, TARGETS, Array, Posed

_PRECISIONS = (256, 768, 2304, 6912)
_ENOUGH = arb(10) ** -22  # relative to the objective: of an error that needs no more bits
_NEAR = arb(10) ** -6  # relative error of a point that more bits go on from: others may be lost in noise
_COEF_BITS = 3000  # of the objective at our coefficients: sums of products of floats of any size
_NOTHING = arb(1e-300)  # an infimum below it is zero: all rows are separated
_FLOOR = 1e-6  # of the objective at zero: what gaps are relative to where the minimum is lower


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What is known about the minimum.

    Attributes
    ----------
    value, error : arb
        A point's objective, and what it may be above the infimum by (inf if unknown).
    at_zero : arb
        Objective of W = 0; of distances to targets with the means of these as intercepts.
    coefs : list of list of arb
        The weights and, last, the intercept of every output there.
    penalty : arb
        lam.
    condition : float
        Of the Hessian there, intercept eliminated and columns scaled to a diagonal of ones.
    at_infinity : bool
        Whether the infimum is no minimum: without a penalty, rows whose other classes have become impossible.
    objective : callable
        F at float coefficients (K, d) and (K,), as a ball.
    """

    value: arb
    error: arb
    at_zero: arb
    coefs: list[list[arb]]
    penalty: arb
    condition: float
    at_infinity: bool
    objective: Callable[[Array, Array], arb]

    @functools.cached_property
    def rounded(self) -> arb:
        """By how much F is above the minimum where its coefficients are rounded to float64."""
        return min((self._above(size) for size in self._sizes_to_round()), key=lambda gap: gap.mid())

    def _sizes_to_round(self) -> list[int]:
        """Powers of two to divide by: where all rows are separated, any size of the coefficients may do."""
        largest = max((abs(w.mid()) for row in self.coefs for w in row), default=arb(0))
        if not self.at_infinity or largest == 0 or not self.value < _NOTHING:
            return [0]
        exponent = int(float((largest.log() / arb(2).log()).mid()))
        return [exponent - size for size in range(-900, 901, 30)]

    def _above(self, size: int) -> arb:
        nearest = np.array([[float((w * arb(2) ** -size).mid()) for w in row] for row in self.coefs])
        if not np.isfinite(nearest).all():
            return arb(0)
        return (self.objective(nearest[:, :-1], nearest[:, -1]) - self.value).upper().nonnegative_part()

    @property
    def scale(self) -> arb:
        """What relative gaps are relative to: ``max(F*, 1e-6 F(0))``, as the estimators document."""
        return max(self.value.mid(), (self.at_zero * _FLOOR).mid())


def solve(posed: Posed, stream: str = "small") -> Reference:
    """Return the reference of a problem of either stream."""
    return _solve_small(posed) if stream == "small" else _solve_large(posed)


def _solve_small(posed: Posed) -> Reference:
    coupled = posed.loss == "softmax"
    parts = [posed] if coupled else [posed.output(k) for k in range(posed.n_outputs)]
    solved = [_solve_one(part) for part in parts]
    minima = [minimum for _, minimum in solved]
    at_precision(_PRECISIONS[0])
    coefs = [[*exact.weights(v), v[-1]] for exact, minimum in solved for v in minimum.theta]
    return Reference(
        value=sum((m.value for m in minima), arb(0)),
        error=sum((m.error for m in minima), arb(0)),
        at_zero=_at_zero(posed),
        coefs=coefs,
        penalty=solved[0][0].lam,
        condition=max(_condition(part, *found) for part, found in zip(parts, solved, strict=True)),
        at_infinity=any(exact.escapes(minimum.theta) for exact, minimum in solved),
        objective=functools.partial(_at_coefs, posed),
    )


def _at_coefs(posed: Posed, W: Array, b: Array) -> arb:
    at_precision(_COEF_BITS)
    return objective(posed, W, b)


def _solve_large(posed: Posed) -> Reference:
    at_precision(_PRECISIONS[0])
    large = Large(posed)
    point, left, condition = large.minimise()
    value = large.value(point)
    return Reference(
        value=value.lower(),
        error=arb(2 * max(left, 0.0)) + 2 * value.rad(),
        at_zero=large.value(Point(np.zeros_like(point.w), np.zeros(posed.n_outputs))).mid(),
        coefs=large.coefs(point),
        penalty=to_arb(large.lam),
        condition=condition,
        at_infinity=posed.strength == 0 and large.escapes(point),
        objective=lambda W, b: large.value(large.point(W, b)),
    )


def _solve_one(posed: Posed) -> tuple[Exact, smooth.Minimum]:
    method = kinked.minimise if posed.loss in KINKED else smooth.minimise
    at_precision(_PRECISIONS[0])
    at_zero, start, best = _at_zero(posed), None, None
    if at_zero == 0:  # nothing can be lower
        exact = Exact(posed)
        return exact, smooth.Minimum([[arb(0)] * exact.A.ncols()], arb(0), arb(0))
    for bits in _PRECISIONS:
        at_precision(bits)
        exact = Exact(posed)
        minimum = method(exact, start)
        if best is None or not minimum.error > best[1].error:
            best = exact, minimum
        least = at_zero * _FLOOR
        if minimum.error < _ENOUGH * (minimum.value if minimum.value > least else least):
            break
        start = minimum.theta if minimum.error < _NEAR * minimum.value else None
    return best


def _at_zero(posed: Posed) -> arb:
    K, d = posed.n_outputs, posed.X.shape[1]
    b = [arb(0)] * K
    if posed.loss in TARGETS and posed.fit_intercept:
        total = sum(map(arb, posed.s.tolist()), arb(0))
        b = [
            sum((arb(s) * y for s, y in zip(posed.s.tolist(), row, strict=True)), arb(0)) / total
            for row in posed.y.tolist()
        ]
    return objective(posed, np.zeros((K, d)), b)


def _condition(posed: Posed, exact: Exact, minimum: smooth.Minimum) -> float:
    """Condition number in the coordinates of X; inf where float64 cannot tell."""
    h = _curvature(posed, exact, minimum)
    t = np.sqrt(posed.s / posed.s.sum() * h)
    with np.errstate(all="ignore"):
        size = np.abs(posed.X).max(axis=0)
        size = np.where(size > 0, size, 1.0)
        X = posed.X / size
        if posed.fit_intercept and t.any():
            X = X - (t**2 @ X) / (t**2).sum()
        M = (X * t[:, None]).T @ (X * t[:, None])
        M += np.diag([float(exact.lam / arb(float(s)) ** 2) for s in size])
        scale = np.sqrt(np.diag(M))
        M = M / np.outer(scale, scale)
    if not np.isfinite(M).all():
        return float("inf")
    eigenvalues = np.linalg.eigvalsh(M)
    return float(eigenvalues[-1] / eigenvalues[0]) if eigenvalues[0] > 0 else float("inf")


def _curvature(posed: Posed, exact: Exact, minimum: smooth.Minimum) -> Array:
    """Curvatures of the rows, the largest of several outputs; ones for losses with a kink."""
    if posed.loss in KINKED or posed.loss == "squared":
        return np.ones(len(posed.s))
    margins = exact.margins(minimum.theta)
    if posed.loss == "softmax":
        phi = np.array([[_float(m) for m in row] for row in margins])
        with np.errstate(invalid="ignore"):  # margins at infinity
            p = np.nan_to_num(np.exp(np.clip(phi - phi.max(axis=0), -745, 0)), nan=1.0)
        p /= p.sum(axis=0)
        return (p * (1 - p)).max(axis=0)
    y = posed.y[0].tolist()
    return np.array([_float(exact.loss.curvature(m, label)) for m, label in zip(margins[0], y, strict=True)])


def _float(value: arb) -> float:
    return float(value.mid())
