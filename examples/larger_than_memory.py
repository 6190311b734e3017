"""X on disk, larger than the memory we allow ourselves: only its 4-bit copy is held.

In miniature: 80 MB of float32 rows in a memory-mapped file. The same code serves a file of any size; the
packed copy is about an eighth of it.
"""

import tempfile
from pathlib import Path

import numpy as np

import mezzotint as mz
from mezzotint.linear import LogisticRegression

N_ROWS, N_COLUMNS, BLOCK = 100_000, 200, 10_000

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "X.npy"
    rng = np.random.default_rng(0)
    w = rng.standard_normal(N_COLUMNS) / 10
    y = np.empty(N_ROWS, dtype=bool)
    on_disk = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(N_ROWS, N_COLUMNS))
    for start in range(0, N_ROWS, BLOCK):  # written as it would come from a model, a block at a time
        rows = rng.standard_normal((BLOCK, N_COLUMNS)).astype(np.float32)
        on_disk[start : start + BLOCK] = rows
        y[start : start + BLOCK] = rows @ w + rng.logistic(size=BLOCK) > 0
    del on_disk

    X = np.load(path, mmap_mode="r")
    packed = mz.pack(X, bits=4)
    print(packed)
    print(f"the file has {path.stat().st_size / 1e6:.0f} MB, the copy {packed.nbytes / 1e6:.1f} MB")

    clf = LogisticRegression().fit(packed, y)
    print(clf.result_)
    print(f"{clf.result_.exact_passes} reads of the file, {clf.result_.packed_passes} of the copy")
    del X, packed
