// Products of a group of 16 float rows with vectors, blocked for registers (rows x classes).
// Included by native/kernels/floats.cpp, once per instruction set.
#pragma once
#include "floats.h"
#include "prefetch.h"
#include "vec.h"

namespace mezzotint::MZ_NS {

// How many accumulators fit the registers; each element has an accumulator of its own, so this choice
// does not show in the results.
#if defined(MZ_ISA_avx512)
constexpr int rows_alone = 8, rows_shared = 4, classes_shared = 5, columns_alone = 4, columns_shared = 4;
#elif defined(MZ_ISA_avx2)
constexpr int rows_alone = 4, rows_shared = 1, classes_shared = 5, columns_alone = 4, columns_shared = 1;
#else
constexpr int rows_alone = 2, rows_shared = 2, classes_shared = 2, columns_alone = 2, columns_shared = 1;
#endif

template <class X>
constexpr int64_t line_of = 64 / static_cast<int64_t>(sizeof(X));  // elements of a cache line

template <class X>
struct Group {
  const X* row[group_rows];
};
// Rows beyond the last one repeat it.
template <class X>
MZ_INLINE Group<X> group_of(const X* x, int64_t n_rows, int64_t d) {
  Group<X> group;
  for (int64_t r = 0; r < group_rows; r++) group.row[r] = x + (r < n_rows ? r : n_rows - 1) * d;
  return group;
}

// One line of every row, into the second-level cache.
template <class X>
MZ_INLINE void prefetch_lines(const Ahead<X>& ahead, int64_t d, int64_t j) {
  for (int64_t r = 0; r < ahead.n_rows; r++) prefetch(ahead.x + r * d + j);
}
// What steps [step, step + count) of n_steps prefetch of it.
template <class X>
MZ_INLINE Ahead<X> share(const Ahead<X>& ahead, int64_t step, int64_t count, int64_t n_steps, int64_t d) {
  const int64_t begin = ahead.n_rows * step / n_steps, end = ahead.n_rows * (step + count) / n_steps;
  return {ahead.x + begin * d, (end < ahead.n_rows ? end : ahead.n_rows) - begin};
}

template <int R, int C, class X, class A>
MZ_INLINE void dots(const X* const* row, int64_t d, const A* w, int64_t padded, double* tile, const Ahead<X>& ahead) {
  constexpr int lanes = Vec<A>::lanes;
  Vec<A> sum[C][R] = {};
  const auto step = [&](int64_t j, auto load_row) __attribute__((always_inline)) {
    Vec<A> x[R];
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) x[r] = load_row(row[r] + j);
#pragma GCC unroll 16
    for (int c = 0; c < C; c++) {
      const Vec<A> wc = load(w + c * padded + j);
#pragma GCC unroll 16
      for (int r = 0; r < R; r++) sum[c][r] = fma(x[r], wc, sum[c][r]);
    }
  };
  const auto whole = [](const X* p) __attribute__((always_inline)) { return load_as<A>(p); };
  int64_t j = 0;
  if (ahead.n_rows)
    for (; j + line_of<X> <= d; j += line_of<X>) {
      prefetch_lines(ahead, d, j);
#pragma GCC unroll 2
      for (int64_t v = 0; v < line_of<X>; v += lanes) step(j + v, whole);
    }
  for (; j + lanes <= d; j += lanes) step(j, whole);
  if (j < d) step(j, [&](const X* p) __attribute__((always_inline)) { return load_as_first<A>(p, d - j); });
#pragma GCC unroll 16
  for (int c = 0; c < C; c++)
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) tile[c * group_rows + r] = static_cast<double>(sum_lanes(sum[c][r]));
}

// Calls body with an integral constant C = min(left, most) ... 1 until all K classes are done.
template <int most, class Body>
MZ_INLINE void in_class_blocks(int64_t K, Body body) {
  int64_t k = 0;
  while (k < K) {
    const int64_t blocks = (K - k + most - 1) / most, take = (K - k + blocks - 1) / blocks;
    body(k, static_cast<int>(take));
    k += take;
  }
}
template <int N>
struct Count {
  static constexpr int value = N;
};
template <int most, class Body>
MZ_INLINE void with_count(int count, Body body) {
  if constexpr (most > 1) {
    if (count < most) return with_count<most - 1>(count, body);
  }
  body(Count<most>{});
}

template <class A>
MZ_INLINE void clear_rows(int64_t n_rows, int64_t K, A* tile) {
  for (int64_t k = 0; n_rows < group_rows && k < K; k++)
    for (int64_t r = n_rows; r < group_rows; r++) tile[k * group_rows + r] = 0;
}

template <class X, class A>
void margins(const X* x, int64_t n_rows, int64_t d, const A* w, int64_t padded, int64_t K, double* tile,
             Ahead<X> ahead) {
  const Group<X> group = group_of(x, n_rows, d);
  if (K == 1) {
    for (int r = 0; r < n_rows; r += rows_alone)
      dots<rows_alone, 1>(group.row + r, d, w, padded, tile + r, share(ahead, r, rows_alone, n_rows, d));
    return clear_rows(n_rows, 1, tile);
  }
  in_class_blocks<classes_shared>(K, [&](int64_t k, int count) {
    const Ahead<X> now = share(ahead, k, count, K, d);
    with_count<classes_shared>(count, [&](auto c) {
      for (int r = 0; r < n_rows; r += rows_shared)
        dots<rows_shared, decltype(c)::value>(group.row + r, d, w + k * padded, padded,
                                              tile + k * group_rows + r, share(now, r, rows_shared, n_rows, d));
    });
  });
  clear_rows(n_rows, K, tile);
}

template <int rows, int C, int J, class X, class A, class Load>
MZ_INLINE void add_columns(const Group<X>& group, int64_t j, const A* tile, A* sums, int64_t padded, Load load_row) {
  constexpr int lanes = Vec<A>::lanes;
  Vec<A> sum[C][J];
#pragma GCC unroll 16
  for (int c = 0; c < C; c++)
#pragma GCC unroll 16
    for (int v = 0; v < J; v++) sum[c][v] = load(sums + c * padded + j + v * lanes);
#pragma GCC unroll 16
  for (int r = 0; r < rows; r++) {
    Vec<A> x[J];
#pragma GCC unroll 16
    for (int v = 0; v < J; v++) x[v] = load_row(group.row[r] + j + v * lanes);
#pragma GCC unroll 16
    for (int c = 0; c < C; c++) {
      const Vec<A> factor = broadcast(tile[c * group_rows + r]);
#pragma GCC unroll 16
      for (int v = 0; v < J; v++) sum[c][v] = fma(x[v], factor, sum[c][v]);
    }
  }
#pragma GCC unroll 16
  for (int c = 0; c < C; c++)
#pragma GCC unroll 16
    for (int v = 0; v < J; v++) store(sums + c * padded + j + v * lanes, sum[c][v]);
}

template <int rows, int C, int J, class X, class A>
MZ_INLINE void add_rows(const Group<X>& group, int64_t d, const A* tile, A* sums, int64_t padded,
                        const Ahead<X>& ahead) {
  constexpr int lanes = Vec<A>::lanes;
  const auto whole = [](const X* p) __attribute__((always_inline)) { return load_as<A>(p); };
  int64_t j = 0;
  for (; j + J * lanes <= d; j += J * lanes) {
    for (int64_t p = 0; p < J * lanes; p += line_of<X>) prefetch_lines(ahead, d, j + p);
    add_columns<rows, C, J>(group, j, tile, sums, padded, whole);
  }
  for (; j + lanes <= d; j += lanes) add_columns<rows, C, 1>(group, j, tile, sums, padded, whole);
  if (j < d)
    add_columns<rows, C, 1>(group, j, tile, sums, padded,
                      [&](const X* p) __attribute__((always_inline)) { return load_as_first<A>(p, d - j); });
}

template <class X, class A>
void gradient(const X* x, int64_t n_rows, int64_t d, const A* tile, A* sums, int64_t padded, int64_t K,
              Ahead<X> ahead) {
  const Group<X> group = group_of(x, n_rows, d);
  if (K == 1 && n_rows <= 8) return add_rows<8, 1, columns_alone>(group, d, tile, sums, padded, ahead);
  if (K == 1) return add_rows<16, 1, columns_alone>(group, d, tile, sums, padded, ahead);
  in_class_blocks<classes_shared>(K, [&](int64_t k, int count) {
    const Ahead<X> now = share(ahead, k, count, K, d);
    with_count<classes_shared>(count, [&](auto c) {
      add_rows<16, decltype(c)::value, columns_shared>(group, d, tile + k * group_rows, sums + k * padded, padded,
                                                       now);
    });
  });
}

}  // namespace mezzotint::MZ_NS
