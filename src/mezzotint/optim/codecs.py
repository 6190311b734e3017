"""How one tensor of an optimizer is stored: weight, first moment, second moment.

A codec turns float32 values into components of few bits and back. Values come as matrices (rows, length):
row i is ``tensor[i]`` flattened, so whatever a codec does within a row (blocks, packing of half bytes) is
the same on every shard along dimension 0.

========================  =======================================================  ==================
codec                     components                                               bytes per element
========================  =======================================================  ==================
`Float32`                 float32                                                  4
`Float16`                 float16                                                  2
`Bfloat16`                bfloat16, any rounding                                   2
`Pair`                    two bfloat16: an unevaluated sum                         4
`Remainder`               bfloat16 + int8 (24 bits) or + int16 (exact float32)     3, 4
`Master`                  visible bfloat16 or float16 + float32                    6
`LogCodes`                codes without a zero, a float32 scale per 128            1.03, 0.53
`BlockCodes`              signed codes, a float32 scale per 128                    1.03, 0.53
`RatioCodes`              signed codes of the value over the root of the           1, 0.5
                          *stored* second moment: no scale
========================  =======================================================  ==================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from mezzotint.optim.bits import Rounding
from mezzotint.optim.floats import join, round_to_bf16, split, widen
from mezzotint.optim.levels import LogLevels, SignedLevels

__all__ = [
    "BLOCK",
    "Bfloat16",
    "BlockCodes",
    "Component",
    "Float16",
    "Float32",
    "LogCodes",
    "Master",
    "Pair",
    "Parts",
    "RatioCodes",
    "Remainder",
    "TensorCodec",
    "refresh",
]

BLOCK = 128
"""Elements that share a scale; the last block of a row may be shorter."""

Parts = dict[str, Tensor]
"""Components by suffix; the suffix of the main one is empty."""


@dataclass(frozen=True)
class Component:
    """One stored tensor of a codec.

    Attributes
    ----------
    suffix : str
        What follows the name of the state; empty for the main component.
    dtype : torch.dtype
        Element type.
    per : str
        What one element of it serves: an ``"element"``, a ``"pair"`` of elements of a row, or a ``"block"``
        of 128.
    """

    suffix: str
    dtype: torch.dtype
    per: str = "element"

    def columns(self, length: int) -> int:
        """Give its elements per row of `length` elements.

        Parameters
        ----------
        length : int
            Elements of a row, >= 0.

        Returns
        -------
        int
            `length`, half of it or one per block, rounded up.
        """
        return -(-length // {"element": 1, "pair": 2, "block": BLOCK}[self.per])


class TensorCodec(Protocol):
    """What an optimizer asks of a codec."""

    @property
    def rounding(self) -> Rounding:
        """Which neighbour is stored."""

    @property
    def components(self) -> tuple[Component, ...]:
        """What is stored, the main component first."""

    @property
    def needs_reference(self) -> bool:
        """Whether values are coded relative to a reference, the root of the stored second moment."""

    def encode(self, x: Tensor, words: Tensor | None, reference: Tensor | None = None) -> Parts:
        """Round float32 values of shape (rows, length) into components."""

    def decode(self, parts: Parts, length: int, reference: Tensor | None = None) -> Tensor:
        """Give the float32 values, of shape (rows, length), that components stand for."""


@dataclass(frozen=True)
class _Plain:
    """What codecs share that round to nearest and code each element alone."""

    @property
    def rounding(self) -> Rounding:
        return Rounding.NEAREST

    @property
    def needs_reference(self) -> bool:
        return False


@dataclass(frozen=True)
class Float32(_Plain):
    """Plain float32: nothing is lost."""

    components = (Component("", torch.float32),)

    def encode(self, x: Tensor, words: Tensor | None, reference: Tensor | None = None) -> Parts:
        """Keep the values."""
        return {"": x}

    def decode(self, parts: Parts, length: int, reference: Tensor | None = None) -> Tensor:
        """Give the values."""
        return parts[""]


@dataclass(frozen=True)
class Float16(_Plain):
    """Plain float16, rounded to nearest: for weights beside a loss scaler."""

    components = (Component("", torch.float16),)

    def encode(self, x: Tensor, words: Tensor | None, reference: Tensor | None = None) -> Parts:
        """Round to nearest even."""
        return {"": x.to(torch.float16)}

    def decode(self, parts: Parts, length: int, reference: Tensor | None = None) -> Tensor:
        """Widen."""
        return parts[""].to(torch.float32)


@dataclass(frozen=True)
class _Rounded:
    """What codecs share whose rounding is a choice."""

    rounding: Rounding = Rounding.NEAREST

    @property
    def needs_reference(self) -> bool:
        return False


@dataclass(frozen=True)
class Bfloat16(_Rounded):
    """One bfloat16: to nearest it loses updates below half a last place, else it keeps them on average."""

    components = (Component("", torch.bfloat16),)

    def encode(self, x: Tensor, words: Tensor | None, reference: Tensor | None = None) -> Parts:
        """Round to one of the two neighbours."""
        return {"": round_to_bf16(x, words)}

    def decode(self, parts: Parts, length: int, reference: Tensor | None = None) -> Tensor:
        """Widen."""
        return widen(parts[""])


@dataclass(frozen=True)
class Pair(_Plain):
    """Two bfloat16 whose sum is the number: about 16 significant bits. The first is its nearest one."""

    components = (Component("", torch.bfloat16), Component("_lo", torch.bfloat16))

    def encode(self, x: Tensor, words: Tensor | None, reference: Tensor | None = None) -> Parts:
        """Round to nearest, then round what is left; nothing is left of infinity and NaN."""
        high = round_to_bf16(x, None)
        wide = widen(high)
        return {"": high, "_lo": round_to_bf16(torch.where(wide.isfinite(), x - wide, 0.0), None)}

    def decode(self, parts: Parts, length: int, reference: Tensor | None = None) -> Tensor:
        """Add."""
        return widen(parts[""]) + widen(parts["_lo"])


@dataclass(frozen=True)
class Remainder(_Rounded):
    """A bfloat16 and the next 8 or 16 bits of the number as a signed integer."""

    bits: int = 16

    @property
    def components(self) -> tuple[Component, ...]:
        """The visible bfloat16, and the remainder."""
        low = torch.int8 if self.bits == 8 else torch.int16
        return (Component("", torch.bfloat16), Component("_lo", low))

    def encode(self, x: Tensor, words: Tensor | None, reference: Tensor | None = None) -> Parts:
        """Split the bits."""
        high, low = split(x, self.bits, words)
        return {"": high, "_lo": low}

    def decode(self, parts: Parts, length: int, reference: Tensor | None = None) -> Tensor:
        """Join the bits."""
        return join(parts[""], parts["_lo"])


@dataclass(frozen=True)
class Master(_Plain):
    """A visible half-precision weight and a float32 copy that is the weight."""

    visible: torch.dtype = torch.bfloat16

    @property
    def components(self) -> tuple[Component, ...]:
        """The visible weight, and the copy."""
        return (Component("", self.visible), Component("_master", torch.float32))

    def encode(self, x: Tensor, words: Tensor | None, reference: Tensor | None = None) -> Parts:
        """Keep the values, show them rounded to nearest."""
        visible = round_to_bf16(x, None) if self.visible is torch.bfloat16 else x.to(self.visible)
        return {"": visible, "_master": x}

    def decode(self, parts: Parts, length: int, reference: Tensor | None = None) -> Tensor:
        """Give the copy."""
        return parts["_master"]


@dataclass(frozen=True)
class _Codes:
    """What codecs of 8- and 4-bit codes share: bits, rounding, packing of half bytes."""

    bits: int = 8
    rounding: Rounding = Rounding.STOCHASTIC

    @property
    def needs_reference(self) -> bool:
        return False

    @property
    def codes(self) -> Component:
        """The component that holds the codes."""
        return Component("", torch.uint8, per="element" if self.bits == 8 else "pair")

    def packed(self, code: Tensor) -> Tensor:
        """Put two 4-bit codes of a row into a byte, the first into its low half.

        Parameters
        ----------
        code : Tensor of uint8, shape (rows, length)
            Codes.

        Returns
        -------
        Tensor of uint8, shape (rows, length) or (rows, ceil(length / 2))
            Bytes; the upper half of an odd row's last byte is 0.
        """
        if self.bits == 8:
            return code
        even = torch.nn.functional.pad(code, (0, code.shape[1] % 2))
        return even[:, 0::2] | (even[:, 1::2] << 4)

    def unpacked(self, packed: Tensor, length: int) -> Tensor:
        """Undo `packed` for rows of `length` elements.

        Parameters
        ----------
        packed : Tensor of uint8
            Bytes.
        length : int
            Elements of a row.

        Returns
        -------
        Tensor of uint8, shape (rows, length)
            Codes.
        """
        if self.bits == 8:
            return packed
        return torch.stack([packed & 15, packed >> 4], dim=2).view(len(packed), -1)[:, :length]


@dataclass(frozen=True)
class _ScaledCodes(_Codes):
    """What codecs share that keep the largest size of each block as its scale."""

    @property
    def components(self) -> tuple[Component, ...]:
        """Codes, and one float32 scale per block."""
        return (self.codes, Component("_scale", torch.float32, per="block"))

    @property
    def levels(self) -> SignedLevels | LogLevels:
        """The numbers that codes stand for, in units of the scale."""
        raise NotImplementedError

    def encode(self, x: Tensor, words: Tensor | None, reference: Tensor | None = None) -> Parts:
        """Divide by the largest size of the block and round; a block of zeros is exact."""
        scale = _block_maxima(x.abs())
        wide = _per_element(scale, x.shape[1])
        code = self.levels.encode(torch.where(wide == 0, 0.0, x / wide), words)
        return {"": self.packed(code), "_scale": scale}

    def decode(self, parts: Parts, length: int, reference: Tensor | None = None) -> Tensor:
        """Multiply levels by the scale of their block."""
        return self.levels.decode(self.unpacked(parts[""], length)) * _per_element(parts["_scale"], length)


@dataclass(frozen=True)
class LogCodes(_ScaledCodes):
    """Codes of non-negative numbers on a logarithmic scale that has no zero: 24 octaves in 8 bits, 11 in 4.

    A level of zero would turn a small second moment into a huge step. What lies below the smallest level is
    raised to it.
    """

    @property
    def lengthening(self) -> float:
        """Mean of sqrt(true / stored) over second moments that have settled.

        What is stored is right on average, but spread, and a step divides by its root. For normal and
        Laplace gradients the mean is 1.08 to 1.14 in 4 bits, depending on beta2, and 1.003 to 1.015 in
        8 bits, which is left as it is.
        """
        return 1.0 if self.bits == 8 else 1.1

    @property
    def levels(self) -> LogLevels:
        """Neighbours are 3/32 of an octave apart in 8 bits, 3/4 in 4 bits."""
        return LogLevels(self.bits, 3 << 18 if self.bits == 8 else 3 << 21)


@dataclass(frozen=True)
class BlockCodes(_ScaledCodes):
    """Signed codes in units of the largest size of the block: for first moments without a second one."""

    @property
    def levels(self) -> SignedLevels:
        """From -1 to 1."""
        return _SIGNED[self.bits, 1.0]


@dataclass(frozen=True)
class RatioCodes(_Codes):
    """Signed codes of the first moment in units of the reference, the root of the stored second moment.

    The ratio is the step that Adam takes, up to its rate, so its range is known and one table serves all;
    larger ones are clipped.
    """

    @property
    def needs_reference(self) -> bool:
        """Always."""
        return True

    @property
    def components(self) -> tuple[Component, ...]:
        """The codes."""
        return (self.codes,)

    @property
    def levels(self) -> SignedLevels:
        """From -1.5 to 1.5."""
        return _SIGNED[self.bits, RATIO_LIMIT]

    def encode(self, x: Tensor, words: Tensor | None, reference: Tensor | None = None) -> Parts:
        """Divide by the reference and round; where the reference is zero, so is what is read back."""
        assert reference is not None
        return {"": self.packed(self.levels.encode(torch.where(reference == 0, 0.0, x / reference), words))}

    def decode(self, parts: Parts, length: int, reference: Tensor | None = None) -> Tensor:
        """Multiply levels by the reference."""
        assert reference is not None
        return self.levels.decode(self.unpacked(parts[""], length)) * reference


def refresh(codec: TensorCodec, parts: Parts) -> None:
    """Take over weights that were changed from outside: the visible part wins over what is kept beside it.

    A remainder contradicts nothing: it is at most half of the last place of whatever stands before it.

    Parameters
    ----------
    codec : TensorCodec
        Of the weight.
    parts : Parts
        Its components; what is kept beside the visible one is corrected in place.
    """
    visible = parts[""]
    if isinstance(codec, Master):
        stale = codec.encode(parts["_master"], None)[""] != visible
        parts["_master"].copy_(torch.where(stale, widen(visible), parts["_master"]))
    if isinstance(codec, Pair):
        # A low part is rounded itself and may be half of the last place: a little less must round to the
        # visible part.
        low = widen(parts["_lo"])
        stale = round_to_bf16(widen(visible) + low * (1 - 2.0**-7), None) != visible
        parts["_lo"].copy_(torch.where(stale, 0.0, low))


RATIO_LIMIT = 1.5
_SIGNED = {(bits, limit): SignedLevels(bits, limit) for bits in (4, 8) for limit in (1.0, RATIO_LIMIT)}


def _block_maxima(size: Tensor) -> Tensor:
    """Give the largest number of each block of a row."""
    rows, length = size.shape
    blocks = -(-length // BLOCK)
    padded = torch.nn.functional.pad(size, (0, blocks * BLOCK - length))
    return padded.view(rows, blocks, BLOCK).amax(dim=2)


def _per_element(scale: Tensor, length: int) -> Tensor:
    """Repeat the scales of blocks for each of their elements."""
    return scale.repeat_interleave(BLOCK, dim=1)[:, :length]
