// Which tiles go into a chunk together.
#pragma once

#include <cstdint>
#include <vector>

#include "cuda/chunk.h"

namespace vbfast::cuda {

// Consecutive rows of one partition.
struct Piece {
    int block;  // which of the blocks they are of
    int partition;
    std::int64_t first;       // among the rows of the block
    std::int64_t output_row;  // among all rows
    std::int64_t n_rows;
};

// Rows [start, start + n_rows) of a block, cut at the bounds of partitions. Throws
// std::invalid_argument where they are beyond the bounds or begin within a group, or where a
// partition is in `taken` already; those of the block are added to it.
std::vector<Piece> cut(int block, std::int64_t start, std::int64_t n_rows,
                       const std::vector<std::int64_t>& bounds, std::vector<char>& taken);

// The tiles of a chunk, those of a partition one after the other.
struct ChunkPlan {
    std::vector<TileOfRows> tiles;  // `row` is that of the block
    std::vector<Range> ranges;
    std::vector<Piece> pieces;  // one for each range, with the rows that it has
};

// Deals the tiles of pieces out to chunks of up to `most` tiles (of group_tiles at least), which
// have the next groups of many partitions: a partition's tiles are in order, and its sums do not
// depend on how many there are in a chunk.
std::vector<ChunkPlan> plan_chunks(const std::vector<Piece>& pieces, std::int64_t most);

}  // namespace vbfast::cuda
