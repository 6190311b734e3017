// Losses of eight rows at a time, in float64; the equations are in mezzotint/kernels/reference/losses.py.
// Included by native/kernels/floats.cpp, once per instruction set.
#pragma once
#include "floats.h"
#include "vec.h"

namespace mezzotint::MZ_NS {

// Rows i ... i + count - 1 of the row arrays; lanes beyond count hold zeros.
struct Eight {
  int64_t i, count;
  MZ_INLINE F64 read(const double* p) const { return count == 8 ? load(p + i) : load_first(p + i, count); }
  MZ_INLINE F64 read(const float* p) const { return count == 8 ? load_wide(p + i) : load_wide_first(p + i, count); }
  MZ_INLINE void write(float* p, const F64& v) const {
    if (count == 8) store_narrow(p + i, v);
    else store_narrow_first(p + i, v, count);
  }
};
MZ_INLINE Eight eight_at(int64_t i, int64_t end) { return {i, end - i < 8 ? end - i : 8}; }

// Weights, 0 beyond the last row: so lanes without a row add nothing to a sum.
MZ_INLINE F64 weights_of(const LossRows& rows, const Eight& at) {
  static const double ones[16] = {1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0};
  return rows.weights ? at.read(rows.weights) : load(ones + 8 - at.count);
}

// phi, the offset psi + t eta, and the margin phi + (psi + t eta).
MZ_INLINE F64 centre(const LossRows& rows, int64_t k, const Eight& at) { return at.read(rows.phi + k * rows.stride); }
MZ_INLINE F64 offset(const LossRows& rows, int64_t k, const Eight& at) {
  F64 z = zero<double>();
  if (rows.psi) z = at.read(rows.psi + k * rows.stride);
  if (rows.eta) z = fma(broadcast(rows.t), at.read(rows.eta + k * rows.stride), z);
  return z;
}
MZ_INLINE F64 margin(const LossRows& rows, int64_t k, const Eight& at) {
  return centre(rows, k, at) + offset(rows, k, at);
}

MZ_INLINE F64 positive_part(const F64& z) { return select_less(zero<double>(), z, z, zero<double>()); }

// ---- logistic: sign = 1 - 2 y turns both labels into log(1 + exp(z)), z = sign m
struct Sigmoid {
  F64 e, of_z, of_minus_z;  // exp(-|z|), sigma(z), sigma(-z)
};
MZ_INLINE Sigmoid sigmoid(const F64& z) {
  const F64 one = broadcast(1.0), e = exp_nonpositive(zero<double>() - absolute(z));
  const F64 large = one / (one + e), small = e * large;
  return {e, select_less(z, zero<double>(), small, large), select_less(z, zero<double>(), large, small)};
}
MZ_INLINE F64 sign_of(const LossRows& rows, const Eight& at) {
  return fma(broadcast(-2.0), at.read(rows.y), 1.0);
}
MZ_INLINE F64 logistic_slope(const F64& sign, const F64& m) { return sign * sigmoid(sign * m).of_z; }

// ---- softmax
struct Softmax {
  F64 largest, rest, inverse;  // rest: sum of exp(m_k - largest) without the first largest; 1 / (1 + rest)
};
// Leaves e_k = exp(m_k - largest) in e (K, 8). margin_of: k -> margins of class k.
template <class Margin>
MZ_INLINE Softmax softmax(int64_t K, double* e, Margin margin_of) {
  F64 largest = margin_of(int64_t{0}), top = zero<double>(), rest = zero<double>();
  for (int64_t k = 1; k < K; k++) {
    const F64 m = margin_of(k);
    top = select_less(largest, m, broadcast(static_cast<double>(k)), top);
    largest = select_less(m, largest, largest, m);
  }
  for (int64_t k = 0; k < K; k++) {
    const F64 ek = exp_nonpositive(margin_of(k) - largest);
    store(e + 8 * k, ek);
    rest = rest + select_equal(top, broadcast(static_cast<double>(k)), zero<double>(), ek);
  }
  return {largest, rest, broadcast(1.0) / (rest + broadcast(1.0))};
}
MZ_INLINE F64 label_is(const LossRows& rows, const Eight& at, int64_t k) {
  return select_equal(at.read(rows.y), broadcast(static_cast<double>(k)), broadcast(1.0), zero<double>());
}

// ---- squared_hinge (label 1 of one output, else the class: at least 1; others at most -1) and
// squared_epsilon_insensitive: how far a margin is above its interval, negative below
MZ_INLINE F64 excess(const LossRows& rows, int64_t k, const Eight& at, const F64& m) {
  const F64 none = zero<double>();  // chosen such that NaN is passed on
  if (rows.loss == Loss::squared_hinge) {
    const F64 sign = fma(broadcast(2.0), label_is(rows, at, rows.K == 1 ? 1 : k), -1.0);
    const F64 below = fma(sign, m, -1.0);
    return sign * select_less(none, below, none, below);
  }
  const F64 below = m - at.read(rows.y + k * rows.stride), above = m - at.read(rows.y + (rows.K + k) * rows.stride);
  return select_less(none, below, none, below) + select_less(above, none, none, above);
}
MZ_INLINE F64 residual_of(const LossRows& rows, int64_t k, const Eight& at, const F64& m) {
  return rows.loss == Loss::squared ? m - at.read(rows.y + k * rows.stride) : excess(rows, k, at, m);
}

// ---- what the kernels need; each visits (k, lanes of class k)
template <class Visit>
MZ_INLINE F64 loss_and_slopes(const LossRows& rows, const Eight& at, Visit visit) {
  if (rows.loss == Loss::logistic) {
    const F64 sign = sign_of(rows, at), z = sign * margin(rows, 0, at);
    const Sigmoid s = sigmoid(z);
    visit(int64_t{0}, sign * s.of_z);
    return positive_part(z) + log1p_nonnegative(s.e);
  }
  if (rows.loss == Loss::squared || is_piecewise(rows.loss)) {
    F64 sum = zero<double>();
    for (int64_t k = 0; k < rows.K; k++) {
      const F64 residual = residual_of(rows, k, at, margin(rows, k, at));
      visit(k, residual);
      sum = sum + (broadcast(0.5) * residual) * residual;
    }
    return sum;
  }
  F64 of_label = zero<double>();
  const auto margin_of = [&](int64_t k) __attribute__((always_inline)) { return margin(rows, k, at); };
  const Softmax s = softmax(rows.K, rows.scratch, margin_of);
  for (int64_t k = 0; k < rows.K; k++) {
    const F64 is_label = label_is(rows, at, k);
    of_label = select_equal(is_label, broadcast(1.0), margin_of(k), of_label);
    visit(k, load(rows.scratch + 8 * k) * s.inverse - is_label);
  }
  return (s.largest - of_label) + log1p_nonnegative(s.rest);
}

// Softmax probabilities at the margin, left in scratch (K, 8).
MZ_INLINE void probabilities(const LossRows& rows, const Eight& at) {
  double* p = rows.scratch;
  const auto moved = [&](int64_t k) __attribute__((always_inline)) { return margin(rows, k, at); };
  const Softmax s = softmax(rows.K, p, moved);
  for (int64_t k = 0; k < rows.K; k++) store(p + 8 * k, load(p + 8 * k) * s.inverse);
}

// l'(margin) - l'(phi); for softmax also leaves the probabilities at the margin in scratch (K, 8).
template <class Visit>
MZ_INLINE void slope_changes(const LossRows& rows, const Eight& at, Visit visit) {
  if (rows.loss == Loss::logistic) {
    const F64 sign = sign_of(rows, at);
    visit(int64_t{0}, logistic_slope(sign, margin(rows, 0, at)) - logistic_slope(sign, centre(rows, 0, at)));
  } else if (rows.loss == Loss::squared) {
    for (int64_t k = 0; k < rows.K; k++) visit(k, offset(rows, k, at));
  } else if (is_piecewise(rows.loss)) {
    for (int64_t k = 0; k < rows.K; k++)
      visit(k, excess(rows, k, at, margin(rows, k, at)) - excess(rows, k, at, centre(rows, k, at)));
  } else {
    double *p = rows.scratch, *q = rows.scratch + 8 * rows.K;
    const auto fixed = [&](int64_t k) __attribute__((always_inline)) { return centre(rows, k, at); };
    probabilities(rows, at);
    const Softmax s = softmax(rows.K, q, fixed);
    for (int64_t k = 0; k < rows.K; k++) visit(k, load(p + 8 * k) - load(q + 8 * k) * s.inverse);
  }
}

}  // namespace mezzotint::MZ_NS
