// Which instruction sets were compiled, which run here, and which one is in use.
//
// Every file in native/kernels/ is compiled once per instruction set into the namespace MZ_NS and offers a
// table of function pointers per area. Kernel files work on one block of rows and use no std containers
// (an inline function instantiated under AVX-512 flags could be merged into portable code by the linker);
// loops over blocks, threads and scratch memory live in native/*.cpp.
#pragma once
#include <string>
#include <vector>

namespace mezzotint {

struct PackedKernels;  // packed.h: tiles of codes
struct FloatKernels;   // floats.h: blocks of float rows, losses
struct DenseKernels;   // dense.h:  Gram matrix, Cholesky
struct HalpKernels;    // halp.h:   minibatch steps on the integer offset
struct ZipmlKernels;   // zipml.h:  minibatch steps of SGD in few bits
struct OptimKernels;   // optim.h:  steps of optimizers with weights and states in few bits
struct ChecksumKernels;  // checksum.h: CRC-32

struct KernelTable {
  const char* name;
  const PackedKernels* packed;
  const FloatKernels* floats;
  const DenseKernels* dense;
  const HalpKernels* halp;
  const ZipmlKernels* zipml;
  const OptimKernels* optim;
  const ChecksumKernels* checksum;
};

const KernelTable& active();                     // the table in use
void use(const std::string& name);               // throws std::invalid_argument with the allowed names
std::vector<std::string> compiled();             // slowest first
std::vector<std::string> supported();            // those that this processor can run
std::vector<std::string> processor_features();   // what the choice was made from

}  // namespace mezzotint
