// Between float rows and codes: choosing the grid of each column, packing, unpacking.
#pragma once
#include <cstdint>

#include "packed.h"
#include "parallel.h"

namespace mezzotint {

// Threads a pass may use, and who may stop it.
struct Workers {
  int n_threads;
  Interrupt* interrupt;
};

// The affine map of each column, value = offset + scale * code.
struct ColumnGrid {
  const double* offset;
  const double* scale;
};

// Random bits of stochastic rounding; see mezzotint/random.py.
struct RandomStream {
  uint64_t seed;
  uint32_t draw, stream;
};

inline constexpr int64_t kAllFinite = -1, kInterrupted = -2;

// Codes of `rows` rows of x from row `first` (a multiple of 16) on; rounds to nearest without a stream.
// Returns kAllFinite, kInterrupted, or the flat index of the first NaN or infinity in x.
template <class T>
int64_t pack_rows(const PackedShape& shape, const ColumnGrid& grid, const T* x, int64_t first, int64_t rows,
                  const RandomStream* stream, uint8_t* codes, const Workers& workers);

// Values of `rows` rows from row `first` (any) on. False if interrupted.
template <class T>
bool unpack_rows(const PackedShape& shape, const ColumnGrid& grid, const uint8_t* codes, int64_t first, int64_t rows,
                 T* out, const Workers& workers);

// Offset, scale and rounding noise of each column of a row sample (rows >= 1). False if interrupted.
template <class T>
bool column_scales(const T* sample, int64_t rows, int64_t columns, int bits, double* offset, double* scale,
                   double* noise, const Workers& workers);

}  // namespace mezzotint
