"""Some shards of a store. Caught: rows counted from the store's first, files named by their place in a part,

and a part that opened the files of the others.
"""

import numpy as np
import pytest

import mezzotint as mz
from mezzotint.errors import DataError, ParameterError, StoreError
from mezzotint.linear import Ridge
from mezzotint.packed import open_source

N_ROWS = 5003
KINDS = pytest.mark.parametrize(
    "options", [{}, {"bits": 4}, {"bits": 3, "n_draws": 2}, {"bits": 16}, {"bits": 8, "planes": True}]
)


@pytest.fixture
def store(tmp_path, rng):
    """A function that packs rows into several shards; the rows."""
    X = rng.standard_normal((N_ROWS, 37)).astype(np.float32)

    def write(**options):
        row_bytes = 37 * (options.get("bits", 8) + options.get("n_draws", 1) - 1) // 8
        mz.pack_file(X, tmp_path / "rows", shard_bytes=1100 * row_bytes, **options)
        return tmp_path / "rows"

    return write, X


@KINDS
def test_a_part_holds_its_rows_of_the_whole(options, store):
    write, _ = store
    path = write(**options)
    whole = mz.open(path)
    n = whole.origin.n_shards
    assert whole.origin.rows == (0, N_ROWS)
    assert n >= 4
    edges = []
    for shards in (range(1), range(1, n - 1), range(n - 1, n)):
        part = mz.open(path, shards=shards, verify="all")
        start, stop = part.origin.rows
        edges += [start, stop]
        assert part.shape == (stop - start, 37)
        assert part.origin.n_shards == n
        np.testing.assert_array_equal(part.unpack(), whole.unpack(start, stop))
        if options.get("bits") == 16:
            expected = whole.source.block(start, stop)
            np.testing.assert_array_equal(part.source.block(0, stop - start), expected)
            alone = open_source(path, shards=shards)
            np.testing.assert_array_equal(alone.rows(np.arange(3, 9)), expected[3:9])
    assert edges[0] == 0
    assert edges[-1] == N_ROWS
    assert edges[1:-1:2] == edges[2::2]


@KINDS
def test_a_machine_needs_no_other_files(options, store):
    write, _ = store
    path = write(**options)
    expected = mz.open(path, shards=range(1, 3)).unpack()
    for file in path.glob("shard-*"):
        if file.stem not in ("shard-00001", "shard-00002"):
            file.unlink()
    np.testing.assert_array_equal(mz.open(path, shards=range(1, 3), verify="all").unpack(), expected)
    with pytest.raises(StoreError, match="shard-00000"):
        mz.open(path)


@pytest.mark.parametrize("planes", [False, True])
def test_a_damaged_file_is_named_as_it_is_called(planes, store):
    write, _ = store
    path = write(planes=planes)
    shard = path / "shard-00003.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1] + b"\x01")
    assert mz.open(path, shards=range(3), verify="all")
    with pytest.raises(StoreError, match="shard-00003"):
        mz.open(path, shards=range(2, 4), verify="all")


def test_rows_of_a_part_can_be_attached_and_fitted(store):
    write, X = store
    path = write(bits=4)
    y = X @ np.arange(37)
    start, stop = mz.open(path, shards=range(1, 4)).origin.rows
    part = mz.open(path, shards=range(1, 4), source=X[start:stop])
    model = Ridge(solver="newton", tol=1e-14).fit(part, y[start:stop])
    assert model.solution_ == "exact"
    expected = Ridge(tol=1e-14).fit(X[start:stop], y[start:stop]).coef_
    np.testing.assert_allclose(
        model.coef_, expected, atol=1e-6
    )  # F < 1 and its curvature about 1: sqrt(2e-14)
    with pytest.raises(DataError, match=r"source has shape \(5003, 37\), .* opened"):
        mz.open(path, shards=range(1, 4), source=X)


@pytest.mark.parametrize(
    "shards",
    [range(99), range(98, 99), range(2, 2), range(0, 4, 2), range(-1, 2), range(2, 0, -1), 1, slice(0, 2)],
)
def test_only_neighbouring_shards_that_are_there_can_be_opened(shards, store):
    write, _ = store
    path = write()
    with pytest.raises(ParameterError, match=r"shards=.* of a store with \d; .*within range\(0, \d\)"):
        mz.open(path, shards=shards)
