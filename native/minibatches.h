// Which tiles a minibatch step works on: an order of all tiles for each pass, cut into batches, cut into slabs.
#pragma once
#include <cstdint>
#include <cstring>

#include "halp.h"

namespace mezzotint {

// The tiles of one slab.
struct Slab {
  int64_t tiles[slab_tiles], count = 0;
};

struct Minibatches {
  const int64_t* order;  // (n_passes, n_tiles)
  int64_t n_passes, n_tiles, n_batches;

  static int64_t slabs_of(int64_t tiles) { return (tiles + slab_tiles - 1) / slab_tiles; }
  int64_t n_steps() const { return n_passes * n_batches; }
  int64_t most_slabs() const { return slabs_of((n_tiles + n_batches - 1) / n_batches); }
  int64_t first_tile(int64_t batch) const { return batch * n_tiles / n_batches; }
  int64_t slabs_in(int64_t step) const {
    const int64_t batch = step % n_batches;
    return slabs_of(first_tile(batch + 1) - first_tile(batch));
  }
  // Slab h of a step; an empty one past the end of the step or of the last pass.
  Slab slab(int64_t step, int64_t h) const {
    Slab out;
    if (step >= n_steps()) return out;
    const int64_t batch = step % n_batches;
    const int64_t* const tiles = order + step / n_batches * n_tiles;
    for (int64_t i = first_tile(batch) + h * slab_tiles; i < first_tile(batch + 1) && out.count < slab_tiles; i++)
      out.tiles[out.count++] = tiles[i];
    return out;
  }
  // The slab that a worker who is at slab h is likely to take next; `here` if there is none.
  Slab likely_next(int64_t step, int64_t h, int n_workers, const Slab& here) const {
    Slab next = slab(step, h + n_workers);
    if (!next.count) next = slab(step + 1, h % n_workers);
    return next.count ? next : here;
  }
};

// Copies the rows of one tile out of K row arrays of n_rows elements, to K arrays of 16.
inline void gather_tile(const double* from, int64_t K, int64_t n_rows, int64_t tile, int64_t count, double* to) {
  for (int64_t k = 0; k < K; k++)
    std::memcpy(to + k * tile_rows, from + k * n_rows + tile * tile_rows, static_cast<size_t>(count) * sizeof(double));
}

}  // namespace mezzotint
