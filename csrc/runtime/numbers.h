// Numbers that every room needs.
#pragma once

#include <cstdint>
#include <limits>

namespace vbfast::runtime {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();
constexpr double log_two_pi = 1.8378770664093454836;

// a / b, rounded up, for a >= 0 and b > 0.
constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
    return (a + b - 1) / b;
}

// The least multiple of `multiple` that is not below n.
constexpr std::int64_t round_up(std::int64_t n, std::int64_t multiple) {
    return ceil_div(n, multiple) * multiple;
}

}  // namespace vbfast::runtime
