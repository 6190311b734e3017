// Storage in floats and in floats with a remainder: the twin of src/mezzotint/optim/floats.py, block by block.
// Included by native/kernels/*.cpp only.
#pragma once
#include "optim_words.h"

namespace mezzotint::MZ_NS {

typedef uint16_t Bits16 __attribute__((may_alias));
typedef float Wide __attribute__((may_alias));

MZ_INLINE uint32_t bits_of(float x) { return __builtin_bit_cast(uint32_t, x); }
MZ_INLINE float float_of(uint32_t bits) { return __builtin_bit_cast(float, bits); }
MZ_INLINE uint32_t size_bits(uint32_t bits) { return bits & 0x7FFFFFFFu; }

inline constexpr uint32_t infinity_bits = 0x7F800000u;

MZ_INLINE float widened(uint16_t high) { return float_of(static_cast<uint32_t>(high) << 16); }

// Rounds to bfloat16: adds `up` to the low half and cuts it off. NaN is kept; infinity has no low bits that could carry.
MZ_INLINE float cut(float x, uint32_t up) {
  const uint32_t kept = x == x ? bits_of(x) + up : bits_of(x) | 0x400000u;
  return float_of(kept & 0xFFFF0000u);
}
MZ_INLINE uint32_t half_up(float x) { return ((bits_of(x) >> 16) & 1) + 0x7FFFu; }
MZ_INLINE float cut_to_nearest(float x) { return cut(x, half_up(x)); }
MZ_INLINE uint16_t upper_half(float x) { return static_cast<uint16_t>(bits_of(x) >> 16); }

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

// ---- storage of single elements: get one, put one; put gives back what can be read ------------------------
// A word is 2^31 where rounding is to nearest.
struct Float32Element {
  static MZ_INLINE float get(Stored s, int i) { return reinterpret_cast<const Wide*>(s.main)[i]; }
  static MZ_INLINE float put(Stored s, int i, float x, uint32_t) { return reinterpret_cast<Wide*>(s.main)[i] = x; }
};
struct Float16Element {
  static MZ_INLINE float get(Stored s, int i) { return widened_float16(reinterpret_cast<const Bits16*>(s.main)[i]); }
  static MZ_INLINE float put(Stored s, int i, float x, uint32_t) {
    return widened_float16(reinterpret_cast<Bits16*>(s.main)[i] = nearest_float16(x));
  }
};
template <bool NEAREST>
struct Bfloat16Element {
  static MZ_INLINE float get(Stored s, int i) { return widened(reinterpret_cast<const Bits16*>(s.main)[i]); }
  static MZ_INLINE float put(Stored s, int i, float x, uint32_t word) {
    const float high = NEAREST ? cut_to_nearest(x) : cut(x, word >> 16);
    reinterpret_cast<Bits16*>(s.main)[i] = upper_half(high);
    return high;
  }
};
struct PairElement {
  static MZ_INLINE float get(Stored s, int i) {
    return widened(reinterpret_cast<const Bits16*>(s.main)[i]) + widened(reinterpret_cast<const Bits16*>(s.beside)[i]);
  }
  static MZ_INLINE float put(Stored s, int i, float x, uint32_t) {
    const float high = cut_to_nearest(x), rest = size_bits(bits_of(high)) < infinity_bits ? x - high : 0.0f;
    const float low = float_of((bits_of(rest) + half_up(rest)) & 0xFFFF0000u);  // never NaN
    reinterpret_cast<Bits16*>(s.main)[i] = upper_half(high);
    reinterpret_cast<Bits16*>(s.beside)[i] = upper_half(low);
    return high + low;
  }
};
// The nearest bfloat16 (of two, that of larger size) and the bits that it leaves, as a signed integer.
template <int BITS>
struct LowBits {
  typedef int8_t Type __attribute__((may_alias));
};
template <>
struct LowBits<16> {
  typedef int16_t Type __attribute__((may_alias));
};
template <int BITS>
struct RemainderElement {
  using Low = typename LowBits<BITS>::Type;
  static constexpr int DROPPED = 16 - BITS;
  static MZ_INLINE float get(Stored s, int i) {
    const int32_t low = reinterpret_cast<const Low*>(s.beside)[i];
    return joined(static_cast<uint32_t>(reinterpret_cast<const Bits16*>(s.main)[i]) << 16, low);
  }
  static MZ_INLINE float put(Stored s, int i, float x, uint32_t word) {
    const uint32_t bits = bits_of(x), up = DROPPED ? word >> (DROPPED ? 32 - DROPPED : 0) : 0;
    const uint32_t kept = (bits + up) & ~((1u << DROPPED) - 1);
    const bool finite = size_bits(bits) < infinity_bits;
    const uint32_t high = finite ? (kept + 0x8000u) & 0xFFFF0000u : bits_of(cut(x, 0));
    const int32_t low = finite ? static_cast<int32_t>(kept - high) >> DROPPED : 0;
    reinterpret_cast<Bits16*>(s.main)[i] = static_cast<uint16_t>(high >> 16);
    reinterpret_cast<Low*>(s.beside)[i] = static_cast<Low>(low);
    return joined(high, low);
  }
  static MZ_INLINE float joined(uint32_t high, int32_t low) {
    return float_of(high + (static_cast<uint32_t>(low) << DROPPED));
  }
};
template <bool BFLOAT16>
struct MasterElement {
  static MZ_INLINE float get(Stored s, int i) { return reinterpret_cast<const Wide*>(s.beside)[i]; }
  static MZ_INLINE float put(Stored s, int i, float x, uint32_t) {
    reinterpret_cast<Bits16*>(s.main)[i] = BFLOAT16 ? upper_half(cut_to_nearest(x)) : nearest_float16(x);
    return reinterpret_cast<Wide*>(s.beside)[i] = x;
  }
};

// ---- blocks of elements ------------------------------------------------------------------------------------
struct Encoding {
  const SignedLevels& levels;
  Stored to;
  const uint32_t* words;   // 2^31 everywhere where rounding is to nearest
  const float* reference;  // of ratio codes
  int count;               // elements of the block that exist
};

template <class Element>
inline void decode_elements(const SignedLevels&, const Stored& from, const float*, float* x) {
  const Stored s = from;
  MZ_EACH(i) x[i] = Element::get(s, i);
}
// `back` is what can be read back.
template <class Element>
inline void encode_elements(const Encoding& e, const float* x, float* back) {
  const Stored s = e.to;
  const uint32_t* words = e.words;
  MZ_EACH(i) back[i] = Element::put(s, i, x[i], words[i]);
}

}  // namespace mezzotint::MZ_NS
