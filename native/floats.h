// Block kernels of the floats area: products with groups of 16 float rows, and row-wise functions of losses.
//
// A group is 16 rows of X, or fewer at the end of a segment. Tiles are class-major (K, 16). Vectors that
// meet columns are padded with zeros to a multiple of 16 columns (`padded`). Each element of a result is a
// sum in a fixed order, whatever the instruction set: margins over 8 double or 16 float lanes and a tree,
// gradients row after row.
#pragma once
#include <cstdint>

namespace mezzotint {

constexpr int64_t group_rows = 16;
constexpr int64_t loss_lanes = 8;

inline int64_t padded_columns(int64_t n_columns) { return (n_columns + 15) / 16 * 16; }

enum class Loss : int { logistic, squared, softmax, squared_hinge, squared_epsilon_insensitive };

// Zero inside an interval, half the squared distance outside: curvature is 0 or 1, row by row and output by output.
constexpr bool is_piecewise(Loss loss) { return loss >= Loss::squared_hinge; }
// Rows of y: labels or class indices, the targets, or the lower and then the upper ends of the intervals.
constexpr int64_t label_rows(Loss loss, int64_t K) {
  return loss == Loss::squared ? K : loss == Loss::squared_epsilon_insensitive ? 2 * K : 1;
}
// Rows of second derivatives: shared by the outputs or not.
constexpr int64_t second_rows(Loss loss, int64_t K) { return loss == Loss::softmax || is_piecewise(loss) ? K : 1; }

// Rows to prefetch during a product, at most 16.
template <class X>
struct Ahead {
  const X* x;
  int64_t n_rows;
};

// Rows of X of type X, arithmetic and vectors of type A.
template <class X, class A>
struct ProductKernels {
  // tile[k][r] = w_k . x_r for r < n_rows, 0 for the others up to 16.
  void (*margins)(const X* x, int64_t n_rows, int64_t d, const A* w, int64_t padded, int64_t K, double* tile,
                  Ahead<X> ahead);
  // sums[k] += sum_r tile[k][r] x_r; the tile is 0 beyond n_rows.
  void (*gradient)(const X* x, int64_t n_rows, int64_t d, const A* tile, A* sums, int64_t padded, int64_t K,
                   Ahead<X> ahead);
};

// Row arrays, class-major with `stride` elements from class to class. The margin of a row is
// phi + psi + t eta (null: 0); weights may be null (1). scratch: 2 K 8 doubles.
struct LossRows {
  Loss loss;
  int64_t K, stride;
  const double* phi;
  const float* psi;
  const float* eta;
  double t;
  const double* y;
  const double* weights;
  double* scratch;
};

struct LossKernels {
  // For rows [begin, end), at most 16: tile[k][r] = s l'_k (0 beyond end); sums[8] += s l, lane by lane.
  void (*losses)(const LossRows& rows, int64_t begin, int64_t end, double* tile, double* sums);
  // c = s (l'(margin) - l'(phi)), unless null; second = s l''(margin), for softmax the probabilities.
  void (*curvature)(const LossRows& rows, int64_t begin, int64_t end, float* c, float* second);
  // sum of s (l'(margin) - l'(phi)) . eta
  double (*line_slope)(const LossRows& rows, int64_t begin, int64_t end);
  // sum of s l
  double (*loss_sum)(const LossRows& rows, int64_t begin, int64_t end);
};

struct FloatKernels {
  ProductKernels<float, double> exact_f32;
  ProductKernels<double, double> f64;
  ProductKernels<float, float> f32;
  LossKernels rows;
  // Index of the first NaN or infinity, or -1.
  int64_t (*first_nonfinite_f32)(const float* x, int64_t count);
  int64_t (*first_nonfinite_f64)(const double* x, int64_t count);
};

}  // namespace mezzotint
