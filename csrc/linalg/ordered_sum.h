// Sums in a fixed order that others can repeat.
#pragma once

#include <cstdint>

namespace vbfast::linalg {

// The sum in the order that NumPy adds numbers in that follow one another, so that both have the
// same bits: eight sums side by side of up to 128 numbers, halves of more.
double sum_as_numpy(const double* values, std::int64_t n);

}  // namespace vbfast::linalg
