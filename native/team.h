// A small team of threads that shares the slabs of one step after another, for steps of microseconds.
//
// Slabs are claimed from a counter, so a thread that the system does not run, or does not even start, holds
// nobody up unless it was interrupted in the middle of a slab; who did which slab does not show in the results.
#pragma once
#include <atomic>
#include <bit>
#include <cstdint>
#include <thread>

#include "helpers.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace mezzotint {

// Waits until ready() holds: spins for some microseconds, then lets other threads run.
template <class Ready>
void wait_until(Ready ready) {
  for (int spins = 0; !ready(); spins++) {
    if (spins >= 512) {
      std::this_thread::yield();
      continue;
    }
#if defined(__x86_64__)
    _mm_pause();
#endif
  }
}

// For every step: work(worker, step, slab) for each of slabs_in(step) slabs, at most `most_slabs`, shared by the
// team; then finish(step) on the calling thread, which ends the run early by returning false. Nothing may throw.
// Worker 0 is the calling thread; numbers of workers stay below n_workers.
template <class SlabsIn, class Work, class Finish>
void run_team(int n_workers, int64_t n_steps, int64_t most_slabs, SlabsIn slabs_in, Work work, Finish finish) {
  // A ticket is the step and, in the low bits, the next slab of it: 0 ... most_slabs. Both fit, since the
  // caller's order of tiles, which lies in memory, names every slab of every step.
  const int bits = std::bit_width(static_cast<uint64_t>(most_slabs));
  const int64_t slab_mask = (int64_t{1} << bits) - 1;
  std::atomic<int64_t> ticket{0}, done{0};
  // Takes slabs of the ticket's step until none is left.
  const auto share = [&](int worker) {
    int64_t now = ticket.load(std::memory_order_acquire);
    while (now >> bits < n_steps && (now & slab_mask) < slabs_in(now >> bits)) {
      if (!ticket.compare_exchange_weak(now, now + 1, std::memory_order_acq_rel, std::memory_order_acquire)) continue;
      work(worker, now >> bits, now & slab_mask);
      done.fetch_add(1, std::memory_order_release);
      now = ticket.load(std::memory_order_acquire);
    }
    return now;
  };
  const auto help = [&](int64_t worker) {
    for (;;) {
      const int64_t now = share(static_cast<int>(worker));
      if (now >> bits >= n_steps) return;
      wait_until([&] { return ticket.load(std::memory_order_acquire) != now; });
    }
  };
  const Helpers helpers(n_workers - 1, help);
  int64_t expected = 0;
  for (int64_t step = 0; step < n_steps; step++) {
    if (step > 0) ticket.store(step << bits, std::memory_order_release);  // the first step may have begun
    share(0);
    expected += slabs_in(step);
    wait_until([&] { return done.load(std::memory_order_acquire) == expected; });
    if (!finish(step)) break;
  }
  ticket.store(n_steps << bits, std::memory_order_release);
}

}  // namespace mezzotint
