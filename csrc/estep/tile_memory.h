// Memory that one tile is worked on in.
#pragma once

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "kernels/estep/table.h"

namespace vbfast::estep {

inline std::size_t aligned_size(std::size_t bytes) {
    return (bytes + 63) / 64 * 64;
}

// Points the tile at consecutive pieces of `memory`, or only adds their sizes up where it is null.
template <class T>
std::size_t lay_out(Tile<T>& tile, std::int64_t tile_rows, int group_rows,
                    std::int64_t joint_stride, std::int64_t D, bool raw, bool gradient,
                    char* memory) {
    if (tile_rows % group_rows != 0)
        throw std::invalid_argument("tile_rows must be a multiple of " +
                                    std::to_string(group_rows) + "; got " +
                                    std::to_string(tile_rows));
    const std::int64_t padded = (D + 15) / 16 * 16;
    // An odd number of cache lines, so that the same columns of all rows spread over all sets of
    // L1.
    constexpr std::int64_t line = 64 / sizeof(T);
    tile.panel_stride = (padded / line | 1) * line;
    const std::int64_t panel_rows = std::clamp<std::int64_t>(
        (40 << 10) / (tile.panel_stride * static_cast<std::int64_t>(sizeof(T))), 32,
        std::max<std::int64_t>(32, tile_rows));
    const std::int64_t moment_panel =
        std::max<std::int64_t>(6 * tile_rows, (24 << 10) / static_cast<std::int64_t>(sizeof(T)));
    tile.panel_size = std::max(moment_panel, panel_rows * tile.panel_stride);
    std::size_t used = 0;
    const auto take = [&](auto*& pointer, std::int64_t count) {
        using Element = std::remove_reference_t<decltype(*pointer)>;
        pointer = memory ? reinterpret_cast<Element*>(memory + used) : nullptr;
        used += aligned_size(static_cast<std::size_t>(count) * sizeof(Element));
    };
    take(tile.features, tile_rows * (D + 2));
    take(tile.raw, raw ? tile_rows * (D + 2) : 0);
    if (!raw) tile.raw = nullptr;
    take(tile.row_major, tile_rows * padded);
    take(tile.joint, (tile_rows + group_rows - 1) / group_rows * joint_stride);
    take(tile.row_max, tile_rows);
    take(tile.row_scale, tile_rows);
    take(tile.row_weight, tile_rows);
    take(tile.inverse_sum, tile_rows);
    take(tile.label, tile_rows);
    take(tile.list, tile_rows);
    take(tile.list_weight, tile_rows);
    take(tile.group_scratch, std::max(D * group_rows, padded));
    take(tile.gradient, gradient ? tile_rows * padded : 0);
    take(tile.active, std::max(joint_stride / group_rows, D));
    take(tile.panel, tile.panel_size);
    tile.whitened = nullptr;
    return used;
}

}  // namespace vbfast::estep
