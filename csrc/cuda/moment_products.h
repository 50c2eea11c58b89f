// sum r d d^T by tensor cores.
#pragma once

#include "cuda/summary.h"

namespace vbfast::cuda {

// As add_second_moments, where squares stay in the range of T.
template <class T>
void add_moment_products(const Chunk<T>& chunk, const T* centres, int n_components, bool pooled,
                         const PartialSums& partial, cudaStream_t stream);

}  // namespace vbfast::cuda
