#include "estep/tile_memory.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "runtime/memory.h"
#include "runtime/numbers.h"
#include "runtime/tuning.h"

namespace vbfast::estep {

namespace {

#include "kernels/estep/triangle-inl.h"

}  // namespace

std::int64_t padded_features(std::int64_t n_features) {
    return runtime::round_up(n_features, 16);
}

template <class T>
std::size_t lay_out(Tile<T>& tile, std::int64_t tile_rows, int group_rows,
                    std::int64_t joint_stride, std::int64_t n_features, bool raw, bool gradient,
                    void* memory) {
    if (tile_rows % group_rows != 0)
        throw std::invalid_argument("tile_rows must be a multiple of " +
                                    std::to_string(group_rows) + "; got " +
                                    std::to_string(tile_rows));
    const std::int64_t D = n_features, padded = padded_features(D);
    // An odd number of cache lines, so that the same columns of all rows spread over all sets of
    // L1.
    constexpr std::int64_t size = sizeof(T), line = runtime::cache_line / sizeof(T);
    tile.panel_stride = (padded / line | 1) * line;
    const std::int64_t panel_rows =
        std::clamp<std::int64_t>(tuning::gathered_panel / (tile.panel_stride * size), 32,
                                 std::max<std::int64_t>(32, tile_rows));
    const std::int64_t moment_panel =
        std::max<std::int64_t>(6 * tile_rows, tuning::dense_panel / size);
    tile.panel_size = std::max(moment_panel, panel_rows * tile.panel_stride);
    runtime::Arena arena(memory);
    arena.take(tile.features, tile_rows * (D + 2));
    arena.take(tile.raw, raw ? tile_rows * (D + 2) : 0);
    arena.take(tile.row_major, tile_rows * padded);
    arena.take(tile.joint, runtime::ceil_div(tile_rows, group_rows) * joint_stride);
    arena.take(tile.row_max, tile_rows);
    arena.take(tile.row_scale, tile_rows);
    arena.take(tile.row_weight, tile_rows);
    arena.take(tile.inverse_sum, tile_rows);
    arena.take(tile.label, tile_rows);
    arena.take(tile.gathered, tile_rows);
    arena.take(tile.gathered_weight, tile_rows);
    arena.take(tile.group_scratch, std::max(D * group_rows, padded));
    arena.take(tile.gradient, gradient ? tile_rows * padded : 0);
    arena.take(tile.active, std::max(joint_stride / group_rows, D));
    arena.take(tile.panel, tile.panel_size);
    arena.take(tile.block_sums,
               D <= tuning::largest_direct_full ? summed_together * (1 + D + triangle_size(D)) : 0);
    tile.whitened = nullptr;
    return arena.size();
}

template std::size_t lay_out(Tile<float>&, std::int64_t, int, std::int64_t, std::int64_t, bool,
                             bool, void*);
template std::size_t lay_out(Tile<double>&, std::int64_t, int, std::int64_t, std::int64_t, bool,
                             bool, void*);

}  // namespace vbfast::estep
