"""A path over C: twenty penalties on one packed copy, each solved from its neighbour's solution."""

import time

import numpy as np

from mezzotint.linear import LogisticRegression

rng = np.random.default_rng(0)
X = rng.standard_normal((20_000, 64)).astype(np.float32) * np.geomspace(1, 0.01, 64, dtype=np.float32)
y = X @ (rng.standard_normal(64) / np.geomspace(1, 0.1, 64)) + rng.logistic(size=len(X)) > 0
Cs = np.geomspace(1e-6, 1e4, 20)

started = time.perf_counter()
path = LogisticRegression(bits=8).path(X, y, Cs)
seconds = time.perf_counter() - started

print("       C     |coef|   objective   reads of X")
for C, coef, result in zip(Cs, path.coefs, path.results, strict=True):
    print(f"{C:8.1e} {np.linalg.norm(coef):10.4f} {result.objective:11.6f} {result.exact_passes:8d}")
print(f"{len(Cs)} optima in {seconds:.2f} s")

norms = np.linalg.norm(path.coefs[:, 0], axis=1)
assert (np.diff(norms) >= 0).all()  # a weaker penalty never shrinks the coefficients
