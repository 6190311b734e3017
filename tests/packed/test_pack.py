"""Packing every kind of input. Caught: a range rule that gives one outlier all the codes of its column.

Another that took the range of a rare column from the few rows it looked at first, and clipped the others.
"""

import pickle

import numpy as np
import pytest

import mezzotint as mz
from mezzotint.errors import DataError, ParameterError
from mezzotint.packed import as_source


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (17, 3), (500, 65), (3001, 16)])
def test_unpacked_values_are_within_half_a_step(bits, shape, rng):
    X = rng.uniform(-1, 3, shape).astype(np.float32)
    packed = mz.pack(X, bits=bits)
    inside = (packed.offset <= X) & (packed.offset + packed.scale * (2**bits - 1) >= X)
    error = np.abs(packed.unpack() - X)
    assert (error <= packed.scale * 0.5 * 1.0001 + 1e-6)[inside].all()
    assert inside.mean() > (0.99 if bits == 8 and len(X) > 200 else 0.7)


def test_one_outlier_does_not_cost_its_column_the_resolution(rng):
    X = rng.standard_normal((5000, 4)).astype(np.float32)
    X[123, 1] = 1e6
    packed = mz.pack(X, bits=8)
    others = np.delete(np.arange(5000), 123)
    assert np.abs(packed.unpack()[others, 1] - X[others, 1]).max() < 0.1


@pytest.mark.parametrize("bits", [8, 4])
def test_a_column_that_is_rarely_nonzero_keeps_its_large_values(bits):
    X = np.zeros((5000, 2), dtype=np.float32)
    X[[10, 500, 2000], 0] = 5.0  # every fifth row is looked at first; the others are not
    X[1::50, 0] = 255.0
    packed = mz.pack(X, bits=bits)
    assert np.abs(packed.unpack() - X).max() <= 0.51 * packed.scale.max()
    assert packed.scale[0] == pytest.approx(255 / (2**bits - 1))


def test_constant_and_zero_columns_decode_exactly():
    X = np.tile(np.array([0.0, 7.25, -1e-3, 1e30], dtype=np.float32), (100, 1))
    for bits in (8, 4):
        np.testing.assert_array_equal(mz.pack(X, bits=bits).unpack(), X)


def test_a_rare_binary_column_keeps_its_ones():
    X = np.zeros((3000, 2), dtype=np.float32)
    X[::700, 0] = 1
    np.testing.assert_allclose(mz.pack(X, bits=4).unpack(), X, atol=1e-6)


def _kinds(X, tmp_path):
    np.save(tmp_path / "x.npy", X)
    yield "fortran", np.asfortranarray(X)
    yield "strided", np.repeat(np.repeat(X, 2, axis=0), 2, axis=1)[::2, ::2]
    yield "memmap", np.load(tmp_path / "x.npy", mmap_mode="r")
    yield "big endian", X.astype(">f4")
    yield "list", X.tolist()
    yield "read only", _read_only(X)


def _read_only(X):
    X = X.copy()
    X.flags.writeable = False
    return X


def test_every_memory_order_gives_the_same_codes(rng, tmp_path):
    X = rng.standard_normal((777, 9)).astype(np.float32)
    expected = mz.pack(X).codes
    for name, variant in _kinds(X, tmp_path):
        assert (mz.pack(variant).codes == expected).all(), name


@pytest.mark.parametrize("dtype", ["float16", "int8", "uint8", "int16", "int32", "int64", "bool", "float64"])
def test_narrow_types_are_read_exactly(dtype, rng):
    X = rng.integers(0, 2, (300, 5)).astype(dtype)
    np.testing.assert_allclose(mz.pack(X).unpack(), X.astype(float), atol=1e-6)


def test_bfloat16_of_ml_dtypes(rng):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    X = rng.standard_normal((300, 5)).astype(ml_dtypes.bfloat16)
    source = as_source(X)
    np.testing.assert_array_equal(source.block(0, 300), X.astype(np.float32))


def test_torch_tensors(rng):
    torch = pytest.importorskip("torch")
    X = torch.arange(600, dtype=torch.float32).reshape(200, 3)
    assert mz.pack(X).shape == (200, 3)
    half = X.to(torch.bfloat16)
    np.testing.assert_array_equal(as_source(half).block(0, 200), half.float().numpy())


@pytest.mark.parametrize("module", ["pandas", "polars"])
def test_data_frames(module, rng):
    frames = pytest.importorskip(module)
    X = rng.standard_normal((100, 3)).astype(np.float32)
    frame = frames.DataFrame({f"c{j}": X[:, j] for j in range(3)})
    assert (mz.pack(frame).codes == mz.pack(X).codes).all()


def test_repr_tells_size_and_saving(rng):
    packed = mz.pack(rng.standard_normal((4096, 64)).astype(np.float32), bits=4)
    assert repr(packed).startswith("PackedMatrix(4096 x 64, 4 bits, 133 KB, 7.9x smaller than float32")


def test_pickling_keeps_codes_and_source(rng):
    X = rng.standard_normal((200, 7))
    packed = pickle.loads(pickle.dumps(mz.pack(X)))
    np.testing.assert_array_equal(packed.codes, mz.pack(X).codes)
    np.testing.assert_array_equal(packed.source.block(0, 200), X)


def test_the_source_can_be_left_out(rng):
    assert mz.pack(rng.standard_normal((20, 3)), keep_source=False).source is None


def test_codes_do_not_depend_on_threads(rng):
    X = rng.standard_normal((5000, 33)).astype(np.float32)
    for rounding in ("nearest", "stochastic"):
        codes = [mz.pack(X, rounding=rounding, n_jobs=n).codes.tobytes() for n in (1, 2, 3)]
        assert len(set(codes)) == 1


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_a_non_finite_value_is_named_by_row_and_column(value, dtype, rng):
    X = rng.standard_normal((9000, 5)).astype(dtype)
    X[8123, 3] = value
    X[8500, 0] = value
    with pytest.raises(DataError, match=r"(NaN|infinity).*row 8123, column 3.*impute or drop"):
        mz.pack(X)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.zeros(5), "Expected 2D array, got 1D array.*Reshape your data"),
        (np.zeros((0, 5)), "0 sample"),
        (np.zeros((5, 0)), "0 feature"),
        (np.zeros((2, 3), complex), "Complex data not supported"),
        (np.array([["a", "b"]]), "cannot be read as numbers.*encode such columns first"),
        (np.array([[{"a": 1}, 2]], dtype=object), "must be a number"),
        (np.zeros((1, 65_537), np.int8), "65537 columns; at most 65536"),
    ],
)
def test_unusable_input_is_refused_with_a_remedy(X, message):
    with pytest.raises(DataError, match=message):
        mz.pack(X)


def test_sparse_matrices_are_refused_with_a_remedy():
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(DataError, match=r"sparse matrix.*toarray\(\)"):
        mz.pack(sparse.csr_matrix(np.eye(3)))


@pytest.mark.parametrize("bits", [0, -8, 16, 3, "8", 8.5, True])
def test_unknown_bits_are_refused(bits):
    with pytest.raises(ParameterError, match="allowed: 8, 4"):
        mz.pack(np.eye(3), bits=bits)


def test_unknown_rounding_is_refused():
    with pytest.raises(ParameterError, match="'nearest', 'stochastic'"):
        mz.pack(np.eye(3), rounding="up")


def test_unpack_refuses_rows_that_do_not_exist():
    with pytest.raises(DataError, match="give 0 <= start <= stop <= 3"):
        mz.pack(np.eye(3)).unpack(1, 7)
