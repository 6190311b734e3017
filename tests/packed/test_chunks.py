"""Chunks of a source: caught rows that were read late, skipped or out of order, an error that got lost.

Each was made on purpose in `chunks` (no reading ahead, every other part, the last two parts swapped, the
reader's exception ignored, a thread that must start) and seen to fail here.
"""

import threading

import numpy as np
import pytest

from mezzotint.kernels import segment_bounds
from mezzotint.packed import sources
from mezzotint.packed.sources import chunks


class Spy:
    """Rows that count themselves; remembers which blocks were read, and on which thread."""

    shape, dtype, whole = (5_000, 3), np.dtype(np.float64), None

    def __init__(self, bad=None):
        self.read, self.bad = [], bad

    def block(self, start, stop):
        if self.bad is not None and start <= self.bad < stop:
            raise OSError("a bad block")
        self.read.append((start, stop, threading.current_thread().name))
        return np.repeat(np.arange(start, stop, dtype=np.float64)[:, None], 3, axis=1)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(sources, "_CHUNK_BYTES", 600 * 24)


BOUNDS = segment_bounds(*Spy.shape)


def test_all_rows_come_once_and_in_order():
    found = list(chunks(Spy(), BOUNDS))
    assert len(found) > 5
    np.testing.assert_array_equal(np.concatenate([rows for _, rows in found])[:, 0], np.arange(5_000))
    assert [first for (first, _), _ in found] == np.cumsum([0, *(n for (_, n), _ in found)])[:-1].tolist()


def test_the_next_chunk_is_read_while_this_one_is_used():
    spy, before = Spy(), set(threading.enumerate())  # other tests' libraries keep threads of their own
    walk = chunks(spy, BOUNDS)
    for n_used in range(1, 4):
        next(walk)
        for _ in range(30_000):  # milliseconds that the reader has, whatever else the machine does
            if len(spy.read) > n_used:
                break
            threading.Event().wait(0.001)
        assert len(spy.read) == n_used + 1
    walk.close()
    assert len({name for _, _, name in spy.read}) == 2
    assert set(threading.enumerate()) <= before


def test_an_error_of_a_block_reaches_whoever_walks():
    walk = chunks(Spy(bad=3_000), BOUNDS)
    with pytest.raises(OSError, match="a bad block"):
        list(walk)


def test_a_single_chunk_starts_no_thread(monkeypatch):
    monkeypatch.setattr(sources, "_CHUNK_BYTES", 10**9)
    spy = Spy()
    list(chunks(spy, BOUNDS))
    assert [name for _, _, name in spy.read] == [threading.current_thread().name]


def test_without_a_thread_the_caller_reads_every_block_once_and_in_order(monkeypatch):
    def refuse(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    spy = Spy()
    found = list(chunks(spy, BOUNDS))
    np.testing.assert_array_equal(np.concatenate([rows for _, rows in found])[:, 0], np.arange(5_000))
    assert [start for start, _, _ in spy.read] == sorted({start for start, _, _ in spy.read})
    assert {name for _, _, name in spy.read} == {threading.current_thread().name}
