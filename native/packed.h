// Block kernels for a matrix of low-bit codes. Where a code lies: src/mezzotint/kernels/layout.py.
//
// Two exact integer products, both reading the same bytes: row_dots (codes times vectors over the columns) and
// column_dots (row coefficients times codes over the rows); between them, row-wise float steps.
#pragma once
#include <cstdint>

namespace mezzotint {

inline constexpr int64_t kMaxColumns = 65536;    // 255 * 128 * 65536 < 2^31: a row sum fits an int32
inline constexpr int64_t kMaxBlockRows = 512;    // 255 * 128 * 512: and so does a column sum
inline constexpr int64_t kVectorBytes = 64;      // one vector in one column group: 16 columns, each tile row repeated

// Codes have 8, 5, 4, 3 or 2 bits. An odd width lies in two planes: all bits but the last in lines of 64 bytes, as a
// width of one bit less would, and after these lines the last bits, 8 bytes for the 64 codes of a column group.
constexpr int wide_bits(int bits) { return bits & ~1; }
constexpr int line_groups(int bits) { return 8 / wide_bits(bits); }  // column groups in a line
constexpr bool is_code_width(int bits) { return bits == 8 || (bits >= 2 && bits <= 5); }

// No code is above 255, whatever its width and number of draws; an int8 is at least -128.
static_assert(int64_t{255} * 128 * kMaxColumns < int64_t{1} << 31);
static_assert(kMaxBlockRows <= kMaxColumns);

// Levels of a draw that are not evenly spaced, and what codes mean then. Levels are integers from 0 up, and no sum of
// the draws' levels is above 255.
struct CodeTable {
  uint8_t values[32];  // code -> the draws' levels, added: the byte that products see instead of the code
  uint8_t gaps[32];    // code -> how far apart two draws are
  double levels[17];   // of one draw; after the last one another, never reached
  uint8_t below[256];  // integer -> which level is the last that is not above it
  int last_level;
};

// How wide codes are, and what they stand for: without a table for themselves.
struct Coding {
  int bits;
  const CodeTable* table = nullptr;

  int64_t mid_code() const { return table ? 128 : int64_t{1} << (bits - 1); }  // middle of what products see
};

struct PackedShape {
  int64_t rows, columns;
  int bits;
  int draws = 1;  // a code is the sum of the levels of so many draws
  const CodeTable* table = nullptr;

  Coding coding() const { return {bits, table}; }

  int64_t padded_rows() const { return (rows + 15) / 16 * 16; }
  int64_t padded_columns() const {
    const int64_t line = 16 * line_groups(bits);
    return (columns + line - 1) / line * line;
  }
  int64_t groups() const { return padded_columns() / 16; }
  int64_t row_bytes() const { return padded_columns() * bits / 8; }
  int64_t bytes() const { return padded_rows() * row_bytes(); }
  int64_t mid_code() const { return coding().mid_code(); }
  // Of one draw.
  int64_t last_level() const { return table ? table->last_level : ((int64_t{1} << bits) - 1) / draws; }
};

// Some rows of codes: what a block kernel works on.
struct CodeBlock {
  const uint8_t* codes;
  int64_t rows;    // with padding: a multiple of 16
  int64_t groups;  // of 16 columns, with padding
  Coding coding;

  int64_t stride() const { return groups * 8 * coding.bits; }  // bytes of a row group
  int64_t wide_bytes() const { return groups * 8 * wide_bits(coding.bits); }
};

// Row coefficients as integers, for one block and all outputs.
struct RoundedRows {
  const int8_t* integers;  // [row / 4][output][row % 4]
  int64_t outputs;
  const double* step;      // [output]: coefficient = step * integer
  const int32_t* shift;    // [output]: mid_code * sum of the integers
};

struct RoundedSum {
  double step;
  int32_t total;  // sum of the integers
};

// base + scale * (256 high - shift + low): margins from the two integer sums of a vector.
struct MarginScale {
  double base, scale, shift;
};

struct PackedKernels {
  // With a table, `code` is below what the table has for it.
  //
  // sums[v][row] = sum_j code(row, j) * vectors[j / 16][v][.]; vectors are int8, laid out like a line of codes.
  void (*row_dots)(const CodeBlock& block, const int8_t* vectors, int64_t n_vectors, int32_t* sums);
  // Reads the codes in the order of memory, which is much faster than the order of column_dots if they are not cached.
  void (*bring_near)(const CodeBlock& block);
  // totals[output][j] += step * (sum_row code(row, j) * integer(row) - shift), over padded columns.
  void (*column_dots)(const CodeBlock& block, const RoundedRows& rows, double* totals);

  // totals[j] += sum over `rows` rows of weights[row] * gap(row, j)^2, over padded columns; rows are added one after
  // the other. The gap of a code says how far apart its two draws are, in levels: without a table its last bit.
  void (*add_gap_squares)(const CodeBlock& block, int64_t rows, const double* weights, double* totals);

  void (*margins)(int64_t rows, const int32_t* high, const int32_t* low, const MarginScale& scale, float* psi);
  // c = weights * psi
  void (*weigh)(int64_t rows, const float* psi, const float* weights, float* c);
  // c[k] = (weights * p[k]) * (psi[k] - sum_l p[l] psi[l]); psi and c have rows of block_rows, p of p_stride.
  void (*weigh_softmax)(int64_t rows, int64_t outputs, const float* psi, int64_t stride, const float* weights,
                        const float* p, int64_t p_stride, float* c);
  // Integers of one output into integers[4 * outputs * (row / 4) + row % 4], lanes[row % 16] += c; rows % 16 == 0.
  RoundedSum (*round_rows)(int64_t rows, const float* c, int64_t outputs, int8_t* integers, double* lanes);

  // Codes of up to 4 rows of x, all columns. offset and inverse are padded with zeros to padded columns; words are
  // random bits, [draw][4 * columns] (rounding becomes stochastic), or null. False if x holds a NaN or infinity.
  bool (*pack_f32)(const PackedShape& shape, const float* x, int64_t rows, const float* offset, const float* inverse,
                   const uint32_t* words, uint8_t* codes);
  bool (*pack_f64)(const PackedShape& shape, const double* x, int64_t rows, const double* offset,
                   const double* inverse, const uint32_t* words, uint8_t* codes);
  void (*finish_stores)();  // after packing, before another thread reads the codes
};

}  // namespace mezzotint
