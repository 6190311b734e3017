"""Two draws per value. Caught: a range from the row sample, a grid rounded down, the same bits for two draws.

Another that measured the noise of one draw where the mean of two is stored.
"""

import numpy as np
import pytest

import mezzotint as mz
from mezzotint.errors import DataError, ParameterError
from mezzotint.kernels import Layout, ops
from mezzotint.linear import LogisticRegression, Ridge

LEVEL_BITS = pytest.mark.parametrize("bits", [1, 2, 3, 4, 7])
TOO_WIDE = "column 1 spans 6e.38.*must not be above.*type, 3.4e.38. Divide"


@LEVEL_BITS
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_the_range_covers_every_value_to_the_last_bit(bits, dtype, rng):
    X = (rng.standard_normal((600, 9)) * 10.0 ** np.arange(-4, 5)).clip(-6e4, 6e4).astype(dtype)
    packed = mz.pack(X, bits=bits, n_draws=2)
    np.testing.assert_array_equal(packed.offset, X.min(axis=0))
    last = packed.offset + packed.scale * 2 * (2**bits - 1)
    assert (last >= X.max(axis=0)).all()
    np.testing.assert_allclose(last, X.max(axis=0).astype(np.float64), rtol=1e-6)


def test_the_range_covers_rows_that_the_row_sample_leaves_out(rng):
    X = rng.random((6000, 1100), dtype=np.float32)  # of which 4096 are sampled
    X[5 * np.arange(1100), np.arange(1100)] = 9
    packed = mz.pack(X, bits=3, n_draws=2)
    assert (packed.offset + packed.scale * 2 * 7 >= 9).all()


@LEVEL_BITS
def test_unpacked_values_are_means_of_levels_beside_the_value(bits, rng):
    X = rng.uniform(-1, 3, (700, 37)).astype(np.float32)
    packed = mz.pack(X, bits=bits, n_draws=2)
    codes = np.rint((packed.unpack(dtype=np.float64) - packed.offset) / packed.scale)
    units = (X.astype(np.float64) - packed.offset) / (2 * packed.scale)
    below = np.floor(units + 1e-6)  # float32 may see a value on a level just below it
    assert ((codes >= 2 * below - 1e-3) | (units - np.floor(units) < 1e-4)).all()
    assert (codes <= 2 * np.ceil(units + 1e-4)).all()
    assert codes.max() <= 2 * (2**bits - 1)
    if bits < 7:
        assert 0.2 < (codes % 2).mean() < 0.5  # uniform fractions: two draws differ in a third


@LEVEL_BITS
def test_the_noise_is_the_mean_squared_error_of_the_mean_of_the_draws(bits, rng):
    X = rng.standard_normal((40_000, 6)).astype(np.float32)
    packed = mz.pack(X, bits=bits, n_draws=2)
    squares = (packed.unpack(dtype=np.float64) - X) ** 2
    # The estimate has about 1,000 rows, and f (1 - f) varies less from row to row than the squares do.
    spread = 5 * squares.std(axis=0) / np.sqrt(1000)
    assert (np.abs(squares.mean(axis=0) - packed.noise) <= spread).all()


def test_a_code_is_the_sum_of_the_single_draws_of_two_counters(rng):
    X = rng.uniform(0, 15, (333, 45)).astype(np.float32)
    both = Layout(n_rows=333, n_columns=45, bits=5, n_draws=2)
    one = Layout(n_rows=333, n_columns=45, bits=4)
    total = np.zeros((333, 45))
    for draw in (6, 7):
        total += _stored(X, one, scale=1.0, draw=draw)
    np.testing.assert_array_equal(_stored(X, both, scale=0.5, draw=6), total)


def _stored(X, layout, *, scale, draw):
    """Codes of a grid that starts at 0."""
    codes, values, zero = layout.empty_codes(), np.empty(X.shape), np.zeros(layout.n_columns)
    how = {"rounding": "stochastic", "seed": 11, "draw": draw}
    ops().pack_rows(X, layout, zero, np.full(layout.n_columns, scale), codes, 0, **how)
    ops().unpack_rows(codes, layout, zero, np.ones(layout.n_columns), 0, len(X), values)
    return values


@LEVEL_BITS
def test_draws_are_unbiased_and_independent(bits, kernel_set):
    """How often 0, 1 or 2 draws take the upper level: 16 x 3 counts within 5 standard deviations."""
    n, fractions = 20_000, (np.arange(16) + 0.5) / 16
    layout = Layout(n_rows=n, n_columns=16, bits=bits + 1, n_draws=2)
    below = np.arange(16) % layout.last_level
    picks = _stored(np.tile(below + fractions, (n, 1)), layout, scale=0.5, draw=0) - 2 * below
    for count, chance in enumerate([(1 - fractions) ** 2, 2 * fractions * (1 - fractions), fractions**2]):
        z = ((picks == count).sum(axis=0) - n * chance) / np.sqrt(n * chance * (1 - chance))
        assert np.abs(z).max() < 5


def test_the_repr_tells_the_draws():
    packed = mz.pack(np.eye(64, dtype=np.float32), bits=4, n_draws=2)
    assert repr(packed).startswith("PackedMatrix(64 x 64, 5 bits: 2 draws of 4, ")
    assert (packed.bits, packed.level_bits, packed.n_draws) == (5, 4, 2)
    assert (mz.pack(np.eye(3)).level_bits, mz.pack(np.eye(3)).n_draws) == (8, 1)


def test_constant_columns_decode_exactly():
    X = np.tile(np.array([0.0, 7.25, -1e-3, 1e30, -0.0], dtype=np.float32), (100, 1))
    packed = mz.pack(X, bits=3, n_draws=2)
    np.testing.assert_array_equal(packed.unpack(), X)
    assert not packed.noise.any()


def test_a_memory_map_gives_the_codes_of_the_array(tmp_path, rng):
    X = rng.standard_normal((9000, 70)).astype(np.float16)  # converted in blocks
    np.save(tmp_path / "X.npy", X)
    mapped = mz.pack(np.load(tmp_path / "X.npy", mmap_mode="r"), bits=4, n_draws=2)
    np.testing.assert_array_equal(mapped.codes, mz.pack(X.astype(np.float32), bits=4, n_draws=2).codes)


@pytest.mark.parametrize(("bad", "name"), [(np.nan, "NaN"), (np.inf, "infinity")])
def test_a_non_finite_value_outside_the_row_sample_is_named(bad, name, rng):
    X = rng.standard_normal((5000, 1100)).astype(np.float32)
    X[4711, 3] = bad
    with pytest.raises(DataError, match=f"{name}.*row 4711, column 3"):
        mz.pack(X, bits=4, n_draws=2)


def test_a_column_that_spans_more_than_its_type_is_refused():
    with pytest.raises(DataError, match=TOO_WIDE):
        mz.pack(np.array([[0, -3e38], [1, 3e38]], dtype=np.float32), bits=1, n_draws=2)
    widest = np.array([[-1.7e38], [1.7e38]], dtype=np.float32)
    np.testing.assert_allclose(mz.pack(widest, bits=1, n_draws=2).unpack(), widest)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"bits": 8},
            "bits=8 is not possible; allowed: 1, 2, 3, 4, 7. These are the bits of one of two draws",
        ),
        ({"bits": 5}, "bits=5 is not possible"),
        ({"bits": 4, "n_draws": 3}, "n_draws=3 is not possible; allowed: 1, 2"),
        ({"bits": 4, "rounding": "nearest"}, "would store the same draw 2 times; leave rounding out"),
    ],
)
def test_impossible_draws_are_refused(arguments, message):
    with pytest.raises(ParameterError, match=message):
        mz.pack(np.eye(3), **({"n_draws": 2} | arguments))


@pytest.mark.parametrize("solver", ["newton", "halp"])
@pytest.mark.parametrize("bits", [1, 2, 4, 7])
def test_solvers_reach_the_optimum_of_the_attached_rows_whatever_the_draws(bits, solver, rng):
    X = (rng.standard_normal((3000, 12)) * np.geomspace(0.3, 3, 12)).astype(np.float32)
    y = (X @ rng.standard_normal(12) + 2 * rng.standard_normal(3000) > 0).astype(int)
    packed = mz.pack(X, bits=bits, n_draws=2)
    # HALP needs 231 iterations where the noise of 1 bit is six times the variance of the data.
    ours = LogisticRegression(solver=solver, tol=1e-10, max_iter=1000).fit(packed, y)
    best = LogisticRegression(solver="newton", bits=32, tol=1e-12).fit(X, y)
    assert ours.result_.packed_passes > 0
    assert ours.result_.objective <= best.result_.objective * (1 + 1e-9)
    ridge = Ridge(solver=solver, tol=1e-10, max_iter=1000).fit(packed, X[:, 0] - X[:, 1])
    exact = Ridge(solver="newton", bits=32, tol=1e-12).fit(X, X[:, 0] - X[:, 1])
    assert ridge.result_.objective <= exact.result_.objective + 1e-9 * abs(exact.result_.objective)
