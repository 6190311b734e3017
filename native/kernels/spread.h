// Small integers of sixteen columns, laid out so that a row group of codes meets them with one product (halp.h).
// Included by native/kernels/*.cpp, once per instruction set.
#pragma once
#include "vec.h"

namespace mezzotint::MZ_NS {

// Sixteen integers of one signed byte each: z gets 64 bytes, four columns repeated for each of four rows.
MZ_INLINE void spread_out(const int32_t* integers, int8_t* z) {
#if defined(MZ_ISA_avx512)
  const __m512i bytes = _mm512_castsi128_si512(_mm512_cvtepi32_epi8(_mm512_loadu_si512(integers)));
  const __m512i order = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
  _mm512_storeu_si512(z, _mm512_permutexvar_epi32(order, bytes));
#else
  for (int t = 0; t < 4; t++) {
    int8_t four[4];
    for (int b = 0; b < 4; b++) four[b] = static_cast<int8_t>(integers[4 * t + b]);
    for (int r = 0; r < 4; r++) std::memcpy(z + 16 * t + 4 * r, four, 4);
  }
#endif
}

}  // namespace mezzotint::MZ_NS
