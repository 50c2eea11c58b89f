// From the sums of the partitions to the statistics that a family takes.
#pragma once

#include <cstdint>

#include "kernels/estep/table.h"
#include "runtime/threads.h"

namespace vbfast::estep {

// A partial statistic, by how its components are summed: see Kernels::summary_step.
struct PartialSums {
    double* dense;
    double* gathered;
    double* pooled;
};

// Moments about the components' means: weight (K,), first (K, D), and second: full (K, D, D), tied
// (D, D), diag (K, D), spherical (K,), the mean over the features.
struct MomentArrays {
    double* weight;
    double* first;
    double* second;
};

// Adds partials 1 to n_partials - 1, which lie one after the other, to the first, in their order.
void merge_partials(double* partials, std::int64_t size, std::int64_t n_partials, int num_threads,
                    const runtime::Interrupt* interrupt);

// Moves merged sums, of `size` doubles in all, to the means (K, D).
template <class T>
void read_moments(const Model<T>& model, const Kernels<T>& kernels, PartialSums sums,
                  std::int64_t size, const double* means, MomentArrays moments, int num_threads,
                  const runtime::Interrupt* interrupt);

}  // namespace vbfast::estep
