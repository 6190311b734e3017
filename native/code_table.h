// What follows from the levels of a draw that are not evenly spaced; the twin of Layout.code_values and code_gaps.
#pragma once
#include "packed.h"

namespace mezzotint {

inline constexpr int kMostTableBits = 5;  // wider codes have no table

// levels: `count` integers, a power of two from 2 to 16, ascending from 0; the last one times draws is at most 255.
CodeTable code_table(const uint8_t* levels, int64_t count, int draws);

}  // namespace mezzotint
