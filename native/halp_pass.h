// An inner epoch of HALP: all minibatch steps around one centre in one call.
#pragma once
#include <cstdint>

#include "floats.h"
#include "halp.h"
#include "parallel.h"

namespace mezzotint {

// The rows' side of the objective; arrays as in LossRows, stride n_rows.
struct EpochRows {
  int64_t n_rows, n_columns, padded, K;
  Loss loss;
  const double* phi;
  const double* y;
  const double* weights;  // or null
};

struct PackedRows {
  const uint8_t* codes;
  Coding coding;
  int64_t tile_bytes;
};

struct PlainRows {
  const float* x;
  const double* scale;
};

// The columns' side: the direction at the centre and how far a step goes.
struct EpochModel {
  const double* shift;     // (d,)
  const double* gradient;  // (K, d + 1); the last column belongs to the constant
  const double* penalty;   // (d,)
  const double* step;      // (d + 1,)
  const double* quantum;   // (K,), first distance between grid points
};

struct EpochSchedule {
  const int64_t* order;  // (n_passes, n_tiles)
  int64_t n_passes, n_tiles, n_batches, tail;
  double momentum, batch_weight;
  uint64_t seed;
  uint32_t first_step;
  int n_threads;
};

struct EpochResult {
  int64_t doublings = 0;
  bool finite = true, interrupted = false;
};

// average (K, d + 1): mean offset over the last `tail` steps.
EpochResult halp_epoch(const PackedRows& data, const EpochRows& rows, const EpochModel& model,
                       const EpochSchedule& schedule, double* average, Interrupt* interrupt);
EpochResult svrg_epoch(const PlainRows& data, const EpochRows& rows, const EpochModel& model,
                       const EpochSchedule& schedule, double* average, Interrupt* interrupt);

}  // namespace mezzotint
