// How numbers of a symmetric or triangular matrix are laid out.
#pragma once

#include <cstdint>

namespace vbfast::linalg {

// What scale matrices, precision factors and second moments are, all row-major: (K, D, D), one
// (D, D) for all, their (K, D) diagonals, or (K,) numbers.
enum class Pattern { full, tied, diag, spherical };

// The numbers that a matrix of the pattern has.
constexpr std::int64_t pattern_size(Pattern pattern, std::int64_t D) {
    return pattern == Pattern::spherical ? 1 : pattern == Pattern::diag ? D : D * D;
}

constexpr bool has_matrices(Pattern pattern) {
    return pattern == Pattern::full || pattern == Pattern::tied;
}

// How many of them K components have.
constexpr std::int64_t count_matrices(Pattern pattern, std::int64_t K) {
    return pattern == Pattern::tied ? 1 : K;
}

}  // namespace vbfast::linalg
