#include "bind.h"

namespace mezzotint {

void bind_floats(nb::module_&) {}

}  // namespace mezzotint
