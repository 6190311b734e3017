#include "floats_pass.h"

#include <algorithm>
#include <type_traits>

#include "buffer.h"
#include "dispatch.h"

namespace mezzotint {
namespace {

constexpr int64_t flush_rows = 256;   // float sums are added to double ones after so many rows
constexpr int64_t chunk_rows = 4096;  // rows of one partial sum in the row-wise functions

template <class X, class A>
const ProductKernels<X, A>& products() {
  const FloatKernels& table = *active().floats;
  if constexpr (std::is_same_v<X, double>) return table.f64;
  else if constexpr (std::is_same_v<A, double>) return table.exact_f32;
  else return table.f32;
}

// Coefficients without the intercept, rounded to A, rows padded with zeros.
template <class A>
void pad_coefficients(const double* w, int64_t K, int64_t d, int64_t padded, A* out) {
  for (int64_t k = 0; k < K; k++)
    for (int64_t j = 0; j < d; j++) out[k * padded + j] = static_cast<A>(w[k * (d + 1) + j]);
}

// Gradient sums of one segment: padded columns in A, flushed to double, and sums of the tile itself.
template <class X, class A>
class GradientSums {
 public:
  GradientSums(int64_t K, int64_t d) : K_(K), d_(d), padded_(padded_columns(d)), sums_(K * padded_), lanes_(K * 8) {}

  void add(const X* x, int64_t n_rows, const A* tile, const Ahead<X>& ahead, double* partial) {
    products<X, A>().gradient(x, n_rows, d_, tile, sums_.get(), padded_, K_, ahead);
    for (int64_t k = 0; k < K_; k++)
      for (int64_t half = 0; half < group_rows; half += 8)
        for (int64_t r = 0; r < 8; r++) lanes_[k * 8 + r] += static_cast<double>(tile[k * group_rows + half + r]);
    rows_ += n_rows;
    if (std::is_same_v<A, float> && rows_ % flush_rows == 0) flush(partial);
  }

  void finish(double* partial) {
    flush(partial);
    for (int64_t k = 0; k < K_; k++) {
      double* s = &lanes_[k * 8];
      partial[k * (d_ + 1) + d_] = ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
    }
  }

 private:
  void flush(double* partial) {
    for (int64_t k = 0; k < K_; k++)
      for (int64_t j = 0; j < d_; j++) {
        partial[k * (d_ + 1) + j] += static_cast<double>(sums_[k * padded_ + j]);
        sums_[k * padded_ + j] = 0;
      }
  }

  int64_t K_, d_, padded_, rows_ = 0;
  Buffer<A> sums_;
  Buffer<double> lanes_;
};

// How a group is cut and what each product of it prefetches of the next one; found by measurement. One output
// in double arithmetic wants 8 rows, which the second product then finds in the first-level cache. Fast
// products are best left to the hardware, which follows rows well but not from row to row. The order of every
// sum is the same.
struct Plan {
  int64_t size;                         // rows at a time
  int64_t margins_rows, gradient_rows;  // of the next group, in this order
};
template <class A>
Plan plan_of(int64_t K, bool margins, bool gradient) {
  const bool both = margins && gradient;
  if (K == 1) return both && sizeof(A) == 8 ? Plan{8, 4, 4} : Plan{16, 0, 4};
  return both ? Plan{16, 8, 8} : Plan{16, 16, 16};
}

// Rows [begin, begin + count) of those ahead, as far as there are any.
template <class X>
Ahead<X> part(const Ahead<X>& ahead, int64_t begin, int64_t count, int64_t d) {
  begin = std::min(begin, ahead.n_rows);
  return {ahead.x + begin * d, std::min(count, ahead.n_rows - begin)};
}

// Calls body(x, begin, n_rows, ahead) for every `size` rows of segment i; ahead: the next ones.
template <class X, class Body>
void each_group(const FloatBlock<X>& block, int64_t i, int64_t size, Body body) {
  const int64_t* bounds = block.segments.bounds + block.segments.first;
  const int64_t last = bounds[block.segments.count] - bounds[0];
  for (int64_t row = bounds[i] - bounds[0]; row < bounds[i + 1] - bounds[0]; row += size) {
    const int64_t n_rows = std::min(size, bounds[i + 1] - bounds[0] - row);
    const int64_t next = std::min(row + size, last);
    body(block.x + row * block.d, row + bounds[0], n_rows,
         Ahead<X>{block.x + next * block.d, std::min(size, last - next)});
  }
}

// c of one group: weights psi, or for softmax weights p_k (psi_k - sum_l p_l psi_l), rounded operation by operation.
template <class A>
void curvature_tile(const FloatProduct& product, int64_t n, int64_t begin, int64_t n_rows, A* tile) {
  float mean[group_rows] = {};
  const float* p = product.probabilities;
  for (int64_t k = 0; p && k < product.K; k++)
    for (int64_t r = 0; r < n_rows; r++) mean[r] += p[k * n + begin + r] * product.out[k * n + begin + r];
  for (int64_t k = 0; k < product.K; k++) {
    const float* weights = product.weights + (product.weights_per_output ? k * n : 0) + begin;
    for (int64_t r = 0; r < n_rows; r++) {
      const float psi = product.out[k * n + begin + r];
      tile[k * group_rows + r] = weights[r] * (p ? p[k * n + begin + r] * (psi - mean[r]) : psi);
    }
  }
}

template <class A>
void copy_tile(const FloatProduct& product, int64_t n, int64_t begin, int64_t n_rows, A* tile) {
  for (int64_t k = 0; k < product.K; k++)
    for (int64_t r = 0; r < n_rows; r++) tile[k * group_rows + r] = product.c[k * n + begin + r];
}

template <class Body>
double sum_of_chunks(int64_t n, int n_threads, Body body) {
  const int64_t count = (n + chunk_rows - 1) / chunk_rows;
  Buffer<double> partials(count);
  parallel_for(count, n_threads, nullptr, [&](int64_t i) {
    partials[i] = body(i * chunk_rows, std::min(n, (i + 1) * chunk_rows));
  });
  tree_sum(partials.get(), count, 1);
  return count ? partials[0] : 0.0;
}

}  // namespace

template <class X>
bool exact_pass(const FloatBlock<X>& block, const double* w, LossRows rows, double* phi, double* loss_partials,
                double* partials, int n_threads, Interrupt* interrupt) {
  const auto& kernels = products<X, double>();
  const auto losses = active().floats->rows.losses;
  const int64_t K = rows.K, d = block.d, padded = padded_columns(d);
  Buffer<double> coefficients(K * padded);
  pad_coefficients(w, K, d, padded, coefficients.get());
  const Plan plan = plan_of<double>(K, true, true);
  rows.phi = phi;
  return parallel_for(block.segments.count, n_threads, interrupt, [&](int64_t i) {
    GradientSums<X, double> sums(K, d);
    Buffer<double> tile(K * group_rows), scratch(2 * K * 8), loss_sums(loss_lanes);
    LossRows own = rows;
    own.scratch = scratch.get();
    double* partial = partials + i * K * (d + 1);
    each_group(block, i, plan.size, [&](const X* x, int64_t begin, int64_t n_rows, const Ahead<X>& ahead) {
      kernels.margins(x, n_rows, d, coefficients.get(), padded, K, tile.get(),
                      part(ahead, 0, plan.margins_rows, d));
      for (int64_t k = 0; k < K; k++)
        for (int64_t r = 0; r < n_rows; r++)
          phi[k * own.stride + begin + r] = tile[k * group_rows + r] + w[k * (d + 1) + d];
      losses(own, begin, begin + n_rows, tile.get(), loss_sums.get());
      sums.add(x, n_rows, tile.get(), part(ahead, plan.margins_rows, plan.gradient_rows, d), partial);
    });
    sums.finish(partial);
    const double* s = loss_sums.get();
    loss_partials[i] = ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
  });
}

template <class X>
bool float_product(const FloatBlock<X>& block, const FloatProduct& product, int n_threads, Interrupt* interrupt) {
  const auto& kernels = products<X, X>();
  const int64_t K = product.K, d = block.d, padded = padded_columns(d), n = block.segments.n_rows;
  const Plan plan = plan_of<X>(K, product.v, product.partials);
  Buffer<X> coefficients(K * padded);
  if (product.v) pad_coefficients(product.v, K, d, padded, coefficients.get());
  return parallel_for(block.segments.count, n_threads, interrupt, [&](int64_t i) {
    GradientSums<X, X> sums(K, d);
    Buffer<double> psi(K * group_rows);
    Buffer<X> tile(K * group_rows);
    double* partial = product.partials ? product.partials + i * K * (d + 1) : nullptr;
    each_group(block, i, plan.size, [&](const X* x, int64_t begin, int64_t n_rows, const Ahead<X>& ahead) {
      if (n_rows < plan.size) std::fill_n(tile.get(), K * group_rows, X{0});
      if (product.v) {
        kernels.margins(x, n_rows, d, coefficients.get(), padded, K, psi.get(),
                        part(ahead, 0, plan.margins_rows, d));
        for (int64_t k = 0; k < K; k++)
          for (int64_t r = 0; r < n_rows; r++)
            product.out[k * n + begin + r] = static_cast<float>(psi[k * group_rows + r] + product.v[k * (d + 1) + d]);
      }
      if (!partial) return;
      if (product.v) curvature_tile(product, n, begin, n_rows, tile.get());
      else copy_tile(product, n, begin, n_rows, tile.get());
      sums.add(x, n_rows, tile.get(), part(ahead, product.v ? plan.margins_rows : 0, plan.gradient_rows, d), partial);
    });
    if (partial) sums.finish(partial);
  });
}

template <class X>
int64_t first_nonfinite(const X* x, int64_t count, int n_threads) {
  constexpr int64_t chunk = 1 << 18;
  std::atomic<int64_t> first{count};
  parallel_for((count + chunk - 1) / chunk, n_threads, nullptr, [&](int64_t i) {
    if (i * chunk >= first.load(std::memory_order_relaxed)) return;
    int64_t found = -1;
    const int64_t length = std::min(chunk, count - i * chunk);
    if constexpr (std::is_same_v<X, float>) found = active().floats->first_nonfinite_f32(x + i * chunk, length);
    else found = active().floats->first_nonfinite_f64(x + i * chunk, length);
    if (found < 0) return;
    int64_t seen = first.load();
    while (found + i * chunk < seen && !first.compare_exchange_weak(seen, found + i * chunk)) {
    }
  });
  return first.load() < count ? first.load() : -1;
}

bool curvature_rows(LossRows rows, int64_t n, float* c, float* second, int n_threads, Interrupt* interrupt) {
  return parallel_for((n + chunk_rows - 1) / chunk_rows, n_threads, interrupt, [&](int64_t i) {
    Buffer<double> scratch(2 * rows.K * 8);
    LossRows own = rows;
    own.scratch = scratch.get();
    active().floats->rows.curvature(own, i * chunk_rows, std::min(n, (i + 1) * chunk_rows), c, second);
  });
}

double line_slope(LossRows rows, int64_t n, int n_threads) {
  return sum_of_chunks(n, n_threads, [&](int64_t begin, int64_t end) {
    Buffer<double> scratch(2 * rows.K * 8);
    LossRows own = rows;
    own.scratch = scratch.get();
    return active().floats->rows.line_slope(own, begin, end);
  });
}

double loss_sum(LossRows rows, int64_t n, int n_threads) {
  return sum_of_chunks(n, n_threads, [&](int64_t begin, int64_t end) {
    Buffer<double> scratch(2 * rows.K * 8);
    LossRows own = rows;
    own.scratch = scratch.get();
    return active().floats->rows.loss_sum(own, begin, end);
  });
}

void add_scaled(float* target, float factor, const float* source, int64_t count, int n_threads) {
  constexpr int64_t chunk = int64_t{1} << 16;
  parallel_for((count + chunk - 1) / chunk, n_threads, nullptr, [&](int64_t i) {
    for (int64_t j = i * chunk; j < std::min(count, (i + 1) * chunk); j++) target[j] += factor * source[j];
  });
}

#define MZ_INSTANTIATE(X)                                                                                      \
  template bool exact_pass(const FloatBlock<X>&, const double*, LossRows, double*, double*, double*, int,      \
                           Interrupt*);                                                                        \
  template bool float_product(const FloatBlock<X>&, const FloatProduct&, int, Interrupt*);                     \
  template int64_t first_nonfinite(const X*, int64_t, int);
MZ_INSTANTIATE(float)
MZ_INSTANTIATE(double)

}  // namespace mezzotint
