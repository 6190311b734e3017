"""The linear algebra of a small problem in ball arithmetic: coordinates, margins, values, the dual.

Everything is computed at the precision that `flint.ctx.prec` says; what floats hold is exact.
"""

import functools
from fractions import Fraction

import numpy as np
from flint import arb, arb_mat, ctx, fmpq, nmod_mat

from benchmarks.differential import rows
from benchmarks.differential.posed import Array, Posed

Vector = list[arb]
_IMPOSSIBLE = arb(2) ** -100  # probability that no minimum has; where there is none it is far below
_PRIME = 4611686018427387847  # below 2^62: ranks modulo it are those of the floats but for bad luck


class Exact:
    """A posed problem in coordinates theta in which its minimum is unique: ``W = theta B``.

    Of more columns than rows B are independent rows (the penalty keeps W in their span), without a penalty
    unit vectors of independent columns, else all unit vectors. Columns are scaled by powers of two.

    Attributes
    ----------
    A : arb_mat, shape (n, r + 1)
        Margins are ``A [theta b]^T``; the last column is one with an intercept, else zero.
    Q : arb_mat, shape (r + 1, r + 1)
        ``|W|^2`` as a quadratic form of theta.
    t, lam
        Weights that sum to one; the penalty.
    """

    def __init__(self, posed: Posed) -> None:
        self.posed = posed
        self.n, self.d = posed.X.shape
        total = sum((Fraction(float(s)) for s in posed.s), Fraction(0))
        self.t = [arb(float(s)) / _exact(total) for s in posed.s]
        self.lam = _exact(posed.strength) / _exact(total)
        self.X = arb_mat(posed.X.tolist())
        self.loss = None if posed.loss == "softmax" else rows.LOSSES[posed.loss](posed.epsilon)
        self._basis = _basis(posed)
        one = arb(1 if posed.fit_intercept else 0)
        inner = self._inner_rows(self.X)
        self.A = arb_mat([[*row, one] for row in inner.tolist()])
        self.Q = self._quadratic()
        self.free = [*range(self.A.ncols() - 1), *([self.A.ncols() - 1] if posed.fit_intercept else [])]

    def _inner_rows(self, X: arb_mat) -> arb_mat:
        kind, index = self._basis
        if kind == "rows":
            return X * arb_mat([[X[i, j] for j in range(self.d)] for i in index]).transpose()
        self.scales = [arb(2) ** -_exponent(self.posed.X[:, j]) for j in index]
        columns = [
            [X[i, j] * scale for j, scale in zip(index, self.scales, strict=True)] for i in range(self.n)
        ]
        return arb_mat(columns) if index else arb_mat(self.n, 0)

    def _quadratic(self) -> arb_mat:
        kind, index = self._basis
        r = self.A.ncols() - 1
        Q = arb_mat(r + 1, r + 1)
        for a in range(r):
            for b in range(r) if kind == "rows" else (a,):
                Q[a, b] = self.A[index[a], b] if kind == "rows" else self.scales[a] ** 2
        return Q

    def weights(self, theta: Vector) -> Vector:
        """W of one output, in the units of X."""
        kind, index = self._basis
        if kind == "rows":
            B = arb_mat([[self.X[i, j] for j in range(self.d)] for i in index])
            return (arb_mat(1, len(index), theta[:-1]) * B).entries()
        found = [arb(0)] * self.d
        for j, scale, value in zip(index, self.scales, theta[:-1], strict=True):
            found[j] = value * scale
        return found

    # ---- at a point: one vector theta per output

    def margins(self, theta: list[Vector]) -> list[Vector]:
        """Margins, shape (K, n)."""
        return [(self.A * column(each)).entries() for each in theta]

    def value(self, theta: list[Vector], margins: list[Vector]) -> arb:
        """F."""
        return self.mean_loss(margins) + self.lam / 2 * self.form(theta)

    def form(self, theta: list[Vector]) -> arb:
        """``|W|^2``."""
        return sum(((column(v).transpose() * self.Q * column(v))[0, 0] for v in theta), arb(0))

    def mean_loss(self, margins: list[Vector]) -> arb:
        """The sum of the weighted losses."""
        y = self.posed.y[0].tolist()
        if self.posed.loss == "softmax":
            each = [
                rows.softmax_value(m, label) for m, label in zip(zip(*margins, strict=True), y, strict=True)
            ]
        else:
            each = [self.loss.value(m, label) for m, label in zip(margins[0], y, strict=True)]
        return dot(self.t, each)

    def escapes(self, theta: list[Vector]) -> bool:
        """Whether, without a penalty, a row's other classes are impossible: its margins grow for ever."""
        if self.lam > 0 or self.posed.loss not in ("logistic", "softmax"):
            return False
        margins = self.margins(theta)
        rows_of = [[m, arb(0)] for m in margins[0]] if len(margins) == 1 else zip(*margins, strict=True)
        return any(min(rows.softmax(m)).mid() < _IMPOSSIBLE for m in rows_of)

    def mean_conjugate(self, slopes: list[Vector]) -> arb | None:
        """The sum of the weighted conjugates; None if one is infinite."""
        y = self.posed.y[0].tolist()
        if self.posed.loss == "softmax":
            each = [
                rows.softmax_conjugate(c, label)
                for c, label in zip(zip(*slopes, strict=True), y, strict=True)
            ]
        else:
            each = [self.loss.conjugate(c, label) for c, label in zip(slopes[0], y, strict=True)]
        return None if any(value is None for value in each) else dot(self.t, each)

    def dual_of_slopes(self, c: Vector) -> arb | None:
        """Lower bound of F* from slopes of one output, made to cancel if there is an intercept."""
        if self.posed.fit_intercept:
            c = self._balanced(c)
        cost = self.mean_conjugate([c])
        if cost is None or not self.lam > 0:
            return None
        pull = (arb_mat(1, self.n, times(self.t, c)) * self.X).entries()
        return -dot(pull, pull) / (2 * self.lam) - cost

    def _balanced(self, c: Vector) -> Vector:
        up = dot(self.t, [each.nonnegative_part() for each in c])
        down = dot(self.t, [(-each).nonnegative_part() for each in c])
        if up.mid() > down.mid():
            return [each * (down / up) if each > 0 else each for each in c]
        return [each * (up / down) if each < 0 else each for each in c] if down > 0 else c

    def gradient(self, theta: list[Vector], slopes: list[Vector]) -> list[Vector]:
        """Gradient in theta and b, shape (K, r + 1)."""
        found = []
        for v, c in zip(theta, slopes, strict=True):
            pull = self.A.transpose() * column(times(self.t, c))
            found.append((pull + (self.Q * column(v)) * self.lam).entries())
        return found

    def gram(self, h: Vector) -> arb_mat:
        """``A^T diag(t h) A``."""
        scaled = [
            [each * value for value in row]
            for each, row in zip(times(self.t, h), self.A.tolist(), strict=True)
        ]
        return self.A.transpose() * arb_mat(scaled)


def objective(posed: Posed, W: Array, b: Array | Vector) -> arb:
    """F of a problem of any number of outputs at coefficients (K, d) and (K,)."""
    total = sum((Fraction(float(s)) for s in posed.s), Fraction(0))
    t = [arb(float(s)) / _exact(total) for s in posed.s]
    X = arb_mat(posed.X.tolist())
    margins = [
        [m + arb(shift) for m in (X * column(w.tolist())).entries()]
        for w, shift in zip(W, list(b), strict=True)
    ]
    penalty = (
        sum((arb(float(w)) ** 2 for w in W.ravel()), arb(0)) * _exact(posed.strength) / (2 * _exact(total))
    )
    return _losses_at(posed, t, margins) + penalty


def _losses_at(posed: Posed, t: Vector, margins: list[Vector]) -> arb:
    if posed.loss == "softmax":
        labels = posed.y[0].tolist()
        return dot(
            t, [rows.softmax_value(m, k) for m, k in zip(zip(*margins, strict=True), labels, strict=True)]
        )
    found, loss = arb(0), rows.LOSSES[posed.loss](posed.epsilon)
    for m, y in zip(margins, posed.y.tolist(), strict=True):
        found += dot(t, [loss.value(*pair) for pair in zip(m, y, strict=True)])
    return found


def at_precision(bits: int) -> None:
    """Set the precision of everything that follows."""
    ctx.prec = bits


def _basis(posed: Posed) -> tuple[str, list[int]]:
    n, d = posed.X.shape
    if posed.strength == 0:
        shift = 1 if posed.fit_intercept else 0
        pivots = independent_columns([[*[1.0] * shift, *row] for row in posed.X.tolist()])
        return "columns", [j - shift for j in pivots if j >= shift]
    if d > n:
        return "rows", independent_columns(posed.X.T.tolist())
    return "columns", list(range(d))


def independent_columns(table: list[list]) -> list[int]:
    """Columns that no combination of columns before them equals, in exact arithmetic."""
    entries = [_modulo(value) for row in table for value in row]
    reduced, rank = nmod_mat(len(table), len(table[0]), entries, _PRIME).rref()
    rows_left = reduced.tolist()[:rank]
    return [next(j for j, value in enumerate(row) if int(value)) for row in rows_left]


def _modulo(value: float | arb) -> int:
    mantissa, exponent = map(int, arb(value).man_exp())
    return mantissa % _PRIME * _power(exponent) % _PRIME


@functools.cache
def _power(exponent: int) -> int:
    return pow(2 if exponent >= 0 else pow(2, -1, _PRIME), abs(exponent), _PRIME)


def _exponent(column: Array) -> int:
    largest = np.abs(column).max()
    return int(np.frexp(largest)[1]) if largest > 0 else 0


def _exact(value: Fraction) -> arb:
    return arb(fmpq(value.numerator, value.denominator))


def column(values: list) -> arb_mat:
    """Return numbers as a matrix of one column."""
    return arb_mat(len(values), 1, values)


def times(a: Vector, b: Vector) -> Vector:
    """Product by element."""
    return [x * y for x, y in zip(a, b, strict=True)]


def dot(a: Vector, b: Vector) -> arb:
    """Inner product."""
    return (arb_mat(1, len(a), a) * arb_mat(len(b), 1, b))[0, 0]
