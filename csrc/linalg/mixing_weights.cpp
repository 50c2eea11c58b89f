#include "linalg/mixing_weights.h"

#include <cmath>

#include "linalg/gamma_differences.h"
#include "runtime/compensated_sum.h"

namespace vbfast::linalg {

namespace {

double sum_of(const double* values, std::int64_t n) {
    runtime::CompensatedSum sum;
    for (std::int64_t i = 0; i < n; ++i) sum.add(values[i]);
    return sum.value();
}

}  // namespace

void dirichlet_expected_log(const double* concentration, std::int64_t n_components,
                            double* expected_log) {
    const double whole = sum_of(concentration, n_components);
    const double psi_of_whole = digamma_less_log(whole);
    for (std::int64_t k = 0; k < n_components; ++k) {
        const double own = concentration[k];
        expected_log[k] = -log_ratio(own, whole - own) + digamma_less_log(own) - psi_of_whole;
    }
}

double dirichlet_log_evidence(double prior_concentration, const double* counts,
                              std::int64_t n_components) {
    const double K = static_cast<double>(n_components);
    const double total = sum_of(counts, n_components);
    runtime::CompensatedSum each;
    for (std::int64_t k = 0; k < n_components; ++k)
        each.add(log_gamma_increment(prior_concentration, counts[k]));
    // What is linear in the counts, N_k log a_0 and N log(K a_0), is N log K together.
    return each.value() - log_gamma_increment(K * prior_concentration, total) - total * std::log(K);
}

void stick_expected_log(const double* taken, const double* left, std::int64_t n_components,
                        double* expected_log) {
    double remaining = 0.0;
    for (std::int64_t k = 0; k < n_components; ++k) {
        const double psi_of_whole = digamma_less_log(taken[k] + left[k]);
        const double own = digamma_less_log(taken[k]) - psi_of_whole - log_ratio(taken[k], left[k]);
        const double rest = digamma_less_log(left[k]) - psi_of_whole - log_ratio(left[k], taken[k]);
        expected_log[k] = own + remaining;
        remaining += rest;
    }
}

double stick_log_evidence(double gamma, const double* rows, const double* later,
                          std::int64_t n_components) {
    const double log_left = std::log1p(gamma), log_taken = log_ratio(gamma, 1.0);
    runtime::CompensatedSum sum;
    for (std::int64_t k = 0; k < n_components; ++k) {
        const double own = log_gamma_increment(1.0, rows[k]);
        const double others = log_gamma_increment(gamma, later[k]);
        const double both = log_gamma_increment(1.0 + gamma, rows[k] + later[k]);
        sum.add(own + others - both - rows[k] * log_left - later[k] * log_taken);
    }
    return sum.value();
}

}  // namespace vbfast::linalg
