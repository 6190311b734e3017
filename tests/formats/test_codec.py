"""Codec: caught a decoder in float32, wrapped codes in int8 and a NaN turned into a code.

Those breaks were made on purpose (decode through float32, astype before clamping, no NaN check) and seen to
fail here.
"""

import numpy as np
import pytest

from mezzotint.errors import DataError, FormatError
from mezzotint.formats import FixedPoint, Rounding, decode, decode_scalar, encode, encode_scalar
from mezzotint.random import random_bits

SCALES = [1.0, 0.375, 2.0**-30, 0.1, 1e-7, 3e20]


@pytest.mark.parametrize("mode", list(Rounding))
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("bits", range(2, 9))
def test_every_code_survives_decoding_and_encoding_in_both_codecs(bits, scale, mode):
    grid = FixedPoint.nearest(bits=bits, scale=scale)
    codes = grid.codes()
    words = random_bits(1, 0, len(codes)) if mode is Rounding.STOCHASTIC else None
    values = decode(codes, grid)
    assert values.tolist() == [decode_scalar(int(code), grid) for code in codes] == grid.values().tolist()
    again = encode(values, grid, mode, words)
    assert (again.codes == codes).all()
    assert again.saturated == 0
    for index, code in enumerate(codes):
        word = None if words is None else int(words[index])
        assert encode_scalar(float(values[index]), grid, mode, word) == (code, False)


@pytest.mark.parametrize("bits", [16, 24, 32, 48])
def test_wide_codes_survive_at_the_ends_and_in_between(bits):
    grid = FixedPoint.nearest(bits=bits, scale=0.3)
    codes = np.unique(np.linspace(grid.min_code, grid.max_code, 1001).astype(np.int64))
    codes = np.concatenate([codes, [grid.min_code, -1, 0, 1, grid.max_code]])
    for mode in (Rounding.NEAREST_EVEN, Rounding.TOWARD_ZERO):
        assert (encode(decode(codes, grid), grid, mode).codes == codes).all()


def test_zero_stays_zero_whatever_the_bits():
    words = np.array([0, 1, 2**31, 2**32 - 1], np.uint32)
    assert encode(np.zeros(4), FixedPoint(bits=8, scale=0.5), "stochastic", words).codes.tolist() == [0] * 4


@pytest.mark.parametrize(
    ("bits", "dtype"), [(2, "int8"), (8, "int8"), (9, "int16"), (16, "int16"), (17, "int32")]
)
def test_codes_come_in_the_smallest_integer_type(bits, dtype):
    assert encode([0.0], FixedPoint(bits=bits, scale=1.0)).codes.dtype == dtype


def test_shapes_are_kept():
    assert encode(np.zeros((2, 0, 3)), FixedPoint(bits=8, scale=1.0)).codes.shape == (2, 0, 3)
    assert encode(np.zeros((2, 3)), FixedPoint(bits=8, scale=1.0)).codes.shape == (2, 3)
    assert decode(np.zeros((2, 3), np.int8), FixedPoint(bits=8, scale=1.0)).shape == (2, 3)


def test_nan_is_named_with_its_index():
    grid = FixedPoint(bits=8, scale=1.0)
    with pytest.raises(DataError, match=r"the value at index \(1, 0\) is NaN"):
        encode([[0.0, 1.0], [np.nan, np.nan]], grid)
    with pytest.raises(DataError, match="the value is NaN"):
        encode_scalar(float("nan"), grid)


@pytest.mark.parametrize("code", [-129, 128])
def test_a_code_outside_the_format_is_named(code):
    grid = FixedPoint(bits=8, scale=1.0)
    message = f"code {code} is not one of -128 to 127 \\(8 bits\\)"
    with pytest.raises(FormatError, match=message):
        decode_scalar(code, grid)
    with pytest.raises(FormatError, match=message):
        decode([0, code], grid)


def test_codes_that_are_not_integers_are_refused():
    with pytest.raises(FormatError, match="codes came as float64; pass integers"):
        decode([0.5], FixedPoint(bits=8, scale=1.0))
