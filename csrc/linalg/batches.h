// Batches of small matrices: what the global steps need of linear algebra. Interruptible: they look
// at `interrupt` (or null) at least between two blocks of columns, and throw Interrupted.
#pragma once

#include <cstdint>

#include "runtime/threads.h"

namespace vbfast::linalg {

// For each (D, D) covariance, row-major, the upper-triangular P with P P^T = covariance^-1. Returns
// the first component that is not positive definite (or not finite), else -1. Blocks of columns are
// tasks of their own once a matrix has its Cholesky factor, which is one task: bits do not depend
// on the number of threads.
std::int64_t precision_cholesky(const double* covariances, std::int64_t n_components,
                                std::int64_t n_features, double* factors, int num_threads,
                                const runtime::Interrupt* interrupt);

// The sum of squares of B^-1 A for each pair of upper-triangular (D, D) matrices, row-major:
// factors A and denominators B, of which there is one for each factor or one for all. Parallel over
// components and blocks of columns.
void ratio_norms(const double* factors, const double* denominators, std::int64_t n_denominators,
                 std::int64_t n_components, std::int64_t n_features, double* norms, int num_threads,
                 const runtime::Interrupt* interrupt);

// out = M - (a b^T + b a^T) for each (D, D) matrix M, row-major, and vectors a, b. Exactly
// symmetric where M is.
void subtract_symmetric(const double* matrices, const double* a, const double* b,
                        std::int64_t n_components, std::int64_t n_features, double* out,
                        int num_threads, const runtime::Interrupt* interrupt);

// Moments of n_matrices Gaussians, about means of which n_vectors share a matrix.
struct MatrixMoments {
    const double* weight;  // (n_matrices,)
    const double* first;   // (n_matrices, n_vectors, D)
    const double* second;  // (n_matrices, D, D), symmetric
};

// The gradient of a log density's sum in the means, shaped as the first moments, and, shaped as the
// second, in the covariances (exactly symmetric) and in their precision factors, of which it is
// upper-triangular too; see kernels/linalg/gradients-inl.h. Parallel over blocks of columns.
void matrix_gradients(const MatrixMoments& moments, const double* factors, std::int64_t n_matrices,
                      std::int64_t n_vectors, std::int64_t n_features, double* in_means,
                      double* in_covariances, double* in_factors, int num_threads,
                      const runtime::Interrupt* interrupt);

}  // namespace vbfast::linalg
