// Asking for memory ahead of time, without which products with codes take about twice as long.
#pragma once

namespace mezzotint {

// Into the second-level cache (near: the first). GCC takes a function that does nothing but prefetch for one
// without effect, and drops calls of it, unless it sees this empty statement.
[[gnu::always_inline]] inline void prefetch(const void* p) {
  asm volatile("");
  __builtin_prefetch(p, 0, 2);
}
[[gnu::always_inline]] inline void prefetch_near(const void* p) {
  asm volatile("");
  __builtin_prefetch(p, 0, 3);
}

}  // namespace mezzotint
