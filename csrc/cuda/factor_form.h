// Log-joints of components with a triangular factor: full, and tied where some component is far.
#pragma once

#include "cuda/chunk.h"
#include "cuda/model.h"
#include "cuda/platform.h"

namespace vbfast::cuda {

// How a factor is applied to rows of D features.
struct FactorPlan {
    int columns;        // of a block
    int rows;           // of a thread
    int line_multiple;  // one where the rows of a block of threads fit in shared memory as a whole
    std::size_t shared_bytes;
};

template <class T>
FactorPlan plan_factor(int n_features, std::size_t shared_bytes_limit);

// joint[k] = offset_k - 1/2 |(x - mean_k) P_k|^2.
template <class T>
void factor_log_joint(const Chunk<T>& chunk, const FactorLines<T>& model, int n_components,
                      const FactorPlan& plan, int multiprocessors, cudaStream_t stream);

// out = (x - mean) P of the first component, (chunk.n_rows(), D).
template <class T>
void whiten(const Chunk<T>& chunk, const FactorLines<T>& model, const FactorPlan& plan, T* out,
            cudaStream_t stream);

}  // namespace vbfast::cuda
