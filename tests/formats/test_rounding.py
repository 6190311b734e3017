"""Rounding: caught an unrepaired inexact quotient, 8-bit thresholds (bias), shifted thresholds, lost clips.

Those breaks were made on purpose in rounding.py and codec.py and seen to fail here.
"""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mezzotint.errors import ParameterError
from mezzotint.formats import FixedPoint, Rounding, encode, encode_scalar
from mezzotint.formats.rounding import round_array, round_fraction
from mezzotint.random import random_bits

MODES = list(Rounding)
GRIDS = [
    FixedPoint(bits=2, scale=1.0),
    FixedPoint(bits=4, scale=0.375),
    FixedPoint.nearest(bits=8, scale=0.1),
    FixedPoint.nearest(bits=8, scale=1e-90),
    FixedPoint.nearest(bits=16, scale=5e-5),
    FixedPoint.nearest(bits=32, scale=5e-9),
    FixedPoint.nearest(bits=48, scale=0.7),
]


def scalar_codes(values, grid, mode, words):
    pairs = [encode_scalar(float(v), grid, mode, w) for v, w in zip(values, words, strict=True)]
    return [code for code, _ in pairs], sum(saturated for _, saturated in pairs)


def array_codes(values, grid, mode, words):
    bits = None if mode is not Rounding.STOCHASTIC else np.array(words, np.uint32)
    codes, saturated = encode(values, grid, mode, bits)
    return codes.tolist(), saturated


CODECS = pytest.mark.parametrize("codec", [scalar_codes, array_codes])


def words_for(mode, count, seed=0):
    return random_bits(seed, 0, count).tolist() if mode is Rounding.STOCHASTIC else [None] * count


def hard_values(grid):
    """Doubles on, just below and just above every kind of decision: values, ties, quarters, range ends."""
    reach = min(grid.max_code + 2, 200)
    codes = np.unique(np.concatenate([np.arange(-reach, reach + 1), [grid.min_code, grid.max_code]]))
    at = np.concatenate([(codes + part) * grid.scale for part in (0.0, 0.25, 0.5)])
    return np.concatenate([at, np.nextafter(at, np.inf), np.nextafter(at, -np.inf), [5e-324, -5e-324]])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("grid", GRIDS, ids=repr)
def test_arrays_round_as_the_exact_definition_does_on_hard_values(grid, mode):
    values = hard_values(grid)
    words = words_for(mode, len(values))
    assert array_codes(values, grid, mode, words) == scalar_codes(values, grid, mode, words)


@pytest.mark.parametrize("word", [0, 1, 2**31 - 1, 2**31, 2**31 + 1, 2**32 - 1])
@pytest.mark.parametrize("grid", GRIDS, ids=repr)
def test_arrays_decide_exactly_at_the_stochastic_threshold(grid, word):
    # The doubles around (k + 1 - U) * scale: there a rounded product or quotient would decide wrongly.
    edges = np.array([float(Fraction(grid.scale) * (k + 1 - Fraction(word, 2**32))) for k in (-2, -1, 0, 1)])
    values = np.concatenate([edges, np.nextafter(edges, np.inf), np.nextafter(edges, -np.inf)])
    words = [word] * len(values)
    mode = Rounding.STOCHASTIC
    assert array_codes(values, grid, mode, words) == scalar_codes(values, grid, mode, words)


@settings(max_examples=300, deadline=None)
@given(
    value=st.floats(allow_nan=False),
    word=st.integers(0, 2**32 - 1),
    bits=st.integers(2, 48),
    scale=st.floats(1e-100, 1e100),
    mode=st.sampled_from(MODES),
)
def test_arrays_round_as_the_exact_definition_does_on_any_double(value, word, bits, scale, mode):
    grid = FixedPoint.nearest(bits=bits, scale=scale)
    values = np.array(
        [value, value * 2.0**-bits, math.fmod(value, grid.max_value) if math.isfinite(value) else 0.0]
    )
    words = [word if mode is Rounding.STOCHASTIC else None] * 3
    assert array_codes(values, grid, mode, words) == scalar_codes(values, grid, mode, words)


@CODECS
def test_nearest_takes_the_even_code_of_a_tie(codec):
    values = [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5]
    grid = FixedPoint(bits=8, scale=1.0)
    assert codec(values, grid, Rounding.NEAREST_EVEN, [None] * 6) == ([-2, -2, 0, 0, 2, 2], 0)


@CODECS
def test_toward_zero_drops_the_fraction(codec):
    grid = FixedPoint(bits=8, scale=0.5)
    values = [-0.99, -0.5, -0.49, 0.0, 0.49, 0.5, 0.99]
    assert codec(values, grid, Rounding.TOWARD_ZERO, [None] * 7) == ([-1, -1, 0, 0, 0, 1, 1], 0)


@CODECS
def test_stochastic_rounding_with_the_word_one_half_is_round_half_up(codec):
    grid = FixedPoint(bits=8, scale=1.0)
    values = [-2.5, -1.5, -0.75, -0.5, 0.5, 1.25, 2.5]
    assert codec(values, grid, Rounding.STOCHASTIC, [2**31] * 7) == ([-2, -1, -1, 0, 1, 1, 3], 0)


@CODECS
@pytest.mark.parametrize("mode", MODES)
def test_saturation_is_counted_for_codes_beyond_the_range_only(codec, mode):
    grid = FixedPoint(bits=4, scale=1.0)
    values = [-math.inf, -1e300, -9.0, -8.0, 7.0, 8.0, math.inf]
    words = words_for(mode, len(values))
    assert codec(values, grid, mode, words) == ([-8, -8, -8, -8, 7, 7, 7], 5)


@CODECS
def test_a_value_that_rounds_back_into_the_range_is_not_saturated(codec):
    grid = FixedPoint(bits=4, scale=1.0)
    assert codec([7.4, -8.4], grid, Rounding.NEAREST_EVEN, [None] * 2) == ([7, -8], 0)
    assert codec([7.5], grid, Rounding.STOCHASTIC, [2**31 - 1]) == ([7], 0)
    assert codec([7.5], grid, Rounding.STOCHASTIC, [2**31]) == ([7], 1)


@pytest.mark.parametrize("fraction", [Fraction(0), Fraction(1, 2**32), Fraction(1, 3), Fraction(2, 3)])
def test_the_probability_of_rounding_up_is_the_fraction_cut_to_32_bits(fraction):
    # The smallest word that rounds up is found by bisection; all words from there on do.
    low, high = 0, 2**32
    while low < high:
        middle = (low + high) // 2
        if round_fraction(fraction, Rounding.STOCHASTIC, middle) == 1:
            high = middle
        else:
            low = middle + 1
    assert 2**32 - low == math.floor(fraction * 2**32)


N_DRAWS = 40_000


@pytest.mark.parametrize("fraction", np.linspace(0, 1, 17)[:-1])
@pytest.mark.parametrize("scale", [1.0, FixedPoint.nearest(bits=8, scale=0.05).scale])
def test_stochastic_rounding_is_unbiased_with_variance_p_times_one_minus_p(fraction, scale):
    grid = FixedPoint(bits=8, scale=scale)
    value = (fraction - 3) * scale
    bits = random_bits(2, 0, N_DRAWS, step=round(fraction * 16))
    codes = encode(np.full(N_DRAWS, value), grid, Rounding.STOCHASTIC, bits).codes.astype(float)
    variance = fraction * (1 - fraction)
    second_order = 16 * variance / N_DRAWS  # (4 standard errors of the mean) squared
    assert abs(codes.mean() - value / scale) <= 4 * math.sqrt(variance / N_DRAWS) + 1e-9
    assert (
        abs(codes.var() - variance)
        <= 4 * abs(1 - 2 * fraction) * math.sqrt(variance / N_DRAWS) + second_order
    )
    assert codes.var() <= 0.25


@pytest.mark.parametrize("p", [0.001, 0.0025, 0.9985])
def test_small_fractions_are_not_lost(p):
    # With thresholds of 8 bits the smallest would never round up: a bias that a coarse sweep of p misses.
    draws = 400_000
    codes = encode(
        np.full(draws, p), FixedPoint(bits=8, scale=1.0), "stochastic", random_bits(3, 0, draws)
    ).codes
    assert abs(codes.mean() - p) <= 4 * math.sqrt(p * (1 - p) / draws)


@pytest.mark.parametrize("spread", [-40.0, -3.0, -0.5, 0.5, 3.0, 40.0])
def test_rounding_moves_away_from_a_point_of_the_box_by_a_quarter_quantum_per_coordinate_at_most(spread):
    # E||Q(u) - w||^2 <= ||u - w||^2 + d scale^2 / 4, also for u out of range: the lemma behind every proof.
    d, draws = 50, 2000
    grid = FixedPoint(bits=4, scale=1.0)
    rng = np.random.default_rng(4)
    inside = rng.uniform(grid.min_value, grid.max_value, d)
    start = inside + spread * abs(rng.standard_normal(d))  # all on one side, so that any bias adds up
    bits = random_bits(5, 0, draws * d).reshape(draws, d)
    rounded = encode(np.tile(start, (draws, 1)), grid, "stochastic", bits).codes
    distances = ((rounded - inside) ** 2).sum(axis=1)
    bound = ((start - inside) ** 2).sum() + d / 4
    assert distances.mean() <= bound + 4 * distances.std() / math.sqrt(draws)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: Rounding("up"),
            "rounding came as 'up'; allowed are 'nearest-even', 'toward-zero', 'stochastic'",
        ),
        (lambda: encode([0.5], GRIDS[0], "stochastic"), "stochastic rounding needs random_bits"),
        (
            lambda: encode_scalar(0.5, GRIDS[0], "stochastic"),
            "random_word came as None; stochastic rounding needs",
        ),
        (lambda: encode_scalar(0.5, GRIDS[0], "stochastic", 2**32), "random_word came as 4294967296"),
        (lambda: encode_scalar(0.5, GRIDS[0], "toward-zero", 1), "toward-zero rounding takes no random bits"),
        (lambda: encode([0.5], GRIDS[0], "nearest-even", np.zeros(1, np.uint32)), "takes no random bits"),
        (
            lambda: encode([0.5], GRIDS[0], "stochastic", np.zeros(2, np.uint32)),
            r"pass uint32 of shape \(1,\)",
        ),
        (lambda: encode([0.5], GRIDS[0], "stochastic", np.zeros(1)), "random_bits came as float64"),
    ],
)
def test_bad_rounding_arguments_are_named(call, message):
    with pytest.raises(ParameterError, match=message):
        call()


def test_rounding_leaves_its_input_alone():
    values = np.array([0.3, 0.7])
    values.setflags(write=False)
    assert round_array(values, 0.5, Rounding.NEAREST_EVEN).tolist() == [1.0, 1.0]
