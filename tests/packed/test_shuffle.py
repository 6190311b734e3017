"""Rows in random order. Caught: buckets that overwrite each other, rows left in X's order inside a bucket."""

import importlib

import numpy as np
import pytest

from mezzotint.packed import as_source, shuffled

shuffle = importlib.import_module("mezzotint.packed.shuffle")


@pytest.mark.parametrize(("bucket_rows", "block_rows"), [(10**6, 10**6), (7, 5), (1, 3), (100, 1)])
def test_rows_come_in_the_order_that_is_returned(bucket_rows, block_rows, rng, monkeypatch):
    monkeypatch.setattr(shuffle, "_BUCKET_BYTES", bucket_rows * 12)
    monkeypatch.setattr(shuffle, "_BLOCK_BYTES", block_rows * 12)
    X = rng.standard_normal((200, 3)).astype(np.float32)
    source, order = shuffled(X, seed=3)
    assert sorted(order) == list(range(200))
    np.testing.assert_array_equal(source.block(0, 200), X[order])


def test_the_order_is_a_function_of_the_seed_and_the_number_of_rows(rng):
    X = rng.standard_normal((500, 2))
    orders = [shuffled(X[:, :d], seed)[1] for d, seed in ((2, 0), (1, 0), (2, 1))]
    assert (orders[0] == orders[1]).all()
    assert (orders[0] != orders[2]).any()
    # of a random order, about one row stays in place and neighbours are n / 3 apart
    assert (orders[0] == np.arange(500)).sum() < 10
    assert abs(np.abs(np.diff(orders[0])).mean() - 500 / 3) < 25


def test_any_source_can_be_shuffled_and_leaves_no_file(tmp_path, rng, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    X = rng.standard_normal((100, 3)).astype(np.float32)
    source, order = shuffled(as_source([X[:50], X[50:]]), seed=0)
    np.testing.assert_array_equal(source.rows(np.array([4, 90])), X[order[[4, 90]]])
    assert not list(tmp_path.iterdir())
