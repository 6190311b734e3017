#include "checksum.h"

#include "dispatch.h"

namespace mezzotint {

bool checksums(const uint8_t* data, const int64_t* begins, const int64_t* ends, int64_t count, uint32_t* out,
               int n_threads, Interrupt* interrupt) {
  const ChecksumKernels& kernels = *active().checksum;
  return parallel_for(count, n_threads, interrupt,
                      [&](int64_t i) { out[i] = kernels.crc32(data + begins[i], ends[i] - begins[i]); });
}

}  // namespace mezzotint
