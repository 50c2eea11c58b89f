// The summary step: weighted moments of the rows about the components' centres.
#pragma once

#include "cuda/chunk.h"
#include "cuda/platform.h"

namespace vbfast::cuda {

// Where the sums of a partition lie, in float64.
struct PartialSums {
    double* sums;         // of partition 0
    std::int64_t stride;  // from one partition to the next
    // Offsets in a partition: (K,), (K, D), and second moments; -1 where there are none.
    std::int64_t weight, first, second;
};

// Adds sum r, sum r d and, where `diagonal`, sum r d^2, with d the rows less the centres (K, D).
// `extreme`: squares of the rows may leave the range of T.
template <class T>
void add_first_moments(const Chunk<T>& chunk, const T* centres, int n_components, bool diagonal,
                       bool extreme, const PartialSums& partial, cudaStream_t stream);

// Adds sum r d d^T, lower triangles of D (D + 1) / 2 numbers row by row: one for each component, or
// where `pooled` one for all.
template <class T>
void add_second_moments(const Chunk<T>& chunk, const T* centres, int n_components, bool pooled,
                        bool extreme, const PartialSums& partial, cudaStream_t stream);

// chunk.joint of component 0 becomes that of all: sum_k r_k.
template <class T>
void sum_components(const Chunk<T>& chunk, int n_components, T* sums, cudaStream_t stream);

// merged = the sum of all partitions, one after the other, `size` numbers.
void merge_partitions(const double* sums, std::int64_t size, int n_partitions, double* merged,
                      cudaStream_t stream);

}  // namespace vbfast::cuda
