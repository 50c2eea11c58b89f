// The rows that a pass is given.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/estep/tile.h"

namespace vbfast::estep {

// Consecutive rows of one partition; strides in bytes.
struct RowBlock {
    std::int64_t partition;
    std::int64_t start;
    const void* rows;
    std::int64_t row_stride;
    std::int64_t feature_stride;
    std::int64_t n_rows;
    const double* weights;
    const void* given;
    const std::int64_t* given_label;
    const void* closest;  // seeding only, in the precision of the pass
    void* lowered;        // or null
    std::int64_t lowered_stride;
};

std::int64_t count_rows(const std::vector<RowBlock>& blocks);

// Points a tile at rows [first, first + n) of a block, for K components.
template <class T>
void point_at(Tile<T>& tile, const RowBlock& block, std::int64_t first, std::int64_t n,
              std::int64_t K);

}  // namespace vbfast::estep
