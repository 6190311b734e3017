#include "dense_pass.h"

#include <algorithm>
#include <tuple>
#include <type_traits>
#include <vector>

#include "buffer.h"
#include "dispatch.h"

namespace mezzotint {
namespace {

template <class T>
const DenseOps<T>& operations() {
  if constexpr (std::is_same_v<T, float>) return active().dense->f32;
  else return active().dense->f64;
}

// The pairs (i, j <= i) of `count` strips in the order of a running number.
struct Pair {
  int64_t i, j;
};
Pair pair_at(int64_t number) {
  int64_t i = 0;
  while (number > i) number -= ++i;
  return {i, number};
}

// Strips j in [begin, end) of strip row i. One packing of strip i serves them all, so they are long unless
// many threads want work.
struct Stretch {
  int64_t i, begin, end;
};
std::vector<Stretch> stretches(int64_t strips, int n_threads) {
  const int64_t share = strips * (strips + 1) / 2 / (3 * static_cast<int64_t>(n_threads));
  const int64_t length = n_threads == 1 ? strips : std::max<int64_t>(share, 1);
  std::vector<Stretch> list;
  for (int64_t i = strips - 1; i >= 0; i--)
    for (int64_t j = 0; j <= i; j += length) list.push_back({i, j, std::min(i + 1, j + length)});
  return list;
}

// Matrices g of [begin, end): they share the packed right side, and what they read stays in the cache.
struct Members {
  int64_t begin, end;
};
template <class T>
void gram_stretch(const GramTask<T>& of, const Members& members, const Stretch& task, T* out) {
  const auto& ops = operations<T>();
  const auto [a, n_rows, d] = std::tuple{of.a, of.n_rows, of.d};
  Buffer<T> left(strip * gram_depth), right((task.end - task.begin) * strip * gram_depth);
  const int64_t row = task.i * strip, rows = std::min(strip, d - row);
  for (int64_t p = 0; p < n_rows; p += gram_depth) {
    const int64_t depth = std::min(gram_depth, n_rows - p);
    for (int64_t g = members.begin; g < members.end; g++) {
      const double* weights = of.weights ? of.weights + g * n_rows + p : nullptr;
      ops.pack_left(a + p * d + row, d, depth, rows, weights, left.get());
      for (int64_t column = task.end * strip - strip; column >= task.begin * strip; column -= strip) {
        const int64_t columns = std::min(strip, d - column);
        T* packed = right.get() + (column - task.begin * strip) * gram_depth;
        if (g == members.begin) ops.pack_right(a + p * d + column, d, depth, columns, packed);
        ops.multiply(left.get(), packed, depth, rows, columns, row - column, T{1}, out + (g * d + row) * d + column, d);
      }
    }
  }
}

constexpr int64_t side = 16;
// Copies rows of one block below the diagonals to the columns above them.
template <class T>
void mirror_block(T* out, int64_t d, int64_t block) {
  for (int64_t j0 = 0; j0 <= block * side; j0 += side)
    for (int64_t i = block * side; i < std::min(d, (block + 1) * side); i++)
      for (int64_t j = j0; j < std::min(i, j0 + side); j++) out[j * d + i] = out[i * d + j];
}
template <class T>
void mirror_lower(T* out, int64_t count, int64_t d, int n_threads) {
  const int64_t blocks = (d + side - 1) / side;
  parallel_for(count * blocks, count * d < 2048 ? 1 : n_threads, nullptr,
               [&](int64_t number) { mirror_block(out + number / blocks * d * d, d, number % blocks); });
}

// Rows [begin, end) below a factored block: solved against it, then packed for the products to come.
template <class T>
struct Panel {
  T* m;
  int64_t d, column, n;  // the block is m[column : column + n, column : column + n]
  const T* upper;
  T *left, *right;

  void finish_strip(int64_t begin, int64_t end, int64_t slot) const {
    const auto& ops = operations<T>();
    T* rows = m + begin * d + column;
    for (int64_t r = begin; r < end; r += solve_rows)
      ops.solve_panel(m + r * d + column, d, std::min(solve_rows, end - r), n, upper);
    ops.pack_left_rows(rows, d, end - begin, n, left + slot * strip * n);
    ops.pack_right_rows(rows, d, end - begin, n, right + slot * strip * n);
  }
};

}  // namespace

template <class T>
bool add_grams(const GramTask<T>& task, T* out, int n_threads, Interrupt* interrupt) {
  const std::vector<Stretch> parts = stretches((task.d + strip - 1) / strip, n_threads);
  const int64_t n_parts = static_cast<int64_t>(parts.size());
  const int64_t groups = std::min<int64_t>(task.count, n_threads);
  const bool finished = parallel_for(groups * n_parts, n_threads, interrupt, [&](int64_t number) {
    const int64_t group = number / n_parts;
    gram_stretch(task, {group * task.count / groups, (group + 1) * task.count / groups}, parts[number % n_parts], out);
  });
  if (finished) mirror_lower(out, task.count, task.d, n_threads);
  return finished;
}

template <class T>
bool cholesky(T* m, int64_t d, int64_t& pivot, int n_threads, Interrupt* interrupt) {
  const auto& ops = operations<T>();
  const int64_t most = (d + strip - 1) / strip * strip;
  Buffer<T> upper(factor_block * factor_block), left(most * factor_block), right(most * factor_block);
  pivot = -1;
  for (int64_t k = 0; k < d; k += factor_block) {
    const int64_t n = std::min(factor_block, d - k), below = k + n, strips = (d - below + strip - 1) / strip;
    const int64_t failed = ops.factor(m + k * d + k, d, n, upper.get());
    if (failed >= 0) {
      pivot = k + failed;
      return true;
    }
    const Panel<T> panel{m, d, k, n, upper.get(), left.get(), right.get()};
    const auto end_of = [&](int64_t s) { return std::min(d, below + (s + 1) * strip); };
    if (!parallel_for(strips, n_threads, interrupt,
                      [&](int64_t s) { panel.finish_strip(below + s * strip, end_of(s), s); }))
      return false;
    const bool finished = parallel_for(strips * (strips + 1) / 2, n_threads, interrupt, [&](int64_t number) {
      const auto [i, j] = pair_at(number);
      const int64_t row = below + i * strip, column = below + j * strip;
      ops.multiply(left.get() + i * strip * n, right.get() + j * strip * n, n, end_of(i) - row, end_of(j) - column,
                   row - column, T{-1}, m + row * d + column, d);
    });
    if (!finished) return false;
  }
  return true;
}

template <class T>
void cholesky_solve(const FactorList<T>& factors, double* x, int64_t K, int n_threads) {
  const int64_t G = factors.count, d = factors.d;
  const auto first_row = [&](int64_t g) { return (g * K + G - 1) / G; };
  parallel_for(K == 0 ? 0 : G, n_threads, nullptr, [&](int64_t g) {
    operations<T>().solve(factors.first + g * d * d, d, x + first_row(g) * d, first_row(g + 1) - first_row(g));
  });
}

double dot(const double* a, const double* b, int64_t count) { return active().dense->dot(a, b, count); }

#define MZ_INSTANTIATE(T)                                                                            \
  template bool add_grams(const GramTask<T>&, T*, int, Interrupt*);                                      \
  template bool cholesky(T*, int64_t, int64_t&, int, Interrupt*);                                    \
  template void cholesky_solve(const FactorList<T>&, double*, int64_t, int);
MZ_INSTANTIATE(float)
MZ_INSTANTIATE(double)

}  // namespace mezzotint
