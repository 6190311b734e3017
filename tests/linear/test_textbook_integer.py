"""LM-HALP: caught int32 sums of 16 x 16 bits, a wrapped int8 product, a shift without random bits.

Those breaks were made on purpose in textbook_integer.py and seen to fail here.
"""

import functools
import warnings

import numpy as np
import pytest

from mezzotint.errors import DataError, FormatError, ParameterError
from mezzotint.linear.textbook import LinearProblem, draw_epochs, halp, synthetic_regression
from mezzotint.linear.textbook_integer import (
    QuantisedFeatures,
    Widths,
    _FloatLanes,
    _IntegerLanes,
    lm_halp,
    quantise_features,
)
from mezzotint.random import random_bits

# Offset, data, scalar step.
COMBINATIONS = [(8, 8, 8), (8, 8, 16), (16, 8, 16), (16, 16, 16), (8, 16, 8), (8, 16, 16), (16, 8, 8)]
ALL_WIDTHS = pytest.mark.parametrize("combination", COMBINATIONS, ids=str)


def widths_of(combination, rule="B"):
    return Widths(offset=combination[0], data=combination[1], step=combination[2], rule=rule)


def quantised(problem, bits, seed=1):
    words = random_bits(seed, 0, problem.features.size, stream=32).reshape(problem.features.shape)
    return quantise_features(problem.features, bits=bits, random_bits=words)


def run_small(combination, *, arithmetic="integer", loss="squared", rule="B", option="I", mu=0.3, epochs=6):
    problem = synthetic_regression(2, n_rows=60, n_features=7)
    targets = problem.targets if loss == "squared" else np.where(problem.targets > 0, 1.0, -1.0)
    draws = draw_epochs(5, problem, n_features=7, steps=90, epochs=epochs)
    data = quantised(problem, combination[1])
    widths = widths_of(combination, rule)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*coordinates were clipped")
        return lm_halp(
            data,
            targets,
            np.zeros(7),
            draws,
            step=0.02,
            mu=mu,
            widths=widths,
            loss=loss,
            arithmetic=arithmetic,
            option=option,
        )


def assert_same_bits(left, right):
    for name in ("weights", "gradient_norms", "objectives", "scales", "saturated", "step_saturated", "codes"):
        assert np.array_equal(getattr(left, name), getattr(right, name)), name
    assert np.array_equal(left.constant_saturated, right.constant_saturated)
    assert left.status == right.status


@pytest.mark.parametrize("rule", ["A", "B"])
@pytest.mark.parametrize("option", ["I", "II"])
@pytest.mark.parametrize("loss", ["squared", "logistic"])
@ALL_WIDTHS
def test_integers_and_doubles_give_the_same_bits(combination, loss, option, rule):
    integer, double = (
        run_small(combination, arithmetic=arithmetic, loss=loss, option=option, rule=rule)
        for arithmetic in ("integer", "float64")
    )
    assert_same_bits(integer, double)
    assert integer.scales.size == 6 or integer.status == "diverged"


@ALL_WIDTHS
def test_integers_and_doubles_give_the_same_bits_where_everything_clips(combination):
    integer, double = (run_small(combination, arithmetic=kind, mu=200.0) for kind in ("integer", "float64"))
    assert integer.saturated.sum() > 0
    assert_same_bits(integer, double)


def extreme_lanes(combination, n_features, rule="B"):
    """Rows, scalars and constants at the ends of their ranges, in both signs."""
    widths = widths_of(combination, rule)
    low, high = -(1 << (widths.data - 1)), (1 << (widths.data - 1)) - 1
    kind = np.int8 if widths.data <= 8 else np.int16
    rows = np.array([[low], [high]], kind).repeat(n_features, axis=1)
    scalars = (-(1 << (widths.step - 1)), (1 << (widths.step - 1)) - 1)
    reach = 1 << (widths.constant_bits - 1)
    constants = [np.full(n_features, sign) for sign in (-reach, reach - 1)]
    return widths, rows, scalars, constants


@pytest.mark.parametrize("n_features", [1, 100, 512, 70_000, 140_000])
@ALL_WIDTHS
def test_no_dot_product_overflows_at_the_extremes(combination, n_features):
    widths, rows, scalars, constants = extreme_lanes(combination, n_features)
    lanes = _IntegerLanes(rows, widths)
    for word in (0, 2**32 - 1):
        for scalar, constant in zip(scalars, constants, strict=True):
            lanes.begin(constant, np.full((9, n_features), word, np.uint32))
            for t in range(9):  # drives every offset to the end of its range
                lanes.update(0, scalar, t)
                z = int(lanes.codes()[0])
                for row in (0, 1):
                    assert lanes.dot(row) == n_features * int(rows[row, 0]) * z
                    assert abs(lanes.dot(row)) <= widths.dot_bound(n_features)


@pytest.mark.parametrize("rule", ["A", "B"])
@ALL_WIDTHS
def test_no_update_overflows_at_the_extremes(combination, rule):
    widths, rows, scalars, constants = extreme_lanes(combination, 3, rule)
    left, right = max(widths.shift, 0), max(-widths.shift, 0)
    low, high = -(1 << (widths.offset - 1)), (1 << (widths.offset - 1)) - 1
    for lanes in (_IntegerLanes(rows, widths), _FloatLanes(rows, widths)):
        for constant in constants:
            for word in (0, 1, 2**31, 2**32 - 1):
                lanes.begin(constant, np.full((8, 3), word, np.uint32))
                z = clips = 0
                for t, (row, scalar) in enumerate([(r, s) for r in (0, 1) for s in scalars] * 2):
                    lanes.update(row, scalar, t)
                    # The same in Python's unbounded integers.
                    total = (z << left) - ((scalar * int(rows[row, 0]) + int(constant[0])) << right)
                    noise = word >> (32 - left)
                    assert abs(total) + noise <= widths.update_bound()
                    wanted = (total + noise) >> left
                    z = min(max(wanted, low), high)
                    clips += 3 * (z != wanted)
                    assert lanes.codes().tolist() == [z] * 3
                assert lanes.saturated == clips


@ALL_WIDTHS
def test_the_offset_is_stored_in_as_many_bits_as_it_has(combination):
    lanes = _IntegerLanes(np.zeros((1, 3), np.int8), widths_of(combination))
    lanes.begin(np.zeros(3, np.int64), np.zeros((1, 3), np.uint32))
    lanes.update(0, 1, 0)
    assert lanes._offset.dtype == (np.int8 if combination[0] == 8 else np.int16)


@pytest.mark.parametrize("combination", [(8, 8, 8), (8, 16, 16), (16, 16, 16)], ids=str)
def test_rounding_back_to_the_offset_is_unbiased(combination):
    widths = widths_of(combination)
    count = 200_000
    lanes = _IntegerLanes(np.zeros((1, count), np.int8), widths)
    for part in (1, (1 << widths.shift) // 3, (1 << widths.shift) - 1):
        lanes.begin(np.full(count, -part), random_bits(part, 0, count).reshape(1, count))
        lanes.update(0, 0, 0)
        p = part / (1 << widths.shift)
        assert abs(lanes.codes().mean() - p) <= 4 * np.sqrt(p * (1 - p) / count)


@ALL_WIDTHS
def test_the_quantum_of_a_product_is_the_product_of_the_quanta(combination):
    # s_x s_p = s_g in exact binary powers of s_k, and the largest product is twice the largest offset.
    b, data, p = combination
    assert widths_of(combination).shift == p + data - 2 - b
    largest_product = 2.0 ** (p - 1 + data - 1) * 2.0 ** -widths_of(combination).shift
    assert largest_product == 2 * 2.0 ** (b - 1)


def test_the_margin_splits_into_the_cached_part_and_the_integer_dot_product():
    problem = synthetic_regression(3, n_rows=20, n_features=7)
    data = quantised(problem, 8)
    centre = np.random.default_rng(0).standard_normal(7)
    z, quantum = np.array([3, -128, 127, 0, 1, -1, 50]), 0.003
    phi = data.values() @ centre
    split = phi + (data.codes.astype(np.int64) @ z) * (data.grid.scale * quantum)
    np.testing.assert_allclose(data.values() @ (centre + quantum * z), split, rtol=0, atol=1e-13)


@functools.cache
def run_full(combination, rule="B", mu=2.0):
    problem = synthetic_regression(1)
    draws = draw_epochs(1001, problem, n_features=100, steps=2000, epochs=30)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*coordinates were clipped")
        return lm_halp(
            quantised(problem, combination[1]),
            problem.targets,
            np.zeros(100),
            draws,
            step=0.002,
            mu=mu,
            widths=widths_of(combination, rule),
        )


@ALL_WIDTHS
def test_rule_b_converges_for_all_widths_on_the_1000_by_100_set(combination):
    norm = run_full(combination).gradient_norms[-1]
    # Coarse scalar steps (p = 8) add noise of their own to that of the offset.
    assert norm <= {8: 1e-9, 16: 5e-11}[combination[2]]
    if combination[0] == combination[2] == 16:
        assert norm <= 5e-14


@pytest.mark.parametrize("combination", [(16, 8, 16), (8, 16, 8)], ids=str)
def test_rule_a_fails_where_data_and_offset_differ_in_width(combination):
    assert run_full(combination, "A").status == "diverged"


@pytest.mark.parametrize("combination", [(8, 8, 8), (16, 16, 16)], ids=str)
def test_rule_a_converges_where_they_agree(combination):
    assert run_full(combination, "A").gradient_norms[-1] <= {8: 5e-11, 16: 5e-14}[combination[0]]


def test_rule_a_fails_at_16_bits_on_8_bit_data_because_the_scalar_step_clips():
    assert run_full((16, 8, 16), "A").step_saturated.sum() > 1000
    assert run_full((16, 8, 16), "B").step_saturated.sum() == 0


def test_lm_halp_ends_where_halp_ends_on_the_quantised_samples():
    ours = run_small((16, 16, 16), epochs=40)
    problem = synthetic_regression(2, n_rows=60, n_features=7)
    same = LinearProblem(features=quantised(problem, 16).values(), targets=problem.targets)
    draws = draw_epochs(8, problem, n_features=7, steps=90, epochs=40)
    reference = halp(same, np.zeros(7), draws, step=0.02, bits=16, mu=0.3)
    np.testing.assert_allclose(ours.weights, reference.weights, rtol=1e-11)


def test_samples_are_quantised_without_saturation_and_within_one_quantum():
    problem = synthetic_regression(1, n_rows=50, n_features=4)
    data = quantised(problem, 8)
    assert data.codes.dtype == np.int8
    assert abs(data.values() - problem.features).max() < data.grid.scale
    assert abs(data.codes).max() == 127


def bad_call(**changes):
    problem = synthetic_regression(1, n_rows=10, n_features=2)
    draws = list(draw_epochs(1, problem, n_features=2, steps=3, epochs=1))
    settings = {"step": 0.1, "mu": 1.0, "widths": Widths(offset=8, data=8, step=8), "draws": draws} | changes
    return lm_halp(quantised(problem, 8), problem.targets, np.zeros(2), settings.pop("draws"), **settings)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: Widths(offset=1, data=8, step=8),
            ParameterError,
            "offset width came as 1; it must be 2 to 16",
        ),
        (lambda: Widths(offset=8, data=17, step=8), ParameterError, "data width came as 17"),
        (lambda: Widths(offset=8, data=8, step=8, rule="C"), ParameterError, "rule came as 'C'"),
        (lambda: bad_call(mu=0.0), ParameterError, "mu came as 0.0"),
        (lambda: bad_call(arithmetic="int4"), ParameterError, "arithmetic came as 'int4'"),
        (
            lambda: bad_call(widths=Widths(offset=8, data=16, step=8)),
            ParameterError,
            "the data have 8 bits, the",
        ),
        (
            lambda: quantise_features(np.zeros((2, 2)), bits=8, random_bits=None),
            DataError,
            "largest magnitude",
        ),
        (lambda: quantise_features(np.eye(2), bits=1, random_bits=None), FormatError, "bits came as 1"),
        (lambda: quantise_features(np.eye(2), bits=8, random_bits=None), ParameterError, "needs random_bits"),
    ],
)
def test_bad_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_an_epoch_without_its_random_bits_is_refused():
    problem = synthetic_regression(1, n_rows=10, n_features=2)
    draws = [
        epoch._replace(step_bits=None) for epoch in draw_epochs(1, problem, n_features=2, steps=3, epochs=1)
    ]
    with pytest.raises(
        ParameterError, match="needs bits, step_bits and constant_bits in every epoch's draws"
    ):
        bad_call(draws=draws)


def test_quantised_features_know_their_values():
    data = quantise_features(np.eye(2), bits=8, random_bits=np.full((2, 2), 2**31, np.uint32))
    assert isinstance(data, QuantisedFeatures)
    np.testing.assert_allclose(data.values(), np.eye(2), rtol=1e-12)
