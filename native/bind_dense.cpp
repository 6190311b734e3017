// Bindings of the dense area; sizes are checked here before memory is touched.
#include "bind.h"
#include "dense_pass.h"

namespace mezzotint {
namespace {

template <class T>
void bound_add_grams(In<T, 2> a, std::optional<In<double, 2>> weights, Out<T, 3> out, int n_threads) {
  const int64_t n_rows = static_cast<int64_t>(a.shape(0)), d = static_cast<int64_t>(a.shape(1));
  const int64_t count = static_cast<int64_t>(out.shape(0));
  require(weights || count == 1, "without weights there is one matrix");
  require(!weights || (static_cast<int64_t>(weights->shape(0)) == count && static_cast<int64_t>(weights->shape(1)) == n_rows),
          "weights must have one row per matrix and one column per row of a");
  require(static_cast<int64_t>(out.shape(1)) == d && static_cast<int64_t>(out.shape(2)) == d, "out must have shape (G, d, d)");
  require(n_threads >= 1, "n_threads must be at least 1");
  const GramTask<T> task{a.data(), n_rows, d, weights ? weights->data() : nullptr, count};
  interruptible([&](Interrupt* poll) { add_grams<T>(task, out.data(), n_threads, poll); });
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
void bound_solve(In<T, 3> l, Out<double, 2> x, int n_threads) {
  const int64_t G = static_cast<int64_t>(l.shape(0)), K = static_cast<int64_t>(x.shape(0));
  require(l.shape(1) == l.shape(2) && x.shape(1) == l.shape(1), "factors must be (G, d, d) and x (K, d)");
  require(K == 0 || (G >= 1 && G <= K), "there must be a factor, and no more than rows of x");
  require(n_threads >= 1, "n_threads must be at least 1");
  nb::gil_scoped_release release;
  cholesky_solve<T>({l.data(), G, static_cast<int64_t>(l.shape(1))}, x.data(), K, n_threads);
}

double bound_dot(In<double, 1> a, In<double, 1> b) {
  require(a.size() == b.size(), "both vectors must have the same length");
  return dot(a.data(), b.data(), static_cast<int64_t>(a.size()));
}

void bound_dots(In<double, 2> a, In<double, 2> b, Out<double, 1> out) {
  const size_t K = a.shape(0), m = a.shape(1);
  require(b.shape(0) == K && b.shape(1) == m && out.size() == K, "a and b must be (K, m) and out (K,)");
  for (size_t k = 0; k < K; k++) out.data()[k] = dot(a.data() + k * m, b.data() + k * m, static_cast<int64_t>(m));
}

template <class T>
void bind_of(nb::module_& m) {
  m.def("add_grams", &bound_add_grams<T>, nb::arg("a").noconvert(), nb::arg("weights").noconvert().none(),
        nb::arg("out").noconvert(), nb::arg("n_threads"));
  m.def("cholesky", &bound_cholesky<T>, nb::arg("m").noconvert(), nb::arg("n_threads"));
  m.def("cholesky_solve", &bound_solve<T>, nb::arg("factors").noconvert(), nb::arg("x").noconvert(),
        nb::arg("n_threads"));
}

}  // namespace

void bind_dense(nb::module_& m) {
  bind_of<float>(m);
  bind_of<double>(m);
  m.def("dot", &bound_dot, nb::arg("a").noconvert(), nb::arg("b").noconvert());
  m.def("dots", &bound_dots, nb::arg("a").noconvert(), nb::arg("b").noconvert(), nb::arg("out").noconvert());
}

}  // namespace mezzotint
