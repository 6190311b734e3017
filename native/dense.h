// (table of block kernels: to be filled in)
#pragma once
#include <cstdint>

namespace mezzotint {

struct DenseKernels {
  int placeholder;
};

}  // namespace mezzotint
