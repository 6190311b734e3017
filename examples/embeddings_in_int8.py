"""A probe on embeddings that are stored as int8: the codes are fitted as they are, no float copy is made.

The answer is the optimum for the decoded values; its distance to that for the floats is what 8 bits cost.
"""

import numpy as np

import mezzotint as mz
from mezzotint.linear import LogisticRegression

rng = np.random.default_rng(0)
n, d = 30_000, 128
floats = (rng.standard_normal((n, d)) * rng.uniform(0.02, 0.1, d)).astype(np.float32)
weights = 10 * rng.standard_normal(d)
y = floats @ weights + rng.logistic(size=n) > 0

# What sentence_transformers.quantize_embeddings(floats, precision="int8", ranges=ranges) gives since 2026:
ranges = np.quantile(floats, [0.001, 0.999], axis=0)
steps = (ranges[1] - ranges[0]) / 255
codes = (np.clip(np.floor((floats - ranges[0]) / steps), 0, 255) - 128).astype(np.int8)

packed = mz.from_sentence_transformers(codes, ranges, precision="int8", rounding="floor")
print(packed)
probe = LogisticRegression().fit(packed, y)
print(probe.result_)

decoded = packed.source.block(0, n)
same = LogisticRegression().fit(decoded, y)
print(f"from the decoded floats: coefficients differ by {abs(probe.coef_ - same.coef_).max():.1e}")

original = LogisticRegression().fit(floats, y)
accuracies = [float((model.predict(floats) == y).mean()) for model in (probe, original)]
print(f"accuracy on the floats: fitted on int8 {accuracies[0]:.4f}, on floats {accuracies[1]:.4f}")
