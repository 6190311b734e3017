#include "bind.h"

namespace mezzotint {

void bind_packed(nb::module_&) {}

}  // namespace mezzotint
