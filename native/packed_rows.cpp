#include "packed_rows.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>

#include "buffer.h"
#include "dispatch.h"
#include "philox.h"

namespace mezzotint {
namespace {

constexpr int64_t kChunkBytes = 256 * 1024;  // of float rows: one task of a thread

int64_t chunk_rows(int64_t columns, int64_t value_bytes) {
  return std::max<int64_t>(16, kChunkBytes / (columns * value_bytes) / 16 * 16);
}

// The block kernel's view of a grid: offset and 1 / step between levels in the precision of the rows, padded with
// zeros. A code is the sum of the draws' levels, so that the step is draws * scale.
template <class T>
struct Rounding {
  Buffer<T> offset, inverse;
  Rounding(const PackedShape& shape, const ColumnGrid& grid)
      : offset(shape.padded_columns()), inverse(shape.padded_columns()) {
    for (int64_t j = 0; j < shape.columns; j++) {
      offset[j] = static_cast<T>(grid.offset[j]);
      inverse[j] = grid.scale[j] > 0 ? static_cast<T>(1.0 / (shape.draws * grid.scale[j])) : T(0);
    }
  }
};

// The codes of one row, one by one.
class CodeRow {
 public:
  CodeRow(const PackedShape& shape, const uint8_t* codes, int64_t row)
      : wide_(wide_bits(shape.bits)), per_line_(line_groups(shape.bits)), shift_(std::countr_zero(per_line_)),
        has_odd_(shape.bits % 2), row_(row % 4 * 4), line_(codes + row / 4 * 4 * shape.row_bytes()),
        odd_(line_ + (shape.groups() >> shift_) * 64) {}
  int operator[](int64_t j) const {
    const auto group = static_cast<uint64_t>(j) / 16, place = static_cast<uint64_t>(j) % 16 / 4 * 16 + j % 4 + row_;
    const uint64_t in_line = group & (per_line_ - 1);
    const int code = line_[(group >> shift_) * 64 + place] >> in_line * wide_ & ((1 << wide_) - 1);
    return has_odd_ ? 2 * code + (odd_[group * 8 + place / 8] >> place % 8 & 1) : code;
  }

 private:
  const int wide_;
  const uint64_t per_line_;
  const int shift_;
  const bool has_odd_;
  const uint64_t row_;
  const uint8_t* line_;
  const uint8_t* odd_;
};

auto pack_kernel(float) { return active().packed->pack_f32; }
auto pack_kernel(double) { return active().packed->pack_f64; }

template <class T>
int64_t first_bad(const T* x, int64_t count) {
  for (int64_t i = 0; i < count; i++)
    if (!std::isfinite(x[i])) return i;
  return kAllFinite;
}

void keep_least(std::atomic<int64_t>& least, int64_t value) {
  for (int64_t seen = least; value < seen && !least.compare_exchange_weak(seen, value);) {
  }
}

}  // namespace

template <class T>
int64_t pack_rows(const PackedShape& shape, const ColumnGrid& grid, const T* x, int64_t first, int64_t rows,
                  const RandomStream* stream, uint8_t* codes, const Workers& workers) {
  Rounding<T> rounding(shape, grid);
  const auto kernel = pack_kernel(T());
  const int64_t d = shape.columns, chunk = chunk_rows(d, sizeof(T)), padded = (rows + 15) / 16 * 16;
  const int64_t none = rows * d;
  std::atomic<int64_t> bad{none};
  const auto task = [&](int64_t i) {
    Buffer<uint32_t> words(stream ? 4 * d * shape.draws : 0);
    const int64_t stop = std::min((i + 1) * chunk, padded);
    for (int64_t row = i * chunk; row < stop; row += 4) {
      const int64_t some = std::clamp<int64_t>(rows - row, 0, 4);
      for (int draw = 0; stream && draw < shape.draws; draw++)
        random_bits(words.get() + 4 * d * draw, stream->seed, static_cast<uint64_t>((first + row) * d),
                    static_cast<size_t>(some * d), stream->draw + static_cast<uint32_t>(draw), stream->stream);
      if (!kernel(shape, x + std::min(row, rows) * d, some, rounding.offset.get(), rounding.inverse.get(),
                  stream ? words.get() : nullptr, codes + (first + row) * shape.row_bytes()))
        keep_least(bad, row * d + first_bad(x + row * d, some * d));
    }
    active().packed->finish_stores();
  };
  if (!parallel_for((padded + chunk - 1) / chunk, workers.n_threads, workers.interrupt, task)) return kInterrupted;
  return bad == none ? kAllFinite : bad.load();
}

template <class T>
bool unpack_rows(const PackedShape& shape, const ColumnGrid& grid, const uint8_t* codes, int64_t first, int64_t rows,
                 T* out, const Workers& workers) {
  const int64_t d = shape.columns, chunk = chunk_rows(d, sizeof(T));
  return parallel_for((rows + chunk - 1) / chunk, workers.n_threads, workers.interrupt, [&](int64_t i) {
    for (int64_t r = i * chunk; r < std::min((i + 1) * chunk, rows); r++) {
      const int64_t row = first + r;
      const CodeRow codes_of_row(shape, codes, row);
      const auto decode = [&](auto value) {
        for (int64_t j = 0; j < d; j++)
          out[r * d + j] = static_cast<T>(grid.offset[j] + grid.scale[j] * value(codes_of_row[j]));
      };
      if (const CodeTable* table = shape.table)
        decode([&](int code) { return table->values[code]; });
      else
        decode([](int code) { return code; });
    }
  });
}

template int64_t pack_rows(const PackedShape&, const ColumnGrid&, const float*, int64_t, int64_t, const RandomStream*,
                           uint8_t*, const Workers&);
template int64_t pack_rows(const PackedShape&, const ColumnGrid&, const double*, int64_t, int64_t, const RandomStream*,
                           uint8_t*, const Workers&);
template bool unpack_rows(const PackedShape&, const ColumnGrid&, const uint8_t*, int64_t, int64_t, float*,
                          const Workers&);
template bool unpack_rows(const PackedShape&, const ColumnGrid&, const uint8_t*, int64_t, int64_t, double*,
                          const Workers&);

}  // namespace mezzotint
