"""The minimum of a posed problem with many rows: Newton's method in float64, values in long double.

Columns are scaled by powers of two and centred first: the difference of two near floats is exact. What is
returned is the value of a point; a gap that is measured from it is never too large, whatever was missed.
"""

import dataclasses
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from flint import arb

from benchmarks.differential import wide_kinked
from benchmarks.differential.posed import KINKED, TARGETS, Array, Posed
from benchmarks.differential.wide_rows import LOSSES, softmax_loss, softmax_slopes

_MOST_STEPS = 100
_DIGITS = 1e-16  # decrement over objective at which steps have ended
_NULL = 1e-15  # eigenvalue over the largest below which a direction counts as none
_FLAT = 1e8  # condition over that at zero where curvature is gone
_CHUNK = 2**16  # rows that are in long double at a time
_SUMS = 1e-17  # relative rounding error of sums of a million long doubles
_MARGINS = 3e-19  # of margins


@dataclass(frozen=True)
class Point:
    """Scaled coefficients (K, d) and intercepts (K,) of the centred columns."""

    w: Array
    b: Array


class Large:
    """A posed problem with scaled, centred columns."""

    def __init__(self, posed: Posed) -> None:
        self.K = posed.n_outputs
        self.shifts = _means_of_targets(posed)
        self.exact_y = posed.y.astype(np.longdouble) - self.shifts[:, None] if self.shifts.any() else posed.y
        self.posed = posed = dataclasses.replace(posed, y=self.exact_y.astype(posed.y.dtype))
        largest = np.abs(posed.X).max(axis=0)
        self.exponents = np.where(largest > 0, np.frexp(largest)[1], 0)
        self.t = (posed.s / posed.s.max()) / (posed.s / posed.s.max()).sum()
        scaled = np.ldexp(posed.X, -self.exponents)
        self.means = self.t @ scaled if posed.fit_intercept else np.zeros(len(largest))
        self.X = scaled - self.means
        total = sum(map(Fraction, posed.s.tolist()), Fraction(0))
        self.lam = np.longdouble(1) * _long(posed.strength / total)
        self.penalties = np.minimum(np.ldexp(self.lam, -2 * self.exponents), 1e290).astype(np.float64)
        self.softmax = posed.loss == "softmax"

    # ---- values

    def point(self, W: Array, b: Array) -> Point:
        """Coefficients in the units of X as a point; the intercepts are exact before they are rounded."""
        w = np.ldexp(W.astype(np.longdouble), self.exponents)
        means = [
            Fraction(float(m)) * Fraction(2) ** int(e)
            for m, e in zip(self.means, self.exponents, strict=True)
        ]
        shifts = [
            sum((m * Fraction(float(v)) for m, v in zip(means, row, strict=True)), Fraction(0)) for row in W
        ]
        exact = [Fraction(float(v)) + s for v, s in zip(b, shifts, strict=True)]
        return Point(
            w, np.array([_long(v - Fraction(s)) for v, s in zip(exact, self.shifts.tolist(), strict=True)])
        )

    def value(self, point: Point) -> arb:
        """F in long double, as a ball."""
        w, b = point.w.astype(np.longdouble), point.b.astype(np.longdouble)[:, None]
        total, weights = np.longdouble(0), self.posed.s.astype(np.longdouble)
        for start in range(0, len(self.X), _CHUNK):
            rows = slice(start, start + _CHUNK)
            X = np.ldexp(self.posed.X[rows].astype(np.longdouble), -self.exponents) - self.means
            total += (weights[rows] * self._losses((X @ w.T).T + b, rows)).sum()
        loss = total / weights.sum()
        W = np.ldexp(w, -self.exponents)
        return self._ball(loss + self.lam / 2 * (W**2).sum(), loss, w, b)

    def _ball(self, value: np.longdouble, loss: np.longdouble, w: Array, b: Array) -> arb:
        """A value with its rounding error: relative of sums, and of margins and labels times the slopes.

        The mean slope of half a square is at most the root of twice the loss, of a logistic loss twice it.
        """
        size = np.abs(w).sum() + np.abs(b).max() + np.abs(self.posed.y).max()
        slope = np.sqrt(2 * loss) if self.posed.loss.startswith("squared") else np.longdouble(1)
        if self.posed.loss in ("logistic", "softmax"):
            slope = min(slope, 2 * loss)
        return arb(to_arb(value), to_arb(_SUMS * np.abs(value) + _MARGINS * size * slope))

    def _losses(self, m: Array, rows: slice) -> Array:
        y = (self.exact_y if m.dtype == np.longdouble else self.posed.y)[:, rows]
        if self.softmax:
            return softmax_loss(m, y[0])
        return LOSSES[self.posed.loss](self.posed.epsilon).value(m, y).sum(axis=0)

    # ---- Newton's method

    def minimise(self) -> tuple[Point, float, float]:
        """Return the best point, what is left by Newton's word, and the Hessian's condition number."""
        if self.softmax or self.K == 1:
            return self._minimised()
        parts = [Large(self.posed.output(k)) for k in range(self.K)]
        points, left, conditions = zip(*(part._minimised() for part in parts), strict=True)
        again = np.array([part.shifts[0] for part in parts])  # what rounding left of the means
        joined = Point(np.concatenate([p.w for p in points]), np.concatenate([p.b for p in points]) + again)
        return joined, sum(left), max(conditions)

    def _minimised(self) -> tuple[Point, float, float]:
        if self.posed.loss in KINKED:
            theta, left, condition = wide_kinked.minimise(self.posed, self.X, self.t, self.penalties)
            return Point(theta[:, :-1], theta[:, -1]), left, condition
        free = 1.0 if self.posed.fit_intercept else 0.0
        self.A = np.column_stack([self.X, np.full(len(self.X), free)])
        theta = np.zeros((self.K, self.X.shape[1] + 1))
        value, left = self._value(theta), np.inf
        for _ in range(_MOST_STEPS):
            gradient, H = self._derivatives(theta)
            v, condition = _solved(H, gradient.ravel())
            v, left = -v.reshape(theta.shape), float(gradient.ravel() @ v)
            best, at = self._line(theta, value, v, left)
            if not at < value - _DIGITS * value:
                theta = (
                    theta + v
                    if np.isfinite(left) and self._value(theta + v) <= value * (1 + 1e-15)
                    else theta
                )
                break
            theta, value = best, at
        return Point(theta[:, :-1], theta[:, -1]), left, condition

    def _line(self, theta: Array, value: float, v: Array, decrement: float) -> tuple[Array, float]:
        """Halve a step until it gains something, or double it while that gains more."""
        t, best, at = 1.0, theta, value
        for _ in range(40):
            trial = theta + t * v
            new = self._value(trial)
            if new < value - 1e-4 * t * decrement:
                best, at = trial, new
                break
            t /= 2
        while t >= 1 and at < value and self._value(theta + 2 * t * v) < at:
            t *= 2
            best, at = theta + t * v, self._value(theta + t * v)
        return best, at

    def _margins(self, theta: Array) -> Array:
        return theta[:, :-1] @ self.X.T + theta[:, -1:]  # without an intercept that is 0

    def _value(self, theta: Array) -> float:
        with np.errstate(over="ignore", invalid="ignore"):
            loss = (self.t * self._losses(self._margins(theta), slice(None))).sum()
            return float(loss + 0.5 * (self.penalties * theta[:, :-1] ** 2).sum())

    def _derivatives(self, theta: Array) -> tuple[Array, Array]:
        m = self._margins(theta)
        if self.softmax:
            c, curvature = softmax_slopes(m, self.posed.y[0])
        else:
            loss = LOSSES[self.posed.loss](self.posed.epsilon)
            c, curvature = loss.slope(m, self.posed.y), loss.curvature(m, self.posed.y)[:, None]
        A, penalties = self.A, np.append(self.penalties, 0.0)
        gradient = (c * self.t) @ A + penalties * theta
        p, K = A.shape[1], self.K
        H = np.zeros((K, p, K, p))
        for k in range(K):
            for other in range(K):
                H[k, :, other] = (A * (self.t * curvature[k, other if self.softmax else 0])[:, None]).T @ A
            H[k, :, k] += np.diag(penalties)
        return gradient, H.reshape(K * p, K * p)

    def escapes(self, point: Point) -> bool:
        """Whether, without a penalty, some direction has lost its curvature: there is no minimum."""
        if self.posed.loss not in ("logistic", "softmax"):
            return False
        _, there = _solved(
            self._derivatives(np.column_stack([point.w, point.b]))[1], np.zeros(self.K * self.A.shape[1])
        )
        _, at_zero = _solved(
            self._derivatives(np.zeros((self.K, self.A.shape[1])))[1], np.zeros(self.K * self.A.shape[1])
        )
        return there > _FLAT * at_zero

    def coefs(self, point: Point) -> list[list[arb]]:
        """Coefficients in the units of X and, last, the intercept of every output."""
        W = np.ldexp(point.w.astype(np.longdouble), -self.exponents)
        b = point.b.astype(np.longdouble) - point.w @ self.means + self.shifts
        return [[to_arb(v) for v in (*row, shift)] for row, shift in zip(W, b, strict=True)]


def _means_of_targets(posed: Posed) -> Array:
    """What is taken off targets before anything is squared."""
    if posed.loss not in TARGETS or not posed.fit_intercept:
        return np.zeros(posed.n_outputs)
    return posed.y @ (posed.s / posed.s.sum())


def to_arb(value: np.longdouble) -> arb:
    """Return a long double as it is."""
    if not np.isfinite(value):
        return arb("inf")
    mantissa, exponent = np.frexp(np.longdouble(value))
    high = float(mantissa)
    return (arb(high) + arb(float(mantissa - high))) * arb(2) ** int(exponent)


def _long(value: Fraction) -> np.longdouble:
    """Round a fraction to long double."""
    if value == 0:
        return np.longdouble(0)
    shift = 80 - (value.numerator.bit_length() - value.denominator.bit_length())
    whole = round(value * Fraction(2) ** shift)
    high = whole >> 40
    return np.ldexp(np.longdouble(high) * 2**40 + np.longdouble(whole - (high << 40)), -shift)


def _solved(H: Array, g: Array) -> tuple[Array, float]:
    """Solution and condition number of a Hessian with a diagonal of ones; flat directions stay."""
    diagonal = np.sqrt(np.diag(H))
    scale = np.where(diagonal > 0, diagonal, 1.0)
    values, vectors = np.linalg.eigh(H / np.outer(scale, scale))
    kept = values > _NULL * max(values[-1], 0.0)
    inverse = np.where(kept, 1.0 / np.where(kept, values, 1.0), 0.0)
    solution = vectors @ (inverse * (vectors.T @ (g / scale))) / scale
    solution[diagonal == 0] = 0.0  # intercepts that are none: eigenvectors know them up to rounding only
    return solution, float(values[-1] / values[kept].min()) if kept.any() else np.inf
