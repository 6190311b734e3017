// Bindings of the floats area. Every size is checked here before memory is touched; the Python side
// (kernels/native_floats.py) allocates the outputs.
#include <algorithm>

#include "bind.h"
#include "buffer.h"
#include "floats_pass.h"

namespace mezzotint {
namespace {

template <class T, int D>
using MaybeIn = std::optional<In<T, D>>;
template <class T, int D>
using MaybeOut = std::optional<Out<T, D>>;

template <class Array>
auto data_or_null(const std::optional<Array>& array) -> decltype(array->data()) {
  return array ? array->data() : nullptr;
}

int checked_threads(int n_threads) {
  require(n_threads >= 1, "n_threads must be at least 1");
  return n_threads;
}

Loss loss_named(const std::string& name) {
  if (name == "logistic") return Loss::logistic;
  if (name == "squared") return Loss::squared;
  if (name == "softmax") return Loss::softmax;
  if (name == "squared_hinge") return Loss::squared_hinge;
  require(name == "squared_epsilon_insensitive",
          "loss must be 'logistic', 'squared', 'softmax', 'squared_hinge' or 'squared_epsilon_insensitive'");
  return Loss::squared_epsilon_insensitive;
}

template <class X>
FloatBlock<X> checked_block(const In<X, 2>& x, const In<int64_t, 1>& bounds, std::pair<int64_t, int64_t> segments) {
  const auto [first, count] = segments;
  const int64_t last = static_cast<int64_t>(bounds.size()) - 1;
  require(last >= 0 && bounds.data()[0] == 0, "bounds must begin with 0");
  for (int64_t i = 0; i < last; i++) require(bounds.data()[i] <= bounds.data()[i + 1], "bounds must not fall");
  require(first >= 0 && count >= 0 && first <= last && count <= last - first, "no such segments");
  require(static_cast<int64_t>(x.shape(0)) == bounds.data()[first + count] - bounds.data()[first],
          "x must hold the rows of the segments");
  require(x.shape(1) >= 1, "x must have columns");
  return {x.data(), static_cast<int64_t>(x.shape(1)), {bounds.data(), first, count, bounds.data()[last]}};
}

template <class Array>
void require_shape(const Array& array, std::initializer_list<int64_t> shape, const char* what) {
  size_t axis = 0;
  for (const int64_t extent : shape) require(static_cast<int64_t>(array.shape(axis++)) == extent, what);
}

// phi (K, n), y (label_rows, n), weights (n,); scratch is set by the pass.
template <class Phi>
LossRows checked_rows(const std::string& name, const Phi& phi, const In<double, 2>& y, const MaybeIn<double, 1>& weights) {
  const Loss loss = loss_named(name);
  const int64_t K = static_cast<int64_t>(phi.shape(0)), n = static_cast<int64_t>(phi.shape(1));
  require(K >= 1 && (loss != Loss::logistic || K == 1), "logistic loss has one output, the others at least one");
  require_shape(y, {label_rows(loss, K), n}, "y does not fit phi and the loss");
  if (weights) require_shape(*weights, {n}, "weights must have one element per row");
  return {loss, K, n, phi.data(), nullptr, nullptr, 0, y.data(), data_or_null(weights), nullptr};
}

template <class X>
void exact(In<X, 2> x, In<int64_t, 1> bounds, std::pair<int64_t, int64_t> segments, In<double, 2> w,
           const std::string& loss, In<double, 2> y, MaybeIn<double, 1> weights, Out<double, 2> phi,
           Out<double, 1> loss_partials, Out<double, 3> partials, int n_threads) {
  const FloatBlock<X> block = checked_block<X>(x, bounds, segments);
  const LossRows rows = checked_rows(loss, phi, y, weights);
  require(rows.stride == block.segments.n_rows, "phi must have one column per row");
  require_shape(w, {rows.K, block.d + 1}, "w must have shape (K, d + 1)");
  require_shape(loss_partials, {segments.second}, "one loss partial per segment");
  require_shape(partials, {segments.second, rows.K, block.d + 1}, "partials must have shape (count, K, d + 1)");
  const int threads = checked_threads(n_threads);
  interruptible([&](Interrupt* poll) {
    exact_pass<X>(block, w.data(), rows, phi.data(), loss_partials.data(), partials.data(), threads, poll);
  });
}

template <class X>
void margins(In<X, 2> x, In<int64_t, 1> bounds, std::pair<int64_t, int64_t> segments, In<double, 2> v,
             Out<float, 2> out, int n_threads) {
  const FloatBlock<X> block = checked_block<X>(x, bounds, segments);
  const int64_t K = static_cast<int64_t>(v.shape(0));
  require_shape(v, {K, block.d + 1}, "v must have shape (K, d + 1)");
  require_shape(out, {K, block.segments.n_rows}, "out must have shape (K, n)");
  const FloatProduct product{K, v.data(), nullptr, nullptr, false, nullptr, out.data(), nullptr};
  const int threads = checked_threads(n_threads);
  interruptible([&](Interrupt* poll) { float_product<X>(block, product, threads, poll); });
}

template <class X>
void gradient(In<X, 2> x, In<int64_t, 1> bounds, std::pair<int64_t, int64_t> segments, In<float, 2> c,
              Out<double, 3> partials, int n_threads) {
  const FloatBlock<X> block = checked_block<X>(x, bounds, segments);
  const int64_t K = static_cast<int64_t>(c.shape(0));
  require_shape(c, {K, block.segments.n_rows}, "c must have shape (K, n)");
  require_shape(partials, {segments.second, K, block.d + 1}, "partials must have shape (count, K, d + 1)");
  const FloatProduct product{K, nullptr, c.data(), nullptr, false, nullptr, nullptr, partials.data()};
  const int threads = checked_threads(n_threads);
  interruptible([&](Interrupt* poll) { float_product<X>(block, product, threads, poll); });
}

template <class X>
void curvature(In<X, 2> x, In<int64_t, 1> bounds, std::pair<int64_t, int64_t> segments, In<double, 2> v,
               In<float, 2> weights, MaybeIn<float, 2> probabilities, Out<float, 2> out, Out<double, 3> partials,
               int n_threads) {
  const FloatBlock<X> block = checked_block<X>(x, bounds, segments);
  const int64_t K = static_cast<int64_t>(v.shape(0)), n = block.segments.n_rows;
  const bool per_output = weights.shape(0) > 1;
  require_shape(v, {K, block.d + 1}, "v must have shape (K, d + 1)");
  require_shape(weights, {per_output ? K : 1, n}, "weights must have shape (1, n) or (K, n)");
  if (probabilities) require_shape(*probabilities, {K, n}, "probabilities must have shape (K, n)");
  require_shape(out, {K, n}, "out must have shape (K, n)");
  require_shape(partials, {segments.second, K, block.d + 1}, "partials must have shape (count, K, d + 1)");
  const FloatProduct product{K,          v.data(), nullptr, weights.data(), per_output, data_or_null(probabilities),
                             out.data(), partials.data()};
  const int threads = checked_threads(n_threads);
  interruptible([&](Interrupt* poll) { float_product<X>(block, product, threads, poll); });
}

void rows_curvature(const std::string& loss, In<double, 2> phi, MaybeIn<float, 2> psi, In<double, 2> y,
                    MaybeIn<double, 1> weights, MaybeOut<float, 2> c, Out<float, 2> second, int n_threads) {
  LossRows rows = checked_rows(loss, phi, y, weights);
  if (psi) require_shape(*psi, {rows.K, rows.stride}, "psi must have the shape of phi");
  if (c) require_shape(*c, {rows.K, rows.stride}, "c must have the shape of phi");
  require_shape(second, {second_rows(rows.loss, rows.K), rows.stride}, "second does not fit phi and the loss");
  rows.psi = data_or_null(psi);
  const int threads = checked_threads(n_threads);
  interruptible([&](Interrupt* poll) {
    curvature_rows(rows, rows.stride, data_or_null(c), second.data(), threads, poll);
  });
}

double slope(const std::string& loss, In<double, 2> phi, MaybeIn<float, 2> psi, In<float, 2> eta, double t,
             In<double, 2> y, MaybeIn<double, 1> weights, int n_threads) {
  LossRows rows = checked_rows(loss, phi, y, weights);
  if (psi) require_shape(*psi, {rows.K, rows.stride}, "psi must have the shape of phi");
  require_shape(eta, {rows.K, rows.stride}, "eta must have the shape of phi");
  rows.psi = data_or_null(psi);
  rows.eta = eta.data();
  rows.t = t;
  const int threads = checked_threads(n_threads);
  nb::gil_scoped_release release;
  return line_slope(rows, rows.stride, threads);
}

double sum_of_losses(const std::string& loss, In<double, 2> phi, In<double, 2> y, MaybeIn<double, 1> weights,
                     int n_threads) {
  const LossRows rows = checked_rows(loss, phi, y, weights);
  const int threads = checked_threads(n_threads);
  nb::gil_scoped_release release;
  return loss_sum(rows, rows.stride, threads);
}

template <class X>
int64_t nonfinite(In<X, 2> x, int n_threads) {
  const int threads = checked_threads(n_threads);
  nb::gil_scoped_release release;
  return first_nonfinite<X>(x.data(), static_cast<int64_t>(x.size()), threads);
}

void sum_of_scaled(Out<float, 1> target, double factor, In<float, 1> source, int n_threads) {
  require_shape(source, {static_cast<int64_t>(target.size())}, "both vectors must have the same length");
  const int threads = checked_threads(n_threads);
  nb::gil_scoped_release release;
  add_scaled(target.data(), static_cast<float>(factor), source.data(), static_cast<int64_t>(target.size()), threads);
}

// partials (count, width); see parallel.h for the order of the sum.
void sum_of_partials(In<double, 2> partials, Out<double, 1> out, int n_threads) {
  constexpr int64_t columns = 64;  // of a strip that stays in cache
  const int64_t count = static_cast<int64_t>(partials.shape(0)), width = static_cast<int64_t>(partials.shape(1));
  require_shape(out, {width}, "out must have one element per column");
  const int threads = checked_threads(n_threads);
  nb::gil_scoped_release release;
  parallel_for((width + columns - 1) / columns, threads, nullptr, [&](int64_t strip) {
    const int64_t first = strip * columns, live = std::min(columns, width - first);
    Buffer<double> rows((count + 1) * live);
    for (int64_t i = 0; i < count; i++) std::copy_n(partials.data() + i * width + first, live, &rows[i * live]);
    tree_sum(rows.get(), count, live);
    std::copy_n(rows.get(), live, out.data() + first);
  });
}

// No conversions: a converted copy of an output would be written and lost.
template <class X>
void bind_of(nb::module_& m) {
  m.def("exact_pass", &exact<X>, nb::arg("x").noconvert(), nb::arg("bounds").noconvert(), nb::arg("segments"),
        nb::arg("w").noconvert(), nb::arg("loss"), nb::arg("y").noconvert(), nb::arg("weights").noconvert().none(),
        nb::arg("phi").noconvert(), nb::arg("loss_partials").noconvert(), nb::arg("partials").noconvert(),
        nb::arg("n_threads"));
  m.def("float_margins", &margins<X>, nb::arg("x").noconvert(), nb::arg("bounds").noconvert(), nb::arg("segments"),
        nb::arg("v").noconvert(), nb::arg("out").noconvert(), nb::arg("n_threads"));
  m.def("float_gradient", &gradient<X>, nb::arg("x").noconvert(), nb::arg("bounds").noconvert(), nb::arg("segments"),
        nb::arg("c").noconvert(), nb::arg("partials").noconvert(), nb::arg("n_threads"));
  m.def("float_curvature", &curvature<X>, nb::arg("x").noconvert(), nb::arg("bounds").noconvert(),
        nb::arg("segments"), nb::arg("v").noconvert(), nb::arg("weights").noconvert(),
        nb::arg("probabilities").noconvert().none(), nb::arg("out").noconvert(), nb::arg("partials").noconvert(),
        nb::arg("n_threads"));
  m.def("first_nonfinite", &nonfinite<X>, nb::arg("x").noconvert(), nb::arg("n_threads"));
}

}  // namespace

void bind_floats(nb::module_& m) {
  bind_of<float>(m);
  bind_of<double>(m);
  m.def("curvature_rows", &rows_curvature, nb::arg("loss"), nb::arg("phi").noconvert(),
        nb::arg("psi").noconvert().none(), nb::arg("y").noconvert(), nb::arg("weights").noconvert().none(),
        nb::arg("c").noconvert().none(), nb::arg("second").noconvert(), nb::arg("n_threads"));
  m.def("line_slope", &slope, nb::arg("loss"), nb::arg("phi").noconvert(), nb::arg("psi").noconvert().none(),
        nb::arg("eta").noconvert(), nb::arg("t"), nb::arg("y").noconvert(), nb::arg("weights").noconvert().none(),
        nb::arg("n_threads"));
  m.def("add_scaled", &sum_of_scaled, nb::arg("target").noconvert(), nb::arg("factor"), nb::arg("source").noconvert(),
        nb::arg("n_threads"));
  m.def("tree_sum", &sum_of_partials, nb::arg("partials").noconvert(), nb::arg("out").noconvert(), nb::arg("n_threads"));
  m.def("loss_sum", &sum_of_losses, nb::arg("loss"), nb::arg("phi").noconvert(), nb::arg("y").noconvert(),
        nb::arg("weights").noconvert().none(), nb::arg("n_threads"));
}

}  // namespace mezzotint
