"""Pointwise losses of linear models and their derivatives, in float64.

All arrays are class-major: margins (K, n), labels (1, n), (K, n) or (2 K, n).

=========  ==========================================  =====================  ==============
loss       l(m, y)                                     l' (per class)         l''
=========  ==========================================  =====================  ==============
logistic   log(1 + exp(m)) - y m,  y in {0, 1}         sigma(m) - y           sigma (1 - sigma)
squared    (m - y)^2 / 2, summed over the K targets    m - y                  1
softmax    log sum_k exp(m_k) - m_y                    p_k - [k = y]          diag(p) - p p^T
=========  ==========================================  =====================  ==============

The losses of support vector machines are zero while the margin of an output lies in an interval [a, b], and
half its squared distance from it otherwise. With ``e = max(m - b, 0) + min(m - a, 0)``, summed over outputs:
l = e^2 / 2, l' = e and, as a generalised second derivative, l'' = [e != 0].

===========================  ==================================================================
squared_hinge                [1, inf) for the label of the output, (-inf, -1] for other labels;
                             one output: labels {0, 1}, its own is 1; more: class indices
squared_epsilon_insensitive  ends of the K intervals are given: y holds K rows of a, K rows of b
===========================  ==================================================================
"""

import numpy as np
from numpy.typing import NDArray

from mezzotint.errors import ParameterError

Float64 = NDArray[np.float64]

PIECEWISE = ("squared_hinge", "squared_epsilon_insensitive")
LOSSES = ("logistic", "squared", "softmax", *PIECEWISE)  # in the order of native/floats.h
_BOUNDS = {"logistic": 0.25, "squared": 1.0, "softmax": 0.5, **dict.fromkeys(PIECEWISE, 1.0)}


def number_of(loss: str) -> int:
    """Number of a loss in native code; an unknown one is a ParameterError."""
    if loss not in LOSSES:
        raise _unknown(loss)
    return LOSSES.index(loss)


def curvature_bound(loss: str) -> float:
    """Largest second derivative of a loss (softmax: the largest eigenvalue of its Hessian by the margins)."""
    if loss not in _BOUNDS:
        raise _unknown(loss)
    return _BOUNDS[loss]


def _unknown(loss: str) -> ParameterError:
    return ParameterError(f"loss={loss!r} is unknown; allowed: {', '.join(map(repr, LOSSES))}.")


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


def excess(loss: str, margins: Float64, y: Float64) -> Float64:
    """How far each margin lies above its interval, negative below, 0 inside; shape (K, n)."""
    n_outputs = len(margins)
    if loss == "squared_hinge":
        own = (np.arange(n_outputs) if n_outputs > 1 else np.ones(1))[:, None] == y[0]
        low, high = np.where(own, 1.0, -np.inf), np.where(own, np.inf, -1.0)
    elif loss == "squared_epsilon_insensitive":
        low, high = y[:n_outputs], y[n_outputs:]
    else:
        raise _unknown(loss)
    out: Float64 = np.maximum(margins - high, 0.0) + np.minimum(margins - low, 0.0)
    return out


def values(loss: str, margins: Float64, y: Float64) -> Float64:
    """Losses, shape (n,)."""
    result: Float64
    if loss == "logistic":
        z = (1.0 - 2.0 * y[0]) * margins[0]
        result = np.maximum(z, 0.0) + np.log1p(np.exp(-np.abs(z)))
    elif loss == "squared":
        result = (0.5 * (margins - y) ** 2).sum(axis=0)
    elif loss in PIECEWISE:
        result = (0.5 * excess(loss, margins, y) ** 2).sum(axis=0)
    elif loss != "softmax":
        raise _unknown(loss)
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
    if loss in PIECEWISE:
        return excess(loss, margins, y)
    if loss != "softmax":
        raise _unknown(loss)
    return probabilities(margins) - _is_label(margins, y)


def second(loss: str, margins: Float64, y: Float64) -> Float64:
    """Second derivative (1, n), piecewise losses (K, n); of softmax the probabilities (K, n) behind it."""
    if loss == "logistic":
        return sigmoid(margins) * sigmoid(-margins)
    if loss == "squared":
        return np.ones((1, margins.shape[1]))
    if loss in PIECEWISE:
        switched_on: Float64 = (excess(loss, margins, y) != 0).astype(np.float64)
        return switched_on
    if loss != "softmax":
        raise _unknown(loss)
    return probabilities(margins)
