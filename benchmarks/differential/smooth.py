"""Newton's method in high precision, and a rigorous bound of what is left.

The bound is a dual value. For losses with a curvature everywhere the slopes ``c + h A v`` of a Newton step v
cancel exactly what a dual point must cancel, so that duality holds without a penalty too; where curvature is
switched on and off the slopes themselves are taken, scaled so that they cancel.
"""

from dataclasses import dataclass

from flint import arb, arb_mat, ctx

from benchmarks.differential import face, rows
from benchmarks.differential.exact import Exact, Vector, column, dot, times

_MOST_STEPS = 400
_DIGITS = 0.85  # share of the bits that the decrement must reach: what is left is rounding
_NOTHING = arb(2) ** -260  # of the objective at zero: an objective that has none left to lose


@dataclass(frozen=True)
class Minimum:
    """A point in the coordinates of `Exact` and what its objective is known to be above the minimum by."""

    theta: list[Vector]
    value: arb
    error: arb  # inf if unknown


def minimise(exact: Exact, start: list[Vector] | None) -> Minimum:
    """Minimise a loss with a curvature from a starting point."""
    return _Newton(exact).run(start)


class _Newton:
    def __init__(self, exact: Exact) -> None:
        self.exact = exact
        self.K = exact.posed.n_outputs if exact.posed.loss == "softmax" else 1
        self.p = exact.A.ncols()
        self.index = [(k, j) for k in range(self.K) for j in exact.free if not self._is_gauge(k, j)]
        self.switches = exact.posed.loss in ("squared_hinge", "squared_interval")

    def _is_gauge(self, k: int, j: int) -> bool:
        """Shifting all classes changes nothing that is not penalised: the last class stays."""
        if self.K == 1 or k < self.K - 1:
            return False
        return j == self.p - 1 or not self.exact.lam > 0

    def run(self, start: list[Vector] | None) -> Minimum:
        theta = start or [[arb(0)] * self.p for _ in range(self.K)]
        at_zero = self._value([[arb(0)] * self.p for _ in range(self.K)])
        value, tiny = self._value(theta), arb(2) ** -int(_DIGITS * ctx.prec)
        for _ in range(_MOST_STEPS):
            gradient, H = self._derivatives(theta)
            try:
                v = self._step(gradient, H, "approx")
            except ZeroDivisionError:  # more bits are needed
                break
            decrement = -sum((dot(g, s) for g, s in zip(gradient, v, strict=True)), arb(0)).mid()
            if not decrement > tiny * value or value < _NOTHING * at_zero:
                last = _along(theta, v, arb(1))
                theta = last if self.switches and not self._value(last) > value else theta
                break
            theta, value, moved = self._line(theta, value, v, decrement)
            if not moved:
                break
        return self._certified(theta)

    def _value(self, theta: list[Vector]) -> arb:
        return self.exact.value(theta, self.exact.margins(theta)).mid()

    def _derivatives(self, theta: list[Vector], *, rigorous: bool = False) -> tuple[list[Vector], arb_mat]:
        slopes, curvature = self._rows(self.exact.margins(theta))
        gradient, H = self.exact.gradient(theta, slopes), self._hessian(curvature)
        return (gradient, H) if rigorous else ([[g.mid() for g in each] for each in gradient], H.mid())

    def _rows(self, margins: list[Vector]):
        """Slopes (K, n), and curvatures: of row i between outputs k and l."""
        y = self.exact.posed.y[0].tolist()
        if self.K == 1:
            loss, pairs = self.exact.loss, list(zip(margins[0], y, strict=True))
            return [[loss.slope(*pair) for pair in pairs]], [loss.curvature(*pair) for pair in pairs]
        p = [rows.softmax(m) for m in zip(*margins, strict=True)]
        return [
            [row[k] - (1 if k == label else 0) for row, label in zip(p, y, strict=True)]
            for k in range(self.K)
        ], p

    def _hessian(self, curvature) -> arb_mat:
        """Hessian among the free coordinates."""
        full = {}
        for k in range(self.K):
            for l in range(k, self.K):  # noqa: E741
                full[k, l] = self._block(curvature, k, l)
        return arb_mat([[full[min(k, m), max(k, m)][i, j] for m, j in self.index] for k, i in self.index])

    def _block(self, curvature, k: int, l: int) -> arb_mat:  # noqa: E741
        h = curvature if self.K == 1 else [p[k] * ((1 if k == l else 0) - p[l]) for p in curvature]
        gram = self.exact.gram(h)
        return gram + self.exact.Q * self.exact.lam if k == l else gram

    def _step(self, gradient: list[Vector], H: arb_mat, algorithm: str) -> list[Vector]:
        g = arb_mat(len(self.index), 1, [-gradient[k][j] for k, j in self.index])
        found = [[arb(0)] * self.p for _ in range(self.K)]
        try:
            solved = H.solve(g, algorithm=algorithm).entries()
        except ZeroDivisionError:
            if algorithm != "approx":
                raise
            solved = _regularised(H).solve(g, algorithm=algorithm).entries()
        for (k, j), value in zip(self.index, solved, strict=True):
            found[k][j] = value.mid() if algorithm == "approx" else value
        return found

    def _line(self, theta, value, v, decrement):
        """Halve a step until it gains enough; double it while that gains more."""
        t = self._exact_length(theta, v) if self.switches else arb(1)
        for _ in range(60):
            trial = _along(theta, v, t)
            new = self._value(trial)
            if new < value - decrement * t / 1000:
                return (*self._longer(theta, v, t, trial, new), True)
            t /= 2
        return theta, value, False

    def _longer(self, theta, v, t, trial, new):
        while t >= 1 and t < arb(2) ** 1100 and not self.switches:
            t *= 2
            further = _along(theta, v, t)
            value = self._value(further)
            if not value < new:
                break
            trial, new = further, value
        return trial, new

    def _exact_length(self, theta: list[Vector], v: list[Vector]) -> arb:
        """Minimiser along v of a piecewise quadratic function: its slope is linear between breaks."""
        (m,), (along,) = self.exact.margins(theta), self.exact.margins(v)
        labels = self.exact.posed.y[0].tolist()
        bend = self.exact.lam * self.exact.form(v)
        linear = self.exact.lam * (column(theta[0]).transpose() * self.exact.Q * column(v[0]))[0, 0]

        def slope(t: arb) -> arb:
            c = [
                self.exact.loss.slope((a + t * b).mid(), y) for a, b, y in zip(m, along, labels, strict=True)
            ]
            return (linear + t * bend + dot(self.exact.t, times(c, along))).mid()

        breaks = self._breaks(m, along, labels)
        low, high = 0, len(breaks)  # the slope is negative at breaks[low - 1] and not at breaks[high]
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if slope(breaks[middle]) < 0 else (low, middle)
        left = breaks[low - 1] if low else arb(0)
        right = breaks[low] if low < len(breaks) else left + 1
        a, b = slope(left), slope(right)
        return (left - a * (right - left) / (b - a)).mid() if b > a else arb(1)

    def _breaks(self, m: Vector, along: Vector, labels: list[float]) -> Vector:
        """Where margins enter or leave what costs nothing, ahead, in order."""
        found = []
        for a, b, y in zip(m, along, labels, strict=True):
            if b.mid() != 0:
                found += [((edge - a) / b).mid() for edge in self.exact.loss.edges(y)]
        return sorted(t for t in found if t > 0)

    # ---- the certificate

    def _certified(self, theta: list[Vector]) -> Minimum:
        margins = self.exact.margins(theta)
        value = self.exact.value(theta, margins)
        try:
            dual = self._dual(theta, margins)
        except ZeroDivisionError:
            dual = None
        return Minimum(theta, value, least_gap(value, dual))

    def _dual(self, theta: list[Vector], margins: list[Vector]) -> arb | None:
        if self.switches:
            return self.exact.dual_of_slopes(self._rows(margins)[0][0])
        if not self.exact.lam > 0 and self.exact.posed.loss != "squared":
            return face.dual(self.exact, margins)
        slopes, curvature = self._rows(margins)
        v = self._step(self.exact.gradient(theta, slopes), self._hessian(curvature), "lu")
        cost = self.exact.mean_conjugate(self._changed(slopes, curvature, self.exact.margins(v)))
        if cost is None:
            return None
        moved = [[a + b for a, b in zip(*pair, strict=True)] for pair in zip(theta, v, strict=True)]
        return -self.exact.lam / 2 * self.exact.form(moved) - cost

    def _changed(self, slopes, curvature, along: list[Vector]) -> list[Vector]:
        if self.K == 1:
            return [[c + h * a for c, h, a in zip(slopes[0], curvature, along[0], strict=True)]]
        means = [dot(p, list(row)) for p, row in zip(curvature, zip(*along, strict=True), strict=True)]
        return [
            [
                c + p[k] * (a - mean)
                for c, p, a, mean in zip(slopes[k], curvature, along[k], means, strict=True)
            ]
            for k in range(self.K)
        ]


def least_gap(value: arb, dual: arb | None) -> arb:
    """Upper bound of ``F - F*``; no objective here is ever below zero."""
    if dual is None or not dual.is_finite() or dual < 0:
        dual = arb(0)
    return (value - dual).upper().nonnegative_part()


def _regularised(H: arb_mat) -> arb_mat:
    """Singular where no row has curvature: a little of the largest diagonal is added."""
    size = len(H.tolist())
    most = max((H[i, i] for i in range(size)), key=lambda value: value.mid())
    out = arb_mat(H)
    for i in range(size):
        out[i, i] = H[i, i] + (most if most > 0 else arb(1)) * arb(2) ** -90
    return out


def _along(theta: list[Vector], v: list[Vector], t: arb) -> list[Vector]:
    return [[(a + t * b).mid() for a, b in zip(*pair, strict=True)] for pair in zip(theta, v, strict=True)]
