// From a family's parameters to the layout of the kernels (kernels/estep/table.h,
// kernels/estep/log_joint-inl.h).
#pragma once

#include <cstdint>
#include <vector>

#include "estep/request.h"
#include "kernels/estep/table.h"
#include "runtime/threads.h"

namespace vbfast::estep {

template <class T>
struct PackedModel {
    Model<T> model;
    std::vector<T> shift, means, centres, remainder, offset, factor, intercept, whitened_means,
        half_precision, half_norm, precision_means, precisions, shared_precision, listed_matrices;
    std::vector<std::uint8_t> near, listed;
    std::vector<std::int32_t> left, right;
    std::int64_t dense_size;  // doubles of a partial statistic, by kind
    std::int64_t listed_size;
    std::int64_t pooled_size;
};

// Interruptible (interrupt may be null), as what it calls: throws Interrupted.
template <class T>
void pack(const MixtureParameters& parameters, const PassRequest& request,
          const Kernels<T>& kernels, PackedModel<T>& packed, int num_threads,
          const runtime::Interrupt* interrupt);

// Doubles that the lower triangle of a (D, D) matrix takes in block rows of eight.
std::int64_t triangle_size(std::int64_t n_features);

}  // namespace vbfast::estep
