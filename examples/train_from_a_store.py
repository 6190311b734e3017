"""One store, three ways to train from it: exactly, on the codes alone, and without bias from random draws.

Packs a matrix once in 16 bits, as bit planes, and opens it in 4. With the float rows attached the answer is
that of the float rows. Without them it is that of the 4-bit values, unless the store holds two draws per
value.
"""

import tempfile
from pathlib import Path

import numpy as np

import mezzotint as mz
from mezzotint.linear import Ridge

N_ROWS, N_COLUMNS = 40_000, 64

rng = np.random.default_rng(0)
X = rng.standard_normal((N_ROWS, N_COLUMNS)).astype(np.float32)
y = X @ rng.uniform(-1, 1, N_COLUMNS) + 0.5 * rng.standard_normal(N_ROWS)


def tell(name, model, packed):
    """How far the loss on the float rows is from the best, and what was read for it."""
    loss = 0.5 * np.mean((X @ model.coef_ + model.intercept_ - y) ** 2)
    floats, codes = model.result_.exact_passes, model.result_.packed_passes
    megabytes = (floats * X.nbytes + codes * packed.layout.n_bytes) / 1e6
    print(
        f"{name}: {model.solution_}, loss {100 * (loss / best - 1):.2f} % above the best; read the floats "
        f"{floats} times, the codes {codes} times, {megabytes:.0f} MB"
    )


with tempfile.TemporaryDirectory() as folder:
    store, drawn = Path(folder) / "rows.mzt", Path(folder) / "draws.mzt"
    mz.pack_file(X, store, bits=16)  # any source: a file, blocks, a memmap
    mz.pack_file(X, drawn, bits=3, n_draws=2)  # 3 + 1 bits per value

    codes, attached, draws = mz.open(store, bits=4), mz.open(store, bits=4, source=X), mz.open(drawn)
    print(f"float rows: {X.nbytes / 1e6:.1f} MB")
    print(f"4 of 16 bits: {codes.origin.bytes_read / 1e6:.1f} MB read to open the store")
    print(f"two draws in {draws.bits} bits: {draws.nbytes / 1e6:.1f} MB, mapped, nothing read")

    exact = Ridge(solver="newton").fit(attached, y)
    best = 0.5 * np.mean((X @ exact.coef_ + exact.intercept_ - y) ** 2)
    tell("4 bits and the floats", exact, attached)
    quantised = Ridge(solver="zipml", max_iter=20).fit(codes, y)
    tell("4 bits alone", quantised, codes)
    unbiased = Ridge(solver="zipml", max_iter=20).fit(draws, y)
    tell("two draws alone", unbiased, draws)
    del codes, attached, draws  # unmaps the stores before their folder goes

assert (exact.solution_, quantised.solution_, unbiased.solution_) == ("exact", "quantised", "unbiased")
