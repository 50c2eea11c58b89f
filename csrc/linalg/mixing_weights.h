// Posteriors of mixing weights: Dirichlet, and stick-breaking.
#pragma once

#include <cstdint>

namespace vbfast::linalg {

// E[log pi_k] of a Dirichlet distribution (Bishop 2006, eq. 10.66).
void dirichlet_expected_log(const double* concentration, std::int64_t n_components,
                            double* expected_log);

// log C(a_0, ..., a_0) - log C(a_0 + N_1, ..., a_0 + N_K) with C a Dirichlet distribution's
// normaliser (Bishop 2006, eq. B.23).
double dirichlet_log_evidence(double prior_concentration, const double* counts,
                              std::int64_t n_components);

// E[log v_k] + sum_{j<k} E[log (1 - v_j)] with v_k ~ Beta(taken_k, left_k).
void stick_expected_log(const double* taken, const double* left, std::int64_t n_components,
                        double* expected_log);

// sum_k log B(1 + rows_k, gamma + later_k) - log B(1, gamma).
double stick_log_evidence(double gamma, const double* rows, const double* later,
                          std::int64_t n_components);

}  // namespace vbfast::linalg
