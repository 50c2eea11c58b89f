// One thread a row; a candidate's distances are 128 bytes a warp.
#include "cuda/seeding.h"

#include "cuda/block_sums.h"

namespace vbfast::cuda {

namespace {

template <class T>
__global__ void __launch_bounds__(tile_rows)
    lower(Chunk<T> chunk, int n_candidates, const T* closest, T* lowered, double* tile_potentials) {
    double* of_warps = shared_memory<double>();
    const int thread = static_cast<int>(threadIdx.x);
    const TileOfRows tile = chunk.tiles[blockIdx.x];
    const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * tile_rows + thread;
    const bool there = thread < tile.n_rows;
    const double weight = there ? (chunk.weights ? chunk.weights[row] : 1.0) : 0.0;
    for (int l = 0; l < n_candidates; ++l) {
        double potential = 0;
        if (there) {
            const T distance = -chunk.joint[l * chunk.joint_stride + row];
            const T least = distance < closest[row] ? distance : closest[row];
            lowered[l * chunk.n_rows() + row] = least;
            if (weight > 0) potential = weight * static_cast<double>(least);
        }
        potential = sum_of_warp(potential);
        __syncthreads();
        if (thread % 32 == 0) of_warps[thread / 32] = potential;
        __syncthreads();
        if (thread > 0) continue;
        for (int warp = 1; warp < tile_rows / 32; ++warp) potential += of_warps[warp];
        tile_potentials[blockIdx.x * n_candidates + l] = potential;
    }
}

__global__ void sum_tiles(const Range* ranges, int n_ranges, int n_candidates,
                          const double* tile_potentials, double* potentials) {
    const int own = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (own >= n_ranges * n_candidates) return;
    const Range range = ranges[own / n_candidates];
    const int l = own % n_candidates;
    double sum = potentials[range.partition * n_candidates + l];
    for (int tile = range.first_tile; tile < range.last_tile; ++tile)
        sum += tile_potentials[tile * n_candidates + l];
    potentials[range.partition * n_candidates + l] = sum;
}

}  // namespace

template <class T>
void lower_distances(const Chunk<T>& chunk, int n_candidates, const T* closest, T* lowered,
                     double* tile_potentials, cudaStream_t stream) {
    launch(lower<T>, dim3(chunk.n_tiles), dim3(tile_rows), sizeof(double) * tile_rows / 32, stream,
           chunk, n_candidates, closest, lowered, tile_potentials);
}

void add_tile_potentials(const Range* ranges, int n_ranges, int n_candidates,
                         const double* tile_potentials, double* potentials, cudaStream_t stream) {
    launch(sum_tiles, dim3((n_ranges * n_candidates + 63) / 64), dim3(64), 0, stream, ranges,
           n_ranges, n_candidates, tile_potentials, potentials);
}

template void lower_distances(const Chunk<float>&, int, const float*, float*, double*,
                              cudaStream_t);
template void lower_distances(const Chunk<double>&, int, const double*, double*, double*,
                              cudaStream_t);

}  // namespace vbfast::cuda
