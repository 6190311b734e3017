#include "halp.h"

namespace mezzotint::MZ_NS {

extern const HalpKernels halp;
const HalpKernels halp = {0};

}  // namespace mezzotint::MZ_NS
