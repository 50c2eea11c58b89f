// Which instruction-set level this process uses.
#pragma once

#include <string>
#include <vector>

#include "kernels/estep/table.h"

namespace vbfast {

// Levels that were built and that this machine has, lowest first.
std::vector<std::string> available_levels();

// Levels that were built, lowest first.
std::vector<std::string> built_levels();

// The table in use: the highest level available, or the one that VBFAST_SIMD names. Throws
// std::invalid_argument, naming what the machine has, if it lacks that one. Decided once.
const KernelTable& kernels();

}  // namespace vbfast
