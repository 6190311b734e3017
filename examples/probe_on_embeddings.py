"""A probe on embeddings: which of five topics is a text about, judged from its embedding?

Trains in 8 bits, shows the evidence that this is the optimum of the float problem, and hands the result to
scikit-learn's own estimator for deployment.
"""

import time

import numpy as np

from mezzotint.linear import LogisticRegression

N_ROWS, N_COLUMNS, N_TOPICS = 20_000, 128, 5


def embeddings(rng):
    """Unit-norm rows with a decaying spectrum, and topics that depend on them."""
    X = rng.standard_normal((N_ROWS, N_COLUMNS)) * np.arange(1, N_COLUMNS + 1) ** -0.7
    X = (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)
    scores = X @ (12 * rng.standard_normal((N_COLUMNS, N_TOPICS)))
    topics = np.array(["art", "law", "maths", "music", "sport"])
    return X, topics[np.argmax(scores + rng.gumbel(size=scores.shape), axis=1)]


X, y = embeddings(np.random.default_rng(0))
train, test = slice(0, 16_000), slice(16_000, None)

started = time.perf_counter()
probe = LogisticRegression(C=1.0, bits=8).fit(X[train], y[train])
print(f"fitted in {time.perf_counter() - started:.2f} s: {probe.result_.status.value}")
print(f"objective {probe.result_.objective:.6f}, at most {probe.result_.gap_bound:.1e} above the optimum")
print(f"accuracy {probe.score(X[test], y[test]):.3f} on held-out rows")

plain = probe.to_sklearn()  # needs no mezzotint where it is loaded
assert (plain.predict(X[test]) == probe.predict(X[test])).all()
