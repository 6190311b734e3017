// How a pass over the rows is shared between threads, without the number of threads showing in the result.
//
// A matrix has a fixed list of row segments (a function of its shape). Threads take segments from a counter,
// each segment writes a partial result of its own, and partials are added in a fixed tree. Threads are
// started per pass: a pass takes milliseconds, a start microseconds, and nothing survives a fork. A thread
// that the system refuses is done without (native/helpers.h).
#pragma once
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>

#include "helpers.h"

namespace mezzotint {

// Asked by the calling thread between segments; true means "stop, the user pressed Ctrl-C".
struct Interrupt {
  virtual bool pressed() = 0;
  virtual ~Interrupt() = default;
};

// Call body(index) for every index in [0, count), in any order, on up to n_threads threads.
// Returns false if interrupted. Exceptions of a body are rethrown here, after all threads have ended.
template <class Body>
bool parallel_for(int64_t count, int n_threads, Interrupt* interrupt, Body body) {
  std::atomic<int64_t> next{0};
  std::atomic<bool> stop{false};
  std::exception_ptr error;
  std::mutex error_lock;
  auto work = [&](bool caller) {
    try {
      for (int64_t i; !stop.load(std::memory_order_relaxed) && (i = next.fetch_add(1)) < count;) {
        body(i);
        if (caller && interrupt && interrupt->pressed()) stop = true;
      }
    } catch (...) {
      std::lock_guard<std::mutex> guard(error_lock);
      if (!error) error = std::current_exception();
      stop = true;
    }
  };
  {
    const Helpers helpers((count < n_threads ? count : n_threads) - 1, [&](int64_t) { work(false); });
    work(true);
  }  // all have ended: only now is `error` read
  if (error) std::rethrow_exception(error);
  return !stop.load();
}

// partials: count rows of width doubles. Adds them pairwise in a fixed tree; the sum ends in row 0.
inline void tree_sum(double* partials, int64_t count, int64_t width) {
  for (int64_t step = 1; step < count; step *= 2)
    for (int64_t i = 0; i + step < count; i += 2 * step)
      for (int64_t j = 0; j < width; j++) partials[i * width + j] += partials[(i + step) * width + j];
}

}  // namespace mezzotint
