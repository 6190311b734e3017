"""Arrays: caught infinities that stayed errors, products of float32 in float32, a precision off by one.

Those breaks were made on purpose in arrays.py and seen to fail here.
"""

import ml_dtypes
import numpy as np
import pytest
from tests.expansions.samples import BFLOAT16, FORMATS, any_bits, name, nearest

from mezzotint.errors import FormatError
from mezzotint.expansions import unit_roundoff
from mezzotint.expansions.arrays import as_double, cast, finite_or_zero, widen


@pytest.mark.parametrize("operation", [np.add, np.subtract, np.multiply], ids=name)
@pytest.mark.parametrize("dtype", [dtype for dtype in FORMATS if dtype is not np.float32], ids=name)
def test_every_operation_of_numpy_is_rounded_to_nearest_once(rng, dtype, operation):
    # What all of the package rests on. Doubles hold these sums and products but for bits that decide nothing.
    a, b = any_bits(rng, dtype, 200_000), any_bits(rng, dtype, 200_000)
    with np.errstate(over="ignore"):
        rounded = operation(a, b)
        exact = operation(a.astype(np.float64), b.astype(np.float64))
    # Products that underflow may be rounded twice, in float32 first: no promise is made of them.
    kept = np.isfinite(rounded) & ((abs(exact) >= 2.0 ** FORMATS[dtype][1]) | (operation is not np.multiply))
    assert (rounded[kept].astype(np.float64) == nearest(exact[kept], dtype)).all()


@pytest.mark.parametrize("dtype", FORMATS, ids=name)
def test_the_unit_roundoff_is_half_the_gap_above_one(dtype):
    assert unit_roundoff(dtype) == unit_roundoff(np.dtype(dtype)) == float(ml_dtypes.finfo(dtype).eps) / 2


@pytest.mark.parametrize("dtype", FORMATS, ids=name)
def test_the_wider_format_holds_every_product(rng, dtype):
    a, b = any_bits(rng, dtype, 10_000), any_bits(rng, dtype, 10_000)
    with np.errstate(over="ignore"):
        product = (widen(a) * widen(b)).astype(np.float64)
    exact = a.astype(np.float64) * b.astype(np.float64)
    kept = np.isfinite(product) & (abs(exact) > 2.0 ** sum(FORMATS[dtype]))
    assert kept.sum() > 1000
    assert (product[kept] == exact[kept]).all()


def test_errors_that_are_not_finite_become_zero_and_others_stay():
    errors = np.array([np.inf, -np.inf, np.nan, -0.5, 0.0, 1e-40]).astype(BFLOAT16)
    assert finite_or_zero(errors).tolist() == [0, 0, 0, -0.5, 0, errors[-1]]
    assert finite_or_zero(errors).dtype == BFLOAT16


def test_conversions_keep_shape_and_kind():
    assert cast(np.ones((2, 3)), BFLOAT16).shape == (2, 3)
    assert isinstance(cast(np.float64(0.1), np.float16), np.float16)
    assert as_double([1, 2]).dtype == np.float64


@pytest.mark.parametrize(
    ("dtype", "found"),
    [(np.float64, "float64"), ("int8", "int8"), (complex, "complex128"), ("wide", "'wide'")],
)
def test_a_format_that_is_none_of_ours_is_named(dtype, found):
    with pytest.raises(
        FormatError, match=f"numbers came as {found}; pairs are made of float8_e5m2, .*float32"
    ):
        unit_roundoff(dtype)
