// Normal-Wishart distributions of the means and precisions of Gaussian components (Bishop 2006,
// section 10.2): the posterior of given sums over rows, and terms of the bound. The formulae stand
// in contract/posteriors.py. Components are shared among threads; bits do not depend on how.
#pragma once

#include <cstdint>

#include "linalg/moment_sums.h"
#include "linalg/pattern.h"
#include "runtime/threads.h"

namespace vbfast::linalg {

// Distributions of K components, or one for all of them, whose arrays have no axis of components.
// Those of degrees and factors have none for a tied pattern either.
struct NormalWisharts {
    const double* mean_precision;
    const double* means;
    const double* degrees_of_freedom;
    const double* factor;  // P, with P P^T the expected precision; upper triangular, or roots
    bool one;
};

struct NormalWishartPrior {
    double mean_precision;
    const double* mean;  // (D,)
    double degrees_of_freedom;
    const double* covariance;  // the inverse of the scale matrix
};

// Where a posterior goes. Degrees, covariances and factors are shaped by the pattern.
struct NormalWishartOutputs {
    double* mean_precision;
    double* means;
    double* degrees_of_freedom;
    double* covariances;
    double* factor;
};

// The posterior of the sums, with `variance` added in every direction for each row and for
// `least_count` rows more. Returns the first component whose covariance is not positive definite,
// or not finite, else -1.
std::int64_t normal_wishart_posterior(Pattern pattern, std::int64_t n_components,
                                      std::int64_t n_features, const NormalWishartPrior& prior,
                                      const MomentSums& sums, double variance, double least_count,
                                      const NormalWishartOutputs& out, int num_threads,
                                      const runtime::Interrupt* interrupt);

// KL(q || r) of each component, (K,).
void normal_wishart_divergence(Pattern pattern, std::int64_t n_components, std::int64_t n_features,
                               const NormalWisharts& q, const NormalWisharts& r, double* divergence,
                               int num_threads, const runtime::Interrupt* interrupt);

// E[log N(x | mu, Lambda^-1)] at x = m of each component, (K,).
void expected_log_density(Pattern pattern, std::int64_t n_components, std::int64_t n_features,
                          const NormalWisharts& q, double* log_density, int num_threads,
                          const runtime::Interrupt* interrupt);

// E[log det Lambda] of Wishart distributions, shaped as their degrees of freedom, of which there
// are n_matrices.
void expected_log_det(Pattern pattern, std::int64_t n_matrices, std::int64_t n_features,
                      const double* degrees_of_freedom, const double* factor, double* log_det,
                      int num_threads, const runtime::Interrupt* interrupt);

}  // namespace vbfast::linalg
