#include "packed.h"

namespace mezzotint::MZ_NS {

extern const PackedKernels packed;
const PackedKernels packed = {0};

}  // namespace mezzotint::MZ_NS
