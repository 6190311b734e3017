#include "halp_pass.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>

#include "buffer.h"
#include "dispatch.h"
#include "minibatches.h"
#include "team.h"

namespace mezzotint {
namespace {

constexpr uint32_t rounding_stream = 0x68616c70;  // Stream.HALP_ROUNDING of mezzotint/random.py
constexpr int most_doublings = 400;               // in one step; more means that the offset is not finite

// Offset of one output and everything that its step reads and writes.
struct Output {
  Output(const EpochModel& model, int64_t k, int64_t d, int64_t padded)
      : floats(8 * padded), exact_shift(padded), quantum(model.quantum[k]), slope(model.gradient[k * (d + 1) + d]) {
    float* next = floats.get();
    const auto column = [&](const double* values) {
      float* const here = next;
      for (int64_t j = 0; values && j < d; j++) here[j] = static_cast<float>(values[j]);
      next += padded;
      return here;
    };
    std::copy(model.shift, model.shift + d, exact_shift.get());
    columns.padded = padded;
    columns.gradient = column(model.gradient + k * (d + 1));
    columns.penalty = column(model.penalty);
    columns.step = column(model.step);
    columns.shift = column(model.shift);
    columns.shift_exact = exact_shift.get();
    columns.velocity = column(nullptr);
    columns.offset = column(nullptr);
    columns.target = column(nullptr);
    sums = column(nullptr);
  }
  Buffer<float> floats;
  Buffer<double> exact_shift;
  HalpColumns columns;
  float* sums;
  HalpTotals totals{0, 0};
  double quantum, slope, constant = 0, velocity = 0, constant_sum = 0;
};

// What margins and gradients need of the data; everything else of a step is shared.
class OnCodes {
 public:
  using Z = int8_t;
  using Product = int32_t;
  static constexpr int z_per_column = spread;

  OnCodes(const PackedRows& data, const EpochRows& rows) : data_(data), rows_(rows), mid_(static_cast<int32_t>(data.coding.mid_code())) {}

  struct Scratch {
    explicit Scratch(const EpochRows& rows) : sums(rows.K * tile_rows), integers(rows.K * slab_rows) {}
    Buffer<int32_t> sums;
    Buffer<int8_t> integers;
  };

  void margins(int64_t tile, int64_t next, const int8_t* z, const std::unique_ptr<Output>* outputs, Scratch& scratch,
               float* psi) const {
    kernels_.margins(at(tile), data_.coding, rows_.padded, z, rows_.K, scratch.sums.get(), at(next));
    for (int64_t k = 0; k < rows_.K; k++) {
      const Output& o = *outputs[k];
      const int32_t mid_sum = mid_ * o.totals.sum;
      for (int64_t r = 0; r < tile_rows; r++) {
        const double sum = static_cast<double>(scratch.sums[k * tile_rows + r] - mid_sum) - o.totals.shifted;
        psi[k * tile_rows + r] = static_cast<float>(o.constant + o.quantum * sum);
      }
    }
  }
  // c (K, 64) -> products (K, padded), per output their scale and `mid` times the sum of the integers.
  void products(const Slab& slab, const Slab& next, const float* c, float batch_weight, Scratch& scratch,
                int32_t* products, float* scale, int32_t* mid_sum, double* total) const {
    const uint8_t *here[slab_tiles], *ahead[slab_tiles];
    for (int64_t t = 0; t < slab.count; t++) {
      here[t] = at(slab.tiles[t]);
      ahead[t] = at(next.tiles[std::min(t, next.count - 1)]);
    }
    for (int64_t k = 0; k < rows_.K; k++) {
      int32_t sum;
      scale[k] = kernels_.quantise(c + k * slab_rows, scratch.integers.get() + k * slab_rows, &sum) * batch_weight;
      mid_sum[k] = mid_ * sum;
      total[k] = static_cast<double>(scale[k]) * sum;
    }
    kernels_.gradient(here, slab.count, data_.coding, rows_.padded, scratch.integers.get(), rows_.K, products, ahead);
  }
  void collect(const int32_t* products, int64_t stride, int64_t n_slabs, const float* scale, const int32_t* mid_sum,
               float* total) const {
    kernels_.collect(products, stride, n_slabs, scale, mid_sum, rows_.padded, total);
  }
  // Rounds the target onto the grid; a saturated offset doubles the quantum and tries again.
  int settle(Output& o, const HalpBits& bits, int8_t* z) const {
    int doublings = 0;
    while (!kernels_.round(o.columns, bits, z, &o.totals) && doublings < most_doublings) {
      kernels_.halve(o.columns.target, rows_.padded);
      kernels_.halve(o.sums, rows_.padded);
      o.quantum *= 2;
      doublings++;
    }
    return doublings;
  }

 private:
  const uint8_t* at(int64_t tile) const { return data_.codes + tile * data_.tile_bytes; }
  PackedRows data_;
  EpochRows rows_;
  int32_t mid_;
  const HalpKernels& kernels_ = *active().halp;
};

class OnFloats {
 public:
  using Z = float;
  using Product = float;
  static constexpr int z_per_column = 1;

  OnFloats(const PlainRows& data, const EpochRows& rows) : data_(data), rows_(rows), factor_(rows.padded) {
    for (int64_t j = 0; j < rows.n_columns; j++)
      factor_[j] = data.scale[j] > 0 ? static_cast<float>(1 / data.scale[j]) : 0.0f;
  }

  struct Scratch {
    explicit Scratch(const EpochRows& rows) : sums(rows.K * tile_rows), tile(rows.K * tile_rows) {}
    Buffer<double> sums;
    Buffer<float> tile;
  };

  void margins(int64_t tile, int64_t next, const float* z, const std::unique_ptr<Output>* outputs, Scratch& scratch,
               float* psi) const {
    products_.margins(at(tile), count(tile), rows_.n_columns, z, rows_.padded, rows_.K, scratch.sums.get(),
                      {at(next), count(next) / 2});
    for (int64_t k = 0; k < rows_.K; k++)
      for (int64_t r = 0; r < tile_rows; r++)
        psi[k * tile_rows + r] = static_cast<float>(
            outputs[k]->constant + (scratch.sums[k * tile_rows + r] - outputs[k]->totals.shifted));
  }
  void products(const Slab& slab, const Slab& next, const float* c, float batch_weight, Scratch& scratch,
                float* products, float* scale, int32_t* mid_sum, double* total) const {
    std::fill(products, products + rows_.K * rows_.padded, 0.0f);
    std::fill(total, total + rows_.K, 0.0);
    for (int64_t t = 0; t < slab.count; t++) {
      for (int64_t k = 0; k < rows_.K; k++)
        for (int64_t r = 0; r < tile_rows; r++) {
          const float scaled = c[k * slab_rows + t * tile_rows + r] * batch_weight;
          scratch.tile[k * tile_rows + r] = scaled;
          total[k] += scaled;
        }
      const int64_t ahead = next.tiles[std::min(t, next.count - 1)];
      products_.gradient(at(slab.tiles[t]), count(slab.tiles[t]), rows_.n_columns, scratch.tile.get(), products,
                         rows_.padded, rows_.K, second_half(ahead));
    }
    std::fill(scale, scale + rows_.K, 1.0f);
    std::fill(mid_sum, mid_sum + rows_.K, 0);
  }
  void collect(const float* products, int64_t stride, int64_t n_slabs, const float*, const int32_t*,
               float* total) {
    kernels_.collect_floats(products, stride, n_slabs, factor_.get(), rows_.padded, total);
  }
  int settle(Output& o, const HalpBits&, float* z) {
    kernels_.adopt(o.columns, factor_.get(), z, &o.totals);
    return 0;
  }

 private:
  const float* at(int64_t tile) const { return data_.x + tile * tile_rows * rows_.n_columns; }
  Ahead<float> second_half(int64_t tile) const {
    const int64_t first = count(tile) / 2;
    return {at(tile) + first * rows_.n_columns, count(tile) - first};
  }
  int64_t count(int64_t tile) const { return std::min(tile_rows, rows_.n_rows - tile * tile_rows); }
  PlainRows data_;
  EpochRows rows_;
  Buffer<float> factor_;
  const HalpKernels& kernels_ = *active().halp;
  const ProductKernels<float, float>& products_ = active().floats->f32;
};

template <class Data>
class Epoch {
 public:
  Epoch(Data& data, const EpochRows& rows, const EpochModel& model, const EpochSchedule& schedule)
      : data_(data),
        rows_(rows),
        schedule_(schedule),
        step_(model.step[rows.n_columns]),
        batches_{schedule.order, schedule.n_passes, schedule.n_tiles, schedule.n_batches},
        n_steps_(batches_.n_steps()),
        most_slabs_(batches_.most_slabs()),
        n_workers_(static_cast<int>(std::max<int64_t>(1, std::min<int64_t>(schedule.n_threads, most_slabs_)))),
        z_(rows.K * rows.padded * Data::z_per_column),
        products_(most_slabs_ * rows.K * rows.padded),
        scale_(most_slabs_ * rows.K),
        mid_sum_(most_slabs_ * rows.K),
        total_(most_slabs_ * rows.K),
        sum_(rows.padded),
        slab_scale_(most_slabs_),
        slab_mid_sum_(most_slabs_) {
    for (int64_t k = 0; k < rows.K; k++)
      outputs_.push_back(std::make_unique<Output>(model, k, rows.n_columns, rows.padded));
    for (int w = 0; w < n_workers_; w++) workers_.push_back(std::make_unique<Worker>(rows));
  }

  EpochResult run(double* average, Interrupt* interrupt) {
    EpochResult result;
    run_team(n_workers_, n_steps_, most_slabs_, [&](int64_t step) { return batches_.slabs_in(step); },
             [&](int worker, int64_t step, int64_t h) { work(*workers_[static_cast<size_t>(worker)], step, h); },
             [&](int64_t step) {
               result.finite = descend(step, result.doublings);
               if (step % 16 == 0 && interrupt && interrupt->pressed()) result.interrupted = true;
               return result.finite && !result.interrupted;
             });
    const double count = static_cast<double>(schedule_.tail);
    for (int64_t k = 0; k < rows_.K; k++) {
      const Output& o = *outputs_[k];
      double* const out = average + k * (rows_.n_columns + 1);
      for (int64_t j = 0; j < rows_.n_columns; j++) out[j] = o.sums[j] * o.quantum / count;
      out[rows_.n_columns] = o.constant_sum / count;
    }
    return result;
  }

 private:
  struct Worker {
    explicit Worker(const EpochRows& rows)
        : data(rows), rows(rows), second(rows.K * tile_rows), change(rows.K * tile_rows), c(rows.K * slab_rows) {}
    typename Data::Scratch data;
    TileRows rows;
    Buffer<float> second, change, c;
  };

  // Products of slab h of a step.
  void work(Worker& w, int64_t step, int64_t h) {
    const Slab here = batches_.slab(step, h), next = batches_.likely_next(step, h, n_workers_, here);
    TileRows::prefetch_slab(rows_, next);
    for (int64_t t = 0; t < slab_tiles; t++)
      coefficients(w, t, t < here.count ? here.tiles[t] : -1, next.tiles[std::min(t, next.count - 1)]);
    data_.products(here, next, w.c.get(), static_cast<float>(schedule_.batch_weight), w.data,
                   products_.get() + h * rows_.K * rows_.padded, scale_.get() + h * rows_.K,
                   mid_sum_.get() + h * rows_.K, total_.get() + h * rows_.K);
  }

  // c of tile t of a slab: s (l'(phi + psi) - l'(phi)); zeros if there is no such tile. `next` is prefetched.
  void coefficients(Worker& w, int64_t t, int64_t tile, int64_t next) {
    const int64_t count = TileRows::count(rows_, tile);
    std::memset(w.change.get(), 0, static_cast<size_t>(rows_.K * tile_rows) * sizeof(float));
    if (count) {
      data_.margins(tile, next, z_.get(), outputs_.data(), w.data, w.rows.psi.get());
      active().floats->rows.curvature(w.rows.of(rows_, tile, count), 0, count, w.change.get(), w.second.get());
    }
    for (int64_t k = 0; k < rows_.K; k++)
      std::memcpy(w.c.get() + k * slab_rows + t * tile_rows, w.change.get() + k * tile_rows, tile_rows * sizeof(float));
  }
  // The step itself, by one thread, once the products of all slabs are there. False if it left the finite numbers.
  bool descend(int64_t step, int64_t& doublings) {
    const int64_t n_slabs = batches_.slabs_in(step), K = rows_.K;
    const bool in_tail = step >= n_steps_ - schedule_.tail;
    bool finite = true;
    for (int64_t k = 0; k < K; k++) {
      Output& o = *outputs_[k];
      gather_slabs(k, n_slabs);
      data_.collect(products_.get() + k * rows_.padded, K * rows_.padded, n_slabs, slab_scale_.get(),
                    slab_mid_sum_.get(), sum_.get());
      const float quantum = static_cast<float>(o.quantum);
      kernels_.descend(o.columns, sum_.get(), static_cast<float>(slab_total_), static_cast<float>(schedule_.momentum),
                       quantum, 1.0f / quantum);
      const HalpBits bits = {schedule_.seed, schedule_.first_step + static_cast<uint32_t>(step),
                             rounding_stream + static_cast<uint32_t>(k)};
      doublings += data_.settle(o, bits, z_.get() + k * rows_.padded * Data::z_per_column);
      o.velocity = schedule_.momentum * o.velocity + (slab_total_ + o.slope);
      o.constant -= step_ * o.velocity;
      if (in_tail) {
        kernels_.add(o.sums, o.columns.offset, rows_.padded);
        o.constant_sum += o.constant;
      }
      for (const double value : {o.totals.shifted, o.constant, o.quantum})
        finite = finite && std::isfinite(static_cast<float>(value));
    }
    return finite;
  }
  void gather_slabs(int64_t k, int64_t n_slabs) {
    slab_total_ = 0;
    for (int64_t h = 0; h < n_slabs; h++) {
      slab_scale_[h] = scale_[h * rows_.K + k];
      slab_mid_sum_[h] = mid_sum_[h * rows_.K + k];
      slab_total_ += total_[h * rows_.K + k];
    }
  }

  Data& data_;
  EpochRows rows_;
  EpochSchedule schedule_;
  double step_;
  Minibatches batches_;
  int64_t n_steps_, most_slabs_;
  int n_workers_;
  Buffer<typename Data::Z> z_;
  Buffer<typename Data::Product> products_;
  Buffer<float> scale_;
  Buffer<int32_t> mid_sum_;
  Buffer<double> total_;
  Buffer<float> sum_;
  Buffer<float> slab_scale_;      // of one output
  Buffer<int32_t> slab_mid_sum_;
  double slab_total_ = 0;
  std::vector<std::unique_ptr<Output>> outputs_;
  std::vector<std::unique_ptr<Worker>> workers_;
  const HalpKernels& kernels_ = *active().halp;
};

}  // namespace

EpochResult halp_epoch(const PackedRows& data, const EpochRows& rows, const EpochModel& model,
                       const EpochSchedule& schedule, double* average, Interrupt* interrupt) {
  OnCodes codes(data, rows);
  return Epoch<OnCodes>(codes, rows, model, schedule).run(average, interrupt);
}

EpochResult svrg_epoch(const PlainRows& data, const EpochRows& rows, const EpochModel& model,
                       const EpochSchedule& schedule, double* average, Interrupt* interrupt) {
  OnFloats floats(data, rows);
  return Epoch<OnFloats>(floats, rows, model, schedule).run(average, interrupt);
}

}  // namespace mezzotint
