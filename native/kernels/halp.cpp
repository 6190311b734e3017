#include "halp.h"

#include "codes.h"  // first: vec.h, below, has a load and a store of its own

#include "halp_bits.h"
#include "lanes.h"
#include "rows.h"
#include "spread.h"

namespace mezzotint::MZ_NS {
namespace {

// ---- products with codes

// How many outputs share the loads of codes; four row groups each keep a sum per output in registers.
#if defined(MZ_ISA_avx512)
constexpr int outputs_shared = 5;
#else
constexpr int outputs_shared = 1;
#endif

constexpr int groups_ahead = 2;  // row groups of a tile that margins prefetch; the gradient has the others

// 64 bytes of codes or offsets; vec.h has a load of its own.
MZ_INLINE Bytes bytes_at(const void* p) { return load(p); }

// Where the parts of a row group lie; a chunk is a line of 64 bytes and its last bits, one to four column groups.
template <int bits>
struct RowGroups {
  static constexpr int per_chunk = line_groups(bits);
  int64_t chunks, bytes;
  explicit RowGroups(int64_t padded) : chunks(padded / (16 * per_chunk)), bytes(padded * bits / 2) {}
  int64_t line(int64_t g, int64_t chunk) const { return g * bytes + chunk * kLine; }
  int64_t odd(int64_t g, int64_t chunk) const { return g * bytes + chunks * kLine + chunk * per_chunk * kOddBytes; }
  MZ_INLINE void prefetch_chunk(const uint8_t* tile, int64_t g, int64_t chunk) const {
    prefetch(tile + line(g, chunk));
    if constexpr (bits % 2) prefetch(tile + odd(g, chunk));
  }
};

// Adds the products of one chunk to C outputs; z is where its first column group begins.
template <class Code, int C, int H = 0>
MZ_INLINE void add_chunk(const Code& code, Sums* total, int64_t step, const Bytes& line, const uint8_t* odd,
                         const int8_t* z, int64_t stride) {
  const Bytes codes = code.template values<H>(line, odd);
#pragma GCC unroll 8
  for (int k = 0; k < C; k++) total[k * step] = dot<Code::product_bits>(total[k * step], codes, bytes_at(z + k * stride));
  if constexpr (H + 1 < line_groups(Code::bits))
    add_chunk<Code, C, H + 1>(code, total, step, line, odd, z + 64, stride);
}

template <class Code, int C>
MZ_INLINE void tile_margins(const Code& code, const uint8_t* tile, int64_t padded, const int8_t* z, int32_t* sums,
                            const uint8_t* next) {
  const RowGroups<Code::bits> groups(padded);
  Sums total[4 * C];
#pragma GCC unroll 32
  for (auto& sum : total) sum = zero();
  for (int64_t chunk = 0; chunk < groups.chunks; chunk++) {
    const int8_t* const here = z + chunk * groups.per_chunk * 64;
#pragma GCC unroll 4
    for (int g = 0; g < 4; g++) {
      if (next && g < groups_ahead) groups.prefetch_chunk(next, g, chunk);
      add_chunk<Code, C>(code, total + g, 4, bytes_at(tile + groups.line(g, chunk)), tile + groups.odd(g, chunk), here,
                         padded * spread);
    }
  }
#pragma GCC unroll 8
  for (int k = 0; k < C; k++) {
    const Sums* const t = total + 4 * k;
    store(sums + k * tile_rows, sum_tiles(t[0], t[1], t[2], t[3]));
  }
}

template <class Code>
void margins_of(const Code& code, const uint8_t* tile, int64_t padded, const int8_t* z, int64_t K, int32_t* sums,
                const uint8_t* next) {
  in_class_blocks<outputs_shared>(K, [&](int64_t k, int count) {
    with_count<outputs_shared>(count, [&](auto c) {
      tile_margins<Code, decltype(c)::value>(code, tile, padded, z + k * padded * spread, sums + k * tile_rows,
                                             k ? nullptr : next);
    });
  });
}

void margins(const uint8_t* tile, const Coding& coding, int64_t padded, const int8_t* z, int64_t K, int32_t* sums,
             const uint8_t* next) {
  with_coding(coding, [&](const auto& code) { margins_of(code, tile, padded, z, K, sums, next); });
}

// With gap_squares if `gaps`: what they look at is in the registers anyway.
template <class Code, int C, bool gaps = false>
MZ_INLINE void slab_gradient(const Code& code, const uint8_t* const* tiles, int64_t n_tiles, int64_t padded,
                             const int8_t* c, int32_t* products, const uint8_t* const* next,
                             int32_t* gap_squares = nullptr) {
  constexpr int per_chunk = line_groups(Code::bits);
  const RowGroups<Code::bits> groups(padded);
  for (int64_t chunk = 0; chunk < groups.chunks; chunk++) {
    Sums total[per_chunk][C];
#pragma GCC unroll 4
    for (auto& sums : total)
#pragma GCC unroll 8
      for (auto& sum : sums) sum = zero();
    [[maybe_unused]] GapCounts<Code> counts;
    for (int64_t t = 0; t < n_tiles; t++) {
#pragma GCC unroll 4
      for (int g = 0; g < 4; g++) {
        if (next && g >= groups_ahead) groups.prefetch_chunk(next[t], g, chunk);
        const uint8_t *const line = tiles[t] + groups.line(g, chunk), *const odd = tiles[t] + groups.odd(g, chunk);
        Bytes columns[per_chunk];
        transposed_codes(code, line_of_columns<Code::bits>(line), odd, columns);
        if constexpr (gaps) counts.add(code, bytes_at(line), odd);
#pragma GCC unroll 4
        for (int part = 0; part < per_chunk; part++)
#pragma GCC unroll 8
          for (int k = 0; k < C; k++)
            total[part][k] = dot<Code::product_bits>(total[part][k], columns[part],
                                                     splat(c + k * slab_rows + t * tile_rows + 4 * g));
      }
    }
#pragma GCC unroll 4
    for (int part = 0; part < per_chunk; part++)
#pragma GCC unroll 8
      for (int k = 0; k < C; k++) store(products + k * padded + (chunk * per_chunk + part) * 16, total[part][k]);
    if constexpr (gaps)
#pragma GCC unroll 4
      for (int part = 0; part < per_chunk; part++)
        store(gap_squares + (chunk * per_chunk + part) * 16, counts.squares(part));
  }
}

template <class Code>
void gradient_of(const Code& code, const uint8_t* const* tiles, int64_t n_tiles, int64_t padded, const int8_t* c,
                 int64_t K, int32_t* products, const uint8_t* const* next) {
  in_class_blocks<outputs_shared>(K, [&](int64_t k, int count) {
    with_count<outputs_shared>(count, [&](auto shared) {
      slab_gradient<Code, decltype(shared)::value>(code, tiles, n_tiles, padded, c + k * slab_rows,
                                                   products + k * padded, k ? nullptr : next);
    });
  });
}

void gradient(const uint8_t* const* tiles, int64_t n_tiles, const Coding& coding, int64_t padded, const int8_t* c,
              int64_t K, int32_t* products, const uint8_t* const* next) {
  with_coding(coding, [&](const auto& code) { gradient_of(code, tiles, n_tiles, padded, c, K, products, next); });
}

void gradient_and_gaps(const uint8_t* const* tiles, int64_t n_tiles, const Coding& coding, int64_t padded,
                       const int8_t* c, int32_t* products, const uint8_t* const* next, int32_t* gap_squares) {
  with_coding(coding, [&]<class Code>(const Code& code) {
    slab_gradient<Code, 1, true>(code, tiles, n_tiles, padded, c, products, next, gap_squares);
  });
}

template <class Code>
void gap_squares_of(const Code& code, const uint8_t* const* tiles, int64_t n_tiles, int64_t padded, int32_t* out) {
  using Counts = GapCounts<Code>;
  const RowGroups<Code::bits> groups(padded);
  for (int64_t chunk = 0; chunk < groups.chunks; chunk++) {
    Counts counts;
    for (int64_t t = 0; t < n_tiles; t++)
#pragma GCC unroll 4
      for (int g = 0; g < 4; g++)
        counts.add(code, bytes_at(tiles[t] + groups.line(g, chunk)), tiles[t] + groups.odd(g, chunk));
#pragma GCC unroll 4
    for (int part = 0; part < groups.per_chunk; part++)
      store(out + (chunk * groups.per_chunk + part) * 16, counts.squares(part));
  }
}

void gap_squares(const uint8_t* const* tiles, int64_t n_tiles, const Coding& coding, int64_t padded, int32_t* sums) {
  with_coding(coding, [&](const auto& code) { gap_squares_of(code, tiles, n_tiles, padded, sums); });
}

float quantise(const float* c, int8_t* integers, int32_t* sum) {
  F32 sizes = zero<float>();
  for (int64_t i = 0; i < slab_rows; i += 16) sizes = larger(sizes, larger(load(c + i), zero<float>() - load(c + i)));
  const float largest = largest_lane(sizes), inverse = largest > 0 ? coefficient_limit / largest : 0.0f;
  int32_t rounded[slab_rows], total = 0;
  for (int64_t i = 0; i < slab_rows; i++) {
    const float to_integer = 0x1.8p23f;  // adding it rounds to the nearest integer, ties to even
    rounded[i] = static_cast<int32_t>((c[i] * inverse + to_integer) - to_integer);
  }
  for (int64_t i = 0; i < slab_rows; i++) integers[i] = static_cast<int8_t>(rounded[i]);
  for (int64_t i = 0; i < slab_rows; i++) total += rounded[i];
  *sum = total;
  return largest / coefficient_limit;
}

// ---- a step, column by column

MZ_INLINE F32 integers_at(const int32_t* p, int32_t minus) {
  F32 out;
  using T = float;
  typedef int32_t Part __attribute__((vector_size(part_bytes)));
  MZ_EACH_PART(i) {
    Part v;
    std::memcpy(&v, p + i * F32::part_lanes, part_bytes);
    out.part[i] = __builtin_convertvector(v - minus, F32::Part);
  }
  return out;
}

void collect(const int32_t* products, int64_t stride, int64_t n_slabs, const float* scale, const int32_t* mid_sum,
             int64_t padded, float* total) {
  for (int64_t j = 0; j < padded; j += 16) {
    F32 sum = zero<float>();
    for (int64_t h = 0; h < n_slabs; h++)
      sum = sum + broadcast(scale[h]) * integers_at(products + h * stride + j, mid_sum[h]);
    store(total + j, sum);
  }
}

void collect_floats(const float* products, int64_t stride, int64_t n_slabs, const float* factor, int64_t padded,
                    float* total) {
  for (int64_t j = 0; j < padded; j += 16) {
    F32 sum = zero<float>();
    for (int64_t h = 0; h < n_slabs; h++) sum = sum + load(products + h * stride + j);
    store(total + j, load(factor + j) * sum);
  }
}

void descend(const HalpColumns& columns, const float* total, float total_c, float momentum, float delta,
             float inverse_delta) {
  for (int64_t j = 0; j < columns.padded; j += 16) {
    const F32 offset = load(columns.offset + j);
    const F32 data = load(total + j) - load(columns.shift + j) * broadcast(total_c);
    const F32 centre = load(columns.gradient + j) + load(columns.penalty + j) * (broadcast(delta) * offset);
    const F32 velocity = broadcast(momentum) * load(columns.velocity + j) + (data + centre);
    store(columns.velocity + j, velocity);
    store(columns.target + j, offset - (load(columns.step + j) * broadcast(inverse_delta)) * velocity);
  }
}

// Adds sixteen columns to the totals, which eight lanes and `sum` accumulate.
MZ_INLINE void add_totals(const HalpColumns& columns, int64_t j, F64& shifted) {
  shifted = shifted + load(columns.shift_exact + j) * load_wide(columns.offset + j);
  shifted = shifted + load(columns.shift_exact + j + 8) * load_wide(columns.offset + j + 8);
}

template <int half>
MZ_INLINE F32 round_sixteen(const HalpColumns& columns, int64_t j, const U32& word) {
  const F32 rounded = round_down(load(columns.target + j) + uniforms<half>(word));
  store(columns.offset + j, rounded);
  return rounded;
}

// Whether all lanes are in [-limit, limit]; false for NaN.
MZ_INLINE bool within(const F32& low, const F32& high, float limit) {
  float lows[16], highs[16];
  store(lows, low);
  store(highs, high);
  bool inside = true;
  for (int l = 0; l < 16; l++) inside = inside && lows[l] >= -limit && highs[l] <= limit;
  return inside;
}
bool round(const HalpColumns& columns, const HalpBits& bits, int8_t* z, HalpTotals* totals) {
  F32 low = zero<float>(), high = zero<float>();
  const auto widen = [&](const F32& v) __attribute__((always_inline)) {
    low = smaller(low, v);
    high = larger(high, v);
  };
  for (int64_t group = 0; 128 * group < columns.padded; group++) {
    U32 words[4];
    sixteen_blocks(bits, static_cast<uint32_t>(group), words);
    for (int k = 0; k < 4; k++) {
      const int64_t j = 128 * group + 32 * k;
      if (j < columns.padded) widen(round_sixteen<0>(columns, j, words[k]));
      if (j + 16 < columns.padded) widen(round_sixteen<1>(columns, j + 16, words[k]));
    }
  }
  if (!within(low, high, offset_limit)) return false;
  F64 shifted = zero<double>();
  F32 sum = zero<float>();  // at most 65,536 / 16 * 127 per lane: exact
  for (int64_t j = 0; j < columns.padded; j += 16) {
    add_totals(columns, j, shifted);
    sum = sum + load(columns.offset + j);
    int32_t integers[16];
    for (int64_t l = 0; l < 16; l++) integers[l] = static_cast<int32_t>(columns.offset[j + l]);
    spread_out(integers, z + j * spread);
  }
  *totals = {sum_lanes(shifted), static_cast<int32_t>(sum_lanes(sum))};
  return true;
}

void adopt(const HalpColumns& columns, const float* factor, float* z, HalpTotals* totals) {
  F64 shifted = zero<double>();
  for (int64_t j = 0; j < columns.padded; j += 16) {
    const F32 target = load(columns.target + j);
    store(columns.offset + j, target);
    store(z + j, target * load(factor + j));
    add_totals(columns, j, shifted);
  }
  *totals = {sum_lanes(shifted), 0};
}

void halve(float* x, int64_t padded) {
  for (int64_t j = 0; j < padded; j += 16) store(x + j, load(x + j) * broadcast(0.5f));
}

void add(float* sums, const float* x, int64_t padded) {
  for (int64_t j = 0; j < padded; j += 16) store(sums + j, load(sums + j) + load(x + j));
}

}  // namespace

extern const HalpKernels halp;
const HalpKernels halp = {
    margins, gradient, gradient_and_gaps, gap_squares, quantise, collect, collect_floats, descend, round, adopt, halve, add,
};

}  // namespace mezzotint::MZ_NS
