"""Hostile stores, one lie at a time. Caught: a table of tensors that was not compared with the description,

a header whose checksum was not looked at, scales that were not finite, shards in the wrong order, a size
taken from the header unseen (the process died of SIGBUS).
"""

import json
from itertools import pairwise

import numpy as np
import pytest
from tests.fuzz.mutate import HEADER, framed, parsed, sign_header, signed

import mezzotint as mz
from mezzotint.errors import StoreError

SHARD = "shard-00000.safetensors"


@pytest.fixture
def files(rng, tmp_path):
    """The files of a store of two shards."""
    mz.pack(rng.standard_normal((512, 5)).astype(np.float32)).save(tmp_path / "good", shard_bytes=1)
    found = {path.name: path.read_bytes() for path in (tmp_path / "good").iterdir()}
    assert len(found) == 3
    return found


def opened(files, folder):
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return mz.open(folder)


def refused(files, folder, text):
    with pytest.raises(StoreError, match=text) as caught:
        opened(files, folder)
    assert str(folder) in str(caught.value)
    assert "again" in str(caught.value)  # what to do
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("entry", "value", "text"),
    [
        ("shape", [512], "shape is .* not a list of 2 integers"),
        ("shape", [512, 10**9], "1 to 65536 columns"),
        ("shape", [2**40 + 16, 5], "a store holds 1 to"),
        ("shape", [10**300, 5], "not an integer from 0"),
        ("shape", [512, 6], "are not those .* 'offset' is .*5.* not .*6"),
        ("shape", [True, 5], "not an integer"),
        ("shape", [5120, 5], r"\[0, 256\].* do not cut 5120 rows"),
        ("bits", 7, "bits=7"),
        ("bits", 4, "level_bits is 8"),
        ("bits", "8", "bits is '8', not an integer"),
        ("level_bits", 2, "level_bits is 2"),
        ("n_draws", 3, "n_draws is 3, not an integer from 1 to 2|n_draws is '3'"),
        ("layout", "rows", "layout is 'rows'; allowed: tiles-4x4, planes"),
        ("layout", "planes", "are not those|describes another"),
        ("dtype", "float16", "dtype is 'float16'; allowed: float32, float64"),
        ("block_rows", 0, "block_rows is '?0'?, not an integer"),
        ("block_rows", 24, "not a multiple of 16"),
        ("shards", [], "not a list of"),
        ("shards", [[0, 512]], "not a shard"),
        ("shards", [[0, 512, "xyz"]], "eight hexadecimal digits"),
        ("provenance", {"a": [1]}, r"provenance is .*\[1\].* texts and numbers"),
        ("provenance", [], r"provenance is '\[\]', not a dictionary of texts"),
        ("extra", 1, "has the entries .*bits.*; it must have bits, "),
    ],
)
def test_a_lie_in_the_description_is_named(files, entry, value, text, tmp_path):
    header, data = parsed(files[HEADER])
    facts = json.loads(header["__metadata__"]["description"])
    facts[entry] = value
    header["__metadata__"]["description"] = json.dumps(facts)
    sign = sign_header if entry == "shards" else signed
    refused(sign({**files, HEADER: framed(header, data)}), tmp_path / "store", text)


@pytest.mark.parametrize("cuts", [[256, 0, 512], [0, 200, 512], [0, 256, 256, 512], [0, 256, 384]])
def test_shards_must_cut_the_rows_in_order(files, cuts, tmp_path):
    with_pairs(list(pairwise(cuts)), files, tmp_path)


@pytest.mark.parametrize("pairs", [[(0, 256), (128, 512)], [(0, 256), (272, 512)], [(256, 512), (0, 256)]])
def test_shards_must_neither_overlap_nor_leave_gaps(files, pairs, tmp_path):
    with_pairs(pairs, files, tmp_path)


def with_pairs(pairs, files, tmp_path):
    header, data = parsed(files[HEADER])
    facts = json.loads(header["__metadata__"]["description"])
    facts["shards"] = [[*pair, "00000000"] for pair in pairs]
    header["__metadata__"]["description"] = json.dumps(facts)
    refused(
        signed({**files, HEADER: framed(header, data)}),
        tmp_path / "store",
        "do not cut|checksum|does not exist",
    )


@pytest.mark.parametrize("name", [HEADER, SHARD])
@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("format", "model", "it holds 'model'"),
        ("format_version", "2", "format version '2'; this mezzotint reads version '1'; update"),
        ("crc32", "00000000", "checksum does not fit.* noted (is|are) 00000000"),
        ("description", "{", "checksum does not fit"),
        ("extra", 3, "not a safetensors file with a description, but begins"),
    ],
)
def test_a_lie_beside_the_description_is_named(files, name, key, value, text, tmp_path):
    header, data = parsed(files[name])
    header["__metadata__"][key] = value
    refused({**files, name: framed(header, data)}, tmp_path / "store", text)


@pytest.mark.parametrize("name", [HEADER, SHARD])
@pytest.mark.parametrize("lie", ["dtype", "shape", "overlap", "beyond", "missing", "more", "null"])
def test_tensors_must_be_those_of_the_description(files, name, lie, tmp_path):
    header, data = parsed(files[name])
    tensor = list(header)[-1]
    begin, end = header[tensor]["data_offsets"]
    changes = {
        "dtype": {"dtype": "I8"},
        "shape": {"shape": [1, *header[tensor]["shape"]]},
        "overlap": {"data_offsets": [0, end]},
        "beyond": {"data_offsets": [begin, 2**60]},
    }
    if lie == "missing":
        del header[tensor]
    elif lie in ("more", "null"):
        header["more"] = header[tensor] if lie == "more" else None
    else:
        header[tensor].update(changes[lie])
    refused({**files, name: framed(header, data)}, tmp_path / "store", "are not those that its description")


@pytest.mark.parametrize("name", [HEADER, SHARD])
@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "cut short or no store"),
        (b"\xff" * 8 + b"{}", "cut short or no store"),
        (b"\x02" + bytes(7) + b"{}", "not a safetensors file"),
        (b"\x02" + bytes(7) + b"[]", "not a safetensors file"),
        (b"\x03" + bytes(7) + b"NaN", "not JSON"),
        ((200_000).to_bytes(8, "little") + b"[" * 200_000, "not JSON"),
        (b"\x04" + bytes(7) + b'"\xff\xff"', "not JSON"),
    ],
    ids=["empty", "long", "no metadata", "list", "constant", "deep", "no text"],
)
def test_files_that_are_no_safetensors_are_refused(files, name, content, text, tmp_path):
    refused({**files, name: content}, tmp_path / "store", text)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -1.0, 1e39])
@pytest.mark.parametrize("place", [0, 5, 10])
def test_numbers_that_cannot_be_worked_with_are_refused(files, value, place, tmp_path):
    header, data = parsed(files[HEADER])
    numbers = np.frombuffer(data).copy()
    numbers[place] = value
    changed = signed({**files, HEADER: framed(header, numbers.tobytes())})
    if (place, value) in {(0, -1.0), (10, 1e39)}:  # an offset may be negative, a noise large
        assert opened(changed, tmp_path / "store").shape == (512, 5)
    else:
        refused(changed, tmp_path / "store", f"not finite, or scales .*column {place % 5} has")


def test_files_must_have_exactly_the_size_they_ask_for(files, tmp_path):
    for name, change in ((HEADER, b"\0"), (SHARD, b"\0"), (SHARD, -1), (SHARD, -4000)):
        content = files[name] + change if isinstance(change, bytes) else files[name][:change]
        refused({**files, name: content}, tmp_path / "store", "its header asks for|checksum does not fit")


def test_every_bit_of_the_header_counts_but_its_padding(files, tmp_path):
    content = files[HEADER]
    text_ends = content.index(b"}}") + 1
    for at in [*range(text_ends), *range(len(content) - 120, len(content))]:
        damaged = bytearray(content)
        damaged[at] ^= 1 << at % 8
        try:
            changed = opened({**files, HEADER: bytes(damaged)}, tmp_path / "store")
        except StoreError:
            continue
        assert changed.shape == (512, 5), at
        raise AssertionError(f"byte {at} was changed and nobody noticed")


def test_shards_of_another_store_are_refused(files, rng, tmp_path):
    mz.pack(rng.standard_normal((512, 5)).astype(np.float32)).save(tmp_path / "other", shard_bytes=1)
    other = (tmp_path / "other" / SHARD).read_bytes()
    refused({**files, SHARD: other}, tmp_path / "store", "a shard of another store")
    swapped = {**files, SHARD: files["shard-00001.safetensors"], "shard-00001.safetensors": files[SHARD]}
    refused(swapped, tmp_path / "store", "are not those|header asks for|a shard of another")
    (tmp_path / "store" / SHARD).unlink()
    with pytest.raises(StoreError, match="shard-00000"):
        mz.open(tmp_path / "store")
