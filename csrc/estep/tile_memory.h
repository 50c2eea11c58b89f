// Memory that one tile is worked on in.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/estep/tile.h"

namespace vbfast::estep {

// The length of a row whose features are in lanes.
std::int64_t padded_features(std::int64_t n_features);

// Points the scratch arrays of a tile into `memory`, which is aligned to a cache line, and returns
// the bytes that they take; with null it does only that. `raw` and `gradient`: whether the tile has
// these arrays. tile.whitened is left out, and null. Throws std::invalid_argument unless tile_rows
// is a multiple of group_rows.
template <class T>
std::size_t lay_out(Tile<T>& tile, std::int64_t tile_rows, int group_rows,
                    std::int64_t joint_stride, std::int64_t n_features, bool raw, bool gradient,
                    void* memory);

}  // namespace vbfast::estep
