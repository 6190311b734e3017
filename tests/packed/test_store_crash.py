"""Interrupted packing. Caught: blocks taken up without a look at their bytes, an old store emptied too early,

a journal of other data taken for one's own, two writers in one folder, and a writer that always started over.
"""

import json
import os
import random
import signal
import subprocess
import sys

import numpy as np
import pytest

import mezzotint as mz
from mezzotint.errors import StoreError
from mezzotint.packed import store_format, store_place
from mezzotint.packed.store_write import StoreWriter

KILLS = int(os.environ.get("MEZZOTINT_KILLS", "8"))
OPTIONS = {"shard_bytes": 30_000}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(store_format, "_BLOCK_BITS", 2**16)


@pytest.fixture
def X(rng):
    return rng.standard_normal((4000, 20)).astype(np.float32)


def files_of(store):
    return {path.name: path.read_bytes() for path in sorted(store.iterdir())}


def interrupt_after(blocks, monkeypatch):
    """Let packing be interrupted when some blocks are written; count the blocks written."""
    written = []
    note = StoreWriter.note

    def counting(self, block, pieces):
        if len(written) == blocks:
            raise KeyboardInterrupt
        note(self, block, pieces)
        written.append(block)

    monkeypatch.setattr(StoreWriter, "note", counting)
    return written


@pytest.fixture(params=[{"bits": 16}, {"bits": 8}, {"bits": 4, "rounding": "stochastic"}], ids=str)
def options(request):
    return {**OPTIONS, **request.param}


@pytest.fixture
def expected(X, options, tmp_path):
    mz.pack_file(X, tmp_path / "expected", **options)
    return files_of(tmp_path / "expected")


def interrupted(X, store, options, after):
    with pytest.MonkeyPatch.context() as patch:
        interrupt_after(after, patch)
        with pytest.raises(KeyboardInterrupt):
            mz.pack_file(X, store, **options)


def blocks_written(X, store, options):
    with pytest.MonkeyPatch.context() as patch:
        written = interrupt_after(None, patch)
        mz.pack_file(X, store, **options)
    return len(written)


def test_the_same_call_continues_and_ends_with_the_same_bytes(X, options, expected, tmp_path):
    store = tmp_path / "rows"
    total = blocks_written(X, tmp_path / "other", options)
    assert total > 6
    for after in (0, 1, 5):
        interrupted(X, store, options, after)
        assert not store.exists()
        assert (tmp_path / "rows.partial").is_dir()
        assert blocks_written(X, store, options) == total - after
        assert files_of(store) == expected
        assert not (tmp_path / "rows.partial").exists()
        (tmp_path / "rows").rename(tmp_path / f"done-{after}")


def test_other_data_or_options_start_over(X, options, expected, tmp_path):
    store = tmp_path / "rows"
    total = blocks_written(X, tmp_path / "other", options)
    interrupted(-X, store, options, after=5)
    assert blocks_written(X, store, options) == total
    assert files_of(store) == expected
    interrupted(X, tmp_path / "more", {**options, "shard_bytes": 10**6}, after=5)
    assert blocks_written(X, tmp_path / "more", options) == total
    assert files_of(tmp_path / "more") == expected


def test_only_bytes_that_fit_their_checksum_are_kept(X, options, expected, tmp_path):
    store = tmp_path / "rows"
    total = blocks_written(X, tmp_path / "other", options)
    interrupted(X, store, options, after=5)
    path = tmp_path / "rows.partial" / "shard-00000.safetensors"
    content = bytearray(path.read_bytes())
    content[4096 + 4096 // 2 :] = bytes(len(content) - 4096 - 4096 // 2)
    path.write_bytes(content)
    assert blocks_written(X, store, options) > total - 5
    assert files_of(store) == expected


def test_a_journal_cut_anywhere_gives_the_same_store(X, options, expected, tmp_path):
    store = tmp_path / "rows"
    interrupted(X, store, options, after=3)
    journal = (tmp_path / "rows.partial" / "journal").read_bytes()
    for length in range(0, len(journal), 41):
        (tmp_path / "rows.partial" / "journal").write_bytes(journal[:length])
        interrupted(X, store, options, after=1)
    mz.pack_file(X, store, **options)
    assert files_of(store) == expected


def test_two_writers_do_not_meet(X, options, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        note = StoreWriter.note

        def meddling(self, block, pieces):
            patch.undo()
            with pytest.raises(StoreError, match="is being written by another process"):
                mz.pack_file(X, tmp_path / "rows", **options)
            note(self, block, pieces)

        patch.setattr(StoreWriter, "note", meddling)
        patch.setattr(store_format, "_BLOCK_BITS", 2**16)
        mz.pack_file(X, tmp_path / "rows", **options)
    assert mz.open(tmp_path / "rows", verify="all").shape == X.shape


def test_where_names_cannot_be_exchanged_the_old_store_steps_aside(
    X, options, expected, tmp_path, monkeypatch
):
    monkeypatch.setattr(store_place, "_exchange", lambda one, other: False)
    store = tmp_path / "rows"
    for _ in range(2):
        mz.pack(X[:100]).save(store)
        mz.pack_file(X, store, **options)
        assert files_of(store) == expected
        (tmp_path / "rows.old").mkdir()  # what an interruption may leave
    mz.pack_file(X, store, **options)
    assert not (tmp_path / "rows.old").exists()


PACK_AND_DIE = """
import json, os, signal, sys
import numpy as np
import mezzotint as mz
from mezzotint.packed import store_format
store_format._BLOCK_BITS = 2**16
X, store, options, at = np.load(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]), int(sys.argv[4])
mz.pack_file(X[:100], store + "-warm", n_jobs=1, **options)  # everything is loaded
events = 0
def count(frame, event, argument):
    global events
    events += 1
    if events == at:
        os.kill(os.getpid(), signal.SIGKILL)
sys.setprofile(count)
mz.pack_file(X, store, n_jobs=1, **options)
sys.setprofile(None)
print(events)
"""


def pack_and_die(tmp_path, options, at):
    """Pack in another process and kill it at the given one of all its calls and returns."""
    command = [
        sys.executable,
        "-c",
        PACK_AND_DIE,
        tmp_path / "X.npy",
        tmp_path / "rows",
        json.dumps(options),
        at,
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    arguments = [str(argument) for argument in command]
    return subprocess.run(arguments, capture_output=True, text=True, check=False, env=environment)


@pytest.mark.parametrize("options", [{"bits": 16}, {"bits": 8}], ids=str, indirect=True)
def test_a_kill_at_any_moment_leaves_the_old_store_or_one_to_continue(X, options, expected, tmp_path):
    store = tmp_path / "rows"
    np.save(tmp_path / "X.npy", X)
    mz.pack(X[:100]).save(store)
    run = pack_and_die(tmp_path, options, at=-1)
    assert run.returncode == 0, run.stderr
    total = int(run.stdout)
    moments = random.Random(0).sample(range(1, total + 1), KILLS // 2)
    last = range(total - 400, total + 1)  # finishing and renaming are short, and are hit as well
    for at in [*moments, *random.Random(1).sample(last, KILLS // 2)]:
        mz.pack(X[:100]).save(store)
        old = files_of(store)
        run = pack_and_die(tmp_path, options, at)
        # The garbage collector's calls are counted too: a moment near the end may lie behind it.
        assert run.returncode in (-signal.SIGKILL, 0), (at, run.stderr)
        left = {name: content for name, content in files_of(store).items() if name != "journal"}
        assert left in (old, expected), at
        mz.open(store, verify="all")
        mz.pack_file(X, store, **options)
        assert files_of(store) == expected, at
        assert not (tmp_path / "rows.partial").exists(), at
