// Whether second moments lose their digits on the way to other means.
#pragma once

#include <cstdint>

#include "linalg/pattern.h"

namespace vbfast::linalg {

// What a pass was run with, and the sums that it made about its centres.
struct ShiftedMoments {
    std::int64_t n_components, n_features;
    const double* offset;   // (K,)
    const double* centres;  // (K, D)
    Pattern factor_pattern;
    const double* factor;
    Pattern second_pattern;
    const double* weight;  // (K,)
    const double* first;   // (K, D)
    const double* second;
    const double* floor;  // added to sums of squares: at floor[k * rows + i * columns]
    std::int64_t floor_rows, floor_columns;
};

// Whether what moving second moments to the rows' means may subtract is more than `tolerated` times
// what it leaves. `reach` is the largest squared distance, in standard deviations, at which moments
// may have been taken about the middle of the components. See contract/moment_shifts.py.
bool second_moments_cancel(const ShiftedMoments& moments, double tolerated, double reach);

}  // namespace vbfast::linalg
