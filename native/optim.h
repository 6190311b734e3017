// One step of an optimizer whose weight and moments are stored in few bits: what is stored where, and the kernels.
//
// A parameter is a matrix of rows. It is cut into blocks of up to 128 elements of a row; a block is decoded into
// buffers that stay in the first-level cache, stepped in float32, and encoded again: each component is read once and
// written once. The operations and their order are those of src/mezzotint/optim (_eager.py, rules.py, codecs.py,
// levels.py, bits.py): the same bits come out.
#pragma once
#include <cstdint>

namespace mezzotint {

inline constexpr int optim_block = 128;

// How a tensor is stored; src/mezzotint/optim/codecs.py says what each one is.
enum class Storage {
  float32, float16, bfloat16, pair, remainder8, remainder16, master_bfloat16, master_float16,
  log8, log4, signed8, signed4, ratio8, ratio4, count
};
enum class Draw { nearest, stochastic, dithered };
enum class OptimRule { adam, lion, sgd, momentum, nesterov };
enum class GradientType { float32, bfloat16, float16 };

// The map of signed codes: the largest level, how dense they are near zero.
struct SignedLevels {
  float limit, curve, offset;  // offset = limit (curve - 1)
};

// A component in memory. A block of 128 elements takes block_bytes of it: 4 for a scale.
struct OptimPart {
  uint8_t* data;
  int64_t block_bytes, row_bytes;
};

// The weight (slot 0) or a moment (1, 2).
struct OptimSlot {
  Storage storage;
  Draw draw;
  SignedLevels levels;
  OptimPart part[2];  // the main component, and what is kept beside it
};

// mezzotint.optim.rules.Hyper.
struct OptimHyper {
  float rate, decay, l2, keep1, add1, keep2, add2, root, root_before, eps, carry;
};

struct OptimJob {
  OptimRule rule;
  OptimHyper hyper;
  bool maximize, carries;
  int64_t rows, length;
  int n_moments;
  OptimSlot slot[3];
  GradientType gradient_type;
  OptimPart gradient;
  uint64_t seed, first;  // first: index of the first element in the whole parameter
  uint32_t step, stream;
  uint32_t salt;  // of dithering
};

struct OptimKernels {
  // Blocks begin .. end - 1 of a parameter; blocks are counted row by row.
  void (*step)(const OptimJob& job, int64_t begin, int64_t end);
};

inline int64_t blocks_per_row(int64_t length) { return (length + optim_block - 1) / optim_block; }

// Bytes of a component that `count` elements of one row take.
inline int64_t part_bytes_of(int64_t block_bytes, int64_t count) {
  if (block_bytes == sizeof(float)) return blocks_per_row(count) * block_bytes;
  return (count * block_bytes + optim_block - 1) / optim_block;
}

}  // namespace mezzotint
