// Codes of any width as bytes in registers: what products with codes are built from.
// Included by files in native/kernels/ only, once per instruction set.
#pragma once
#include "packed.h"
#include "simd.h"

#define MZ_INLINE inline __attribute__((always_inline))

namespace mezzotint::MZ_NS {

inline constexpr int64_t kLine = 64;  // bytes of one row group in line_groups(BITS) column groups, without last bits
inline constexpr int64_t kOddBytes = 8;  // the last bits of one row group in one column group

// Column group H of a line; `odd` is where the last bits of the line begin (read for odd widths only).
template <int BITS, int H>
MZ_INLINE Bytes codes_of(Bytes line, const uint8_t* odd) {
  const Bytes wide = wide_codes<BITS, H>(line);
  if constexpr (BITS % 2) return add_bits(wide, odd + H * kOddBytes);
  return wide;
}

// Byte by byte, below 256.
MZ_INLINE Bytes sum_of(Bytes a, const Bytes& b) {
#if defined(MZ_ISA_avx512)
  return a + b;
#else
#pragma GCC unroll 4
  for (int i = 0; i < static_cast<int>(sizeof(a.part) / sizeof(a.part[0])); i++) a.part[i] += b.part[i];
  return a;
#endif
}

// Codes that stand for themselves, and those that are looked up in a table. Of a column group H:
//   values<H>(line, odd)  the unsigned bytes that products see, below 2^product_bits
//   gaps<H>(line, odd)    how far apart the two draws of every code are, at most 127
// and for packing position(t): where among the levels a value lies, linear between neighbours.
template <int BITS>
struct Plain {
  static constexpr int bits = BITS, product_bits = BITS;
  explicit Plain(const CodeTable*) {}

  template <int H>
  MZ_INLINE Bytes values(Bytes line, const uint8_t* odd) const {
    return codes_of<BITS, H>(line, odd);
  }
  template <int H>
  MZ_INLINE Bytes gaps(Bytes line, const uint8_t* odd) const {
    if constexpr (BITS % 2) return add_bits(Bytes{}, odd + H * kOddBytes);
    return last_bit(wide_codes<BITS, H>(line));
  }
  MZ_INLINE double position(double t) const { return t; }
};

template <int BITS>
struct Tabled {
  static constexpr int bits = BITS, product_bits = 8;
  using Lookup = LookupTable<(BITS > 4)>;
  const CodeTable* table;
  Lookup value;
  explicit Tabled(const CodeTable* t) : table(t), value(t->values) {}

  template <int H>
  MZ_INLINE Bytes values(Bytes line, const uint8_t* odd) const {
    return value(codes_of<BITS, H>(line, odd));
  }
  template <int H>
  MZ_INLINE Bytes gaps(Bytes line, const uint8_t* odd) const {
    return Lookup(table->gaps)(codes_of<BITS, H>(line, odd));
  }
  MZ_INLINE double position(double t) const {
    const int below = table->below[static_cast<int>(t)];
    const double* level = table->levels + below;
    return below + (t - level[0]) / (level[1] - level[0]);
  }
};

// Calls body with codes of this coding.
template <class Body>
MZ_INLINE auto with_coding(const Coding& coding, Body body) {
  const CodeTable* table = coding.table;
  switch (coding.bits) {
    case 8: return body(Plain<8>(table));
    case 5: return table ? body(Tabled<5>(table)) : body(Plain<5>(table));
    case 4: return table ? body(Tabled<4>(table)) : body(Plain<4>(table));
    case 3: return table ? body(Tabled<3>(table)) : body(Plain<3>(table));
    default: return table ? body(Tabled<2>(table)) : body(Plain<2>(table));
  }
}

// A line for transposed_codes: even widths are transposed before they are taken apart, odd ones after.
template <int BITS>
MZ_INLINE Bytes line_of_columns(const uint8_t* p) {
  return BITS % 2 ? load(p) : transposed(load(p));
}
// All column groups of such a line, transposed.
template <class Code, int H = 0>
MZ_INLINE void transposed_codes(const Code& code, const Bytes& line, const uint8_t* odd, Bytes* codes) {
  codes[H] = code.template values<H>(line, odd);
  if constexpr (Code::bits % 2) codes[H] = transposed(codes[H]);
  if constexpr (H + 1 < line_groups(Code::bits)) transposed_codes<Code, H + 1>(code, line, odd, codes);
}

// Squared gaps of up to 255 row groups, per column. Gaps of codes that stand for themselves are 0 or 1: those are
// counted byte by byte, and bytes of a column added up once. Those of a table are squared and added up as they come.
template <class Code>
struct GapCounts;

template <int BITS>
struct GapCounts<Plain<BITS>> {
  Bytes ones[line_groups(BITS)] = {};

  template <int H = 0>
  MZ_INLINE void add(const Plain<BITS>& code, const Bytes& line, const uint8_t* odd) {
    if constexpr (BITS % 2) ones[H] = add_bits(ones[H], odd + H * kOddBytes);
    else ones[H] = sum_of(ones[H], code.template gaps<H>(line, odd));
    if constexpr (H + 1 < line_groups(BITS)) add<H + 1>(code, line, odd);
  }
  MZ_INLINE Sums squares(int part) const {
    static const int8_t one[4] = {1, 1, 1, 1};
    return dot<8>(zero(), transposed(ones[part]), splat(one));
  }
};

template <int BITS>
struct GapCounts<Tabled<BITS>> {
  Sums sums[line_groups(BITS)] = {};

  template <int H = 0>
  MZ_INLINE void add(const Tabled<BITS>& code, const Bytes& line, const uint8_t* odd) {
    const Bytes gaps = transposed(code.template gaps<H>(line, odd));
    sums[H] = dot<7>(sums[H], gaps, gaps);
    if constexpr (H + 1 < line_groups(BITS)) add<H + 1>(code, line, odd);
  }
  MZ_INLINE Sums squares(int part) const { return sums[part]; }
};

}  // namespace mezzotint::MZ_NS
