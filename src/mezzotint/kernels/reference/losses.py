"""Pointwise losses of linear models and their derivatives, in float64.

All arrays are class-major: margins (K, n), labels (1, n) or (K, n).

=========  ==========================================  =====================  ==============
loss       l(m, y)                                     l' (per class)         l''
=========  ==========================================  =====================  ==============
logistic   log(1 + exp(m)) - y m,  y in {0, 1}         sigma(m) - y           sigma (1 - sigma)
squared    (m - y)^2 / 2, summed over the K targets    m - y                  1
softmax    log sum_k exp(m_k) - m_y                    p_k - [k = y]          diag(p) - p p^T
=========  ==========================================  =====================  ==============
"""

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]


def sigmoid(z: Float64) -> Float64:
    """1 / (1 + exp(-z)) without overflow and with full relative accuracy at both ends."""
    e = np.exp(-np.abs(z))
    sigma: Float64 = np.where(z >= 0, 1.0, e) / (1.0 + e)
    return sigma


def probabilities(margins: Float64) -> Float64:
    """Softmax over the first axis; the largest margin is taken out first, so nothing overflows."""
    e = np.exp(margins - margins.max(axis=0))
    p: Float64 = e / e.sum(axis=0)
    return p


def _is_label(margins: Float64, y: Float64) -> NDArray[np.bool_]:
    is_label: NDArray[np.bool_] = np.arange(len(margins))[:, None] == y[0]
    return is_label


def values(loss: str, margins: Float64, y: Float64) -> Float64:
    """Losses, shape (n,)."""
    result: Float64
    if loss == "logistic":
        z = (1.0 - 2.0 * y[0]) * margins[0]
        result = np.maximum(z, 0.0) + np.log1p(np.exp(-np.abs(z)))
    elif loss == "squared":
        result = (0.5 * (margins - y) ** 2).sum(axis=0)
    else:
        largest, top = margins.max(axis=0), margins.argmax(axis=0)
        rest = np.exp(margins - largest)
        rest[top, np.arange(len(top))] = 0.0  # its 1 is the 1 of log1p
        of_label = np.where(_is_label(margins, y), margins, 0.0).sum(axis=0)
        result = (largest - of_label) + np.log1p(rest.sum(axis=0))
    return result


def slopes(loss: str, margins: Float64, y: Float64) -> Float64:
    """First derivatives with respect to the margins, shape (K, n)."""
    if loss == "logistic":
        sign = 1.0 - 2.0 * y
        return sign * sigmoid(sign * margins)
    if loss == "squared":
        return margins - y
    return probabilities(margins) - _is_label(margins, y)


def second(loss: str, margins: Float64) -> Float64:
    """Second derivative (1, n); for softmax the probabilities (K, n), from which it is made."""
    if loss == "logistic":
        return sigmoid(margins) * sigmoid(-margins)
    if loss == "squared":
        return np.ones((1, margins.shape[1]))
    return probabilities(margins)
