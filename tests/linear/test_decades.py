"""Caught: a quotient near 1 that loses its digits, one that overflows, a last place from the C library."""

import math
from decimal import Decimal, localcontext

import pytest

from mezzotint.linear.decades import decades

# (high, low, bits of the result): what any machine must return
BITS = [
    (1.0, 1.0, "0x0.0p+0"),
    (10.0, 1.0, "0x1.ffffffffffffep-1"),
    (3.0, 7.0, "-0x1.78cee80a1c280p-2"),
    (2.5, 1.25, "0x1.34413509f79fep-2"),
    (1e10, 1e-300, "0x1.35fffffffffffp+8"),
    (5e-324, 1.0, "-0x1.434e6420f4373p+8"),
]


def exact(high, low):
    with localcontext() as context:
        context.prec = 50
        return (Decimal(high) / Decimal(low)).log10()


@pytest.mark.parametrize(("high", "low", "bits"), BITS)
def test_the_bits_are_those_of_every_machine(high, low, bits):
    assert decades(high, low).hex() == bits


def test_it_is_the_logarithm_of_the_quotient_to_the_last_places(rng):
    for exponent in range(-1000, 1000, 7):
        high = math.ldexp(1 + rng.random(), exponent)
        for low in (1.0, 1 + rng.random(), high * (1 - 1e-6 * rng.random()), high * (1 + rng.random())):
            reference = exact(high, low)
            assert abs(Decimal(decades(high, low)) - reference) <= Decimal("1e-14") * abs(reference)


def test_what_is_not_finite_stays_visible():
    assert math.isnan(decades(math.inf, 1.0))
    assert math.isnan(decades(1.0, math.nan))
