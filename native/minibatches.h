// Which tiles a minibatch step works on: an order of all tiles for each pass, cut into batches, cut into slabs.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>

#include "buffer.h"
#include "halp_pass.h"
#include "prefetch.h"

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

// The rows' side of one tile, gathered so that losses can read them: margins phi, labels, weights.
class TileRows {
 public:
  explicit TileRows(const EpochRows& rows)
      : psi(rows.K * tile_rows), phi_(rows.K * tile_rows), y_(label_rows(rows.loss, rows.K) * tile_rows),
        weights_(tile_rows), scratch_(16 * rows.K) {}

  // Rows of a tile; their number is `count`, and their offsets are in psi.
  LossRows of(const EpochRows& rows, int64_t tile, int64_t count) {
    gather(rows.phi, rows.K, rows.n_rows, tile, count, phi_.get());
    gather(rows.y, label_rows(rows.loss, rows.K), rows.n_rows, tile, count, y_.get());
    if (rows.weights) gather(rows.weights, 1, rows.n_rows, tile, count, weights_.get());
    return {rows.loss, rows.K,   tile_rows, phi_.get(), psi.get(), nullptr,
            0.0,       y_.get(), rows.weights ? weights_.get() : nullptr, scratch_.get()};
  }
  // Asks for what `of` reads of the tiles of a slab.
  static void prefetch_slab(const EpochRows& rows, const Slab& slab) {
    for (int64_t t = 0; t < slab.count; t++) {
      prefetch_rows(rows.phi, rows.K, rows.n_rows, slab.tiles[t]);
      prefetch_rows(rows.y, label_rows(rows.loss, rows.K), rows.n_rows, slab.tiles[t]);
      if (rows.weights) prefetch_rows(rows.weights, 1, rows.n_rows, slab.tiles[t]);
    }
  }
  static int64_t count(const EpochRows& rows, int64_t tile) {
    return tile < 0 ? 0 : std::min(tile_rows, rows.n_rows - tile * tile_rows);
  }
  Buffer<float> psi;

 private:
  static void prefetch_rows(const double* from, int64_t K, int64_t n_rows, int64_t tile) {
    for (int64_t k = 0; k < K; k++)
      for (int64_t r = 0; r <= tile_rows; r += 8) prefetch_near(from + k * n_rows + tile * tile_rows + r);
  }
  static void gather(const double* from, int64_t K, int64_t n_rows, int64_t tile, int64_t count, double* to) {
    for (int64_t k = 0; k < K; k++)
      std::memcpy(to + k * tile_rows, from + k * n_rows + tile * tile_rows, static_cast<size_t>(count) * sizeof(double));
  }
  Buffer<double> phi_, y_, weights_, scratch_;
};

}  // namespace mezzotint
