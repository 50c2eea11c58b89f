// Which instruction-set level this process uses.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace vbfast::runtime {

// Levels that were built, lowest first.
std::vector<std::string> built_levels();

// Of these, the levels that this machine has.
std::vector<std::string> available_levels();

// The level in use, by its place among the built ones: the highest level available, or the one that
// VBFAST_SIMD names. Throws std::invalid_argument, naming what the machine has, if it lacks that
// one. Decided once.
std::size_t level();

// Its name, as VBFAST_SIMD spells it.
const char* level_name();

}  // namespace vbfast::runtime
