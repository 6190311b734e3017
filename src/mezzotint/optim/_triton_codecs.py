"""Codecs of `mezzotint.optim.codecs` inside Triton kernels: read a tile; round, write and read back.

A tile is a matrix (blocks, 128); each of its rows lies within one row of the parameter. `where` is what
`positions` gives: offsets and mask of its elements, of its half bytes, and of its blocks. `parts` are the
addresses of the main component and of the other one; `CODEC` is the codec's
kind, bits and rounding.

Every float operation is the one that the eager codec makes, in its order: division and root are the IEEE
ones, and casts to bfloat16 are integer arithmetic, for Triton's own truncate on some targets. Imported on the
first launch only: Triton comes with torch's builds for GPUs and is no dependency of ours.
"""

from __future__ import annotations

import triton
import triton.language as tl

from mezzotint.optim.bits import DITHER_STRIDES, WORD_TURNS
from mezzotint.optim.codecs import BLOCK, RATIO_LIMIT, LogCodes

__all__ = ["as_bits", "as_float", "decode", "encode", "level", "pointer", "read_float", "rounding_words"]

_BLOCK = tl.constexpr(BLOCK)
_RATIO_LIMIT = tl.constexpr(RATIO_LIMIT)
_STRIDE_0 = tl.constexpr(DITHER_STRIDES[0])
_STRIDE_1 = tl.constexpr(DITHER_STRIDES[1])
_STRIDE_2 = tl.constexpr(DITHER_STRIDES[2])
_TURN_1 = tl.constexpr(WORD_TURNS[1])
_TURN_2 = tl.constexpr(WORD_TURNS[2])
_LOG_STRIDE_8 = tl.constexpr(LogCodes(8).levels.stride)
_LOG_STRIDE_4 = tl.constexpr(LogCodes(4).levels.stride)
_ONE_BITS = tl.constexpr(0x3F800000)
_INFINITY = tl.constexpr(0x7F800000)
_MAGNITUDE = tl.constexpr(0x7FFFFFFF)


@triton.jit
def as_bits(x):
    """View float32 as int32."""
    return x.to(tl.int32, bitcast=True)


@triton.jit
def as_float(bits):
    """View int32 as float32."""
    return bits.to(tl.float32, bitcast=True)


@triton.jit
def pointer(address, TYPE: tl.constexpr, ALIGNED: tl.constexpr):
    """Make a pointer of an address; an aligned one is a multiple of 16 bytes, so loads are wide."""
    made = address.to(tl.pointer_type(TYPE))
    if ALIGNED:
        made = tl.multiple_of(made, 16)
    return made


# ---------------------------------------------------------------------- random words


@triton.jit
def _mixed(x):
    """Scramble uint32 by the finaliser of MurmurHash3."""
    x = (x ^ (x >> 16)) * tl.full((1,), 0x85EBCA6B, tl.uint32)
    x = (x ^ (x >> 13)) * tl.full((1,), 0xC2B2AE35, tl.uint32)
    return x ^ (x >> 16)


@triton.jit
def _philox(block, seed, step, stream):
    """Draw the four words of each block of a stream."""
    low = (block & 0xFFFFFFFF).to(tl.uint32)
    high = (block >> 32).to(tl.uint32)
    zero = tl.zeros_like(low)
    return tl.philox(seed, low, high, zero + step.to(tl.uint32), zero + stream.to(tl.uint32))


@triton.jit
def _stochastic_words(start, seed, step, stream, ALIGNED: tl.constexpr):
    """Draw the words of 128 elements from each start; aligned starts share a block between four elements."""
    if ALIGNED:
        block = start[:, None] // 4 + tl.arange(0, _BLOCK // 4)[None, :]
        a, b, c, d = _philox(block, seed, step, stream)
        words = tl.interleave(tl.interleave(a, c), tl.interleave(b, d))
    else:
        element = start[:, None] + tl.arange(0, _BLOCK)[None, :]
        a, b, c, d = _philox(element // 4, seed, step, stream)
        lane = element % 4
        words = tl.where(lane < 2, tl.where(lane == 0, a, b), tl.where(lane == 2, c, d))
    return words


@triton.jit
def _phases(start, salt):
    """Give the phases of dithering of 128 elements from each start."""
    element = start[:, None] + tl.arange(0, _BLOCK)[None, :]
    golden = tl.full((1,), _STRIDE_0, tl.uint32)
    low = (element & 0xFFFFFFFF).to(tl.uint32)
    x = low ^ ((element >> 32).to(tl.uint32) * golden) ^ salt.to(tl.uint32)
    return _mixed(x)


@triton.jit
def _turned(words, SLOT: tl.constexpr):
    """Rotate uint32 words for a slot."""
    if SLOT != 0:
        turn: tl.constexpr = _TURN_1 if SLOT == 1 else _TURN_2
        back: tl.constexpr = 32 - turn
        words = (words << turn) | (words >> back)
    return words


@triton.jit
def rounding_words(draw, CODEC: tl.constexpr, SLOT: tl.constexpr, ALIGNED: tl.constexpr):
    """Draw uint32 words (blocks, 128) for a slot; rounding to nearest uses none."""
    start, seed, step, stream, salt = draw
    if CODEC[2] == "stochastic":
        words = _turned(_stochastic_words(start, seed, step, stream, ALIGNED), SLOT)
    elif CODEC[2] == "dithered":
        stride: tl.constexpr = _STRIDE_0 if SLOT == 0 else (_STRIDE_1 if SLOT == 1 else _STRIDE_2)
        words = _turned(_phases(start, salt), SLOT)
        words = words + step.to(tl.uint32) * tl.full((1,), stride, tl.uint32)
    else:
        words = tl.zeros((1, 1), tl.uint32)
    return words


# ---------------------------------------------------------------------- floats


@triton.jit
def _widened(high):
    """Widen the bits of bfloat16, in int16."""
    return as_float(high.to(tl.int32) << 16)


@triton.jit
def _bf16_bits(x, words, ROUNDING: tl.constexpr):
    """Round to the bits of a bfloat16, in int16; NaN and infinity stay what they are."""
    bits = as_bits(x)
    size = bits & _MAGNITUDE
    if ROUNDING == "nearest":
        up = ((bits >> 16) & 1) + 0x7FFF
    else:
        up = (words >> 16).to(tl.int32)
    kept = tl.where(size > _INFINITY, bits | 0x400000, tl.where(size == _INFINITY, bits, bits + up))
    return (kept >> 16).to(tl.int16)


@triton.jit
def _split(x, words, BITS: tl.constexpr, ROUNDING: tl.constexpr):
    """Split into the bits of a bfloat16 and a remainder of 8 or 16 bits."""
    bits = as_bits(x)
    kept = bits
    if BITS == 8:
        if ROUNDING == "nearest":
            kept = (bits + 128) & ~255
        else:
            kept = (bits + (words >> 24).to(tl.int32)) & ~255
    high = (kept + 0x8000) >> 16
    low = (kept - (high << 16)) >> (16 - BITS)
    finite = (bits & _MAGNITUDE) < _INFINITY
    high = tl.where(finite, high.to(tl.int16), _bf16_bits(x, words, "nearest"))
    return high, tl.where(finite, low, 0)


@triton.jit
def _pair(x):
    """Split into the bits of two bfloat16 whose sum is the number."""
    high = _bf16_bits(x, x, "nearest")
    wide = _widened(high)
    finite = (as_bits(wide) & _MAGNITUDE) < _INFINITY
    return high, _bf16_bits(tl.where(finite, x - wide, 0.0), x, "nearest")


@triton.jit
def read_float(address, where, TYPE: tl.constexpr, ALIGNED: tl.constexpr):
    """Read float32, float16 or bfloat16 as float32."""
    offset, mask = where[0], where[1]
    if TYPE == "float32":
        x = tl.load(pointer(address, tl.float32, ALIGNED) + offset, mask=mask, other=0.0)
    elif TYPE == "float16":
        x = tl.load(pointer(address, tl.float16, ALIGNED) + offset, mask=mask, other=0.0).to(tl.float32)
    else:
        x = _widened(tl.load(pointer(address, tl.int16, ALIGNED) + offset, mask=mask, other=0))
    return x


# ---------------------------------------------------------------------- levels


@triton.jit
def _fraction_exceeds(x, low, high, words, ROUNDING: tl.constexpr):
    """Say which elements go to the upper neighbour."""
    fraction = tl.div_rn(x - low, high - low)
    if ROUNDING == "nearest":
        up = fraction > 0.5
    else:
        up = (words >> 8).to(tl.float32) * 5.9604644775390625e-08 < fraction
    return up


@triton.jit
def _signed_level(code, TOP: tl.constexpr, LIMIT: tl.constexpr):
    """Give a level of `SignedLevels`: numerator and denominator are exact, so one division rounds it."""
    place = (2 * code - TOP).to(tl.float32)
    return tl.div_rn(place * (LIMIT * 0.5), 1.5 * TOP - tl.abs(place))


@triton.jit
def _signed_codes(x, words, TOP: tl.constexpr, LIMIT: tl.constexpr, ROUNDING: tl.constexpr):
    """Round to codes, and give their levels."""
    x = tl.where(x > LIMIT, LIMIT, tl.where(x < -LIMIT, -LIMIT, x))
    size = tl.abs(x)
    y = tl.div_rn(size * 1.5, size + LIMIT * 0.5)
    y = as_float(as_bits(y) | (as_bits(x) & ~_MAGNITUDE))
    place = (y + 1.0) * (TOP * 0.5)
    code = tl.where(place == place, place, 0.0).to(tl.int32)
    code = tl.minimum(tl.maximum(code, 0), TOP - 1)
    low, high = _signed_level(code, TOP, LIMIT), _signed_level(code + 1, TOP, LIMIT)
    up = _fraction_exceeds(x, low, high, words, ROUNDING)
    return tl.where(up, code + 1, code), tl.where(up, high, low)


@triton.jit
def _log_level(code, TOP: tl.constexpr, STRIDE: tl.constexpr):
    """Give a level of `LogLevels`."""
    return as_float(code * STRIDE + (_ONE_BITS - TOP * STRIDE))


@triton.jit
def _log_codes(x, words, TOP: tl.constexpr, STRIDE: tl.constexpr, ROUNDING: tl.constexpr):
    """Round to codes, and give their levels."""
    above = tl.maximum(as_bits(x) - (_ONE_BITS - TOP * STRIDE), 0)
    code = tl.minimum(above // STRIDE, TOP - 1)
    low, high = _log_level(code, TOP, STRIDE), _log_level(code + 1, TOP, STRIDE)
    up = _fraction_exceeds(x, low, high, words, ROUNDING)
    return tl.where(up, code + 1, code), tl.where(up, high, low)


@triton.jit
def level(code, KIND: tl.constexpr, BITS: tl.constexpr):
    """Give levels of codes."""
    if KIND == "log":
        x = _log_level(code, 2**BITS - 1, _LOG_STRIDE_8 if BITS == 8 else _LOG_STRIDE_4)
    elif KIND == "block":
        x = _signed_level(code, 2**BITS - 1, 1.0)
    else:
        x = _signed_level(code, 2**BITS - 1, _RATIO_LIMIT)
    return x


@triton.jit
def _codes(x, words, KIND: tl.constexpr, BITS: tl.constexpr, ROUNDING: tl.constexpr):
    """Round to codes, and give their levels."""
    if KIND == "log":
        stride: tl.constexpr = _LOG_STRIDE_8 if BITS == 8 else _LOG_STRIDE_4
        code, stored = _log_codes(x, words, 2**BITS - 1, stride, ROUNDING)
    elif KIND == "block":
        code, stored = _signed_codes(x, words, 2**BITS - 1, 1.0, ROUNDING)
    else:
        code, stored = _signed_codes(x, words, 2**BITS - 1, _RATIO_LIMIT, ROUNDING)
    return code, stored


@triton.jit
def _read_codes(address, where, BITS: tl.constexpr, ALIGNED: tl.constexpr):
    """Read codes as int32, two from a byte if they have 4 bits."""
    offset, mask = where[0], where[1]
    half, half_mask = where[2], where[3]
    at = pointer(address, tl.uint8, ALIGNED)
    if BITS == 8:
        code = tl.load(at + offset, mask=mask, other=0).to(tl.int32)
    else:
        packed = tl.load(at + half, mask=half_mask, other=0).to(tl.int32)
        code = tl.interleave(packed & 15, packed >> 4)
    return code


@triton.jit
def _write_codes(address, where, code, BITS: tl.constexpr, ALIGNED: tl.constexpr):
    """Write codes; the upper half of an odd row's last byte is 0."""
    offset, mask = where[0], where[1]
    half, half_mask = where[2], where[3]
    at = pointer(address, tl.uint8, ALIGNED)
    if BITS == 8:
        tl.store(at + offset, code.to(tl.uint8), mask=mask)
    else:
        kept = tl.where(mask, code, 0)
        low, high = tl.split(tl.reshape(kept, (kept.shape[0], kept.shape[1] // 2, 2)))
        tl.store(at + half, (low | (high << 4)).to(tl.uint8), mask=half_mask)


# ---------------------------------------------------------------------- codecs


@triton.jit
def decode(parts, where, reference, CODEC: tl.constexpr, ALIGNED: tl.constexpr):
    """Read the float32 values (blocks, 128) that the components at two addresses stand for."""
    main, extra = parts[0], parts[1]
    KIND: tl.constexpr = CODEC[0]
    BITS: tl.constexpr = CODEC[1]
    if KIND == "master":
        x = read_float(extra, where, "float32", ALIGNED)
    elif KIND == "pair":
        x = read_float(main, where, "bfloat16", ALIGNED) + read_float(extra, where, "bfloat16", ALIGNED)
    elif KIND == "remainder":
        low_type: tl.constexpr = tl.int8 if BITS == 8 else tl.int16
        high = tl.load(pointer(main, tl.int16, ALIGNED) + where[0], mask=where[1], other=0).to(tl.int32)
        low = tl.load(pointer(extra, low_type, ALIGNED) + where[0], mask=where[1], other=0).to(tl.int32)
        x = as_float((high << 16) + (low << (16 - BITS)))
    elif KIND == "ratio":
        x = level(_read_codes(main, where, BITS, ALIGNED), KIND, BITS) * reference
    elif KIND == "log" or KIND == "block":
        scale = tl.load(pointer(extra, tl.float32, ALIGNED) + where[4], mask=where[5], other=0.0)
        x = level(_read_codes(main, where, BITS, ALIGNED), KIND, BITS) * scale[:, None]
    else:
        x = read_float(main, where, KIND, ALIGNED)
    return x


@triton.jit
def encode(parts, where, x, words, reference, CODEC: tl.constexpr, ALIGNED: tl.constexpr):
    """Round float32 values into the components at two addresses, and give what can be read back."""
    if CODEC[0] == "ratio" or CODEC[0] == "log" or CODEC[0] == "block":
        stored = _encode_codes(parts, where, x, words, reference, CODEC, ALIGNED)
    else:
        stored = _encode_floats(parts, where, x, words, CODEC, ALIGNED)
    return stored


@triton.jit
def _encode_codes(parts, where, x, words, reference, CODEC: tl.constexpr, ALIGNED: tl.constexpr):
    """Write codes in units of the reference, or of the largest size of the block."""
    unit = reference
    if CODEC[0] != "ratio":
        scale = _block_scale(x, where[1])
        tl.store(pointer(parts[1], tl.float32, ALIGNED) + where[4], scale, mask=where[5])
        unit = scale[:, None]
    normalised = tl.where(unit == 0, 0.0, tl.div_rn(x, unit))
    code, units = _codes(normalised, words, CODEC[0], CODEC[1], CODEC[2])
    _write_codes(parts[0], where, code, CODEC[1], ALIGNED)
    return units * unit


@triton.jit
def _block_scale(x, mask):
    """Give the largest size of each block; as integers, so that NaN counts as the largest."""
    return as_float(tl.max(tl.where(mask, as_bits(x) & _MAGNITUDE, 0), axis=1))


@triton.jit
def _encode_floats(parts, where, x, words, CODEC: tl.constexpr, ALIGNED: tl.constexpr):
    """Write codecs of floats, and give what can be read back."""
    main, extra, offset, mask = parts[0], parts[1], where[0], where[1]
    KIND: tl.constexpr = CODEC[0]
    BITS: tl.constexpr = CODEC[1]
    stored = x
    if KIND == "float32":
        tl.store(pointer(main, tl.float32, ALIGNED) + offset, x, mask=mask)
    elif KIND == "master":
        _write_half(main, where, x, words, "float16" if BITS == 16 else "bfloat16", "nearest", ALIGNED)
        tl.store(pointer(extra, tl.float32, ALIGNED) + offset, x, mask=mask)
    elif KIND == "pair":
        high, low = _pair(x)
        tl.store(pointer(main, tl.int16, ALIGNED) + offset, high, mask=mask)
        tl.store(pointer(extra, tl.int16, ALIGNED) + offset, low, mask=mask)
        stored = _widened(high) + _widened(low)
    elif KIND == "remainder":
        low_type: tl.constexpr = tl.int8 if BITS == 8 else tl.int16
        high, low = _split(x, words, BITS, CODEC[2])
        tl.store(pointer(main, tl.int16, ALIGNED) + offset, high, mask=mask)
        tl.store(pointer(extra, low_type, ALIGNED) + offset, low.to(low_type), mask=mask)
        stored = as_float((high.to(tl.int32) << 16) + (low << (16 - BITS)))
    else:
        stored = _write_half(main, where, x, words, KIND, CODEC[2], ALIGNED)
    return stored


@triton.jit
def _write_half(address, where, x, words, TYPE: tl.constexpr, ROUNDING: tl.constexpr, ALIGNED: tl.constexpr):
    """Round to 16 bits, write, and give what was written."""
    offset, mask = where[0], where[1]
    if TYPE == "float16":
        rounded = x.to(tl.float16)
        tl.store(pointer(address, tl.float16, ALIGNED) + offset, rounded, mask=mask)
        stored = rounded.to(tl.float32)
    else:
        bits = _bf16_bits(x, words, ROUNDING)
        tl.store(pointer(address, tl.int16, ALIGNED) + offset, bits, mask=mask)
        stored = _widened(bits)
    return stored
