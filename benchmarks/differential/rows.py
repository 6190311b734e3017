"""Losses of rows in ball arithmetic: values, slopes, curvatures and convex conjugates.

A loss is a function of its margins; labels are signs, targets, or class indices. All numbers are `flint.arb`.
"""

from collections.abc import Sequence

from flint import arb

Rows = list[arb]
_HALF = arb(1) / 2
_ZERO = arb(0)


class _Logistic:
    """``log(1 + exp(-y m))``, labels -1 and 1."""

    def __init__(self, epsilon: float) -> None:
        del epsilon

    def value(self, m: arb, y: float) -> arb:
        a = m if y > 0 else -m
        return (-a).exp().log1p() if a.mid() > 0 else a.exp().log1p() - a

    def slope(self, m: arb, y: float) -> arb:
        return -_sigmoid(-m) if y > 0 else _sigmoid(m)

    def curvature(self, m: arb, y: float) -> arb:
        del y
        return _sigmoid(m) * _sigmoid(-m)

    def conjugate(self, c: arb, y: float) -> arb | None:
        """Of a slope c; None where it is infinite."""
        p = -c if y > 0 else c
        return _entropy([p, 1 - p])


class _Squared:
    """``(m - y)^2 / 2``."""

    def __init__(self, epsilon: float) -> None:
        del epsilon

    def value(self, m: arb, y: float) -> arb:
        return _HALF * (m - y) ** 2

    def slope(self, m: arb, y: float) -> arb:
        return m - y

    def curvature(self, m: arb, y: float) -> arb:
        del m, y
        return arb(1)

    def conjugate(self, c: arb, y: float) -> arb | None:
        return c * (_HALF * c + y)


class _SquaredHinge:
    """``max(0, 1 - y m)^2 / 2``, labels -1 and 1."""

    def __init__(self, epsilon: float) -> None:
        del epsilon

    def _short(self, m: arb, y: float) -> arb:
        short = 1 - y * m
        return short if short > 0 else short.nonnegative_part() if not short < 0 else _ZERO

    def value(self, m: arb, y: float) -> arb:
        return _HALF * self._short(m, y) ** 2

    def slope(self, m: arb, y: float) -> arb:
        return -y * self._short(m, y)

    def curvature(self, m: arb, y: float) -> arb:
        return arb(1) if self._short(m, y).mid() > 0 else _ZERO

    def edges(self, y: float) -> Rows:
        """Margins at which the curvature changes."""
        return [arb(y)]

    def conjugate(self, c: arb, y: float) -> arb | None:
        u = -y * c
        return u * (_HALF * u - 1)


class _SquaredInterval:
    """``max(0, |m - y| - epsilon)^2 / 2``."""

    def __init__(self, epsilon: float) -> None:
        self.epsilon = arb(epsilon)

    def slope(self, m: arb, y: float) -> arb:
        return (m - y - self.epsilon).nonnegative_part() - (y - self.epsilon - m).nonnegative_part()

    def value(self, m: arb, y: float) -> arb:
        return _HALF * self.slope(m, y) ** 2

    def edges(self, y: float) -> Rows:
        """Margins at which the curvature changes."""
        return [y - self.epsilon, y + self.epsilon]

    def curvature(self, m: arb, y: float) -> arb:
        return arb(1) if abs((m - y).mid()) > self.epsilon else _ZERO

    def conjugate(self, c: arb, y: float) -> arb | None:
        return c * (_HALF * c + y) + self.epsilon * abs(c)


class _Hinge:
    """``max(0, 1 - y m)``, labels -1 and 1."""

    def __init__(self, epsilon: float) -> None:
        del epsilon

    def value(self, m: arb, y: float) -> arb:
        return (1 - y * m).nonnegative_part()

    def conjugate(self, c: arb, y: float) -> arb | None:
        return y * c


class _Interval:
    """``max(0, |m - y| - epsilon)``."""

    def __init__(self, epsilon: float) -> None:
        self.epsilon = arb(epsilon)

    def value(self, m: arb, y: float) -> arb:
        return (abs(m - y) - self.epsilon).nonnegative_part()

    def conjugate(self, c: arb, y: float) -> arb | None:
        return y * c + self.epsilon * abs(c)


LOSSES = {
    "logistic": _Logistic,
    "squared": _Squared,
    "squared_hinge": _SquaredHinge,
    "squared_interval": _SquaredInterval,
    "hinge": _Hinge,
    "interval": _Interval,
}


def softmax_value(margins: Sequence[arb], label: int) -> arb:
    """Cross-entropy of one row with K margins."""
    top = max(range(len(margins)), key=lambda k: margins[k].mid())
    rest = sum(((m - margins[top]).exp() for k, m in enumerate(margins) if k != top), _ZERO)
    return rest.log1p() + (margins[top] - margins[label])


def softmax(margins: Sequence[arb]) -> Rows:
    """Probabilities of one row."""
    top = max(margins, key=lambda m: m.mid())
    parts = [(m - top).exp() for m in margins]
    total = sum(parts, _ZERO)
    return [part / total for part in parts]


def softmax_conjugate(c: Sequence[arb], label: int) -> arb | None:
    """Of slopes of one row; None where it is infinite."""
    return _entropy([value + (1 if k == label else 0) for k, value in enumerate(c)])


def _sigmoid(m: arb) -> arb:
    if m.mid() > 0:
        return 1 / (1 + (-m).exp())
    small = m.exp()
    return small / (1 + small)


def _entropy(p: Sequence[arb]) -> arb | None:
    """``sum p log p``; None unless all p are surely positive."""
    if not all(each > 0 for each in p):
        return None
    return sum((each * each.log() for each in p), _ZERO)
