#include "bind.h"

namespace mezzotint {

void bind_halp(nb::module_&) {}

}  // namespace mezzotint
