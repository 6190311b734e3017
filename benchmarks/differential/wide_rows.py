"""Losses of arrays of rows: values, slopes and curvatures, in any float type."""

import numpy as np

from benchmarks.differential.posed import Array


class _Logistic:
    def __init__(self, epsilon: float) -> None:
        del epsilon

    def value(self, m: Array, y: Array) -> Array:
        return np.logaddexp(0, -y * m)

    def slope(self, m: Array, y: Array) -> Array:
        return -y * _sigmoid(-y * m)

    def curvature(self, m: Array, y: Array) -> Array:
        del y
        return _sigmoid(m) * _sigmoid(-m)


class _Squared:
    def __init__(self, epsilon: float) -> None:
        del epsilon

    def value(self, m: Array, y: Array) -> Array:
        return (m - y) ** 2 / 2

    def slope(self, m: Array, y: Array) -> Array:
        return m - y

    def curvature(self, m: Array, y: Array) -> Array:
        del y
        return np.ones_like(m)


class _SquaredHinge:
    def __init__(self, epsilon: float) -> None:
        del epsilon

    def value(self, m: Array, y: Array) -> Array:
        return np.maximum(1 - y * m, 0) ** 2 / 2

    def slope(self, m: Array, y: Array) -> Array:
        return -y * np.maximum(1 - y * m, 0)

    def curvature(self, m: Array, y: Array) -> Array:
        return (y * m < 1).astype(m.dtype)


class _SquaredInterval:
    def __init__(self, epsilon: float) -> None:
        self.epsilon = epsilon

    def value(self, m: Array, y: Array) -> Array:
        return np.maximum(np.abs(m - y) - self.epsilon, 0) ** 2 / 2

    def slope(self, m: Array, y: Array) -> Array:
        return np.sign(m - y) * np.maximum(np.abs(m - y) - self.epsilon, 0)

    def curvature(self, m: Array, y: Array) -> Array:
        return (np.abs(m - y) > self.epsilon).astype(m.dtype)


class _Hinge:
    def __init__(self, epsilon: float) -> None:
        del epsilon

    def value(self, m: Array, y: Array) -> Array:
        return np.maximum(1 - y * m, 0)


class _Interval:
    def __init__(self, epsilon: float) -> None:
        self.epsilon = epsilon

    def value(self, m: Array, y: Array) -> Array:
        return np.maximum(np.abs(m - y) - self.epsilon, 0)


LOSSES = {
    "logistic": _Logistic,
    "squared": _Squared,
    "squared_hinge": _SquaredHinge,
    "squared_interval": _SquaredInterval,
    "hinge": _Hinge,
    "interval": _Interval,
}


def softmax_loss(m: Array, labels: Array) -> Array:
    """Cross-entropies of margins (K, n)."""
    own = m[labels, np.arange(m.shape[1])]
    others = np.where(np.arange(len(m))[:, None] == labels, -np.inf, m - own)
    top = np.maximum(others.max(axis=0), 0)
    far = np.log(np.exp(-top) + np.exp(others - top).sum(axis=0)) + top
    return np.where(top > 0, far, np.log1p(np.exp(np.minimum(others, 0)).sum(axis=0)))


def softmax_slopes(m: Array, labels: Array) -> tuple[Array, Array]:
    """Slopes (K, n) and curvatures (K, K, n)."""
    p = np.exp(m - m.max(axis=0))
    p /= p.sum(axis=0)
    ones = np.eye(len(m))
    return p - ones[:, labels], p[:, None] * (ones[:, :, None] - p[None])


def _sigmoid(m: Array) -> Array:
    small = np.exp(-np.abs(m))
    return np.where(m > 0, 1, small) / (1 + small)
