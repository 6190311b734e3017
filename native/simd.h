// 64-byte integer vectors: four lanes, each a tile of 4 x 4 codes (or of 4 sums), and what packed products do with them.
//
// One section per instruction set, the same functions in each, the same integers from each. Included by files in
// native/kernels/ only; everything lies in MZ_NS, so that no two instruction sets share a function.
//
//   Bytes, Sums            64 bytes; 16 int32
//   load, splat            64 bytes from anywhere; the same 4 bytes 16 times
//   half<BITS, H>(x)       codes of 8 bits as they are, or nibble H (0 low, 1 high) of each byte
//   dot<BITS>(s, u, v)     s_i += sum of 4 products u (codes, unsigned) x v (signed), exact
//   transposed(x)          every tile transposed
//   sum_tiles(s0..s3)      16 row sums out of four vectors, each with four partial sums of the same 4 rows
//   tiles(rows), store     16 bytes of each of 4 rows -> four tiles; store past the cache
//   prefetch               into L2
#pragma once
#include <cstdint>
#include <cstring>

#if defined(MZ_ISA_avx512) || defined(MZ_ISA_avx2)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC 12 warns about its own _mm512_undefined_epi32()
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
#endif

namespace mezzotint::MZ_NS {

#if defined(MZ_ISA_avx512)

using Bytes = __m512i;
using Sums = __m512i;

// How many vectors (row_dots) or column groups x outputs (column_dots) share the registers with four row groups.
inline constexpr int kRowVectors = 6;
inline constexpr int kColumnSums = 24;

inline Bytes load(const void* p) { return _mm512_loadu_si512(p); }
inline Sums zero() { return _mm512_setzero_si512(); }
inline Bytes splat(const int8_t* four) {
  int32_t word;
  std::memcpy(&word, four, 4);
  return _mm512_set1_epi32(word);
}
template <int BITS, int H>
inline Bytes half(Bytes x) {
  if constexpr (BITS == 8) return x;
  return _mm512_and_si512(H ? _mm512_srli_epi16(x, 4) : x, _mm512_set1_epi8(15));
}
template <int BITS>
inline Sums dot(Sums s, Bytes u, Bytes v) {
  return _mm512_dpbusd_epi32(s, u, v);
}
inline Bytes transposed(Bytes x) {
  const __m128i order = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return _mm512_shuffle_epi8(x, _mm512_broadcast_i32x4(order));
}
inline Sums sum_tiles(Sums s0, Sums s1, Sums s2, Sums s3) {
  const Sums a = _mm512_add_epi32(_mm512_shuffle_i32x4(s0, s1, 0x44), _mm512_shuffle_i32x4(s0, s1, 0xEE));
  const Sums b = _mm512_add_epi32(_mm512_shuffle_i32x4(s2, s3, 0x44), _mm512_shuffle_i32x4(s2, s3, 0xEE));
  return _mm512_add_epi32(_mm512_shuffle_i32x4(a, b, 0x88), _mm512_shuffle_i32x4(a, b, 0xDD));
}
inline void add_to(int32_t* p, Sums s) { _mm512_storeu_si512(p, _mm512_add_epi32(_mm512_loadu_si512(p), s)); }
inline void store(int32_t* p, Sums s) { _mm512_storeu_si512(p, s); }
inline Bytes tiles(const uint8_t* rows) {
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return _mm512_permutexvar_epi32(order, load(rows));
}
inline Bytes low_and_high(Bytes low, Bytes high) { return _mm512_or_si512(low, _mm512_slli_epi16(high, 4)); }
// Streaming needs alignment; the results are the same without it.
inline void store_past_cache(uint8_t* p, Bytes x) {
  if (reinterpret_cast<uintptr_t>(p) % 64 == 0)
    _mm512_stream_si512(reinterpret_cast<__m512i*>(p), x);
  else
    _mm512_storeu_si512(p, x);
}
inline void finish_stores() { _mm_sfence(); }
inline void prefetch(const uint8_t* p) { _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T1); }

#elif defined(MZ_ISA_avx2)

struct Bytes {
  __m256i part[2];
};
using Sums = Bytes;

inline constexpr int kRowVectors = 2;
inline constexpr int kColumnSums = 4;

inline __m256i load32(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
inline Bytes load(const void* p) {
  const char* q = static_cast<const char*>(p);
  return {load32(q), load32(q + 32)};
}
inline Sums zero() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
inline Bytes splat(const int8_t* four) {
  int32_t word;
  std::memcpy(&word, four, 4);
  return {_mm256_set1_epi32(word), _mm256_set1_epi32(word)};
}
template <int BITS, int H>
inline __m256i half32(__m256i x) {
  if constexpr (BITS == 8) return x;
  return _mm256_and_si256(H ? _mm256_srli_epi16(x, 4) : x, _mm256_set1_epi8(15));
}
template <int BITS, int H>
inline Bytes half(Bytes x) {
  return {half32<BITS, H>(x.part[0]), half32<BITS, H>(x.part[1])};
}
// maddubs adds two products in 16 bits: 2 * 15 * 128 fits, 2 * 255 * 128 saturates. So 8-bit codes are split into
// even and odd bytes, widened, and multiplied in 16 bits with sums in 32.
template <int BITS>
inline __m256i dot32(__m256i s, __m256i u, __m256i v) {
  if constexpr (BITS == 4)
    return _mm256_add_epi32(s, _mm256_madd_epi16(_mm256_maddubs_epi16(u, v), _mm256_set1_epi16(1)));
  const __m256i even = _mm256_madd_epi16(_mm256_and_si256(u, _mm256_set1_epi16(255)),
                                         _mm256_srai_epi16(_mm256_slli_epi16(v, 8), 8));
  const __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(u, 8), _mm256_srai_epi16(v, 8));
  return _mm256_add_epi32(s, _mm256_add_epi32(even, odd));
}
template <int BITS>
inline Sums dot(Sums s, Bytes u, Bytes v) {
  return {dot32<BITS>(s.part[0], u.part[0], v.part[0]), dot32<BITS>(s.part[1], u.part[1], v.part[1])};
}
inline Bytes transposed(Bytes x) {
  const __m256i order = _mm256_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15,  //
                                         0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return {_mm256_shuffle_epi8(x.part[0], order), _mm256_shuffle_epi8(x.part[1], order)};
}
inline __m128i sum_lanes(Sums s) {
  const __m256i pair = _mm256_add_epi32(s.part[0], s.part[1]);
  return _mm_add_epi32(_mm256_castsi256_si128(pair), _mm256_extracti128_si256(pair, 1));
}
inline Sums sum_tiles(Sums s0, Sums s1, Sums s2, Sums s3) {
  return {_mm256_set_m128i(sum_lanes(s1), sum_lanes(s0)), _mm256_set_m128i(sum_lanes(s3), sum_lanes(s2))};
}
inline void store(int32_t* p, Sums s) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), s.part[0]);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p + 8), s.part[1]);
}
inline void add_to(int32_t* p, Sums s) {
  store(p, {_mm256_add_epi32(load32(p), s.part[0]), _mm256_add_epi32(load32(p + 8), s.part[1])});
}
inline Bytes tiles(const uint8_t* rows) {
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  const __m256i r01 = _mm256_permutevar8x32_epi32(load32(rows), order);       // lane l: row 0, row 1
  const __m256i r23 = _mm256_permutevar8x32_epi32(load32(rows + 32), order);  // lane l: row 2, row 3
  const __m256i a = _mm256_unpacklo_epi64(r01, r23), b = _mm256_unpackhi_epi64(r01, r23);
  return {_mm256_permute2x128_si256(a, b, 0x20), _mm256_permute2x128_si256(a, b, 0x31)};
}
inline Bytes low_and_high(Bytes low, Bytes high) {
  return {_mm256_or_si256(low.part[0], _mm256_slli_epi16(high.part[0], 4)),
          _mm256_or_si256(low.part[1], _mm256_slli_epi16(high.part[1], 4))};
}
inline void store_past_cache(uint8_t* p, Bytes x) {
  auto* q = reinterpret_cast<__m256i*>(p);
  const bool aligned = reinterpret_cast<uintptr_t>(p) % 32 == 0;
  for (int i = 0; i < 2; i++) aligned ? _mm256_stream_si256(q + i, x.part[i]) : _mm256_storeu_si256(q + i, x.part[i]);
}
inline void finish_stores() { _mm_sfence(); }
inline void prefetch(const uint8_t* p) { _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T1); }

#else  // portable. (NEON comes here: vdotq_s32 wants signed x signed, so xor the codes with 0x80 and subtract mid.)

struct Bytes {
  uint8_t at[64];
};
struct Sums {
  int32_t at[16];
};

inline constexpr int kRowVectors = 2;
inline constexpr int kColumnSums = 4;

inline Bytes load(const void* p) {
  Bytes x;
  std::memcpy(x.at, p, 64);
  return x;
}
inline Sums zero() { return {}; }
inline Bytes splat(const int8_t* four) {
  Bytes x;
  for (int i = 0; i < 16; i++) std::memcpy(x.at + 4 * i, four, 4);
  return x;
}
template <int BITS, int H>
inline Bytes half(Bytes x) {
  if constexpr (BITS == 4)
    for (auto& byte : x.at) byte = (H ? byte >> 4 : byte) & 15;
  return x;
}
template <int BITS>
inline Sums dot(Sums s, const Bytes& u, const Bytes& v) {
  for (int i = 0; i < 16; i++)
    for (int j = 4 * i; j < 4 * i + 4; j++) s.at[i] += u.at[j] * static_cast<int8_t>(v.at[j]);
  return s;
}
inline Bytes transposed(const Bytes& x) {
  Bytes y;
  for (int tile = 0; tile < 64; tile += 16)
    for (int r = 0; r < 4; r++)
      for (int c = 0; c < 4; c++) y.at[tile + 4 * c + r] = x.at[tile + 4 * r + c];
  return y;
}
inline Sums sum_tiles(const Sums& s0, const Sums& s1, const Sums& s2, const Sums& s3) {
  const Sums* all[4] = {&s0, &s1, &s2, &s3};
  Sums sums;
  for (int g = 0; g < 4; g++)
    for (int r = 0; r < 4; r++)
      sums.at[4 * g + r] = all[g]->at[r] + all[g]->at[4 + r] + all[g]->at[8 + r] + all[g]->at[12 + r];
  return sums;
}
inline void store(int32_t* p, const Sums& s) { std::memcpy(p, s.at, 64); }
inline void add_to(int32_t* p, const Sums& s) {
  for (int i = 0; i < 16; i++) p[i] += s.at[i];
}
inline Bytes tiles(const uint8_t* rows) {
  Bytes x;
  for (int tile = 0; tile < 4; tile++)
    for (int r = 0; r < 4; r++) std::memcpy(x.at + 16 * tile + 4 * r, rows + 16 * r + 4 * tile, 4);
  return x;
}
inline Bytes low_and_high(Bytes low, const Bytes& high) {
  for (int i = 0; i < 64; i++) low.at[i] = static_cast<uint8_t>(low.at[i] | high.at[i] << 4);
  return low;
}
inline void store_past_cache(uint8_t* p, const Bytes& x) { std::memcpy(p, x.at, 64); }
inline void finish_stores() {}
inline void prefetch(const uint8_t* p) { __builtin_prefetch(p, 0, 2); }

#endif

}  // namespace mezzotint::MZ_NS
