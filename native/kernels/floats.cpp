#include "floats.h"

namespace mezzotint::MZ_NS {

extern const FloatKernels floats;
const FloatKernels floats = {0};

}  // namespace mezzotint::MZ_NS
