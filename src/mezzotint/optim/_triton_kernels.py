"""The fused step as one Triton kernel: many parameters, each component read once and written once.

A launch covers all parameters that are stored alike. What differs between them lies in a table of int64, one
row of `COLUMNS` words per parameter; a program finds its row by halving, then works on one tile of `TILE`
elements. Numbers of the step come as arguments or, so that a captured graph can be replayed, from memory.
Imported on the first launch only.
"""

from __future__ import annotations

import triton
import triton.language as tl

from mezzotint.optim._triton_codecs import as_bits, as_float, decode, encode, read_float, rounding_words
from mezzotint.optim._triton_table import BLOCKS_PER_TILE, COLUMNS
from mezzotint.optim.codecs import BLOCK

__all__ = ["positions", "row_of_tile", "step_kernel", "write_words"]

_COLUMNS = tl.constexpr(COLUMNS)
_BLOCK = tl.constexpr(BLOCK)
_BLOCKS_PER_TILE = tl.constexpr(BLOCKS_PER_TILE)
_SIGN = tl.constexpr(-0x80000000)


@triton.jit(do_not_specialize=["first"])
def write_words(table, first, pieces):
    """Write words of a table from arguments: unlike a copy from the host, a captured graph can repeat it."""
    for k in tl.static_range(len(pieces) // 3):
        low, middle, high = pieces[3 * k], pieces[3 * k + 1], pieces[3 * k + 2]
        word = (low.to(tl.int64) >> 1) - 1
        word += ((middle.to(tl.int64) >> 1) - 1) << 21
        word += ((high.to(tl.int64) >> 1) - 1) << 42
        tl.store(table + first + k, word)


@triton.jit
def row_of_tile(table, tile, n_rows, n_halvings):
    """Find the last row of the table whose first tile is not beyond `tile`."""
    row = n_rows * 0
    for k in range(n_halvings):
        probe = row + (1 << (n_halvings - 1 - k))
        first = tl.load(table + probe.to(tl.int64) * _COLUMNS, mask=probe < n_rows, other=0x7FFFFFFFFFFFFFFF)
        row = tl.where(first <= tile, probe, row)
    return row


@triton.jit
def positions(tile, n_blocks, length, ROWS: tl.constexpr, ALIGNED: tl.constexpr):
    """Say where the elements, half bytes and blocks of a tile lie, and which of them exist; all in int64.

    Without rows (`ROWS` is false: no component is stored per pair or block) the parameter is one row.
    """
    block = tile.to(tl.int64) * _BLOCKS_PER_TILE + tl.arange(0, _BLOCKS_PER_TILE)
    exists = block < n_blocks
    inner = tl.arange(0, _BLOCK)[None, :]
    half = tl.arange(0, _BLOCK // 2)[None, :]
    if ROWS:
        blocks_per_row = (length + (_BLOCK - 1)) // _BLOCK
        row = block // blocks_per_row
        column = (block % blocks_per_row) * _BLOCK
        if ALIGNED:
            half_length = length // 2
        else:
            half_length = (length + 1) // 2
        start = row * length + column
        half_column = column[:, None] // 2 + half
        half_offset = (row * half_length)[:, None] + half_column
        half_mask = (half_column < half_length) & exists[:, None]
        mask = (column[:, None] + inner < length) & exists[:, None]
    else:
        start = block * _BLOCK
        half_offset = start[:, None] // 2 + half
        mask = start[:, None] + inner < length
        half_mask = start[:, None] // 2 + half < length
    return start, (start[:, None] + inner, mask, half_offset, half_mask, block, exists)


@triton.jit
def _number(dynamic, row, value, DYNAMIC: tl.constexpr, COLUMN: tl.constexpr):
    """Give a number of the step: the argument, or the one in memory."""
    if DYNAMIC:
        value = tl.load(dynamic + row * 11 + COLUMN)
    return value


@triton.jit
def _slot(at, SLOT: tl.constexpr):
    """Give the two addresses of the weight or a moment."""
    return tl.load(at + (8 + 2 * SLOT)), tl.load(at + (9 + 2 * SLOT))


@triton.jit
def _updated(w, g, m, v, rate, decay, l2, keep1, add1, keep2, add2, root, eps, RULE: tl.constexpr):
    """Step as `mezzotint.optim.rules` does: the same operations in the same order."""
    if RULE == "adam":
        g = g + l2 * w
        m = keep1 * m + add1 * g
        v = keep2 * v + add2 * (g * g)
        update = rate * tl.div_rn(m, tl.sqrt_rn(v) * root + eps)
        w = w - (update + decay * w)
    elif RULE == "lion":
        u = keep1 * m + add1 * g
        sign = (u > 0).to(tl.float32) - (u < 0).to(tl.float32)
        w = w - (rate * sign + decay * w)
        m = keep2 * m + add2 * g
    else:
        g = g + l2 * w
        if RULE == "sgd":
            w = w - rate * g
        else:
            m = keep1 * m + add1 * g
            if RULE == "nesterov":
                w = w - rate * (g + keep1 * m)
            else:
                w = w - rate * m
    return w, m, v


@triton.jit(do_not_specialize=["n_rows", "n_halvings", "step"])
def step_kernel(
    table,
    dynamic,
    steps,
    n_rows,
    n_halvings,
    step,
    rate,
    decay,
    l2,
    keep1,
    add1,
    keep2,
    add2,
    root,
    root_before,
    eps,
    carry,
    WEIGHT: tl.constexpr,
    FIRST: tl.constexpr,
    SECOND: tl.constexpr,
    GRADIENT: tl.constexpr,
    RULE: tl.constexpr,
    MAXIMIZE: tl.constexpr,
    CARRIES: tl.constexpr,
    DYNAMIC: tl.constexpr,
    ROWS: tl.constexpr,
    SHARED_WORDS: tl.constexpr,
    ALIGNED: tl.constexpr,
):
    """Decode, step in float32 and encode one tile of one parameter.

    `WEIGHT`, `FIRST` and `SECOND` are (kind, bits, rounding) of the codecs, kind "none" where a rule has no
    such moment. `DYNAMIC` says that the numbers of the step and its count lie in memory.
    """
    tile = tl.program_id(0).to(tl.int64)
    row = row_of_tile(table, tile, n_rows, n_halvings).to(tl.int64)
    at = table + row * _COLUMNS
    tile -= tl.load(at)
    n_blocks, length = tl.load(at + 1), tl.load(at + 2)
    if ALIGNED:
        length = tl.multiple_of(length, 16)
    start, where = positions(tile, n_blocks, length, ROWS, ALIGNED)
    start += tl.load(at + 3)
    seed, stream = tl.load(at + 4).to(tl.uint64), tl.load(at + 5)
    salt = tl.load(at + 6)
    numbers = tl.load(at + 14)
    if DYNAMIC:
        step = tl.load(steps + numbers)
    rate, decay = _number(dynamic, numbers, rate, DYNAMIC, 0), _number(dynamic, numbers, decay, DYNAMIC, 1)
    l2, eps = _number(dynamic, numbers, l2, DYNAMIC, 2), _number(dynamic, numbers, eps, DYNAMIC, 9)
    keep1, add1 = _number(dynamic, numbers, keep1, DYNAMIC, 3), _number(dynamic, numbers, add1, DYNAMIC, 4)
    keep2, add2 = _number(dynamic, numbers, keep2, DYNAMIC, 5), _number(dynamic, numbers, add2, DYNAMIC, 6)
    root, carry = _number(dynamic, numbers, root, DYNAMIC, 7), _number(dynamic, numbers, carry, DYNAMIC, 10)

    g = read_float(tl.load(at + 7), where, GRADIENT, ALIGNED)
    if MAXIMIZE:
        g = as_float(as_bits(g) ^ _SIGN)
    weight, first, second = _slot(at, 0), _slot(at, 1), _slot(at, 2)
    w = decode(weight, where, g, WEIGHT, ALIGNED)
    m, v, reference = g, g, g
    if SECOND[0] != "none":
        v = decode(second, where, g, SECOND, ALIGNED)
        if FIRST[0] == "ratio":
            reference = tl.sqrt_rn(v) * _number(dynamic, numbers, root_before, DYNAMIC, 8)
    if FIRST[0] != "none":
        m = decode(first, where, reference, FIRST, ALIGNED)

    w, m, v = _updated(w, g, m, v, rate, decay, l2, keep1, add1, keep2, add2, root, eps, RULE)

    draw = (start, seed, step, stream, salt)
    if SECOND[0] != "none":
        words = rounding_words(draw, SECOND, 2, SHARED_WORDS)
        v = encode(second, where, v, words, g, SECOND, ALIGNED)
        reference = tl.sqrt_rn(v) * root
    if FIRST[0] != "none":
        words = rounding_words(draw, FIRST, 1, SHARED_WORDS)
        stored = encode(first, where, m, words, reference, FIRST, ALIGNED)
        if CARRIES:
            if RULE == "adam":
                w = w - carry * tl.div_rn(m - stored, reference + eps)
            else:
                w = w - carry * (m - stored)
    words = rounding_words(draw, WEIGHT, 0, SHARED_WORDS)
    encode(weight, where, w, words, g, WEIGHT, ALIGNED)
