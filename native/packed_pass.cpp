#include "packed_pass.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <vector>

#include "buffer.h"
#include "dispatch.h"
#include "halp.h"

namespace mezzotint {
namespace {

constexpr int kRowLanes = 16;
constexpr int kColumnLanes = 8;
constexpr double kVectorLimit = 32639;  // 256 * 127 + 127: the largest integer that splits into two int8

// Adds lanes by halves, a fixed tree; the sum ends in lane 0.
double fold(double* lanes, int count) {
  for (int half = count / 2; half > 0; half /= 2)
    for (int i = 0; i < half; i++) lanes[i] += lanes[i + half];
  return lanes[0];
}

double round_to_even(double x) { return (x + 0x1.8p52) - 0x1.8p52; }  // |x| < 2^51

// Vectors as pairs of int8 (high, low), laid out for row_dots, and what turns integer sums into margins.
class WideVectors {
 public:
  WideVectors(const PackedOperand& x, const double* v, int64_t outputs)
      : bytes_(2 * outputs * x.shape.groups() * kVectorBytes), scales_(static_cast<size_t>(outputs)),
        outputs_(outputs) {
    for (int64_t k = 0; k < outputs; k++) split(x, v + k * (x.shape.columns + 1), k);
  }
  const int8_t* bytes() { return bytes_.get(); }
  const MarginScale& scale(int64_t k) const { return scales_[static_cast<size_t>(k)]; }

 private:
  void split(const PackedOperand& x, const double* v, int64_t k) {
    const int64_t columns = x.shape.columns;
    const auto mid = static_cast<double>(x.shape.mid_code());
    double lanes[kColumnLanes] = {}, largest = 0;
    for (int64_t j = 0; j < columns; j++) {
      const double u = std::abs(x.scale[j] * v[j]);
      if (!(u <= largest)) largest = u;  // keeps a NaN
      lanes[j % kColumnLanes] += v[j] * (x.offset[j] + mid * x.scale[j]);
    }
    MarginScale& scale = scales_[static_cast<size_t>(k)];
    scale = {v[columns] + fold(lanes, kColumnLanes), largest / kVectorLimit, 0};
    if (!std::isfinite(scale.scale)) scale.base = std::numeric_limits<double>::quiet_NaN();
    if (!std::isnormal(scale.scale)) scale.scale = 0;  // counts as a zero vector
    if (scale.scale == 0) return;
    int64_t total = 0;
    for (int64_t j = 0; j < columns; j++) {
      const auto integer = static_cast<int64_t>(round_to_even(x.scale[j] * v[j] / scale.scale));
      put(j, k, integer);
      total += integer;
    }
    scale.shift = mid * static_cast<double>(total);
  }

  // The 4 rows of a tile meet the same 4 entries of the vector.
  void put(int64_t j, int64_t k, int64_t integer) {
    const auto low = static_cast<int8_t>(integer);  // in [-128, 127]
    const auto high = static_cast<int8_t>((integer - low) / 256);
    int8_t* at = bytes_.get() + ((j / 16) * 2 * outputs_ + 2 * k) * kVectorBytes + j % 16 / 4 * 16 + j % 4;
    for (int r = 0; r < 4; r++) {
      at[4 * r] = high;
      at[4 * r + kVectorBytes] = low;
    }
  }

  Buffer<int8_t> bytes_;
  std::vector<MarginScale> scales_;
  int64_t outputs_;
};

// One segment, block by block: margins, row coefficients, transposed product.
class SegmentPass {
 public:
  SegmentPass(const PackedOperand& x, int64_t outputs, WideVectors* vectors, float* psi, const RowWeights& weights,
              bool transpose)
      : x_(x), kernels_(*active().packed), outputs_(outputs), planes_(weights.coefficients ? 2 : 1),
        vectors_(vectors), psi_out_(psi), weights_(weights), transpose_(transpose),
        sums_(vectors ? 2 * outputs * x.block_rows : 0), psi_(outputs * x.block_rows), c_(outputs * x.block_rows),
        integers_(planes_ * outputs * x.block_rows),
        totals_(transpose ? planes_ * outputs * x.shape.padded_columns() : 0), lanes_(outputs * kRowLanes),
        step_(planes_ * outputs), shift_(planes_ * outputs) {}

  void run(int64_t start, int64_t stop, double* partial) {
    for (int64_t row = start; row < stop; row += x_.block_rows) block(row, std::min(row + x_.block_rows, stop));
    if (transpose_) finish(partial);
  }

 private:
  void block(int64_t start, int64_t stop) {
    const int64_t rows = stop - start, padded = (rows + 15) / 16 * 16;
    const CodeBlock codes{x_.codes + start * x_.shape.row_bytes(), padded, x_.shape.groups(), x_.shape.coding()};
    vectors_ ? make_margins(codes, start, rows) : kernels_.bring_near(codes);
    if (!transpose_) return;
    make_coefficients(start, rows);
    for (int64_t k = 0; k < outputs_; k++) {
      float* c = c_.get() + k * x_.block_rows;
      std::fill(c + rows, c + padded, 0.0f);
      round_plane(padded, c, planes_ * k, &lanes_[k * kRowLanes]);
      double unused[kRowLanes] = {};
      if (planes_ == 2) {
        keep_residuals(padded, c, planes_ * k);
        round_plane(padded, c, planes_ * k + 1, unused);
      }
    }
    kernels_.column_dots(codes, {integers_.get(), planes_ * outputs_, step_.get(), shift_.get()}, totals_.get());
  }

  void round_plane(int64_t padded, const float* c, int64_t plane, double* lanes) {
    const RoundedSum sum = kernels_.round_rows(padded, c, planes_ * outputs_, integers_.get() + 4 * plane, lanes);
    step_[plane] = sum.step;
    shift_[plane] = static_cast<int32_t>(x_.shape.mid_code()) * sum.total;
  }

  // What rounding to the integers of a plane has left of the coefficients.
  void keep_residuals(int64_t padded, float* c, int64_t plane) {
    for (int64_t r = 0; r < padded; r++) {
      const double rounded = step_[plane] * integers_[4 * (r / 4 * planes_ * outputs_ + plane) + r % 4];
      c[r] = static_cast<float>(static_cast<double>(c[r]) - rounded);
    }
  }

  void make_margins(const CodeBlock& codes, int64_t start, int64_t rows) {
    kernels_.row_dots(codes, vectors_->bytes(), 2 * outputs_, sums_.get());
    for (int64_t k = 0; k < outputs_; k++) {
      const int32_t* high = sums_.get() + 2 * k * codes.rows;
      float* psi = psi_.get() + k * x_.block_rows;
      kernels_.margins(rows, high, high + codes.rows, vectors_->scale(k), psi);
      std::copy(psi, psi + rows, psi_out_ + k * x_.shape.rows + start);
    }
  }

  void make_coefficients(int64_t start, int64_t rows) {
    const int64_t n = x_.shape.rows, width = x_.block_rows;
    if (weights_.probabilities) {
      kernels_.weigh_softmax(rows, outputs_, psi_.get(), width, weights_.weights + start,
                             weights_.probabilities + start, n, c_.get());
      return;
    }
    for (int64_t k = 0; k < outputs_; k++) {
      float* c = c_.get() + k * width;
      if (weights_.coefficients) {
        std::copy_n(weights_.coefficients + k * n + start, rows, c);
      } else {
        const float* weights = weights_.weights + (weights_.weight_rows > 1 ? k * n : 0);
        kernels_.weigh(rows, psi_.get() + k * width, weights + start, c);
      }
    }
  }

  void finish(double* partial) {
    const int64_t columns = x_.shape.columns;
    const auto mid = static_cast<double>(x_.shape.mid_code());
    for (int64_t k = 0; k < outputs_; k++, partial += columns + 1) {
      const double* products = totals_.get() + planes_ * k * x_.shape.padded_columns();
      const double* rest = products + (planes_ - 1) * x_.shape.padded_columns();
      const double total = fold(&lanes_[k * kRowLanes], kRowLanes);
      for (int64_t j = 0; j < columns; j++) {
        const double sum = planes_ == 2 ? products[j] + rest[j] : products[j];
        partial[j] = x_.scale[j] * sum + (x_.offset[j] + mid * x_.scale[j]) * total;
      }
      partial[columns] = total;
    }
  }

  const PackedOperand& x_;
  const PackedKernels& kernels_;
  const int64_t outputs_, planes_;  // given coefficients are rounded to two planes of int8, others to one
  WideVectors* vectors_;
  float* psi_out_;
  const RowWeights& weights_;
  const bool transpose_;
  Buffer<int32_t> sums_;      // [2 * outputs][rows of the block]
  Buffer<float> psi_, c_;     // [outputs][block_rows]
  Buffer<int8_t> integers_;   // see RoundedRows
  Buffer<double> totals_;     // [outputs][planes][padded columns]
  Buffer<double> lanes_;      // [outputs][16] sums of c
  Buffer<double> step_;
  Buffer<int32_t> shift_;
};

}  // namespace

bool packed_products(const PackedOperand& x, const PassRange& range, int64_t outputs, const double* v, float* psi,
                     const RowWeights& weights, double* partials) {
  std::optional<WideVectors> vectors;
  if (v) vectors.emplace(x, v, outputs);
  return parallel_for(range.count, range.n_threads, range.interrupt, [&](int64_t i) {
    SegmentPass pass(x, outputs, vectors ? &*vectors : nullptr, psi, weights, partials != nullptr);
    pass.run(range.bounds[i], range.bounds[i + 1], partials ? partials + i * outputs * (x.shape.columns + 1) : nullptr);
  });
}

namespace {

// Adds the squared gaps of rows [start, stop): whole tiles at once, the rows of the last one by one.
class GapSquares {
 public:
  GapSquares(const PackedShape& shape, const uint8_t* codes)
      : shape_(shape), codes_(codes), sums_(shape.padded_columns()) {}

  void add(int64_t start, int64_t stop, double* totals) {
    int64_t row = start;
    for (; row + tile_rows <= stop; row += slab_rows)
      add_tiles(row, std::min(slab_tiles, (stop - row) / tile_rows), totals);
    row = start + (stop - start) / tile_rows * tile_rows;
    if (row < stop) kernels_.add_gap_squares(block(row, tile_rows), stop - row, ones, totals);
  }
  void add_weighted(int64_t start, int64_t stop, const double* weights, double* totals) const {
    kernels_.add_gap_squares(block(start, stop - start), stop - start, weights + start, totals);
  }

 private:
  static constexpr double ones[tile_rows] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

  CodeBlock block(int64_t row, int64_t rows) const {
    return {codes_ + row * shape_.row_bytes(), rows, shape_.groups(), shape_.coding()};
  }
  void add_tiles(int64_t row, int64_t count, double* totals) {
    const uint8_t* tiles[slab_tiles];
    for (int64_t t = 0; t < count; t++) tiles[t] = block(row + t * tile_rows, tile_rows).codes;
    kernels_.bring_near(block(row, count * tile_rows));
    active().halp->gap_squares(tiles, count, shape_.coding(), shape_.padded_columns(), sums_.get());
    for (int64_t j = 0; j < shape_.columns; j++) totals[j] += sums_[j];
  }

  const PackedShape& shape_;
  const uint8_t* codes_;
  const PackedKernels& kernels_ = *active().packed;
  Buffer<int32_t> sums_;
};

}  // namespace

bool packed_gap_squares(const PackedShape& shape, const uint8_t* codes, const PassRange& range, const double* weights,
                        double* partials) {
  return parallel_for(range.count, range.n_threads, range.interrupt, [&](int64_t i) {
    const int64_t start = range.bounds[i], stop = range.bounds[i + 1];
    Buffer<double> totals(shape.padded_columns());
    GapSquares squares(shape, codes);
    weights ? squares.add_weighted(start, stop, weights, totals.get()) : squares.add(start, stop, totals.get());
    std::copy_n(totals.get(), shape.columns, partials + i * shape.columns);
  });
}

}  // namespace mezzotint
