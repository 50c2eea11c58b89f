#include "estep/row_block.h"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace vbfast::estep {

namespace {

// Rows first to first + n - 1 of a block.
template <class T>
RowBlock slice(const RowBlock& block, std::int64_t first, std::int64_t n, std::int64_t K) {
    RowBlock part = block;
    part.start += first;
    part.rows = static_cast<const char*>(block.rows) + first * block.row_stride;
    part.n_rows = n;
    if (block.weights) part.weights += first;
    if (block.given) part.given = static_cast<const T*>(block.given) + first * K;
    if (block.given_label) part.given_label += first;
    if (block.closest) part.closest = static_cast<const T*>(block.closest) + first;
    if (block.lowered) part.lowered = static_cast<T*>(block.lowered) + first;
    return part;
}

std::string range(const RowBlock& block) {
    return std::to_string(block.start) + " to " + std::to_string(block.start + block.n_rows);
}

}  // namespace

template <class T>
std::vector<Piece> cut(const std::vector<RowBlock>& blocks, const std::vector<std::int64_t>& bounds,
                       std::int64_t tile_rows, std::int64_t K) {
    std::vector<Piece> pieces;
    std::vector<bool> taken(bounds.size(), false);
    for (const RowBlock& block : blocks) {
        if (block.n_rows == 0) continue;
        if (block.start < bounds.front() || block.start > bounds.back() ||
            block.n_rows > bounds.back() - block.start)
            throw std::invalid_argument(
                std::to_string(block.n_rows) + " rows from " + std::to_string(block.start) +
                " on are beyond those of the pass, " + std::to_string(bounds.back()));
        const std::int64_t end = block.start + block.n_rows;
        auto bound = std::upper_bound(bounds.begin(), bounds.end(), block.start);
        if ((block.start - *(bound - 1)) % tile_rows != 0)
            throw std::invalid_argument("rows " + range(block) +
                                        " do not begin with a tile of their partition");
        for (std::int64_t start = block.start; start < end; start = *bound++) {
            const std::int64_t partition = bound - bounds.begin() - 1;
            if (taken[static_cast<std::size_t>(partition)])
                throw std::invalid_argument(
                    "blocks that are run together must have rows of distinct partitions; two have "
                    "some of partition " +
                    std::to_string(partition));
            taken[static_cast<std::size_t>(partition)] = true;
            const std::int64_t stop = std::min(end, *bound);
            pieces.push_back(
                {partition, slice<T>(block, start - block.start, stop - start, K), stop == *bound});
        }
    }
    return pieces;
}

std::int64_t count_rows(const std::vector<RowBlock>& blocks) {
    std::int64_t n = 0;
    for (const RowBlock& block : blocks) n += block.n_rows;
    return n;
}

template <class T>
void point_at(Tile<T>& tile, const RowBlock& block, std::int64_t first, std::int64_t n,
              std::int64_t K) {
    tile.rows = static_cast<const char*>(block.rows) + first * block.row_stride;
    tile.row_stride = block.row_stride;
    tile.feature_stride = block.feature_stride;
    tile.n_rows = n;
    tile.weights = block.weights ? block.weights + first : nullptr;
    tile.given = block.given ? static_cast<const T*>(block.given) + first * K : nullptr;
    tile.given_label = block.given_label ? block.given_label + first : nullptr;
    tile.bad_row = -1;
}

template std::vector<Piece> cut<float>(const std::vector<RowBlock>&,
                                       const std::vector<std::int64_t>&, std::int64_t,
                                       std::int64_t);
template std::vector<Piece> cut<double>(const std::vector<RowBlock>&,
                                        const std::vector<std::int64_t>&, std::int64_t,
                                        std::int64_t);
template void point_at(Tile<float>&, const RowBlock&, std::int64_t, std::int64_t, std::int64_t);
template void point_at(Tile<double>&, const RowBlock&, std::int64_t, std::int64_t, std::int64_t);

}  // namespace vbfast::estep
