// Arguments that all inner epochs share; sizes are checked here before memory is touched.
#pragma once
#include <nanobind/stl/optional.h>

#include <optional>

#include "bind.h"
#include "halp_pass.h"

namespace mezzotint {

using Rows64 = In<double, 2>;
using Weights64 = std::optional<In<double, 1>>;

inline EpochRows epoch_rows(int64_t n_columns, int64_t padded, int loss, const Rows64& phi, const Rows64& y,
                            const Weights64& weights) {
  const auto K = static_cast<int64_t>(phi.shape(0)), n = static_cast<int64_t>(phi.shape(1));
  require(loss >= 0 && loss <= static_cast<int>(Loss::squared_epsilon_insensitive), "unknown loss");
  require(static_cast<int64_t>(y.shape(1)) == n &&
              static_cast<int64_t>(y.shape(0)) == label_rows(static_cast<Loss>(loss), K),
          "shape of y");
  require(!weights || static_cast<int64_t>(weights->shape(0)) == n, "shape of weights");
  return {n,          n_columns,  padded, K, static_cast<Loss>(loss), phi.data(), y.data(),
          weights ? weights->data() : nullptr};
}

// The order of the tiles, (n_passes, n_tiles), and how passes are cut into batches.
inline void check_order(const EpochRows& rows, const In<int64_t, 2>& order, int64_t n_batches, int64_t tail) {
  const auto passes = static_cast<int64_t>(order.shape(0)), tiles = static_cast<int64_t>(order.shape(1));
  require(tiles == (rows.n_rows + tile_rows - 1) / tile_rows && passes >= 1, "shape of order");
  for (int64_t i = 0; i < passes * tiles; i++)
    require(order.data()[i] >= 0 && order.data()[i] < tiles, "order out of range");
  require(n_batches >= 1 && n_batches <= tiles, "n_batches out of range");
  require(tail >= 1 && tail <= passes * n_batches, "tail out of range");
}

inline void require_coefficients(const EpochRows& rows, const Out<double, 2>& coef) {
  require(static_cast<int64_t>(coef.shape(0)) == rows.K && static_cast<int64_t>(coef.shape(1)) == rows.n_columns + 1,
          "shape of the coefficients");
}

}  // namespace mezzotint
