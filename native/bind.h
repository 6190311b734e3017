// Shared by the bind_*.cpp files: array types, size checks, and Ctrl-C inside a pass without the GIL.
#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <chrono>
#include <stdexcept>
#include <string>

#include "parallel.h"

namespace nb = nanobind;

namespace mezzotint {

template <class T, int D>
using In = nb::ndarray<const T, nb::ndim<D>, nb::c_contig, nb::device::cpu>;
template <class T, int D>
using Out = nb::ndarray<T, nb::ndim<D>, nb::c_contig, nb::device::cpu>;

inline void require(bool condition, const char* what) {
  if (!condition) throw std::invalid_argument(std::string("native kernel: ") + what);
}

// Polls Python's signal handlers at most every 50 ms; used with the GIL released.
class SignalPoll final : public Interrupt {
 public:
  bool pressed() override {
    const auto now = std::chrono::steady_clock::now();
    if (now < next_) return false;
    next_ = now + std::chrono::milliseconds(50);
    nb::gil_scoped_acquire gil;
    raised_ = raised_ || PyErr_CheckSignals() != 0;
    return raised_;
  }
  // Call with the GIL held after the pass: turns a pending signal into its Python exception.
  void rethrow() {
    if (raised_) throw nb::python_error();
  }

 private:
  std::chrono::steady_clock::time_point next_ = std::chrono::steady_clock::now() + std::chrono::milliseconds(50);
  bool raised_ = false;
};

// Runs pass(Interrupt*) without the GIL; Ctrl-C during it becomes KeyboardInterrupt.
template <class Pass>
void interruptible(Pass pass) {
  SignalPoll poll;
  {
    nb::gil_scoped_release release;
    pass(&poll);
  }
  poll.rethrow();
}

void bind_packed(nb::module_& m);
void bind_floats(nb::module_& m);
void bind_dense(nb::module_& m);
void bind_halp(nb::module_& m);
void bind_zipml(nb::module_& m);
void bind_optim(nb::module_& m);
void bind_checksum(nb::module_& m);

}  // namespace mezzotint
