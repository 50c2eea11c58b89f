#include "loops/forms.h"

#include <algorithm>

namespace vbfast::loops {

estep::Form form_of(linalg::Pattern pattern) {
    switch (pattern) {
        case linalg::Pattern::full:
            return estep::Form::full;
        case linalg::Pattern::tied:
            return estep::Form::tied;
        case linalg::Pattern::diag:
            return estep::Form::diag;
        default:
            return estep::Form::spherical;
    }
}

void spread_floor(linalg::Pattern pattern, std::int64_t n_components, std::int64_t n_features,
                  const double* weight, double variance, const double* covariance, double* floor) {
    const std::int64_t K = n_components, D = n_features;
    const bool tied = pattern == linalg::Pattern::tied;
    const std::int64_t stride = linalg::has_matrices(pattern)           ? D + 1
                                : pattern == linalg::Pattern::spherical ? 0
                                                                        : 1;
    if (tied) std::fill_n(floor, D, 0.0);
    for (std::int64_t k = 0; k < K; ++k)
        for (std::int64_t i = 0; i < D; ++i) {
            const double own = variance * weight[k] + (covariance ? covariance[i * stride] : 0.0);
            if (tied)
                floor[i] += own;
            else
                floor[k * D + i] = own;
        }
}

}  // namespace vbfast::loops
