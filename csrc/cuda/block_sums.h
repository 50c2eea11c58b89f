// Sums over the threads of a warp, in a fixed tree.
#pragma once

#include "cuda/platform.h"

namespace vbfast::cuda {

__device__ inline double sum_of_warp(double value) {
    for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(0xffffffffu, value, step);
    return value;
}

__device__ inline double least_of_warp(double value) {
    for (int step = 16; step > 0; step /= 2) {
        const double other = __shfl_xor_sync(0xffffffffu, value, step);
        value = other < value ? other : value;
    }
    return value;
}

}  // namespace vbfast::cuda
