// The layout of packed codes as Python passes it.
#pragma once
#include <nanobind/stl/optional.h>
#include <nanobind/stl/tuple.h>

#include <optional>
#include <tuple>

#include "bind.h"
#include "code_table.h"

namespace mezzotint {

// rows, columns, bits, draws, levels of a draw or None
using LayoutArg = std::tuple<int64_t, int64_t, int, int, std::optional<In<uint8_t, 1>>>;

// A checked shape and the table that it may point to.
class BoundShape {
 public:
  explicit BoundShape(const LayoutArg& layout) {
    const auto& [rows, columns, bits, draws, levels] = layout;
    require(is_code_width(bits), "bits must be 2, 3, 4, 5 or 8");
    require(draws == 1 || draws == 2, "draws must be 1 or 2");
    require(rows >= 0 && rows < int64_t{1} << 40, "the number of rows is out of range");
    require(columns >= 1 && columns <= kMaxColumns, "the number of columns must be in [1, 65536]");
    shape_ = {rows, columns, bits, draws};
    if (levels) set_table(levels->data(), static_cast<int64_t>(levels->shape(0)));
  }
  BoundShape(const BoundShape&) = delete;
  const PackedShape& operator*() const { return shape_; }

 private:
  void set_table(const uint8_t* levels, int64_t count) {
    require(shape_.bits <= kMostTableBits && count == int64_t{1} << (shape_.bits - shape_.draws + 1),
            "levels need one entry per level, of at most 5 stored bits");
    for (int64_t i = 1; i < count; i++) require(levels[i - 1] < levels[i], "levels must ascend");
    require(levels[0] == 0 && levels[count - 1] * shape_.draws <= 255, "levels must begin at 0 and add to at most 255");
    table_ = code_table(levels, count, shape_.draws);
    shape_.table = &table_;
  }
  PackedShape shape_{};
  CodeTable table_;
};

}  // namespace mezzotint
