// Sixteen floats: comparisons and rounding, lane by lane.
// Included by native/kernels/*.cpp, once per instruction set.
#pragma once
#include "vec.h"

namespace mezzotint::MZ_NS {

MZ_INLINE F32 smaller(const F32& a, const F32& b) {  // b's NaN stays
  using T = float;
  F32 out;
  MZ_EACH_PART(i) out.part[i] = a.part[i] < b.part[i] ? a.part[i] : b.part[i];
  return out;
}
MZ_INLINE F32 larger(const F32& a, const F32& b) {
  using T = float;
  F32 out;
  MZ_EACH_PART(i) out.part[i] = a.part[i] > b.part[i] ? a.part[i] : b.part[i];
  return out;
}

MZ_INLINE float largest_lane(const F32& v) {
  float lanes[16];
  store(lanes, v);
  for (int half = 8; half > 0; half /= 2)
    for (int l = 0; l < half; l++) lanes[l] = lanes[l] < lanes[l + half] ? lanes[l + half] : lanes[l];
  return lanes[0];
}

MZ_INLINE F32 round_down(const F32& v) {
  F32 out;
#if defined(MZ_ISA_avx512)
  out.part[0] = _mm512_roundscale_ps(v.part[0], _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
#elif defined(MZ_ISA_avx2)
  for (int i = 0; i < 2; i++) out.part[i] = _mm256_floor_ps(v.part[i]);
#else
  for (int l = 0; l < 16; l++) out.part[l / 4][l % 4] = __builtin_floorf(v.part[l / 4][l % 4]);
#endif
  return out;
}

}  // namespace mezzotint::MZ_NS
