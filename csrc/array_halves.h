// Long slices are reduced by halves.
#pragma once

#include <cstdint>

namespace vbfast {

// How often a slice of n elements is halved before no part is longer than `part`.
constexpr int halvings(std::int64_t n, std::int64_t part) {
    int levels = 0;
    for (std::int64_t parts = (n + part - 1) / part; parts > 1; parts = (parts + 1) / 2) ++levels;
    return levels;
}

// Writes the state of elements first to last - 1: `reduce(first, last, state)` writes that of a
// part, and merge(state, other) adds another one. Of many equal numbers that are added one after
// another, all roundings go the same way; of two halves there is one, and so a sum of n parts
// rounds log2(n) times (Higham 2002, section 4.2). `others` has room for `length` numbers for each
// halving.
template <class Reduce, class Merge>
void reduce_by_halves(std::int64_t first, std::int64_t last, std::int64_t part, double* state,
                      double* others, std::int64_t length, Reduce& reduce, Merge& merge) {
    if (last - first <= part) return reduce(first, last, state);
    const std::int64_t parts = (last - first + part - 1) / part;
    const std::int64_t middle = first + (parts + 1) / 2 * part;
    reduce_by_halves(first, middle, part, state, others, length, reduce, merge);
    reduce_by_halves(middle, last, part, others, others + length, length, reduce, merge);
    merge(state, others);
}

}  // namespace vbfast
