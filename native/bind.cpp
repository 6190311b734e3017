#include "bind.h"

#include "dispatch.h"

// The symbol by which threadpoolctl tells this library from others named _native.
extern "C" NB_EXPORT int mezzotint_kernels() { return 1; }

NB_MODULE(_native, m) {
  m.doc() = "Compiled kernels of mezzotint; called through mezzotint.kernels and mezzotint.optim only.";
  m.def("use", &mezzotint::use);
  m.def("active", [] { return std::string(mezzotint::active().name); });
  m.def("compiled", &mezzotint::compiled);
  m.def("supported", &mezzotint::supported);
  m.def("processor_features", &mezzotint::processor_features);
  mezzotint::bind_packed(m);
  mezzotint::bind_floats(m);
  mezzotint::bind_dense(m);
  mezzotint::bind_halp(m);
  mezzotint::bind_zipml(m);
  mezzotint::bind_optim(m);
  mezzotint::bind_checksum(m);
}
