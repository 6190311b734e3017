// Block kernels of the dense area: packed panels, tiles of a symmetric product, triangular factors.
//
// Each element of a product is a sum in one fixed order: fma after fma from zero over the depth of a panel,
// then panel after panel. The shape of the register tile (tile_rows x tile_columns) depends on the instruction
// set and does not show in the result.
#pragma once
#include <cstdint>

namespace mezzotint {

constexpr int64_t strip = 192;        // rows or columns of one packed strip: a multiple of every tile_rows and tile_columns
constexpr int64_t gram_depth = 128;   // rows of `a` whose products are summed in registers
constexpr int64_t factor_block = 96;  // columns of one step of the Cholesky factorisation
constexpr int64_t solve_rows = 64;    // rows that one call of solve_panel takes

template <class T>
struct DenseOps {
  int64_t tile_rows, tile_columns;
  // Packs columns of a block (depth rows with stride ld) into panels of tile_rows (left, scaled by the row's
  // weight unless null) or tile_columns (right) columns; the last panel is padded with zeros.
  void (*pack_left)(const T* a, int64_t ld, int64_t depth, int64_t columns, const double* weights, T* out);
  void (*pack_right)(const T* a, int64_t ld, int64_t depth, int64_t columns, T* out);
  // The same for the transpose of a block of `rows` rows and `depth` columns.
  void (*pack_left_rows)(const T* a, int64_t ld, int64_t rows, int64_t depth, T* out);
  void (*pack_right_rows)(const T* a, int64_t ld, int64_t rows, int64_t depth, T* out);
  // c[i][j] += sign sum_p left[p][i] right[p][j] for i < rows, j < columns, j <= i + diagonal.
  void (*multiply)(const T* left, const T* right, int64_t depth, int64_t rows, int64_t columns, int64_t diagonal,
                   T sign, T* c, int64_t ld);
  // Cholesky factor of a block of n <= factor_block rows, in place. upper, (factor_block, factor_block),
  // receives its transpose. Returns -1 or the index of the first pivot that is not positive.
  int64_t (*factor)(T* m, int64_t ld, int64_t n, T* upper);
  // Replaces `rows` <= solve_rows rows of n columns by X, X L^T = rows, for the L of `factor`.
  void (*solve_panel)(T* m, int64_t ld, int64_t rows, int64_t n, const T* upper);
  // x (K, d) <- solution of L L^T x_k = x_k.
  void (*solve)(const T* l, int64_t d, double* x, int64_t K);
};

struct DenseKernels {
  DenseOps<float> f32;
  DenseOps<double> f64;
  double (*dot)(const double* a, const double* b, int64_t count);
};

}  // namespace mezzotint
