// Steps of many parameters at once, shared between threads.
#pragma once
#include <vector>

#include "optim.h"

namespace mezzotint {

void optim_pass(const std::vector<const OptimJob*>& jobs, int n_threads);

}  // namespace mezzotint
