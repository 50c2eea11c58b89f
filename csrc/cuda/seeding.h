// k-means++ on the device: potentials of candidates for the next centre.
#pragma once

#include "cuda/chunk.h"
#include "cuda/platform.h"

namespace vbfast::cuda {

// From chunk.joint, minus the squared distances of the candidates, to min(closest, distance) in
// `lowered` (n_candidates, n_rows of the chunk), and each tile's potentials (n_tiles,
// n_candidates). `closest` is of the rows of the chunk.
template <class T>
void lower_distances(const Chunk<T>& chunk, int n_candidates, const T* closest, T* lowered,
                     double* tile_potentials, cudaStream_t stream);

// potentials[partition] (n_candidates,) += the tiles' potentials, tile after tile.
void add_tile_potentials(const Range* ranges, int n_ranges, int n_candidates,
                         const double* tile_potentials, double* potentials, cudaStream_t stream);

}  // namespace vbfast::cuda
