"""Cross-validation on one packed copy: a fold is a vector of 0/1 sample weights, and no row is copied.

The fit of a fold is the fit of its rows alone, so the scores are those of any other cross-validation.
"""

import numpy as np

import mezzotint as mz
from mezzotint.linear import LogisticRegression

N_FOLDS = 5
CS = [1e-3, 1e-2, 1e-1, 1.0, 10.0]

rng = np.random.default_rng(0)
X = rng.standard_normal((10_000, 50)).astype(np.float32)
y = X[:, :5].sum(axis=1) + 2 * rng.logistic(size=len(X)) > 0

packed = mz.pack(X, bits=8)
print(packed)

fold = rng.integers(N_FOLDS, size=len(X))
log_loss = np.zeros(len(CS))
for k in range(N_FOLDS):
    train, test = fold != k, fold == k
    path = LogisticRegression().path(packed, y, CS, sample_weight=train)
    margins = X[test] @ path.coefs[:, 0].T + path.intercepts[:, 0]  # one column per C
    log_loss += np.logaddexp(0, np.where(y[test, None], -margins, margins)).mean(axis=0) / N_FOLDS

for C, loss in zip(CS, log_loss, strict=True):
    print(f"C = {C:<6g} held-out log loss {loss:.5f}")
best = CS[int(log_loss.argmin())]
print(f"best: C = {best:g}, refitted on all rows:", LogisticRegression(C=best).fit(packed, y).result_)
