// A mixture in the layout of the kernels, with the memory that it lies in.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/estep/model.h"

namespace vbfast::estep {

template <class T>
struct PackedModel {
    Model<T> model{};
    std::vector<T> origin, means, centres, centres_low, offset, factor, intercept, whitened_means,
        half_precision, half_norm, precision_means, precisions, shared_precision, gathered_matrices;
    std::vector<std::uint8_t> near, gathered;
    std::vector<std::int32_t> left, right;
    double steepest = 0;          // tied: the largest squared norm of a column of the factor
    std::int64_t dense_size = 0;  // doubles of a partial statistic, by kind
    std::int64_t gathered_size = 0;
    std::int64_t pooled_size = 0;
};

}  // namespace vbfast::estep
