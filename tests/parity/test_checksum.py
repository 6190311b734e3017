"""Checksums from every instruction set are zlib's. Caught: the two factors of a product exchanged, a tail

that began anew, chains that were put together in the wrong order, the bytes of a word from the other end.
"""

import zlib

import numpy as np
import pytest
from tests.parity.operations import EVERY_ISA, THREADS

from mezzotint import kernels
from mezzotint.errors import DataError
from mezzotint.kernels import native, reference

SIZES = [*range(300), 1023, 1024, 4096, 65_537]


def pieces(rng):
    """Bytes and pieces of them of all sizes at all alignments."""
    data = rng.integers(0, 256, 70_000, dtype=np.uint8)
    begins = rng.integers(0, 4_000, len(SIZES))
    return data, begins, begins + np.array(SIZES)


@EVERY_ISA
def test_every_size_has_the_checksum_of_zlib(isa, rng):
    data, begins, ends = pieces(rng)
    expected = [zlib.crc32(data[begin:end].tobytes()) for begin, end in zip(begins, ends, strict=True)]
    assert reference.checksums(data, begins, ends).tolist() == expected
    with kernels.use(isa):
        for n_threads in THREADS:
            assert native.checksums(data, begins, ends, n_threads=n_threads).tolist() == expected


@EVERY_ISA
def test_known_values_and_extreme_bytes(isa):
    for text, crc in ((b"", 0), (b"123456789", 0xCBF43926), (b"a", 0xE8B7BE43)):
        data = np.frombuffer(text, dtype=np.uint8)
        with kernels.use(isa):
            assert native.checksums(data, np.array([0]), np.array([len(data)])).tolist() == [crc]
    for byte in (0, 1, 128, 255):
        data = np.full(1000, byte, np.uint8)
        with kernels.use(isa):
            assert native.checksums(data, np.array([0]), np.array([1000]))[0] == zlib.crc32(data)


@EVERY_ISA
def test_every_single_bit_changes_the_checksum(isa, rng):
    data = rng.integers(0, 256, 200, dtype=np.uint8)
    whole = np.array([0]), np.array([200])
    with kernels.use(isa):
        seen = {int(native.checksums(data, *whole)[0])}
        for bit in range(8 * len(data)):
            data[bit // 8] ^= 1 << bit % 8
            seen.add(int(native.checksums(data, *whole)[0]))
            data[bit // 8] ^= 1 << bit % 8
    assert len(seen) == 8 * len(data) + 1


@pytest.mark.parametrize(("begin", "end"), [(-1, 3), (0, 11), (4, 3)])
def test_pieces_must_lie_in_the_data(begin, end):
    with pytest.raises(DataError, match="pieces lie outside the 10 bytes"):
        native.checksums(np.zeros(10, np.uint8), np.array([begin]), np.array([end]))


@pytest.mark.parametrize(
    "data", [np.zeros(10, np.int8), np.zeros((5, 2), np.uint8), np.zeros(20, np.uint8)[::2]]
)
def test_data_must_be_bytes_in_a_row(data):
    with pytest.raises(DataError, match="pass contiguous uint8"):
        native.checksums(data, np.array([0]), np.array([3]))


def test_as_many_begins_as_ends():
    with pytest.raises(DataError, match="differ in number"):
        native.checksums(np.zeros(10, np.uint8), np.array([0, 1]), np.array([3]))
