#include "linalg/gamma_differences.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

namespace vbfast::linalg {

namespace {

// From here on six terms of R are exact to rounding.
constexpr int least = 16;

// R is 1 / x, and its derivative 1 / x^2, times these polynomials in 1 / x^2.
constexpr double stirling[] = {1.0 / 12,    -1.0 / 360, 1.0 / 1260,
                               -1.0 / 1680, 1.0 / 1188, -691.0 / 360360};
constexpr double derivative[] = {-1 * stirling[0], -3 * stirling[1], -5 * stirling[2],
                                 -7 * stirling[3], -9 * stirling[4], -11 * stirling[5]};

// Up to here log(1 + x) - x would cancel; sixteen terms of its series in x / (2 + x) are exact.
constexpr double near_zero = 0.5;
// artanh(r) / r - 1, in r^2.
constexpr double artanh[] = {0.0,      1.0 / 3,  1.0 / 5,  1.0 / 7,  1.0 / 9,  1.0 / 11,
                             1.0 / 13, 1.0 / 15, 1.0 / 17, 1.0 / 19, 1.0 / 21, 1.0 / 23,
                             1.0 / 25, 1.0 / 27, 1.0 / 29, 1.0 / 31, 1.0 / 33};

template <std::size_t n>
double polynomial(const double (&coefficients)[n], double x) {
    double value = coefficients[n - 1];
    for (std::size_t i = n - 1; i > 0; --i) value = coefficients[i - 1] + value * x;
    return value;
}

bool is_near(double x) {
    return std::abs(x) <= near_zero;
}

// log(1 + x) - x of x near zero.
double log1p_series(double x) {
    // log(1 + x) = 2 artanh(r), and 2 r - x = -x r.
    const double r = x / (2.0 + x);
    return r * (2.0 * polynomial(artanh, r * r) - x);
}

// log(numerator / denominator), also where the quotient is no normal number.
double log_quotient(double numerator, double denominator) {
    const double quotient = numerator / denominator;
    if (quotient > 1e-290 && quotient < 1e290) return std::log(quotient);
    return std::log(numerator) - std::log(denominator);
}

// R(x).
double remainder(double x) {
    const double inverse = 1.0 / x;
    return polynomial(stirling, inverse * inverse) * inverse;
}

// R(low) - R(high) + step R'(high), with high = low + step and u = step / high.
//
// Of x^-p that is u^2 sum_{j=1}^p (p - j + 1) low^-j high^(j-p), a sum of positive terms, which is
// made of that for p - 1 and of sum_{j=1}^p low^-j high^(j-p).
double remainder_divergence(double low, double high, double u) {
    const double by_low = 1.0 / low, by_high = 1.0 / high;
    double power = 1.0, plain = 0.0, weighted = 0.0, result = 0.0;
    for (int p = 1; p <= 11; ++p) {
        power *= by_low;
        plain = by_high * plain + power;
        weighted = by_high * weighted + plain;
        if (p % 2 == 1) result += stirling[p / 2] * weighted;
    }
    return result * u * u;
}

// The sum over i from 0 to n - 1 of a function at x - i / 2: whole(x) at the first two, and from
// there on down by the recurrence, function(x) = function(x + 1) + change(x). Neither changes its
// sign, so that no digits are lost.
template <class Whole, class Change>
double sum_by_halves(double x, std::int64_t n, Whole whole, Change change) {
    double sum = 0.0;
    double at[2] = {0.0, 0.0};
    for (std::int64_t i = 0; i < n; ++i) {
        const double y = x - 0.5 * static_cast<double>(i);
        double& value = at[i % 2];
        value = i < 2 ? whole(y) : value + change(y);
        sum += value;
    }
    return sum;
}

// Whether x or x + step is below `least`.
bool is_small(double x, double step) {
    return std::min(x, x + step) < least;
}

}  // namespace

double log1p_less_argument(double x) {
    if (is_near(x)) return log1p_series(x);
    return x == HUGE_VAL ? -HUGE_VAL : std::log1p(x) - x;
}

double itakura_saito(double x, double y, double step) {
    const double u = step / y;
    return is_near(u) ? -log1p_series(-u) : -log_quotient(x, y) - u;
}

double log_ratio(double x, double step) {
    const double u = step / x;
    return is_near(u) ? std::log1p(u) : log_quotient(x + step, x);
}

double digamma_less_log(double x) {
    // psi(x) - log x is that of x + 1, and log(1 + 1 / x) - 1 / x.
    if (!(x > 0.0)) return std::numeric_limits<double>::quiet_NaN();
    double moved = 0.0;
    for (; x < least; x += 1.0) moved += log1p_less_argument(1.0 / x);
    const double inverse = 1.0 / x, square = inverse * inverse;
    return -0.5 * inverse + polynomial(derivative, square) * square + moved;
}

double sum_digamma_less_log(double x, std::int64_t n) {
    const auto change = [](double y) {
        return y > 0.0 ? log1p_less_argument(1.0 / y) : std::numeric_limits<double>::quiet_NaN();
    };
    return sum_by_halves(x, n, digamma_less_log, change);
}

double log_gamma_increment(double x, double step) {
    const bool small = is_small(x, step);
    const double low = small ? x + least : x, high = low + step;
    const double v = step / low, logs = log_ratio(low, step);
    // low ((1 + v) log(1 + v) - v)
    const double main =
        is_near(v) ? low * ((1.0 + v) * log1p_series(v) + v * v) : high * logs - step;
    double result = main - 0.5 * logs + remainder(high) - remainder(low);
    if (small) {
        result += step * (std::log(low) - std::log(x));
        for (int i = 0; i < least; ++i) result -= log_ratio(x + i, step);
    }
    return result;
}

double log_gamma_divergence(double x, double step) {
    const bool small = is_small(x, step);
    const double low = small ? x + least : x, high = low + step;
    const double u = step / high, ratio = low / high;  // ratio = 1 - u
    const double curved = -itakura_saito(low, high, step);
    // high ((1 - u) log(1 - u) + u), less what is left of the halves of the logarithms
    double result = high * (ratio * curved + u * u) - 0.5 * curved;
    result += remainder_divergence(low, high, u);
    if (small)
        for (int i = 0; i < least; ++i) result += itakura_saito(x + i, x + step + i, step);
    return result;
}

double sum_log_gamma_divergence(double x, double step, std::int64_t n) {
    return sum_by_halves(
        x, n, [step](double y) { return log_gamma_divergence(y, step); },
        [step](double y) { return itakura_saito(y, y + step, step); });
}

}  // namespace vbfast::linalg
