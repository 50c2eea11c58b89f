// Factors of precisions, of any pattern: P with P P^T the precision, upper triangular, or roots.
#pragma once

#include <cstdint>

#include "linalg/pattern.h"
#include "runtime/threads.h"

namespace vbfast::linalg {

// Factors of the inverses of covariances. Returns the first component whose covariance is not
// positive definite, or not finite, else -1.
std::int64_t precision_factors(Pattern pattern, std::int64_t n_components, std::int64_t n_features,
                               const double* covariances, double* factors, int num_threads,
                               const runtime::Interrupt* interrupt);

// log det P of one factor.
double log_det_of_factor(Pattern pattern, const double* factor, std::int64_t n_features);

// tr P P^T of one factor, its squares added up as NumPy adds them.
double trace_of_precision(Pattern pattern, const double* factor, std::int64_t n_features);

// log pi_k - D / 2 log(2 pi) + log det P_k of each component, (K,): the log-joint of a mixture at
// the components' means. -inf for a component without weight.
void gaussian_offsets(Pattern pattern, std::int64_t n_components, std::int64_t n_features,
                      const double* weights, const double* factors, double* offsets);

}  // namespace vbfast::linalg
