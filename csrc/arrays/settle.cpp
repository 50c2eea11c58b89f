#include "arrays/settle.h"

#include <cmath>
#include <limits>

#include "runtime/compensated_sum.h"
#include "runtime/numbers.h"

namespace vbfast::arrays {

namespace {

using runtime::infinity;
using runtime::not_a_number;

constexpr double ln2 = 0.69314718055994530942;

// The least and the largest factor are 1e632 apart: an exponential that is smaller yet counts for
// nothing.
constexpr double negligible = -1500;

// b exp(d) = factor 2^exponent for finite b and negligible < d <= 0, of numbers that have no end.
struct ScaledTerm {
    ScaledTerm(double b, double d) {
        constexpr double ln2_high = 0x1.62e42fee00000p-1, ln2_low = 0x1.a39ef35793c76p-33;
        const double n = std::nearbyint(d / ln2);
        factor = std::frexp(b, &exponent) * std::exp((d - n * ln2_high) - n * ln2_low);
        exponent += static_cast<int>(n);
    }
    double factor;
    int exponent;
};

// Calls f(x, y) for each element of a slice until it returns false. Returns false if it ever did.
template <class T, class F>
bool each_element(const Plan& plan, const Position& slice, Scratch<T>& scratch, F f) {
    const Operand &x = plan.operand(place_x), &y = plan.operand(place_y);
    const char *x_base = x.data + slice.offset(x.outer), *y_base = y.data + slice.offset(y.outer);
    Position along = plan.element(0);
    for (std::int64_t i = 0; i < plan.n_elements; ++i, along.advance()) {
        const T a = *reinterpret_cast<const T*>(x_base + along.offset(x.reduced));
        const T b = *reinterpret_cast<const T*>(y_base + along.offset(y.reduced));
        scratch.done(1);
        if (!f(static_cast<double>(a), static_cast<double>(b))) return false;
    }
    return true;
}

}  // namespace

template <class T>
bool scaled_sums_hold(const double* state, std::int64_t plane) {
    // Exponentials below 1e-307 (4e-38) are zero. Factors are at most the root of `wide`; their
    // sum is no less than `least`, and than the root of `part` of the largest.
    constexpr bool is_double = sizeof(T) == 8;
    constexpr double wide = is_double ? 1e200 : 1e30, least = is_double ? 1e-290 : 1e-30;
    constexpr double part = is_double ? 1e-200 : 1e-30;
    const double reference = state[0], squares = state[3 * plane];
    const double sum = state[plane] + state[2 * plane];
    if (reference == -infinity) return squares < wide;
    return reference < infinity && squares < wide && std::abs(sum) > least &&
           sum * sum > part * squares;
}

template <class T>
void settle_scaled(const Plan& plan, const Position& slice, double* results, Scratch<T>& scratch) {
    bool nan = false, positive = false, negative = false;
    double largest = -infinity;
    each_element<T>(plan, slice, scratch, [&](double a, double b) {
        if (b == 0) return true;
        nan = nan || std::isnan(a) || std::isnan(b) || (std::isinf(b) && a == -infinity);
        if (a == infinity || std::isinf(b)) (b > 0 ? positive : negative) = true;
        if (std::isfinite(a)) largest = std::max(largest, a);
        return true;
    });
    double log_sum = -infinity, sign = 0;
    if (nan || (positive && negative)) {
        log_sum = sign = not_a_number;
    } else if (positive || negative) {
        log_sum = infinity;
        sign = positive ? 1 : -1;
    } else if (largest > -infinity) {
        const auto each_term = [&](auto f) {
            each_element<T>(plan, slice, scratch, [&](double a, double b) {
                if (b != 0 && a - largest > negligible) f(ScaledTerm(b, a - largest));
                return true;
            });
        };
        int exponent = std::numeric_limits<int>::min();
        each_term([&](ScaledTerm term) { exponent = std::max(exponent, term.exponent); });
        runtime::CompensatedSum terms;
        each_term(
            [&](ScaledTerm term) { terms.add(std::ldexp(term.factor, term.exponent - exponent)); });
        const double sum = terms.value();
        log_sum = largest + (exponent * ln2 + std::log(std::abs(sum)));
        sign = sum > 0 ? 1 : sum < 0 ? -1 : 0;
    }
    results[result_log_evidence * plan.plane] = results[result_log_sum * plan.plane] = log_sum;
    results[result_sign * plan.plane] = sign;
}

template <class T>
bool settle_overflow(const Plan& plan, const Position& slice, bool q_logits, double* state,
                     double* results, Scratch<T>& scratch) {
    constexpr double none_below = sizeof(T) == 8 ? -707 : -86;  // as the kernels' exponentials
    const std::int64_t plane = plan.plane;
    const double q_reference = state[0];
    const auto mass = [&](double q) {
        if (!q_logits) return q;
        return q - q_reference < none_below ? 0 : std::exp(q - q_reference);
    };
    runtime::CompensatedSum
        masses;  // in float64: what is lost beside one is lost of the largest numbers
    const bool finite = each_element<T>(plan, slice, scratch, [&](double q, double p) {
        const double e = mass(q);
        masses.add(e);
        return !std::isnan(p) && !std::isnan(e) && !(e > 0 && p == -infinity);
    });
    if (!finite) return false;
    const double total = masses.value();
    // Halves, since the distance of two numbers may overflow.
    const double half_evidence = results[result_log_evidence * plane] / 2;
    runtime::CompensatedSum half, half_kl;
    each_element<T>(plan, slice, scratch, [&](double q, double p) {
        const double e = mass(q), share = e / total;
        if (share == 0) return true;
        const double log_share = (q_logits ? q - q_reference : std::log(e)) - std::log(total);
        half.add(share * (p / 2));
        half_kl.add(share * (log_share / 2 + (half_evidence - p / 2)));
        return true;
    });
    const double expected = 2 * half.value();
    results[result_expected * plane] = expected;
    results[result_elbo * plane] = expected + results[result_entropy * plane];
    results[result_kl * plane] = std::max(0.0, 2 * half_kl.value());
    state[plane] = static_cast<double>(static_cast<T>(expected));
    state[4 * plane] = state[2 * plane] * (expected - state[plane]);
    return true;
}

template bool scaled_sums_hold<float>(const double*, std::int64_t);
template bool scaled_sums_hold<double>(const double*, std::int64_t);
template void settle_scaled<float>(const Plan&, const Position&, double*, Scratch<float>&);
template void settle_scaled<double>(const Plan&, const Position&, double*, Scratch<double>&);
template bool settle_overflow<float>(const Plan&, const Position&, bool, double*, double*,
                                     Scratch<float>&);
template bool settle_overflow<double>(const Plan&, const Position&, bool, double*, double*,
                                      Scratch<double>&);

}  // namespace vbfast::arrays
