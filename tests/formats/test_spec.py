"""Formats: caught a range of 2**(bits-1) on both sides and a spanning scale that was rounded down."""

from dataclasses import FrozenInstanceError
from fractions import Fraction

import pytest

from mezzotint.errors import FormatError
from mezzotint.formats import FixedPoint, Format


def test_fixed_point_is_a_format():
    assert isinstance(FixedPoint(bits=8, scale=1.0), Format)


@pytest.mark.parametrize("bits", range(2, 9))
def test_derived_properties_follow_from_bits_and_scale(bits):
    grid = FixedPoint(bits=bits, scale=0.75)
    assert grid.codes().tolist() == list(range(-(2 ** (bits - 1)), 2 ** (bits - 1)))
    assert (grid.min_code, grid.max_code) == (grid.codes()[0], grid.codes()[-1])
    assert (grid.min_value, grid.max_value) == (0.75 * grid.min_code, 0.75 * grid.max_code)
    assert grid.values().tolist() == [0.75 * code for code in grid.codes().tolist()]


def test_a_format_is_a_value():
    grid = FixedPoint(bits=8, scale=1.0)
    assert grid == FixedPoint(bits=8, scale=1.0)
    assert len({grid, FixedPoint(bits=8, scale=1.0), FixedPoint(bits=9, scale=1.0)}) == 2
    with pytest.raises(FrozenInstanceError):
        grid.bits = 4
    with pytest.raises(TypeError):
        FixedPoint(8, 1.0)


@pytest.mark.parametrize("bits", [2, 8, 16, 32, 48])
@pytest.mark.parametrize("scale", [0.1, 0.05, 5e-9, 1 / 3, 1e100, 1.0])
def test_the_nearest_exact_scale_keeps_every_value_a_double(bits, scale):
    grid = FixedPoint.nearest(bits=bits, scale=scale)
    assert abs(Fraction(grid.scale) / Fraction(scale) - 1) <= Fraction(2) ** (bits - 53)
    for code in (grid.min_code, grid.max_code, grid.max_code - 1, 3 * grid.max_code // 4):
        assert Fraction(grid.scale * code) == Fraction(grid.scale) * code


@pytest.mark.parametrize("bits", [2, 3, 8, 15, 16, 24, 48])
@pytest.mark.parametrize("bound", [2.0, 0.1, 127.0, 1e-30, 5.68, 1 - 2**-53, 3.0000000000000004])
def test_a_spanning_format_holds_its_bound_and_hardly_more(bits, bound):
    grid = FixedPoint.spanning(bits=bits, bound=bound)
    assert grid.max_value >= bound
    assert Fraction(grid.max_value) <= Fraction(bound) * (1 + Fraction(2) ** (bits - 51))


@pytest.mark.parametrize("bits", [1, 0, -8, 49, 8.0, True, "8"])
def test_a_bad_width_is_named(bits):
    with pytest.raises(
        FormatError, match=f"bits came as {bits!r}; fixed point takes an integer from 2 to 48"
    ):
        FixedPoint(bits=bits, scale=1.0)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf"), 1e-200, 1e200])
def test_a_bad_scale_is_named(scale):
    with pytest.raises(FormatError, match="is not a number between"):
        FixedPoint(bits=8, scale=scale)


def test_a_scale_with_too_many_digits_is_refused_with_the_way_out():
    with pytest.raises(
        FormatError, match=r"at most 45 keep every value exact.*FixedPoint.nearest\(bits=8, scale=0.1\)"
    ):
        FixedPoint(bits=8, scale=0.1)


def test_a_list_of_too_many_codes_is_refused():
    with pytest.raises(FormatError, match="all codes of 32 bits is too large; at most 24 bits are listed"):
        FixedPoint(bits=32, scale=1.0).codes()
