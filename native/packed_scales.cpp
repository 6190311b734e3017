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
constexpr int64_t kEnough = 100;  // distances from the median that a quantile of the strided rows needs
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

// Median and reach (4 x a high quantile of the distance from it) of each column of a sample. A reach that bounds no
// value between `least` and `greatest` is not computed but infinite.
class Spread {
 public:
  // value(i, j) is column j in row i of all `rows`, of which `sampled` holds some.
  template <class T, class Value>
  Spread(const Sampled& sampled, int64_t rows, Value value, const T* least, const T* greatest) : column_(rows) {
    for (int j = 0; j < kWidth; j++) {
      find_median(sampled, j);
      const double farthest = std::max(median[j] - least[j], greatest[j] - median[j]);
      Distances found = distances(sampled.rows, j, farthest, [&](int64_t i) { return column_[i]; });
      often[j] = found.count >= kEnough;
      if (!often[j] && sampled.rows < rows)
        found = distances(rows, j, farthest, [&](int64_t i) { return static_cast<double>(value(i, j)); });
      set_reach(found, j);
    }
  }
  double median[kWidth], reach[kWidth];
  bool often[kWidth];  // whether enough of the sampled values differ from the median

 private:
  struct Distances {
    int64_t count, within;  // those that are not zero; those among them whose reach would bound some value
  };

  void find_median(const Sampled& sampled, int j) {
    double* begin = column_.get();
    for (int64_t i = 0; i < sampled.rows; i++) begin[i] = sampled.values[i * kWidth + j];
    median[j] = select(begin, sampled.rows, (sampled.rows - 1) / 2) + 0.0;  // no negative zero
  }

  template <class Value>
  Distances distances(int64_t rows, int j, double farthest, Value value) {
    Distances found{0, 0};
    for (int64_t i = 0; i < rows; i++) {
      const double distance = std::abs(value(i) - median[j]);
      column_[found.count] = distance;
      found.count += distance > 0;
      found.within += distance > 0 && kRangeFactor * distance < farthest;
    }
    return found;
  }

  void set_reach(const Distances& found, int j) {
    reach[j] = std::numeric_limits<double>::infinity();
    if (found.count == 0) return;
    const auto rank = static_cast<int64_t>(kQuantile * static_cast<double>(found.count - 1));
    if (found.within > rank) reach[j] = kRangeFactor * select(column_.get(), found.count, rank);
  }

  Buffer<double> column_;
};

// Up to kWidth columns of a sample; missing columns are zero.
template <class T>
class ScaleTask {
 public:
  ScaleTask(const T* sample, int64_t rows, int64_t columns, int64_t first)
      : sample_(sample + first), rows_(rows), columns_(columns),
        width_(static_cast<int>(std::min<int64_t>(kWidth, columns - first))),
        stride_((rows + kMaxStridedRows - 1) / kMaxStridedRows), values_((rows + stride_ - 1) / stride_ * kWidth) {
    for (int j = 0; j < kWidth; j++) least_[j] = greatest_[j] = value(0, j);
    for (int64_t i = 0; i < rows; i++) {
      for (int j = 0; j < width_; j++) {
        const T x = finite_or_zero(sample_[i * columns + j]);
        least_[j] = x < least_[j] ? x : least_[j];
        greatest_[j] = x > greatest_[j] ? x : greatest_[j];
      }
      if (i % stride_) continue;
      for (int j = 0; j < width_; j++) values_[i / stride_ * kWidth + j] = finite_or_zero(sample_[i * columns + j]);
    }
    sampled_ = {values_.get(), (rows + stride_ - 1) / stride_};
  }

  Grid choose(int bits, double* noise) {
    const double levels = (1 << bits) - 1;
    const auto all = [this](int64_t i, int j) { return value(i, j); };
    const Spread spread(sampled_, rows_, all, least_, greatest_);
    const Grid full = grid(spread, 1.0, levels);
    Grid best = full;
    double least[kWidth], error[kWidth];
    std::fill(least, least + kWidth, std::numeric_limits<double>::infinity());
    for (const double factor : kShrink4Bit) {
      if (bits != 4) break;
      const Grid candidate = grid(spread, factor, levels);
      squared_error(sampled_, full, candidate, levels, error);
      for (int j = 0; j < kWidth; j++) {
        if (!(error[j] < least[j]) || (factor < 1 && !spread.often[j])) continue;
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
  T value(int64_t i, int j) const { return j < width_ ? finite_or_zero(sample_[i * columns_ + j]) : T(0); }

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

  const T* sample_;  // first of the columns in row 0
  int64_t rows_, columns_;
  int width_;
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
