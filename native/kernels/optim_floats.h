// Storage in floats and in floats with a remainder: the twin of src/mezzotint/optim/floats.py, block by block.
// Included by native/kernels/*.cpp only.
#pragma once
#include "optim_words.h"

namespace mezzotint::MZ_NS {

typedef uint16_t Bits16 __attribute__((may_alias));
typedef int16_t Low16 __attribute__((may_alias));
typedef int8_t Low8 __attribute__((may_alias));
typedef float Wide __attribute__((may_alias));

MZ_INLINE uint32_t bits_of(float x) { return __builtin_bit_cast(uint32_t, x); }
MZ_INLINE float float_of(uint32_t bits) { return __builtin_bit_cast(float, bits); }
MZ_INLINE uint32_t size_bits(uint32_t bits) { return bits & 0x7FFFFFFFu; }

inline constexpr uint32_t infinity_bits = 0x7F800000u;

MZ_INLINE float widened(uint16_t high) { return float_of(static_cast<uint32_t>(high) << 16); }

// Adds `up` to the low half and cuts it off; NaN and infinity are kept.
MZ_INLINE uint16_t bfloat16_of(uint32_t bits, uint32_t up) {
  const uint32_t size = size_bits(bits);
  const uint32_t kept = size > infinity_bits ? bits | 0x400000u : size == infinity_bits ? bits : bits + up;
  return static_cast<uint16_t>(kept >> 16);
}
MZ_INLINE uint16_t nearest_bfloat16(float x) {
  const uint32_t bits = bits_of(x);
  return bfloat16_of(bits, ((bits >> 16) & 1) + 0x7FFFu);
}

// A product with 2^112 turns the exponent of float16 into that of float32, also where it is denormal.
MZ_INLINE float widened_float16(uint16_t half) {
  const uint32_t size = static_cast<uint32_t>(half & 0x7FFF) << 13, sign = static_cast<uint32_t>(half & 0x8000) << 16;
  const uint32_t scaled = bits_of(float_of(size) * 0x1p112f);
  return float_of((size >= 0x0F800000u ? size | infinity_bits : scaled) | sign);
}
// To nearest even. Below 2^-14 the sum with 1/2 rounds to multiples of 2^-24.
MZ_INLINE uint16_t nearest_float16(float x) {
  const uint32_t bits = bits_of(x), size = size_bits(bits), sign = (bits ^ size) >> 16;
  const uint32_t normal = (size - (112u << 23) + 0xFFFu + ((size >> 13) & 1)) >> 13;
  const uint32_t tiny = bits_of(float_of(size) + 0.5f) - bits_of(0.5f);
  const uint32_t finite = size < 0x38800000u ? tiny : normal;
  const uint32_t large = size > infinity_bits ? 0x7E00u : 0x7C00u;
  return static_cast<uint16_t>(sign | (size >= 0x477FF000u ? large : finite));
}

// What stands for a block: pointers to its components.
struct Stored {
  uint8_t* main;
  uint8_t* beside;
};

// ---- decode: components to float32 -------------------------------------------------------------------
inline void decode_float32(const SignedLevels&, const Stored& s, const float*, float* x) {
  const Wide* in = reinterpret_cast<const Wide*>(s.main);
  MZ_EACH(i) x[i] = in[i];
}
inline void decode_float16(const SignedLevels&, const Stored& s, const float*, float* x) {
  const Bits16* in = reinterpret_cast<const Bits16*>(s.main);
  MZ_EACH(i) x[i] = widened_float16(in[i]);
}
inline void decode_bfloat16(const SignedLevels&, const Stored& s, const float*, float* x) {
  const Bits16* in = reinterpret_cast<const Bits16*>(s.main);
  MZ_EACH(i) x[i] = widened(in[i]);
}
inline void decode_pair(const SignedLevels&, const Stored& s, const float*, float* x) {
  const Bits16 *high = reinterpret_cast<const Bits16*>(s.main), *low = reinterpret_cast<const Bits16*>(s.beside);
  MZ_EACH(i) x[i] = widened(high[i]) + widened(low[i]);
}
template <class Low, int DROPPED>
inline void decode_remainder(const SignedLevels&, const Stored& s, const float*, float* x) {
  const Bits16* high = reinterpret_cast<const Bits16*>(s.main);
  const Low* low = reinterpret_cast<const Low*>(s.beside);
  MZ_EACH(i) x[i] = float_of((static_cast<uint32_t>(high[i]) << 16) + (static_cast<uint32_t>(int32_t{low[i]}) << DROPPED));
}
inline void decode_master(const SignedLevels&, const Stored& s, const float*, float* x) {
  const Wide* in = reinterpret_cast<const Wide*>(s.beside);
  MZ_EACH(i) x[i] = in[i];
}

// ---- encode: float32 to components, and what can be read back -------------------------------------------
struct Encoding {
  const SignedLevels& levels;
  Stored to;
  const uint32_t* words;   // 2^31 everywhere where rounding is to nearest
  const float* reference;  // of ratio codes
  int count;               // elements of the block that exist
};

inline void encode_float32(const Encoding& e, const float* x, float* back) {
  Wide* out = reinterpret_cast<Wide*>(e.to.main);
  MZ_EACH(i) {
    out[i] = x[i];
    back[i] = x[i];
  }
}
inline void encode_float16(const Encoding& e, const float* x, float* back) {
  Bits16* out = reinterpret_cast<Bits16*>(e.to.main);
  MZ_EACH(i) {
    const uint16_t half = nearest_float16(x[i]);
    out[i] = half;
    back[i] = widened_float16(half);
  }
}
template <bool NEAREST>
inline void encode_bfloat16(const Encoding& e, const float* x, float* back) {
  Bits16* out = reinterpret_cast<Bits16*>(e.to.main);
  const uint32_t* words = e.words;
  MZ_EACH(i) {
    const uint16_t high = NEAREST ? nearest_bfloat16(x[i]) : bfloat16_of(bits_of(x[i]), words[i] >> 16);
    out[i] = high;
    back[i] = widened(high);
  }
}
inline void encode_pair(const Encoding& e, const float* x, float* back) {
  Bits16 *high = reinterpret_cast<Bits16*>(e.to.main), *low = reinterpret_cast<Bits16*>(e.to.beside);
  MZ_EACH(i) {
    const uint16_t main = nearest_bfloat16(x[i]);
    const float wide = widened(main);
    const uint16_t rest = nearest_bfloat16(size_bits(bits_of(wide)) < infinity_bits ? x[i] - wide : 0.0f);
    high[i] = main;
    low[i] = rest;
    back[i] = wide + widened(rest);
  }
}
// The nearest bfloat16 (of two, that of larger size) and the bits that it leaves, as a signed integer.
template <class Low, int DROPPED>
inline void encode_remainder(const Encoding& e, const float* x, float* back) {
  Bits16* high = reinterpret_cast<Bits16*>(e.to.main);
  Low* low = reinterpret_cast<Low*>(e.to.beside);
  const uint32_t* words = e.words;
  MZ_EACH(i) {
    const uint32_t bits = bits_of(x[i]), up = DROPPED ? words[i] >> (DROPPED ? 32 - DROPPED : 0) : 0;
    const uint32_t kept = (bits + up) & ~((1u << DROPPED) - 1);
    const bool finite = size_bits(bits) < infinity_bits;
    const uint32_t top = finite ? (kept + 0x8000u) >> 16 : nearest_bfloat16(x[i]);
    const int32_t rest = finite ? static_cast<int32_t>(kept - (top << 16)) >> DROPPED : 0;
    high[i] = static_cast<uint16_t>(top);
    low[i] = static_cast<Low>(rest);
    back[i] = float_of((top << 16) + (static_cast<uint32_t>(rest) << DROPPED));
  }
}
template <bool BFLOAT16>
inline void encode_master(const Encoding& e, const float* x, float* back) {
  Bits16* visible = reinterpret_cast<Bits16*>(e.to.main);
  Wide* master = reinterpret_cast<Wide*>(e.to.beside);
  MZ_EACH(i) {
    visible[i] = BFLOAT16 ? nearest_bfloat16(x[i]) : nearest_float16(x[i]);
    master[i] = x[i];
    back[i] = x[i];
  }
}

}  // namespace mezzotint::MZ_NS
