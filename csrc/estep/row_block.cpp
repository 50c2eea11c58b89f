#include "estep/row_block.h"

namespace vbfast::estep {

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

template void point_at(Tile<float>&, const RowBlock&, std::int64_t, std::int64_t, std::int64_t);
template void point_at(Tile<double>&, const RowBlock&, std::int64_t, std::int64_t, std::int64_t);

}  // namespace vbfast::estep
