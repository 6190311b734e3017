// Grid of each column from a row sample: the rule is in src/mezzotint/kernels/reference/packed_scales.py.
#include <algorithm>
#include <cmath>
#include <limits>

#include "buffer.h"
#include "packed_rows.h"

namespace mezzotint {
namespace {

constexpr int64_t kMaxStridedRows = 1024;
constexpr double kRangeFactor = 4;
constexpr double kQuantile = 0.99;
constexpr double kShrink4Bit[] = {1.0, 0.85, 0.7, 0.6, 0.5, 0.4};
constexpr int kWidth = 32;  // columns of one task: loops over them become vector code

struct Sampled {
  const double* values;  // [rows][kWidth]
  int64_t rows;
};

struct Grid {
  double offset[kWidth], scale[kWidth];
};

template <class T>
T finite_or_zero(T x) {
  return std::abs(x) <= std::numeric_limits<T>::max() ? x : T(0);
}

// Squared error of rounding the values, clipped to `range` first, on `grid`; summed row after row.
void squared_error(const Sampled& sampled, const Grid& range, const Grid& grid, double levels, double* error) {
  double low[kWidth], high[kWidth], inverse[kWidth];
  for (int j = 0; j < kWidth; j++) {
    low[j] = range.offset[j];
    high[j] = range.offset[j] + range.scale[j] * levels;
    inverse[j] = grid.scale[j] > 0 ? 1.0 / grid.scale[j] : 0.0;
    error[j] = 0;
  }
  for (int64_t i = 0; i < sampled.rows; i++)
    for (int j = 0; j < kWidth; j++) {
      const double x = sampled.values[i * kWidth + j];
      const double raised = x > low[j] ? x : low[j];
      const double clipped = raised < high[j] ? raised : high[j];
      const double scaled = (clipped - grid.offset[j]) * inverse[j];
      const double positive = scaled > 0 ? scaled : 0.0;
      const double bounded = positive < levels ? positive : levels;
      const double code = (bounded + 0x1.8p52) - 0x1.8p52;  // rounds to the nearest even integer
      const double miss = (grid.offset[j] + grid.scale[j] * code) - clipped;
      error[j] += miss * miss;
    }
}

// Moves the values that satisfy `first` to the front and returns how many there are; without branches on values.
template <class Predicate>
int64_t partition(double* values, int64_t count, Predicate first) {
  int64_t front = 0;
  for (int64_t i = 0; i < count; i++) {
    const double value = values[i];
    values[i] = values[front];
    values[front] = value;
    front += first(value);
  }
  return front;
}

// The value of this rank (0 is the least) among finite values, which are reordered. A quickselect without branches on
// values: about four times as fast as std::nth_element on a thousand random ones.
double select(double* values, int64_t count, int64_t rank) {
  for (;;) {
    const double a = values[0], b = values[count / 2], c = values[count - 1];
    const double pivot = std::max(std::min(a, b), std::min(std::max(a, b), c));
    const int64_t less = partition(values, count, [=](double x) { return x < pivot; });
    if (rank < less) {
      count = less;
      continue;
    }
    rank -= less;
    values += less;
    count -= less;
    const int64_t equal = partition(values, count, [=](double x) { return x <= pivot; });
    if (rank < equal) return pivot;
    rank -= equal;
    values += equal;
    count -= equal;
  }
}

// Median and reach (4 x a high quantile of the distance from it) of each column of a sample.
class Spread {
 public:
  explicit Spread(const Sampled& sampled) : column_(sampled.rows) {
    for (int j = 0; j < kWidth; j++) measure(sampled, j);
  }
  double median[kWidth], reach[kWidth];

 private:
  void measure(const Sampled& sampled, int j) {
    double* begin = column_.get();
    for (int64_t i = 0; i < sampled.rows; i++) begin[i] = sampled.values[i * kWidth + j];
    median[j] = select(begin, sampled.rows, (sampled.rows - 1) / 2) + 0.0;  // no negative zero
    int64_t count = 0;
    for (int64_t i = 0; i < sampled.rows; i++) {
      const double distance = std::abs(begin[i] - median[j]);
      begin[count] = distance;
      count += distance > 0;
    }
    reach[j] = std::numeric_limits<double>::infinity();
    if (count == 0) return;
    const auto rank = static_cast<int64_t>(kQuantile * static_cast<double>(count - 1));
    reach[j] = kRangeFactor * select(begin, count, rank);
  }

  Buffer<double> column_;
};

// Up to kWidth columns of a sample; missing columns are zero.
template <class T>
class ScaleTask {
 public:
  ScaleTask(const T* sample, int64_t rows, int64_t columns, int64_t first)
      : stride_((rows + kMaxStridedRows - 1) / kMaxStridedRows), values_((rows + stride_ - 1) / stride_ * kWidth) {
    const int width = static_cast<int>(std::min<int64_t>(kWidth, columns - first));
    for (int j = 0; j < kWidth; j++) least_[j] = greatest_[j] = j < width ? finite_or_zero(sample[first + j]) : T(0);
    for (int64_t i = 0; i < rows; i++) {
      const T* row = sample + i * columns + first;
      for (int j = 0; j < width; j++) {
        const T x = finite_or_zero(row[j]);
        least_[j] = x < least_[j] ? x : least_[j];
        greatest_[j] = x > greatest_[j] ? x : greatest_[j];
      }
      if (i % stride_) continue;
      for (int j = 0; j < width; j++) values_[i / stride_ * kWidth + j] = finite_or_zero(row[j]);
    }
    sampled_ = {values_.get(), (rows + stride_ - 1) / stride_};
  }

  Grid choose(int bits, double* noise) {
    const double levels = (1 << bits) - 1;
    const Spread spread(sampled_);
    const Grid full = grid(spread, 1.0, levels);
    Grid best = full;
    double least[kWidth], error[kWidth];
    std::fill(least, least + kWidth, std::numeric_limits<double>::infinity());
    for (const double factor : kShrink4Bit) {
      if (bits != 4) break;
      const Grid candidate = grid(spread, factor, levels);
      squared_error(sampled_, full, candidate, levels, error);
      for (int j = 0; j < kWidth; j++) {
        if (!(error[j] < least[j])) continue;
        least[j] = error[j];
        best.offset[j] = candidate.offset[j];
        best.scale[j] = candidate.scale[j];
      }
    }
    squared_error(sampled_, best, best, levels, error);
    for (int j = 0; j < kWidth; j++) noise[j] = error[j] / static_cast<double>(sampled_.rows);
    return best;
  }

 private:
  Grid grid(const Spread& spread, double factor, double levels) const {
    Grid g;
    for (int j = 0; j < kWidth; j++) {
      const double m = spread.median[j], reach = std::min(spread.reach[j], kLargest);  // differences may overflow
      const double below = factor * std::min(m - least_[j], reach);
      const double above = factor * std::min(greatest_[j] - m, reach);
      const double width = std::min(below + above, kLargest);
      g.scale[j] = static_cast<T>(width / levels);
      if (g.scale[j] < std::numeric_limits<T>::min()) g.scale[j] = 0;
      g.offset[j] = static_cast<T>(g.scale[j] > 0 ? m - below : m);
    }
    return g;
  }

  static constexpr double kLargest = std::numeric_limits<T>::max();

  int64_t stride_;
  Buffer<double> values_;
  T least_[kWidth], greatest_[kWidth];
  Sampled sampled_;
};

}  // namespace

template <class T>
bool column_scales(const T* sample, int64_t rows, int64_t columns, int bits, double* offset, double* scale,
                   double* noise, const Workers& workers) {
  const int64_t tasks = (columns + kWidth - 1) / kWidth;
  return parallel_for(tasks, workers.n_threads, workers.interrupt, [&](int64_t i) {
    const int64_t first = i * kWidth, width = std::min<int64_t>(kWidth, columns - first);
    double errors[kWidth];
    const Grid grid = ScaleTask<T>(sample, rows, columns, first).choose(bits, errors);
    std::copy_n(grid.offset, width, offset + first);
    std::copy_n(grid.scale, width, scale + first);
    std::copy_n(errors, width, noise + first);
  });
}

template bool column_scales(const float*, int64_t, int64_t, int, double*, double*, double*, const Workers&);
template bool column_scales(const double*, int64_t, int64_t, int, double*, double*, double*, const Workers&);

}  // namespace mezzotint
