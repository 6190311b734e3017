"""What the header of a store says, and what follows from it: the parts of every file, byte for byte.

`docs/store.md` is the specification of the format. Everything read from a file is checked here before
anything is allocated for it.
"""

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mezzotint.errors import MezzotintError, StoreError
from mezzotint.kernels import Layout
from mezzotint.kernels.layout import ROW_GROUP
from mezzotint.packed.planes import STORABLE_BITS, plane_row_bytes, widths_of

FORMAT_VERSION = "1"
HEADER_NAME = "store.safetensors"
TILES, PLANES = "tiles-4x4", "planes"
PAGE = 4096  # codes start at a multiple of it, so that shards can be mapped one behind the other
_MAX_ROWS = 2**40
_BLOCK_BITS = 2**23  # about one megabyte has one checksum
_MAY_HAVE = {"levels"}
_KEYS = {"shape", "bits", "level_bits", "n_draws", "layout", "dtype", "block_rows", "shards", "provenance"}

Table = dict[str, dict[str, Any]]  # of a safetensors file: name -> dtype, shape, data_offsets


class Shard(NamedTuple):
    """Rows [start, stop) in a file of their own, and the checksum that its file must carry."""

    start: int
    stop: int
    crc32: int


class Block(NamedTuple):
    """Rows [start, stop) of a shard: what has one checksum per plane."""

    shard: int
    number: int
    start: int
    stop: int


@dataclass(frozen=True, eq=False, kw_only=True)
class Columns:
    """The affine map of each column.

    Attributes
    ----------
    offset, scale : ndarray of float64, shape (d,)
        Value of code 0, and the step between codes.
    noise : ndarray of float64, shape (P, d)
        Mean squared rounding error when the first 1, ..., P planes are read.
    """

    offset: NDArray[np.float64]
    scale: NDArray[np.float64]
    noise: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class StoreInfo:
    """What a store holds.

    Attributes
    ----------
    shape : tuple of int
        Rows and columns.
    bits : int
        Stored bits per value.
    n_draws : int
        Independent draws per value, whose level indices are added; 1 or 2.
    layout : {"tiles-4x4", "planes"}
        How codes lie in a shard: as kernels read them, or bit planes.
    dtype : {"float32", "float64"}
        Type that decoded values are given in.
    block_rows : int
        Rows that have one checksum, counted from the start of a shard; a multiple of 16.
    shards : tuple of Shard
        Row ranges, one file each.
    provenance : dict
        How the codes were made, as text and numbers.
    levels : tuple of int or None
        Where the levels of a draw lie; None: evenly spaced.
    """

    shape: tuple[int, int]
    bits: int
    n_draws: int
    layout: str
    dtype: str
    block_rows: int
    shards: tuple[Shard, ...]
    provenance: dict[str, Any] = field(default_factory=dict)
    levels: tuple[int, ...] | None = None

    @property
    def level_bits(self) -> int:
        """Bits of one draw: ``bits - log2(n_draws)``."""
        return self.bits - (self.n_draws - 1)

    @property
    def last_value(self) -> float:
        """What the largest code stands for, in scales above the offset."""
        return 2.0**self.bits - 1 if self.levels is None else self.n_draws * float(self.levels[-1])

    @property
    def tiles(self) -> Layout:
        """The kernels' layout of the whole matrix at the stored bits."""
        n, d = self.shape
        return Layout(n_rows=n, n_columns=d, bits=self.bits, n_draws=self.n_draws, levels=self.levels)

    @property
    def planes(self) -> tuple[int, ...]:
        """Bytes of a row in each plane of a shard; codes in tiles are one plane."""
        if self.layout == TILES:
            return (self.tiles.row_bytes,)
        return tuple(plane_row_bytes(self.shape[1], width) for width in widths_of(self.bits))

    @property
    def n_bytes(self) -> int:
        """Bytes of all codes."""
        return sum(self.padded(stop) - start for start, stop, _ in self.shards) * sum(self.planes)

    def padded(self, row: int) -> int:
        """End of the stored rows when `row` is the last: tiles are padded to 16 rows."""
        return -(-row // ROW_GROUP) * ROW_GROUP if self.layout == TILES else row

    def blocks(self, shard: int | None = None) -> Iterator[Block]:
        """Yield the blocks of one shard or of all, in order."""
        for index in range(len(self.shards)) if shard is None else (shard,):
            start, stop, _ = self.shards[index]
            for number, first in enumerate(range(start, stop, self.block_rows)):
                yield Block(index, number, first, min(first + self.block_rows, stop))

    def block_at(self, row: int) -> Block:
        """Return the block that holds a row."""
        index = next(s for s, shard in enumerate(self.shards) if row < shard.stop)
        start, stop, _ = self.shards[index]
        number = (row - start) // self.block_rows
        first = start + number * self.block_rows
        return Block(index, number, first, min(first + self.block_rows, stop))

    def n_blocks(self, shard: int) -> int:
        """Blocks of a shard."""
        start, stop, _ = self.shards[shard]
        return -(-(stop - start) // self.block_rows)

    def shard_table(self, shard: int) -> Table:
        """Tensors of a shard's file: checksums, then the planes."""
        start, stop, _ = self.shards[shard]
        rows = self.padded(stop) - start
        parts = [("checksums", "U32", [self.n_blocks(shard), len(self.planes)])]
        if self.layout == TILES:
            parts.append(("codes", "U8", [rows * self.planes[0]]))
        else:
            parts += [(f"plane{p}", "U8", [rows, row_bytes]) for p, row_bytes in enumerate(self.planes)]
        return table_of(parts)

    def header_table(self) -> Table:
        """Tensors of the header's file."""
        d = self.shape[1]
        return table_of(
            [("offset", "F64", [d]), ("scale", "F64", [d]), ("noise", "F64", [len(self.planes), d])]
        )

    def part(self, shards: range) -> "StoreInfo":
        """What some shards hold, one after the other, with rows counted from the first of them."""
        first = self.shards[shards.start].start
        moved = [self.shards[index] for index in shards]
        moved = [Shard(start - first, stop - first, crc32) for start, stop, crc32 in moved]
        return replace(self, shape=(moved[-1].stop, self.shape[1]), shards=tuple(moved))

    def describe(self, shard: int | None = None) -> str:
        """JSON of the header, or of one shard's file: the same without the others' checksums."""
        facts: dict[str, Any] = {
            "shape": list(self.shape),
            "bits": self.bits,
            "level_bits": self.level_bits,
            "n_draws": self.n_draws,
            "layout": self.layout,
            "block_rows": self.block_rows,
        }
        if shard is None:
            facts |= {"dtype": self.dtype, "provenance": self.provenance}
            facts |= {} if self.levels is None else {"levels": list(self.levels)}
            facts["shards"] = [[start, stop, f"{crc:08x}"] for start, stop, crc in self.shards]
        else:
            facts |= {"shard": shard, "rows": list(self.shards[shard][:2])}
        return json.dumps(facts, sort_keys=True, allow_nan=False)


def plan(
    shape: tuple[int, int],
    bits: int,
    *,
    layout: str,
    n_draws: int = 1,
    levels: tuple[int, ...] | None = None,
    dtype: str,
    shard_bytes: int,
    provenance: dict[str, Any],
) -> StoreInfo:
    """Cut a matrix into shards and blocks.

    Shards end where segments end, at whole pages, and hold about `shard_bytes` at most; no shard is
    smaller than the fewest segments that end at a page.
    """
    n, d = shape
    tiles = Layout(n_rows=n, n_columns=d, bits=8)
    bounds = tiles.segments.tolist()
    whole = StoreInfo(
        shape=shape,
        bits=bits,
        n_draws=n_draws,
        layout=layout,
        dtype=dtype,
        block_rows=ROW_GROUP,
        shards=(Shard(0, n, 0),),
        provenance=provenance,
        levels=levels,
    )
    row_bytes = sum(whole.planes)
    segment_bytes = (bounds[1] - bounds[0]) * row_bytes
    step = 1
    while layout == TILES and step < len(bounds) - 1 and step * segment_bytes % PAGE:
        step += 1
    step *= max(1, shard_bytes // (step * segment_bytes))
    edges = [*bounds[:-1:step], n]
    block_rows = max(1, _BLOCK_BITS // (8 * row_bytes * ROW_GROUP)) * ROW_GROUP
    shards = tuple(Shard(start, stop, 0) for start, stop in pairwise(edges))
    return replace(whole, block_rows=block_rows, shards=shards)


def parse(text: str) -> StoreInfo:
    """Read the JSON of a header; StoreError says what is wrong with it."""
    facts = load_json(text)
    if not isinstance(facts, dict):
        raise StoreError(f"the description is {shown(facts)}, not a dictionary")
    if set(facts) - _MAY_HAVE != _KEYS:
        raise StoreError(
            f"the description has the entries {shown(sorted(facts))}; it must have {', '.join(sorted(_KEYS))}"
        )
    shape = _integers(facts["shape"], "shape", 2)
    info = StoreInfo(
        shape=(shape[0], shape[1]),
        bits=_integer(facts["bits"], "bits", 1, 16),
        n_draws=_integer(facts["n_draws"], "n_draws", 1, 2),
        layout=_one_of(facts["layout"], "layout", (TILES, PLANES)),
        dtype=_one_of(facts["dtype"], "dtype", ("float32", "float64")),
        block_rows=_integer(facts["block_rows"], "block_rows", ROW_GROUP, 2**30),
        shards=_shards(facts["shards"]),
        provenance=_provenance(facts["provenance"]),
        levels=_levels(facts.get("levels")),
    )
    _check_together(info, facts["level_bits"])
    return info


def _check_together(info: StoreInfo, level_bits: object) -> None:
    n, _ = info.shape
    if not 1 <= n <= _MAX_ROWS:
        raise StoreError(f"{n} rows; a store holds 1 to {_MAX_ROWS}")
    try:
        n_rows = (info if info.layout == TILES else replace(info, bits=8)).tiles.n_rows
    except MezzotintError as error:
        raise StoreError(str(error)) from error
    if info.layout == PLANES and (info.bits not in STORABLE_BITS or info.n_draws != 1 or info.levels):
        raise StoreError(
            f"planes of {info.bits} bits and {info.n_draws} draws; allowed: 4, 8, 16 and one draw "
            "on even levels"
        )
    if level_bits != info.level_bits or info.level_bits < 1:
        raise StoreError(f"level_bits is {level_bits!r} for {info.bits} bits and {info.n_draws} draws")
    if info.block_rows % ROW_GROUP:
        raise StoreError(f"block_rows is {info.block_rows}, not a multiple of {ROW_GROUP}")
    edges = [0, *(stop for _, stop, _ in info.shards)]
    starts = [start for start, _, _ in info.shards]
    uneven = [edge for edge in edges[:-1] if edge % ROW_GROUP]
    if starts != edges[:-1] or edges[-1] != n_rows or uneven or sorted(set(edges)) != edges:
        ranges = [[start, stop] for start, stop, _ in info.shards]
        raise StoreError(
            f"the shards {shown(ranges)} do not cut {n} rows into ranges that start at multiples of "
            f"{ROW_GROUP}"
        )


def _shards(value: object) -> tuple[Shard, ...]:
    if not isinstance(value, list) or not value:
        raise StoreError(f"shards is {shown(value)}, not a list of [start, stop, checksum]")
    return tuple(_shard(entry) for entry in value)


def _shard(entry: object) -> Shard:
    if not isinstance(entry, list) or len(entry) != 3 or not isinstance(entry[2], str):
        raise StoreError(f"{shown(entry)} is not a shard [start, stop, checksum]")
    start, stop = _integers(entry[:2], "shard", 2)
    return Shard(start, stop, parse_crc(entry[2]))


def _levels(value: object) -> tuple[int, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list):
        raise StoreError(f"levels is {shown(value)}, not a list of integers")
    return tuple(_integer(entry, "levels", 0, 255) for entry in value)


def _provenance(value: object) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(v, str | int | float) for v in value.values()):
        raise StoreError(f"provenance is {shown(value)}, not a dictionary of texts and numbers")
    return value


def shown(value: object) -> str:
    """What a stranger's file said, cut short for a message."""
    return f"{str(value)[:40]!r}"


def _integers(value: object, name: str, count: int) -> list[int]:
    if not isinstance(value, list) or len(value) != count:
        raise StoreError(f"{name} is {shown(value)}, not a list of {count} integers")
    return [_integer(entry, name, 0, 2**62) for entry in value]


def _integer(value: object, name: str, low: int, high: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise StoreError(f"{name} is {shown(value)}, not an integer from {low} to {high}")
    return value


def _one_of(value: object, name: str, allowed: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in allowed:
        raise StoreError(f"{name} is {shown(value)}; allowed: {', '.join(allowed)}")
    return value


def parse_crc(text: object) -> int:
    """Read a checksum of eight hexadecimal digits."""
    if not isinstance(text, str) or len(text) != 8 or set(text) - set("0123456789abcdef"):
        raise StoreError(f"{shown(text)} is not a checksum of eight hexadecimal digits")
    return int(text, 16)


def load_json(text: str | bytes) -> Any:  # noqa: ANN401
    """Read JSON from a stranger: no infinities, no bottomless nesting."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise StoreError(f"its header is not JSON ({str(error)[:80]})") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number")


def table_of(parts: list[tuple[str, str, list[int]]]) -> Table:
    """Lay tensors one behind the other."""
    sizes = {"F64": 8, "U32": 4, "U8": 1}
    table: Table = {}
    begin = 0
    for name, dtype, shape in parts:
        end = begin + sizes[dtype] * _product(shape)
        table[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
        begin = end
    return table


def _product(numbers: list[int]) -> int:
    total = 1
    for number in numbers:
        total *= number  # Python's integers: what a hostile header asks for cannot wrap around
    return total


def checksum(piece: NDArray[np.uint8]) -> int:
    """CRC-32 of the bytes of a block in one plane."""
    return zlib.crc32(piece.data)


def shard_name(index: int) -> str:
    """File name of a shard."""
    return f"shard-{index:05d}.safetensors"
