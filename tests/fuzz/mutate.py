"""Damaged and hostile stores: a deterministic source of mutated files.

Run as a program it opens many of them: ``python -m tests.fuzz.mutate 100000``, best with the sanitizer build.
"""

import json
import random
import shutil
import sys
import tempfile
import tracemalloc
import warnings
import zlib
from collections import Counter
from pathlib import Path

import numpy as np

import mezzotint as mz
from mezzotint.errors import StoreError
from mezzotint.kernels import ops
from mezzotint.linear import Ridge
from mezzotint.packed.store_planes import StoreSource

SPARE = 2**25  # what opening may allocate beside the file's size: parsed JSON, blocks, scratch memory
HEADER = "store.safetensors"
HOSTILE = (
    *(0, 1, -1, 2, 3, 5, 7, 16, 17, 2**31 - 1, 2**31, 2**32, 2**40, 2**53, 2**62, 2**63, 2**64, 10**300),
    *(0.5, 1e308, -0.0, True, False, None, "", "x", "8", "tiles-4x4", "planes", "float64", "int8", "\ud800"),
    *([], {}, [0], [[]], [1, 2], [[0, 16, "00000000"]], {"a": 1}, "F" * 5000, [0] * 3000),
)

Files = dict[str, bytes]


def base_stores(folder):
    """Small stores of every kind, as dictionaries of file contents."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((600, 5)).astype(np.float32)
    mz.pack(X[:48]).save(folder / "tiles8")
    mz.pack(X).save(folder / "shards", shard_bytes=1)
    mz.pack(X[:40].astype(np.float64), bits=4).save(folder / "tiles4")
    mz.pack(X[:50], bits=2, n_draws=2).save(folder / "draws3")
    mz.pack_file(X[:50], folder / "planes16", bits=16)
    mz.pack_file(X, folder / "planes-shards", bits=8, planes=True, shard_bytes=1)
    return [{path.name: path.read_bytes() for path in sorted(store.iterdir())} for store in folder.iterdir()]


def mutate(files: Files, rng: random.Random) -> tuple[str, Files]:
    """One to three mutations of one kind; the result may by chance be what it was."""
    kind = rng.choice(list(MUTATIONS))
    files = dict(files)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        name = rng.choice([HEADER, *files])
        if files.get(name):
            files = MUTATIONS[kind](files, name, rng)
    return kind, files


def _truncate(files, name, rng):
    return {**files, name: files[name][: rng.randrange(len(files[name]))]}


def _extend(files, name, rng):
    at = rng.randrange(len(files[name]) + 1)
    return {**files, name: files[name][:at] + rng.randbytes(rng.randrange(1, 100)) + files[name][at:]}


def _flip(files, name, rng):
    content = bytearray(files[name])
    start = rng.choice((0, 0, rng.randrange(len(content))))
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = min(start + rng.randrange(1200), len(content) - 1)
        content[at] ^= 1 << rng.randrange(8)
    return {**files, name: bytes(content)}


def _splice(files, name, rng):
    content, other = bytearray(files[name]), files[rng.choice(list(files))]
    begin, at = rng.randrange(len(other) + 1), rng.randrange(len(content))
    piece = other[begin : begin + rng.randrange(1, 5000)]
    content[at : at + len(piece)] = piece
    return {**files, name: bytes(content)}


def _length(files, name, rng):
    length = rng.choice(
        (0, 1, 2, 2**20, 2**20 + 1, 2**31, 2**63, 2**64 - 1, rng.randrange(5000), len(files[name]))
    )
    return {**files, name: length.to_bytes(8, "little") + files[name][8:]}


def _missing(files, name, rng):
    others = {other: content for other, content in files.items() if other != name}
    swapped = {**files, name: files[rng.choice(list(files))]}
    return rng.choice((others, swapped))


def _table(files, name, rng):
    """Change a tensor's type, shape or place, or add and drop tensors."""
    header, data = parsed(files[name])
    if header is None:
        return files
    _edit(header, rng)
    return {**files, name: framed(header, data)}


def _description(files, name, rng):
    """Change a fact and sign it, in the header and in the shards that repeat it."""
    header, data = parsed(files[name])
    try:
        facts = json.loads(header["__metadata__"]["description"])
    except (TypeError, KeyError, ValueError):
        return files
    _edit(facts, rng)
    header["__metadata__"]["description"] = json.dumps(facts, sort_keys=True)
    return signed({**files, name: framed(header, data)})


def _numbers(files, name, rng):
    """Put hostile numbers into offsets, scales and noises, and sign them."""
    header, data = parsed(files.get(HEADER, b""))
    if header is None or len(data) < 8:
        return files
    numbers = np.frombuffer(data[: len(data) // 8 * 8]).copy()
    values = (np.nan, np.inf, -np.inf, -1.0, 0.0, 1e308, -1e308, 5e-324, rng.gauss(0, 1))
    numbers[rng.randrange(len(numbers))] = rng.choice(values)
    return signed({**files, HEADER: framed(header, numbers.tobytes())})


def _codes(files, name, rng):
    """Change codes or checksums and sign them: such a store opens, with other codes."""
    header, data = parsed(files[name])
    if header is None or not data:
        return files
    content = bytearray(data)
    for _ in range(rng.randrange(1, 50)):
        content[rng.randrange(len(content))] = rng.randrange(256)
    return signed({**files, name: framed(header, bytes(content))})


MUTATIONS = {
    "truncate": _truncate,
    "extend": _extend,
    "flip": _flip,
    "splice": _splice,
    "length": _length,
    "missing": _missing,
    "table": _table,
    "description": _description,
    "numbers": _numbers,
    "codes": _codes,
}


def _edit(value, rng):
    """Replace, drop or add something in nested JSON."""
    while True:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        if not keys or rng.random() < 0.05:
            break
        key = rng.choice(keys)
        if isinstance(value[key], dict | list) and rng.random() < 0.8:
            value = value[key]
            continue
        near = isinstance(value[key], int) and rng.random() < 0.5
        value[key] = value[key] + rng.choice((-16, -1, 1, 16)) if near else rng.choice(HOSTILE)
        return
    if isinstance(value, dict):
        value[rng.choice(("offset", "extra", "codes", "plane9"))] = rng.choice(HOSTILE)
    else:
        value.append(rng.choice(HOSTILE))


def parsed(content):
    length = int.from_bytes(content[:8], "little")
    try:
        return json.loads(content[8 : 8 + length]), content[8 + length :]
    except ValueError:
        return None, b""


def framed(header, data):
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def signed(files):
    """Make all checksums fit again, as far as the files can still be understood."""
    try:
        return _sign(dict(files))
    except (KeyError, TypeError, ValueError, IndexError, OverflowError):
        return files


def _sign(files):
    header, columns = parsed(files[HEADER])
    facts = json.loads(header["__metadata__"]["description"])
    for index, entry in enumerate(facts["shards"]):
        name = f"shard-{index:05d}.safetensors"
        shard, data = parsed(files[name])
        about = json.loads(shard["__metadata__"]["description"])
        about.update({key: facts[key] for key in about.keys() & facts.keys()}, rows=entry[:2])
        shard["__metadata__"]["description"] = json.dumps(about, sort_keys=True)
        data = _checksums(shard, data, facts["block_rows"])
        end = shard["checksums"]["data_offsets"][1]
        crc32 = zlib.crc32(data[:end], zlib.crc32(shard["__metadata__"]["description"].encode()))
        shard["__metadata__"]["crc32"] = entry[2] = f"{crc32:08x}"
        files[name] = framed(shard, data)
    header["__metadata__"]["description"] = json.dumps(facts, sort_keys=True)
    return sign_header({**files, HEADER: framed(header, columns)})


def sign_header(files):
    """Make the checksum of the header fit, whatever it says."""
    header, columns = parsed(files[HEADER])
    text = header["__metadata__"]["description"].encode()
    header["__metadata__"]["crc32"] = f"{zlib.crc32(columns, zlib.crc32(text)):08x}"
    return {**files, HEADER: framed(header, columns)}


def _checksums(shard, data, block_rows):
    """Checksums of a shard of one block; the small stores here have no others."""
    planes = [entry["data_offsets"] for name, entry in shard.items() if name.startswith(("codes", "plane"))]
    crcs = [zlib.crc32(data[begin:end]).to_bytes(4, "little") for begin, end in planes]
    begin, end = shard["checksums"]["data_offsets"]
    if end - begin != 4 * len(crcs):
        return data
    return data[:begin] + b"".join(crcs) + data[end:]


def use(store, bits):
    """Open a store, multiply, decode, take a training step."""
    packed = mz.open(store, bits)
    n, d = packed.shape
    arguments = packed.codes, packed.layout, packed.offset, packed.scale
    margins = np.empty((1, n), np.float32)
    ops().packed_margins(*arguments, np.ones((1, d + 1)), margins, n_threads=1)
    gradient = ops().packed_gradient(*arguments, np.ones((1, n), np.float32), n_threads=1)
    assert gradient.shape[1:] == (1, d + 1)
    packed.unpack(0, min(n, 100))
    if isinstance(packed.source, StoreSource):
        packed.source.block(0, n)
        packed.source.rows(np.array([0, n - 1]))
    return packed


def train(packed):
    """One step of training on the decoded rows of an opened store."""
    rows = packed.unpack(dtype=np.float64)
    if np.abs(rows).max() > 1e100:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one step does not converge
        Ridge(max_iter=1, n_jobs=1, bits=packed.bits).fit(rows, np.arange(len(rows), dtype=np.float64))


def fuzz(count, seed=0):
    """Open `count` mutated stores; return how many of each kind opened, and how many were refused."""
    rng = random.Random(seed)
    outcomes = Counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "bases").mkdir()
        bases = base_stores(folder / "bases")
        for store in (folder / "bases").iterdir():
            use(store, None)
        for _ in range(count):
            kind, files = mutate(rng.choice(bases), rng)
            outcomes[kind, _try(folder / "mutated", files, rng)] += 1
    return outcomes


def _try(store, files, rng):
    shutil.rmtree(store, ignore_errors=True)
    store.mkdir()
    for name, content in files.items():
        (store / name).write_bytes(content)
    tracemalloc.start()
    try:
        with np.errstate(all="ignore"):
            packed = use(store, rng.choice((None, None, 4, 8)))
            if rng.random() < 0.05:
                train(packed)
        outcome = "opened"
    except StoreError:
        outcome = "refused"
    except mz.ParameterError:  # these bits are not to be had from this store
        outcome = "other bits"
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak <= sum(map(len, files.values())) + SPARE, peak
    return outcome


if __name__ == "__main__":
    results = fuzz(int(sys.argv[1]), seed=int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    for (kind, outcome), number in sorted(results.items()):
        print(f"{kind:12} {outcome:12} {number}")
