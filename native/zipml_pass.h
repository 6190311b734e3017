// Passes of stochastic gradient descent over packed rows: all minibatch steps in one call.
#pragma once
#include <cstdint>

#include "halp_pass.h"

namespace mezzotint {

struct DescentModel {
  const double *scale, *centre;  // (d,)
  const double* step;            // (d + 1,)
  const double *low, *high;      // (d,)
  double l2, l1;
  bool corrects;
};

struct DescentSchedule {
  const int64_t* order;  // (n_passes, n_tiles)
  int64_t n_passes, n_tiles, n_batches, tail;
  const double* rates;   // (n_passes,)
  double batch_weight;
  double model_limit, gradient_limit;  // largest integers; gradient_limit 0: the gradient is not rounded
  uint64_t seed;
  uint32_t first_step;
  int n_threads;
};

struct DescentOut {
  double* coef;     // (K, d + 1), the start on entry
  double* average;  // (K, d + 1)
  double* losses;   // (n_passes,), zeros on entry
};

struct DescentStatus {
  bool finite = true, interrupted = false;
};

DescentStatus zipml_epoch(const PackedRows& data, const EpochRows& rows, const DescentModel& model,
                          const DescentSchedule& schedule, const DescentOut& out, Interrupt* interrupt);
DescentStatus sgd_epoch(const float* x, const EpochRows& rows, const DescentModel& model,
                        const DescentSchedule& schedule, const DescentOut& out, Interrupt* interrupt);

}  // namespace mezzotint
