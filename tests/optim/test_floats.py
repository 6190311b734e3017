"""Caught: a remainder of the truncated bfloat16, NaN as infinity, words of the wrong end, torch's root."""

import ml_dtypes
import numpy as np
import pytest
import torch

from mezzotint.optim.floats import join, round_to_bf16, split, square_root, widen


def patterns():
    """float32 of every exponent and sign, with low bits at, beside and between the ties of bfloat16."""
    high = np.arange(0, 2**16, 37, dtype=np.uint32) << 16
    low = np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF, 0x0080, 0x1234], np.uint32)
    nans = np.array([0x7F800001, 0x7FFFFFFF, 0xFFFFFFFF], np.uint32)
    return torch.from_numpy(np.append(high[:, None] | low, nans).view(np.float32))


def test_rounding_to_nearest_is_that_of_ieee_even_for_infinity_and_nan():
    x = patterns()
    with np.errstate(invalid="ignore"):
        expected = x.numpy().astype(ml_dtypes.bfloat16).astype(np.float32)
    np.testing.assert_array_equal(widen(round_to_bf16(x, None)).numpy(), expected)


def test_the_root_is_that_of_ieee_even_for_subnormal_numbers():
    x = patterns()
    x = torch.cat([x[x >= 0], torch.linspace(0, 4, 10_001)])
    np.testing.assert_array_equal(square_root(x).numpy(), np.sqrt(x.numpy()))


def test_widening_is_the_cast():
    x = round_to_bf16(patterns(), None)
    np.testing.assert_array_equal(widen(x).numpy(), x.float().numpy())


def test_stochastic_rounding_takes_the_upper_neighbour_with_its_probability():
    """All 2**16 thresholds: exactly `low` of them carry a pattern with these low bits upwards."""
    words = torch.arange(2**16, dtype=torch.int64) << 16
    for low in (0, 1, 0x1234, 0xFFFF):
        x = torch.full((2**16,), 0x3F800000 + low, dtype=torch.int32).view(torch.float32)
        assert (widen(round_to_bf16(x, words)) > 1).sum().item() == low


def test_stored_values_stay_whatever_the_words():
    x = widen(round_to_bf16(patterns(), None))
    x = x[x.isfinite()]
    words = torch.full(x.shape, 2**32 - 1)
    assert torch.equal(widen(round_to_bf16(x, words)), x)
    assert torch.equal(join(*split(x, 8, words)), x)


def test_sixteen_bits_keep_every_finite_float():
    x = patterns()
    x = x[x.isfinite()]
    assert torch.equal(join(*split(x, 16, None)).view(torch.int32), x.view(torch.int32))


@pytest.mark.parametrize("bits", [8, 16])
def test_the_visible_part_is_the_nearest_bfloat16(bits):
    x = patterns()
    x = x[x.abs() < 3e38]
    high, low = split(x, bits, None)
    stored = join(high, low).double()
    other = torch.stack([widen(round_to_bf16(stored.float(), None)).double(), widen(high).double()])
    distance = (other - stored).abs()
    assert (distance[1] <= distance[0]).all()
    assert low.dtype is {8: torch.int8, 16: torch.int16}[bits]


def test_eight_bits_round_to_sixteen_significant_bits():
    x = patterns()
    x = x[(x.abs() < 3e38) & (x.abs() > 2.0**-126)]
    error = (join(*split(x, 8, None)).double() - x.double()).abs()
    assert (error <= 2.0**-16 * x.double().abs()).all()


def test_eight_bits_are_unbiased_over_all_thresholds():
    words = torch.arange(256, dtype=torch.int64) << 24
    x = torch.full((256,), 0x3F8000A7, dtype=torch.int32).view(torch.float32)
    assert join(*split(x, 8, words)).double().mean().item() == x[0].double().item()


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
@pytest.mark.parametrize("words", [None, torch.tensor([2**32 - 1])])
def test_infinity_and_nan_survive_every_rounding(value, words):
    x = torch.tensor([value])
    for stored in (widen(round_to_bf16(x, words)), join(*split(x, 8, words)), join(*split(x, 16, words))):
        np.testing.assert_array_equal(stored.numpy(), x.numpy())
