// The body of launches.h, one unit a precision.
#pragma once

#include "cuda/arrays/kernels.h"
#include "cuda/arrays/launches.h"

namespace vbfast::cuda::arrays {

namespace {

template <class T, class Op, class Map>
void launch_kernels(const DeviceCall& call, const Grid& grid, cudaStream_t stream) {
    const dim3 blocks(static_cast<unsigned>(grid.n_blocks)), threads(block_threads);
    constexpr std::size_t sums_bytes = block_threads / 32 * result_numbers * sizeof(double);
    if (grid.by_lanes) {
        const auto kernel = grid.many
                                ? reduce_lanes<T, Op, Map, many_bytes / static_cast<int>(sizeof(T))>
                                : reduce_lanes<T, Op, Map, few_bytes / static_cast<int>(sizeof(T))>;
        launch(kernel, blocks, dim3(lane_threads), sums_bytes, stream, call, grid.group);
        return;
    }
    launch(reduce_blocks<T, Op, Map>, blocks, threads, sizeof(Exchange<T>), stream, call);
    if (call.n_ranges == 1) return;
    launch(merge_ranges<T, Op, Map>, dim3(static_cast<unsigned>(grid.n_finishing)), threads,
           sums_bytes, stream, call);
    if constexpr (Map::outputs > 0) launch(map_ranges<T, Map>, blocks, threads, 0, stream, call);
}

}  // namespace

template <class T>
void launch_call(const DeviceCall& call, const Grid& grid, Reduction reduction,
                 const Mapping* mapping, cudaStream_t stream) {
    if (mapping != nullptr) switch (*mapping) {
            case Mapping::softmax:
                return launch_kernels<T, LogitsEntropy<T>, SoftmaxMap<T>>(call, grid, stream);
            case Mapping::log_softmax:
                return launch_kernels<T, SumExp<T>, LogSoftmaxMap<T>>(call, grid, stream);
            case Mapping::posterior_gradient:
                return launch_kernels<T, LogitsEntropy<T>, PosteriorGradientMap<T>>(call, grid,
                                                                                    stream);
            default:  // of both kinds of q
                return launch_kernels<T, Pair<T>, GradientMap<T>>(call, grid, stream);
        }
    switch (reduction) {
        case Reduction::sum_exp:
            return launch_kernels<T, SumExp<T>, NoMap>(call, grid, stream);
        case Reduction::scaled_sum_exp:
            return launch_kernels<T, ScaledSumExp<T>, NoMap>(call, grid, stream);
        case Reduction::logits_entropy:
            return launch_kernels<T, LogitsEntropy<T>, NoMap>(call, grid, stream);
        case Reduction::probs_entropy:
            return launch_kernels<T, ProbsEntropy<T>, NoMap>(call, grid, stream);
        default:  // of all kinds of pairs
            return launch_kernels<T, Pair<T>, NoMap>(call, grid, stream);
    }
}

}  // namespace vbfast::cuda::arrays
