// From the sums of the partitions to the statistics that a family takes.
#pragma once

#include <cstdint>
#include <vector>

#include "cuda/summary.h"
#include "estep/request.h"

namespace vbfast::cuda {

// Where the sums of a partition of K components of D features lie; `sums` is null.
PartialSums lay_out_partials(estep::Moments moments, std::int64_t K, std::int64_t D);

// Points that moments are about, in float64.
struct Centres {
    const double* means;    // (K, D), what they are to be about
    const double* rounded;  // (K, D), what they were summed about
    const double* origin;   // (D,), what pooled ones were summed about; null: the rounded means
};

// Moves merged sums to the means, and writes weight (K,), first (K, D) and second moments.
void move_moments(estep::Moments moments, std::int64_t K, std::int64_t D, const PartialSums& layout,
                  const double* merged, const Centres& centres, double* weight, double* first,
                  double* second);

}  // namespace vbfast::cuda
