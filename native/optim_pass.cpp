#include "optim_pass.h"

#include "dispatch.h"
#include "parallel.h"

namespace mezzotint {
namespace {

// About 100 us of work: enough to pay for a claim, few enough to leave nobody waiting at the end.
constexpr int64_t segment_blocks = 512;
// Starting a thread takes as long as stepping so many blocks.
constexpr int64_t blocks_per_thread = 1024;

struct Segment {
  const OptimJob* job;
  int64_t begin, end;
};

std::vector<Segment> segments_of(const std::vector<const OptimJob*>& jobs, int64_t& n_blocks) {
  std::vector<Segment> segments;
  n_blocks = 0;
  for (const OptimJob* job : jobs) {
    const int64_t count = job->rows * blocks_per_row(job->length);
    n_blocks += count;
    for (int64_t begin = 0; begin < count; begin += segment_blocks)
      segments.push_back({job, begin, begin + segment_blocks < count ? begin + segment_blocks : count});
  }
  return segments;
}

}  // namespace

// Blocks do not know each other, so neither the threads nor the segments show in the results.
void optim_pass(const std::vector<const OptimJob*>& jobs, int n_threads) {
  int64_t n_blocks;
  const std::vector<Segment> segments = segments_of(jobs, n_blocks);
  const int64_t useful = 1 + n_blocks / blocks_per_thread;
  const auto step = active().optim->step;
  parallel_for(static_cast<int64_t>(segments.size()), static_cast<int>(useful < n_threads ? useful : n_threads), nullptr,
               [&](int64_t i) { step(*segments[i].job, segments[i].begin, segments[i].end); });
}

}  // namespace mezzotint
