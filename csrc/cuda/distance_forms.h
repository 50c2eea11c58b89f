// Log-joints of components that need no triangular factor: diagonal, spherical, linear, and tied
// ones of whitened rows.
#pragma once

#include "cuda/chunk.h"
#include "cuda/model.h"
#include "cuda/platform.h"

namespace vbfast::cuda {

// joint[k] = offset_k - 1/2 |(x - mean_k) scale_k|^2, offset_k - half_precision_k |x - mean_k|^2 or
// offset_k + x theta_k, by the kind of distance.
template <class T>
void distance_log_joint(const Chunk<T>& chunk, Distance kind, const DistanceModel<T>& model,
                        int n_components, cudaStream_t stream);

}  // namespace vbfast::cuda
