// Kernels of the halp area: one minibatch step of SVRG on an integer offset.
//
// A tile is 16 rows of codes (four row groups); a slab is up to four tiles, the rows that share one scale of
// their row coefficients. Offsets are int8, spread out so that a row group meets them with one product:
// 64 bytes per group of 16 columns, in which dword 4 t + r holds the offsets of columns 4 t ... 4 t + 3 for
// every row r (twin of the 4 x 4 tiles in Layout). Column arrays are padded with zeros to `padded` columns, a
// multiple of 16. The arithmetic of a step, operation by operation, is written down in
// mezzotint/kernels/reference/halp.py.
#pragma once
#include <cstdint>

#include "packed.h"

namespace mezzotint {

constexpr int64_t tile_rows = 16;
constexpr int64_t slab_tiles = 4;
constexpr int64_t slab_rows = tile_rows * slab_tiles;
constexpr int spread = 4;              // bytes of a spread offset per column
constexpr float offset_limit = 127.0f;
constexpr float coefficient_limit = 127.0f;

// Columns of one output in one step; all arrays have `padded` elements.
struct HalpColumns {
  int64_t padded;
  const float* gradient;   // of the exact objective at the centre
  const float* penalty;
  const float* step;
  const float* shift;
  const double* shift_exact;
  float* velocity;
  float* offset;           // integers, unless there is no grid
  float* target;           // where the step leads before it is rounded
};

// Which random bits a step uses.
struct HalpBits {
  uint64_t seed;
  uint32_t step, stream;
};

// What margins need to know of an offset.
struct HalpTotals {
  double shifted;  // sum of shift * offset, in eight lanes
  int32_t sum;     // of the offset
};

struct HalpKernels {
  // A code is below what its coding's table has for it.
  //
  // sums[k][r] = sum_j code_rj z_kj, exactly, for the 16 rows of a tile. z: (K, padded * spread). `next`: a tile
  // wanted soon; its first half is prefetched, the second by `gradient`, so that memory is never idle.
  void (*margins)(const uint8_t* tile, const Coding& coding, int64_t padded, const int8_t* z, int64_t K, int32_t* sums,
                  const uint8_t* next);
  // products[k][j] = sum_r code_rj c_kr over the rows of a slab; c (K, 64) is 0 beyond them. `next`: the
  // tiles wanted next, of which the second half is prefetched.
  void (*gradient)(const uint8_t* const* tiles, int64_t n_tiles, const Coding& coding, int64_t padded, const int8_t* c,
                   int64_t K, int32_t* products, const uint8_t* const* next);
  // The same for one output, together with gap_squares.
  void (*gradient_and_gaps)(const uint8_t* const* tiles, int64_t n_tiles, const Coding& coding, int64_t padded,
                            const int8_t* c, int32_t* products, const uint8_t* const* next, int32_t* sums);
  // sums[j] = sum over the rows of a slab of the squared gap between the draws in column j; padding rows have none.
  void (*gap_squares)(const uint8_t* const* tiles, int64_t n_tiles, const Coding& coding, int64_t padded,
                      int32_t* sums);
  // c (64) to integers in [-127, 127]: returns the scale, max|c| / 127, and leaves the sum of the integers.
  float (*quantise)(const float* c, int8_t* integers, int32_t* sum);
  // total[j] = sum_h scale_h float(products_h[j] - mid_sum_h); slab h starts at products + h * stride.
  void (*collect)(const int32_t* products, int64_t stride, int64_t n_slabs, const float* scale, const int32_t* mid_sum,
                  int64_t padded, float* total);
  // The same for float rows: total[j] = factor_j sum_h products_h[j].
  void (*collect_floats)(const float* products, int64_t stride, int64_t n_slabs, const float* factor, int64_t padded,
                         float* total);
  // v = (total - shift * total_c) + (gradient + penalty * (delta * offset));  velocity = momentum * velocity + v;
  // target = offset - (step * inverse_delta) * velocity.
  void (*descend)(const HalpColumns& columns, const float* total, float total_c, float momentum, float delta,
                  float inverse_delta);
  // offset = floor(target + u); false if an offset left [-127, 127]. Also spreads the offset into z.
  bool (*round)(const HalpColumns& columns, const HalpBits& bits, int8_t* z, HalpTotals* totals);
  // offset = target, z = offset * factor (float rows: no grid).
  void (*adopt)(const HalpColumns& columns, const float* factor, float* z, HalpTotals* totals);
  void (*halve)(float* x, int64_t padded);
  void (*add)(float* sums, const float* x, int64_t padded);
};

}  // namespace mezzotint
