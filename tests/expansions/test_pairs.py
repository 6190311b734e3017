"""Arithmetic on pairs: caught fast first sums, sloppy sums, lost low parts, lost cross terms, spread NaN.

Those breaks were made on purpose in the sources and seen to fail here: grow by the fast sum alone, or without
its old low part; add without its last error; scale in one step; mul with one cross term, or not normalised;
products of zero and infinity; split not normalised, through float32, or with NaN for a low part; a forgotten
unit; a self check that asks for any right sum; a factor that is overwritten.
"""

import numpy as np
import pytest
from tests.expansions.samples import (
    BFLOAT16,
    FLOAT8,
    FORMATS,
    any_bits,
    every_finite,
    exact,
    hard_numbers,
    hard_pairs,
    is_exact_sum,
    name,
    worst,
)

from mezzotint.errors import FormatError, ParameterError
from mezzotint.expansions import (
    add,
    fast_two_sum,
    grow,
    is_error_free,
    mul,
    renormalise,
    scale,
    split,
    two_sum,
    unit_roundoff,
    value,
)

# Relative errors at most this many u**2 (Joldes et al., mul by Muller and Rideau), where nothing underflows.
BOUNDS = {
    "grow": lambda u: 2,
    "add": lambda u: 3 + 13 * u,
    "scale": lambda u: 1.5 + 4 * u,
    "mul": lambda u: 5,
}
# The worst of these samples come this close: the bounds are not loose, and the samples are hard.
REACHED = {"grow": 1.9, "add": 2.2, "scale": 1.45, "mul": 4.5}
# Powers of two between which operands lie, so that neither products nor their errors leave the range.
SPANS = {BFLOAT16: (-3, 4), np.float16: (2, 7), np.float32: (-3, 4)}


def applied(operation, x, y, d):
    """The pair that an operation returns, and the exact result."""
    number = exact((d, np.zeros_like(d)))
    if operation in ("add", "mul"):
        return (add(x, y), exact(x) + exact(y)) if operation == "add" else (mul(x, y), exact(x) * exact(y))
    return (grow(x, d), exact(x) + number) if operation == "grow" else (scale(x, d), exact(x) * number)


@pytest.mark.parametrize("operation", BOUNDS)
@pytest.mark.parametrize("dtype", SPANS, ids=name)
def test_errors_stay_within_their_bounds_and_come_near_them(rng, dtype, operation):
    size = 8_000 if dtype is np.float32 else 500_000
    x, y = (hard_pairs(rng, dtype, size, SPANS[dtype]) for _ in range(2))
    result, expected = applied(operation, x, y, hard_numbers(rng, dtype, size, SPANS[dtype]))
    reached = worst(result, expected)
    of_doubles = 4.0**11 * 2.0**-51
    assert reached <= BOUNDS[operation](unit_roundoff(dtype)) + of_doubles
    assert reached >= (0.75 if dtype is np.float32 else 1) * REACHED[operation]  # fewer samples


@pytest.mark.parametrize("operation", ["grow", "add"])
@pytest.mark.parametrize("dtype", FLOAT8, ids=name)
def test_sums_of_8_bit_pairs_stay_within_their_bounds(rng, dtype, operation):
    # Sums do not underflow, so every number may take part that is far enough from overflow.
    small = every_finite(dtype)
    small = small[abs(small.astype(np.float64)) < max(small.astype(np.float64)) / 8]
    parts = rng.choice(small, (5, 150_000))
    result, expected = applied(operation, renormalise(parts[:2]), renormalise(parts[2:4]), parts[4])
    assert worst(result, expected) <= BOUNDS[operation](unit_roundoff(dtype))


@pytest.mark.parametrize("operation", BOUNDS)
@pytest.mark.parametrize("dtype", SPANS, ids=name)
def test_results_are_normalised(rng, dtype, operation):
    x, y = (hard_pairs(rng, dtype, 20_000, SPANS[dtype]) for _ in range(2))
    (hi, lo), _ = applied(operation, x, y, hard_numbers(rng, dtype, 20_000, SPANS[dtype]))
    assert (hi + lo == hi).all()


@pytest.mark.parametrize("gap", [6, 20, 60, 200])
def test_a_summand_of_any_size_may_grow_a_pair(rng, gap):
    # With the fast sum in its first line, as published, a summand above the pair breaks the bound.
    x = hard_pairs(rng, BFLOAT16, 20_000, (0, 1))
    d = hard_numbers(rng, BFLOAT16, 20_000, (min(gap, 120), min(gap, 120) + 1))
    expected = exact(x) + d.astype(np.float64)
    assert worst(grow(x, d), expected) <= 2
    if gap == 6:
        total, error = fast_two_sum(x.hi, d)
        assert worst(fast_two_sum(total, x.lo + error), expected) > 2


def test_long_sums_keep_what_single_numbers_lose():
    pair, single, update = split(1.0, BFLOAT16), BFLOAT16(1), BFLOAT16(1e-4)
    for _ in range(1000):
        pair, single = grow(pair, update), single + update
    assert single == 1
    # Each step errs by 2 u**2 of about 1 at most.
    assert abs(value(pair) - (1 + 1000 * float(update))) <= 1000 * 2 * 2.0**-16 * 1.1


@pytest.mark.parametrize(
    ("beta2", "hi", "lo"),
    [
        (0.9, 0.8984375, 0.001564),
        (0.95, 0.94921875, 0.000782),
        (0.98, 0.98046875, -0.000469),
        (0.99, 0.98828125, 0.001717),
        (0.995, 0.99609375, -0.001091),
        (0.999, 1.0, -0.00099945),
        (0.9999, 1.0, -0.00010014),
    ],
)
def test_decay_rates_as_pairs_of_bfloat16(beta2, hi, lo):
    pair = split(beta2, BFLOAT16)
    assert float(pair.hi) == hi
    assert abs(float(pair.lo) - lo) <= 0.5 * 10.0 ** -(8 if lo in (-0.00099945, -0.00010014) else 6)
    assert abs(value(pair) - beta2) <= 3e-6


@pytest.mark.parametrize("dtype", FORMATS, ids=name)
def test_splitting_keeps_twice_the_bits(rng, dtype):
    u = unit_roundoff(dtype)
    numbers = rng.choice([-1, 1], 50_000) * np.exp(rng.uniform(-1, 1, 50_000))
    # Ties and their neighbours in double precision: conversions that round twice go astray there.
    numbers[:3] = 1 + u, 1 + u + 2.0**-40, 1 + 3 * u - 2.0**-40
    unit = 1.0 if np.dtype(dtype).itemsize > 1 else 2.0**-7
    pair = split(numbers, dtype, scale=unit)
    assert (pair.hi + pair.lo == pair.hi).all()
    # value rounds pairs of float32 whose bits are more than 53 places apart, hence the second term.
    assert (abs(value(pair, scale=unit) / numbers - 1) <= u**2 * (1 + 2.0**-9) + 2.0**-53).all()


def test_a_unit_brings_small_numbers_into_the_range_of_8_bits():
    numbers = np.array([3e-7, 5.5e-6, 1e-5])
    for dtype in FLOAT8:
        assert (value(split(numbers, dtype))[:1] == 0).all() or dtype is FLOAT8[1]
        error = value(split(numbers, dtype, scale=2.0**-20), scale=2.0**-20) / numbers - 1
        assert (abs(error) <= unit_roundoff(dtype) ** 2 * 4).all()


def test_renormalising_any_two_numbers_keeps_their_sum(rng):
    hi, lo = any_bits(rng, BFLOAT16, 50_000), any_bits(rng, BFLOAT16, 50_000)
    with np.errstate(over="ignore"):
        kept = np.isfinite(hi + lo) & (abs(lo.astype(np.float64)) < 3e38)
    normal = renormalise((hi[kept], lo[kept]))
    assert is_exact_sum(hi[kept], lo[kept], *normal).all()
    assert (normal.hi + normal.lo == normal.hi).all()


@pytest.mark.parametrize("dtype", [BFLOAT16, np.float16, np.float32], ids=name)
def test_infinity_stays_infinity_and_nan_stays_nan(dtype):
    top = {BFLOAT16: 3e38, np.float16: 6e4, np.float32: 3e38}[dtype]
    numbers = np.array([0.0, 1.1, -2.3, top, -top, np.inf, -np.inf, np.nan])
    x, y = (split(side, dtype) for side in np.meshgrid(numbers, numbers))
    with np.errstate(over="ignore", invalid="ignore"):
        plain_sum, plain_product = x.hi + y.hi, x.hi * y.hi
    for result, plain in [
        (grow(x, y.hi), plain_sum),
        (add(x, y), plain_sum),
        (scale(x, y.hi), plain_product),
        (mul(x, y), plain_product),
    ]:
        lost = ~np.isfinite(plain)
        assert np.array_equal(result.hi[lost].astype(float), plain[lost].astype(float), equal_nan=True)
        assert (result.lo[lost] == 0).all()
        assert np.isfinite(result.hi[~lost]).all()
        assert np.isfinite(result.lo).all()


def test_beyond_the_range_a_split_is_infinite_and_has_no_low_part():
    hi, lo = split([1e300, -1e300, np.nan], BFLOAT16)
    assert hi.astype(float).tolist()[:2] == [np.inf, -np.inf]
    assert np.isnan(hi[2].astype(float))
    assert (lo == 0).all()


def test_operands_are_left_alone(rng):
    x, y = (hard_pairs(rng, BFLOAT16, 100, (0, 3)) for _ in range(2))
    before = [part.copy() for part in (*x, *y)]
    for part in (*x, *y):
        part.setflags(write=False)
    for result in (grow(x, y.hi), add(x, y), scale(x, y.hi), mul(x, y), renormalise(x)):
        assert not any(np.shares_memory(part, operand) for part in result for operand in (*x, *y))
    assert all((old == new).all() for old, new in zip(before, (*x, *y), strict=True))


@pytest.mark.parametrize("dtype", FORMATS, ids=name)
def test_the_self_check_tells_sums_that_lost_their_errors(dtype):
    like = np.zeros(1, dtype)
    wide = np.float64
    assert is_error_free(two_sum, like)
    assert not is_error_free(lambda a, b: (a + b, a - a), like)
    # What a compiler makes of two_sum that keeps the sum in a wider format: the error is then always zero.
    assert not is_error_free(
        lambda a, b: ((a.astype(wide) + b.astype(wide)).astype(dtype), (0 * a.astype(wide)).astype(dtype)),
        like,
    )
    assert not is_error_free(fast_two_sum, like)


@pytest.mark.parametrize("unit", [0, -1.0, float("inf"), float("nan")])
def test_a_bad_unit_is_named(unit):
    with pytest.raises(ParameterError, match=f"scale came as {unit!r}; pass a positive number"):
        split(1.0, BFLOAT16, scale=unit)
    with pytest.raises(ParameterError, match="pass a positive number"):
        value(split(1.0, BFLOAT16), scale=unit)


def test_pairs_of_different_formats_are_refused():
    wide, narrow = split(np.ones(2), np.float32), split(np.ones(2), BFLOAT16)
    for call in (lambda: add(wide, narrow), lambda: mul(narrow, wide), lambda: grow(narrow, wide.hi)):
        with pytest.raises(FormatError, match="an operation rounds to one format: convert them to it"):
            call()
    with pytest.raises(FormatError, match="operands came as bfloat16, bfloat16, float;"):
        scale(narrow, 0.5)
