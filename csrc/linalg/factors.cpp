#include "linalg/factors.h"

#include <cmath>
#include <vector>

#include "linalg/batches.h"
#include "linalg/ordered_sum.h"
#include "runtime/numbers.h"

namespace vbfast::linalg {

std::int64_t precision_factors(Pattern pattern, std::int64_t n_components, std::int64_t n_features,
                               const double* covariances, double* factors, int num_threads,
                               const runtime::Interrupt* interrupt) {
    if (has_matrices(pattern))
        return precision_cholesky(covariances, count_matrices(pattern, n_components), n_features,
                                  factors, num_threads, interrupt);
    const std::int64_t size = pattern_size(pattern, n_features);
    for (std::int64_t i = 0; i < n_components * size; ++i) {
        if (!(covariances[i] > 0.0 && covariances[i] < runtime::infinity)) return i / size;
        factors[i] = 1.0 / std::sqrt(covariances[i]);
    }
    return -1;
}

double log_det_of_factor(Pattern pattern, const double* factor, std::int64_t n_features) {
    if (pattern == Pattern::spherical) return static_cast<double>(n_features) * std::log(*factor);
    const std::int64_t stride = has_matrices(pattern) ? n_features + 1 : 1;
    double sum = 0.0;
    for (std::int64_t i = 0; i < n_features; ++i) sum += std::log(factor[i * stride]);
    return sum;
}

double trace_of_precision(Pattern pattern, const double* factor, std::int64_t n_features) {
    const std::int64_t size = pattern_size(pattern, n_features);
    std::vector<double> squares(factor, factor + size);
    for (double& value : squares) value *= value;
    const double sum = sum_as_numpy(squares.data(), size);
    return pattern == Pattern::spherical ? static_cast<double>(n_features) * sum : sum;
}

void gaussian_offsets(Pattern pattern, std::int64_t n_components, std::int64_t n_features,
                      const double* weights, const double* factors, double* offsets) {
    const double constant = 0.5 * static_cast<double>(n_features) * runtime::log_two_pi;
    const std::int64_t size = pattern_size(pattern, n_features);
    double log_det = 0.0;
    for (std::int64_t k = 0; k < n_components; ++k) {
        if (k < count_matrices(pattern, n_components))
            log_det = log_det_of_factor(pattern, factors + k * size, n_features);
        offsets[k] = std::log(weights[k]) - constant + log_det;
    }
}

}  // namespace vbfast::linalg
