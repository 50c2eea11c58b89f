// From the sums of the partitions to the statistics that a family takes.
#pragma once

#include <cstdint>

#include "kernels/estep/table.h"
#include "runtime/threads.h"

namespace vbfast::estep {

// The sums of one partition, as Kernels::summary_step adds to them.
struct PartialSums {
    double* dense;
    double* gathered;
    double* pooled;
};

// Moments about the components' means, as EStep::statistics writes them.
struct MomentArrays {
    double* weight;
    double* first;
    double* second;
};

// Reads merged sums, of `size` doubles in all, and moves them to the means (K, D).
template <class T>
void read_moments(const Model<T>& model, const Kernels<T>& kernels, PartialSums sums,
                  std::int64_t size, const double* means, MomentArrays moments, int num_threads,
                  const runtime::Interrupt* interrupt);

}  // namespace vbfast::estep
