"""Rounding of float32 to bfloat16 and to a bfloat16 with an integer remainder, through bit patterns.

Casts are avoided: compilers fold ``x.to(bfloat16).to(float32)`` away and some truncate. Integer operations
mean the same everywhere. Overflow goes to infinity as IEEE rounding does; NaN and infinity are kept,
whatever the words.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["join", "round_to_bf16", "split", "square_root", "widen"]


def widen(x: Tensor) -> Tensor:
    """Convert any float tensor to float32; bfloat16 by its bits.

    Parameters
    ----------
    x : Tensor of bfloat16, float16 or float32
        Values.

    Returns
    -------
    Tensor of float32, same shape
        The same numbers.
    """
    if x.dtype is not torch.bfloat16:
        return x.to(torch.float32)
    return (x.view(torch.int16).to(torch.int32) << 16).view(torch.float32)


def square_root(x: Tensor) -> Tensor:
    """Take the IEEE root of float32, rounded to nearest: through float64, whose rounding cannot show.

    torch's own float32 root is off by a last place for a fifth of all numbers where MKL computes it. The root
    of 24 bits keeps 2**-51 away from all midpoints, relatively; a last place of float64 is half of that.

    Parameters
    ----------
    x : Tensor of float32
        Values.

    Returns
    -------
    Tensor of float32, same shape
        Roots; NaN of negative values.

    Examples
    --------
    >>> square_root(torch.tensor([2.0])).item() == 1.41421353816986083984375
    True
    """
    return x.to(torch.float64).sqrt().to(torch.float32)


def round_to_bf16(x: Tensor, words: Tensor | None) -> Tensor:
    """Round to bfloat16: to nearest even, or up with the probability that the top 16 bits of the words make.

    Parameters
    ----------
    x : Tensor of float32
        Values.
    words : Tensor of int64 or None
        One word per element; None rounds to nearest even.

    Returns
    -------
    Tensor of bfloat16, same shape
        One of the two neighbours; exact values stay.

    Examples
    --------
    >>> round_to_bf16(torch.tensor([1.0, 1.0001]), torch.tensor([2**32 - 1, 2**32 - 1])).tolist()
    [1.0, 1.0078125]
    """
    bits = x.view(torch.int32)
    up = ((bits >> 16) & 1) + 0x7FFF if words is None else (words >> 16).to(torch.int32)
    # NaN stays NaN: its top bits are kept and the quiet bit is set; infinity has no low bits that could
    # carry.
    kept = torch.where(x.isnan(), bits | 0x400000, torch.where(x.isinf(), bits, bits + up))
    return (kept >> 16).to(torch.int16).view(torch.bfloat16)


def split(x: Tensor, remainder_bits: int, words: Tensor | None) -> tuple[Tensor, Tensor]:
    """Split into a bfloat16 and a signed remainder in units of its last place over 2**remainder_bits.

    The bfloat16 is the nearest one (of two, that of larger size), so it serves as the visible weight. With
    16 bits nothing is lost; with 8 the pair is a float of 24 bits, 16 of them significant, to which x is
    rounded first.

    Parameters
    ----------
    x : Tensor of float32
        Values.
    remainder_bits : int
        8 or 16.
    words : Tensor of int64 or None
        One word per element, used by 8 bits; None rounds to nearest.

    Returns
    -------
    high : Tensor of bfloat16
        The visible part.
    low : Tensor of int8 or int16
        The remainder, 0 where x is not finite.

    Examples
    --------
    >>> high, low = split(torch.tensor([1.001]), 16, None)
    >>> join(high, low).item() == torch.tensor(1.001).item()
    True
    """
    dropped = 16 - remainder_bits
    bits = x.view(torch.int32)
    add: Tensor | int = (1 << dropped) >> 1
    if words is not None and dropped:
        add = (words >> (32 - dropped)).to(torch.int32)
    kept = (bits + add) & ~((1 << dropped) - 1)
    high = (kept + 0x8000) >> 16
    low = (kept - (high << 16)) >> dropped
    finite = x.isfinite()
    high = torch.where(finite, high.to(torch.int16), round_to_bf16(x, None).view(torch.int16))
    low = torch.where(finite, low, 0)
    return high.view(torch.bfloat16), low.to(torch.int8 if remainder_bits == 8 else torch.int16)


def join(high: Tensor, low: Tensor) -> Tensor:
    """Rebuild the float32 that `split` took apart.

    Parameters
    ----------
    high : Tensor of bfloat16
        The visible part.
    low : Tensor of int8 or int16
        The remainder.

    Returns
    -------
    Tensor of float32
        The number that the pair stands for.
    """
    dropped = 8 if low.dtype is torch.int8 else 0
    return ((high.view(torch.int16).to(torch.int32) << 16) + (low.to(torch.int32) << dropped)).view(
        torch.float32
    )
