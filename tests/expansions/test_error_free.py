"""Error-free transformations: caught a short two_sum, lost guards, a wrong splitting factor, narrow products.

Those breaks were made on purpose in the sources and seen to fail here: the error of two_sum from b alone; no
zero where a sum, a fast sum or a product overflows; 2**s + 3, and a floored s, in the splitting; a factor
that makes NumPy widen; no product of the low halves; operands of different formats.
"""

import numpy as np
import pytest
from tests.expansions.samples import (
    BFLOAT16,
    FLOAT8,
    FORMATS,
    any_bits,
    every_finite,
    is_exact_product,
    is_exact_sum,
    name,
)

from mezzotint.errors import FormatError
from mezzotint.expansions import fast_two_sum, two_prod, two_prod_dekker, two_sum

FUNCTIONS = (two_sum, fast_two_sum, two_prod, two_prod_dekker)
PRODUCTS = (two_prod, two_prod_dekker)


def ordered(a, b):
    """The two numbers, that of the larger magnitude first."""
    swap = np.abs(a.astype(np.float64)) < np.abs(b.astype(np.float64))
    return np.where(swap, b, a), np.where(swap, a, b)


def where_finite(function, a, b):
    """Operands and parts of all results that did not overflow; the others must have no low part."""
    hi, lo = function(a, b)
    assert hi.dtype == lo.dtype == a.dtype
    finite = np.isfinite(hi)
    assert (lo[~finite] == 0).all()
    assert np.isfinite(lo).all()
    return a[finite], b[finite], hi[finite], lo[finite]


def magnitude(number):
    return np.abs(number.astype(np.float64))


def largest(dtype):
    return (
        max(every_finite(dtype).astype(np.float64)) if np.dtype(dtype).itemsize < 4 else 2.0**128 - 2.0**104
    )


def partners(rng, dtype):
    """All pairs of numbers of 8 bits; every number of 16 bits with four others; random numbers of 32 bits."""
    if dtype in FLOAT8:
        numbers = every_finite(dtype)
        return np.repeat(numbers, numbers.size), np.tile(numbers, numbers.size)
    a = any_bits(rng, dtype, 200_000) if dtype is np.float32 else np.repeat(every_finite(dtype), 4)
    return a, any_bits(rng, dtype, a.size)


@pytest.mark.parametrize("dtype", FORMATS, ids=name)
def test_two_sum_is_exact_for_all_exponents(rng, dtype):
    a, b, hi, lo = where_finite(two_sum, *partners(rng, dtype))
    usual = magnitude(b) < largest(dtype)
    assert is_exact_sum(a, b, hi, lo)[usual].all()


@pytest.mark.parametrize("function", [two_sum, fast_two_sum], ids=name)
def test_sums_of_all_significands_at_all_small_gaps_are_exact(function):
    significands = np.arange(128, 256) / 128
    for gap in range(20):
        a = np.repeat(significands, 256).astype(BFLOAT16)
        b = np.tile(np.concatenate([significands, -significands]) * 2.0**-gap, 128).astype(BFLOAT16)
        hi, lo = (part.astype(np.float64) for part in function(a, b))
        assert (hi + lo == a.astype(np.float64) + b.astype(np.float64)).all(), gap  # at most 28 bits: exact


@pytest.mark.parametrize("dtype", FORMATS, ids=name)
def test_the_fast_sum_of_ordered_numbers_has_the_bits_of_the_slow_one(rng, dtype):
    a, b, hi, lo = where_finite(fast_two_sum, *ordered(*partners(rng, dtype)))
    assert (hi == two_sum(a, b).hi).all()
    assert is_exact_sum(a, b, hi, lo).all()


def test_the_fast_sum_needs_the_order_of_exponents_only(rng):
    same_exponent = (1 + rng.integers(0, 128, (2, 5000)) / 128).astype(BFLOAT16)
    assert is_exact_sum(*same_exponent, *fast_two_sum(*same_exponent)).all()


def test_the_fast_sum_of_unordered_numbers_loses_bits():
    # 3 + 257 * 2: the larger one second. RN(a + b) - a needs one bit more than there are.
    a, b = np.array([3], BFLOAT16), np.array([510], BFLOAT16)
    assert is_exact_sum(a, b, *two_sum(a, b)).all()
    assert not is_exact_sum(a, b, *fast_two_sum(a, b)).any()


@pytest.mark.parametrize("sign", [-1, 1])
def test_only_beside_the_largest_number_can_an_intermediate_overflow(sign):
    numbers = every_finite(BFLOAT16)
    top = np.full(numbers.shape, sign * largest(BFLOAT16)).astype(BFLOAT16)
    a, b, hi, lo = where_finite(two_sum, numbers, top)
    wrong = ~is_exact_sum(a, b, hi, lo)
    assert 0 < wrong.sum() < 100
    assert (lo[wrong] == 0).all()
    assert is_exact_sum(*where_finite(two_sum, top, numbers)).all()


@pytest.mark.parametrize("function", PRODUCTS, ids=name)
@pytest.mark.parametrize("dtype", FORMATS, ids=name)
def test_products_are_exact_from_the_stated_limit_up(rng, dtype, function):
    p, least = FORMATS[dtype]
    a, b, hi, lo = where_finite(function, *partners(rng, dtype))
    product = magnitude(a) * magnitude(b)
    kept = (product >= 2.0 ** (p + least)) | (product == 0)
    if function is two_prod_dekker:
        kept &= np.maximum(magnitude(a), magnitude(b)) * (2 ** ((p + 1) // 2) + 1) <= largest(dtype)
        kept &= product <= largest(dtype) / 2
    assert kept.sum() > a.size / 10
    assert is_exact_product(a, b, hi, lo)[kept].all()


@pytest.mark.parametrize("function", PRODUCTS, ids=name)
def test_products_of_all_significands_are_exact(function):
    significands = (np.arange(128, 256) / 128).astype(BFLOAT16)
    a, b = np.repeat(significands, 128), np.tile(significands, 128)
    hi, lo = function(a, b)
    assert is_exact_product(a, b, hi, lo).all()
    assert (magnitude(lo) <= 2.0**-8 * magnitude(hi)).all()


@pytest.mark.parametrize("dtype", FORMATS, ids=name)
def test_below_that_limit_the_error_is_rounded_to_a_subnormal_number(rng, dtype):
    p, least = FORMATS[dtype]
    a, b, hi, lo = where_finite(two_prod, *partners(rng, dtype))
    exact = a.astype(np.float64) * b.astype(np.float64)
    tiny = magnitude(exact) < 2.0 ** (p + least)
    missed = np.abs((exact - hi.astype(np.float64)) - lo.astype(np.float64))[tiny]
    # Half of the smallest number, and a little for conversions that round twice.
    assert 0 < missed.max() <= 0.5 * 2.0 ** (least - p + 1) * (1 + 2.0**-15)


@pytest.mark.parametrize("function", FUNCTIONS, ids=name)
@pytest.mark.parametrize("dtype", FORMATS, ids=name)
def test_a_result_that_is_not_finite_has_no_low_part(dtype, function):
    top = largest(dtype)
    values = np.array([0.0, -0.0, 1.0, -2.0, top, -top, np.inf, -np.inf, np.nan]).astype(dtype)
    a, b = np.repeat(values, values.size), np.tile(values, values.size)
    with np.errstate(over="ignore", invalid="ignore"):
        plain = a * b if function in PRODUCTS else a + b
    hi, lo = function(a, b)
    assert hi.tobytes() == plain.tobytes() or np.array_equal(
        hi.astype(np.float64), plain.astype(np.float64), equal_nan=True
    )
    assert (lo[~np.isfinite(hi)] == 0).all()
    assert np.isfinite(lo).all()


@pytest.mark.parametrize("function", FUNCTIONS, ids=name)
def test_operands_are_left_alone(rng, function):
    a, b = any_bits(rng, np.float16, 100), any_bits(rng, np.float16, 100)
    a.setflags(write=False)
    b.setflags(write=False)
    before = a.copy(), b.copy()
    function(a, b)
    assert (a.tobytes(), b.tobytes()) == (before[0].tobytes(), before[1].tobytes())


@pytest.mark.parametrize("function", FUNCTIONS, ids=name)
def test_operands_broadcast(function):
    hi, lo = function(np.ones((3, 1), np.float16), np.ones(2, np.float16))
    assert hi.shape == lo.shape == (3, 2)
    scalar = function(np.float16(1), np.float16(2**-12))
    assert [type(part) for part in scalar] == [np.float16, np.float16]


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.ones(2, BFLOAT16), np.ones(2, np.float32), "operands came as bfloat16, float32; an operation"),
        (np.ones(2, BFLOAT16), 1.0, "operands came as bfloat16, float; an operation rounds to one format"),
        (1.0, np.ones(2, BFLOAT16), "operands came as float, bfloat16"),
        (
            np.ones(2),
            np.ones(2),
            "numbers came as float64; pairs are made of float8_e5m2, float8_e4m3fn, bfl",
        ),
        (np.ones(2, np.int8), np.ones(2, np.int8), "numbers came as int8"),
    ],
)
def test_bad_operands_are_named(a, b, message):
    for function in FUNCTIONS:
        with pytest.raises(FormatError, match=message):
            function(a, b)
