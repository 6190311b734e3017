"""Caught: rows that lay in memory whole beside their float32 copy; a copy where the documents said "no copy".

Bytes are counted by tracemalloc, which sees NumPy's arrays: what a fit allocates at its peak, per row that
it gets more. Samples, factors and chunks do not grow with the rows, so a copy of X shows as bytes per value.
"""

import tracemalloc

import numpy as np
import pytest

from mezzotint.linear import LinearRegression, LinearSVC, LinearSVR, LogisticRegression, Ridge
from mezzotint.packed import sources

N, D = 16_000, 160
ROW = 0.6  # bytes per value at most for margins, slopes and curvatures of the rows


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(0).standard_normal((2 * N, D))


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setattr(sources, "_CHUNK_BYTES", 2**20)


def peak(estimator, X):
    y = np.asarray(X[:, 0] > 0, dtype=np.float64)
    tracemalloc.start()
    try:
        estimator.fit(X, y)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def bytes_per_value(estimator, X):
    """Growth of the peak by value of X."""
    more, less = (peak(estimator, X[: n * len(X) // 2]) for n in (2, 1))
    return (more - less) / (len(X) // 2 * X.shape[1])


def mapped(X, folder):
    np.save(folder / "x.npy", X)
    return np.load(folder / "x.npy", mmap_mode="r")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("estimator", [LinearRegression, LinearSVC, LinearSVR, LogisticRegression, Ridge])
@pytest.mark.parametrize(
    ("solver", "kind", "copied"),
    [
        ("newton", "float64", 0),
        ("newton", "fortran", 0),
        ("halp", "float32", 0),
        ("halp", "mapped float32", 0),
        ("halp", "float64", 4),
        ("halp", "fortran", 4),
        ("halp", "integers", 4),
    ],
)
def test_32_bits_copy_what_the_documents_say(rows, tmp_path, estimator, solver, kind, copied):
    make = {
        "float64": lambda x: x,
        "float32": lambda x: x.astype(np.float32),
        "mapped float32": lambda x: mapped(x.astype(np.float32), tmp_path),
        "fortran": np.asfortranarray,
        "integers": lambda x: (100 * x).astype(np.int32),
    }[kind]
    model = estimator(bits=32, solver=solver, max_iter=1, n_jobs=1)
    assert copied - 1 < bytes_per_value(model, make(rows)) < copied + ROW
