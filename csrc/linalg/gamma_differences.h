// Differences of log-gamma and digamma functions that keep their digits at large arguments.
//
// At arguments of 1e12 log-gammas are 3e13, and of a difference that is a nat or less nothing is
// left. Here what cancels is taken out on paper. With Stirling's series (Abramowitz and Stegun
// 1964, eq. 6.1.40 and 6.3.18)
//
//     log Gamma(x) = (x - 1/2) log x - x + 1/2 log(2 pi) + R(x),
//
// differences are functions of the arguments' ratio, which is computed from their distance. Small
// arguments are first moved up by the recurrence Gamma(x + 1) = x Gamma(x).
//
// Relative errors are a few roundings, but for the increment, of two signs, whose error is relative
// to its terms. The reference backend's gamma_differences.py has the same formulae.
#pragma once

#include <cstdint>

namespace vbfast::linalg {

// log(1 + x) - x for x >= -1, which is about -x^2 / 2.
double log1p_less_argument(double x);

// x / y - 1 - log(x / y) for positive x and y = x + step; never negative.
double itakura_saito(double x, double y, double step);

// log((x + step) / x) for positive x and x + step.
double log_ratio(double x, double step);

// psi(x) - log x for positive x, which is about -1 / (2 x) where x is large.
double digamma_less_log(double x);

// The sum of psi(x - i / 2) - log(x - i / 2) over i from 0 to n - 1, all arguments positive.
double sum_digamma_less_log(double x, std::int64_t n);

// log Gamma(x + step) - log Gamma(x) - step log x for positive x and x + step.
double log_gamma_increment(double x, double step);

// log Gamma(x) - log Gamma(y) + step psi(y) with y = x + step, both positive; never negative.
double log_gamma_divergence(double x, double step);

// The sum of log_gamma_divergence(x - i / 2, step) over i from 0 to n - 1, all arguments positive.
double sum_log_gamma_divergence(double x, double step, std::int64_t n);

}  // namespace vbfast::linalg
