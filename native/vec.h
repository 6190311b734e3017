// Vectors of 64 bytes (8 doubles or 16 floats) with the same result bits on every instruction set.
//
// A Vec is one, two or four registers, depending on what this source is compiled for. All operations are
// lane by lane and correctly rounded, fma is always fused (libm's fma where there is no instruction), and
// sums over lanes follow one fixed tree; so which registers were used cannot be seen in a result.
// Used by native/kernels/*.cpp only. No std templates here: see dispatch.h.
#pragma once
#include <cstdint>
#include <cstring>
#if defined(MZ_ISA_avx512) || defined(MZ_ISA_avx2)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC 12 warns inside its own header
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
#endif

#define MZ_INLINE inline __attribute__((always_inline))

namespace mezzotint::MZ_NS {

#if defined(MZ_ISA_avx512)
constexpr int part_bytes = 64;
#elif defined(MZ_ISA_avx2)
constexpr int part_bytes = 32;
#else
constexpr int part_bytes = 16;
#endif

template <class T>
struct Vec {
  typedef T Part __attribute__((vector_size(part_bytes)));
  static constexpr int lanes = 64 / sizeof(T);
  static constexpr int parts = 64 / part_bytes;
  static constexpr int part_lanes = lanes / parts;
  Part part[parts];
};
using F32 = Vec<float>;
using F64 = Vec<double>;
using I64 = Vec<int64_t>;
using U64 = Vec<uint64_t>;

#define MZ_EACH_PART(i) _Pragma("GCC unroll 4") for (int i = 0; i < Vec<T>::parts; i++)
#define MZ_OPERATOR(op)                                        \
  template <class T>                                           \
  MZ_INLINE Vec<T> operator op(const Vec<T>& a, const Vec<T>& b) { \
    Vec<T> out;                                                \
    MZ_EACH_PART(i) out.part[i] = a.part[i] op b.part[i];      \
    return out;                                                \
  }
MZ_OPERATOR(+)
MZ_OPERATOR(-)
MZ_OPERATOR(*)
MZ_OPERATOR(/)
MZ_OPERATOR(&)
MZ_OPERATOR(|)
#undef MZ_OPERATOR

template <class T>
MZ_INLINE Vec<T> broadcast(T value) {
  Vec<T> out;
  MZ_EACH_PART(i) out.part[i] = value - typename Vec<T>::Part{};
  return out;
}
template <class T>
MZ_INLINE Vec<T> zero() {
  return Vec<T>{};
}

// ---- memory ----------------------------------------------------------------------------------------
template <class T>
MZ_INLINE Vec<T> load(const T* p) {
  Vec<T> out;
  MZ_EACH_PART(i) std::memcpy(&out.part[i], p + i * Vec<T>::part_lanes, part_bytes);  // by parts: they stay in registers
  return out;
}
template <class T>
MZ_INLINE void store(T* p, const Vec<T>& v) {
  MZ_EACH_PART(i) std::memcpy(p + i * Vec<T>::part_lanes, &v.part[i], part_bytes);
}
// The first count < lanes elements; the others are 0, and their memory is not touched.
template <class T>
MZ_INLINE Vec<T> load_first(const T* p, int64_t count) {
  T padded[Vec<T>::lanes] = {};
  for (int64_t i = 0; i < count; i++) padded[i] = p[i];
  return load(padded);
}
template <class T>
MZ_INLINE void store_first(T* p, const Vec<T>& v, int64_t count) {
  T all[Vec<T>::lanes];
  store(all, v);
  for (int64_t i = 0; i < count; i++) p[i] = all[i];
}

// Eight floats as doubles, exactly.
MZ_INLINE F64 load_wide(const float* p) {
  F64 out;
#if defined(MZ_ISA_avx512)
  out.part[0] = _mm512_cvtps_pd(_mm256_loadu_ps(p));
#elif defined(MZ_ISA_avx2)
  for (int i = 0; i < 2; i++) out.part[i] = _mm256_cvtps_pd(_mm_loadu_ps(p + 4 * i));
#else
  for (int i = 0; i < 8; i++) out.part[i / 2][i % 2] = static_cast<double>(p[i]);
#endif
  return out;
}
MZ_INLINE F64 load_wide_first(const float* p, int64_t count) {
  float padded[8] = {};
  for (int64_t i = 0; i < count; i++) padded[i] = p[i];
  return load_wide(padded);
}
// Eight doubles, rounded to nearest.
MZ_INLINE void store_narrow(float* p, const F64& v) {
#if defined(MZ_ISA_avx512)
  _mm256_storeu_ps(p, _mm512_cvtpd_ps(v.part[0]));
#elif defined(MZ_ISA_avx2)
  for (int i = 0; i < 2; i++) _mm_storeu_ps(p + 4 * i, _mm256_cvtpd_ps(v.part[i]));
#else
  for (int i = 0; i < 8; i++) p[i] = static_cast<float>(v.part[i / 2][i % 2]);
#endif
}
MZ_INLINE void store_narrow_first(float* p, const F64& v, int64_t count) {
  float all[8];
  store_narrow(all, v);
  for (int64_t i = 0; i < count; i++) p[i] = all[i];
}

// Loads elements of type X as lanes of type A.
template <class A, class X>
MZ_INLINE Vec<A> load_as(const X* p) {
  if constexpr (sizeof(A) == sizeof(X)) return load(p);
  else return load_wide(p);
}
template <class A, class X>
MZ_INLINE Vec<A> load_as_first(const X* p, int64_t count) {
  if constexpr (sizeof(A) == sizeof(X)) return load_first(p, count);
  else return load_wide_first(p, count);
}

// ---- arithmetic ------------------------------------------------------------------------------------
// a b + c with one rounding.
template <class T>
MZ_INLINE Vec<T> fma(const Vec<T>& a, const Vec<T>& b, const Vec<T>& c) {
  Vec<T> out;
#if defined(MZ_ISA_avx512)
  if constexpr (sizeof(T) == 8) out.part[0] = _mm512_fmadd_pd(a.part[0], b.part[0], c.part[0]);
  else out.part[0] = _mm512_fmadd_ps(a.part[0], b.part[0], c.part[0]);
#elif defined(MZ_ISA_avx2)
  MZ_EACH_PART(i) {
    if constexpr (sizeof(T) == 8) out.part[i] = _mm256_fmadd_pd(a.part[i], b.part[i], c.part[i]);
    else out.part[i] = _mm256_fmadd_ps(a.part[i], b.part[i], c.part[i]);
  }
#else
  MZ_EACH_PART(i) for (int l = 0; l < Vec<T>::part_lanes; l++) {
    if constexpr (sizeof(T) == 8) out.part[i][l] = __builtin_fma(a.part[i][l], b.part[i][l], c.part[i][l]);
    else out.part[i][l] = __builtin_fmaf(a.part[i][l], b.part[i][l], c.part[i][l]);
  }
#endif
  return out;
}
MZ_INLINE F64 fma(const F64& a, const F64& b, double c) { return fma(a, b, broadcast(c)); }

// Lane by lane: less < than ? yes : no. A NaN compares false.
MZ_INLINE F64 select_less(const F64& less, const F64& than, const F64& yes, const F64& no) {
  using T = double;
  F64 out;
  MZ_EACH_PART(i) out.part[i] = less.part[i] < than.part[i] ? yes.part[i] : no.part[i];
  return out;
}
MZ_INLINE F64 select_equal(const F64& a, const F64& b, const F64& yes, const F64& no) {
  using T = double;
  F64 out;
  MZ_EACH_PART(i) out.part[i] = a.part[i] == b.part[i] ? yes.part[i] : no.part[i];
  return out;
}

template <class To, class From>
MZ_INLINE Vec<To> bits_as(const Vec<From>& v) {
  using T = To;
  Vec<To> out;
  MZ_EACH_PART(i) out.part[i] = (typename Vec<To>::Part)v.part[i];
  return out;
}
MZ_INLINE F64 absolute(const F64& v) {
  return bits_as<double>(bits_as<uint64_t>(v) & broadcast<uint64_t>(0x7fffffffffffffff));
}
template <int by>
MZ_INLINE U64 shift_left(U64 v) {
  using T = uint64_t;
  MZ_EACH_PART(i) v.part[i] <<= by;
  return v;
}
template <int by>
MZ_INLINE U64 shift_right(U64 v) {
  using T = uint64_t;
  MZ_EACH_PART(i) v.part[i] >>= by;
  return v;
}

// ---- lanes of 64 bits that hold words of 32 ---------------------------------------------------------
// How many vectors of Philox blocks keep the multipliers busy without spilling.
#if defined(MZ_ISA_avx512)
constexpr int philox_group_count = 4;
#else
constexpr int philox_group_count = 1;
#endif

// The lower words times a word, all 64 bits of it.
MZ_INLINE U64 wide_product(const U64& a, uint32_t factor) {
  U64 out;
#if defined(MZ_ISA_avx512)
  out.part[0] = (U64::Part)_mm512_mul_epu32((__m512i)a.part[0], _mm512_set1_epi64(factor));
#elif defined(MZ_ISA_avx2)
  for (int i = 0; i < 2; i++)
    out.part[i] = (U64::Part)_mm256_mul_epu32((__m256i)a.part[i], _mm256_set1_epi64x(factor));
#else
  for (int i = 0; i < U64::parts; i++) out.part[i] = (a.part[i] & 0xFFFFFFFFu) * factor;
#endif
  return out;
}
MZ_INLINE U64 exclusive_or(U64 a, const U64& b, const U64& c) {
#if defined(MZ_ISA_avx512)
  constexpr int xor3 = 0x96;
  a.part[0] = (U64::Part)_mm512_ternarylogic_epi64((__m512i)a.part[0], (__m512i)b.part[0], (__m512i)c.part[0], xor3);
#else
  for (int i = 0; i < U64::parts; i++) a.part[i] ^= b.part[i] ^ c.part[i];
#endif
  return a;
}
// a0 b0 a1 b1 ... as words of 32 bits, the lower half of each lane first.
MZ_INLINE void store_interleaved(uint32_t* p, const U64& a, const U64& b) {
  for (int i = 0; i < U64::parts; i++) {
    U64::Part pairs[2];
#if defined(MZ_ISA_avx512)
    pairs[0] = __builtin_shufflevector(a.part[i], b.part[i], 0, 8, 1, 9, 2, 10, 3, 11);
    pairs[1] = __builtin_shufflevector(a.part[i], b.part[i], 4, 12, 5, 13, 6, 14, 7, 15);
#elif defined(MZ_ISA_avx2)
    pairs[0] = __builtin_shufflevector(a.part[i], b.part[i], 0, 4, 1, 5);
    pairs[1] = __builtin_shufflevector(a.part[i], b.part[i], 2, 6, 3, 7);
#else
    pairs[0] = __builtin_shufflevector(a.part[i], b.part[i], 0, 2);
    pairs[1] = __builtin_shufflevector(a.part[i], b.part[i], 1, 3);
#endif
    std::memcpy(p + 4 * U64::part_lanes * i, pairs, sizeof pairs);
  }
}

#if defined(MZ_ISA_avx512)
// Elements code[0] .. code[15] of a table of 16 floats.
MZ_INLINE F32 permuted(const F32& table, const int32_t* code) {
  return F32{{_mm512_permutexvar_ps(_mm512_loadu_si512(code), table.part[0])}};
}
#endif

// Sum over the lanes: the upper half is added to the lower half until one lane is left.
template <class T>
MZ_INLINE T sum_lanes(const Vec<T>& v) {
  typedef T Quarter __attribute__((vector_size(16)));
#if defined(MZ_ISA_avx512)
  Quarter q;
  if constexpr (sizeof(T) == 8) {
    const auto half = __builtin_shufflevector(v.part[0], v.part[0], 0, 1, 2, 3) +
                      __builtin_shufflevector(v.part[0], v.part[0], 4, 5, 6, 7);
    q = __builtin_shufflevector(half, half, 0, 1) + __builtin_shufflevector(half, half, 2, 3);
  } else {
    const auto half = __builtin_shufflevector(v.part[0], v.part[0], 0, 1, 2, 3, 4, 5, 6, 7) +
                      __builtin_shufflevector(v.part[0], v.part[0], 8, 9, 10, 11, 12, 13, 14, 15);
    q = __builtin_shufflevector(half, half, 0, 1, 2, 3) + __builtin_shufflevector(half, half, 4, 5, 6, 7);
  }
#elif defined(MZ_ISA_avx2)
  Quarter q;
  const auto half = v.part[0] + v.part[1];
  if constexpr (sizeof(T) == 8)
    q = __builtin_shufflevector(half, half, 0, 1) + __builtin_shufflevector(half, half, 2, 3);
  else
    q = __builtin_shufflevector(half, half, 0, 1, 2, 3) + __builtin_shufflevector(half, half, 4, 5, 6, 7);
#else
  const Quarter q = (v.part[0] + v.part[2]) + (v.part[1] + v.part[3]);
#endif
  if constexpr (sizeof(T) == 8) return q[0] + q[1];
  else return (q[0] + q[2]) + (q[1] + q[3]);
}

// ---- elementary functions --------------------------------------------------------------------------
// exp(x) for x <= 0, at most 1.25 ulp from the truth (tests/kernels/test_losses.py), denormal results included.
// x = n ln 2 + r, exp(r) = 1 + r + r^2 P(r); P is minimax for the relative error of exp on |r| <= ln 2 / 2.
MZ_INLINE F64 exp_nonpositive(F64 x) {
  const F64 lowest = broadcast(-746.0);  // exp rounds to 0 from -745.14 down
  x = select_less(x, lowest, lowest, x);
  const F64 round = broadcast(0x1.8p52);  // adding it rounds to an integer
  const F64 n = fma(x, broadcast(0x1.71547652b82fep+0), round) - round;
  F64 r = fma(n, broadcast(-0x1.62e42fefp-1), x);  // exact: 33 bits of ln 2 times 11 bits
  r = fma(n, broadcast(-0x1.473de6af278edp-34), r);
  const F64 r2 = r * r, r4 = r2 * r2;
  const F64 a = fma(r, broadcast(0x1.5555555555558p-3), 0x1.0000000000009p-1);
  const F64 b = fma(r, broadcast(0x1.111111110f803p-7), 0x1.555555555051dp-5);
  const F64 c = fma(r, broadcast(0x1.a01a01b00c2c6p-13), 0x1.6c16c185c4ba2p-10);
  const F64 d = fma(r, broadcast(0x1.71ddf6b3f10d1p-19), 0x1.a019944a7336fp-16);
  const F64 e = fma(r, broadcast(0x1.af632ad6abee8p-26), 0x1.28b390462cfe5p-22);
  const F64 high = fma(r4, e, fma(r2, d, c));
  const F64 p = fma(r4, high, fma(r2, b, a));
  const F64 result = fma(r2, p, r) + broadcast(1.0);
  // 2^n in two factors, so that a denormal result is rounded once. Adding 2^52 + bias puts the exponent
  // into the low bits.
  const F64 floor = broadcast(-1000.0), bias = broadcast(0x1p52 + 1023.0);
  const F64 n1 = select_less(n, floor, floor, n);
  const F64 scale1 = bits_as<double>(shift_left<52>(bits_as<uint64_t>(n1 + bias)));
  const F64 scale2 = bits_as<double>(shift_left<52>(bits_as<uint64_t>((n - n1) + bias)));
  return (result * scale1) * scale2;
}

// log(1 + e) for e >= 0, at most 1.25 ulp from the truth.
// 1 + e = 2^k m, m in [sqrt(1/2), sqrt(2)); f = m - 1, s = f / (2 + f):
// log(1 + f) = f - f^2/2 + s (f^2/2 + R), R = s^2 (2/3 + 2/5 s^2 + ...), minimax on |s| <= 0.1716.
MZ_INLINE F64 log1p_nonnegative(const F64& e) {
  const F64 one = broadcast(1.0), u = e + one;
  const uint64_t sqrt_half = 0x3fe6a09e667f3bcd, one_bits = 0x3ff0000000000000;
  const U64 shifted = bits_as<uint64_t>(u) + broadcast(one_bits - sqrt_half);
  const F64 k = bits_as<double>(shift_right<52>(shifted) | broadcast<uint64_t>(0x4330000000000000)) -
                broadcast(0x1p52 + 1023.0);
  const F64 m = bits_as<double>((shifted & broadcast<uint64_t>(0x000fffffffffffff)) + broadcast(sqrt_half));
  // u is rounded. Where k = 0, f = e has no error; elsewhere what rounding cut off enters to first order.
  const F64 cut = (e - (u - one)) / u;
  const F64 f = select_equal(k, zero<double>(), e, m - one);
  const F64 correction = select_equal(k, zero<double>(), zero<double>(), cut);
  const F64 s = f / (f + broadcast(2.0)), z = s * s, half_square = broadcast(0.5) * f * f;
  F64 r = fma(z, broadcast(0x1.2ef11b137e2bfp-3), 0x1.39a3e8bc05422p-3);
  r = fma(z, r, 0x1.7466272d782fep-3);
  r = fma(z, r, 0x1.c71c528a9f6cep-3);
  r = fma(z, r, 0x1.249249413a962p-2);
  r = fma(z, r, 0x1.9999999980d27p-2);
  r = fma(z, r, 0x1.555555555558fp-1) * z;
  const F64 low = fma(k, broadcast(0x1.473de6af278edp-34), correction);
  const F64 rest = half_square - fma(s, half_square + r, low);
  return fma(k, broadcast(0x1.62e42fefp-1), f - rest);
}

}  // namespace mezzotint::MZ_NS
