// Codes of any width as bytes in registers: what products with codes are built from.
// Included by files in native/kernels/ only, once per instruction set.
#pragma once
#include "packed.h"
#include "simd.h"

#define MZ_INLINE inline __attribute__((always_inline))

namespace mezzotint::MZ_NS {

inline constexpr int64_t kLine = 64;  // bytes of one row group in line_groups(BITS) column groups, without last bits
inline constexpr int64_t kOddBytes = 8;  // the last bits of one row group in one column group

// Calls body with the width as an integral constant.
template <int N>
struct Width {
  static constexpr int value = N;
};
template <class Body>
MZ_INLINE auto with_width(int bits, Body body) {
  switch (bits) {
    case 8: return body(Width<8>{});
    case 5: return body(Width<5>{});
    case 4: return body(Width<4>{});
    case 3: return body(Width<3>{});
    default: return body(Width<2>{});
  }
}

// Column group H of a line; `odd` is where the last bits of the line begin (read for odd widths only).
template <int BITS, int H>
MZ_INLINE Bytes codes_of(Bytes line, const uint8_t* odd) {
  const Bytes wide = wide_codes<BITS, H>(line);
  if constexpr (BITS % 2) return add_bits(wide, odd + H * kOddBytes);
  return wide;
}

// The last bit of every code of column group H.
template <int BITS, int H>
MZ_INLINE Bytes odd_codes(Bytes line, const uint8_t* odd) {
  if constexpr (BITS % 2) return add_bits(Bytes{}, odd + H * kOddBytes);
  return last_bit(wide_codes<BITS, H>(line));
}

// A line for transposed_codes: even widths are transposed before they are taken apart, odd ones after.
template <int BITS>
MZ_INLINE Bytes line_of_columns(const uint8_t* p) {
  return BITS % 2 ? load(p) : transposed(load(p));
}
// All column groups of such a line, transposed.
template <int BITS, int H = 0>
MZ_INLINE void transposed_codes(const Bytes& line, const uint8_t* odd, Bytes* codes) {
  codes[H] = codes_of<BITS, H>(line, odd);
  if constexpr (BITS % 2) codes[H] = transposed(codes[H]);
  if constexpr (H + 1 < line_groups(BITS)) transposed_codes<BITS, H + 1>(line, odd, codes);
}

// sums[H] += for every column how many of the rows of a row group have an odd code; `ones` is 1 for rows that count.
template <int BITS, int H = 0>
MZ_INLINE void count_odd(const Bytes& line, const uint8_t* odd, const Bytes& ones, Sums* sums) {
  sums[H] = dot<2>(sums[H], transposed(odd_codes<BITS, H>(line, odd)), ones);
  if constexpr (H + 1 < line_groups(BITS)) count_odd<BITS, H + 1>(line, odd, ones, sums);
}

}  // namespace mezzotint::MZ_NS
