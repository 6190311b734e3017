// Kernels of the zipml area: one minibatch step of SGD with quantised coefficients, model and gradient.
//
// Products with tiles and slabs of codes are those of halp.h. Column arrays are double, padded with zeros to
// `padded` columns. The arithmetic, operation by operation, is in mezzotint/kernels/reference/zipml.py.
#pragma once
#include <cstdint>

#include "halp.h"

namespace mezzotint {

// Columns of one output; what is not const changes from step to step.
struct DescentColumns {
  int64_t padded;
  const double *scale, *centre, *step, *low, *high;
  double l2, l1;
  double* w;
};

struct DescentTotals {
  double centre;   // sum of centre * w, in eight lanes
  double largest;  // of |scale * w|
};

struct ZipmlKernels {
  // psi (16) = base + quantum ((256 high + low) - minus); without low (null), high stands alone.
  void (*offsets)(const int32_t* high, const int32_t* low, double minus, double base, double quantum, float* psi);
  // c (64) to integers in [-127, 127], stochastically: returns the scale and leaves the sum of the integers.
  float (*round_coefficients)(const float* c, const HalpBits& bits, int8_t* integers, int32_t* sum);
  // total[j] = sum_h kappa_h (products_h[j] - mid_sum_h); slab h starts at products + h * stride.
  void (*collect)(const int32_t* products, int64_t stride, int64_t n_slabs, const double* kappa,
                  const int32_t* mid_sum, int64_t padded, double* total);
  void (*collect_floats)(const float* products, int64_t stride, int64_t n_slabs, int64_t padded, double* total);
  // gradient = weight (scale total + centre total_c) - weight ((scale scale) (gap_squares w)) + l2 w, where
  // gap_squares, given slab by slab, may be missing (null); returns the largest magnitude.
  double (*gradient)(const DescentColumns& columns, const double* total, double total_c, double weight,
                     const int32_t* gap_squares, int64_t stride, int64_t n_slabs, double* gradient);
  // gradient = quantum * floor(gradient * inverse + u), within limit.
  void (*few_bits)(double* gradient, int64_t padded, double limit, double largest, const HalpBits& bits);
  DescentTotals (*update)(const DescentColumns& columns, const double* gradient, double rate);
  DescentTotals (*totals)(const DescentColumns& columns);
  // V = floor(scale w limit / largest + u), spread into z as high and, if z_low is given, low byte: V = 256 high + low.
  // Returns the sum of V.
  int64_t (*round_model)(const DescentColumns& columns, double limit, double largest, const HalpBits& bits, int8_t* z,
                         int8_t* z_low);
  void (*narrow)(const DescentColumns& columns, float* z);  // z = w
  void (*add)(double* sums, const double* x, int64_t padded);
};

}  // namespace mezzotint
