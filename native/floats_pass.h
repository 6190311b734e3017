// Passes over the rows of a float matrix: segments, groups of 16 rows, threads, scratch memory.
#pragma once
#include <cstdint>

#include "floats.h"
#include "parallel.h"

namespace mezzotint {

// The segments [first, first + count) of a matrix of n_rows rows; bounds holds their row boundaries.
struct Segments {
  const int64_t* bounds;
  int64_t first, count, n_rows;
};

template <class X>
struct FloatBlock {
  const X* x;  // its first row is row bounds[first] of the matrix
  int64_t d;
  Segments segments;
};

// loss_partials (count,), partials (count, K, d + 1); phi is written through rows.phi.
template <class X>
bool exact_pass(const FloatBlock<X>& block, const double* w, LossRows rows, double* phi, double* loss_partials,
                double* partials, int n_threads, Interrupt* interrupt);

// Margins of v and, if partials is given, the gradient of c = weights psi; without v the gradient of c.
struct FloatProduct {
  int64_t K;
  const double* v;             // (K, d + 1), or null
  const float* c;              // (K, n), if v is null
  const float* weights;        // (1, n) or (K, n)
  bool weights_per_output;
  const float* probabilities;  // (K, n), or null
  float* out;                  // (K, n), if v is given
  double* partials;            // (count, K, d + 1), or null
};
template <class X>
bool float_product(const FloatBlock<X>& block, const FloatProduct& product, int n_threads, Interrupt* interrupt);

template <class X>
int64_t first_nonfinite(const X* x, int64_t count, int n_threads);

// Functions of the row arrays alone; rows.scratch is set here.
bool curvature_rows(LossRows rows, int64_t n, float* c, float* second, int n_threads, Interrupt* interrupt);
double line_slope(LossRows rows, int64_t n, int n_threads);
double loss_sum(LossRows rows, int64_t n, int n_threads);

// target += factor * source, product and sum rounded.
void add_scaled(float* target, float factor, const float* source, int64_t count, int n_threads);

}  // namespace mezzotint
