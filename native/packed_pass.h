// Passes over a packed matrix: loops over segments, blocks and threads around the kernels of packed.h.
#pragma once
#include <cstdint>

#include "packed.h"
#include "parallel.h"

namespace mezzotint {

struct PackedOperand {
  PackedShape shape;
  const uint8_t* codes;
  const double* offset;  // [columns]
  const double* scale;   // [columns]
  int64_t block_rows;    // a multiple of 16, at most kMaxBlockRows
};

// The segments of a pass and the threads it may use.
struct PassRange {
  const int64_t* bounds;  // [count + 1] rows; starts are multiples of 16
  int64_t count;
  int n_threads;
  Interrupt* interrupt;
};

// What the row coefficients of the second product are made from.
struct RowWeights {
  const float* coefficients;   // [outputs][rows], or null: made from the margins with
  const float* weights;        // [1 or outputs][rows]
  int64_t weight_rows;         // 1 or outputs
  const float* probabilities;  // [outputs][rows], or null
};

// One read of the codes. With v: margins of every row into psi ([outputs][rows]). With partials ([count][outputs]
// [columns + 1]): the transposed product with the row coefficients. False if interrupted.
bool packed_products(const PackedOperand& x, const PassRange& range, int64_t outputs, const double* v, float* psi,
                     const RowWeights& weights, double* partials);

// Squared gaps between the draws of every column, summed or summed with weights: partials [count][columns]. False if
// interrupted.
bool packed_gap_squares(const PackedShape& shape, const uint8_t* codes, const PassRange& range, const double* weights,
                        double* partials);

}  // namespace mezzotint
