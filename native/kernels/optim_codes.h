// Storage in codes of 8 and 4 bits: the twin of src/mezzotint/optim/levels.py and of the code codecs, block by block.
// Included by native/kernels/*.cpp only.
#pragma once
#include "optim_floats.h"

namespace mezzotint::MZ_NS {

// Two codes of four bits share a byte, the first one its low half.
template <int BITS>
MZ_INLINE void unpack_codes(const uint8_t* packed, int32_t* code) {
  if constexpr (BITS == 8) {
    MZ_EACH(i) code[i] = packed[i];
  } else {
    for (int i = 0; i < optim_block / 2; i++) {
      code[2 * i] = packed[i] & 15;
      code[2 * i + 1] = packed[i] >> 4;
    }
  }
}
// `count` codes exist; what lies behind an odd one is 0.
template <int BITS>
MZ_INLINE void pack_codes(const int32_t* code, int count, uint8_t* packed) {
  if constexpr (BITS == 8) {
    MZ_EACH(i) packed[i] = static_cast<uint8_t>(code[i]);
  } else {
    for (int i = 0; i < optim_block / 2; i++) packed[i] = static_cast<uint8_t>(code[2 * i] | (code[2 * i + 1] << 4));
    if (count % 2) packed[count / 2] &= 15;
  }
}

// Above it in [0, 1), the upper neighbour is taken.
MZ_INLINE float threshold(uint32_t word) { return static_cast<float>(static_cast<int32_t>(word >> 8)) * 0x1p-24f; }

// Sizes compare as their bits do, and NaN is the largest.
MZ_INLINE float largest_size(const float* x, int count) {
  uint32_t largest = 0;
  if (count == optim_block) {
    for (int i = 0; i < optim_block; i++) {
      const uint32_t size = size_bits(bits_of(x[i]));
      largest = size > largest ? size : largest;
    }
  } else {
    for (int i = 0; i < count; i++) {
      const uint32_t size = size_bits(bits_of(x[i]));
      largest = size > largest ? size : largest;
    }
  }
  return float_of(largest);
}

// ---- logarithmic levels: equally spaced bit patterns up to that of 1 -----------------------------------
template <int BITS>
struct LogMap {
  static constexpr int32_t top = (1 << BITS) - 1;
  static constexpr int shift = BITS == 8 ? 18 : 21;  // neighbours are 3 << shift apart
  static constexpr int32_t lowest = 0x3F800000 - top * (3 << shift);
  static MZ_INLINE float level(int32_t code) { return float_of(static_cast<uint32_t>(code * (3 << shift) + lowest)); }
  // floor((bits - lowest) / (3 << shift)) within 0 .. top - 1; a third of n < 2^16 is (n * 0xAAAB) >> 17.
  static MZ_INLINE int32_t code_below(float x) {
    const int32_t above = static_cast<int32_t>(bits_of(x) - static_cast<uint32_t>(lowest));
    const uint32_t n = static_cast<uint32_t>(above > 0 ? above : 0) >> shift;
    const auto code = static_cast<int32_t>((n * 0xAAABu) >> 17);
    return code < top - 1 ? code : top - 1;
  }
};

template <int BITS>
inline void decode_log(const SignedLevels&, const Stored& s, const float*, float* x) {
  alignas(64) int32_t code[optim_block];
  unpack_codes<BITS>(s.main, code);
  const float scale = *reinterpret_cast<const Wide*>(s.beside);
  MZ_EACH(i) x[i] = LogMap<BITS>::level(code[i]) * scale;
}
template <int BITS>
inline void encode_log(const Encoding& e, const float* x, float* back) {
  using Map = LogMap<BITS>;
  alignas(64) int32_t code[optim_block];
  const float scale = largest_size(x, e.count);
  const uint32_t* words = e.words;
  MZ_EACH(i) {
    const float part = scale == 0 ? 0.0f : x[i] / scale;
    const int32_t below = Map::code_below(part);
    const float low = Map::level(below), high = Map::level(below + 1);
    const bool up = threshold(words[i]) < (part - low) / (high - low);
    code[i] = below + (up ? 1 : 0);
    back[i] = (up ? high : low) * scale;
  }
  pack_codes<BITS>(code, e.count, e.to.main);
  *reinterpret_cast<Wide*>(e.to.beside) = scale;
}

// ---- signed levels: one division each ----------------------------------------------------------------------
template <int BITS>
MZ_INLINE float signed_level(const SignedLevels& map, int32_t code) {
  constexpr int32_t top = (1 << BITS) - 1;
  const auto odd = static_cast<float>(2 * code - top);
  return (map.offset * odd) / (map.curve * top - float_of(size_bits(bits_of(odd))));
}
template <int BITS>
MZ_INLINE void signed_levels(const SignedLevels& levels, const int32_t* code, float* level) {
  const SignedLevels map = levels;
#if defined(MZ_ISA_avx512)
  if constexpr (BITS == 4) {  // all of them fit into a vector
    alignas(64) float table[16];
    for (int i = 0; i < 16; i++) table[i] = signed_level<BITS>(map, i);
    for (int i = 0; i < optim_block; i += 16) store(level + i, permuted(load(table), code + i));
    return;
  }
#endif
  MZ_EACH(i) level[i] = signed_level<BITS>(map, code[i]);
}

// Rounds x, in units of the scale, to codes; `back` gets their levels.
template <int BITS>
MZ_INLINE void encode_signed(const SignedLevels& levels, const uint32_t* words, float* x, int32_t* code, float* back) {
  constexpr int32_t top = (1 << BITS) - 1;
  const float limit = levels.limit, curve = levels.curve, offset = levels.offset;
  alignas(64) float low[optim_block], high[optim_block];
  alignas(64) int32_t next[optim_block];
  MZ_EACH(i) {
    const float held = x[i] < -limit ? -limit : x[i] > limit ? limit : x[i];
    const float size = float_of(size_bits(bits_of(held)));
    const float y = (curve * size) / (size + offset);
    const float place = (float_of(bits_of(y) | (bits_of(held) & 0x80000000u)) + 1.0f) * (top / 2.0f);
    const auto below = static_cast<int32_t>(place == place ? place : 0.0f);
    x[i] = held;
    code[i] = below < top - 1 ? below : top - 1;
    next[i] = code[i] + 1;
  }
  signed_levels<BITS>(levels, code, low);
  signed_levels<BITS>(levels, next, high);
  MZ_EACH(i) {
    const bool up = threshold(words[i]) < (x[i] - low[i]) / (high[i] - low[i]);
    code[i] = up ? next[i] : code[i];
    back[i] = up ? high[i] : low[i];
  }
}

template <int BITS>
inline void decode_signed(const SignedLevels& levels, const Stored& s, const float*, float* x) {
  alignas(64) int32_t code[optim_block];
  unpack_codes<BITS>(s.main, code);
  signed_levels<BITS>(levels, code, x);
  const float scale = *reinterpret_cast<const Wide*>(s.beside);
  MZ_EACH(i) x[i] = x[i] * scale;
}
template <int BITS>
inline void encode_scaled(const Encoding& e, const float* x, float* back) {
  alignas(64) int32_t code[optim_block];
  alignas(64) float part[optim_block];
  const float scale = largest_size(x, e.count);
  MZ_EACH(i) part[i] = scale == 0 ? 0.0f : x[i] / scale;
  encode_signed<BITS>(e.levels, e.words, part, code, back);
  MZ_EACH(i) back[i] = back[i] * scale;
  pack_codes<BITS>(code, e.count, e.to.main);
  *reinterpret_cast<Wide*>(e.to.beside) = scale;
}

template <int BITS>
inline void decode_ratio(const SignedLevels& levels, const Stored& s, const float* reference, float* x) {
  alignas(64) int32_t code[optim_block];
  unpack_codes<BITS>(s.main, code);
  signed_levels<BITS>(levels, code, x);
  MZ_EACH(i) x[i] = x[i] * reference[i];
}
template <int BITS>
inline void encode_ratio(const Encoding& e, const float* x, float* back) {
  alignas(64) int32_t code[optim_block];
  alignas(64) float part[optim_block];
  const float* reference = e.reference;
  MZ_EACH(i) part[i] = reference[i] == 0 ? 0.0f : x[i] / reference[i];
  encode_signed<BITS>(e.levels, e.words, part, code, back);
  MZ_EACH(i) back[i] = back[i] * reference[i];
  pack_codes<BITS>(code, e.count, e.to.main);
}

}  // namespace mezzotint::MZ_NS
