// Sums over the rows that a global step is given.
#pragma once

namespace vbfast::linalg {

// About centres, as contract/statistics.py has them.
struct MomentSums {
    const double* centres;  // (K, D)
    const double* weight;   // (K,)
    const double* mass;     // (K,)
    const double* first;    // (K, D)
    const double* second;
};

}  // namespace vbfast::linalg
