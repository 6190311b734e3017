"""One table of levels for all columns. Caught: columns without weights, the noise of even levels.

Others that fitted levels to values which do not reach over the range, stores that left the table out (saved,
streamed), and an estimator that packed with even levels.
"""

import numpy as np
import pytest
from sklearn.base import clone

import mezzotint as mz
from mezzotint.cli.info import store_facts
from mezzotint.errors import DataError, ParameterError, StoreError
from mezzotint.formats.levels import quantisation_variance
from mezzotint.linear import LinearRegression, LinearSVC, LinearSVR, LogisticRegression, Ridge
from mezzotint.packed.store_format import parse, plan

KINDS = pytest.mark.parametrize(("bits", "n_draws"), [(4, 1), (4, 2), (3, 2), (2, 2), (1, 2)])


def heavy_tails(rng, n=4000, d=6):
    return rng.lognormal(size=(n, d)) * 10.0 ** np.arange(-2, d - 2)


def pack(X, bits, n_draws, levels="optimal", **options):
    return mz.pack(X, bits=bits, n_draws=n_draws, levels=levels, **options)


@KINDS
def test_the_table_reaches_over_the_range_of_every_column(bits, n_draws, rng):
    X = heavy_tails(rng)
    packed = pack(X, bits, n_draws)
    assert (packed.bits, packed.n_draws) == (bits + n_draws - 1, n_draws)
    assert len(packed.levels) == 2**bits
    assert (packed.levels[0], packed.levels[-1]) == (0, 255 if n_draws == 1 else 127)
    assert (np.diff(packed.levels) > 0).all()
    np.testing.assert_array_equal(packed.offset, X.min(axis=0))
    reach = packed.offset + packed.scale * n_draws * packed.levels[-1]
    assert (reach >= X.max(axis=0)).all()
    np.testing.assert_allclose(reach, X.max(axis=0), rtol=1e-9)
    assert "optimal levels" in repr(packed)


def test_uniform_levels_are_the_default_and_have_no_table(rng):
    packed = mz.pack(heavy_tails(rng), bits=3, n_draws=2)
    assert packed.levels is None
    assert "levels" not in repr(packed)


@KINDS
def test_values_decode_to_levels_around_them_and_without_bias(bits, n_draws, rng):
    X = heavy_tails(rng, n=300)
    copies = 300
    decoded = np.array(
        [pack(X, bits, n_draws, random_state=s, keep_source=False).unpack() for s in range(copies)]
    )
    packed = pack(X, bits, n_draws)
    places = np.array(packed.levels)
    units = (X - packed.offset) / (n_draws * packed.scale)
    below = np.clip(np.searchsorted(places, units, side="right") - 1, 0, len(places) - 2)
    low, high = places[below], places[below + 1]
    drawn = (decoded - packed.offset) / (n_draws * packed.scale)
    assert ((drawn > low - 1e-9) & (drawn < high + 1e-9)).all()
    deviation = np.sqrt(np.maximum((high - units) * (units - low), 0) / (n_draws * copies))
    # Rare outcomes are not normal: the mean over the rows of a column is.
    z = (drawn.mean(axis=0) - units).sum(axis=0) / np.sqrt((deviation**2).sum(axis=0))
    assert np.abs(z).max() < 4.5


@KINDS
def test_the_variance_is_what_the_levels_predict_and_optimal_ones_have_less(bits, n_draws, rng):
    X = heavy_tails(rng, n=8000)
    mean_square, predicted = {}, {}
    for levels in ("uniform", "optimal"):
        packed = pack(X, bits, n_draws, levels, rounding="stochastic")
        if n_draws == 1 and levels == "uniform":
            continue  # its range leaves outliers out
        step = n_draws * packed.scale
        places = packed.layout.level_places
        units = np.minimum((X - packed.offset) / step, places[-1])
        squares = ((packed.unpack() - X) / step / places[-1]) ** 2
        mean_square[levels] = squares.mean(axis=0)
        predicted[levels] = np.array([quantisation_variance(u, places) for u in units.T]) / n_draws
        predicted[levels] /= places[-1] ** 2
        spread = squares.std(axis=0) / np.sqrt(len(X))
        assert (np.abs(mean_square[levels] - predicted[levels]) < 4.5 * spread).all()
        np.testing.assert_allclose(packed.noise, predicted[levels] * (step * places[-1]) ** 2, rtol=0.5)
    if n_draws == 2 and bits > 1:
        ratio = mean_square["uniform"] / mean_square["optimal"]
        assert (ratio > {2: 2, 3: 4, 4: 4}[bits]).all()


def test_columns_count_by_their_squared_range_over_their_variance(rng):
    """A column in other units, or twice, must not change the table; one with heavier tails sets it."""
    X = heavy_tails(rng, d=3)
    other_units = X * np.array([1.0, 2.0**10, 2.0**-10])
    assert pack(X, 3, 2).levels == pack(other_units, 3, 2).levels
    assert pack(X, 3, 2).levels == pack(np.hstack([X, X]), 3, 2).levels
    flat, heavy = rng.random((4000, 1)), np.exp(2 * rng.standard_normal((4000, 1)))
    middle = [pack(x, 3, 2).levels[4] for x in (flat, np.hstack([flat, heavy]), heavy)]
    assert middle[0] - middle[1] > middle[1] - middle[2]


def test_constant_columns_and_few_values_have_a_table_too():
    X = np.zeros((40, 3))
    assert len(pack(X, 3, 2).levels) == 8
    np.testing.assert_array_equal(pack(X, 3, 2).unpack(), X)
    X[:20, 1], X[:5, 2] = 1.0, 0.25
    packed = pack(X, 4, 1)
    assert len(packed.levels) == 16
    np.testing.assert_allclose(packed.unpack(), X, rtol=1e-15)


@KINDS
def test_a_store_keeps_the_table(bits, n_draws, rng, tmp_path):
    packed = pack(heavy_tails(rng), bits, n_draws)
    packed.save(tmp_path / "rows.mzt")
    opened = mz.open(tmp_path / "rows.mzt")
    assert opened.levels == packed.levels
    facts = dict(store_facts(tmp_path / "rows.mzt"))
    assert facts["codes"].endswith(", optimal levels")
    np.testing.assert_array_equal(opened.unpack(), packed.unpack())


@KINDS
def test_a_streamed_store_has_the_codes_and_the_table_of_pack(bits, n_draws, rng, tmp_path):
    X = heavy_tails(rng)
    mz.pack_file(X, tmp_path / "rows", bits=bits, n_draws=n_draws, levels="optimal", random_state=3)
    opened, packed = mz.open(tmp_path / "rows"), pack(X, bits, n_draws, random_state=3)
    assert opened.levels == packed.levels
    for name in ("codes", "offset", "scale", "noise"):
        np.testing.assert_array_equal(getattr(opened, name), getattr(packed, name))


@pytest.mark.parametrize(
    ("estimator", "packing"),
    [
        (LogisticRegression(solver="newton"), {"bits": 4}),
        (LinearSVC(solver="newton"), {"bits": 4}),
        (LinearSVC(solver="zipml", max_iter=3), {"bits": 4}),
        (LinearSVR(solver="newton", epsilon=0.1), {"bits": 4}),
        (LinearRegression(solver="halp"), {"bits": 4}),
        (Ridge(solver="zipml", max_iter=3), {"bits": 3, "n_draws": 2}),
    ],
)
def test_an_estimator_fits_what_pack_packs(estimator, packing, rng):
    X = heavy_tails(rng, n=12_000)
    y = rng.integers(0, 2, len(X))
    ours = clone(estimator).set_params(bits=4, levels="optimal").fit(X, y)
    given = clone(estimator).fit(mz.pack(X, levels="optimal", **packing), y)
    np.testing.assert_array_equal(ours.coef_, given.coef_)
    np.testing.assert_array_equal(ours.intercept_, given.intercept_)
    even = clone(estimator).set_params(bits=4).fit(X, y)
    assert (even.coef_ != ours.coef_).any()


@pytest.mark.parametrize("bits", [8, 32])
def test_an_estimator_has_levels_to_choose_for_4_bits(bits):
    with pytest.raises(ParameterError, match=f"levels='optimal' with bits={bits}; allowed bits: 4"):
        Ridge(bits=bits, levels="optimal").fit(np.eye(3), np.arange(3))
    with pytest.raises(ParameterError, match=r"levels='best'.*allowed: 'uniform', 'optimal'"):
        Ridge(levels="best").fit(np.eye(3), np.arange(3))


def test_a_store_whose_levels_are_no_table_is_refused():
    info = plan(
        (64, 3),
        4,
        layout="tiles-4x4",
        n_draws=2,
        levels=(0, 1, 2, 3, 4, 5, 6, 127),
        dtype="float64",
        shard_bytes=2**20,
        provenance={},
    )
    text = info.describe()
    assert parse(text).levels == info.levels
    for wrong in ("[0, 1]", "[0, 2, 1, 3, 4, 5, 6, 127]", "[0, 1, 2, 3, 4, 5, 6, 128]", '"uniform"', "[0.5]"):
        with pytest.raises(StoreError, match="levels"):
            parse(text.replace("[0, 1, 2, 3, 4, 5, 6, 127]", wrong))


def test_exact_solvers_reach_the_optimum_of_the_float_rows_through_a_table(rng):
    X = heavy_tails(rng, n=3000)
    X /= X.std(axis=0)
    y = X @ rng.standard_normal(6) + rng.standard_normal(3000)
    labels = y > np.median(y)
    for n_draws in (1, 2):
        packed = pack(X, 4, n_draws)
        for solver in ("newton", "halp"):
            exact, model = Ridge(alpha=1.0).fit(X, y), Ridge(alpha=1.0, solver=solver).fit(packed, y)
            assert model.solution_ == "exact"
            np.testing.assert_allclose(model.coef_, exact.coef_, rtol=1e-4, atol=1e-4)
            exact = LogisticRegression(tol=1e-10).fit(X, labels)
            model = LogisticRegression(solver=solver, tol=1e-10).fit(packed, labels)
            np.testing.assert_allclose(model.coef_, exact.coef_, rtol=1e-3, atol=1e-4)


def test_what_cannot_have_a_table_is_refused(rng):
    X = rng.random((64, 3))
    for bits, n_draws, names in ((8, 1, "4"), (7, 2, "1, 2, 3, 4")):
        with pytest.raises(ParameterError, match=f"levels='optimal' with bits={bits}.*allowed bits: {names}"):
            pack(X, bits, n_draws)
    with pytest.raises(ParameterError, match="levels='best' is unknown; allowed: 'uniform', 'optimal'"):
        pack(X, 4, 1, "best")
    with pytest.raises(ParameterError, match="rounding='nearest' with levels='optimal'"):
        pack(X, 4, 1, rounding="nearest")
    for bad in (np.nan, np.inf):
        X[60, 2] = bad
        with pytest.raises(DataError, match="row 60, column 2"):
            pack(X, 3, 2)
    wide = np.array([[-3e38, 0], [3e38, 0]], np.float32)
    with pytest.raises(DataError, match="column 0 spans"):
        pack(wide, 3, 2)
