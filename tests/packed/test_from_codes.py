"""Codes made elsewhere. Caught: the half bin left out, signed codes shifted by 127, the other bit order.

Others forgot the last block of rows, and took values for float32 that are not.
"""

import importlib

import numpy as np
import pytest

import mezzotint as mz
from mezzotint.errors import DataError, ParameterError
from mezzotint.kernels import Layout, ops
from mezzotint.linear import LogisticRegression, Ridge


def values_of(packed):
    return packed.source.block(0, packed.shape[0])


def own_codes(packed):
    """The codes in the tiles, counted from 0."""
    out = np.empty(packed.shape)
    zero, one = np.zeros(packed.shape[1]), np.ones(packed.shape[1])
    ops().unpack_rows(packed.codes, packed.layout, zero, one, 0, packed.shape[0], out)
    return out


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_all_256_codes_are_laid_into_tiles_one_for_one(dtype, rng, kernel_set):
    codes = np.tile(np.arange(256).astype("uint8").view(dtype)[:, None], (1, 5))
    scale, offset = rng.random(5) + 0.01, rng.standard_normal(5)
    packed = mz.from_codes(codes, scale, offset)
    lowest = np.iinfo(dtype).min
    np.testing.assert_array_equal(own_codes(packed), codes.astype(int) - lowest)
    np.testing.assert_array_equal(values_of(packed), offset + scale * codes)
    np.testing.assert_allclose(packed.unpack(dtype=np.float64), values_of(packed), rtol=0, atol=1e-12)
    assert not packed.noise.any()


def test_codes_in_columns_are_laid_out_as_those_in_rows(rng):
    codes = rng.integers(0, 256, (100, 7)).astype(np.uint8)
    packed = mz.from_codes(np.asfortranarray(codes), np.ones(7), np.zeros(7))
    np.testing.assert_array_equal(own_codes(packed), codes)


def test_packing_the_decoded_values_on_their_grid_gives_the_codes_back(rng, kernel_set):
    codes = np.tile(np.arange(256, dtype=np.uint8)[:, None], (1, 5))
    packed = mz.from_codes(codes, rng.random(5) * 1e-3, rng.standard_normal(5), bin="centre")
    again = packed.layout.empty_codes()
    ops().pack_rows(values_of(packed), packed.layout, packed.offset, packed.scale, again, 0)
    np.testing.assert_array_equal(again, packed.codes)


@pytest.mark.parametrize("bits", range(1, 8))
@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("d", [1, 7, 24])
def test_codes_of_any_width_and_bit_order_are_read(bits, order, d, rng):
    codes = rng.integers(0, 2**bits, (50, d))
    single = codes[:, :, None] >> np.arange(bits) & 1
    single = single if order == "little" else single[:, :, ::-1]
    stored = np.packbits(single.reshape(50, -1), axis=1, bitorder=order)
    packed = mz.from_codes(stored, bits=bits, bit_order=order, n_columns=d)
    np.testing.assert_array_equal(values_of(packed), codes)
    np.testing.assert_array_equal(own_codes(packed), codes)
    assert packed.bits == (4 if bits <= 4 else 8)
    index = np.array([0, 3, 49])
    np.testing.assert_array_equal(packed.source.rows(index), codes[index])


def test_many_rows_are_laid_out_in_blocks(rng, monkeypatch):
    monkeypatch.setattr(importlib.import_module("mezzotint.packed.from_codes"), "_BLOCK_VALUES", 100)
    codes = rng.integers(0, 256, (333, 5)).astype(np.uint8)
    np.testing.assert_array_equal(own_codes(mz.from_codes(codes)), codes)


def test_values_are_float32_only_where_that_is_exact(rng):
    codes = rng.integers(0, 256, (20, 3)).astype(np.uint8)
    assert mz.from_codes(codes).source.dtype == np.float32
    assert mz.from_codes(codes, scale=0.25, offset=-3, bin="centre").source.dtype == np.float32
    assert mz.from_codes(codes, scale=0.1).source.dtype == np.float64
    assert mz.from_codes(codes, row_scale=np.ones(20)).source.dtype == np.float64
    assert mz.from_codes(codes, scale=1e300).source.dtype == np.float64


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16"])
def test_row_scales_levels_and_wide_codes_decode_as_written(dtype, rng):
    info = np.iinfo(dtype)
    codes = rng.integers(info.min, info.max, (400, 6), endpoint=True).astype(dtype)
    codes[0] = info.min
    codes[1] = info.max
    row, scale, offset = rng.random(400), rng.random(6) / info.max, rng.standard_normal(6)
    levels = np.sort(rng.standard_normal(2 ** (8 * codes.itemsize)))
    packed = mz.from_codes(codes, scale, offset, row_scale=row, levels=levels)
    expected = row[:, None] * (offset + scale * levels[codes.astype(int) - info.min])
    np.testing.assert_allclose(values_of(packed), expected, rtol=1e-15, atol=1e-15)
    inside = np.abs(packed.unpack(dtype=np.float64) - expected)
    assert (inside <= packed.scale * 0.5 * 1.0001).mean() > 0.98  # nearest codes, but for outliers
    np.testing.assert_array_equal(values_of(mz.from_codes(codes)), codes)


def embeddings(rng, n=3000, d=24):
    return (rng.standard_normal((n, d)) * np.linspace(0.1, 3, d) + np.linspace(-1, 2, d)).astype(np.float32)


def relative_difference(ours, decoded, X, y):
    """|F(ours) - F(decoded)| / F for L2-penalised logistic loss, in plain NumPy."""

    def objective(model):
        margin = X @ model.coef_[0] + model.intercept_[0]
        return np.logaddexp(0, -(2 * y - 1) * margin).sum() + model.coef_[0] @ model.coef_[0] / 2

    return abs(objective(ours) - objective(decoded)) / objective(decoded)


def kinds_of_codes(rng, n, d):
    bytes_ = rng.integers(0, 256, (n, d)).astype(np.uint8)
    scale, offset = rng.random(d) / 100, -rng.random(d)
    levels = np.sort(rng.standard_normal(256))
    return {
        "affine": lambda: mz.from_codes(bytes_, scale, offset, bin="centre"),
        "4 bits": lambda: mz.from_codes(bytes_, 0.1, -0.8, bits=4),
        "bits": lambda: mz.from_codes(bytes_, bits=1, bit_order="big"),
        "levels": lambda: mz.from_codes(bytes_, levels=levels),
        "row scales": lambda: mz.from_codes(bytes_.view(np.int8), 0.01, row_scale=rng.random(n) + 0.5),
    }


@pytest.mark.parametrize("kind", ["affine", "4 bits", "bits", "levels", "row scales"])
@pytest.mark.parametrize("solver", ["newton", "halp"])
def test_a_fit_on_codes_reaches_the_optimum_of_the_decoded_values(kind, solver, rng):
    packed = kinds_of_codes(rng, 4000, 12)[kind]()
    X = values_of(packed).astype(np.float64)
    y = (X[:, 0] + X[:, 3] - X.mean() * 2 + 0.3 * rng.logistic(size=len(X)) > 0).astype(int)
    ours = LogisticRegression(solver=solver, tol=1e-10, max_iter=500).fit(packed, y)
    decoded = LogisticRegression(solver="newton", bits=32, tol=1e-10).fit(X, y)
    assert ours.result_.packed_passes > 0
    assert relative_difference(ours, decoded, X, y) < 1e-9


def test_ridge_on_codes_is_ridge_on_the_decoded_values(rng):
    codes = rng.integers(0, 256, (500, 8)).astype(np.uint8)
    packed = mz.from_codes(codes, 0.01)
    y = rng.standard_normal(500)
    expected = Ridge().fit(values_of(packed), y)
    np.testing.assert_allclose(Ridge().fit(packed, y).coef_, expected.coef_, rtol=1e-7, atol=1e-9)


def test_repr_says_which_problem_is_solved(rng):
    text = repr(mz.from_codes(np.zeros((5, 3), np.uint8)))
    assert "decoded codes attached: solutions are those of the decoded values" in text


def test_codes_are_not_copied(tmp_path, rng):
    codes = rng.integers(0, 256, (500, 8)).astype(np.uint8)
    np.save(tmp_path / "codes.npy", codes)
    mapped = np.load(tmp_path / "codes.npy", mmap_mode="r")
    assert np.shares_memory(mz.from_codes(mapped).source.codes.stored, mapped)


CODES = np.zeros((4, 3), np.uint8)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"codes": CODES.astype(float)}, DataError, "dtype float64"),
        ({"codes": CODES[0]}, DataError, r"shape \(3,\)"),
        ({"codes": CODES[:0]}, DataError, "0 sample"),
        ({"codes": CODES.astype(np.int8), "bits": 4}, DataError, "with bits=4 give a 2-D array of uint8"),
        ({"bits": 9}, ParameterError, "bits=9"),
        ({"bits": True}, ParameterError, "bits=True"),
        ({"bits": 16}, ParameterError, "bits=16"),
        ({"bin": "middle"}, ParameterError, "bin='middle'"),
        ({"bit_order": "msb"}, ParameterError, "bit_order='msb'"),
        ({"bin": "centre", "levels": np.arange(256.0)}, ParameterError, "bin='centre' and levels"),
        ({"n_columns": 4}, DataError, "n_columns=4; leave"),
        ({"n_columns": 7, "bits": 4}, DataError, "7 codes of 4 bits take 4 bytes a row, but the rows have 3"),
        ({"scale": [1, 2]}, DataError, r"scale has shape \(2,\)"),
        ({"scale": np.nan}, DataError, "one finite number or 3"),
        ({"scale": [1, -2, 1]}, DataError, "scale is -2.0 in column 1"),
        ({"offset": np.inf}, DataError, "offset has"),
        ({"scale": 1e308, "codes": CODES + np.uint8(9)}, DataError, "beyond the largest float64"),
        ({"row_scale": np.ones(3)}, DataError, "row_scale has shape"),
        ({"levels": np.zeros((3, 4))}, DataError, "levels have shape"),
        ({"levels": np.arange(300.0)}, DataError, "give 2 to 256"),
        (
            {"levels": np.arange(9.0), "codes": CODES + np.uint8(9)},
            DataError,
            "is code 9; codes go from 0 to 8",
        ),
    ],
)
def test_arguments_that_do_not_fit_say_what_would(arguments, error, text):
    with pytest.raises(error, match=text):
        mz.from_codes(**{"codes": CODES} | arguments)


def test_layouts_are_those_of_pack():
    assert mz.from_codes(CODES).layout == Layout(n_rows=4, n_columns=3, bits=8)
