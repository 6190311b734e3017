"""Encoders as they are, written down here from their definitions. Caught: each trap of the table in
docs/sources.md, by undoing its handling: floor without half a bin, truncation taken for floor, the
flipped bit of binary codes, most and least significant bit first, low and high nibble, uniform ranges.
"""

import numpy as np
import pytest

import mezzotint as mz
from mezzotint.errors import DataError, ParameterError


def values_of(packed):
    return packed.source.block(0, packed.shape[0])


@pytest.fixture
def X(rng):
    return (rng.standard_normal((4000, 16)) * np.linspace(0.1, 3, 16) + 0.3).astype(np.float32)


def steps_of(X):
    ranges = np.vstack([X.min(axis=0), X.max(axis=0)])
    return ranges, ranges[0].astype(float), (ranges[1] - ranges[0].astype(float)) / 255


def error_in_steps(packed, X, step):
    return np.abs(values_of(packed) - X) / step


def test_uint8_codes_stand_for_the_middle_of_their_bin(X):
    ranges, start, step = steps_of(X)
    codes = np.clip(np.floor((X - start) / step), 0, 255).astype(np.uint8)
    packed = mz.from_sentence_transformers(codes, ranges, precision="uint8")
    np.testing.assert_allclose(values_of(packed), start + step * (codes + 0.5), rtol=1e-12)
    assert error_in_steps(packed, X, step).max() <= 0.5 + 1e-9


def test_new_int8_codes_are_uint8_codes_less_128(X):
    ranges, start, step = steps_of(X)
    unsigned = np.clip(np.floor((X - start) / step), 0, 255).astype(np.uint8)
    signed = (unsigned.astype(int) - 128).astype(np.int8)
    ours = mz.from_sentence_transformers(signed, ranges, precision="int8", rounding="floor")
    expected = mz.from_sentence_transformers(unsigned, ranges, precision="uint8")
    assert (ours.codes == expected.codes).all()
    np.testing.assert_allclose(values_of(ours), values_of(expected), rtol=1e-11)


def test_old_int8_codes_have_a_bin_of_double_width_at_zero(X):
    ranges, start, step = steps_of(X)
    exact = (X - start) / step - 128
    codes = np.trunc(exact).astype(np.int8)
    packed = mz.from_sentence_transformers(codes, ranges, precision="int8", rounding="truncate")
    error = error_in_steps(packed, X, step)
    assert error[codes != 0].max() <= 0.5 + 1e-9
    assert 0.9 < error[codes == 0].max() <= 1 + 1e-9
    taken_for_new = mz.from_sentence_transformers(codes, ranges, precision="int8", rounding="floor")
    assert error_in_steps(taken_for_new, X, step)[codes < 0].max() > 1.4


def test_without_ranges_values_are_in_steps():
    codes = np.array([[-128, -1, 0, 1, 127]], np.int8)
    new = mz.from_sentence_transformers(codes, precision="int8", rounding="floor")
    assert values_of(new).tolist() == [[-127.5, -0.5, 0.5, 1.5, 127.5]]
    old = mz.from_sentence_transformers(codes, precision="int8", rounding="truncate")
    assert values_of(old).tolist() == [[-128.5, -1.5, 0, 1.5, 127.5]]


def test_a_constant_dimension_stands_for_its_value():
    ranges = np.array([[0.25, 0.0], [0.25, 1.0]])
    codes = np.array([[0, 0], [0, 255]], np.uint8)
    values = values_of(mz.from_sentence_transformers(codes, ranges, precision="uint8"))
    assert values[:, 0].tolist() == [0.25, 0.25]


@pytest.mark.parametrize("d", [16, 13])
def test_binary_codes_are_signs_most_significant_bit_first(d, X):
    X = X[:, :d].copy()
    X[0, 0] = 0  # no sign: bit 0
    bits = np.packbits(X > 0, axis=1)
    binary = (bits.astype(int) - 128).astype(np.int8)
    for codes, precision in ((bits, "ubinary"), (binary, "binary")):
        packed = mz.from_sentence_transformers(codes, precision=precision, n_columns=d)
        assert packed.shape == X.shape
        np.testing.assert_array_equal(values_of(packed), X > 0)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"precision": "int8"}, ParameterError, "int8 codes do not tell how they were made"),
        ({"precision": "int8", "rounding": "nearest"}, ParameterError, "rounding='nearest'"),
        ({"precision": "uint8", "rounding": "floor"}, ParameterError, "only int8 has a choice"),
        ({"precision": "float32"}, ParameterError, "precision='float32' is unknown"),
        ({"precision": "uint8"}, DataError, "codes have dtype int8.*gives 2-D uint8"),
        ({"precision": "binary", "ranges": np.zeros((2, 3))}, ParameterError, "has no ranges"),
        ({"precision": "int8", "rounding": "floor", "ranges": np.zeros((2, 4))}, DataError, r"give \(2, 3\)"),
        (
            {"precision": "int8", "rounding": "floor", "ranges": np.array([[1.0] * 3, [0.0] * 3])},
            DataError,
            r"the smallest and the largest",
        ),
    ],
)
def test_what_does_not_belong_together_is_refused(arguments, error, text):
    with pytest.raises(error, match=text):
        mz.from_sentence_transformers(np.zeros((2, 3), np.int8), **arguments)


def faiss_codes(X, low, spread, bits):
    """Codes of a FAISS scalar quantizer: clip, floor, codes one after the other from the lowest bit."""
    share = np.clip((X - low) / spread, 0, 1)
    codes = np.floor(share * (2**bits - 1)).astype(np.uint8)
    single = codes[:, :, None] >> np.arange(bits) & 1
    return np.packbits(single.reshape(len(X), -1), axis=1, bitorder="little"), codes


@pytest.mark.parametrize("bits", [8, 6, 4])
@pytest.mark.parametrize("uniform", [False, True])
@pytest.mark.parametrize("d", [16, 15])
def test_faiss_codes_are_decoded_as_faiss_does(bits, uniform, d, X):
    X = X[:, :d].astype(float)
    low, spread = X.min(axis=0), np.ptp(X, axis=0)
    if uniform:
        low, spread = np.array([low.min()]), np.array([np.ptp(X)])
    stored, codes = faiss_codes(X, low, spread, bits)
    trained = np.concatenate([low, spread]).astype(np.float32)
    for given in (stored, stored.ravel()):
        packed = mz.from_faiss_sq(trained, given, d, bits=bits)
        low, spread = np.split(trained.astype(float), 2)
        expected = low + spread * ((codes + 0.5) / (2**bits - 1))
        np.testing.assert_allclose(values_of(packed), expected, rtol=1e-12, atol=1e-14)
    assert packed.bits == (4 if bits == 4 else 8)


def test_the_even_component_of_sq4_lies_in_the_low_nibble():
    packed = mz.from_faiss_sq([0, 0, 0, 15, 15, 15], np.array([[0x21, 0x03]], np.uint8), 3, bits=4)
    assert values_of(packed).tolist() == [[1.5, 2.5, 3.5]]


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"bits": 5}, ParameterError, "bits=5"),
        ({"trained": np.zeros(5)}, DataError, "trained holds 5 numbers; 3 columns have 6"),
        ({"codes": np.zeros((2, 4), np.uint8)}, DataError, "rows of 3 codes of 8 bits take 3 bytes"),
        ({"codes": np.zeros(7, np.uint8)}, DataError, r"shape \(7,\)"),
        ({"codes": np.zeros((2, 3), np.int8)}, DataError, "dtype int8"),
    ],
)
def test_faiss_arguments_must_fit(arguments, error, text):
    given = {"trained": np.ones(6), "codes": np.zeros((2, 3), np.uint8), "n_columns": 3} | arguments
    with pytest.raises(error, match=text):
        mz.from_faiss_sq(**given)


def test_usearch_rows_have_length_one_and_a_wide_bin_at_zero(X):
    norms = np.linalg.norm(X, axis=1)
    exact = X / norms[:, None] * 127
    codes = np.trunc(exact).astype(np.int8)
    values = values_of(mz.from_usearch_i8(codes))
    error = np.abs(values - exact / 127) * 127
    assert error[codes != 0].max() <= 0.5 + 1e-4
    assert 0.9 < error[codes == 0].max() <= 1 + 1e-4
    scaled = values_of(mz.from_usearch_i8(codes, norms))
    np.testing.assert_allclose(scaled, values * norms[:, None], rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(values, axis=1), 1, atol=0.02)


def test_usearch_codes_are_int8():
    with pytest.raises(DataError, match="codes have dtype uint8"):
        mz.from_usearch_i8(np.zeros((2, 3), np.uint8))
