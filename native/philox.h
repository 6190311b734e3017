// Counter-based random bits: Philox4x32-10, bit-identical to src/mezzotint/random.py.
//
// Key = seed (low word first). Counter = block index (low, high), step, stream. Element i of a stream is word
// i % 4 of block i / 4. Reference: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3",
// SC 2011.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace mezzotint {

using PhiloxBlock = std::array<std::uint32_t, 4>;

inline constexpr int kPhiloxRounds = 10;
inline constexpr std::uint32_t kPhiloxMultiplier0 = 0xD2511F53u;
inline constexpr std::uint32_t kPhiloxMultiplier1 = 0xCD9E8D57u;
inline constexpr std::uint32_t kPhiloxKeyIncrement0 = 0x9E3779B9u;
inline constexpr std::uint32_t kPhiloxKeyIncrement1 = 0xBB67AE85u;

// One block of four random words.
constexpr PhiloxBlock philox(std::uint64_t seed, PhiloxBlock counter) noexcept {
    auto key0 = static_cast<std::uint32_t>(seed);
    auto key1 = static_cast<std::uint32_t>(seed >> 32);
    for (int round = 0; round < kPhiloxRounds; ++round) {
        const std::uint64_t product0 = std::uint64_t{kPhiloxMultiplier0} * counter[0];
        const std::uint64_t product1 = std::uint64_t{kPhiloxMultiplier1} * counter[2];
        counter = {static_cast<std::uint32_t>(product1 >> 32) ^ counter[1] ^ key0,
                   static_cast<std::uint32_t>(product1),
                   static_cast<std::uint32_t>(product0 >> 32) ^ counter[3] ^ key1,
                   static_cast<std::uint32_t>(product0)};
        key0 += kPhiloxKeyIncrement0;
        key1 += kPhiloxKeyIncrement1;
    }
    return counter;
}

// The block with this index of a stream: its words are elements 4 * block .. 4 * block + 3.
constexpr PhiloxBlock philox_block(std::uint64_t seed, std::uint64_t block, std::uint32_t step,
                                   std::uint32_t stream) noexcept {
    return philox(seed,
                  {static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32), step, stream});
}

// One element of a stream.
constexpr std::uint32_t random_word(std::uint64_t seed, std::uint64_t element, std::uint32_t step,
                                    std::uint32_t stream) noexcept {
    return philox_block(seed, element / 4, step, stream)[element % 4];
}

// Elements 4 * first_block .. 4 * first_block + 15. The four blocks are four lanes of 64 bits (one AVX2 register
// each for c0 .. c3), so that compilers turn the inner loops into vector multiplications without intrinsics.
inline void philox_fill16(std::uint32_t* out, std::uint64_t seed, std::uint64_t first_block, std::uint32_t step,
                          std::uint32_t stream) noexcept {
    constexpr int lanes = 4;
    constexpr std::uint64_t low_word = 0xFFFFFFFFu;
    std::uint64_t c0[lanes], c1[lanes], c2[lanes], c3[lanes];
    for (int lane = 0; lane < lanes; ++lane) {
        const std::uint64_t block = first_block + static_cast<std::uint64_t>(lane);
        c0[lane] = block & low_word;
        c1[lane] = block >> 32;
        c2[lane] = step;
        c3[lane] = stream;
    }
    auto key0 = static_cast<std::uint32_t>(seed);
    auto key1 = static_cast<std::uint32_t>(seed >> 32);
    for (int round = 0; round < kPhiloxRounds; ++round) {
        for (int lane = 0; lane < lanes; ++lane) {
            const std::uint64_t product0 = c0[lane] * kPhiloxMultiplier0;
            const std::uint64_t product1 = c2[lane] * kPhiloxMultiplier1;
            c0[lane] = (product1 >> 32) ^ c1[lane] ^ key0;
            c2[lane] = (product0 >> 32) ^ c3[lane] ^ key1;
            c1[lane] = product1 & low_word;
            c3[lane] = product0 & low_word;
        }
        key0 += kPhiloxKeyIncrement0;
        key1 += kPhiloxKeyIncrement1;
    }
    for (int lane = 0; lane < lanes; ++lane) {
        out[4 * lane + 0] = static_cast<std::uint32_t>(c0[lane]);
        out[4 * lane + 1] = static_cast<std::uint32_t>(c1[lane]);
        out[4 * lane + 2] = static_cast<std::uint32_t>(c2[lane]);
        out[4 * lane + 3] = static_cast<std::uint32_t>(c3[lane]);
    }
}

// Elements start .. start + count - 1 of a stream, any start and count: the twin of random.random_bits.
inline void random_bits(std::uint32_t* out, std::uint64_t seed, std::uint64_t start, std::size_t count,
                        std::uint32_t step, std::uint32_t stream) noexcept {
    std::size_t done = 0;
    while (done < count && (start + done) % 4 != 0) {
        out[done] = random_word(seed, start + done, step, stream);
        ++done;
    }
    for (; count - done >= 16; done += 16) {
        philox_fill16(out + done, seed, (start + done) / 4, step, stream);
    }
    for (; done < count; ++done) {
        out[done] = random_word(seed, start + done, step, stream);
    }
}

// A word as a double in [0, 1), exactly word / 2^32.
constexpr double to_uniform(std::uint32_t word) noexcept { return static_cast<double>(word) * 0x1p-32; }

}  // namespace mezzotint
