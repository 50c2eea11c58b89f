// Counts, means and covariances of Gaussian components from sums over the rows: what maximizes
// their likelihood.
#pragma once

#include <cstdint>

#include "linalg/moment_sums.h"
#include "linalg/pattern.h"
#include "runtime/threads.h"

namespace vbfast::linalg {

// What components keep that have lost their rows, where it is known.
struct PreviousMoments {
    const double* means;        // (K, D), or null
    const double* covariances;  // of the pattern
};

struct GaussianMoments {
    double* counts;       // (K,)
    double* means;        // (K, D)
    double* covariances;  // of the pattern
};

// See contract/gaussian_moments.py. `second` is that of the sums about their centres; a component
// of weight below `empty` has lost its rows.
void gaussian_moments(Pattern pattern, std::int64_t n_components, std::int64_t n_features,
                      const MomentSums& sums, double variance, double least_count, double empty,
                      const PreviousMoments& previous, const GaussianMoments& out, int num_threads,
                      const runtime::Interrupt* interrupt);

}  // namespace vbfast::linalg
