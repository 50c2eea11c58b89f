// From log-joints to responsibilities, the terms of the bound, and the outputs of a chunk.
#pragma once

#include "cuda/chunk.h"
#include "cuda/platform.h"
#include "kernels/estep/tile.h"

namespace vbfast::cuda {

using estep::Assignment;
using RowSums = estep::TileSums;

// total += sums.
__host__ __device__ inline void add(const RowSums& sums, RowSums& total) {
    total.weight += sums.weight;
    total.log_evidence += sums.log_evidence;
    total.expected_log_joint += sums.expected_log_joint;
    total.entropy += sums.entropy;
    total.kl += sums.kl;
    if (sums.lowest_log_evidence < total.lowest_log_evidence)
        total.lowest_log_evidence = sums.lowest_log_evidence;
}

// Rows whose every log-joint is -inf, in no order.
struct ImpossibleRows {
    unsigned long long* count;
    std::int64_t* rows;  // by TileOfRows::output_row
};

// Outputs of the rows of a chunk, on the device; null where they are not wanted.
template <class T>
struct ChunkOutputs {
    T* log_evidence;
    std::int64_t* labels;
    T* resp;  // (chunk.n_rows(), K)
    T* entropy;
    T* expected_log_joint;
    T* log_joint;  // (chunk.n_rows(), K)
};

template <class T>
struct PosteriorRequest {
    Assignment assignment;
    bool entropy;     // the terms of the bound are wanted, not the evidence alone
    bool summed;      // chunk.joint is to have weighted responsibilities
    bool unweighted;  // or responsibilities themselves
    // Of 'given', of the rows of the chunk: (n_rows, K) or (n_rows,); the other one is null.
    const T* given;
    const std::int64_t* given_labels;
    ChunkOutputs<T> outputs;
    RowSums* tile_sums;         // (n_tiles,)
    ImpossibleRows impossible;  // null where nobody asks
};

template <class T>
void find_responsibilities(const Chunk<T>& chunk, int n_components,
                           const PosteriorRequest<T>& request, cudaStream_t stream);

// chunk.joint times the rows' weights.
template <class T>
void weigh(const Chunk<T>& chunk, int n_components, cudaStream_t stream);

// sums[partition] += the tiles' sums, tile after tile.
void add_tile_sums(const Range* ranges, int n_ranges, const RowSums* tile_sums, RowSums* sums,
                   cudaStream_t stream);

}  // namespace vbfast::cuda
