"""Random words for rounding, drawn for the elements of a tensor: the torch twin of `mezzotint.random`.

A word is an integer in [0, 2**32), held in int64. It is a function of (seed, stream, slot, element, step)
and of nothing else, where the element is counted over the *whole* parameter: a shard of a tensor draws the
same words as the tensor, on any device, and a resumed run draws what the interrupted one would have drawn.

Stochastic words come from Philox4x32-10. Dithered words need no generator: element i starts at a phase of
its own and walks on by a fixed irrational part of the range each step (a Weyl sequence), so that its
rounding errors cancel in time.

One draw serves the weight and the moments of an element, each of which takes the bits of the word from
another place on: roundings need few bits, drawing them is most of what a step on the CPU computes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from mezzotint.errors import ParameterError
from mezzotint.random import random_bits

__all__ = [
    "DITHER_STRIDES",
    "WORD_TURNS",
    "Place",
    "Rounding",
    "dither_salt",
    "dithered_words",
    "rounding_words",
    "stochastic_words",
]

_LOW_WORD = 0xFFFFFFFF
_PHILOX_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_PHILOX_INCREMENTS = (0x9E3779B9, 0xBB67AE85)
_PHILOX_ROUNDS = 10
# Counter words of the phases of dithering; no optimizer reaches this step.
_PHASE_STEP = 0xFFFFFFFF
# By slot: the fractional parts of the golden ratio, sqrt 2 and sqrt 3, times 2**32. Weight and moments walk
# by different ones: what a moment loses is paid to the weight, so their errors must not move in step.
DITHER_STRIDES = (0x9E3779B9, 0x6A09E667, 0xBB67AE85)
# By slot: by how many bits a word is rotated to the left; the top ten bits of the three have none in common.
WORD_TURNS = (0, 11, 22)


class Rounding(StrEnum):
    """Which of the two neighbours of a number is stored.

    Examples
    --------
    >>> Rounding("dithered") is Rounding.DITHERED
    True
    """

    NEAREST = "nearest"
    """The nearer neighbour."""
    STOCHASTIC = "stochastic"
    """The upper one with a probability equal to the distance from the lower one; independent over steps."""
    DITHERED = "dithered"
    """The same probability over elements, but thresholds that are spread evenly over successive steps."""

    @classmethod
    def _missing_(cls, value: object) -> Rounding:
        allowed = ", ".join(repr(mode.value) for mode in cls)
        raise ParameterError(f"rounding came as {value!r}; allowed are {allowed}")


@dataclass(frozen=True)
class Place:
    """Where in the run a tensor is rounded: everything its random words depend on.

    Attributes
    ----------
    seed : int
        Seed of the optimizer, 0 <= seed < 2**64.
    step : int or Tensor
        Number of the step, counted from 1; a 0-d int64 tensor inside a compiled step.
    stream : int
        Number of the parameter.
    slot : int
        0 (weight), 1 or 2 (moments).
    first : int
        Index of the tensor's first element in the whole parameter; not 0 on the later shards.
    """

    seed: int
    step: int | Tensor
    stream: int
    slot: int = 0
    first: int = 0


def rounding_words(rounding: Rounding, place: Place, like: Tensor) -> Tensor | None:
    """Draw one word per element of `like`, or none where rounding is to nearest.

    Parameters
    ----------
    rounding : Rounding
        What the words are for.
    place : Place
        What they depend on.
    like : Tensor
        Gives shape and device.

    Returns
    -------
    Tensor of int64 or None
        Words in [0, 2**32), shaped like `like`.

    Examples
    --------
    >>> rounding_words(Rounding.NEAREST, Place(0, 1, 0), torch.zeros(3)) is None
    True
    """
    if rounding is Rounding.NEAREST:
        return None
    draw = stochastic_words if rounding is Rounding.STOCHASTIC else dithered_words
    return draw(place, like.numel(), like.device).view(like.shape)


def stochastic_words(place: Place, count: int, device: torch.device | str = "cpu") -> Tensor:
    """Draw words ``first .. first + count - 1``: `mezzotint.random.random_bits` on any device, for a slot.

    Parameters
    ----------
    place : Place
        Seed, step, stream, slot and first element.
    count : int
        Number of words, >= 0.
    device : torch.device or str, default "cpu"
        Where they are made.

    Returns
    -------
    Tensor of int64, shape (count,)
        The words of ``random_bits(seed, first, count, step=step, stream=stream)``, rotated for the slot.

    References
    ----------
    Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.

    Examples
    --------
    >>> from mezzotint.random import random_bits
    >>> words = stochastic_words(Place(seed=7, step=3, stream=9, first=5), 4)
    >>> words.tolist() == random_bits(7, 5, 4, step=3, stream=9).tolist()
    True
    """
    first_block = place.first // 4
    blocks = torch.arange(first_block, -(-(place.first + count) // 4), dtype=torch.int64, device=device)
    zero = torch.zeros_like(blocks)
    counter = (blocks & _LOW_WORD, blocks >> 32, zero + place.step, zero + place.stream)
    words = torch.stack(_philox(place.seed, counter), dim=1).view(-1)
    return _turned(words[place.first - 4 * first_block :][:count], place.slot)


def dithered_words(place: Place, count: int, device: torch.device | str = "cpu") -> Tensor:
    """Draw dithered words ``first .. first + count - 1``: phase(element) + step * stride, mod 2**32.

    Parameters
    ----------
    place : Place
        Seed, step, stream, slot and first element. The slot chooses the stride.
    count : int
        Number of words, >= 0.
    device : torch.device or str, default "cpu"
        Where they are made.

    Returns
    -------
    Tensor of int64, shape (count,)
        Words in [0, 2**32).

    Notes
    -----
    The strides are the fractional parts of the golden ratio, sqrt 2 and sqrt 3: over n steps each element's
    thresholds are spread with a discrepancy of O(log n / n), where independent ones reach 1 / sqrt(n). Users
    of the words take the top bits.

    Examples
    --------
    >>> place = Place(seed=0, step=1, stream=0)
    >>> later = Place(seed=0, step=2, stream=0)
    >>> hex(((dithered_words(later, 1) - dithered_words(place, 1)) % 2**32).item())
    '0x9e3779b9'
    """
    element = torch.arange(place.first, place.first + count, dtype=torch.int64, device=device)
    x = (
        (element & _LOW_WORD)
        ^ ((element >> 32) * DITHER_STRIDES[0] & _LOW_WORD)
        ^ dither_salt(place.seed, place.stream)
    )
    return (_turned(_mixed(x), place.slot) + place.step * DITHER_STRIDES[place.slot]) & _LOW_WORD


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator] # torch says nothing of its type
def dither_salt(seed: int, stream: int) -> int:
    """Give the 32-bit constant that sets one parameter's phases apart from all others'.

    Parameters
    ----------
    seed, stream : int
        As in `Place`.

    Returns
    -------
    int
        In [0, 2**32).
    """
    return int(random_bits(seed, 0, 1, step=_PHASE_STEP, stream=stream)[0])


def _turned(words: Tensor, slot: int) -> Tensor:
    """Rotate 32-bit words to the left."""
    turn = WORD_TURNS[slot]
    return words if turn == 0 else (words << turn | words >> (32 - turn)) & _LOW_WORD


def _mixed(x: Tensor) -> Tensor:
    """Scramble 32-bit integers by the finaliser of MurmurHash3, a bijection."""
    x = ((x ^ (x >> 16)) * 0x85EBCA6B) & _LOW_WORD
    x = ((x ^ (x >> 13)) * 0xC2B2AE35) & _LOW_WORD
    return x ^ (x >> 16)


def _philox(seed: int, counter: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Run the ten rounds on int64 lanes; a product of two words wraps there, but keeps all of its 64 bits."""
    c0, c1, c2, c3 = counter
    key0, key1 = seed & _LOW_WORD, seed >> 32
    for _ in range(_PHILOX_ROUNDS):
        product0, product1 = c0 * _PHILOX_MULTIPLIERS[0], c2 * _PHILOX_MULTIPLIERS[1]
        c0, c1 = (product1 >> 32 & _LOW_WORD) ^ c1 ^ key0, product1 & _LOW_WORD
        c2, c3 = (product0 >> 32 & _LOW_WORD) ^ c3 ^ key1, product0 & _LOW_WORD
        key0 = (key0 + _PHILOX_INCREMENTS[0]) & _LOW_WORD
        key1 = (key1 + _PHILOX_INCREMENTS[1]) & _LOW_WORD
    return c0, c1, c2, c3
