// (table of block kernels: to be filled in)
#pragma once
#include <cstdint>

namespace mezzotint {

struct PackedKernels {
  int placeholder;
};

}  // namespace mezzotint
