// The gradient of the evidence in the rows.
#pragma once

#include "cuda/chunk.h"
#include "cuda/model.h"
#include "cuda/platform.h"

namespace vbfast::cuda {

// From responsibilities in chunk.joint to sum_k q_k P_k P_k^T (mean_k - x), (chunk.n_rows(), D).
// `work` is (2 D, chunk.n_rows()).
template <class T>
void factor_gradient(const Chunk<T>& chunk, const FactorLines<T>& model, int n_components, T* work,
                     T* out, cudaStream_t stream);

// sum_k q_k scale_k^2 (mean_k - x), with 2 half_precision for scale^2 where the distance is plain,
// or sum_k q_k theta_k.
template <class T>
void distance_gradient(const Chunk<T>& chunk, Distance kind, const DistanceModel<T>& model,
                       int n_components, T* out, cudaStream_t stream);

}  // namespace vbfast::cuda
