// Precision Cholesky factors of a batch of covariances, and how factors compare.
#pragma once

#include <cstdint>

#include "threads.h"

namespace vbfast {

// For each (D, D) covariance, row-major, the upper-triangular P with P P^T = covariance^-1 and the
// logarithm of its determinant. Returns the first component that is not positive definite (or not
// finite), else -1. One component is one task, so bits do not depend on the number of threads.
std::int64_t precision_cholesky(const double* covariances, std::int64_t n_components,
                                std::int64_t n_features, double* factors, double* log_det,
                                int num_threads);

// The sum of squares of B^-1 A for each pair of upper-triangular (D, D) matrices, row-major:
// factors A and denominators B. Parallel over the components as above.
void ratio_norms(const double* factors, const double* denominators, std::int64_t n_components,
                 std::int64_t n_features, double* norms, int num_threads);

}  // namespace vbfast
