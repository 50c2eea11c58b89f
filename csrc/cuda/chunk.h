// The rows that kernels work on at a time, and the memory that they leave their results in.
#pragma once

#include <cstdint>

#include "cuda/platform.h"

namespace vbfast::cuda {

// Rows of a tile, counted from the start of a partition.
constexpr int tile_rows = 256;
// Tiles, counted likewise, whose moments are summed in the precision of the rows, a part of the
// rows by each of several threads. Beyond them sums are float64. Chunks and blocks of rows begin
// with such a group.
constexpr int group_tiles = 4;

// Consecutive rows of one partition.
struct TileOfRows {
    std::int64_t row;         // the first one among the rows on the device
    std::int64_t output_row;  // the same among all rows
    int n_rows;               // up to tile_rows
};

// The tiles of a chunk that belong to one partition, in the order of the rows.
struct Range {
    int partition;
    int first_tile, last_tile;
};

// Some tiles of some partitions. Row i of tile t is row t * tile_rows + i of the chunk's own
// arrays.
template <class T>
struct Chunk {
    const T* rows;  // (n_rows, n_features)
    std::int64_t row_stride;
    bool rows_in_order;  // they are the rows of the chunk, and not where the tiles say
    int n_features;
    const double* weights;  // of the rows of the chunk, or null
    const TileOfRows* tiles;
    int n_tiles;
    const Range* ranges;
    int n_ranges;
    // (n_components, joint_stride): log-joints, then weighted responsibilities.
    T* joint;
    std::int64_t joint_stride;

    __host__ __device__ std::int64_t n_rows() const {
        return static_cast<std::int64_t>(n_tiles) * tile_rows;
    }
    // Where the rows of a tile begin.
    __host__ __device__ std::int64_t first_row(int tile) const {
        return rows_in_order ? static_cast<std::int64_t>(tile) * tile_rows : tiles[tile].row;
    }
};

}  // namespace vbfast::cuda
