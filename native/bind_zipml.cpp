#include <optional>

#include "bind_epochs.h"
#include "bind_layout.h"
#include "packed.h"
#include "zipml_pass.h"

namespace mezzotint {
namespace {

using Array64 = In<double, 1>;
// scale, centre, step, low, high, l2, l1, corrects
using ModelArgs = std::tuple<Array64, Array64, Array64, Array64, Array64, double, double, bool>;
// order, n_batches, tail, rates, batch_weight, model_limit, gradient_limit, seed, first_step, n_threads
using ScheduleArgs =
    std::tuple<In<int64_t, 2>, int64_t, int64_t, Array64, double, double, double, uint64_t, uint32_t, int>;
using RowArgs = std::tuple<int, Rows64, Rows64, Weights64>;  // loss, phi, y, weights
using OutArgs = std::tuple<Out<double, 2>, Out<double, 2>, Out<double, 1>>;

int64_t length(const Array64& a) { return static_cast<int64_t>(a.shape(0)); }

EpochRows rows_of(int64_t n_columns, int64_t padded, const RowArgs& args) {
  const auto& [loss, phi, y, weights] = args;
  return epoch_rows(n_columns, padded, loss, phi, y, weights);
}

DescentModel model_of(int64_t d, const ModelArgs& args) {
  const auto& [scale, centre, step, low, high, l2, l1, corrects] = args;
  require(length(scale) == d && length(centre) == d && length(low) == d && length(high) == d && length(step) == d + 1,
          "shapes of the columns");
  return {scale.data(), centre.data(), step.data(), low.data(), high.data(), l2, l1, corrects};
}

DescentSchedule schedule_of(const EpochRows& rows, const ScheduleArgs& args) {
  const auto& [order, n_batches, tail, rates, batch_weight, model_limit, gradient_limit, seed, first_step, n_threads] = args;
  check_order(rows, order, n_batches, tail);
  const auto passes = static_cast<int64_t>(order.shape(0)), tiles = static_cast<int64_t>(order.shape(1));
  require(length(rates) == passes, "shape of rates");
  require(model_limit >= 1 && model_limit <= 16256 && gradient_limit >= 0 && gradient_limit <= 16256, "limits out of range");
  require(n_threads >= 1, "n_threads below 1");
  return {order.data(), passes, tiles, n_batches, tail, rates.data(), batch_weight, model_limit, gradient_limit, seed,
          first_step, n_threads};
}

DescentOut out_of(const EpochRows& rows, const DescentSchedule& schedule, const OutArgs& args) {
  const auto& [coef, average, losses] = args;
  require_coefficients(rows, coef);
  require_coefficients(rows, average);
  require(static_cast<int64_t>(losses.shape(0)) == schedule.n_passes, "shape of losses");
  return {coef.data(), average.data(), losses.data()};
}

}  // namespace

void bind_zipml(nb::module_& m) {
  m.def("zipml_epoch", [](const In<uint8_t, 1>& codes, const LayoutArg& layout, const RowArgs& row_args,
                          const ModelArgs& model_args, const ScheduleArgs& schedule_args, const OutArgs& out_args) {
    const BoundShape bound(layout);
    const PackedShape& shape = *bound;
    const EpochRows rows = rows_of(shape.columns, shape.padded_columns(), row_args);
    const DescentModel model = model_of(shape.columns, model_args);
    const DescentSchedule schedule = schedule_of(rows, schedule_args);
    const DescentOut out = out_of(rows, schedule, out_args);
    const PackedRows data = {codes.data(), shape.coding(), tile_rows * shape.row_bytes()};
    require(rows.n_rows == shape.rows && static_cast<int64_t>(codes.shape(0)) == shape.bytes(), "size of codes");
    DescentStatus status;
    interruptible([&](Interrupt* poll) { status = zipml_epoch(data, rows, model, schedule, out, poll); });
    return status.finite;
  });
  m.def("sgd_epoch", [](const In<float, 2>& x, const RowArgs& row_args, const ModelArgs& model_args,
                        const ScheduleArgs& schedule_args, const OutArgs& out_args) {
    const auto n_columns = static_cast<int64_t>(x.shape(1));
    const EpochRows rows = rows_of(n_columns, padded_columns(n_columns), row_args);
    require(static_cast<int64_t>(x.shape(0)) == rows.n_rows, "shape of x");
    const DescentModel model = model_of(n_columns, model_args);
    const DescentSchedule schedule = schedule_of(rows, schedule_args);
    const DescentOut out = out_of(rows, schedule, out_args);
    DescentStatus status;
    interruptible([&](Interrupt* poll) { status = sgd_epoch(x.data(), rows, model, schedule, out, poll); });
    return status.finite;
  });
}

}  // namespace mezzotint
