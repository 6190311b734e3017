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

// The keys of all rounds of a seed, as lanes of 64 bits take them.
struct RoundKeys {
  uint64_t first[kPhiloxRounds], second[kPhiloxRounds];
};
inline RoundKeys round_keys(uint64_t seed) {
  RoundKeys keys;
  auto first = static_cast<uint32_t>(seed), second = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < kPhiloxRounds; round++) {
    keys.first[round] = first;
    keys.second[round] = second;
    first += kPhiloxKeyIncrement0;
    second += kPhiloxKeyIncrement1;
  }
  return keys;
}

// Philox4x32-10, 8 * GROUPS blocks of four words at a time; `high` is the upper word of all their indices. Until the
// third round some counters are the same in all lanes. The upper halves of the lanes hold whatever multiplication has
// left there: it reads lower halves only.
template <int GROUPS>
MZ_INLINE void philox_groups(uint32_t* out, const RoundKeys& keys, uint32_t low, uint32_t high, uint32_t step,
                             uint32_t stream) {
  alignas(64) static constexpr uint64_t lane[8] = {0, 1, 2, 3, 4, 5, 6, 7};
  const uint64_t step_product = uint64_t{kPhiloxMultiplier1} * step;
  const auto same = static_cast<uint32_t>((step_product >> 32) ^ high ^ keys.first[0]);
  const uint64_t same_product = uint64_t{kPhiloxMultiplier0} * same;
  const U64 none = zero<uint64_t>();
  U64 c0[GROUPS], c1[GROUPS], c2[GROUPS], c3[GROUPS];
#pragma GCC unroll 4
  for (int g = 0; g < GROUPS; g++) {
    const U64 p0 = wide_product(load(lane) + broadcast<uint64_t>(low + 8 * g), kPhiloxMultiplier0);
    const U64 p1 = wide_product(exclusive_or(shift_right<32>(p0), broadcast<uint64_t>(stream ^ keys.second[0]), none),
                                kPhiloxMultiplier1);
    c0[g] = exclusive_or(shift_right<32>(p1), broadcast<uint64_t>(step_product ^ keys.first[1]), none);
    c1[g] = p1;
    c2[g] = exclusive_or(p0, broadcast<uint64_t>((same_product >> 32) ^ keys.second[1]), none);
    c3[g] = broadcast<uint64_t>(same_product);
  }
#pragma GCC unroll 8
  for (int round = 2; round < kPhiloxRounds; round++) {
    const U64 k0 = broadcast<uint64_t>(keys.first[round]), k1 = broadcast<uint64_t>(keys.second[round]);
#pragma GCC unroll 4
    for (int g = 0; g < GROUPS; g++) {
      const U64 p0 = wide_product(c0[g], kPhiloxMultiplier0), p1 = wide_product(c2[g], kPhiloxMultiplier1);
      c0[g] = exclusive_or(shift_right<32>(p1), c1[g], k0);
      c2[g] = exclusive_or(shift_right<32>(p0), c3[g], k1);
      c1[g] = p1;
      c3[g] = p0;
    }
  }
  const U64 lower = broadcast<uint64_t>(0xFFFFFFFFu);
#pragma GCC unroll 4
  for (int g = 0; g < GROUPS; g++)
    store_interleaved(out + 32 * g, (c0[g] & lower) | shift_left<32>(c1[g]), (c2[g] & lower) | shift_left<32>(c3[g]));
}

// Returns where the word of `element` is.
MZ_INLINE const uint32_t* stochastic_words(Words& words, const OptimJob& job, const RoundKeys& keys, uint64_t element) {
  constexpr int per_block = 4, n_blocks = optim_block / per_block;
  const uint64_t first = element / per_block, skipped = element % per_block;
  const auto by_one = [&](int begin, int end) {
    for (int block = begin; block < end; block++) {
      const PhiloxBlock four = philox_block(job.seed, first + static_cast<uint64_t>(block), job.step, job.stream);
      __builtin_memcpy(words.at + per_block * block, &four, sizeof four);
    }
  };
  const auto low = static_cast<uint32_t>(first), high = static_cast<uint32_t>(first >> 32);
  if (low > UINT32_MAX - n_blocks) {
    by_one(0, n_blocks + 1);
    return words.at + skipped;
  }
  for (int block = 0; block < n_blocks; block += 8 * philox_group_count)
    philox_groups<philox_group_count>(words.at + per_block * block, keys, low + static_cast<uint32_t>(block), high,
                                      job.step, job.stream);
  if (skipped) by_one(n_blocks, n_blocks + 1);
  return words.at + skipped;
}

// By slot: how far thresholds walk in a step; by how many bits a word is rotated.
inline constexpr uint32_t dither_strides[3] = {0x9E3779B9u, 0x6A09E667u, 0xBB67AE85u};
inline constexpr int word_turns[3] = {0, 11, 22};

// Phases of dithering: the finaliser of MurmurHash3.
MZ_INLINE const uint32_t* phases(Words& words, const OptimJob& job, uint64_t element) {
  const auto low = static_cast<uint32_t>(element), high = static_cast<uint32_t>(element >> 32);
  const uint32_t before = high * dither_strides[0], after = (high + 1) * dither_strides[0], salt = job.salt;
  MZ_EACH(i) {
    const uint32_t at = low + static_cast<uint32_t>(i);
    uint32_t x = at ^ (at < low ? after : before) ^ salt;
    x = (x ^ (x >> 16)) * 0x85EBCA6Bu;
    x = (x ^ (x >> 13)) * 0xC2B2AE35u;
    words.at[i] = x ^ (x >> 16);
  }
  return words.at;
}

// What a slot makes its words of: the draws of the elements, and how far their thresholds have walked.
struct Drawn {
  const uint32_t* at;
  uint32_t walked;
};
template <int SLOT>
MZ_INLINE uint32_t word_of(const Drawn& drawn, int i) {
  constexpr int turn = word_turns[SLOT];
  const uint32_t word = drawn.at[i];
  return (word << turn | word >> (31 - turn) >> 1) + drawn.walked;
}
template <int SLOT>
MZ_INLINE const uint32_t* slot_words(Words& words, const Drawn& drawn) {
  const Drawn from = drawn;
  MZ_EACH(i) words.at[i] = word_of<SLOT>(from, i);
  return words.at;
}

}  // namespace mezzotint::MZ_NS
