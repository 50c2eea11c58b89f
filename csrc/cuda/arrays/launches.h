// Starts the kernels of a call.
#pragma once

#include "cuda/arrays/call.h"

namespace vbfast::cuda::arrays {

// How the slices of a call are taken.
struct Grid {
    bool by_lanes;          // by lanes of a warp, else by blocks
    int group;              // lanes of a slice
    bool many;              // many_bytes a lane
    std::int64_t n_blocks;  // of the reduction; of the kernel that finishes slices
    std::int64_t n_finishing;
};

// Numbers of a state of that reduction.
int count_of_state(Reduction reduction);

// Of slices of elements of `size` bytes; sets the call's columns, range and number of ranges.
Grid plan_grid(DeviceCall& call, int size, bool side_by_side);

// Without a map, mapping is null.
template <class T>
void launch_call(const DeviceCall& call, const Grid& grid, Reduction reduction,
                 const Mapping* mapping, cudaStream_t stream);

// Adds up the n partial sums of results in an order that follows from n.
void launch_sums(const double* partials, std::int64_t n, double* sums, cudaStream_t stream);

}  // namespace vbfast::cuda::arrays
