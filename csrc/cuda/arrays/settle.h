// Slices whose results the sums do not tell: their elements are looked at once more, in float64, by
// the lanes that have the slice. They are rare. See arrays/settle.h, whose answers these are.
#pragma once

#include "cuda/arrays/lanes.h"

namespace vbfast::cuda::arrays {

// Calls f(x, y) for the elements of a slice that are this lane's.
template <class T, class F>
__device__ inline void each_element(const DeviceCall& call, const Slice& slice, Lanes lanes, F f) {
    using vbfast::arrays::place_x;
    using vbfast::arrays::place_y;
    const char* x = slice.data<const char>(call, place_x);
    const char* y = slice.data<const char>(call, place_y);
    const std::int64_t x_stride = call.operands[place_x].reduced;
    const std::int64_t y_stride = call.operands[place_y].reduced;
    for (std::int64_t i = lanes.rank(); i < call.n_elements; i += lanes.size())
        f(static_cast<double>(*reinterpret_cast<const T*>(x + i * x_stride)),
          static_cast<double>(*reinterpret_cast<const T*>(y + i * y_stride)));
}

// Whether the sums of b exp(a) about the largest a hold. They do not with an infinite factor, with
// one so large that an exponential taken for zero could count, or where the sum cancelled or
// rounded to nothing.
template <class T>
__device__ inline bool scaled_sums_hold(T reference, const double* sum) {
    constexpr bool is_double = sizeof(T) == 8;
    constexpr double wide = is_double ? 1e200 : 1e30, least = is_double ? 1e-290 : 1e-30;
    constexpr double part = is_double ? 1e-200 : 1e-30;
    const double squares = sum[sum_squares], all = sum[sum_below] + sum[sum_at];
    if (reference == -infinite<T>()) return squares < wide;
    return reference < infinite<T>() && squares < wide && std::fabs(all) > least &&
           all * all > part * squares;
}

// b exp(d) = factor 2^exponent for finite b and -1500 < d <= 0, of numbers that have no end.
struct ScaledTerm {
    __device__ ScaledTerm(double b, double d) {
        constexpr double ln2_high = 0x1.62e42fee00000p-1, ln2_low = 0x1.a39ef35793c76p-33;
        const double n = std::nearbyint(d / 0.69314718055994530942);
        factor = std::frexp(b, &exponent) * std::exp((d - n * ln2_high) - n * ln2_low);
        exponent += static_cast<int>(n);
    }
    double factor;
    int exponent;
};

// A sum whose rounding is added up apart.
struct ExactSum {
    double sum = 0, lost = 0;

    __device__ void add(double value) {
        const double next = sum + value, part = next - sum;
        lost += (sum - (next - part)) + (value - part);
        sum = next;
    }
    // Over the lanes.
    __device__ double total(Lanes lanes) const {
        ExactSum all = *this;
        for (int step = lanes.low; step < lanes.high; step *= 2) {
            const double other = __shfl_xor_sync(0xffffffffu, all.sum, step);
            all.lost += __shfl_xor_sync(0xffffffffu, all.lost, step);
            all.add(other);
        }
        return all.sum + all.lost;
    }
};

template <class T>
__device__ inline void settle_scaled(const DeviceCall& call, const Slice& slice, Lanes lanes,
                                     double* result) {
    constexpr double negligible = -1500;  // the least and the largest factor are 1e632 apart
    constexpr int no_exponent = -(1 << 28);
    int nan = 0, positive = 0, negative = 0;
    double largest = -HUGE_VAL;
    each_element<T>(call, slice, lanes, [&](double a, double b) {
        if (b == 0) return;
        const bool b_infinite = std::fabs(b) == HUGE_VAL;
        if (a != a || b != b || (b_infinite && a == -HUGE_VAL)) nan = 1;
        if (a == HUGE_VAL || b_infinite) (b > 0 ? positive : negative) = 1;
        if (is_finite(a) && a > largest) largest = a;
    });
    nan = lanes.largest(nan);
    positive = lanes.largest(positive);
    negative = lanes.largest(negative);
    largest = lanes.largest(largest);
    const auto each_term = [&](auto f) {
        each_element<T>(call, slice, lanes, [&](double a, double b) {
            if (b != 0 && a - largest > negligible) f(ScaledTerm(b, a - largest));
        });
    };
    const bool sums = !nan && !positive && !negative && largest > -HUGE_VAL;
    int exponent = no_exponent;
    if (sums)
        each_term([&](ScaledTerm term) {
            if (term.exponent > exponent) exponent = term.exponent;
        });
    exponent = lanes.largest(exponent);
    ExactSum terms;
    if (sums)
        each_term(
            [&](ScaledTerm term) { terms.add(std::ldexp(term.factor, term.exponent - exponent)); });
    const double sum = terms.total(lanes);
    double log_sum = -HUGE_VAL, sign = 0;
    if (nan || (positive && negative)) {
        log_sum = sign = NAN;
    } else if (positive || negative) {
        log_sum = HUGE_VAL;
        sign = positive ? 1 : -1;
    } else if (sums) {
        log_sum = largest + (exponent * 0.69314718055994530942 + std::log(std::fabs(sum)));
        sign = sum > 0 ? 1 : sum < 0 ? -1 : 0;
    }
    result[result_log_evidence] = result[result_log_sum] = log_sum;
    result[result_sign] = sign;
}

// For a pair (q, logits of p) whose sum of q log p is not finite: where that only overflowed,
// writes the results, and changes the state so that gradients follow from it, about the expected
// logit in the place of the largest.
template <class Op, class T>
__device__ inline void settle_overflow(const DeviceCall& call, const Slice& slice, Lanes lanes,
                                       State<Op, T>& state, double* result) {
    const double q_reference = static_cast<double>(state.reference[0]);
    const bool q_logits = call.kinds.q_logits;
    const auto mass_of = [&](double q) { return q_logits ? std::exp(q - q_reference) : q; };
    ExactSum masses;
    int endless = 0;
    each_element<T>(call, slice, lanes, [&](double q, double p) {
        const double e = mass_of(q);
        masses.add(e);
        if (p != p || e != e || (e > 0 && p == -HUGE_VAL)) endless = 1;
    });
    const double total = masses.total(lanes);
    endless = lanes.largest(endless);
    // Halves, since the distance of two numbers may overflow.
    const double half_evidence = result[result_log_evidence] / 2;
    ExactSum half, half_kl;
    each_element<T>(call, slice, lanes, [&](double q, double p) {
        const double e = mass_of(q), share = e / total;
        if (!(share > 0)) return;
        const double log_share = (q_logits ? q - q_reference : std::log(e)) - std::log(total);
        half.add(share * (p / 2));
        half_kl.add(share * (log_share / 2 + (half_evidence - p / 2)));
    });
    const double expected = 2 * half.total(lanes), kl = 2 * half_kl.total(lanes);
    if (endless) return;
    result[result_expected] = expected;
    result[result_elbo] = expected + result[result_entropy];
    result[result_kl] = not_negative(kl);
    state.reference[1] = static_cast<T>(expected);
    state.sum[sum_q_log_p] = (state.sum[sum_below] + state.sum[sum_at]) *
                             (expected - static_cast<double>(state.reference[1]));
}

// The results of a slice that has +inf among its logits, which the sums do not tell.
template <class Op, class T>
__device__ inline void settle_infinite(const DeviceCall& call, const State<Op, T>& state,
                                       double* result) {
    constexpr bool pair = Op::references > 1;
    const bool joint_infinite =
        state.reference[Op::references - 1] == infinite<T>() && (!pair || call.kinds.p_logits);
    if (!joint_infinite) {  // q that is +inf somewhere is no distribution
        if (pair && call.kinds.q_logits)
            result[result_entropy] = result[result_expected] = result[result_kl] =
                result[result_elbo] = NAN;
        return;
    }
    const double mass = pair ? state.sum[sum_p] : state.sum[sum_below] + state.sum[sum_at];
    const double value = mass == mass ? HUGE_VAL : double(NAN);
    result[result_log_evidence] = value;
    if constexpr (Op::sums == 2) {
        result[result_log_sum] = value;
        result[result_sign] = mass == mass ? 1 : NAN;
        return;
    }
    if (!pair) result[result_entropy] = NAN;
    result[result_expected] = result[result_kl] = result[result_elbo] = NAN;
}

}  // namespace vbfast::cuda::arrays
