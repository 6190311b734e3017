"""Caught: a stream that ignores the first element, phases shared by all streams, a stride of the low bits,
the same top bits for weight and moments.
"""

import numpy as np
import pytest
import torch

from mezzotint.errors import ParameterError
from mezzotint.optim.bits import Place, Rounding, dithered_words, rounding_words, stochastic_words
from mezzotint.random import random_bits


@pytest.mark.parametrize("first", [0, 1, 7, 2**33 + 5])
def test_stochastic_words_are_the_librarys_random_bits(first):
    place = Place(seed=2**40 + 3, step=12, stream=41, first=first)
    expected = random_bits(2**40 + 3, first, 21, step=12, stream=41)
    assert stochastic_words(place, 21).tolist() == expected.tolist()


@pytest.mark.parametrize(("slot", "turn"), [(1, 11), (2, 22)])
def test_moments_take_the_words_of_the_weight_rotated(slot, turn):
    weight, moment = (stochastic_words(Place(1, 2, 3, slot=s), 50).tolist() for s in (0, slot))
    assert moment == [(word << turn | word >> (32 - turn)) % 2**32 for word in weight]


@pytest.mark.parametrize("draw", [stochastic_words, dithered_words])
def test_a_shard_draws_the_words_of_the_whole(draw):
    whole = draw(Place(1, 2, 10), 100)
    assert torch.equal(draw(Place(1, 2, 10, first=37), 20), whole[37:57])


@pytest.mark.parametrize("draw", [stochastic_words, dithered_words])
def test_elements_beyond_two_to_the_31_have_words_of_their_own(draw):
    near, far = (draw(Place(0, 1, 0, first=first), 64) for first in (0, 2**32))
    assert not torch.equal(near, far)


@pytest.mark.parametrize("draw", [stochastic_words, dithered_words])
@pytest.mark.parametrize("change", [{"seed": 1}, {"step": 2}, {"stream": 8}, {"slot": 1}, {"slot": 2}])
def test_words_depend_on_seed_step_and_stream(draw, change):
    base = {"seed": 0, "step": 1, "stream": 0, "slot": 0}
    same = (draw(Place(**base), 1000) == draw(Place(**{**base, **change}), 1000)).double().mean()
    assert same < 0.01


@pytest.mark.parametrize("slot", [0, 1, 2])
def test_thresholds_of_an_element_are_spread_evenly_over_steps(slot):
    """Weyl sequences of these strides stay below 2.5 log(n) / n; random ones have about 1 / sqrt(n)."""
    n = 512
    words = torch.stack([dithered_words(Place(0, step, 0, slot), 32) for step in range(1, n + 1)])
    points = (words.double() / 2**32).sort(dim=0).values
    grid = torch.arange(n, dtype=torch.float64)[:, None]
    discrepancy = torch.maximum((grid + 1) / n - points, points - grid / n).max()
    assert discrepancy < 2.5 * np.log(n) / n


def test_the_top_bits_of_dithered_words_walk_by_the_golden_ratio():
    top = (torch.stack([dithered_words(Place(0, step, 0), 1) for step in (1, 2)]) >> 16).flatten()
    assert ((top[1] - top[0]) % 2**16).item() in (0x9E37, 0x9E38)


def test_phases_are_uniform_over_elements():
    """Chi-square of 256 cells, 2**16 elements: mean 255, standard deviation 22.6; five of them is 368."""
    counts = torch.bincount(dithered_words(Place(3, 9, 0, slot=1), 2**16) >> 24, minlength=256).double()
    assert ((counts - 256) ** 2 / 256).sum() < 368


@pytest.mark.parametrize("draw", [stochastic_words, dithered_words])
@pytest.mark.parametrize("pair", [(0, 1), (0, 2), (1, 2)])
def test_roundings_of_weight_and_moments_are_independent(draw, pair):
    """Chi-square of 32 x 32 cells of top bits, 2**16 elements: mean 1,023, deviation 45.2; five are 1,249."""
    top = [draw(Place(3, 9, 4, slot), 2**16) >> 27 for slot in pair]
    counts = torch.bincount(32 * top[0] + top[1], minlength=1024).double()
    assert ((counts - 64) ** 2 / 64).sum() < 1249


def test_nearest_rounding_draws_nothing():
    assert rounding_words(Rounding.NEAREST, Place(0, 1, 0), torch.zeros(2, 2)) is None
    assert rounding_words(Rounding.DITHERED, Place(0, 1, 0), torch.zeros(2, 2)).shape == (2, 2)


def test_an_unknown_rounding_is_named():
    with pytest.raises(ParameterError, match="'up'; allowed are 'nearest', 'stochastic', 'dithered'"):
        Rounding("up")
