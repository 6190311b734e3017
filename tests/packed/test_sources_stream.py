"""Iterables of blocks, and the cursor. Caught: one that skips the rest of a block, one that never goes back.

Another spooled the blocks of an iterator in the type of the first one.
"""

import pickle
import tracemalloc
from functools import partial

import numpy as np
import pytest

import mezzotint as mz
from mezzotint.errors import DataError, FileError
from mezzotint.linear import Ridge
from mezzotint.packed import as_source
from mezzotint.packed.sources import ReportingSource
from mezzotint.packed.sources_stream import StreamSource


class Reader:
    """Rows with known starts, read in blocks of 7; counts how often each start was used."""

    def __init__(self, X, starts):
        self.X, self.starts, self.shape, self.dtype = X, np.array(starts), X.shape, X.dtype
        self.name, self.opened = "the test", []

    def read_from(self, number):
        self.opened.append(number)
        for first in range(self.starts[number], len(self.X), 7):
            yield self.X[first : first + 7]


@pytest.fixture
def X(rng):
    return rng.standard_normal((100, 3)).astype(np.float32)


def test_blocks_in_order_open_the_reader_once(X):
    reader = Reader(X, [0, 30, 60])
    source = StreamSource(reader)
    blocks = [source.block(start, min(start + 16, 100)) for start in range(0, 100, 16)]
    np.testing.assert_array_equal(np.concatenate(blocks), X)
    assert reader.opened == [0]


def test_any_range_of_rows_and_any_index_can_be_read(X, rng):
    source = StreamSource(Reader(X, [0, 30, 60]))
    for _ in range(200):
        start, stop = np.sort(rng.integers(0, 101, 2))
        np.testing.assert_array_equal(source.block(start, stop), X[start:stop])
        index = np.flatnonzero(rng.random(100) < rng.random())
        np.testing.assert_array_equal(source.rows(index), X[index])


def test_a_jump_begins_at_the_nearest_start(X):
    reader = Reader(X, [0, 30, 60])
    source = StreamSource(reader)
    source.block(70, 75)
    source.block(40, 45)
    source.rows(np.array([1, 65]))
    assert reader.opened == [2, 1, 0, 2]


def test_a_pickled_source_reads_on(X):
    source = StreamSource(Reader(X, [0]))
    source.block(0, 10)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(source)).block(5, 20), X[5:20])


@pytest.mark.parametrize(
    ("rows", "text"), [(slice(0, 50), "ends after 50 rows"), (slice(0, 0), "ends after 0")]
)
def test_a_reader_that_ends_early_is_an_error_not_a_hang(X, rows, text):
    reader = Reader(X, [0])
    source = StreamSource(reader)
    reader.X = X[rows]
    for _ in range(2):
        with pytest.raises(FileError, match=text):
            source.block(0, 100)


def blocks_of(X):
    return [X[:40], X[40:41], X[41:41], X[41:]]


class Again:
    def __init__(self, X):
        self.X, self.passes = X, 0

    def __iter__(self):
        self.passes += 1
        return iter(blocks_of(self.X))


@pytest.mark.parametrize("kind", ["list", "object", "callable", "iterator", "generator"])
def test_blocks_are_packed_like_the_whole(kind, X):
    made = {
        "list": blocks_of(X),
        "object": Again(X),
        "callable": partial(iter, blocks_of(X)),
        "iterator": iter(blocks_of(X)),
        "generator": (block for block in blocks_of(X)),
    }[kind]
    packed = mz.pack(made)
    assert (packed.codes == mz.pack(X).codes).all()
    np.testing.assert_array_equal(packed.source.block(10, 90), X[10:90])
    np.testing.assert_array_equal(packed.source.rows(np.array([3, 40, 99])), X[[3, 40, 99]])


def test_an_iterable_is_read_once_per_pass(X):
    again = Again(X)
    mz.pack(again)
    assert again.passes == 3  # counting, the sample of the range, packing


def test_a_fit_from_blocks_is_the_fit_of_the_array(rng):
    X = rng.standard_normal((5000, 40)).astype(np.float32)
    y = X @ rng.standard_normal(40) + rng.standard_normal(5000)
    parts = [X[i : i + 700] for i in range(0, 5000, 700)]
    ours, expected = Ridge().fit(parts, y), Ridge().fit(X, y)
    np.testing.assert_array_equal(ours.coef_, expected.coef_)
    assert ours.n_features_in_ == 40
    np.testing.assert_array_equal(ours.predict(iter(parts)), expected.predict(X))


def test_mixed_types_are_read_as_float64_where_needed(X):
    X64 = X.astype(np.float64) + 1e-12
    source = as_source([X, X64])
    assert source.dtype == np.float64
    np.testing.assert_array_equal(source.block(100, 200), X64)
    with pytest.raises(DataError, match=r"different types: float64 after float32"):
        as_source(iter([X, X64]))


@pytest.mark.parametrize(
    ("blocks", "text"),
    [
        ([], r"0 sample"),
        (
            [np.zeros((2, 3)), np.zeros((2, 4))],
            r"block 1 of X has shape \(2, 4\), earlier ones had 3 columns",
        ),
        ([np.zeros((2, 3)), np.zeros(3)], r"block 1 of X: Expected 2D"),
        ([np.zeros((2, 3)), np.zeros((2, 3), complex)], r"block 1 of X: Complex"),
    ],
)
def test_bad_blocks_are_named(blocks, text):
    for made in (iter(blocks), partial(iter, blocks)):
        with pytest.raises(DataError, match=text):
            as_source(made)


def test_a_temporary_file_is_gone_with_its_source(X, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    source = as_source(iter(blocks_of(X)))
    np.testing.assert_array_equal(source.block(0, 100), X)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["iterator", "callable"])
def test_a_pass_over_blocks_holds_few_of_them(kind):
    def blocks():
        return (np.full((1000, 256), i, np.float32) for i in range(40))  # 1 MB each

    tracemalloc.start()
    source = as_source(blocks() if kind == "iterator" else blocks)
    for start in range(0, 40_000, 800):
        assert source.block(start, start + 800)[0, 0] == start // 1000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8e6


def test_a_source_is_taken_as_it_is(X):
    source = StreamSource(Reader(X, [0]))
    assert as_source(source) is source


def test_a_reporting_source_counts_reads_and_rows():
    seen = []
    source = ReportingSource(as_source(np.ones((10, 2))), lambda number, rows: seen.append((number, rows)))
    for start in (0, 5, 0):
        assert source.block(start, start + 5).shape == (5, 2)
    assert source.whole is None
    assert seen == [(1, 0), (1, 5), (2, 0)]
    seen.clear()
    assert source.rows(np.array([1, 4])).shape == (2, 2)
    assert source.rows(np.array([], dtype=np.int64)).shape == (0, 2)
    assert seen == [(0, 1), (0, 4), (0, 0)]


def test_packing_reports_how_far_it_is(rng):
    X = rng.standard_normal((60_000, 100)).astype(np.float32)
    seen = []
    packed = mz.pack(X, progress=lambda done, of: seen.append((done, of)))
    assert {of for _, of in seen} == {60_000}
    rows = [done for done, _ in seen]
    packing = rows[rows.index(0, 1) :]  # the sample comes first
    assert packing == sorted(packing)
    assert packing[-1] == 60_000
    assert len(packing) >= 3
    assert (packed.codes == mz.pack(X).codes).all()
    assert packed.source.whole is X
