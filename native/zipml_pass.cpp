#include "zipml_pass.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "buffer.h"
#include "dispatch.h"
#include "minibatches.h"
#include "team.h"
#include "zipml.h"

namespace mezzotint {
namespace {

// Stream.ZIPML_... of mezzotint/random.py
constexpr uint32_t coefficient_stream = 0x7A000000, model_stream = 0x7B000000, gradient_stream = 0x7C000000;
constexpr double one_byte = 127.0;  // limit of a model that is held in one signed byte

// Weights of one output and everything that its step reads and writes.
struct Weights {
  Weights(const DescentModel& model, const double* start, int64_t d, int64_t padded) : values(6 * padded), sums(padded) {
    double* next = values.get();
    const auto column = [&](const double* from) {
      double* const here = next;
      std::copy(from, from + d, here);
      next += padded;
      return here;
    };
    columns = {padded,           column(model.scale), column(model.centre), column(model.step), column(model.low),
               column(model.high), model.l2,          model.l1,             nullptr};
    columns.w = column(start);
    b = start[d];
  }
  Buffer<double> values, sums;
  DescentColumns columns;
  DescentTotals totals{0, 0};
  double b, b_sum = 0, quantum = 0;
  int64_t integer_sum = 0;

  double base() const { return b + totals.centre; }
  bool finite() const { return std::isfinite(static_cast<float>(base())) && std::isfinite(totals.largest); }
};
using Outputs = std::vector<std::unique_ptr<Weights>>;

// Where the products of slab h go, for all outputs.
template <class Product>
struct SlabProducts {
  Product* products;  // (K, padded)
  int32_t* gap_squares;  // (padded)
  double* kappa;      // (K)
  int32_t* mid_sum;   // (K)
  double* total;      // (K), sums of the coefficients
};

// What margins and gradients need of the data; everything else of a step is shared.
class OnCodes {
 public:
  using Z = int8_t;
  using Product = int32_t;

  OnCodes(const PackedRows& data, const EpochRows& rows, const DescentSchedule& schedule, bool corrects)
      : data_(data), rows_(rows), schedule_(schedule), corrects_(corrects), mid_(data.coding.mid_code()),
        planes_(schedule.model_limit > one_byte ? 2 : 1) {}

  struct Scratch {
    explicit Scratch(const EpochRows& rows) : sums(2 * rows.K * tile_rows), integers(rows.K * slab_rows) {}
    Buffer<int32_t> sums;
    Buffer<int8_t> integers;
  };
  int64_t z_of_output() const { return planes_ * rows_.padded * spread; }

  void margins(int64_t tile, int64_t next, const int8_t* z, const Outputs& outputs, Scratch& scratch, float* psi) const {
    products_.margins(at(tile), data_.coding, rows_.padded, z, planes_ * rows_.K, scratch.sums.get(), at(next));
    for (int64_t k = 0; k < rows_.K; k++) {
      const Weights& o = *outputs[static_cast<size_t>(k)];
      const int32_t* const sums = scratch.sums.get() + k * planes_ * tile_rows;
      kernels_.offsets(sums, planes_ == 2 ? sums + tile_rows : nullptr, static_cast<double>(mid_ * o.integer_sum), o.base(),
                       o.quantum, psi + k * tile_rows);
    }
  }
  // c (K, 64) -> products.
  void products(const Slab& slab, const Slab& next, const float* c, int64_t step, int64_t h, Scratch& scratch,
                const SlabProducts<int32_t>& out) const {
    const uint8_t *here[slab_tiles], *ahead[slab_tiles];
    for (int64_t t = 0; t < slab.count; t++) {
      here[t] = at(slab.tiles[t]);
      ahead[t] = at(next.tiles[std::min(t, next.count - 1)]);
    }
    for (int64_t k = 0; k < rows_.K; k++) {
      int32_t sum;
      const HalpBits bits = bits_of(step, coefficient_stream + static_cast<uint32_t>(h * rows_.K + k));
      const float kappa = kernels_.round_coefficients(c + k * slab_rows, bits, scratch.integers.get() + k * slab_rows, &sum);
      out.kappa[k] = static_cast<double>(kappa);
      out.mid_sum[k] = static_cast<int32_t>(mid_ * sum);
      out.total[k] = out.kappa[k] * sum;
    }
    if (corrects_ && rows_.K == 1)
      return products_.gradient_and_gaps(here, slab.count, data_.coding, rows_.padded, scratch.integers.get(), out.products,
                                         ahead, out.gap_squares);
    products_.gradient(here, slab.count, data_.coding, rows_.padded, scratch.integers.get(), rows_.K, out.products, ahead);
    if (corrects_) products_.gap_squares(here, slab.count, data_.coding, rows_.padded, out.gap_squares);
  }
  void collect(const SlabProducts<int32_t>& of, int64_t n_slabs, double* total) const {
    kernels_.collect(of.products, rows_.K * rows_.padded, n_slabs, of.kappa, of.mid_sum, rows_.padded, total);
  }
  const int32_t* gap_squares(const int32_t* sums) const { return corrects_ ? sums : nullptr; }
  // Rounds the model for a step.
  void settle(Weights& o, int64_t step, int64_t k, int8_t* z) const {
    const HalpBits bits = bits_of(step, model_stream + static_cast<uint32_t>(k));
    o.quantum = o.totals.largest / schedule_.model_limit;
    o.integer_sum = kernels_.round_model(o.columns, schedule_.model_limit, o.totals.largest, bits, z,
                                         planes_ == 2 ? z + rows_.padded * spread : nullptr);
  }
  HalpBits bits_of(int64_t step, uint32_t stream) const {
    return {schedule_.seed, schedule_.first_step + static_cast<uint32_t>(step), stream};
  }

 private:
  const uint8_t* at(int64_t tile) const { return data_.codes + tile * data_.tile_bytes; }
  PackedRows data_;
  EpochRows rows_;
  DescentSchedule schedule_;
  bool corrects_;
  int64_t mid_, planes_;
  const HalpKernels& products_ = *active().halp;
  const ZipmlKernels& kernels_ = *active().zipml;
};

class OnFloats {
 public:
  using Z = float;
  using Product = float;

  OnFloats(const float* x, const EpochRows& rows) : x_(x), rows_(rows) {}

  struct Scratch {
    explicit Scratch(const EpochRows& rows) : sums(rows.K * tile_rows), tile(rows.K * tile_rows) {}
    Buffer<double> sums;
    Buffer<float> tile;
  };
  int64_t z_of_output() const { return rows_.padded; }

  void margins(int64_t tile, int64_t next, const float* z, const Outputs& outputs, Scratch& scratch, float* psi) const {
    products_.margins(at(tile), count(tile), rows_.n_columns, z, rows_.padded, rows_.K, scratch.sums.get(),
                      {at(next), count(next) / 2});
    for (int64_t k = 0; k < rows_.K; k++)
      for (int64_t r = 0; r < tile_rows; r++)
        psi[k * tile_rows + r] =
            static_cast<float>(outputs[static_cast<size_t>(k)]->base() + scratch.sums[k * tile_rows + r]);
  }
  void products(const Slab& slab, const Slab& next, const float* c, int64_t, int64_t, Scratch& scratch,
                const SlabProducts<float>& out) const {
    std::fill(out.products, out.products + rows_.K * rows_.padded, 0.0f);
    std::fill(out.total, out.total + rows_.K, 0.0);
    for (int64_t t = 0; t < slab.count; t++) {
      for (int64_t k = 0; k < rows_.K; k++)
        for (int64_t r = 0; r < tile_rows; r++) {
          scratch.tile[k * tile_rows + r] = c[k * slab_rows + t * tile_rows + r];
          out.total[k] += scratch.tile[k * tile_rows + r];
        }
      const int64_t ahead = next.tiles[std::min(t, next.count - 1)], first = count(ahead) / 2;
      products_.gradient(at(slab.tiles[t]), count(slab.tiles[t]), rows_.n_columns, scratch.tile.get(), out.products,
                         rows_.padded, rows_.K, {at(ahead) + first * rows_.n_columns, count(ahead) - first});
    }
  }
  void collect(const SlabProducts<float>& of, int64_t n_slabs, double* total) const {
    kernels_.collect_floats(of.products, rows_.K * rows_.padded, n_slabs, rows_.padded, total);
  }
  const int32_t* gap_squares(const int32_t*) const { return nullptr; }
  void settle(Weights& o, int64_t, int64_t, float* z) const { kernels_.narrow(o.columns, z); }
  HalpBits bits_of(int64_t, uint32_t) const { return {}; }

 private:
  const float* at(int64_t tile) const { return x_ + tile * tile_rows * rows_.n_columns; }
  int64_t count(int64_t tile) const { return std::min(tile_rows, rows_.n_rows - tile * tile_rows); }
  const float* x_;
  EpochRows rows_;
  const ProductKernels<float, float>& products_ = active().floats->f32;
  const ZipmlKernels& kernels_ = *active().zipml;
};

template <class Data>
class Descent {
 public:
  Descent(const Data& data, const EpochRows& rows, const DescentModel& model, const DescentSchedule& schedule,
          const DescentOut& out)
      : data_(data),
        rows_(rows),
        schedule_(schedule),
        out_(out),
        step_b_(model.step[rows.n_columns]),
        batches_{schedule.order, schedule.n_passes, schedule.n_tiles, schedule.n_batches},
        most_slabs_(batches_.most_slabs()),
        n_workers_(static_cast<int>(std::max<int64_t>(1, std::min<int64_t>(schedule.n_threads, most_slabs_)))),
        z_(rows.K * data.z_of_output()),
        products_(most_slabs_ * rows.K * rows.padded),
        gap_squares_(most_slabs_ * rows.padded),
        kappa_(most_slabs_ * rows.K),
        mid_sum_(most_slabs_ * rows.K),
        total_(most_slabs_ * rows.K),
        met_(most_slabs_ * loss_lanes),
        slab_kappa_(most_slabs_),
        slab_mid_sum_(most_slabs_),
        sum_(rows.padded),
        gradient_(rows.padded) {
    for (int64_t k = 0; k < rows.K; k++)
      outputs_.push_back(
          std::make_unique<Weights>(model, out.coef + k * (rows.n_columns + 1), rows.n_columns, rows.padded));
    for (int w = 0; w < n_workers_; w++) workers_.push_back(std::make_unique<Worker>(rows));
  }

  DescentStatus run(Interrupt* interrupt) {
    DescentStatus status;
    for (auto& o : outputs_) o->totals = kernels_.totals(o->columns);
    if (!(status.finite = settle(0))) return status;
    run_team(n_workers_, batches_.n_steps(), most_slabs_, [&](int64_t step) { return batches_.slabs_in(step); },
             [&](int worker, int64_t step, int64_t h) { work(*workers_[static_cast<size_t>(worker)], step, h); },
             [&](int64_t step) {
               descend(step);
               status.finite = settle(step + 1);
               if (step % 16 == 0 && interrupt && interrupt->pressed()) status.interrupted = true;
               return status.finite && !status.interrupted;
             });
    for (int64_t k = 0; k < rows_.K; k++) leave(k);
    return status;
  }

 private:
  struct Worker {
    explicit Worker(const EpochRows& rows)
        : data(rows), rows(rows), slopes(rows.K * tile_rows), c(rows.K * slab_rows) {}
    typename Data::Scratch data;
    TileRows rows;
    Buffer<double> slopes;
    Buffer<float> c;
  };

  SlabProducts<typename Data::Product> products_of(int64_t h) {
    const int64_t K = rows_.K;
    return {products_.get() + h * K * rows_.padded, gap_squares_.get() + h * rows_.padded, kappa_.get() + h * K,
            mid_sum_.get() + h * K, total_.get() + h * K};
  }

  // Products of slab h of a step.
  void work(Worker& w, int64_t step, int64_t h) {
    const Slab here = batches_.slab(step, h), next = batches_.likely_next(step, h, n_workers_, here);
    double* const met = met_.get() + h * loss_lanes;
    std::fill(met, met + loss_lanes, 0.0);
    TileRows::prefetch_slab(rows_, next);
    for (int64_t t = 0; t < slab_tiles; t++)
      coefficients(w, t, t < here.count ? here.tiles[t] : -1, next.tiles[std::min(t, next.count - 1)], met);
    data_.products(here, next, w.c.get(), step, h, w.data, products_of(h));
  }

  // c of tile t of a slab: s l'(phi + psi); zeros if there is no such tile. `next` is prefetched.
  void coefficients(Worker& w, int64_t t, int64_t tile, int64_t next, double* met) {
    const int64_t count = TileRows::count(rows_, tile);
    std::fill(w.slopes.get(), w.slopes.get() + rows_.K * tile_rows, 0.0);
    if (count) {
      data_.margins(tile, next, z_.get(), outputs_, w.data, w.rows.psi.get());
      active().floats->rows.losses(w.rows.of(rows_, tile, count), 0, count, w.slopes.get(), met);
    }
    for (int64_t k = 0; k < rows_.K; k++)
      for (int64_t r = 0; r < tile_rows; r++)
        w.c[k * slab_rows + t * tile_rows + r] = static_cast<float>(w.slopes[k * tile_rows + r]);
  }

  // The step itself, by one thread, once the products of all slabs are there.
  void descend(int64_t step) {
    const int64_t n_slabs = batches_.slabs_in(step), pass = step / schedule_.n_batches;
    for (int64_t i = 0; i < n_slabs * loss_lanes; i++) out_.losses[pass] += met_[i];
    for (int64_t k = 0; k < rows_.K; k++) {
      Weights& o = *outputs_[static_cast<size_t>(k)];
      const double total_c = collect(k, n_slabs), weight = schedule_.batch_weight;
      const double largest = kernels_.gradient(o.columns, sum_.get(), total_c, weight, data_.gap_squares(gap_squares_.get()),
                                               rows_.padded, n_slabs, gradient_.get());
      if (schedule_.gradient_limit > 0)
        kernels_.few_bits(gradient_.get(), rows_.padded, schedule_.gradient_limit, largest,
                          data_.bits_of(step, gradient_stream + static_cast<uint32_t>(k)));
      o.totals = kernels_.update(o.columns, gradient_.get(), schedule_.rates[pass]);
      o.b -= schedule_.rates[pass] * step_b_ * (weight * total_c);
      if (step < batches_.n_steps() - schedule_.tail) continue;
      kernels_.add(o.sums.get(), o.columns.w, rows_.padded);
      o.b_sum += o.b;
    }
  }
  // Sums the products of output k over the slabs; returns the sum of the coefficients.
  double collect(int64_t k, int64_t n_slabs) {
    auto of = products_of(0);
    double total_c = 0;
    for (int64_t h = 0; h < n_slabs; h++) {
      slab_kappa_[h] = kappa_[h * rows_.K + k];
      slab_mid_sum_[h] = mid_sum_[h * rows_.K + k];
      total_c += total_[h * rows_.K + k];
    }
    of.products += k * rows_.padded;
    of.kappa = slab_kappa_.get();
    of.mid_sum = slab_mid_sum_.get();
    data_.collect(of, n_slabs, sum_.get());
    return total_c;
  }

  // Makes the model of a step that all workers read. False if the weights left the finite numbers.
  bool settle(int64_t step) {
    for (int64_t k = 0; k < rows_.K; k++) {
      Weights& o = *outputs_[static_cast<size_t>(k)];
      if (!o.finite()) return false;
      data_.settle(o, step, k, z_.get() + k * data_.z_of_output());
    }
    return true;
  }
  void leave(int64_t k) const {
    const int64_t d = rows_.n_columns;
    Weights& o = *outputs_[static_cast<size_t>(k)];
    double *const coef = out_.coef + k * (d + 1), *const average = out_.average + k * (d + 1);
    std::copy(o.columns.w, o.columns.w + d, coef);
    for (int64_t j = 0; j < d; j++) average[j] = o.sums[j] / static_cast<double>(schedule_.tail);
    coef[d] = o.b;
    average[d] = o.b_sum / static_cast<double>(schedule_.tail);
  }

  const Data& data_;
  EpochRows rows_;
  DescentSchedule schedule_;
  DescentOut out_;
  double step_b_;
  Minibatches batches_;
  int64_t most_slabs_;
  int n_workers_;
  Buffer<typename Data::Z> z_;
  Buffer<typename Data::Product> products_;
  Buffer<int32_t> gap_squares_;
  Buffer<double> kappa_;
  Buffer<int32_t> mid_sum_;
  Buffer<double> total_, met_, slab_kappa_;
  Buffer<int32_t> slab_mid_sum_;
  Buffer<double> sum_, gradient_;
  Outputs outputs_;
  std::vector<std::unique_ptr<Worker>> workers_;
  const ZipmlKernels& kernels_ = *active().zipml;
};

}  // namespace

DescentStatus zipml_epoch(const PackedRows& data, const EpochRows& rows, const DescentModel& model,
                          const DescentSchedule& schedule, const DescentOut& out, Interrupt* interrupt) {
  const OnCodes codes(data, rows, schedule, model.corrects);
  return Descent<OnCodes>(codes, rows, model, schedule, out).run(interrupt);
}

DescentStatus sgd_epoch(const float* x, const EpochRows& rows, const DescentModel& model,
                        const DescentSchedule& schedule, const DescentOut& out, Interrupt* interrupt) {
  const OnFloats floats(x, rows);
  return Descent<OnFloats>(floats, rows, model, schedule, out).run(interrupt);
}

}  // namespace mezzotint
