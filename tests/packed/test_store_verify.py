"""Damaged codes are refused by whoever reads them first. Caught: codes handed out unverified (to `unpack`,

to epochs, to a pickle), only the first block of a range verified, a damaged block noted as verified, blocks
verified again at every read, the second of two damaged blocks named because a thread met it first.
"""

import multiprocessing
import pickle
import threading
import warnings

import numpy as np
import pytest

import mezzotint as mz
from mezzotint import kernels
from mezzotint.errors import ParameterError, StoreError
from mezzotint.linear import LinearSVC, LogisticRegression, Ridge
from mezzotint.linear.design import PackedDesign
from mezzotint.packed import DecodedSource, StoreSource, store_format, store_verify
from mezzotint.packed.store_files import close_shards, open_shards, read_header
from mezzotint.packed.store_format import shard_name

SHAPE = (1000, 40)
KINDS = {
    "8 bits": {"bits": 8},
    "4 bits": {"bits": 4},
    "5 bits": {"bits": 4, "n_draws": 2},
}
N_FLIPS = 334  # of each kind: 1,002 in all


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Blocks of about a kilobyte, so that small stores have many."""
    monkeypatch.setattr(store_format, "_BLOCK_BITS", 2**13)


@pytest.fixture
def rows(rng):
    return rng.standard_normal(SHAPE).astype(np.float32)


@pytest.fixture
def store(rows, tmp_path):
    """A store of 8 bits in several shards."""
    return written(rows, tmp_path / "rows", bits=8)


def written(X, path, **options):
    mz.pack_file(X, path, shard_bytes=12_000, **options)
    info, _ = read_header(path)
    assert len(info.shards) >= 2
    assert all(info.n_blocks(s) >= 2 for s in range(len(info.shards)))
    return path


def flip(store, row, bit=0):
    """Flip a bit of the codes that begin with a row of a store of tiles; the file and block that hold it."""
    info, _ = read_header(store)
    block = info.block_at(min(row, info.shape[0] - 1))  # padding rows are in the last one
    shard_start, shard_stop, _ = info.shards[block.shard]
    path = store / shard_name(block.shard)
    size = (info.padded(shard_stop) - shard_start) * info.planes[0]
    at = path.stat().st_size - size + (row - shard_start) * info.planes[0] + bit // 8
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1 << bit % 8]))
    return path, block


def noted_crc(store, block):
    """The checksum of a block in the table of its shard."""
    info, _ = read_header(store)
    shards = open_shards(store, info)
    close_shards(shards)
    return f"{shards[block.shard].checksums[block.number, 0]:08x}"


def n_blocks(store):
    return sum(1 for _ in read_header(store)[0].blocks())


def counted(monkeypatch):
    """Sizes of the blocks of which a checksum is computed, and the threads of each call, from now on."""
    sizes, threads = [], []

    class Watched:
        @staticmethod
        def checksums(data, begins, ends, *, n_threads):
            sizes.extend((ends - begins).tolist())
            threads.append(n_threads)
            return kernels.ops().checksums(data, begins, ends, n_threads=n_threads)

    monkeypatch.setattr(store_verify, "ops", lambda: Watched)
    return sizes, threads


@pytest.mark.parametrize("kind", KINDS)
def test_every_flipped_bit_is_refused_by_a_default_fit(kind, rows, rng, tmp_path):
    path = written(rows, tmp_path / "rows", **KINDS[kind])
    y, labels = rows[:, 0] - rows[:, 3], rows[:, 1] > 0
    info, _ = read_header(path)
    fits = [
        lambda: Ridge().fit(mz.open(path), y),
        lambda: Ridge(solver="zipml", max_iter=1).fit(mz.open(path), y),
        lambda: LogisticRegression().fit(mz.open(path), labels),
        lambda: LinearSVC().fit(mz.open(path), labels),
        lambda: Ridge(solver="zipml", max_iter=1).fit(mz.open(path, source=rows), y),
    ]
    if info.n_draws == 1:
        fits.append(lambda: Ridge(solver="halp").fit(mz.open(path, source=rows), y))
    n_rows = info.padded(SHAPE[0])
    touched = set()
    for number in range(N_FLIPS):
        row, bit = int(rng.integers(n_rows)), int(rng.integers(8 * info.planes[0]))
        file, block = flip(path, row, bit)
        touched.add((block.shard, block.number))
        with pytest.raises(StoreError) as caught:
            fits[number % len(fits)]()
        noted = f"rows {block.start} to {block.stop - 1} do not fit their checksum {noted_crc(path, block)}"
        for part in (str(file), f"block {block.number}, ", noted, "pack the data again"):
            assert part in str(caught.value)
        flip(path, row, bit)
    assert len(touched) > n_blocks(path) / 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one pass does not converge
        for fit in fits:
            fit()


READERS = {
    "codes": lambda packed, X: packed.codes,
    "unpack": lambda packed, X: packed.unpack(),
    "decoded block": lambda packed, X: DecodedSource(packed).block(0, len(X)),
    "decoded rows": lambda packed, X: DecodedSource(packed).rows(np.arange(0, len(X), 3)),
    "products": lambda packed, X: PackedDesign(packed, 1),
    "pickle": lambda packed, X: pickle.dumps(packed),
    "save": lambda packed, X: packed.save(packed.origin.path.with_name("copy")),
    "halp": lambda packed, X: LogisticRegression(solver="halp", bits=8).fit(packed, X[:, 0] > 0),
    "zipml": lambda packed, X: Ridge(solver="zipml").fit(packed, X[:, 0]),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("row", [0, 500, 999])
def test_whoever_reads_a_damaged_block_is_told(reader, row, rows, store):
    _, block = flip(store, row)
    packed = mz.open(store)
    for _ in range(2):  # and not only the first time
        with pytest.raises(
            StoreError, match=f"block {block.number}, rows {block.start} to {block.stop - 1} "
        ):
            READERS[reader](packed, rows)
    assert not store.with_name("copy").exists()
    assert not store.with_name("copy.partial").exists()


@pytest.mark.parametrize("solver", ["newton", "halp"])
def test_a_fit_with_the_floats_attached_is_refused_too(solver, rng, tmp_path):
    X = rng.standard_normal((6000, 60)).astype(np.float32)
    path = written(X, tmp_path / "rows")
    flip(path, 4321, bit=77)
    with pytest.raises(StoreError, match="do not fit their checksum"):
        LogisticRegression(solver=solver).fit(mz.open(path, source=X), X[:, 0] > 0)


def test_undamaged_rows_of_a_damaged_store_can_be_read(rows, store):
    expected = mz.open(store).unpack()
    _, block = flip(store, 500)
    packed = mz.open(store)
    np.testing.assert_array_equal(packed.unpack(0, block.start), expected[: block.start])
    np.testing.assert_array_equal(packed.unpack(block.stop), expected[block.stop :])
    assert packed.unpack(block.start, block.start).shape == (0, SHAPE[1])
    for start, stop in ((block.start - 1, block.start + 1), (block.stop - 1, block.stop + 1)):
        with pytest.raises(StoreError, match=f"block {block.number},"):
            packed.unpack(start, stop)


def test_each_block_is_verified_once_before_it_is_read(rows, store, monkeypatch):
    seen, _ = counted(monkeypatch)
    packed = mz.open(store)
    assert packed.nbytes
    assert repr(packed)
    assert not seen  # opening reads nothing
    packed.unpack(0, 1)
    packed.unpack(3, 5)
    assert len(seen) == 1
    first = Ridge().fit(packed, rows[:, 0])
    assert len(seen) == n_blocks(store)
    again = Ridge().fit(packed, rows[:, 0])
    pickle.dumps(packed)
    assert len(seen) == n_blocks(store)
    assert sum(seen) == read_header(store)[0].n_bytes
    np.testing.assert_array_equal(first.coef_, again.coef_)


def test_all_is_before_open_returns_and_never_is_never(rows, store, monkeypatch):
    seen, _ = counted(monkeypatch)
    packed = mz.open(store, verify="all")
    assert len(seen) == n_blocks(store)
    assert packed.codes is not None
    assert len(seen) == n_blocks(store)
    flip(store, 999)
    with pytest.raises(StoreError, match="do not fit their checksum"):
        mz.open(store, verify="all")
    seen.clear()
    Ridge().fit(mz.open(store, verify="never"), rows[:, 0])
    assert not seen


@pytest.mark.parametrize("verify", [True, False, None, "always", 1])
def test_nothing_else_says_when_to_verify(verify, store):
    with pytest.raises(ParameterError, match=r"verify=.* write 'first' .* 'all' .* or 'never'"):
        mz.open(store, verify=verify)


@pytest.mark.parametrize("n_jobs", [1, 2, 3, 7])
def test_the_first_damaged_block_is_named_whatever_the_threads(n_jobs, rows, store, monkeypatch):
    monkeypatch.setattr(store_verify, "worthwhile", lambda n_threads, work: n_threads)
    expected = mz.open(store, n_jobs=n_jobs).unpack()
    np.testing.assert_array_equal(expected, mz.open(store, verify="never").unpack())
    flip(store, 900)
    _, block = flip(store, 300)
    for _ in range(3):
        with pytest.raises(StoreError, match=f"block {block.number}, rows {block.start} to"):
            mz.open(store, n_jobs=n_jobs, verify="all")


def test_verification_keeps_within_the_limit_of_threads(store, monkeypatch):
    monkeypatch.setattr(store_verify, "worthwhile", lambda n_threads, work: n_threads)
    _, threads = counted(monkeypatch)
    mz.open(store, n_jobs=3, verify="all")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    mz.open(store, verify="all")
    assert threads == [3, 1]


def test_two_fits_at_once_on_one_opened_store_agree(rows, store):
    expected = Ridge().fit(mz.open(store), rows[:, 0]).coef_
    packed = mz.open(store)
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(Ridge().fit(packed, rows[:, 0]).coef_)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    for coef in found:
        np.testing.assert_array_equal(coef, expected)


def outcome_in_a_child(packed, y, answers):
    try:
        answers.put(Ridge().fit(packed, y).coef_)
    except StoreError as error:
        answers.put(str(error))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
@pytest.mark.parametrize("damage", [False, True])
def test_a_fork_verifies_what_its_parent_has_not(damage, rows, store):
    expected = Ridge().fit(mz.open(store), rows[:, 0]).coef_
    if damage:
        flip(store, 700)
    packed = mz.open(store)
    packed.unpack(0, 1)
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=outcome_in_a_child, args=(packed, rows[:, 0], answers))
    child.start()
    answer = answers.get(timeout=60)
    child.join()
    if damage:
        assert "do not fit their checksum" in answer
    else:
        np.testing.assert_array_equal(answer, expected)


def test_some_shards_are_verified_by_themselves(rows, store):
    start, _ = mz.open(store, shards=range(1, 2)).origin.rows
    expected = mz.open(store, shards=range(1, 2)).unpack()
    flip(store, 0)
    np.testing.assert_array_equal(mz.open(store, shards=range(1, 2)).unpack(), expected)
    path, _ = flip(store, start)
    with pytest.raises(StoreError, match=f"{path.name} is damaged: block 0, rows 0 to"):
        mz.open(store, shards=range(1, 2)).unpack(0, 1)


def test_planes_are_verified_when_they_are_read(rows, tmp_path):
    mz.pack_file(rows, tmp_path / "planes", bits=16)
    path = tmp_path / "planes" / shard_name(0)
    content = bytearray(path.read_bytes())
    content[-3] ^= 8  # in the lowest plane
    path.write_bytes(content)
    assert mz.open(tmp_path / "planes", bits=4).bits == 4  # does not read it
    packed = mz.open(tmp_path / "planes")
    assert isinstance(packed.source, StoreSource)
    with pytest.raises(StoreError, match="do not fit their checksum"):
        packed.source.block(0, SHAPE[0])
    with pytest.raises(StoreError, match="do not fit their checksum"):
        Ridge().fit(packed, rows[:, 0])
    with pytest.raises(StoreError, match="do not fit their checksum"):
        mz.open(tmp_path / "planes", bits=4, verify="all")
    assert mz.open(tmp_path / "planes", verify="never").source.block(0, SHAPE[0]).shape == SHAPE
