// The rows that a pass is given.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/estep/tile.h"

namespace vbfast::estep {

// Consecutive rows, in the precision of the pass.
struct RowBlock {
    std::int64_t start;       // number of the first row, in the outputs
    const void* rows;         // (n_rows, n_features)
    std::int64_t row_stride;  // bytes
    std::int64_t feature_stride;
    std::int64_t n_rows;
    const double* weights;            // (n_rows,) or null
    const void* given;                // (n_rows, n_components) or null
    const std::int64_t* given_label;  // (n_rows,) or null
    // For seeding alone, see Kernels::seeding_step.
    const void* closest;
    void* lowered;
    std::int64_t lowered_stride;
};

// What a block has of one partition.
struct Piece {
    std::int64_t partition;
    RowBlock block;
    bool last;  // it reaches the end of the partition
};

// Cuts blocks at the bounds of the partitions, for K components. Throws std::invalid_argument where
// a block has rows beyond the bounds or begins within a tile, or where two have rows of one
// partition: each is summed by one thread.
template <class T>
std::vector<Piece> cut(const std::vector<RowBlock>& blocks, const std::vector<std::int64_t>& bounds,
                       std::int64_t tile_rows, std::int64_t K);

std::int64_t count_rows(const std::vector<RowBlock>& blocks);

// Points a tile at rows [first, first + n) of a block, for K components.
template <class T>
void point_at(Tile<T>& tile, const RowBlock& block, std::int64_t first, std::int64_t n,
              std::int64_t K);

}  // namespace vbfast::estep
