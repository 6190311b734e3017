// 64-byte integer vectors: four lanes, each a tile of 4 x 4 codes (or of 4 sums), and what packed products do with
// them.
//
// One section per instruction set, the same functions in each, the same integers from each. Included by files in
// native/kernels/ only; everything lies in MZ_NS, so that no two instruction sets share a function.
//
//   Bytes, Sums, RowSums   64 bytes; 16 int32; 16 int32, or fewer that already belong to the same rows
//   load, splat, zero      64 bytes from anywhere; the same 4 bytes 16 times; sums of 0
//   wide_codes<BITS, H>(x) codes of 8 bits as they are; else the H-th wide_bits(BITS) of each byte, times 2 if BITS is odd
//   put<BITS, H>(x, codes) the other way: x with what wide_codes<BITS, H> will find there
//   add_bits(x, p)         byte i plus bit i of the 8 bytes at p
//   store_bits(p, x)       the last bit of every byte, as 8 bytes
//   last_bit(x)            of every byte, as a byte
//   LookupTable<WIDE>(p)   16 (WIDE: 32) bytes at p; applied to bytes below 16 (32) it gives those that they number
//   dot<BITS>(s, u, v)     s_i += sum of 4 products u (codes, unsigned) x v (signed), exact
//   transposed(x)          every tile transposed
//   sum_tiles(s0..s3)      16 row sums out of four vectors, each with four partial sums of the same 4 rows
//   store, add_to          16 int32 (or 64 bytes) to memory, or onto what is there
//   add_scaled             16 doubles += step * (sum - shift)
//   round16                16 floats * factor -> int8, to nearest even
//   Codes16, low_bytes     16 codes of a row; the low bytes of 16 integers
//   tiles                  16 codes of each of 4 rows -> four tiles
//   store_past_cache       for what is not read soon
#pragma once
#include <bit>
#include <cstdint>
#include <cstring>

#if defined(MZ_ISA_avx512) || defined(MZ_ISA_avx2)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC 12 warns about its own _mm512_undefined_epi32()
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
#endif

#include "packed.h"
#include "prefetch.h"

namespace mezzotint::MZ_NS {

// Where the wide plane has a code: mask, already in its place within the code; and how far right to shift.
template <int BITS>
inline constexpr int kWideMask = ((1 << wide_bits(BITS)) - 1) << (BITS & 1);
template <int BITS, int H>
inline constexpr int kWideShift = wide_bits(BITS) * H - (BITS & 1);

#if defined(MZ_ISA_avx512)

using Bytes = __m512i;
typedef int32_t Sums __attribute__((vector_size(64)));  // typed as 32-bit: GCC keeps it in one register
using RowSums = Sums;
using Codes16 = __m128i;

// How many vectors (row_dots) or column groups x outputs (column_dots) share the registers with four row groups.
inline constexpr int kRowVectors = 6;
inline constexpr int kColumnSums = 24;

inline Bytes load(const void* p) { return _mm512_loadu_si512(p); }
inline Bytes splat(const int8_t* four) {
  int32_t word;
  std::memcpy(&word, four, 4);
  return _mm512_set1_epi32(word);
}
template <int RIGHT>
inline Bytes shifted(Bytes x) {
  if constexpr (RIGHT > 0) return _mm512_srli_epi16(x, RIGHT);
  if constexpr (RIGHT < 0) return _mm512_slli_epi16(x, -RIGHT);
  return x;
}
template <int BITS, int H>
inline Bytes wide_codes(Bytes x) {
  if constexpr (BITS == 8) return x;
  return _mm512_and_si512(shifted<kWideShift<BITS, H>>(x), _mm512_set1_epi8(kWideMask<BITS>));
}
template <int BITS, int H>
inline Bytes put(Bytes x, Bytes codes) {
  if constexpr (BITS == 8) return codes;
  const Bytes wide = _mm512_and_si512(codes, _mm512_set1_epi8(kWideMask<BITS>));
  return _mm512_or_si512(x, shifted<-kWideShift<BITS, H>>(wide));
}
inline Bytes add_bits(Bytes x, const uint8_t* p) {
  uint64_t bits;
  std::memcpy(&bits, p, 8);
  return _mm512_mask_add_epi8(x, bits, x, _mm512_set1_epi8(1));
}
inline void store_bits(uint8_t* p, Bytes x) {
  const uint64_t bits = _mm512_test_epi8_mask(x, _mm512_set1_epi8(1));
  std::memcpy(p, &bits, 8);
}
inline Bytes last_bit(Bytes x) { return _mm512_and_si512(x, _mm512_set1_epi8(1)); }
template <bool WIDE>
struct LookupTable {
  Bytes low, high;
  explicit LookupTable(const uint8_t* p) : low(half(p)), high(half(p + (WIDE ? 16 : 0))) {}
  static Bytes half(const uint8_t* p) {
    return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  Bytes operator()(Bytes x) const {
    const Bytes found = _mm512_shuffle_epi8(low, x);  // by the lower four bits
    if constexpr (!WIDE) return found;
    return _mm512_mask_shuffle_epi8(found, _mm512_test_epi8_mask(x, _mm512_set1_epi8(16)), high, x);
  }
};
template <int BITS>
inline Sums dot(Sums s, Bytes u, Bytes v) {
  return (Sums)_mm512_dpbusd_epi32((Bytes)s, u, v);
}
inline Bytes transposed(Bytes x) {
  const __m128i order = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return _mm512_shuffle_epi8(x, _mm512_broadcast_i32x4(order));
}
inline Sums sum_tiles(Sums sum0, Sums sum1, Sums sum2, Sums sum3) {
  const auto s0 = (Bytes)sum0, s1 = (Bytes)sum1, s2 = (Bytes)sum2, s3 = (Bytes)sum3;
  const Bytes a = _mm512_add_epi32(_mm512_shuffle_i32x4(s0, s1, 0x44), _mm512_shuffle_i32x4(s0, s1, 0xEE));
  const Bytes b = _mm512_add_epi32(_mm512_shuffle_i32x4(s2, s3, 0x44), _mm512_shuffle_i32x4(s2, s3, 0xEE));
  return (Sums)_mm512_add_epi32(_mm512_shuffle_i32x4(a, b, 0x88), _mm512_shuffle_i32x4(a, b, 0xDD));
}
inline Sums zero() { return Sums{}; }
inline void store(int32_t* p, Sums s) { _mm512_storeu_si512(p, (Bytes)s); }
inline void add_to(int32_t* p, Sums s) { _mm512_storeu_si512(p, _mm512_add_epi32(_mm512_loadu_si512(p), (Bytes)s)); }
inline void add_scaled(double* out, Sums s, int32_t shift, double step) {
  const Bytes shifted = _mm512_sub_epi32((Bytes)s, _mm512_set1_epi32(shift));
  const __m512d low = _mm512_cvtepi32_pd(_mm512_castsi512_si256(shifted));
  const __m512d high = _mm512_cvtepi32_pd(_mm512_extracti64x4_epi64(shifted, 1));
  const __m512d steps = _mm512_set1_pd(step);
  _mm512_storeu_pd(out, _mm512_add_pd(_mm512_loadu_pd(out), _mm512_mul_pd(steps, low)));
  _mm512_storeu_pd(out + 8, _mm512_add_pd(_mm512_loadu_pd(out + 8), _mm512_mul_pd(steps, high)));
}
inline void round16(const float* c, double factor, int8_t* out) {
  const __m512d f = _mm512_set1_pd(factor);
  const __m256i low = _mm512_cvtpd_epi32(_mm512_mul_pd(_mm512_cvtps_pd(_mm256_loadu_ps(c)), f));
  const __m256i high = _mm512_cvtpd_epi32(_mm512_mul_pd(_mm512_cvtps_pd(_mm256_loadu_ps(c + 8)), f));
  const Bytes both = _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm512_cvtepi32_epi8(both));
}
inline Codes16 low_bytes(const uint32_t* words) { return _mm512_cvtepi32_epi8(load(words)); }
inline Codes16 low_bytes(const uint64_t* words) {
  return _mm_unpacklo_epi64(_mm512_cvtepi64_epi8(load(words)), _mm512_cvtepi64_epi8(load(words + 8)));
}
inline Bytes tiles(Codes16 r0, Codes16 r1, Codes16 r2, Codes16 r3) {
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const __m256i low = _mm256_set_m128i(r1, r0), high = _mm256_set_m128i(r3, r2);
  return _mm512_permutexvar_epi32(order, _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1));
}
inline void store(uint8_t* p, Bytes x) { _mm512_storeu_si512(p, x); }
// Streaming needs alignment; the results are the same without it.
inline void store_past_cache(uint8_t* p, Bytes x) {
  if (reinterpret_cast<uintptr_t>(p) % 64 == 0)
    _mm512_stream_si512(reinterpret_cast<__m512i*>(p), x);
  else
    _mm512_storeu_si512(p, x);
}
inline void finish_stores() { _mm_sfence(); }

#elif defined(MZ_ISA_avx2)

struct Bytes {
  __m256i part[2];
};
using Sums = Bytes;
using Codes16 = __m128i;
struct RowSums {  // both halves belong to the same rows: one register is enough
  __m256i part;
};

inline constexpr int kRowVectors = 2;
inline constexpr int kColumnSums = 4;

inline __m256i load32(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
inline Bytes load(const void* p) {
  const char* q = static_cast<const char*>(p);
  return {load32(q), load32(q + 32)};
}
inline Bytes splat(const int8_t* four) {
  int32_t word;
  std::memcpy(&word, four, 4);
  return {_mm256_set1_epi32(word), _mm256_set1_epi32(word)};
}
template <int RIGHT>
inline __m256i shifted(__m256i x) {
  if constexpr (RIGHT > 0) return _mm256_srli_epi16(x, RIGHT);
  if constexpr (RIGHT < 0) return _mm256_slli_epi16(x, -RIGHT);
  return x;
}
template <int BITS, int H>
inline Bytes wide_codes(Bytes x) {
  if constexpr (BITS == 8) return x;
  const __m256i mask = _mm256_set1_epi8(kWideMask<BITS>);
  for (auto& part : x.part) part = _mm256_and_si256(shifted<kWideShift<BITS, H>>(part), mask);
  return x;
}
template <int BITS, int H>
inline Bytes put(Bytes x, Bytes codes) {
  if constexpr (BITS == 8) return codes;
  const __m256i mask = _mm256_set1_epi8(kWideMask<BITS>);
  for (int i = 0; i < 2; i++)
    x.part[i] = _mm256_or_si256(x.part[i], shifted<-kWideShift<BITS, H>>(_mm256_and_si256(codes.part[i], mask)));
  return x;
}
// Every byte sees the byte of bits that holds its own, and subtracts -1 where its bit is set.
inline Bytes add_bits(Bytes x, const uint8_t* p) {
  const __m256i order = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
  const __m256i own = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201u));
  for (auto& part : x.part) {
    int32_t word;
    std::memcpy(&word, p, 4);
    p += 4;
    const __m256i bits = _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32(word), order), own);
    part = _mm256_sub_epi8(part, _mm256_cmpeq_epi8(bits, own));
  }
  return x;
}
inline void store_bits(uint8_t* p, Bytes x) {
  for (int i = 0; i < 2; i++) {
    const int32_t bits = _mm256_movemask_epi8(_mm256_slli_epi16(x.part[i], 7));
    std::memcpy(p + 4 * i, &bits, 4);
  }
}
inline Bytes last_bit(Bytes x) {
  for (auto& part : x.part) part = _mm256_and_si256(part, _mm256_set1_epi8(1));
  return x;
}
template <bool WIDE>
struct LookupTable {
  __m256i low, high;
  explicit LookupTable(const uint8_t* p) : low(half(p)), high(half(p + (WIDE ? 16 : 0))) {}
  static __m256i half(const uint8_t* p) {
    return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  Bytes operator()(Bytes x) const {
    for (auto& part : x.part) {
      const __m256i found = _mm256_shuffle_epi8(low, part);  // by the lower four bits
      const __m256i is_high = _mm256_slli_epi16(part, 3);    // bit 4 becomes the byte's sign
      part = WIDE ? _mm256_blendv_epi8(found, _mm256_shuffle_epi8(high, part), is_high) : found;
    }
    return x;
  }
};
// maddubs adds two products in 16 bits: 2 * 31 * 128 fits, 2 * 255 * 128 saturates. So 8-bit codes are split into
// even and odd bytes, widened, and multiplied in 16 bits with sums in 32.
template <int BITS>
inline __m256i dot32(__m256i s, __m256i u, __m256i v) {
  static_assert(BITS == 8 || 2 * ((1 << BITS) - 1) * 128 < 1 << 15);
  if constexpr (BITS < 8)
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
template <int BITS>
inline RowSums dot(RowSums s, Bytes u, Bytes v) {
  return {dot32<BITS>(dot32<BITS>(s.part, u.part[0], v.part[0]), u.part[1], v.part[1])};
}
inline __m128i sum_lanes(RowSums s) {
  return _mm_add_epi32(_mm256_castsi256_si128(s.part), _mm256_extracti128_si256(s.part, 1));
}
inline Sums sum_tiles(RowSums s0, RowSums s1, RowSums s2, RowSums s3) {
  return {_mm256_set_m128i(sum_lanes(s1), sum_lanes(s0)), _mm256_set_m128i(sum_lanes(s3), sum_lanes(s2))};
}
inline Sums zero() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
inline void store(int32_t* p, Sums s) {
  for (int i = 0; i < 2; i++) _mm256_storeu_si256(reinterpret_cast<__m256i*>(p + 8 * i), s.part[i]);
}
inline void add_to(int32_t* p, Sums s) {
  for (int i = 0; i < 2; i++, p += 8)
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_add_epi32(load32(p), s.part[i]));
}
inline void add_scaled(double* out, __m128i s, int32_t shift, double step) {
  const __m256d shifted = _mm256_cvtepi32_pd(_mm_sub_epi32(s, _mm_set1_epi32(shift)));
  _mm256_storeu_pd(out, _mm256_add_pd(_mm256_loadu_pd(out), _mm256_mul_pd(_mm256_set1_pd(step), shifted)));
}
inline void add_scaled(double* out, Sums s, int32_t shift, double step) {
  for (int i = 0; i < 2; i++, out += 8) {
    add_scaled(out, _mm256_castsi256_si128(s.part[i]), shift, step);
    add_scaled(out + 4, _mm256_extracti128_si256(s.part[i], 1), shift, step);
  }
}
inline __m128i round4(const float* c, double factor) {
  return _mm256_cvtpd_epi32(_mm256_mul_pd(_mm256_cvtps_pd(_mm_loadu_ps(c)), _mm256_set1_pd(factor)));
}
inline void round16(const float* c, double factor, int8_t* out) {
  const __m128i low = _mm_packs_epi32(round4(c, factor), round4(c + 4, factor));
  const __m128i high = _mm_packs_epi32(round4(c + 8, factor), round4(c + 12, factor));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm_packs_epi16(low, high));
}
inline __m128i low_byte4(const uint32_t* words) {
  return _mm_and_si128(_mm_loadu_si128(reinterpret_cast<const __m128i*>(words)), _mm_set1_epi32(255));
}
inline __m128i low_byte4(const uint64_t* words) {
  const __m128 a = _mm_loadu_ps(reinterpret_cast<const float*>(words));
  const __m128 b = _mm_loadu_ps(reinterpret_cast<const float*>(words + 2));
  return _mm_and_si128(_mm_castps_si128(_mm_shuffle_ps(a, b, 0x88)), _mm_set1_epi32(255));
}
template <class Word>
inline Codes16 low_bytes(const Word* words) {
  return _mm_packus_epi16(_mm_packs_epi32(low_byte4(words), low_byte4(words + 4)),
                          _mm_packs_epi32(low_byte4(words + 8), low_byte4(words + 12)));
}
inline RowSums row_sums(Sums s) { return {_mm256_add_epi32(s.part[0], s.part[1])}; }
inline Sums sum_tiles(Sums s0, Sums s1, Sums s2, Sums s3) {
  return sum_tiles(row_sums(s0), row_sums(s1), row_sums(s2), row_sums(s3));
}
inline Bytes tiles(Codes16 r0, Codes16 r1, Codes16 r2, Codes16 r3) {
  const __m128i a = _mm_unpacklo_epi32(r0, r1), b = _mm_unpacklo_epi32(r2, r3);
  const __m128i c = _mm_unpackhi_epi32(r0, r1), d = _mm_unpackhi_epi32(r2, r3);
  return {_mm256_set_m128i(_mm_unpackhi_epi64(a, b), _mm_unpacklo_epi64(a, b)),
          _mm256_set_m128i(_mm_unpackhi_epi64(c, d), _mm_unpacklo_epi64(c, d))};
}
inline void store(uint8_t* p, Bytes x) {
  for (int i = 0; i < 2; i++) _mm256_storeu_si256(reinterpret_cast<__m256i*>(p) + i, x.part[i]);
}
inline void store_past_cache(uint8_t* p, Bytes x) {
  auto* q = reinterpret_cast<__m256i*>(p);
  const bool aligned = reinterpret_cast<uintptr_t>(p) % 32 == 0;
  for (int i = 0; i < 2; i++) aligned ? _mm256_stream_si256(q + i, x.part[i]) : _mm256_storeu_si256(q + i, x.part[i]);
}
inline void finish_stores() { _mm_sfence(); }

#else  // portable, little-endian. (NEON comes here: vdotq_s32 wants signed x signed, so xor the codes with 0x80 and
       // subtract mid.)
static_assert(std::endian::native == std::endian::little);

typedef uint8_t Codes16 __attribute__((vector_size(16)));
typedef uint16_t Words8 __attribute__((vector_size(16)));
typedef int16_t Shorts8 __attribute__((vector_size(16)));
typedef int32_t Sums4 __attribute__((vector_size(16)));

struct Bytes {
  Codes16 part[4];
};
struct Sums {
  Sums4 part[4];
};
struct RowSums {
  Sums4 part;
};

inline constexpr int kRowVectors = 2;
inline constexpr int kColumnSums = 4;

inline Bytes load(const void* p) {
  Bytes x;
  std::memcpy(x.part, p, 64);
  return x;
}
inline Bytes splat(const int8_t* four) {
  int32_t word;
  std::memcpy(&word, four, 4);
  const Codes16 x = (Codes16)Sums4{word, word, word, word};
  return {{x, x, x, x}};
}
template <int RIGHT>
inline Codes16 shifted(Codes16 x) {
  if constexpr (RIGHT > 0) return x >> RIGHT;
  if constexpr (RIGHT < 0) return x << -RIGHT;
  return x;
}
template <int BITS, int H>
inline Bytes wide_codes(Bytes x) {
  if constexpr (BITS < 8)
#pragma GCC unroll 4
    for (auto& part : x.part) part = shifted<kWideShift<BITS, H>>(part) & kWideMask<BITS>;
  return x;
}
template <int BITS, int H>
inline Bytes put(Bytes x, const Bytes& codes) {
  if constexpr (BITS == 8) return codes;
  for (int i = 0; i < 4; i++) x.part[i] |= shifted<-kWideShift<BITS, H>>(codes.part[i] & kWideMask<BITS>);
  return x;
}
inline Bytes add_bits(Bytes x, const uint8_t* p) {
  const Codes16 own = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    const uint64_t words[2] = {p[2 * i] * 0x0101010101010101u, p[2 * i + 1] * 0x0101010101010101u};
    Codes16 bits;
    std::memcpy(&bits, words, 16);
    x.part[i] -= (Codes16)((bits & own) == own);  // a comparison that holds is -1
  }
  return x;
}
inline void store_bits(uint8_t* p, const Bytes& x) {
  uint8_t bytes[64];
  std::memcpy(bytes, x.part, 64);
  for (int i = 0; i < 8; i++) {
    p[i] = 0;
    for (int b = 0; b < 8; b++) p[i] |= static_cast<uint8_t>((bytes[8 * i + b] & 1) << b);
  }
}
inline Bytes last_bit(Bytes x) {
#pragma GCC unroll 4
  for (auto& part : x.part) part &= 1;
  return x;
}
template <bool WIDE>
struct LookupTable {
  const uint8_t* table;
  explicit LookupTable(const uint8_t* p) : table(p) {}
  Bytes operator()(const Bytes& x) const {
    uint8_t bytes[64];
    std::memcpy(bytes, x.part, 64);
    for (auto& byte : bytes) byte = table[byte];
    return load(bytes);
  }
};
// A product of bytes fits 16 bits (255 * 128 < 2^15), a sum of two may not: products first, then 32-bit sums.
inline Sums4 dot16(Sums4 s, Codes16 u, Codes16 v) {
  const Shorts8 even = (Shorts8)((Words8)u & 255) * (((Shorts8)v << 8) >> 8);
  const Shorts8 odd = (Shorts8)((Words8)u >> 8) * ((Shorts8)v >> 8);
  s += (((Sums4)even << 16) >> 16) + ((Sums4)even >> 16);
  return s + (((Sums4)odd << 16) >> 16) + ((Sums4)odd >> 16);
}
template <int BITS>
inline Sums dot(Sums s, const Bytes& u, const Bytes& v) {
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) s.part[i] = dot16(s.part[i], u.part[i], v.part[i]);
  return s;
}
template <int BITS>
inline RowSums dot(RowSums s, const Bytes& u, const Bytes& v) {
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) s.part = dot16(s.part, u.part[i], v.part[i]);
  return s;
}
// Interleaving the two halves of a tile twice transposes it.
inline Codes16 interleaved(Codes16 x) {
  const Sums4 high = __builtin_shufflevector((Sums4)x, (Sums4)x, 2, 3, 2, 3);
  return __builtin_shufflevector(x, (Codes16)high, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}
inline Bytes transposed(Bytes x) {
#pragma GCC unroll 4
  for (auto& part : x.part) part = interleaved(interleaved(part));
  return x;
}
inline Sums sum_tiles(RowSums s0, RowSums s1, RowSums s2, RowSums s3) {
  return {{s0.part, s1.part, s2.part, s3.part}};
}
inline RowSums row_sums(const Sums& s) { return {(s.part[0] + s.part[1]) + (s.part[2] + s.part[3])}; }
inline Sums sum_tiles(const Sums& s0, const Sums& s1, const Sums& s2, const Sums& s3) {
  return sum_tiles(row_sums(s0), row_sums(s1), row_sums(s2), row_sums(s3));
}
inline Sums zero() { return {}; }
inline void store(int32_t* p, const Sums& s) { std::memcpy(p, s.part, 64); }
inline void add_to(int32_t* p, const Sums& s) {
  int32_t sums[16];
  store(sums, s);
  for (int i = 0; i < 16; i++) p[i] += sums[i];
}
inline void add_scaled(double* out, const Sums& s, int32_t shift, double step) {
  int32_t sums[16];
  store(sums, s);
  for (int i = 0; i < 16; i++) out[i] += step * static_cast<double>(sums[i] - shift);
}
inline void round16(const float* c, double factor, int8_t* out) {
  // Adding 1.5 * 2^52 rounds to the nearest even integer and leaves it in the low bits.
  for (int i = 0; i < 16; i++) out[i] = static_cast<int8_t>(std::bit_cast<uint64_t>(c[i] * factor + 0x1.8p52));
}
template <class Word>
inline Codes16 low_bytes(const Word* words) {
  uint8_t bytes[16];
  for (int i = 0; i < 16; i++) bytes[i] = static_cast<uint8_t>(words[i]);
  Codes16 codes;
  std::memcpy(&codes, bytes, 16);
  return codes;
}
inline Bytes tiles(Codes16 r0, Codes16 r1, Codes16 r2, Codes16 r3) {
  const Codes16 rows[4] = {r0, r1, r2, r3};
  int32_t in[16], out[16];
  std::memcpy(in, rows, 64);
  for (int tile = 0; tile < 4; tile++)
    for (int r = 0; r < 4; r++) out[4 * tile + r] = in[4 * r + tile];
  return load(out);
}
inline void store(uint8_t* p, const Bytes& x) { std::memcpy(p, x.part, 64); }
inline void store_past_cache(uint8_t* p, const Bytes& x) { store(p, x); }
inline void finish_stores() {}

#endif

}  // namespace mezzotint::MZ_NS
