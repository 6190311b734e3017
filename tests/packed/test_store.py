"""Stores on disk. Caught: shards mapped over each other, the noise of all planes given for fewer,

top bits decoded to the lower end of their interval, a reader that read all planes at any precision, one that
never looked at a checksum, a system that read ahead into planes nobody wanted, a foreign folder replaced.
"""

import json
import os
import pickle
import subprocess
import sys
import zlib

import numpy as np
import pytest

import mezzotint as mz
from mezzotint.errors import DataError, ParameterError, StoreError
from mezzotint.linear import Ridge
from mezzotint.packed import ArraySource, open_source, store_map
from mezzotint.packed.store_files import read_header
from mezzotint.packed.store_pack import uniform_codes

SHAPES = [(1, 1), (17, 3), (300, 40), (5000, 37)]


def files_of(store):
    return {path.name: path.read_bytes() for path in sorted(store.iterdir())}


def planes_of(X, path, **options):
    """A store of planes of X, and the codes it must hold."""
    mz.pack_file(X, path, planes=True, **{"bits": 16, **options})
    info, columns = read_header(path)
    return uniform_codes(X, columns, info.bits)


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_saved_matrix_opens_with_the_same_codes_and_scales(bits, shape, rng, tmp_path):
    packed = mz.pack(rng.standard_normal(shape).astype(np.float32), bits=bits)
    packed.save(tmp_path / "rows")
    again = mz.open(tmp_path / "rows", verify="all")
    for name in ("codes", "offset", "scale", "noise"):
        np.testing.assert_array_equal(getattr(again, name), getattr(packed, name), err_msg=name)
    assert (again.layout, again.dtype, again.n_draws) == (packed.layout, packed.dtype, 1)
    assert (again.origin.stored_bits, again.origin.bits, again.origin.bytes_read) == (bits, bits, 0)


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 7])
def test_two_draws_are_saved_and_streamed_with_their_sums(bits, rng, tmp_path):
    X = rng.standard_normal((3000, 37)).astype(np.float32)
    packed = mz.pack(X, bits=bits, n_draws=2)
    packed.save(tmp_path / "saved", shard_bytes=20_000)
    mz.pack_file(X, tmp_path / "streamed", bits=bits, n_draws=2, shard_bytes=9_000)
    for name in ("saved", "streamed"):
        again = mz.open(tmp_path / name, verify="all")
        assert (again.n_draws, again.bits, again.layout) == (2, bits + 1, packed.layout)
        np.testing.assert_array_equal(again.codes, packed.codes)
        np.testing.assert_array_equal(again.scale, packed.scale)


@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
@pytest.mark.parametrize("bits", [8, 4])
def test_packing_to_a_file_gives_the_codes_of_packing_in_memory(bits, rounding, rng, tmp_path):
    X = rng.standard_normal((5000, 37))
    mz.pack_file(X, tmp_path / "rows", bits=bits, rounding=rounding, random_state=3, shard_bytes=30_000)
    expected = mz.pack(X, bits=bits, rounding=rounding, random_state=3)
    np.testing.assert_array_equal(mz.open(tmp_path / "rows").codes, expected.codes)


@pytest.mark.parametrize("bits", [8, 4])
def test_several_shards_are_one_array_without_a_copy(bits, rng, tmp_path, kernel_set):
    X = rng.standard_normal((6000, 48)).astype(np.float32)
    packed = mz.pack(X, bits=bits)
    packed.save(tmp_path / "rows", shard_bytes=20_000)
    assert len(list(tmp_path.glob("rows/shard-*"))) > 5
    again = mz.open(tmp_path / "rows")
    assert not again.codes.flags.writeable
    assert not again.codes.flags.owndata
    np.testing.assert_array_equal(again.unpack(), packed.unpack())


def test_where_mapping_at_an_address_is_not_possible_shards_are_copied(rng, tmp_path, monkeypatch):
    packed = mz.pack(rng.standard_normal((3000, 16)).astype(np.float32))
    packed.save(tmp_path / "many", shard_bytes=10_000)
    packed.save(tmp_path / "one")
    monkeypatch.setattr(store_map, "_whole_pages", lambda parts: False)
    for name in ("many", "one"):
        np.testing.assert_array_equal(mz.open(tmp_path / name).codes, packed.codes)


def test_shards_end_at_segments_whatever_their_size(rng, tmp_path):
    packed = mz.pack(rng.standard_normal((40_000, 5)).astype(np.float32), bits=4)
    for shard_bytes in (1, 50_000, 300_000):
        packed.save(tmp_path / "rows", shard_bytes=shard_bytes)
        shards = read_header(tmp_path / "rows")[0].shards
        assert {shard.start for shard in shards} <= set(packed.layout.segments.tolist())


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("shape", SHAPES)
def test_opening_at_fewer_bits_gives_the_top_bits_of_every_code(bits, shape, rng, tmp_path):
    X = rng.standard_normal(shape).astype(np.float32)
    codes = planes_of(X, tmp_path / "rows", shard_bytes=50_000)
    packed = mz.open(tmp_path / "rows", bits=bits)
    top = (codes >> np.uint16(16 - bits)).astype(np.float64)
    assert packed.bits == max(bits, 4)
    np.testing.assert_array_equal(packed.unpack(dtype=np.float64), packed.offset + packed.scale * top)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_fewer_bits_stand_for_the_centre_of_their_interval(bits, rng, tmp_path):
    X = rng.uniform(-3, 5, (2000, 6)).astype(np.float32)
    codes = planes_of(X, tmp_path / "rows")
    _, columns = read_header(tmp_path / "rows")
    first = (codes >> np.uint16(16 - bits)).astype(np.int64) << (16 - bits)
    centre = columns.offset + columns.scale * (first + (2 ** (16 - bits) - 1) / 2)
    packed = mz.open(tmp_path / "rows", bits=bits)
    np.testing.assert_allclose(packed.unpack(dtype=np.float64), centre, rtol=1e-12, atol=1e-12)
    error = np.square(packed.unpack(dtype=np.float64) - X).mean(axis=0)
    np.testing.assert_allclose(packed.noise, error, rtol=1e-9)  # all rows of so few are the sample


@pytest.mark.parametrize("stored", [4, 8, 16])
def test_the_bytes_read_are_the_share_of_the_bits(stored, rng, tmp_path):
    planes_of(rng.standard_normal((3000, 50)).astype(np.float32), tmp_path / "rows", bits=stored)
    total = read_header(tmp_path / "rows")[0].n_bytes
    for bits in (b for b in (1, 2, 4, 8) if b <= stored):
        assert mz.open(tmp_path / "rows", bits=bits).origin.bytes_read * stored == total * bits
    source = mz.open(tmp_path / "rows").source
    if stored == 16:
        source.block(0, 3000)
        assert source.bytes_read == total


READ_COLD = """
import os, sys, pathlib
import mezzotint as mz
import numpy as np
store = pathlib.Path(sys.argv[1])
mz.pack(np.eye(64)).unpack()  # everything that opening needs is loaded
mz.packed.verify_store(sys.argv[2])
for path in store.iterdir():
    file = os.open(path, os.O_RDONLY)
    os.fsync(file)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(file)
def read():
    return int(dict(line.split(": ") for line in open("/proc/self/io").read().splitlines())["read_bytes"])
before = read()
mz.open(store, bits=int(sys.argv[3]))
print(read() - before)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/io"), reason="the system does not count reads")
def test_the_system_confirms_the_bytes_read_of_a_cold_file(rng, tmp_path):
    planes_of(rng.standard_normal((60_000, 128)).astype(np.float32), tmp_path / "rows")
    planes_of(rng.standard_normal((64, 64)).astype(np.float32), tmp_path / "warm")
    total = read_header(tmp_path / "rows")[0].n_bytes
    pages = 4096 * (2 * 5 + 10)  # planes begin and end within pages; headers, folders
    for bits in (1, 4, 16):
        arguments = [tmp_path / "rows", tmp_path / "warm", bits]
        command = [sys.executable, "-c", READ_COLD, *map(str, arguments)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        run = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        seen, expected = int(run.stdout), total * (8 if bits == 16 else bits) // 16
        if seen == 0:
            pytest.skip("this file system's reads are not counted, or its cache cannot be emptied")
        assert expected <= seen <= expected + pages, bits


def test_sixteen_bits_stand_in_for_the_rows(rng, tmp_path):
    X = rng.standard_normal((3000, 7)).astype(np.float32)
    y = X @ np.arange(7.0) + rng.standard_normal(3000)
    codes = planes_of(X, tmp_path / "rows", shard_bytes=20_000)
    _, columns = read_header(tmp_path / "rows")
    decoded = (columns.offset + columns.scale * codes).astype(np.float32)
    packed = mz.open(tmp_path / "rows")
    np.testing.assert_array_equal(packed.source.block(5, 2999), decoded[5:2999])
    index = np.sort(rng.choice(3000, 200, replace=False))
    np.testing.assert_array_equal(packed.source.rows(index), decoded[index])
    assert packed.source.whole is None
    assert packed.source.shape == X.shape
    of_store, of_decoded = Ridge(alpha=0.1).fit(packed, y), Ridge(alpha=0.1).fit(decoded, y)
    np.testing.assert_allclose(of_store.coef_, of_decoded.coef_, rtol=1e-6)
    assert np.abs(decoded - X).max() <= columns.scale.max() * 0.51


def test_tiles_and_planes_together_train_with_everything_on_disk(rng, tmp_path):
    X = rng.standard_normal((3000, 7)).astype(np.float32)
    y = X[:, 0] + rng.standard_normal(3000)
    planes_of(X, tmp_path / "fine")
    mz.pack_file(X, tmp_path / "coarse", bits=4)
    rows = open_source(tmp_path / "fine")
    packed = mz.open(tmp_path / "coarse", source=rows)
    assert packed.source is rows
    decoded = rows.block(0, 3000)
    np.testing.assert_allclose(Ridge().fit(packed, y).coef_, Ridge().fit(decoded, y).coef_, rtol=1e-6)
    top = open_source(tmp_path / "fine", bits=8)
    np.testing.assert_array_equal(top.block(0, 3000), mz.open(tmp_path / "fine", bits=8).unpack())
    with pytest.raises(ParameterError, match="holds codes in tiles"):
        open_source(tmp_path / "coarse")


def test_every_value_lies_in_the_range_and_constants_are_exact(tmp_path, rng):
    X = rng.standard_normal((700, 3))
    X[123] = [1e9, -1e-300, 7.25]
    X[:, 2] = 7.25
    for bits in (4, 8, 16):
        codes = planes_of(X, tmp_path / "rows", bits=bits)
        _, columns = read_header(tmp_path / "rows")
        assert (np.abs(columns.offset + columns.scale * codes - X) <= columns.scale * 0.5001).all()
        np.testing.assert_array_equal(mz.open(tmp_path / "rows", bits=4).unpack()[:, 2], 7.25)


def test_a_float_source_can_be_attached(rng, tmp_path):
    X = rng.standard_normal((500, 6)).astype(np.float32)
    y = X[:, 0] - X[:, 3]
    mz.pack_file(X, tmp_path / "rows")
    packed = mz.open(tmp_path / "rows", source=X)
    np.testing.assert_array_equal(Ridge().fit(packed, y).coef_, Ridge().fit(mz.pack(X), y).coef_)
    with pytest.raises(DataError, match=r"source has shape \(499, 6\)"):
        mz.open(tmp_path / "rows", source=X[:499])


def test_opening_reads_no_codes_and_damage_shows_where_the_docs_say(rng, tmp_path):
    X = rng.standard_normal((2000, 30)).astype(np.float32)
    for planes in (False, True):
        store = tmp_path / f"rows-{planes}"
        mz.pack_file(X, store, planes=planes)
        path = store / "shard-00000.safetensors"
        content = bytearray(path.read_bytes())
        content[-2000] ^= 4  # in the last plane
        path.write_bytes(content)
        with pytest.raises(StoreError, match="rows 0 to 1999 do not fit their checksum"):
            mz.open(store, verify="all")
        with pytest.raises(StoreError, match="shard-00000"):
            mz.packed.verify_store(store)
        if planes:
            mz.open(store, bits=4)  # does not touch the damaged plane
            with pytest.raises(StoreError, match="checksum"):
                mz.open(store, bits=8)
        else:
            packed = mz.open(store)  # mapped, not read
            with pytest.raises(StoreError, match="rows 0 to 1999 do not fit their checksum"):
                packed.unpack(0, 1)


def test_a_file_cut_short_is_refused_when_it_is_opened(rng, tmp_path):
    mz.pack(rng.standard_normal((2000, 30)), bits=4).save(tmp_path / "rows")
    path = tmp_path / "rows" / "shard-00000.safetensors"
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(StoreError, match="its header asks for"):
        mz.open(tmp_path / "rows")


def test_the_safetensors_library_reads_every_file(rng, tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    X = rng.standard_normal((3000, 20)).astype(np.float32)
    codes = planes_of(X, tmp_path / "rows", shard_bytes=40_000)
    info, columns = read_header(tmp_path / "rows")
    header = safetensors.load_file(tmp_path / "rows" / "store.safetensors")
    np.testing.assert_array_equal(header["scale"], columns.scale)
    shard = safetensors.load_file(tmp_path / "rows" / "shard-00001.safetensors")
    start, stop, _ = info.shards[1]
    np.testing.assert_array_equal(shard["plane4"][:, :20], codes[start:stop] & 255)
    bits = np.unpackbits(shard["plane0"], axis=1, bitorder="little")[:, :20]
    np.testing.assert_array_equal(bits, codes[start:stop] >> 15)
    assert shard["checksums"][0, 4] == zlib.crc32(shard["plane4"][: info.block_rows])


def test_the_same_call_writes_the_same_bytes(rng, tmp_path):
    X = rng.standard_normal((1500, 9))
    for options in ({"bits": 16}, {"bits": 4}, {"bits": 8, "rounding": "stochastic"}):
        mz.pack_file(X, tmp_path / "one", n_jobs=1, **options)
        mz.pack_file(X, tmp_path / "two", n_jobs=2, **options)
        assert files_of(tmp_path / "one") == files_of(tmp_path / "two")


def test_a_store_is_replaced_while_it_is_open(rng, tmp_path):
    first, second = (mz.pack(rng.standard_normal((900, 11))) for _ in range(2))
    first.save(tmp_path / "rows")
    opened = mz.open(tmp_path / "rows")
    second.save(tmp_path / "rows")
    np.testing.assert_array_equal(opened.codes, first.codes)
    np.testing.assert_array_equal(mz.open(tmp_path / "rows").codes, second.codes)
    assert [path.name for path in tmp_path.iterdir()] == ["rows"]


def test_only_a_store_is_ever_replaced(rng, tmp_path):
    packed = mz.pack(rng.standard_normal((50, 3)))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.tex").write_text("years of work")
    (tmp_path / "file").write_text("as well")
    with pytest.raises(StoreError, match=r"holds 'thesis\.tex', which is no part of a store"):
        packed.save(tmp_path / "folder")
    with pytest.raises(StoreError, match="is a file or a link"):
        mz.pack_file(np.eye(20), tmp_path / "file")
    with pytest.raises(StoreError, match="does not exist; make it first"):
        packed.save(tmp_path / "absent" / "rows")
    (tmp_path / "rows.partial").mkdir()
    (tmp_path / "rows.partial" / "notes").write_text("mine")
    with pytest.raises(StoreError, match="holds 'notes'"):
        packed.save(tmp_path / "rows")
    assert (tmp_path / "folder" / "thesis.tex").exists()
    assert (tmp_path / "rows.partial" / "notes").exists()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"bits": 16, "planes": False}, "bits=16 is not possible; allowed: 8, 4"),
        ({"bits": 2, "planes": True}, "bits=2 is not possible; allowed: 4, 8, 16"),
        (
            {"bits": 16, "rounding": "stochastic"},
            "rounding='stochastic' with planes=True; allowed: 'nearest'",
        ),
        ({"rounding": "up"}, "rounding='up'"),
        ({"bits": 16, "n_draws": 2}, "n_draws=2 with planes=True; allowed: 1"),
        ({"bits": 5, "n_draws": 2}, "bits=5 is not possible; allowed: 1, 2, 3, 4, 7"),
        ({"shard_bytes": 0}, "shard_bytes=0; give"),
        ({"levels": "optimal"}, "levels='optimal' with bits=8 and n_draws=1; allowed bits: 4"),
        ({"bits": 16, "levels": "optimal"}, "levels='optimal' with planes=True.*planes=False"),
        ({"bits": 4, "levels": "optimal", "rounding": "nearest"}, "rounding='nearest' with levels='optimal'"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, text, tmp_path):
    with pytest.raises(ParameterError, match=text):
        mz.pack_file(np.eye(20), tmp_path / "rows", **options)
    assert not list(tmp_path.iterdir())


def test_a_store_opens_only_at_bits_it_can_be_read_at(tmp_path):
    mz.pack_file(np.eye(20), tmp_path / "tiles")
    mz.pack_file(np.eye(20), tmp_path / "planes", bits=4, planes=True)
    for name, bits, text in (("tiles", 4, "allowed: 8.*planes=True"), ("planes", 8, "allowed: 1, 2, 4")):
        with pytest.raises(ParameterError, match=text):
            mz.open(tmp_path / name, bits=bits)


@pytest.mark.parametrize("planes", [True, False])
def test_bad_values_are_named_and_nothing_is_left(planes, rng, tmp_path):
    X = rng.standard_normal((3000, 4))
    X[2900, 2] = np.nan
    with pytest.raises(DataError, match="row 2900, column 2"):
        mz.pack_file(X, tmp_path / "rows", planes=planes)
    assert not list(tmp_path.iterdir())


def test_a_column_wider_than_any_number_is_named(tmp_path):
    X = np.array([[0.0, -1.7e308], [0.0, 1.7e308]])
    with pytest.raises(DataError, match="column 1 spans more than the largest float64"):
        mz.pack_file(X, tmp_path / "rows", bits=16)
    assert not list(tmp_path.iterdir())


class ChangingSource(ArraySource):
    """Rows of which one turns bad after the ranges were taken."""

    whole = None

    def block(self, start, stop):
        rows = super().block(start, stop).copy()
        self.reads = getattr(self, "reads", 0) + 1
        if self.reads > 1 and stop == len(self._array):
            rows[-1, 2] = np.inf
        return rows


@pytest.mark.parametrize("planes", [True, False])
def test_rows_that_turn_bad_while_they_are_packed_leave_nothing(planes, rng, tmp_path):
    rows = ChangingSource(rng.standard_normal((3000, 4)))
    with pytest.raises(DataError, match=r"infinity: .* in row 2999, column 2"):
        mz.pack_file(rows, tmp_path / "rows", planes=planes)
    assert not list(tmp_path.iterdir())


def test_a_missing_store_says_what_to_do(tmp_path):
    with pytest.raises(StoreError, match=r"does not exist; write a store with PackedMatrix\.save"):
        mz.open(tmp_path / "rows")
    (tmp_path / "rows.partial").mkdir()
    with pytest.raises(StoreError, match=r"rows\.partial does: packing was interrupted"):
        mz.open(tmp_path / "rows")


def test_an_opened_matrix_can_be_pickled(rng, tmp_path):
    mz.pack(rng.standard_normal((400, 5))).save(tmp_path / "rows")
    packed = mz.open(tmp_path / "rows")
    again = pickle.loads(pickle.dumps(packed))
    np.testing.assert_array_equal(again.codes, packed.codes)
    assert again.origin == packed.origin


PACK_LIMITED = """
import json, resource, sys
import numpy as np
import mezzotint as mz
X = np.lib.format.open_memmap(sys.argv[1], mode="r")
mz.pack_file(X[:512], sys.argv[2], bits=int(sys.argv[3]))  # everything is loaded
used = int(open("/proc/self/statm").read().split()[5]) * resource.getpagesize()
limit = used + 48 * 2**20
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
mz.pack_file(X, sys.argv[2], bits=int(sys.argv[3]), n_jobs=1)
packed = mz.open(sys.argv[2], bits=4 if sys.argv[3] == "16" else None)
print(json.dumps([packed.codes.nbytes, X.nbytes]))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits private memory as Linux counts it")
@pytest.mark.parametrize("bits", [8, 16])
def test_packing_and_opening_need_less_memory_than_the_data(bits, rng, tmp_path):
    X = np.lib.format.open_memmap(tmp_path / "X.npy", mode="w+", dtype=np.float32, shape=(200_000, 200))
    for start in range(0, len(X), 20_000):
        X[start : start + 20_000] = rng.standard_normal((20_000, 200), dtype=np.float32)
    X.flush()
    command = [sys.executable, "-c", PACK_LIMITED, tmp_path / "X.npy", tmp_path / "rows", str(bits)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OPENBLAS_NUM_THREADS": "1"}
    run = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)[1] >= 3 * 48 * 2**20
