"""Planes of bits, read back at any precision. Caught: a plane squeezed from the wrong bits of a code,

planes in the reverse order, and rows padded to whole bytes only: a first bit took more than its share.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mezzotint.packed.planes import READABLE_BITS, STORABLE_BITS, join, plane_row_bytes, split, widths_of


@pytest.mark.parametrize("bits", READABLE_BITS)
@given(shape=st.tuples(st.integers(1, 40), st.integers(1, 70)), seed=st.integers(0, 99))
def test_the_first_planes_hold_exactly_the_top_bits(bits, shape, seed):
    codes = np.random.default_rng(seed).integers(0, 2**16, shape, dtype=np.uint16)
    top = join(split(codes, 16)[: len(widths_of(bits))], shape[1])
    np.testing.assert_array_equal(top, codes >> np.uint16(16 - bits))


def test_every_16_bit_code_comes_back():
    codes = np.arange(2**16, dtype=np.uint16).reshape(1024, 64)
    np.testing.assert_array_equal(join(split(codes, 16), 64), codes)


@pytest.mark.parametrize("bits", STORABLE_BITS)
@pytest.mark.parametrize("n_columns", [1, 8, 31, 32, 33, 100])
def test_each_number_of_bits_takes_exactly_its_share_of_the_bytes(bits, n_columns):
    sizes = [plane_row_bytes(n_columns, width) for width in widths_of(bits)]
    for readable in READABLE_BITS[: len(sizes)]:
        assert sum(sizes[: len(widths_of(readable))]) * bits == sum(sizes) * readable


def test_a_byte_holds_its_values_from_the_lowest_bits_up():
    codes = np.zeros((1, 32), dtype=np.uint16)
    codes[0, 0], codes[0, 1], codes[0, 9] = 0x8000, 0x3000, 0x0F00
    first, second, third, fourth, fifth = split(codes, 16)
    assert first[0].tolist() == [1, 0, 0, 0]
    assert not second.any()
    assert third[0].tolist() == [0b1100, 0, 0, 0, 0, 0, 0, 0]
    assert fourth[0].tolist() == [0, 0, 0, 0, 0xF0] + [0] * 11
    assert not fifth.any()
