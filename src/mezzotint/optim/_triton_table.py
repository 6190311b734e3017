"""What Triton launches are told: a table of int64 with one row per parameter.

Nothing here needs Triton or a device.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from torch import Tensor

from mezzotint.optim._plan import Plan, components_of
from mezzotint.optim.bits import Rounding, dither_salt
from mezzotint.optim.codecs import BLOCK

__all__ = ["BLOCKS_PER_TILE", "COLUMNS", "Entry", "rows_of", "tiles_of"]

COLUMNS = 15
"""Words of a row: first tile, blocks, length of a row, first element, seed, stream, salt of dithered
words, address of the gradient, then for weight, first and second moment the addresses of the main component
and of the other one; at last the row of the numbers that lie in memory."""

BLOCKS_PER_TILE = 8
"""Blocks of 128 elements that one program works on."""

_ALIGNMENT = 16


@dataclass(frozen=True)
class Entry:
    """One parameter of a launch.

    Attributes
    ----------
    stored : tuple of Tensor
        Components of weight, first and second moment, as matrices; contiguous.
    gradient : Tensor
        Of the weight's shape; contiguous.
    first : int
        Index of the first element in the whole parameter.
    seed, number : int
        Of the random words.
    index : int
        Which row of the numbers that lie in memory is its own.
    """

    stored: tuple[Tensor, ...]
    gradient: Tensor
    first: int
    seed: int
    number: int
    index: int

    def is_aligned(self, plan: Plan) -> bool:
        """Say whether wide loads are possible: addresses and rows are multiples of 16."""
        unit = self.stored[0].shape[1] if plan.rows else self.stored[0].numel()
        addresses = (tensor.data_ptr() for tensor in (*self.stored, self.gradient))
        return unit % _ALIGNMENT == 0 and all(address % _ALIGNMENT == 0 for address in addresses)

    def shares_words(self, plan: Plan) -> bool:
        """Say whether four neighbours always share one draw: each block begins at a multiple of 4."""
        return self.first % 4 == 0 and (not plan.rows or self.stored[0].shape[1] % 4 == 0)


def tiles_of(entry: Entry, plan: Plan) -> int:
    """Count the tiles of a parameter.

    Parameters
    ----------
    entry : Entry
        The parameter.
    plan : Plan
        How it is stored.

    Returns
    -------
    int
        Programs that work on it.
    """
    return -(-_blocks(entry, plan) // BLOCKS_PER_TILE)


def rows_of(entries: list[Entry], plan: Plan) -> tuple[int, ...]:
    """Make the words of a table.

    Parameters
    ----------
    entries : list of Entry
        The parameters of a launch.
    plan : Plan
        How all of them are stored.

    Returns
    -------
    tuple of int
        `COLUMNS` words per parameter.
    """
    words: list[int] = []
    first_tile = 0
    for entry in entries:
        matrix = entry.stored[0]
        length = matrix.shape[1] if plan.rows else matrix.numel()
        words += [first_tile, _blocks(entry, plan), length, entry.first, entry.seed, entry.number]
        words += [_salt(entry, plan), entry.gradient.data_ptr(), *_slots(entry, plan), entry.index]
        first_tile += tiles_of(entry, plan)
    return tuple(words)


def _slots(entry: Entry, plan: Plan) -> list[int]:
    """Give two addresses each of weight, first and second moment, 0 for what there is not."""
    words: list[int] = []
    addresses = iter([tensor.data_ptr() for tensor in entry.stored])
    for kind in plan.kinds:
        words += [next(addresses) if k < components_of(kind) else 0 for k in range(2)]
    return words + [0] * (6 - len(words))


def _blocks(entry: Entry, plan: Plan) -> int:
    """Count the blocks of a parameter, the last one of each row or of the whole being shorter."""
    rows, length = entry.stored[0].shape
    return rows * -(-length // BLOCK) if plan.rows else -(-(rows * length) // BLOCK)


def _salt(entry: Entry, plan: Plan) -> int:
    """Give the salt of a parameter that is dithered somewhere."""
    dithered = any(kind[2] == Rounding.DITHERED.value for kind in plan.kinds)
    return _remembered_salt(entry.seed, entry.number) if dithered else 0


@lru_cache(maxsize=1 << 16)
def _remembered_salt(seed: int, stream: int) -> int:
    """Remember salts: each costs a draw on the host."""
    return int(dither_salt(seed, stream))
