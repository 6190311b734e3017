#include "dense.h"

#include "prefetch.h"
#include "vec.h"

namespace mezzotint::MZ_NS {
namespace {

// Accumulators of one register tile.
#if defined(MZ_ISA_avx512)
constexpr int tile_rows = 12, tile_vectors = 2, dots_at_once = 8;
#elif defined(MZ_ISA_avx2)
constexpr int tile_rows = 6, tile_vectors = 1, dots_at_once = 4;
#else
constexpr int tile_rows = 4, tile_vectors = 1, dots_at_once = 2;
#endif
template <class T>
constexpr int tile_columns = tile_vectors * Vec<T>::lanes;

// ---- packing ---------------------------------------------------------------------------------------
template <int width, class T>
MZ_INLINE void pack_row(const T* __restrict row, int64_t live, T weight, T* __restrict out) {
  if (live >= width)
    for (int i = 0; i < width; i++) out[i] = row[i] * weight;
  else
    for (int i = 0; i < width; i++) out[i] = i < live ? row[i] * weight : T{0};
}

// A few rows at a time, so that both the rows and the places they go to are whole cache lines. The hardware
// does not foresee short pieces of rows, so later rows are prefetched (beyond the block: those of the next one).
constexpr int64_t rows_at_once = 8, rows_ahead = 32;

template <int width, class T>
MZ_INLINE void pack_columns(const T* a, int64_t ld, int64_t depth, int64_t columns, const double* weights, T* out) {
  for (int64_t begin = 0; begin < depth; begin += rows_at_once) {
    const int64_t end = begin + rows_at_once < depth ? begin + rows_at_once : depth;
    for (int64_t p = begin; p < end; p++)
      for (int64_t j = 0; j < columns; j += 64 / static_cast<int64_t>(sizeof(T)))
        prefetch_near(a + (p + rows_ahead) * ld + j);
    for (int64_t j = 0; j < columns; j += width)
      for (int64_t p = begin; p < end; p++)
        pack_row<width>(a + p * ld + j, columns - j, weights ? static_cast<T>(weights[p]) : T{1},
                        out + j * depth + p * width);
  }
}
template <class T>
void pack_left(const T* a, int64_t ld, int64_t depth, int64_t columns, const double* weights, T* out) {
  pack_columns<tile_rows>(a, ld, depth, columns, weights, out);
}
template <class T>
void pack_right(const T* a, int64_t ld, int64_t depth, int64_t columns, T* out) {
  pack_columns<tile_columns<T>>(a, ld, depth, columns, nullptr, out);
}

template <int width, class T>
MZ_INLINE void pack_transposed(const T* a, int64_t ld, int64_t rows, int64_t depth, T* out) {
  for (int64_t i = 0; i < rows; i += width, out += width * depth) {
    const int64_t live = rows - i < width ? rows - i : width;
    for (int64_t r = 0; r < width; r++)
      for (int64_t p = 0; p < depth; p++) out[p * width + r] = r < live ? a[(i + r) * ld + p] : T{0};
  }
}
template <class T>
void pack_left_rows(const T* a, int64_t ld, int64_t rows, int64_t depth, T* out) {
  pack_transposed<tile_rows>(a, ld, rows, depth, out);
}
template <class T>
void pack_right_rows(const T* a, int64_t ld, int64_t rows, int64_t depth, T* out) {
  pack_transposed<tile_columns<T>>(a, ld, rows, depth, out);
}

// ---- products of panels ----------------------------------------------------------------------------
template <class T>
struct Tile {
  Vec<T> row[tile_rows][tile_vectors];
};

template <class T>
MZ_INLINE void tile_product(const T* left, const T* right, int64_t depth, Tile<T>& tile) {
  constexpr int lanes = Vec<T>::lanes;
  tile = Tile<T>{};
  for (int64_t p = 0; p < depth; p++, left += tile_rows, right += tile_columns<T>) {
    Vec<T> column[tile_vectors];
#pragma GCC unroll 4
    for (int v = 0; v < tile_vectors; v++) column[v] = load(right + v * lanes);
#pragma GCC unroll 16
    for (int r = 0; r < tile_rows; r++) {
      const Vec<T> factor = broadcast(left[r]);
#pragma GCC unroll 4
      for (int v = 0; v < tile_vectors; v++) tile.row[r][v] = fma(factor, column[v], tile.row[r][v]);
    }
  }
}

// A tile at the edge of c, or across its diagonal: whole vectors as far as they go, then elements.
template <class T>
void add_part(const Tile<T>& tile, int64_t rows, int64_t columns, int64_t diagonal, T sign, T* c, int64_t ld) {
  constexpr int lanes = Vec<T>::lanes;
  for (int64_t r = 0; r < rows && r < tile_rows; r++, c += ld) {
    const int64_t end = columns < r + diagonal + 1 ? columns : r + diagonal + 1;
    for (int64_t v = 0; v < tile_vectors; v++) {
      if (v * lanes + lanes <= end) {
        store(c + v * lanes, load(c + v * lanes) + broadcast(sign) * tile.row[r][v]);
        continue;
      }
      T last[lanes];
      store(last, tile.row[r][v]);
      for (int64_t j = v * lanes; j < end; j++) c[j] += sign * last[j - v * lanes];
    }
  }
}
template <class T>
MZ_INLINE void add_whole(const Tile<T>& tile, T sign, T* c, int64_t ld) {
#pragma GCC unroll 16
  for (int r = 0; r < tile_rows; r++)
#pragma GCC unroll 4
    for (int v = 0; v < tile_vectors; v++) {
      T* at = c + r * ld + v * Vec<T>::lanes;
      store(at, load(at) + broadcast(sign) * tile.row[r][v]);
    }
}

template <class T>
void multiply(const T* left, const T* right, int64_t depth, int64_t rows, int64_t columns, int64_t diagonal, T sign,
              T* c, int64_t ld) {
  for (int64_t j = 0; j < columns; j += tile_columns<T>) {
    const T* right_panel = right + j * depth;
    for (int64_t i = 0; i < rows; i += tile_rows) {
      if (j > i + tile_rows - 1 + diagonal) continue;  // above the diagonal
      Tile<T> tile;
      tile_product(left + i * depth, right_panel, depth, tile);
      const bool inside = i + tile_rows <= rows && j + tile_columns<T> <= columns;
      if (inside && j + tile_columns<T> - 1 <= i + diagonal) add_whole(tile, sign, c + i * ld + j, ld);
      else add_part(tile, rows - i, columns - j, i + diagonal - j, sign, c + i * ld + j, ld);
    }
  }
}

// ---- Cholesky --------------------------------------------------------------------------------------
// Works on the transpose: upper[k][i] = l_ik, so that columns of L are vectors. Entries left of the
// diagonal are computed along with whole vectors and never used.
template <class T>
int64_t factor(T* m, int64_t ld, int64_t n, T* upper) {
  constexpr int lanes = Vec<T>::lanes;
  for (int64_t k = 0; k < n; k++)
    for (int64_t i = 0; i < factor_block; i++) upper[k * factor_block + i] = i >= k && i < n ? m[i * ld + k] : T{0};
  for (int64_t k = 0; k < n; k++) {
    T* row = upper + k * factor_block;
    if (!(row[k] > 0)) return k;
    row[k] = sizeof(T) == 8 ? __builtin_sqrt(row[k]) : __builtin_sqrtf(row[k]);
    for (int64_t i = k + 1; i < n; i++) row[i] /= row[k];
    for (int64_t j = k + 1; j < n; j++) {
      T* other = upper + j * factor_block;
      const Vec<T> factor = broadcast(-row[j]);
      for (int64_t i = j / lanes * lanes; i < n; i += lanes) store(other + i, fma(factor, load(row + i), load(other + i)));
    }
  }
  for (int64_t i = 0; i < n; i++)
    for (int64_t k = 0; k <= i; k++) m[i * ld + k] = upper[k * factor_block + i];
  return -1;
}

// Rows are lanes: column k of X is (column k of the rows - sum_{j < k} x_j l_kj) / l_kk.
template <class T>
void solve_panel(T* m, int64_t ld, int64_t rows, int64_t n, const T* upper) {
  constexpr int lanes = Vec<T>::lanes, vectors = 4, width = vectors * lanes;
  T x[factor_block * width];
  for (int64_t begin = 0; begin < rows; begin += width) {
    const int64_t live = rows - begin < width ? rows - begin : width;
    T* block = m + begin * ld;
    for (int64_t r = 0; r < width; r++)
      for (int64_t k = 0; k < n; k++) x[k * width + r] = r < live ? block[r * ld + k] : T{0};
    for (int64_t k = 0; k < n; k++) {
      Vec<T> sum[vectors];
#pragma GCC unroll 4
      for (int v = 0; v < vectors; v++) sum[v] = load(x + k * width + v * lanes);
      for (int64_t j = 0; j < k; j++) {
        const Vec<T> factor = broadcast(-upper[j * factor_block + k]);
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) sum[v] = fma(factor, load(x + j * width + v * lanes), sum[v]);
      }
      const Vec<T> pivot = broadcast(upper[k * factor_block + k]);
#pragma GCC unroll 4
      for (int v = 0; v < vectors; v++) store(x + k * width + v * lanes, sum[v] / pivot);
    }
    for (int64_t r = 0; r < live; r++)
      for (int64_t k = 0; k < n; k++) block[r * ld + k] = x[k * width + r];
  }
}

// ---- triangular solves, eight rows at a time -----------------------------------------------------------
constexpr int64_t eight = 8;

// out[r] = sum_{j < columns} l[r][j] x[j]; columns is a multiple of 8.
template <int R, class T>
MZ_INLINE void row_dots(const T* const* row, int64_t columns, const double* x, double* out) {
  F64 sum[R] = {};
  for (int64_t j = 0; j < columns; j += eight) {
    const F64 xj = load(x + j);
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) sum[r] = fma(load_as<double>(row[r] + j), xj, sum[r]);
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; r++) out[r] = sum_lanes(sum[r]);
}

// Solves rows [i, i + n) of L x = b, given x before i.
template <class T>
MZ_INLINE void forward_rows(const T* const* row, int64_t i, int64_t n, double* x) {
  double known[eight];
  for (int r = 0; r < eight; r += dots_at_once) row_dots<dots_at_once>(row + r, i, x, known + r);
  for (int64_t r = 0; r < n; r++) x[i + r] -= known[r];
  for (int64_t r = 0; r < n; r++) {
    x[i + r] /= static_cast<double>(row[r][i + r]);
    for (int64_t q = r + 1; q < n; q++) x[i + q] -= static_cast<double>(row[q][i + r]) * x[i + r];
  }
}

// Solves rows [i, i + n) of L^T x = b, given x from i + n on already taken out, and takes these out.
template <class T>
MZ_INLINE void backward_rows(const T* const* row, int64_t i, int64_t n, double* x) {
  F64 minus[eight] = {};
  for (int64_t r = n - 1; r >= 0; r--) {
    x[i + r] /= static_cast<double>(row[r][i + r]);
    minus[r] = broadcast(-x[i + r]);
    for (int64_t q = 0; q < r; q++) x[i + q] -= static_cast<double>(row[r][i + q]) * x[i + r];
  }
  for (int64_t j = 0; j < i; j += eight) {
    F64 xj = load(x + j);
#pragma GCC unroll 8
    for (int r = 0; r < eight; r++) xj = fma(load_as<double>(row[r] + j), minus[r], xj);
    store(x + j, xj);
  }
}

// Rows of the block at i; beyond the last one it repeats row i (their results are dropped, or multiplied by 0).
template <class T>
MZ_INLINE int64_t rows_at(const T* l, int64_t d, int64_t i, const T** row) {
  const int64_t n = d - i < eight ? d - i : eight;
  for (int64_t r = 0; r < eight; r++) row[r] = l + (r < n ? i + r : i) * d;
  return n;
}

template <class T>
void solve(const T* l, int64_t d, double* x, int64_t K) {
  const T* row[eight];
  for (int64_t i = 0; i < d; i += eight) {
    const int64_t n = rows_at(l, d, i, row);
    for (int64_t k = 0; k < K; k++) forward_rows(row, i, n, x + k * d);
  }
  for (int64_t i = (d - 1) / eight * eight; i >= 0; i -= eight) {
    const int64_t n = rows_at(l, d, i, row);
    for (int64_t k = 0; k < K; k++) backward_rows(row, i, n, x + k * d);
  }
}

double dot(const double* a, const double* b, int64_t count) {
  F64 sum = zero<double>();
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) sum = fma(load(a + i), load(b + i), sum);
  if (i < count) sum = fma(load_first(a + i, count - i), load_first(b + i, count - i), sum);
  return sum_lanes(sum);
}

template <class T>
constexpr DenseOps<T> ops = {tile_rows,         tile_columns<T>,    pack_left<T>, pack_right<T>, pack_left_rows<T>,
                             pack_right_rows<T>, multiply<T>, factor<T>,    solve_panel<T>, solve<T>};

}  // namespace

extern const DenseKernels dense;
const DenseKernels dense = {ops<float>, ops<double>, dot};

}  // namespace mezzotint::MZ_NS
