#include "dispatch.h"

#include <atomic>
#include <stdexcept>

namespace mezzotint {

#define MZ_DECLARE(ns)                     \
  namespace ns {                           \
  extern const PackedKernels packed;       \
  extern const FloatKernels floats;        \
  extern const DenseKernels dense;         \
  extern const HalpKernels halp;           \
  extern const ZipmlKernels zipml;         \
  extern const OptimKernels optim;         \
  extern const ChecksumKernels checksum;   \
  }
MZ_DECLARE(isa_portable)
#ifdef MZ_X86
MZ_DECLARE(isa_avx2)
MZ_DECLARE(isa_avx512)
#endif

namespace {

struct Candidate {
  KernelTable table;
  bool (*runs)();
};

bool always() { return true; }
#ifdef MZ_X86
bool has_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c") &&
         __builtin_cpu_supports("pclmul");
}
bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
}
#endif

#define MZ_TABLE(label, ns) {label, &ns::packed, &ns::floats, &ns::dense, &ns::halp, &ns::zipml, &ns::optim, &ns::checksum}
const Candidate candidates[] = {
    {MZ_TABLE("portable", isa_portable), always},
#ifdef MZ_X86
    {MZ_TABLE("avx2", isa_avx2), has_avx2},
    {MZ_TABLE("avx512", isa_avx512), has_avx512},
#endif
};

const Candidate& best() {
  const Candidate* found = &candidates[0];
  for (const auto& c : candidates)
    if (c.runs()) found = &c;
  return *found;
}

std::atomic<const KernelTable*> in_use{nullptr};

}  // namespace

const KernelTable& active() {
  const KernelTable* table = in_use.load();
  if (!table) in_use = table = &best().table;
  return *table;
}

void use(const std::string& name) {
  for (const auto& c : candidates)
    if (name == c.table.name && c.runs()) {
      in_use = &c.table;
      return;
    }
  throw std::invalid_argument("instruction set '" + name + "' is not available on this machine");
}

std::vector<std::string> compiled() {
  std::vector<std::string> names;
  for (const auto& c : candidates) names.push_back(c.table.name);
  return names;
}

std::vector<std::string> supported() {
  std::vector<std::string> names;
  for (const auto& c : candidates)
    if (c.runs()) names.push_back(c.table.name);
  return names;
}

std::vector<std::string> processor_features() {
  std::vector<std::string> names;
#ifdef MZ_X86
#define MZ_FEATURE(f) if (__builtin_cpu_supports(f)) names.push_back(f);
  MZ_FEATURE("avx2") MZ_FEATURE("fma") MZ_FEATURE("f16c") MZ_FEATURE("avx512f") MZ_FEATURE("avx512bw")
  MZ_FEATURE("avx512dq") MZ_FEATURE("avx512vl") MZ_FEATURE("avx512vnni") MZ_FEATURE("pclmul")
#endif
  return names;
}

}  // namespace mezzotint
