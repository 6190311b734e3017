#include "code_table.h"

#include <algorithm>

namespace mezzotint {

CodeTable code_table(const uint8_t* levels, int64_t count, int draws) {
  CodeTable table{};
  const auto level = [&](int64_t i) { return static_cast<int>(levels[std::min(i, count - 1)]); };
  for (int64_t i = 0; i < count; i++) table.levels[i] = level(i);
  table.last_level = level(count - 1);
  table.levels[count] = table.last_level + 1;
  for (int64_t code = 0; code < 32; code++) {  // codes beyond the last sum stand for that
    const int first = level(draws == 2 ? code / 2 : code), second = level((code + 1) / 2);
    table.values[code] = static_cast<uint8_t>(draws == 2 ? first + second : first);
    table.gaps[code] = static_cast<uint8_t>(draws == 2 ? second - first : 0);
  }
  for (int64_t whole = 0, i = 0; whole < 256; whole++) {
    while (i + 1 < count && levels[i + 1] <= whole) i++;
    table.below[whole] = static_cast<uint8_t>(i);
  }
  return table;
}

}  // namespace mezzotint
