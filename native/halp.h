// (table of block kernels: to be filled in)
#pragma once
#include <cstdint>

namespace mezzotint {

struct HalpKernels {
  int placeholder;
};

}  // namespace mezzotint
