"""What Triton launches are told: the kinds of codecs, and a table of int64 with one row per parameter.

Nothing here needs Triton or a device.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from mezzotint.optim.bits import Rounding, dither_salt
from mezzotint.optim.codecs import (
    BLOCK,
    Bfloat16,
    BlockCodes,
    Float16,
    Float32,
    LogCodes,
    Master,
    Pair,
    RatioCodes,
    Remainder,
    TensorCodec,
)
from mezzotint.optim.rules import RuleName
from mezzotint.optim.task import Task

__all__ = ["BLOCKS_PER_TILE", "COLUMNS", "Entry", "Storage", "kind_of", "rows_of", "storage_of", "tiles_of"]

COLUMNS = 15
"""Words of a row: first tile, blocks, length of a row, first element, seed, stream, salt of dithered
words, address of the gradient, then for weight, first and second moment the addresses of the main component
and of the other one; at last the row of the numbers that lie in memory."""

BLOCKS_PER_TILE = 8
"""Blocks of 128 elements that one program works on."""

Kind = tuple[str, int, str]
"""Name of a codec, its bits where it has several, and its rounding."""

ABSENT: Kind = ("none", 0, "nearest")
_FLOATS = {torch.float32: "float32", torch.float16: "float16", torch.bfloat16: "bfloat16"}
_NAMES: dict[type, str] = {
    Float32: "float32",
    Float16: "float16",
    Bfloat16: "bfloat16",
    Pair: "pair",
    Remainder: "remainder",
    Master: "master",
    LogCodes: "log",
    BlockCodes: "block",
    RatioCodes: "ratio",
}
_ALIGNMENT = 16


@dataclass(frozen=True)
class Storage:
    """Everything about a task that a kernel is compiled for.

    Attributes
    ----------
    rule : str
        "adam", "lion", "sgd" (without momentum), "momentum" or "nesterov".
    weight, first, second : Kind
        Codecs; `ABSENT` where a rule has no such moment.
    gradient : str
        Type of the gradient.
    maximize, carries : bool
        Whether to climb, and whether residuals of the first moment are paid to the weight.
    rows : bool
        Whether something is stored per pair or per block, so that rows must be told apart.
    """

    rule: str
    weight: Kind
    first: Kind
    second: Kind
    gradient: str
    maximize: bool
    carries: bool
    rows: bool

    @property
    def kinds(self) -> tuple[Kind, Kind, Kind]:
        """The codecs of weight, first and second moment."""
        return self.weight, self.first, self.second

    @property
    def text(self) -> str:
        """All of it as a string: operators of torch take no objects."""
        kinds = [f"{name}:{bits}:{rounding}" for name, bits, rounding in self.kinds]
        flags = [str(int(flag)) for flag in (self.maximize, self.carries, self.rows)]
        return " ".join([self.rule, *kinds, self.gradient, *flags])

    @classmethod
    def of(cls, text: str) -> Storage:
        """Undo `text`."""
        rule, *kinds, gradient, maximize, carries, rows = text.split()
        weight, first, second = (_kind_of_text(kind) for kind in kinds)
        flags = (flag == "1" for flag in (maximize, carries, rows))
        return cls(rule, weight, first, second, gradient, *flags)

    @property
    def n_tensors(self) -> int:
        """How many stored tensors a parameter has."""
        return sum(_components(kind) for kind in self.kinds)


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

    def is_aligned(self, storage: Storage) -> bool:
        """Say whether wide loads are possible: addresses and rows are multiples of 16."""
        unit = self.stored[0].shape[1] if storage.rows else self.stored[0].numel()
        addresses = (tensor.data_ptr() for tensor in (*self.stored, self.gradient))
        return unit % _ALIGNMENT == 0 and all(address % _ALIGNMENT == 0 for address in addresses)

    def shares_words(self, storage: Storage) -> bool:
        """Say whether four neighbours always share one draw: each block begins at a multiple of 4."""
        return self.first % 4 == 0 and (not storage.rows or self.stored[0].shape[1] % 4 == 0)


def kind_of(codec: TensorCodec) -> Kind | None:
    """Name a codec for the kernels.

    Parameters
    ----------
    codec : TensorCodec
        Of a weight or a moment.

    Returns
    -------
    Kind or None
        Its kind; None if no kernel knows it.
    """
    name = _NAMES.get(type(codec))
    if name is None:
        return None
    bits: Any = getattr(codec, "bits", 0)
    if isinstance(codec, Master):
        bits = 16 if codec.visible is torch.float16 else 0
    return name, bits, codec.rounding.value


def storage_of(task: Task) -> Storage | None:
    """Say what a kernel must be compiled for to run a task.

    Parameters
    ----------
    task : Task
        One step of one parameter.

    Returns
    -------
    Storage or None
        None if there is no such kernel.
    """
    codecs = (task.recipe.weight, *task.recipe.codecs(len(task.moments)))
    kinds = [kind_of(codec) for codec in codecs]
    if any(kind is None for kind in kinds) or task.gradient.dtype not in _FLOATS:
        return None
    weight, first, second, *_ = [*(kind for kind in kinds if kind is not None), ABSENT, ABSENT]
    return Storage(
        rule=_rule(task),
        weight=weight,
        first=first,
        second=second,
        gradient=_FLOATS[task.gradient.dtype],
        maximize=task.maximize,
        carries=task.recipe.carries and task.rule.can_carry,
        rows=any(part.per != "element" for codec in codecs for part in codec.components),
    )


def tiles_of(entry: Entry, storage: Storage) -> int:
    """Count the tiles of a parameter.

    Parameters
    ----------
    entry : Entry
        The parameter.
    storage : Storage
        How it is stored.

    Returns
    -------
    int
        Programs that work on it.
    """
    return -(-_blocks(entry, storage) // BLOCKS_PER_TILE)


def rows_of(entries: list[Entry], storage: Storage) -> tuple[int, ...]:
    """Make the words of a table.

    Parameters
    ----------
    entries : list of Entry
        The parameters of a launch.
    storage : Storage
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
        length = matrix.shape[1] if storage.rows else matrix.numel()
        words += [first_tile, _blocks(entry, storage), length, entry.first, entry.seed, entry.number]
        words += [_salt(entry, storage), entry.gradient.data_ptr(), *_slots(entry, storage), entry.index]
        first_tile += tiles_of(entry, storage)
    return tuple(words)


def _kind_of_text(text: str) -> Kind:
    """Read what `Storage.text` wrote of a codec."""
    name, bits, rounding = text.split(":")
    return name, int(bits), rounding


def _slots(entry: Entry, storage: Storage) -> list[int]:
    """Give addresses of weight, first and second moment."""
    words: list[int] = []
    addresses = iter([tensor.data_ptr() for tensor in entry.stored])
    for kind in storage.kinds:
        words += [next(addresses) if k < _components(kind) else 0 for k in range(2)]
    return words


def _blocks(entry: Entry, storage: Storage) -> int:
    """Count the blocks of a parameter, the last one of each row or of the whole being shorter."""
    rows, length = entry.stored[0].shape
    return rows * -(-length // BLOCK) if storage.rows else -(-(rows * length) // BLOCK)


def _components(kind: Kind) -> int:
    """Count the tensors of a codec."""
    if kind == ABSENT:
        return 0
    return 2 if kind[0] in ("pair", "remainder", "master", "log", "block") else 1


def _rule(task: Task) -> str:
    """Name the rule, and of SGD the kind."""
    if task.rule.name is not RuleName.SGD:
        return task.rule.name.value
    if not task.moments:
        return "sgd"
    return "nesterov" if getattr(task.rule, "nesterov", False) else "momentum"


def _salt(entry: Entry, storage: Storage) -> int:
    """Give the salt of a parameter that is dithered somewhere."""
    dithered = any(kind[2] == Rounding.DITHERED.value for kind in storage.kinds)
    return _remembered_salt(entry.seed, entry.number) if dithered else 0


@lru_cache(maxsize=1 << 16)
def _remembered_salt(seed: int, stream: int) -> int:
    """Remember salts: each costs a draw on the host."""
    return int(dither_salt(seed, stream))
