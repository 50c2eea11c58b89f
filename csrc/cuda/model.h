// A mixture as the kernels read it: arrays on the device, in the precision of the pass.
#pragma once

#include <cstdint>

#include "cuda/platform.h"

namespace vbfast::cuda {

// Numbers of one line of a factor, see FactorLines: two of the centre, then the columns.
template <class T, int columns>
constexpr int line_length = columns == 2 ? 4 : columns + 16 / static_cast<int>(sizeof(T));

// Triangular factors of all components, as a stream of lines.
//
// The columns of a factor go in blocks. Block b has a line for each feature i that its columns
// need, i < min(D, (b + 1) columns), rounded up to `line_multiple`:
//
//     centre_i, low_i, [padding,] P_i,j for the columns j of the block,
//
// with zeros beyond the triangle and beyond D. The mean is centre + low. The lines of a component
// are its blocks', one after the other, and components follow each other without a gap.
template <class T>
struct FactorLines {
    const T* lines;
    const T* offset;
    std::int64_t lines_per_component;
    int columns;
    int line_multiple;

    // Lines of the block that begins with a column.
    __host__ __device__ int length(int first_column, int n_features) const {
        const int end = first_column + columns < n_features ? first_column + columns : n_features;
        return (end + line_multiple - 1) / line_multiple * line_multiple;
    }
    __host__ __device__ int line_length() const {
        return columns == 2 ? 4 : columns + 16 / static_cast<int>(sizeof(T));
    }
};

// What distances are measured with.
enum class Distance {
    scaled,  // |(x - mean) scale|^2 by feature: diagonal factors
    plain,   // |x - mean|^2, times a number of the component
    linear   // x theta
};

// Components that need no triangular factor.
template <class T>
struct DistanceModel {
    const T* offset;
    const T* centres;     // (K, D), rounded to T; theta where linear
    const T* scales;      // scaled: (K, D)
    const T* intercepts;  // scaled: (K, D), minus what rounding left out of a centre, times scale
    const T* half_precision;  // plain: (K,)
};

}  // namespace vbfast::cuda
