// Random bits of a step: Philox4x32-10 (philox.h, mezzotint/random.py) on sixteen blocks at a time.
// Included by native/kernels/halp.cpp, once per instruction set.
#pragma once
#include "halp.h"
#include "vec.h"

namespace mezzotint::MZ_NS {

using U32 = Vec<uint32_t>;

MZ_INLINE U32 exclusive_or(const U32& a, const U32& b) {
  U32 out;
  using T = uint32_t;
  MZ_EACH_PART(i) out.part[i] = a.part[i] ^ b.part[i];
  return out;
}

// The high and low words of a * factor.
MZ_INLINE void multiply_wide(const U32& a, uint32_t factor, U32& high, U32& low) {
#if defined(MZ_ISA_avx512)
  const __m512i x = (__m512i)a.part[0], f = _mm512_set1_epi64(factor);
  const __m512i even = _mm512_mul_epu32(x, f), odd = _mm512_mul_epu32(_mm512_srli_epi64(x, 32), f);
  low.part[0] = (U32::Part)_mm512_mask_blend_epi32(0xAAAA, even, _mm512_slli_epi64(odd, 32));
  high.part[0] = (U32::Part)_mm512_mask_blend_epi32(0xAAAA, _mm512_srli_epi64(even, 32), odd);
#elif defined(MZ_ISA_avx2)
  const __m256i f = _mm256_set1_epi64x(factor);
  for (int i = 0; i < 2; i++) {
    const __m256i x = (__m256i)a.part[i];
    const __m256i even = _mm256_mul_epu32(x, f), odd = _mm256_mul_epu32(_mm256_srli_epi64(x, 32), f);
    low.part[i] = (U32::Part)_mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA);
    high.part[i] = (U32::Part)_mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA);
  }
#else
  uint32_t words[2][16], in[16];
  store(in, a);
  for (int l = 0; l < 16; l++) {
    const uint64_t product = static_cast<uint64_t>(in[l]) * factor;
    words[0][l] = static_cast<uint32_t>(product);
    words[1][l] = static_cast<uint32_t>(product >> 32);
  }
  low = load(words[0]);
  high = load(words[1]);
#endif
}

// words[k]: word k of blocks 16 * group ... 16 * group + 15.
MZ_INLINE void sixteen_blocks(const HalpBits& bits, uint32_t group, U32 words[4]) {
  static const uint32_t count[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  U32 c0 = broadcast<uint32_t>(16 * group) + load(count), c1 = zero<uint32_t>();
  U32 c2 = broadcast(bits.step), c3 = broadcast(bits.stream);
  uint32_t key0 = static_cast<uint32_t>(bits.seed), key1 = static_cast<uint32_t>(bits.seed >> 32);
  for (int round = 0; round < 10; round++) {
    U32 high0, low0, high1, low1;
    multiply_wide(c0, 0xD2511F53u, high0, low0);
    multiply_wide(c2, 0xCD9E8D57u, high1, low1);
    c0 = exclusive_or(exclusive_or(high1, c1), broadcast(key0));
    c2 = exclusive_or(exclusive_or(high0, c3), broadcast(key1));
    c1 = low1;
    c3 = low0;
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  words[0] = c0;
  words[1] = c1;
  words[2] = c2;
  words[3] = c3;
}

MZ_INLINE F32 as_floats(const U32& v) {
  F32 out;
  using T = float;
  typedef int32_t Signed __attribute__((vector_size(part_bytes)));
  MZ_EACH_PART(i) out.part[i] = __builtin_convertvector((Signed)v.part[i], Vec<float>::Part);
  return out;
}

// Uniform numbers (r + 1/2) / 2^16 from the low (half 0) or high 16 bits of each word.
template <int half>
MZ_INLINE F32 uniforms(U32 word) {
  using T = uint32_t;
  MZ_EACH_PART(i) word.part[i] = half ? word.part[i] >> 16 : word.part[i] & 0xFFFFu;
  return (as_floats(word) + broadcast(0.5f)) * broadcast(0x1p-16f);
}

}  // namespace mezzotint::MZ_NS
