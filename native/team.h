// A small team of threads that meets after every step, for steps of microseconds.
#pragma once
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace mezzotint {

// Waits until ready() holds: spins for about a microsecond's work, then lets other threads run.
template <class Ready>
void wait_until(Ready ready) {
  for (int spins = 0; !ready(); spins++) {
    if (spins >= 4096) {
      std::this_thread::yield();
      continue;
    }
#if defined(__x86_64__)
    _mm_pause();
#endif
  }
}

// For every step: work(worker, step) on all workers at once, then finish(step) on the calling thread, which
// ends the run early by returning false. Neither may throw. Worker 0 is the calling thread.
template <class Work, class Finish>
void run_team(int n_workers, int64_t n_steps, Work work, Finish finish) {
  std::atomic<int64_t> begun{0}, done{0};  // steps begun; shares done
  std::atomic<bool> stop{false};
  const auto help = [&](int worker) {
    for (int64_t step = 0; step < n_steps; step++) {
      wait_until([&] { return begun.load(std::memory_order_acquire) > step || stop.load(std::memory_order_acquire); });
      if (stop.load(std::memory_order_acquire)) return;
      work(worker, step);
      done.fetch_add(1, std::memory_order_release);
    }
  };
  std::vector<std::thread> helpers;
  for (int w = 1; w < n_workers; w++) helpers.emplace_back(help, w);
  for (int64_t step = 0; step < n_steps; step++) {
    begun.store(step + 1, std::memory_order_release);
    work(0, step);
    wait_until([&] { return done.load(std::memory_order_acquire) == (step + 1) * (n_workers - 1); });
    if (!finish(step)) break;
  }
  stop.store(true, std::memory_order_release);
  for (auto& helper : helpers) helper.join();
}

}  // namespace mezzotint
