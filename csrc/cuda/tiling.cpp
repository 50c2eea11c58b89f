#include "cuda/tiling.h"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace vbfast::cuda {

namespace {

constexpr std::int64_t group_rows = group_tiles * tile_rows;

}  // namespace

std::vector<Piece> cut(int block, std::int64_t start, std::int64_t n_rows,
                       const std::vector<std::int64_t>& bounds, std::vector<char>& taken) {
    if (start < 0 || n_rows < 0 || n_rows > bounds.back() - start)
        throw std::invalid_argument(
            "rows " + std::to_string(start) + " to " + std::to_string(start + n_rows) +
            " are beyond those of the pass, " + std::to_string(bounds.back()));
    std::vector<Piece> pieces;
    const auto after = std::upper_bound(bounds.begin(), bounds.end(), start);
    int partition = static_cast<int>(after - bounds.begin()) - 1;
    for (std::int64_t row = start; row < start + n_rows; ++partition) {
        const std::size_t p = static_cast<std::size_t>(partition);
        const std::int64_t end = std::min(start + n_rows, bounds[p + 1]);
        if (end == row) continue;
        if ((row - bounds[p]) % group_rows != 0)
            throw std::invalid_argument("row " + std::to_string(row) +
                                        " does not begin a tile of its partition");
        if (taken[p])
            throw std::invalid_argument("two blocks have rows of partition " +
                                        std::to_string(partition));
        taken[p] = 1;
        pieces.push_back({block, partition, row - start, row, end - row});
        row = end;
    }
    return pieces;
}

std::vector<ChunkPlan> plan_chunks(const std::vector<Piece>& pieces, std::int64_t most) {
    std::int64_t remaining = 0;  // groups
    for (const Piece& piece : pieces) remaining += (piece.n_rows + group_rows - 1) / group_rows;
    const std::int64_t most_groups = std::max<std::int64_t>(1, most / group_tiles);
    std::vector<std::int64_t> done(pieces.size(), 0);  // rows
    std::vector<ChunkPlan> chunks;
    std::size_t next = 0;  // the piece whose turn it is
    while (remaining > 0) {
        // How many groups each piece gives, one a turn.
        std::vector<std::int64_t> taken(pieces.size(), 0);
        for (std::int64_t room = std::min(most_groups, remaining); room > 0;
             next = (next + 1) % pieces.size())
            if (done[next] + taken[next] * group_rows < pieces[next].n_rows) {
                ++taken[next];
                --room;
                --remaining;
            }
        ChunkPlan chunk;
        for (std::size_t i = 0; i < pieces.size(); ++i) {
            if (taken[i] == 0) continue;
            Piece part = pieces[i];
            part.first += done[i];
            part.output_row += done[i];
            part.n_rows = std::min(taken[i] * group_rows, part.n_rows - done[i]);
            done[i] += part.n_rows;
            const int first_tile = static_cast<int>(chunk.tiles.size());
            for (std::int64_t row = 0; row < part.n_rows; row += tile_rows)
                chunk.tiles.push_back(
                    {part.first + row, part.output_row + row,
                     static_cast<int>(std::min<std::int64_t>(tile_rows, part.n_rows - row))});
            chunk.ranges.push_back(
                {part.partition, first_tile, static_cast<int>(chunk.tiles.size())});
            chunk.pieces.push_back(part);
        }
        chunks.push_back(std::move(chunk));
    }
    return chunks;
}

}  // namespace vbfast::cuda
