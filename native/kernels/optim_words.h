// Random words of a block: the twin of src/mezzotint/optim/bits.py. Included by native/kernels/*.cpp only.
#pragma once
#include "../optim.h"
#include "../philox.h"
#include "vec.h"

// Loops over a block are plain: compilers make vectors of them, and every operation is one of IEEE's or of integers.
#define MZ_EACH(i) _Pragma("GCC ivdep") for (int i = 0; i < optim_block; i++)

namespace mezzotint::MZ_NS {

// The words of a block; three more, as a block may begin in the middle of four words that are drawn together.
struct Words {
  alignas(64) uint32_t at[optim_block + 4];
};

// Philox4x32-10, 8 * GROUPS blocks of four words at a time. The upper halves of the lanes hold whatever multiplication
// has left there: it reads lower halves only.
template <int GROUPS>
MZ_INLINE void philox_groups(uint32_t* out, uint64_t seed, uint64_t first, uint32_t step, uint32_t stream) {
  alignas(64) static constexpr uint64_t lane[8] = {0, 1, 2, 3, 4, 5, 6, 7};
  U64 c0[GROUPS], c1[GROUPS], c2[GROUPS], c3[GROUPS];
#pragma GCC unroll 4
  for (int g = 0; g < GROUPS; g++) {
    c0[g] = load(lane) + broadcast<uint64_t>(first + 8 * g);
    c1[g] = shift_right<32>(c0[g]);
    c2[g] = broadcast<uint64_t>(step);
    c3[g] = broadcast<uint64_t>(stream);
  }
  auto key0 = static_cast<uint32_t>(seed), key1 = static_cast<uint32_t>(seed >> 32);
#pragma GCC unroll 10
  for (int round = 0; round < kPhiloxRounds; round++) {
    const U64 k0 = broadcast<uint64_t>(key0), k1 = broadcast<uint64_t>(key1);
#pragma GCC unroll 4
    for (int g = 0; g < GROUPS; g++) {
      const U64 p0 = wide_product(c0[g], kPhiloxMultiplier0), p1 = wide_product(c2[g], kPhiloxMultiplier1);
      c0[g] = exclusive_or(shift_right<32>(p1), c1[g], k0);
      c2[g] = exclusive_or(shift_right<32>(p0), c3[g], k1);
      c1[g] = p1;
      c3[g] = p0;
    }
    key0 += kPhiloxKeyIncrement0;
    key1 += kPhiloxKeyIncrement1;
  }
  const U64 low = broadcast<uint64_t>(0xFFFFFFFFu);
#pragma GCC unroll 4
  for (int g = 0; g < GROUPS; g++)
    store_interleaved(out + 32 * g, (c0[g] & low) | shift_left<32>(c1[g]), (c2[g] & low) | shift_left<32>(c3[g]));
}

// Returns where word `element` is.
MZ_INLINE const uint32_t* stochastic_words(Words& words, const OptimJob& job, uint32_t stream, uint64_t element) {
  const uint64_t first = element / 4;
  const int skipped = static_cast<int>(element % 4);
  for (int block = 0; block < optim_block / 4; block += 8 * philox_group_count)
    philox_groups<philox_group_count>(words.at + 4 * block, job.seed, first + block, job.step, stream);
  if (skipped) {
    const PhiloxBlock last = philox_block(job.seed, first + optim_block / 4, job.step, stream);
    __builtin_memcpy(words.at + optim_block, &last, sizeof last);
  }
  return words.at + skipped;
}

inline constexpr uint32_t dither_strides[3] = {0x9E3779B9u, 0x6A09E667u, 0xBB67AE85u};

// phase(element) + step * stride; the phase is the finaliser of MurmurHash3.
MZ_INLINE const uint32_t* dithered_words(Words& words, const OptimJob& job, int slot, uint64_t element) {
  const auto low = static_cast<uint32_t>(element), high = static_cast<uint32_t>(element >> 32);
  const uint32_t before = high * dither_strides[0], after = (high + 1) * dither_strides[0], salt = job.salt[slot];
  const uint32_t walked = job.step * dither_strides[slot];
  MZ_EACH(i) {
    const uint32_t at = low + static_cast<uint32_t>(i);
    uint32_t x = at ^ (at < low ? after : before) ^ salt;
    x = (x ^ (x >> 16)) * 0x85EBCA6Bu;
    x = (x ^ (x >> 13)) * 0xC2B2AE35u;
    words.at[i] = (x ^ (x >> 16)) + walked;
  }
  return words.at;
}

}  // namespace mezzotint::MZ_NS
