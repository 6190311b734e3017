#include "dense.h"

namespace mezzotint::MZ_NS {

extern const DenseKernels dense;
const DenseKernels dense = {0};

}  // namespace mezzotint::MZ_NS
