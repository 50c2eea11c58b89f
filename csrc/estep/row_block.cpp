#include "estep/row_block.h"

#include "runtime/dispatch.h"

namespace vbfast {

template <>
const KernelSet<float>& kernel_set<float>() {
    return kernels().f32;
}
template <>
const KernelSet<double>& kernel_set<double>() {
    return kernels().f64;
}

std::int64_t count_rows(const std::vector<Block>& blocks) {
    std::int64_t n = 0;
    for (const Block& block : blocks) n += block.n_rows;
    return n;
}

template <class T>
void point_at(Tile<T>& tile, const Block& block, std::int64_t first, std::int64_t n,
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

template void point_at(Tile<float>&, const Block&, std::int64_t, std::int64_t, std::int64_t);
template void point_at(Tile<double>&, const Block&, std::int64_t, std::int64_t, std::int64_t);

}  // namespace vbfast
