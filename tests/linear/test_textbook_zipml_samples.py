"""Levels and draws of a data set: caught copies that repeat the first, a gap one level late, a lost level.

Those breaks, and draws from another stream, were made on purpose in textbook_zipml_samples.py and seen to
fail here.
"""

import numpy as np
import pytest

from mezzotint import kernels
from mezzotint.errors import DataError, ParameterError
from mezzotint.formats import quantisation_variance
from mezzotint.kernels import Layout
from mezzotint.linear.textbook_zipml_samples import (
    ColumnLevels,
    DrawnSamples,
    optimal_columns,
    uniform_columns,
)


def heavy_tailed(rng, n=300, d=4):
    return rng.standard_normal((n, d)) * np.exp(rng.standard_normal((n, d)))


@pytest.mark.parametrize("columns", [uniform_columns, optimal_columns])
@pytest.mark.parametrize("bits", [1, 2, 5, 8])
def test_units_and_values_are_inverse_and_levels_reach_both_ends(rng, columns, bits):
    x = heavy_tailed(rng)
    levels = columns(x, bits)
    assert [len(table) for table in levels.tables] == [2**bits] * 4
    assert [table[0] for table in levels.tables] == x.min(axis=0).tolist()
    assert [table[-1] for table in levels.tables] == x.max(axis=0).tolist()
    assert levels.values(levels.units(x)) == pytest.approx(x, rel=1e-12, abs=1e-12)


def test_uniform_levels_are_equally_spaced(rng):
    x = heavy_tailed(rng)
    for table in uniform_columns(x, 3).tables:
        assert np.diff(table) == pytest.approx(np.full(7, np.diff(table).mean()))


def test_the_variance_of_a_draw_is_that_of_rounding_to_a_neighbour(rng):
    x = heavy_tailed(rng)
    for levels in (uniform_columns(x, 2), optimal_columns(x, 2)):
        variance = levels.rounding_variance(x).mean(axis=0)
        known = [quantisation_variance(x[:, j], table) for j, table in enumerate(levels.tables)]
        assert variance == pytest.approx(known)


def test_optimal_levels_vary_less_on_heavy_tails(rng):
    x = heavy_tailed(rng)
    variance = [columns(x, 3).rounding_variance(x).sum() for columns in (uniform_columns, optimal_columns)]
    assert variance[0] > 2 * variance[1]


@pytest.mark.parametrize("columns", [uniform_columns, optimal_columns])
def test_a_constant_column_stays_what_it_is(columns):
    x = np.array([[2.0, 0.0], [2.0, 1.0], [2.0, 0.4]])
    samples = DrawnSamples.draw(x, columns(x, 3), n_draws=4)
    assert (samples.mean[:, 0] == 2.0).all()
    assert (samples.mean_variance[:, 0] == 0.0).all()


def test_the_mean_and_its_variance_are_those_of_the_single_draws(rng):
    x = heavy_tailed(rng)
    levels = optimal_columns(x, 3)
    four = DrawnSamples.draw(x, levels, n_draws=4, seed=5)
    single = np.stack([DrawnSamples.draw(x, levels, n_draws=1, seed=5, copy=c).mean for c in range(4)])
    assert four.mean == pytest.approx(single.mean(axis=0))
    assert four.mean_variance == pytest.approx(single.var(axis=0) / 3, abs=1e-12)


def test_a_pair_has_the_values_of_its_two_draws_in_one_order_or_the_other(rng):
    x = heavy_tailed(rng)
    levels = optimal_columns(x, 2)
    single = [DrawnSamples.draw(x, levels, n_draws=1, copy=c).mean for c in range(2)]
    first, second = DrawnSamples.draw(x, levels, n_draws=2).pair(rng.integers(0, 2, x.shape, np.uint8))
    assert (np.minimum(first, second) == np.minimum(*single)).all()
    assert (np.maximum(first, second) == np.maximum(*single)).all()
    assert ((first == single[0]) & (second == single[1])).mean() < 0.95


def test_nearest_rounding_takes_the_nearer_level(rng):
    x = heavy_tailed(rng)
    levels = optimal_columns(x, 2)
    rounded = DrawnSamples.draw(x, levels, n_draws=1, rounding="nearest-even").mean
    for j, table in enumerate(levels.tables):
        nearest = np.abs(x[:, j, None] - table).min(axis=1)
        assert np.abs(rounded[:, j] - x[:, j]) == pytest.approx(nearest, abs=1e-12)


def test_a_draw_has_the_codes_of_a_packed_matrix_with_the_same_grid(rng):
    x = heavy_tailed(rng, n=64)
    layout = Layout(n_rows=64, n_columns=4, bits=4)
    offset = x.min(axis=0)
    scale = (x.max(axis=0) - offset) / 15
    for draw in (0, 1):
        codes, decoded = np.zeros(layout.n_bytes, np.uint8), np.empty_like(x)
        kernels.ops().pack_rows(x, layout, offset, scale, codes, 0, rounding="stochastic", seed=7, draw=draw)
        kernels.ops().unpack_rows(codes, layout, np.zeros(4), np.ones(4), 0, 64, decoded)
        assert (
            DrawnSamples.draw(x, uniform_columns(x, 4), n_draws=1, seed=7, copy=draw).sums == decoded
        ).all()


def test_copies_and_seeds_give_other_draws(rng):
    x = heavy_tailed(rng)
    levels = uniform_columns(x, 2)
    drawn = [DrawnSamples.draw(x, levels, seed=s, copy=c).sums for s, c in ((0, 0), (0, 1), (1, 0), (0, 0))]
    assert (drawn[0] == drawn[3]).all()
    assert (drawn[0] != drawn[1]).any()
    assert (drawn[0] != drawn[2]).any()


def test_stored_bits_count_the_draws(rng):
    x = heavy_tailed(rng)
    samples = DrawnSamples.draw(x, uniform_columns(x, 4), n_draws=16)
    assert samples.stored_bits == 8
    assert samples.sums.max() == 16 * 15


def test_levels_that_do_not_cover_the_data_are_refused(rng):
    x = heavy_tailed(rng)
    with pytest.raises(DataError, match="column 0 reaches beyond"):
        DrawnSamples.draw(2 * x, uniform_columns(x, 2))
    with pytest.raises(DataError, match="column 0 reaches beyond"):
        ColumnLevels([np.array([0.0, 1.0])], 1).units(np.array([[np.nan]]))


@pytest.mark.parametrize("k", [1, 4])
def test_a_pair_is_refused_where_other_than_two_draws_are_stored(rng, k):
    x = heavy_tailed(rng)
    with pytest.raises(ParameterError, match="only of 2"):
        DrawnSamples.draw(x, uniform_columns(x, 2), n_draws=k).pair(np.zeros(x.shape, np.uint8))


def test_a_rounding_that_is_neither_is_refused(rng):
    x = heavy_tailed(rng)
    with pytest.raises(ParameterError, match="choose one"):
        DrawnSamples.draw(x, uniform_columns(x, 2), rounding="toward-zero")
