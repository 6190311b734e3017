#include "floats.h"

#include "losses.h"
#include "rows.h"

namespace mezzotint::MZ_NS {
namespace {

void losses(const LossRows& rows, int64_t begin, int64_t end, double* tile, double* sums) {
  for (int64_t r = 0; r < group_rows; r += 8) {
    if (begin + r >= end) {
      for (int64_t k = 0; k < rows.K; k++) store(tile + k * group_rows + r, zero<double>());
      continue;
    }
    const Eight at = eight_at(begin + r, end);
    const F64 weights = weights_of(rows, at);
    const F64 values = loss_and_slopes(rows, at, [&](int64_t k, const F64& slope) {
      store(tile + k * group_rows + r, weights * slope);
    });
    store(sums, fma(weights, values, load(sums)));
  }
}

void logistic_curvature(const LossRows& rows, const Eight& at, float* c, float* second) {
  const F64 weights = weights_of(rows, at), sign = sign_of(rows, at);
  const Sigmoid s = sigmoid(sign * margin(rows, 0, at));
  at.write(second, weights * (s.of_z * s.of_minus_z));
  if (c) at.write(c, weights * (sign * s.of_z - logistic_slope(sign, centre(rows, 0, at))));
}

void squared_curvature(const LossRows& rows, const Eight& at, float* c, float* second) {
  const F64 weights = weights_of(rows, at);
  at.write(second, weights);
  for (int64_t k = 0; c && k < rows.K; k++) at.write(c + k * rows.stride, weights * offset(rows, k, at));
}

void piecewise_curvature(const LossRows& rows, const Eight& at, float* c, float* second) {
  const F64 weights = weights_of(rows, at), none = zero<double>();
  for (int64_t k = 0; k < rows.K; k++) {
    const F64 moved = excess(rows, k, at, margin(rows, k, at));
    at.write(second + k * rows.stride, select_equal(moved, none, none, weights));
    if (c) at.write(c + k * rows.stride, weights * (moved - excess(rows, k, at, centre(rows, k, at))));
  }
}

void softmax_curvature(const LossRows& rows, const Eight& at, float* c, float* second) {
  if (c) {
    const F64 weights = weights_of(rows, at);
    slope_changes(rows, at, [&](int64_t k, const F64& change) { at.write(c + k * rows.stride, weights * change); });
  } else {
    probabilities(rows, at);
  }
  for (int64_t k = 0; k < rows.K; k++) at.write(second + k * rows.stride, load(rows.scratch + 8 * k));
}

void curvature(const LossRows& rows, int64_t begin, int64_t end, float* c, float* second) {
  const auto of_loss = rows.loss == Loss::logistic  ? logistic_curvature
                       : rows.loss == Loss::squared ? squared_curvature
                       : rows.loss == Loss::softmax ? softmax_curvature
                                                    : piecewise_curvature;
  for (int64_t i = begin; i < end; i += 8) of_loss(rows, eight_at(i, end), c, second);
}

double line_slope(const LossRows& rows, int64_t begin, int64_t end) {
  F64 sum = zero<double>();
  for (int64_t i = begin; i < end; i += 8) {
    const Eight at = eight_at(i, end);
    F64 along = zero<double>();
    slope_changes(rows, at, [&](int64_t k, const F64& change) {
      along = fma(change, at.read(rows.eta + k * rows.stride), along);
    });
    sum = fma(weights_of(rows, at), along, sum);
  }
  return sum_lanes(sum);
}

double loss_sum(const LossRows& rows, int64_t begin, int64_t end) {
  F64 sum = zero<double>();
  for (int64_t i = begin; i < end; i += 8) {
    const Eight at = eight_at(i, end);
    sum = fma(weights_of(rows, at), loss_and_slopes(rows, at, [](int64_t, const F64&) {}), sum);
  }
  return sum_lanes(sum);
}

// 0 x is NaN for NaN and infinity, and 0 otherwise.
template <class T>
int64_t first_nonfinite(const T* x, int64_t count) {
  constexpr int lanes = Vec<T>::lanes;
  constexpr int64_t stretch = 32 * lanes;
  for (int64_t begin = 0; begin < count; begin += stretch) {
    const int64_t end = begin + stretch < count ? begin + stretch : count;
    Vec<T> sum = zero<T>();
    int64_t i = begin;
    for (; i + lanes <= end; i += lanes) sum = sum + load(x + i) * zero<T>();
    if (i < end) sum = sum + load_first(x + i, end - i) * zero<T>();
    if (sum_lanes(sum) == 0) continue;
    for (i = begin; i < end; i++)
      if (!(x[i] * 0 == 0)) return i;
  }
  return -1;
}

}  // namespace

extern const FloatKernels floats;
const FloatKernels floats = {
    {margins<float, double>, gradient<float, double>},
    {margins<double, double>, gradient<double, double>},
    {margins<float, float>, gradient<float, float>},
    {losses, curvature, line_slope, loss_sum},
    first_nonfinite<float>,
    first_nonfinite<double>,
};

}  // namespace mezzotint::MZ_NS
