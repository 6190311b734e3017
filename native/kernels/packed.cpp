#include "packed.h"

#include <bit>
#include <type_traits>

#include "codes.h"

namespace mezzotint::MZ_NS {
namespace {

// Arrays of vectors become registers only if every loop over them is unrolled.
#define MZ_UNROLL _Pragma("GCC unroll 8")

constexpr int64_t kSliceBytes = 32 * 1024;  // vectors of a column slice: they stay in L1 while the rows stream by
constexpr int kSliceVectors = 24;

// ---- codes times vectors ----

struct RowSlice {
  const uint8_t* codes;   // 16 rows, from some column on
  const uint8_t* odd;     // their last bits, for odd widths
  int64_t stride;         // bytes of a row group of 4 rows
  int64_t groups;         // column groups in the slice
  const int8_t* vectors;  // [column group][n_vectors][64]
  int64_t n_vectors;
  const uint8_t* next;    // what to prefetch, in the order of memory, and how fast
  int64_t next_step;
};

// What 16 rows add in the column groups of a line from H on.
template <class Code, int V, int H = 0>
MZ_INLINE void row_step(const Code& code, const RowSlice& slice, const uint8_t* line, const uint8_t* odd,
                        const int8_t* vectors, RowSums (&sums)[4][V]) {
  Bytes codes[4];
  MZ_UNROLL
  for (int r = 0; r < 4; r++) codes[r] = code.template values<H>(load(line + r * slice.stride), odd + r * slice.stride);
  MZ_UNROLL
  for (int v = 0; v < V; v++) {
    const Bytes w = load(vectors + v * kVectorBytes);
    MZ_UNROLL
    for (int r = 0; r < 4; r++) sums[r][v] = dot<Code::product_bits>(sums[r][v], codes[r], w);
  }
  if constexpr (H + 1 < line_groups(Code::bits))
    row_step<Code, V, H + 1>(code, slice, line, odd, vectors + slice.n_vectors * kVectorBytes, sums);
}

// V vectors times 16 rows; out[v * out_stride + row] += the sums of this slice.
template <class Code, int V>
void row_tile(const Code& code, RowSlice& slice, int64_t first_vector, int32_t* out, int64_t out_stride) {
  constexpr int BITS = Code::bits;
  RowSums sums[4][V];
  MZ_UNROLL
  for (auto& row : sums)
    MZ_UNROLL
    for (auto& s : row) s = RowSums{};
  constexpr int kAhead = 4 * BITS / wide_bits(BITS);  // cache lines of a line in 4 row groups
  const uint8_t *line = slice.codes, *odd = slice.odd, *next = slice.next;
  const int8_t* vectors = slice.vectors + first_vector * kVectorBytes;
  const int64_t step = line_groups(BITS) * slice.n_vectors * kVectorBytes;
  for (int64_t g = 0; g < slice.groups; g += line_groups(BITS), line += kLine, next += slice.next_step) {
    MZ_UNROLL
    for (int r = 0; r < kAhead; r++) prefetch_near(next + r * kLine);
    row_step(code, slice, line, odd, vectors, sums);
    odd += line_groups(BITS) * kOddBytes;
    vectors += step;
  }
  slice.next = next;
  out += first_vector * out_stride;
  MZ_UNROLL
  for (int v = 0; v < V; v++) add_to(out + v * out_stride, sum_tiles(sums[0][v], sums[1][v], sums[2][v], sums[3][v]));
}

// Vectors `first` to `last` on 16 rows, as many at a time as registers hold. Vectors come in pairs; a single pair has
// too few independent sums to keep the multipliers busy, so none is left over.
template <class Code, int V = kRowVectors>
void row_tiles(const Code& code, RowSlice& slice, int64_t first, int64_t last, int32_t* out, int64_t out_stride) {
  for (; last - first >= V && (V == 2 || last - first != V + 2); first += V)
    row_tile<Code, V>(code, slice, first, out, out_stride);
  if constexpr (V > 2) row_tiles<Code, V - 2>(code, slice, first, last, out, out_stride);
}

// All rows times the vectors `first` to `last`, slice by slice. The first slice prefetches the whole next 16 rows in
// the order of memory: that order is what hardware prefetchers follow, and a slower pace loses no request.
template <class Code>
void row_slices(const Code& code, const CodeBlock& block, const int8_t* vectors, int64_t n_vectors, int64_t first,
                int64_t last, int32_t* sums) {
  constexpr int BITS = Code::bits;
  const int64_t stride = block.stride(), width = kSliceBytes / kVectorBytes / (last - first) / 4 * 4;
  for (int64_t g = 0; g < block.groups; g += width) {
    RowSlice slice{block.codes + g / line_groups(BITS) * kLine, block.codes + block.wide_bytes() + g * kOddBytes,
                   stride, block.groups - g < width ? block.groups - g : width,
                   vectors + g * n_vectors * kVectorBytes, n_vectors, block.codes, 0};
    if (first == 0 && g == 0) {
      const int64_t steps = slice.groups / line_groups(BITS) * ((last + kRowVectors - 1) / kRowVectors);
      slice.next_step = (4 * stride / kLine + steps - 1) / steps * kLine;
    }
    for (int64_t r = 0; r < block.rows; r += 16, slice.codes += 4 * stride, slice.odd += 4 * stride) {
      if (slice.next_step) slice.next = slice.codes + 4 * stride;
      row_tiles(code, slice, first, last, sums + r, block.rows);
    }
  }
}

void row_dots(const CodeBlock& block, const int8_t* vectors, int64_t n_vectors, int32_t* sums) {
  std::memset(sums, 0, static_cast<size_t>(n_vectors * block.rows) * sizeof(int32_t));
  for (int64_t first = 0; first < n_vectors; first += kSliceVectors) {
    const int64_t last = first + kSliceVectors < n_vectors ? first + kSliceVectors : n_vectors;
    with_coding(block.coding, [&](const auto& code) { row_slices(code, block, vectors, n_vectors, first, last, sums); });
  }
}

// ---- row coefficients times codes ----

void bring_near(const CodeBlock& block) {
  const int64_t bytes = block.rows / 4 * block.stride();
  for (int64_t i = 0; i < bytes; i += kLine) static_cast<void>(*static_cast<const volatile uint8_t*>(block.codes + i));
}

struct ColumnTile {
  const CodeBlock& block;
  const RoundedRows& rows;
  int64_t group;   // first column group
  int64_t output;  // first output
};

// Sums over all rows of the block for G column groups and V outputs, added to the totals. Meanwhile memory is kept
// busy with the first lines of the block that follows.
template <class Code, int G, int V>
void column_tile(const Code& code, const ColumnTile& tile, double* totals) {
  constexpr int BITS = Code::bits;
  constexpr int kGroups = line_groups(BITS), kLines = G / kGroups;
  const int64_t stride = tile.block.stride();
  Sums sums[G][V];
  MZ_UNROLL
  for (auto& column : sums)
    MZ_UNROLL
    for (auto& s : column) s = Sums{};
  const uint8_t* line = tile.block.codes + tile.group / kGroups * kLine;
  const uint8_t* odd = tile.block.codes + tile.block.wide_bytes() + tile.group * kOddBytes;
  const int8_t* integers = tile.rows.integers + 4 * tile.output;
  const uint8_t* ahead = tile.block.codes + tile.block.rows / 4 * (stride + tile.group / G * kLine);
  for (int64_t r = 0; r < tile.block.rows; r += 4, line += stride, odd += stride, integers += 4 * tile.rows.outputs) {
    prefetch(ahead);
    ahead += kLine;
    if constexpr (BITS % 2) prefetch_near(odd + stride);
    Bytes codes[G];
    MZ_UNROLL
    for (int i = 0; i < kLines; i++) {
      prefetch_near(line + stride + i * kLine);
      transposed_codes(code, line_of_columns<BITS>(line + i * kLine), odd + i * kGroups * kOddBytes,
                       codes + i * kGroups);
    }
    MZ_UNROLL
    for (int v = 0; v < V; v++) {
      const Bytes e = splat(integers + 4 * v);
      MZ_UNROLL
      for (int g = 0; g < G; g++) sums[g][v] = dot<Code::product_bits>(sums[g][v], codes[g], e);
    }
  }
  const int64_t columns = 16 * tile.block.groups;
  MZ_UNROLL
  for (int v = 0; v < V; v++)
    MZ_UNROLL
    for (int g = 0; g < G; g++) {
      const int64_t k = tile.output + v;
      add_scaled(totals + k * columns + (tile.group + g) * 16, sums[g][v], tile.rows.shift[k], tile.rows.step[k]);
    }
}

// G column groups and all outputs from `output` on, as many at a time as registers hold.
template <class Code, int G, int V>
void column_outputs(const Code& code, const CodeBlock& block, const RoundedRows& rows, int64_t group, int64_t output,
                    double* totals) {
  for (; rows.outputs - output >= V; output += V) column_tile<Code, G, V>(code, {block, rows, group, output}, totals);
  if constexpr (V > 1) column_outputs<Code, G, V - 1>(code, block, rows, group, output, totals);
}

// Few outputs take more columns at a time: that makes enough independent sums. Column groups are the outer loop, so
// that a strip of codes stays in L1 for all outputs.
template <class Code>
void column_dots_of(const Code& code, const CodeBlock& block, const RoundedRows& rows, double* totals) {
  constexpr int kOutputs = kColumnSums / 4;
  int64_t g = 0;
  if constexpr (kOutputs >= 2)
    for (; rows.outputs <= 2 && g + 8 <= block.groups; g += 8)
      column_outputs<Code, 8, 2>(code, block, rows, g, 0, totals);
  for (; g + 4 <= block.groups; g += 4) column_outputs<Code, 4, kOutputs>(code, block, rows, g, 0, totals);
  constexpr int kLeast = line_groups(Code::bits);
  for (; g < block.groups; g += kLeast) column_outputs<Code, kLeast, kOutputs>(code, block, rows, g, 0, totals);
}

void column_dots(const CodeBlock& block, const RoundedRows& rows, double* totals) {
  with_coding(block.coding, [&](const auto& code) { column_dots_of(code, block, rows, totals); });
}

// ---- gaps between two draws ----

// Adds the rows of one row group in the column groups of a line from H on.
template <class Code, int H = 0>
MZ_INLINE void add_weighted_gaps(const Code& code, const uint8_t* line, const uint8_t* odd, int64_t rows,
                                 const double* weights, double* totals) {
  uint8_t gaps[64];
  store(gaps, code.template gaps<H>(load(line), odd));
  for (int64_t r = 0; r < rows; r++)
    for (int64_t j = 0; j < 16; j++) {
      const int gap = gaps[j / 4 * 16 + 4 * r + j % 4];
      totals[16 * H + j] += weights[r] * (gap * gap);
    }
  if constexpr (H + 1 < line_groups(Code::bits)) add_weighted_gaps<Code, H + 1>(code, line, odd, rows, weights, totals);
}

template <class Code>
void add_gap_squares_of(const Code& code, const CodeBlock& block, int64_t rows, const double* weights,
                        double* totals) {
  constexpr int kGroups = line_groups(Code::bits);
  for (int64_t r = 0; r < rows; r += 4) {
    const uint8_t* group = block.codes + r / 4 * block.stride();
    for (int64_t g = 0; g < block.groups; g += kGroups)
      add_weighted_gaps(code, group + g / kGroups * kLine, group + block.wide_bytes() + g * kOddBytes,
                        rows - r < 4 ? rows - r : 4, weights + r, totals + g * 16);
  }
}

void add_gap_squares(const CodeBlock& block, int64_t rows, const double* weights, double* totals) {
  with_coding(block.coding, [&](const auto& code) { add_gap_squares_of(code, block, rows, weights, totals); });
}

// ---- row-wise steps ----

void margins(int64_t rows, const int32_t* high, const int32_t* low, const MarginScale& scale, float* psi) {
  for (int64_t r = 0; r < rows; r++) {
    const double sum = 256.0 * high[r] + low[r] - scale.shift;  // integers under 2^53: exact
    psi[r] = static_cast<float>(scale.base + scale.scale * sum);
  }
}

void weigh(int64_t rows, const float* psi, const float* weights, float* c) {
  for (int64_t r = 0; r < rows; r++) c[r] = weights[r] * psi[r];
}

void weigh_softmax(int64_t rows, int64_t outputs, const float* psi, int64_t stride, const float* weights,
                   const float* p, int64_t p_stride, float* c) {
  float mean[kMaxBlockRows] = {};
  for (int64_t k = 0; k < outputs; k++)
    for (int64_t r = 0; r < rows; r++) mean[r] += p[k * p_stride + r] * psi[k * stride + r];
  for (int64_t k = 0; k < outputs; k++)
    for (int64_t r = 0; r < rows; r++)
      c[k * stride + r] = weights[r] * p[k * p_stride + r] * (psi[k * stride + r] - mean[r]);
}

RoundedSum round_rows(int64_t rows, const float* c, int64_t outputs, int8_t* integers, double* lanes) {
  uint32_t largest_bits = 0;  // as integers, magnitudes keep their order and NaN comes last
  for (int64_t r = 0; r < rows; r++) {
    const uint32_t bits = std::bit_cast<uint32_t>(c[r]) & 0x7FFFFFFFu;
    largest_bits = bits > largest_bits ? bits : largest_bits;
  }
  const double largest = std::bit_cast<float>(largest_bits);
  const double inverse = largest > 0 ? 127.0 / largest : 0.0;
  int32_t total = 0;
  for (int64_t r = 0; r < rows; r += 16) {
    int8_t rounded[16];
    round16(c + r, inverse, rounded);
    for (int i = 0; i < 16; i++) lanes[i] += static_cast<double>(c[r + i]);
    for (int i = 0; i < 16; i++) total += rounded[i];
    for (int i = 0; i < 4; i++) std::memcpy(integers + (r / 4 + i) * 4 * outputs, rounded + 4 * i, 4);
  }
  return {largest / 127.0, total};
}

// ---- packing ----

template <class T>
struct Float;
template <>
struct Float<float> {
  using Word = uint32_t;
  static constexpr Word kInfinity = 0xFF000000u;  // shifted left by one: no sign
  static constexpr float kRound = 0x1.8p23f;
};
template <>
struct Float<double> {
  using Word = uint64_t;
  static constexpr Word kInfinity = 0xFFE0000000000000u;
  static constexpr double kRound = 0x1.8p52;
};

// Values bounded to the codes, t = min(max((x - offset) / scale, 0), limit), 16 at a time. `x > 0 ? x : 0` turns
// NaN, an overflow times a zero scale, into 0. Magnitudes are collected on the way: NaN and infinity are the largest.
template <class T, class Code>
struct Bounder {
  using Word = typename Float<T>::Word;
#if defined(MZ_ISA_avx512)
  typedef T Values __attribute__((vector_size(64)));
  typedef Word Words __attribute__((vector_size(64)));
#else
  typedef T Values __attribute__((vector_size(16)));
  typedef Word Words __attribute__((vector_size(16)));
#endif
  static constexpr int kLanes = sizeof(Values) / sizeof(T);

  Values limit;
  Code code;
  Words largest = {};

  static MZ_INLINE Values values(const T* p) {
    Values v;
    std::memcpy(&v, p, sizeof v);
    return v;
  }
  MZ_INLINE Values bounded(const T* x, const T* offset, const T* inverse) {
    const Words bits = (Words)values(x) << 1;
    largest = bits > largest ? bits : largest;
    const Values scaled = (values(x) - values(offset)) * values(inverse);
    const Values positive = scaled > T(0) ? scaled : Values{};
    return positive < limit ? positive : limit;
  }
  // Nearest code, ties to even.
  MZ_INLINE Codes16 nearest(const T* x, const T* offset, const T* inverse) {
    alignas(64) Word codes[16];
    MZ_UNROLL
    for (int i = 0; i < 16; i += kLanes) {
      const Values rounded = bounded(x + i, offset + i, inverse + i) + Float<T>::kRound;  // integers in the low bits
      std::memcpy(codes + i, &rounded, sizeof rounded);
    }
    return low_bytes(codes);
  }
  // floor(t + u), t counted in levels: the upper neighbour with the probability of the fraction.
  MZ_INLINE Codes16 stochastic(const T* x, const T* offset, const T* inverse, const uint32_t* words) {
    uint32_t codes[16];
    for (int i = 0; i < 16; i += kLanes) {
      const Values t = bounded(x + i, offset + i, inverse + i);
      for (int l = 0; l < kLanes; l++)
        codes[i + l] = static_cast<uint32_t>(static_cast<int32_t>(code.position(t[l]) + words[i + l] * 0x1p-32));
    }
    return low_bytes(codes);
  }
  bool finite() const {
    for (int l = 0; l < kLanes; l++)
      if (largest[l] >= Float<T>::kInfinity) return false;
    return true;
  }
};

template <class T, class Code>
struct Packer {
  const T* x;
  int64_t rows, columns;  // of x
  const T* offset;
  const T* inverse;
  const uint32_t* words;
  int draws;
  Bounder<T, Code> bounder;

  // 16 codes of a row, without reading past its end; 0 for rows and columns that do not exist.
  __attribute__((noinline)) Codes16 codes_at_edge(int64_t r, int64_t column) {
    T values[16] = {};
    const int64_t count = columns - column < 16 ? columns - column : 16;
    if (r >= rows || count <= 0) return Codes16{};
    std::memcpy(values, x + r * columns + column, static_cast<size_t>(count) * sizeof(T));
    if (!words) return bounder.nearest(values, offset + column, inverse + column);
    typedef uint8_t Levels __attribute__((vector_size(16)));  // added as bytes, and no sum overflows one
    Levels sum{};
    for (int draw = 0; draw < draws; draw++) {
      uint32_t some_words[16] = {};
      std::memcpy(some_words, words + (4 * draw + r) * columns + column, static_cast<size_t>(count) * sizeof(uint32_t));
      sum += (Levels)bounder.stochastic(values, offset + column, inverse + column, some_words);
    }
    return (Codes16)sum;
  }
  Bytes edge_tiles(int64_t column) {
    return tiles(codes_at_edge(0, column), codes_at_edge(1, column), codes_at_edge(2, column),
                 codes_at_edge(3, column));
  }
  MZ_INLINE Bytes inner_tiles(int64_t column) {
    const auto codes = [&](int64_t r) __attribute__((always_inline)) {
      return bounder.nearest(x + r * columns + column, offset + column, inverse + column);
    };
    return tiles(codes(0), codes(1), codes(2), codes(3));
  }
};

// A line with the codes of its column groups from H on; their last bits go to `odd`.
template <int BITS, int H = 0, class Tiles>
MZ_INLINE Bytes packed_line(Bytes line, int64_t column, uint8_t* odd, Tiles tiles_at) {
  const Bytes codes = tiles_at(column + 16 * H);
  line = put<BITS, H>(line, codes);
  if constexpr (BITS % 2) store_bits(odd + H * kOddBytes, codes);
  if constexpr (H + 1 < line_groups(BITS)) return packed_line<BITS, H + 1>(line, column, odd, tiles_at);
  return line;
}

template <class T, class Code>
bool pack_as(const PackedShape& shape, Packer<T, Code> packer, uint8_t* codes) {
  constexpr int BITS = Code::bits;
  constexpr int64_t kWidth = 16 * line_groups(BITS);  // columns of a line
  constexpr int64_t kLineOdd = line_groups(BITS) * kOddBytes;
  const int64_t inner = packer.rows == 4 && !packer.words ? shape.columns / kWidth * kWidth : 0;
  const int64_t padded = shape.padded_columns();
  int64_t column = 0;
  uint8_t* odd = codes + padded / kWidth * kLine;
  const T* next = packer.x + 4 * packer.columns;  // the following rows, in the order of memory
  const auto inner_tiles = [&](int64_t c) __attribute__((always_inline)) { return packer.inner_tiles(c); };
  const auto edge_tiles = [&](int64_t c) __attribute__((always_inline)) { return packer.edge_tiles(c); };
  for (; column < inner; column += kWidth, codes += kLine, odd += kLineOdd, next += 4 * kWidth) {
    for (int64_t i = 0; i < 4 * kWidth; i += kLine / static_cast<int64_t>(sizeof(T))) prefetch_near(next + i);
    store_past_cache(codes, packed_line<BITS>(Bytes{}, column, odd, inner_tiles));
  }
  for (; column < padded; column += kWidth, codes += kLine, odd += kLineOdd)
    store_past_cache(codes, packed_line<BITS>(Bytes{}, column, odd, edge_tiles));
  return packer.bounder.finite();
}

template <class T>
bool pack(const PackedShape& shape, const T* x, int64_t rows, const T* offset, const T* inverse,
          const uint32_t* words, uint8_t* codes) {
  const T limit = static_cast<T>(shape.last_level());
  return with_coding(shape.coding(), [&](const auto& code) {
    using Code = std::remove_cvref_t<decltype(code)>;
    const Bounder<T, Code> bounder{typename Bounder<T, Code>::Values{} + limit, code};
    return pack_as(shape, Packer<T, Code>{x, rows, shape.columns, offset, inverse, words, shape.draws, bounder}, codes);
  });
}

}  // namespace

extern const PackedKernels packed;
const PackedKernels packed = {row_dots, bring_near,    column_dots, add_gap_squares, margins, weigh,
                              weigh_softmax, round_rows, pack<float>, pack<double>, finish_stores};

}  // namespace mezzotint::MZ_NS
