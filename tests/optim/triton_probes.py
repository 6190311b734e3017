"""Kernels that show what parts of the step compute; imported where Triton is there."""

import triton
import triton.language as tl

from mezzotint.optim._triton_codecs import level
from mezzotint.optim._triton_kernels import positions, row_of_tile


@triton.jit
def show_positions(out, tile, n_blocks, length, ROWS: tl.constexpr):
    where = positions(tile, n_blocks, length, ROWS, False)[1]
    tl.store(out, tl.min(tl.min(tl.where(where[1], where[0], 0x7FFFFFFFFFFFFFFF), axis=1), axis=0))
    tl.store(out + 1, tl.max(tl.max(tl.where(where[1], where[0], -1), axis=1), axis=0))
    tl.store(out + 2, tl.max(tl.max(tl.where(where[3], where[2], -1), axis=1), axis=0))


@triton.jit
def show_row_of_tile(out, table, n_rows, n_halvings):
    tile = tl.program_id(0).to(tl.int64)
    tl.store(out + tile, row_of_tile(table, tile, n_rows, n_halvings))


@triton.jit
def show_levels(out, KIND: tl.constexpr, BITS: tl.constexpr):
    code = tl.arange(0, 2**BITS)
    tl.store(out + code, level(code, KIND, BITS))
