"""Small problems and a float64 reference optimum, independent of the solvers under test."""

from dataclasses import dataclass

import numpy as np

from mezzotint.linear.objective import Problem
from mezzotint.packed import as_source, pack


def embeddings(n, d, *, power=0.7, seed=0, scale=6.0, n_classes=2, shift=0.0):
    """Unit-norm rows with a power-law spectrum; labels drawn from a linear model. Returns X (float32), y."""
    rng = np.random.default_rng(seed)
    spectrum = np.arange(1, d + 1, dtype=np.float64) ** -power
    basis = np.linalg.qr(rng.standard_normal((d, d)))[0]
    X = (rng.standard_normal((n, d)) * spectrum) @ basis
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    margins = X @ rng.standard_normal((d, n_classes))
    margins *= scale / margins.std()
    y = (margins + rng.gumbel(size=margins.shape)).argmax(axis=1)
    return (X + shift).astype(np.float32), y


def make_problem(X, y, loss, penalty, *, bits=None, weights=None, fit_intercept=True, n_threads=2):
    """A Problem; bits=None keeps no packed copy."""
    y = np.atleast_2d(np.asarray(y, dtype=np.float64))
    if loss == "softmax" or (loss == "squared_hinge" and y.max() > 1):
        n_outputs = int(y.max()) + 1
    else:
        n_outputs = len(y) // 2 if loss == "squared_epsilon_insensitive" else len(y)
    return Problem(
        source=as_source(X),
        packed=None if bits is None else pack(X, bits=bits),
        loss=loss,
        y=np.ascontiguousarray(y),
        n_outputs=n_outputs,
        weights=weights,
        penalty=penalty,
        fit_intercept=fit_intercept,
        n_threads=n_threads,
    )


@dataclass
class Dense:
    """The objective of a problem in plain float64 NumPy, with its full Hessian."""

    problem: Problem

    def __post_init__(self):
        p = self.problem
        X = p.source.block(0, p.n_rows).astype(np.float64)
        self.design = np.hstack([X, np.full((p.n_rows, 1), float(p.fit_intercept))])
        self.s = np.ones(p.n_rows) if p.weights is None else p.weights
        self.ridge = np.full(p.n_columns + 1, p.penalty)
        self.ridge[-1] = 0.0 if p.fit_intercept else 1.0

    def value(self, W):
        m = W @ self.design.T
        y = self.problem.y
        if self.problem.loss == "logistic":
            losses = np.logaddexp(0, m[0]) - y[0] * m[0]
        elif self.problem.loss == "squared":
            losses = 0.5 * ((m - y) ** 2).sum(axis=0)
        else:
            top = m.max(axis=0)
            losses = top + np.log(np.exp(m - top).sum(axis=0)) - m[y[0].astype(int), np.arange(len(top))]
        return (self.s * losses).sum() / self.s.sum() + 0.5 * (self.ridge * W * W).sum()

    def _derivatives(self, W):
        m, y = W @ self.design.T, self.problem.y
        K, n = m.shape
        if self.problem.loss == "logistic":
            p = 0.5 * (1 + np.tanh(0.5 * m))  # no overflow
            return p - y, (p * (1 - p))[:, None] * np.ones((1, 1, 1))
        if self.problem.loss == "squared":
            return m - y, np.eye(K)[:, :, None] * np.ones(n)
        e = np.exp(m - m.max(axis=0))
        p = e / e.sum(axis=0)
        onehot = np.arange(K)[:, None] == y[0].astype(int)
        return p - onehot, np.eye(K)[:, :, None] * p[:, None] - p[:, None] * p[None]

    def newton_direction(self, W):
        r, D = self._derivatives(W)
        K, width = W.shape
        weights = self.s / self.s.sum()
        g = (r * weights) @ self.design + self.ridge * W
        H = np.zeros((K, width, K, width))
        for k in range(K):
            for j in range(K):
                H[k, :, j] = (self.design * (D[k, j] * weights)[:, None]).T @ self.design
            H[k, :, k] += np.diag(self.ridge)
        H = H.reshape(K * width, -1)
        if self.problem.loss == "softmax":  # the classes' common shift is a null direction: curve it
            H += np.kron(np.ones((K, K)), np.eye(width)) * np.trace(H) / len(H)
        return np.linalg.solve(H, g.ravel()).reshape(W.shape)


def optimum(problem, iterations=60):
    """(F*, W*) by damped Newton with the exact Hessian."""
    dense = Dense(problem)
    W = np.zeros((problem.n_outputs, problem.n_columns + 1))
    value = dense.value(W)
    for _ in range(iterations):
        direction, t = dense.newton_direction(W), 1.0
        while dense.value(W - t * direction) > value and t > 1e-9:
            t /= 2
        W = W - t * direction
        previous, value = value, dense.value(W)
        if previous - value <= 1e-16 * abs(value):
            break
    return value, W
