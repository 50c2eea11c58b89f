// Batches of small matrices: the linear algebra of the global steps and of parameter gradients. All
// of it looks at `interrupt`, which may be null, at least between two blocks of columns, and throws
// Interrupted.
#pragma once

#include <cstdint>

#include "runtime/threads.h"

namespace vbfast::linalg {

// For each (D, D) covariance, row-major, the upper-triangular P with P P^T = covariance^-1. Returns
// the first component that is not positive definite (or not finite), else -1. The Cholesky factor
// of a matrix is one task, and each block of columns of its inverse another.
std::int64_t precision_cholesky(const double* covariances, std::int64_t n_components,
                                std::int64_t n_features, double* factors, int num_threads,
                                const runtime::Interrupt* interrupt);

// The sum of squares of B^-1 A for each pair of upper-triangular (D, D) matrices, row-major:
// factors A and denominators B, one for each factor or one for all. Parallel over components and
// blocks of columns.
void ratio_norms(const double* factors, const double* denominators, std::int64_t n_denominators,
                 std::int64_t n_components, std::int64_t n_features, double* norms, int num_threads,
                 const runtime::Interrupt* interrupt);

// U U^T for each upper-triangular (D, D) matrix U, row-major. Exactly symmetric. Parallel over
// components and blocks of columns.
void squares(const double* factors, std::int64_t n_components, std::int64_t n_features, double* out,
             int num_threads, const runtime::Interrupt* interrupt);

// out = M - (a b^T + b a^T) for each (D, D) matrix M, row-major, and vectors a, b. Exactly
// symmetric where M is.
void subtract_symmetric(const double* matrices, const double* a, const double* b,
                        std::int64_t n_components, std::int64_t n_features, double* out,
                        int num_threads, const runtime::Interrupt* interrupt);

// out = kept (M - (a b^T + b a^T)) + taken S for each (D, D) matrices M and S, row-major, and
// vectors a, b. Exactly symmetric where M and S are.
void average_moved(const double* matrices, const double* a, const double* b, double kept,
                   const double* others, double taken, std::int64_t n_components,
                   std::int64_t n_features, double* out, int num_threads,
                   const runtime::Interrupt* interrupt);

// Moments of n_matrices groups of Gaussians, about their means: n_vectors of them share a matrix.
struct MatrixMoments {
    const double* weight;  // (n_matrices,)
    const double* first;   // (n_matrices, n_vectors, D)
    const double* second;  // (n_matrices, D, D), symmetric
};

// Gradients of the sum of the log densities: in the means, shaped as the first moments; in the
// covariances, shaped as the second ones and exactly symmetric; in the precision factors, of the
// same shape and upper triangular. See kernels/linalg/gradients-inl.h. Parallel over blocks of
// columns.
void matrix_gradients(const MatrixMoments& moments, const double* factors, std::int64_t n_matrices,
                      std::int64_t n_vectors, std::int64_t n_features, double* in_means,
                      double* in_covariances, double* in_factors, int num_threads,
                      const runtime::Interrupt* interrupt);

// Replaces rows of standard normals, row-major and ordered by component, `counts` of each, by
// draws: mean + z P^-1, with the component's upper-triangular P, or the one of all. Parallel over
// rows.
void draw_rows(const double* factors, std::int64_t n_factors, const double* means,
               const std::int64_t* counts, std::int64_t n_components, std::int64_t n_features,
               double* rows, int num_threads, const runtime::Interrupt* interrupt);

}  // namespace vbfast::linalg
