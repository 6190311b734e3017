// CRC-32 as in zlib, of bytes and of many pieces at once. The reference is zlib's own.
#pragma once
#include <cstdint>

#include "parallel.h"

namespace mezzotint {

struct ChecksumKernels {
  uint32_t (*crc32)(const uint8_t* data, int64_t size);
};

// CRC-32 of data[begins[i], ends[i]) into out[i], for `count` pieces. False if interrupted.
bool checksums(const uint8_t* data, const int64_t* begins, const int64_t* ends, int64_t count, uint32_t* out,
               int n_threads, Interrupt* interrupt);

}  // namespace mezzotint
