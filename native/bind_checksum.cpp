// Checksums for Python; kernels/native_checksum.py checks types.
#include "bind.h"
#include "checksum.h"

namespace mezzotint {
namespace {

void compute(const In<uint8_t, 1>& data, const In<int64_t, 1>& begins, const In<int64_t, 1>& ends,
             const Out<uint32_t, 1>& out, int n_threads) {
  const auto size = static_cast<int64_t>(data.shape(0)), count = static_cast<int64_t>(begins.shape(0));
  require(static_cast<int64_t>(ends.shape(0)) == count && static_cast<int64_t>(out.shape(0)) == count,
          "begins, ends and out need as many entries");
  require(n_threads >= 1, "n_threads must be at least 1");
  for (int64_t i = 0; i < count; i++)
    require(0 <= begins.data()[i] && begins.data()[i] <= ends.data()[i] && ends.data()[i] <= size,
            "a piece lies outside the data");
  interruptible([&](Interrupt* interrupt) {
    checksums(data.data(), begins.data(), ends.data(), count, out.data(), n_threads, interrupt);
  });
}

}  // namespace

void bind_checksum(nb::module_& m) {
  m.def("checksums", &compute, nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(),
        nb::arg().noconvert(), nb::arg());
}

}  // namespace mezzotint
