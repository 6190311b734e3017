#include <optional>

#include "bind_epochs.h"
#include "bind_layout.h"
#include "packed.h"

namespace mezzotint {
namespace {

EpochModel model_of(const EpochRows& rows, const In<double, 1>& shift, const Rows64& gradient,
                    const In<double, 1>& penalty, const In<double, 1>& step, const In<double, 1>& quantum) {
  const auto d = static_cast<size_t>(rows.n_columns), K = static_cast<size_t>(rows.K);
  require(shift.shape(0) == d && penalty.shape(0) == d && step.shape(0) == d + 1 && quantum.shape(0) == K &&
              gradient.shape(0) == K && gradient.shape(1) == d + 1,
          "shapes of the columns");
  return {shift.data(), gradient.data(), penalty.data(), step.data(), quantum.data()};
}

EpochSchedule schedule_of(const EpochRows& rows, const In<int64_t, 2>& order, int64_t n_batches, int64_t tail,
                          double momentum, double batch_weight, uint64_t seed, uint32_t first_step, int n_threads) {
  check_order(rows, order, n_batches, tail);
  const auto passes = static_cast<int64_t>(order.shape(0)), tiles = static_cast<int64_t>(order.shape(1));
  require(n_threads >= 1, "n_threads below 1");
  return {order.data(), passes, tiles, n_batches, tail, momentum, batch_weight, seed, first_step, n_threads};
}

template <class Run>
std::tuple<int64_t, bool> run_without_gil(Run run) {
  SignalPoll poll;
  EpochResult result;
  {
    nb::gil_scoped_release release;
    result = run(&poll);
  }
  poll.rethrow();
  return {result.doublings, result.finite};
}

}  // namespace

void bind_halp(nb::module_& m) {
  m.def("halp_epoch", [](const In<uint8_t, 1>& codes, const LayoutArg& layout, int loss, const Rows64& phi, const Rows64& y,
                         const Weights64& weights, const In<double, 1>& shift, const Rows64& gradient,
                         const In<double, 1>& penalty, const In<double, 1>& step, const In<double, 1>& quantum,
                         const In<int64_t, 2>& order, int64_t n_batches, int64_t tail, double momentum,
                         double batch_weight, uint64_t seed, uint32_t first_step, int n_threads,
                         const Out<double, 2>& average) {
    const BoundShape bound(layout);
    const PackedShape& shape = *bound;
    const EpochRows rows = epoch_rows(shape.columns, shape.padded_columns(), loss, phi, y, weights);
    const EpochModel model = model_of(rows, shift, gradient, penalty, step, quantum);
    const EpochSchedule schedule =
        schedule_of(rows, order, n_batches, tail, momentum, batch_weight, seed, first_step, n_threads);
    const PackedRows data = {codes.data(), shape.coding(), tile_rows * shape.row_bytes()};
    require(rows.n_rows == shape.rows && static_cast<int64_t>(codes.shape(0)) == shape.bytes(), "size of codes");
    require_coefficients(rows, average);
    return run_without_gil(
        [&](Interrupt* interrupt) { return halp_epoch(data, rows, model, schedule, average.data(), interrupt); });
  });
  m.def("svrg_epoch", [](const In<float, 2>& x, const In<double, 1>& scale, int loss, const Rows64& phi,
                         const Rows64& y, const Weights64& weights, const In<double, 1>& shift, const Rows64& gradient,
                         const In<double, 1>& penalty, const In<double, 1>& step, const In<int64_t, 2>& order,
                         int64_t n_batches, int64_t tail, double momentum, double batch_weight, int n_threads,
                         const Out<double, 2>& average) {
    const auto n_columns = static_cast<int64_t>(x.shape(1));
    const EpochRows rows = epoch_rows(n_columns, padded_columns(n_columns), loss, phi, y, weights);
    require(static_cast<int64_t>(x.shape(0)) == rows.n_rows && scale.shape(0) == x.shape(1), "shape of x");
    const std::vector<double> ones(static_cast<size_t>(rows.K), 1.0);
    const size_t K = ones.size();
    EpochModel model = model_of(rows, shift, gradient, penalty, step, In<double, 1>(ones.data(), 1, &K));
    const EpochSchedule schedule = schedule_of(rows, order, n_batches, tail, momentum, batch_weight, 0, 0, n_threads);
    require_coefficients(rows, average);
    const PlainRows data = {x.data(), scale.data()};
    return run_without_gil(
        [&](Interrupt* interrupt) { return svrg_epoch(data, rows, model, schedule, average.data(), interrupt); });
  });
}

}  // namespace mezzotint
