// Bindings of the dense area; sizes are checked here before memory is touched.
#include "bind.h"
#include "dense_pass.h"

namespace mezzotint {
namespace {

template <class T>
void bound_gram(In<T, 2> a, std::optional<In<double, 1>> weights, Out<T, 2> out, int n_threads) {
  const int64_t n_rows = static_cast<int64_t>(a.shape(0)), d = static_cast<int64_t>(a.shape(1));
  require(!weights || static_cast<int64_t>(weights->size()) == n_rows, "weights must have one element per row");
  require(static_cast<int64_t>(out.shape(0)) == d && static_cast<int64_t>(out.shape(1)) == d, "out must have shape (d, d)");
  require(n_threads >= 1, "n_threads must be at least 1");
  const double* w = weights ? weights->data() : nullptr;
  interruptible([&](Interrupt* poll) { gram<T>(a.data(), n_rows, d, w, out.data(), n_threads, poll); });
}

template <class T>
int64_t bound_cholesky(Out<T, 2> m, int n_threads) {
  require(m.shape(0) == m.shape(1), "m must be square");
  require(n_threads >= 1, "n_threads must be at least 1");
  int64_t pivot = -1;
  interruptible([&](Interrupt* poll) {
    cholesky<T>(m.data(), static_cast<int64_t>(m.shape(0)), pivot, n_threads, poll);
  });
  return pivot;
}

template <class T>
void bound_solve(In<T, 2> l, Out<double, 2> x) {
  require(l.shape(0) == l.shape(1) && x.shape(1) == l.shape(0), "factor must be (d, d) and x (K, d)");
  nb::gil_scoped_release release;
  cholesky_solve<T>(l.data(), static_cast<int64_t>(l.shape(0)), x.data(), static_cast<int64_t>(x.shape(0)));
}

double bound_dot(In<double, 1> a, In<double, 1> b) {
  require(a.size() == b.size(), "both vectors must have the same length");
  return dot(a.data(), b.data(), static_cast<int64_t>(a.size()));
}

template <class T>
void bind_of(nb::module_& m) {
  m.def("gram", &bound_gram<T>, nb::arg("a").noconvert(), nb::arg("weights").noconvert().none(),
        nb::arg("out").noconvert(), nb::arg("n_threads"));
  m.def("cholesky", &bound_cholesky<T>, nb::arg("m").noconvert(), nb::arg("n_threads"));
  m.def("cholesky_solve", &bound_solve<T>, nb::arg("factor").noconvert(), nb::arg("x").noconvert());
}

}  // namespace

void bind_dense(nb::module_& m) {
  bind_of<float>(m);
  bind_of<double>(m);
  m.def("dot", &bound_dot, nb::arg("a").noconvert(), nb::arg("b").noconvert());
}

}  // namespace mezzotint
