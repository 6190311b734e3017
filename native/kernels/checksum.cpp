// CRC-32 (zlib's polynomial). A message is a polynomial over GF(2), its first bit the highest power; the CRC is its
// remainder. Bits are reflected: the lowest bit of a byte comes first, so x^0 is the highest bit of a word.
//
// V. Gopal et al., "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction", Intel, 2009: 16 bytes
// that lie `bits` before others are replaced by a product that is added to these and has the same remainder. What is
// left at the end, 16 bytes and a tail, goes through tables; so does everything where there are no such products.
#include "checksum.h"

#include <cstring>

#if defined(MZ_ISA_avx512) || defined(MZ_ISA_avx2)
#include <immintrin.h>
#define MZ_FOLDS 1
#endif

namespace mezzotint::MZ_NS {
namespace {

constexpr uint32_t kPolynomial = 0xEDB88320u;  // x^32 is implied

constexpr uint32_t times_x(uint32_t r) { return (r >> 1) ^ (r & 1 ? kPolynomial : 0); }

// entry[k][b]: remainder of byte b followed by k bytes of zero.
struct Tables {
  uint32_t entry[8][256];
};

constexpr Tables make_tables() {
  Tables t{};
  for (uint32_t b = 0; b < 256; b++) {
    uint32_t r = b;
    for (int bit = 0; bit < 8; bit++) r = times_x(r);
    t.entry[0][b] = r;
  }
  for (int k = 1; k < 8; k++)
    for (int b = 0; b < 256; b++) {
      const uint32_t r = t.entry[k - 1][b];
      t.entry[k][b] = (r >> 8) ^ t.entry[0][r & 255];
    }
  return t;
}

constexpr Tables kTables = make_tables();

// Continues the remainder of what came before over more bytes.
uint32_t by_tables(uint32_t r, const uint8_t* p, int64_t size) {
  for (; size >= 8; size -= 8, p += 8) {
    uint64_t word;
    std::memcpy(&word, p, 8);
    word ^= r;
    r = 0;
    for (int i = 0; i < 8; i++) r ^= kTables.entry[7 - i][(word >> (8 * i)) & 255];
  }
  for (; size > 0; size--, p++) r = (r >> 8) ^ kTables.entry[0][(r ^ *p) & 255];
  return r;
}

#if defined(MZ_FOLDS)
constexpr int64_t kBytes = 16, kChains = 4;  // products of one chain wait for each other

// The remainder of x^n as a factor of a reflected product, which comes out one bit low.
constexpr int64_t factor(int n) {
  uint32_t r = 0x80000000u;
  for (int i = 0; i < n; i++) r = times_x(r);
  return static_cast<int64_t>(uint64_t{r} << 1);
}
static_assert(factor(4 * 128 + 32) == 0x154442bd4 && factor(128 - 32) == 0x0ccaa009e);  // as printed in the paper

template <int BITS>
__m128i factors() {
  constexpr int64_t first = factor(BITS + 32), second = factor(BITS - 32);
  return _mm_set_epi64x(second, first);
}
__m128i at(const uint8_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }
__m128i fold(__m128i before, __m128i by, __m128i onto) {
  const __m128i first = _mm_clmulepi64_si128(before, by, 0x00), second = _mm_clmulepi64_si128(before, by, 0x11);
  return _mm_xor_si128(_mm_xor_si128(first, second), onto);
}

// The same for at least one step of all chains; `p` and `size` are moved behind what was folded.
uint32_t by_products(uint32_t r, const uint8_t*& p, int64_t& size) {
  constexpr int64_t step = kChains * kBytes;
  __m128i chain[kChains];
  for (int i = 0; i < kChains; i++) chain[i] = at(p + i * kBytes);
  chain[0] = _mm_xor_si128(chain[0], _mm_cvtsi32_si128(static_cast<int>(r)));
  const __m128i far = factors<kChains * 128>(), near = factors<128>();
  for (p += step, size -= step; size >= step; p += step, size -= step)
    for (int i = 0; i < kChains; i++) chain[i] = fold(chain[i], far, at(p + i * kBytes));
  __m128i all = chain[0];
  for (int i = 1; i < kChains; i++) all = fold(all, near, chain[i]);
  uint8_t left[kBytes];
  _mm_storeu_si128(reinterpret_cast<__m128i*>(left), all);
  return by_tables(0, left, kBytes);
}
#endif

uint32_t crc32(const uint8_t* data, int64_t size) {
  uint32_t r = ~0u;
#if defined(MZ_FOLDS)
  if (size >= kChains * kBytes) r = by_products(r, data, size);
#endif
  return ~by_tables(r, data, size);
}

}  // namespace

extern const ChecksumKernels checksum;
const ChecksumKernels checksum = {crc32};

}  // namespace mezzotint::MZ_NS
