#include "packed.h"

#include <bit>

#include "simd.h"

namespace mezzotint::MZ_NS {
namespace {

constexpr int64_t kLine = 64;               // bytes of one row group in one column group (8 bits) or two (4 bits)
constexpr int64_t kSliceBytes = 32 * 1024;  // vectors of a column slice: they stay in L1 while the rows stream by
constexpr int kSliceVectors = 24;

// ---- codes times vectors ----

struct RowSlice {
  const uint8_t* codes;   // 16 rows, from some column on
  int64_t stride;         // bytes of a row group of 4 rows
  int64_t groups;         // column groups in the slice
  const int8_t* vectors;  // [column group][n_vectors][64]
  int64_t n_vectors;
  int64_t ahead;
};

template <int BITS, int H, int V>
inline void row_step(const RowSlice& slice, const uint8_t* line, const int8_t* vectors, Sums (&sums)[4][V]) {
  Bytes codes[4];
  for (int r = 0; r < 4; r++) codes[r] = half<BITS, H>(load(line + r * slice.stride));
  for (int v = 0; v < V; v++) {
    const Bytes w = load(vectors + v * kVectorBytes);
    for (int r = 0; r < 4; r++) sums[r][v] = dot<BITS>(sums[r][v], codes[r], w);
  }
}

// V vectors times 16 rows; out[v * out_stride + row] += the sums of this slice.
template <int BITS, int V>
inline void row_tile(const RowSlice& slice, int32_t* out, int64_t out_stride) {
  Sums sums[4][V];
  for (auto& row : sums)
    for (auto& s : row) s = zero();
  const uint8_t* line = slice.codes;
  const int8_t* vectors = slice.vectors;
  const int64_t step = slice.n_vectors * kVectorBytes;
  for (int64_t g = 0; g < slice.groups; g += 8 / BITS, line += kLine) {
    for (int r = 0; r < 4; r++) prefetch(line + r * slice.stride + slice.ahead);
    row_step<BITS, 0>(slice, line, vectors, sums);
    vectors += step;
    if constexpr (BITS == 4) {
      row_step<BITS, 1>(slice, line, vectors, sums);
      vectors += step;
    }
  }
  for (int v = 0; v < V; v++) add_to(out + v * out_stride, sum_tiles(sums[0][v], sums[1][v], sums[2][v], sums[3][v]));
}

// All vectors from `first` to `last` on 16 rows, as many at a time as registers hold. Vectors come in pairs.
template <int BITS, int V = kRowVectors>
inline void row_tiles(RowSlice slice, int64_t first, int64_t last, int32_t* out, int64_t out_stride) {
  const int8_t* vectors = slice.vectors;
  for (; last - first >= V; first += V) {
    slice.vectors = vectors + first * kVectorBytes;
    row_tile<BITS, V>(slice, out + first * out_stride, out_stride);
    slice.ahead = 0;
  }
  slice.vectors = vectors;
  if constexpr (V > 2) row_tiles<BITS, V - 2>(slice, first, last, out, out_stride);
}

template <int BITS>
void row_dots_bits(const CodeBlock& block, const int8_t* vectors, int64_t n_vectors, int32_t* sums) {
  const int64_t stride = block.groups * kLine * BITS / 8;
  std::memset(sums, 0, static_cast<size_t>(n_vectors * block.rows) * sizeof(int32_t));
  for (int64_t first = 0; first < n_vectors; first += kSliceVectors) {
    const int64_t last = first + kSliceVectors < n_vectors ? first + kSliceVectors : n_vectors;
    const int64_t width = kSliceBytes / kVectorBytes / (last - first) / 2 * 2;
    for (int64_t g = 0; g < block.groups; g += width) {
      RowSlice slice{block.codes + g * kLine * BITS / 8, stride, block.groups - g < width ? block.groups - g : width,
                     vectors + g * n_vectors * kVectorBytes, n_vectors, first == 0 ? block.ahead : 0};
      for (int64_t r = 0; r < block.rows; r += 16, slice.codes += 4 * stride)
        row_tiles<BITS>(slice, first, last, sums + r, block.rows);
    }
  }
}

void row_dots(const CodeBlock& block, const int8_t* vectors, int64_t n_vectors, int32_t* sums) {
  (block.bits == 8 ? row_dots_bits<8> : row_dots_bits<4>)(block, vectors, n_vectors, sums);
}

// ---- row coefficients times codes ----

constexpr int kColumnGroups = 4;  // column groups per tile

struct ColumnTile {
  const CodeBlock& block;
  const RoundedRows& rows;
  int64_t group;   // first column group
  int64_t output;  // first output
};

// Sums over all rows of the block for G column groups and V outputs, added to the totals.
template <int BITS, int G, int V>
inline void column_tile(const ColumnTile& tile, int64_t ahead, double* totals) {
  constexpr int kLines = G * BITS / 8;
  const int64_t stride = tile.block.groups * kLine * BITS / 8;
  Sums sums[G][V];
  for (auto& column : sums)
    for (auto& s : column) s = zero();
  const uint8_t* line = tile.block.codes + tile.group * kLine * BITS / 8;
  const int8_t* integers = tile.rows.integers + 4 * tile.output;
  for (int64_t r = 0; r < tile.block.rows; r += 4, line += stride, integers += 4 * tile.rows.outputs) {
    Bytes codes[G];
    for (int i = 0; i < kLines; i++) {
      prefetch(line + i * kLine + ahead);
      const Bytes x = transposed(load(line + i * kLine));
      codes[i * 8 / BITS] = half<BITS, 0>(x);
      if constexpr (BITS == 4) codes[2 * i + 1] = half<BITS, 1>(x);
    }
    for (int v = 0; v < V; v++) {
      const Bytes e = splat(integers + 4 * v);
      for (int g = 0; g < G; g++) sums[g][v] = dot<BITS>(sums[g][v], codes[g], e);
    }
  }
  const int64_t columns = 16 * tile.block.groups;
  for (int v = 0; v < V; v++)
    for (int g = 0; g < G; g++) {
      int32_t products[16];
      store(products, sums[g][v]);
      const double step = tile.rows.step[tile.output + v];
      const int32_t shift = tile.rows.shift[tile.output + v];
      double* out = totals + (tile.output + v) * columns + (tile.group + g) * 16;
      for (int j = 0; j < 16; j++) out[j] += step * static_cast<double>(products[j] - shift);
    }
}

template <int BITS, int V>
inline void column_tiles(const CodeBlock& block, const RoundedRows& rows, int64_t output, double* totals) {
  const int64_t ahead = output == 0 ? block.ahead : 0;
  int64_t g = 0;
  for (; g + kColumnGroups <= block.groups; g += kColumnGroups)
    column_tile<BITS, kColumnGroups, V>({block, rows, g, output}, ahead, totals);
  for (; g < block.groups; g += 8 / BITS) column_tile<BITS, 8 / BITS, V>({block, rows, g, output}, ahead, totals);
}

// All outputs from `output` on, as many at a time as registers hold.
template <int BITS, int V = kColumnSums / kColumnGroups>
inline void column_outputs(const CodeBlock& block, const RoundedRows& rows, int64_t output, double* totals) {
  for (; rows.outputs - output >= V; output += V) column_tiles<BITS, V>(block, rows, output, totals);
  if constexpr (V > 1) column_outputs<BITS, V - 1>(block, rows, output, totals);
}

void column_dots(const CodeBlock& block, const RoundedRows& rows, double* totals) {
  (block.bits == 8 ? column_outputs<8> : column_outputs<4>)(block, rows, 0, totals);
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
    for (int i = 0; i < 16; i++) {
      const double exact = c[r + i];
      lanes[i] += exact;
      // Adding 1.5 * 2^52 rounds to the nearest even integer and leaves it in the low bits.
      rounded[i] = static_cast<int8_t>(std::bit_cast<uint64_t>(exact * inverse + 0x1.8p52));
      total += rounded[i];
    }
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

template <class T>
struct Packer {
  using Word = typename Float<T>::Word;
  const PackedShape& shape;
  const T* offset;
  const T* inverse;
  T limit;
  Word largest[16] = {};  // magnitudes, to find NaN and infinity

  // 16 codes. (x > 0 ? x : 0 turns NaN, an overflow times a zero scale, into 0.)
  void round16(const T* x, int64_t column, const uint32_t* words, uint8_t* codes) {
    T t[16];
    for (int i = 0; i < 16; i++) {
      const Word bits = std::bit_cast<Word>(x[i]) << 1;
      largest[i] = bits > largest[i] ? bits : largest[i];
      const T scaled = (x[i] - offset[column + i]) * inverse[column + i];
      const T positive = scaled > T(0) ? scaled : T(0);
      t[i] = positive < limit ? positive : limit;
    }
    if (words)
      for (int i = 0; i < 16; i++) codes[i] = static_cast<uint8_t>(static_cast<double>(t[i]) + words[i] * 0x1p-32);
    else
      for (int i = 0; i < 16; i++) codes[i] = static_cast<uint8_t>(std::bit_cast<Word>(t[i] + Float<T>::kRound));
  }

  // The last columns of a row, without reading past its end.
  void round_tail(const T* x, int64_t column, const uint32_t* words, uint8_t* codes) {
    T values[16] = {};
    uint32_t some_words[16] = {};
    for (int64_t j = column; j < shape.columns && j < column + 16; j++) {
      values[j - column] = x[j - column];
      if (words) some_words[j - column] = words[j - column];
    }
    round16(values, column, words ? some_words : nullptr, codes);
  }

  Bytes tiles4(const T* x, int64_t rows, int64_t column, const uint32_t* words) {
    alignas(64) uint8_t codes[64];
    if (rows < 4) std::memset(codes, 0, 64);
    for (int64_t r = 0; r < rows; r++) {
      const int64_t at = r * shape.columns + column;
      const uint32_t* w = words ? words + at : nullptr;
      if (column + 16 <= shape.columns)
        round16(x + at, column, w, codes + 16 * r);
      else
        round_tail(x + at, column, w, codes + 16 * r);
    }
    return tiles(codes);
  }

  bool finite() const {
    for (const Word bits : largest)
      if (bits >= Float<T>::kInfinity) return false;
    return true;
  }
};

template <class T>
bool pack(const PackedShape& shape, const T* x, int64_t rows, const T* offset, const T* inverse,
          const uint32_t* words, uint8_t* codes) {
  Packer<T> packer{shape, offset, inverse, static_cast<T>((1 << shape.bits) - 1)};
  const int64_t step = 128 / shape.bits;
  for (int64_t column = 0; column < shape.padded_columns(); column += step, codes += kLine) {
    Bytes line = packer.tiles4(x, rows, column, words);
    if (shape.bits == 4) line = low_and_high(line, packer.tiles4(x, rows, column + 16, words));
    store_past_cache(codes, line);
  }
  return packer.finite();
}

}  // namespace

extern const PackedKernels packed;
const PackedKernels packed = {row_dots, column_dots,   margins,     weigh, weigh_softmax,
                              round_rows, pack<float>, pack<double>, finish_stores};

}  // namespace mezzotint::MZ_NS
