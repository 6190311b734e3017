#include "bind.h"

namespace mezzotint {

void bind_dense(nb::module_&) {}

}  // namespace mezzotint
