// Packed kernels for Python. Sizes are checked here, before memory is touched; kernels/native_packed.py checks types
// and says what is wrong in the user's words.
#include <optional>

#include "bind.h"
#include "bind_layout.h"
#include "packed_pass.h"
#include "packed_rows.h"

namespace mezzotint {
namespace {

template <class T, int D>
using MaybeIn = std::optional<In<T, D>>;
template <class T, int D>
using MaybeOut = std::optional<Out<T, D>>;

int64_t size(const auto& array, size_t axis) { return static_cast<int64_t>(array.shape(axis)); }

template <class A>
auto data_or_null(const std::optional<A>& array) {
  return array ? array->data() : nullptr;
}

ColumnGrid checked_grid(const PackedShape& shape, const In<double, 1>& offset, const In<double, 1>& scale) {
  require(size(offset, 0) == shape.columns && size(scale, 0) == shape.columns,
          "offset and scale need one entry per column");
  return {offset.data(), scale.data()};
}

int checked_threads(int n_threads) {
  require(n_threads >= 1, "n_threads must be at least 1");
  return n_threads;
}

PassRange checked_range(const PackedShape& shape, const In<int64_t, 1>& bounds, int n_threads) {
  const int64_t count = size(bounds, 0) - 1;
  require(count >= 0, "bounds are empty");
  for (int64_t i = 0; i < count; i++) {
    require(bounds.data()[i] % 16 == 0, "segments must start at a multiple of 16");
    require(bounds.data()[i] <= bounds.data()[i + 1], "bounds must not decrease");
  }
  require(bounds.data()[0] >= 0 && bounds.data()[count] <= shape.rows, "bounds lie outside the matrix");
  return {bounds.data(), count, checked_threads(n_threads), nullptr};
}

void check_rows(const auto& array, int64_t outputs, const PackedShape& shape) {
  if (array) require(size(*array, 0) == outputs && size(*array, 1) == shape.rows, "row arrays need shape (K, n_rows)");
}

void products(const In<uint8_t, 1>& codes, const LayoutArg& layout, int64_t block_rows, const In<double, 1>& offset,
              const In<double, 1>& scale, const In<int64_t, 1>& bounds, int64_t outputs,
              const MaybeIn<double, 2>& v, const MaybeOut<float, 2>& psi, const MaybeIn<float, 2>& coefficients,
              const MaybeIn<float, 2>& weights, const MaybeIn<float, 2>& probabilities,
              const MaybeOut<double, 3>& partials, int n_threads) {
  const BoundShape bound(layout);
  const PackedShape& shape = *bound;
  const int64_t columns = shape.columns;
  require(size(codes, 0) == shape.bytes(), "codes have another size than the layout says");
  require(block_rows >= 16 && block_rows <= kMaxBlockRows && block_rows % 16 == 0, "block_rows is out of range");
  const ColumnGrid grid = checked_grid(shape, offset, scale);
  PassRange range = checked_range(shape, bounds, n_threads);
  require(outputs >= 1 && v.has_value() == psi.has_value(), "v and psi come together");
  if (v) require(size(*v, 0) == outputs && size(*v, 1) == columns + 1, "v needs shape (K, n_columns + 1)");
  check_rows(psi, outputs, shape);
  check_rows(coefficients, outputs, shape);
  check_rows(probabilities, outputs, shape);
  if (partials) {
    require(coefficients.has_value() || (v && weights),
            "a transposed product needs row coefficients, or v and weights");
    require(size(*partials, 0) == range.count && size(*partials, 1) == outputs && size(*partials, 2) == columns + 1,
            "partials need shape (segments, K, n_columns + 1)");
  }
  if (weights) check_rows(weights, size(*weights, 0) == 1 || probabilities ? 1 : outputs, shape);
  const RowWeights row_weights{data_or_null(coefficients), data_or_null(weights), weights ? size(*weights, 0) : 0,
                               data_or_null(probabilities)};
  const PackedOperand x{shape, codes.data(), grid.offset, grid.scale, block_rows};
  interruptible([&](Interrupt* interrupt) {
    range.interrupt = interrupt;
    packed_products(x, range, outputs, data_or_null(v), data_or_null(psi), row_weights, data_or_null(partials));
  });
}

void gap_squares(const In<uint8_t, 1>& codes, const LayoutArg& layout, const In<int64_t, 1>& bounds,
                 const MaybeIn<double, 1>& weights, const Out<double, 2>& partials, int n_threads) {
  const BoundShape bound(layout);
  const PackedShape& shape = *bound;
  require(size(codes, 0) == shape.bytes(), "codes have another size than the layout says");
  PassRange range = checked_range(shape, bounds, n_threads);
  if (weights) require(size(*weights, 0) == shape.rows, "weights need one entry per row");
  require(size(partials, 0) == range.count && size(partials, 1) == shape.columns,
          "partials need shape (segments, n_columns)");
  interruptible([&](Interrupt* interrupt) {
    range.interrupt = interrupt;
    packed_gap_squares(shape, codes.data(), range, data_or_null(weights), partials.data());
  });
}

template <class T>
int64_t pack(const In<T, 2>& x, const LayoutArg& layout, const In<double, 1>& offset,
             const In<double, 1>& scale, const Out<uint8_t, 1>& codes, int64_t first_row,
             std::optional<std::tuple<uint64_t, uint32_t, uint32_t>> random, int n_threads) {
  const BoundShape bound(layout);
  const PackedShape& shape = *bound;
  require(random || (shape.draws == 1 && !shape.table), "two draws and uneven levels need random bits");
  require(size(codes, 0) == shape.bytes(), "codes have another size than the layout says");
  require(size(x, 1) == shape.columns, "x needs one column per column of the layout");
  require(first_row >= 0 && first_row % 16 == 0, "first_row must be a multiple of 16");
  require(first_row <= shape.rows && size(x, 0) <= shape.rows - first_row, "x has more rows than the layout");
  const ColumnGrid grid = checked_grid(shape, offset, scale);
  checked_threads(n_threads);
  RandomStream stream{};
  if (random) stream = {std::get<0>(*random), std::get<1>(*random), std::get<2>(*random)};
  int64_t bad = kAllFinite;
  interruptible([&](Interrupt* interrupt) {
    bad = pack_rows(shape, grid, x.data(), first_row, size(x, 0), random ? &stream : nullptr, codes.data(),
                    {n_threads, interrupt});
  });
  return bad;
}

template <class T>
void unpack(const In<uint8_t, 1>& codes, const LayoutArg& layout, const In<double, 1>& offset,
            const In<double, 1>& scale, int64_t first_row, const Out<T, 2>& out, int n_threads) {
  const BoundShape bound(layout);
  const PackedShape& shape = *bound;
  require(size(codes, 0) == shape.bytes(), "codes have another size than the layout says");
  require(size(out, 1) == shape.columns, "out needs one column per column of the layout");
  require(first_row >= 0 && first_row <= shape.rows && size(out, 0) <= shape.rows - first_row,
          "out has more rows than the layout");
  const ColumnGrid grid = checked_grid(shape, offset, scale);
  checked_threads(n_threads);
  interruptible([&](Interrupt* interrupt) {
    unpack_rows(shape, grid, codes.data(), first_row, size(out, 0), out.data(), {n_threads, interrupt});
  });
}

template <class T>
void scales(const In<T, 2>& sample, int bits, const Out<double, 1>& offset, const Out<double, 1>& scale,
            const Out<double, 1>& noise, int n_threads) {
  const int64_t rows = size(sample, 0), columns = size(sample, 1);
  require(bits == 4 || bits == 8, "bits must be 4 or 8");
  require(rows >= 1, "the sample is empty");
  require(size(offset, 0) == columns && size(scale, 0) == columns && size(noise, 0) == columns,
          "results need one entry per column");
  checked_threads(n_threads);
  interruptible([&](Interrupt* interrupt) {
    column_scales(sample.data(), rows, columns, bits, offset.data(), scale.data(), noise.data(),
                  {n_threads, interrupt});
  });
}

template <class T>
void bind_rows(nb::module_& m) {
  m.def("pack_rows", &pack<T>, nb::arg().noconvert(), nb::arg(), nb::arg().noconvert(), nb::arg().noconvert(),
        nb::arg().noconvert(), nb::arg(), nb::arg().none(), nb::arg());
  m.def("unpack_rows", &unpack<T>, nb::arg().noconvert(), nb::arg(), nb::arg().noconvert(), nb::arg().noconvert(),
        nb::arg(), nb::arg().noconvert(), nb::arg());
  m.def("column_scales", &scales<T>, nb::arg().noconvert(), nb::arg(), nb::arg().noconvert(), nb::arg().noconvert(),
        nb::arg().noconvert(), nb::arg());
}

}  // namespace

void bind_packed(nb::module_& m) {
  const auto maybe = nb::arg().noconvert().none();
  m.def("packed_products", &products, nb::arg().noconvert(), nb::arg(), nb::arg(), nb::arg().noconvert(), nb::arg().noconvert(),
        nb::arg().noconvert(), nb::arg(), maybe, maybe, maybe, maybe, maybe, maybe, nb::arg());
  m.def("gap_squares", &gap_squares, nb::arg().noconvert(), nb::arg(), nb::arg().noconvert(), maybe,
        nb::arg().noconvert(), nb::arg());
  bind_rows<float>(m);
  bind_rows<double>(m);
}

}  // namespace mezzotint
