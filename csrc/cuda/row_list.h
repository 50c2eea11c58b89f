// What kernels that sum products of features share.
#pragma once

#include <cstdint>

#include "cuda/chunk.h"
#include "cuda/platform.h"

namespace vbfast::cuda {

// Block row and column of a block of a lower triangle, which are counted row by row.
struct TriangleBlock {
    int row = 0, column;

    __device__ explicit TriangleBlock(int number) : column(number) {
        while (column > row) column -= ++row;
    }
};

// Lists the rows of a tile whose responsibility is not zero, in their order, and returns how many
// there are. `list` has tile_rows numbers, and `counts` tile_rows / 32. All threads of a block call
// it.
template <int n_threads, class T>
__device__ int list_rows(const T* resp, int n_rows, std::int16_t* list, int* counts) {
    const int thread = static_cast<int>(threadIdx.x), warp = thread / 32, lane = thread % 32;
    constexpr int warps = tile_rows / 32;
    unsigned taken[tile_rows / n_threads];
#pragma unroll
    for (int i = 0; i < tile_rows / n_threads; ++i) {
        const int row = i * n_threads + thread;
        taken[i] = __ballot_sync(0xffffffffu, row < n_rows && resp[row] != T(0));
        if (lane == 0) counts[i * (n_threads / 32) + warp] = __popc(taken[i]);
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < tile_rows / n_threads; ++i) {
        int place = __popc(taken[i] & ((1u << lane) - 1));
        for (int before = 0; before < i * (n_threads / 32) + warp; ++before)
            place += counts[before];
        if (taken[i] >> lane & 1) list[place] = static_cast<std::int16_t>(i * n_threads + thread);
    }
    int n = 0;
    for (int i = 0; i < warps; ++i) n += counts[i];
    __syncthreads();
    return n;
}

}  // namespace vbfast::cuda
