"""Losses with a kink in high precision: Mehrotra's interior point method, certified by the duality gap.

Every loss is a sum of hinges, ``sum_j t_j max(0, q_j + B_j theta)``: two per row for an interval.
"""

from flint import arb, arb_mat

from benchmarks.differential.exact import Exact, Vector, column, dot
from benchmarks.differential.smooth import Minimum, least_gap

_MOST_STEPS = 120
_SHORT = arb(1) / 100  # of the way to where something would be zero: the share that is not gone
_ENOUGH = arb(10) ** -25  # relative gap


def minimise(exact: Exact, start: list[Vector] | None) -> Minimum:
    """Minimise a loss with a kink; the starting point is not used."""
    del start
    return _Interior(exact).run()


class _Interior:
    """State: theta, slacks xi and r, multipliers u and z = t - u."""

    def __init__(self, exact: Exact) -> None:
        self.exact = exact
        y = [arb(v) for v in exact.posed.y[0].tolist()]
        n, A = exact.n, exact.A.tolist()
        if exact.posed.loss == "hinge":
            self.signs, self.q, self.row = [-v for v in y], [arb(1)] * n, list(range(n))
        else:
            epsilon = arb(exact.posed.epsilon)
            self.signs = [arb(1)] * n + [arb(-1)] * n
            self.q = [-v - epsilon for v in y] + [v - epsilon for v in y]
            self.row = [*range(n), *range(n)]
        self.t = [exact.t[i] for i in self.row]
        free = exact.free
        self.B = arb_mat(
            [[sign * A[i][j] for j in free] for sign, i in zip(self.signs, self.row, strict=True)]
        )
        self.Q = arb_mat([[exact.Q[i, j] * exact.lam for j in free] for i in free])
        self.m, self.p = len(self.q), len(free)

    def run(self) -> Minimum:
        theta = [arb(0)] * self.p
        size = max((abs(q) for q in self.q), key=lambda value: value.mid())
        size = size if size > 0 else arb(1)
        xi = [(q.nonnegative_part() + size).mid() for q in self.q]
        r = [(a - q).mid() for a, q in zip(xi, self.q, strict=True)]
        u = [(t / 2).mid() for t in self.t]
        z = [(t - a).mid() for t, a in zip(self.t, u, strict=True)]
        best = None
        for _ in range(_MOST_STEPS):
            minimum = self._certified(theta, u)
            if best is None or minimum.error < best.error:
                best = minimum
            if not minimum.error > _ENOUGH * minimum.value:
                break
            try:
                theta, xi, r, u, z = self._step(theta, xi, r, u, z)
            except ZeroDivisionError:
                break
        return best

    def _step(self, theta, xi, r, u, z):
        D = [1 / (a / b + c / e) for a, b, c, e in zip(xi, z, r, u, strict=True)]
        scaled = arb_mat([[d * value for value in row] for d, row in zip(D, self.B.tolist(), strict=True)])
        inverse = (self.B.transpose() * scaled + self.Q).mid().inv(nonstop=True).mid()
        residual = (self.Q * column(theta) + self.B.transpose() * column(u)).mid()
        now = _gap(xi, z, r, u)
        plain = self._direction(inverse, residual, D, (xi, r, u, z), [arb(0)] * self.m, [arb(0)] * self.m)
        lengths = [min(arb(1), length) for length in self._lengths(plain, xi, r, u, z)]
        ahead = _gap(
            _moved(xi, plain[1], lengths[0]),
            _moved(z, plain[4], lengths[1]),
            _moved(r, plain[2], lengths[0]),
            _moved(u, plain[3], lengths[1]),
        )
        centre = (ahead / now) ** 3 * now / (2 * self.m)
        towards_r = [(centre - a * b).mid() for a, b in zip(plain[2], plain[3], strict=True)]
        towards_xi = [(centre - a * b).mid() for a, b in zip(plain[1], plain[4], strict=True)]
        step = self._direction(inverse, residual, D, (xi, r, u, z), towards_r, towards_xi)
        most = 1 - min(_SHORT, ahead / now)
        primal, dual = (min(arb(1), length * most) for length in self._lengths(step, xi, r, u, z))
        return (
            _moved(theta, step[0], primal),
            _moved(xi, step[1], primal),
            _moved(r, step[2], primal),
            _moved(u, step[3], dual),
            _moved(z, step[4], dual),
        )

    def _direction(self, inverse, residual, D, state, towards_r, towards_xi):
        xi, r, u, z = state
        a = [m / b - c for m, b, c in zip(towards_r, u, r, strict=True)]
        b = [m / c - e for m, c, e in zip(towards_xi, z, xi, strict=True)]
        e = [y - x for x, y in zip(a, b, strict=True)]
        pulled = self.B.transpose() * column([d * value for d, value in zip(D, e, strict=True)])
        dtheta = (inverse * (pulled - residual)).mid()
        along = (self.B * dtheta).entries()
        du = [(d * (m - value)).mid() for d, m, value in zip(D, along, e, strict=True)]
        dr = [(x - c / w * v).mid() for x, c, w, v in zip(a, r, u, du, strict=True)]
        dxi = [(y + c / w * v).mid() for y, c, w, v in zip(b, xi, z, du, strict=True)]
        return dtheta.entries(), dxi, dr, du, [-value for value in du]

    def _lengths(self, step, xi, r, u, z) -> tuple[arb, arb]:
        """How far primal and dual steps keep everything positive."""
        return _longest([*xi, *r], [*step[1], *step[2]]), _longest([*u, *z], [*step[3], *step[4]])

    def _certified(self, theta: Vector, u: Vector) -> Minimum:
        whole = [*theta] if self.exact.posed.fit_intercept else [*theta, arb(0)]
        value = self.exact.value([whole], self.exact.margins([whole]))
        slopes = [arb(0)] * self.exact.n
        for i, sign, each, t in zip(self.row, self.signs, u, self.t, strict=True):
            slopes[i] += sign * each / t
        dual = self.exact.dual_of_slopes(slopes)
        return Minimum([whole], value, least_gap(value, dual))


def _gap(xi: Vector, z: Vector, r: Vector, u: Vector) -> arb:
    return (dot(xi, z) + dot(r, u)).mid()


def _moved(a: Vector, b: Vector, t: arb) -> Vector:
    return [(x + t * y).mid() for x, y in zip(a, b, strict=True)]


def _longest(values: Vector, steps: Vector) -> arb:
    limits = [(-value / step).mid() for value, step in zip(values, steps, strict=True) if step < 0]
    return min(limits) if limits else arb(2)
