"""Caught: a level of zero, codes truncated towards zero, thresholds reversed, a missing clip."""

import pytest
import torch

from mezzotint.optim.levels import LogLevels, SignedLevels, thresholds

SIGNED = [SignedLevels(bits, limit) for bits in (4, 8) for limit in (1.0, 1.5)]
LOG = [LogLevels(8, 3 << 18), LogLevels(4, 3 << 21)]


def spread_words(n):
    """n words whose thresholds are the midpoints of n equal parts of [0, 1)."""
    return ((torch.arange(n, dtype=torch.float64) + 0.5) / n * 2**32).to(torch.int64)


@pytest.mark.parametrize("levels", SIGNED + LOG, ids=repr)
def test_levels_ascend_without_a_zero_and_come_back(levels):
    table = levels.table
    assert len(table) == 2**levels.bits
    assert (table.diff() > 0).all()
    assert (table != 0).all()
    assert torch.equal(levels.encode(table, None), torch.arange(len(table)).to(torch.uint8))


@pytest.mark.parametrize("levels", SIGNED + LOG, ids=repr)
@pytest.mark.parametrize("word", [0, 2**32 - 1])
def test_levels_stay_whatever_the_words(levels, word):
    codes = levels.encode(levels.table, torch.full((2**levels.bits,), word))
    assert torch.equal(codes, torch.arange(2**levels.bits).to(torch.uint8))


@pytest.mark.parametrize("levels", SIGNED + LOG, ids=repr)
def test_the_mean_over_all_thresholds_is_the_value(levels):
    """Of n evenly spread thresholds p n, give or take one, round up: the mean is off by gap / n."""
    n = 2048
    table = levels.table.double()
    x = (table[:-1, None] + table.diff()[:, None] * torch.tensor([0.1, 0.5, 0.93])).float().flatten()
    codes = levels.encode(x[:, None].expand(-1, n).contiguous(), spread_words(n).expand(len(x), n))
    mean = levels.decode(codes).double().mean(dim=1)
    gap = table.diff().repeat_interleave(3)
    assert ((mean - x.double()).abs() <= gap * (1 / n + 1e-4)).all()


@pytest.mark.parametrize("levels", SIGNED + LOG, ids=repr)
def test_no_word_takes_the_nearer_neighbour(levels):
    x = torch.rand(4096, generator=torch.Generator().manual_seed(0)) * levels.table[-1]
    x = x[x > levels.table[0]]
    nearest = (x[:, None] - levels.table).abs().min(dim=1).values
    assert torch.allclose((levels.decode(levels.encode(x, None)) - x).abs(), nearest, rtol=0, atol=1e-7)


@pytest.mark.parametrize("levels", SIGNED, ids=repr)
def test_signed_levels_are_symmetric_and_clip(levels):
    assert torch.equal(levels.table, -levels.table.flip(0))
    ends = levels.encode(torch.tensor([-9.0, 9.0, float("inf"), float("nan")]), None)
    assert ends.tolist() == [0, levels.top, levels.top, 0]


@pytest.mark.parametrize(("levels", "octaves"), [(LOG[0], 23.9), (LOG[1], 11.25)], ids=repr)
def test_log_levels_cover_their_octaves_and_raise_what_is_smaller(levels, octaves):
    assert levels.octaves == pytest.approx(octaves, abs=0.01)
    assert levels.encode(torch.tensor([0.0, 1e-38]), torch.zeros(2, dtype=torch.int64)).tolist() == [0, 0]
    # A bit pattern is linear within an octave: the level lies within 6.1 % of an octave of the exact power
    # of two.
    distance = (levels.table.double().log2() - torch.linspace(-levels.octaves, 0, levels.top + 1)).abs()
    assert distance.max() < 0.0861


def test_thresholds_are_below_one():
    assert thresholds(torch.tensor([2**32 - 1])).item() < 1
    assert thresholds(None) == 0.5
