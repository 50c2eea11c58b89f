// The operations of the reductions. Each has
//   observe   updates the references by an element;
//   terms     what an element adds to the sums, about the references (zero where those are
//             infinite);
//   rescale   moves float64 sums from one set of references to another;
//   finish    makes the results from references and sums.
//
// Of logits, the exponentials below the largest (`below`) and at it (`at`) are summed apart, so
// that the logarithm is right for a small rest. A NaN is lost by the references but not by the
// sums. A reference of +inf is left to the caller.
//
// Error: exponentials and logarithms are the device's, good to two ulp of T. Terms of eight
// elements are added up in T, pair by pair, and beyond that in float64.
#pragma once

#include <cmath>

#include "cuda/arrays/call.h"
#include "cuda/mathematics.h"

namespace vbfast::cuda::arrays {

using vbfast::arrays::result_elbo;
using vbfast::arrays::result_entropy;
using vbfast::arrays::result_expected;
using vbfast::arrays::result_kl;
using vbfast::arrays::result_log_evidence;
using vbfast::arrays::result_log_sum;
using vbfast::arrays::result_sign;

enum Sum : int { sum_below, sum_at, sum_q_log_q, sum_q_log_p, sum_p };
constexpr int sum_squares = sum_q_log_q;  // of factors

template <class T, int n>
struct Terms {
    T of[n];
};

template <class T>
__device__ inline T or_zero_if_infinite(T a) {
    return is_finite(a) ? a : T(0);
}

// Zero or NaN.
__device__ inline double nan_of(double a) {
    return a == a ? 0.0 : a;
}

// Not negative, or NaN.
__device__ inline double not_negative(double a) {
    return a < 0 ? 0.0 : a;
}

// How far sums move when their reference rises: zero where it stays, infinite included.
__device__ inline double fall(double from, double to) {
    return from == to ? 0.0 : from - to;
}

// The logarithm of a sum of exponentials, about the largest.
__device__ inline double log_of_sum(const double* sum) {
    return std::log(sum[sum_at]) + std::log1p(sum[sum_below] / sum[sum_at]);
}

// Adds what is at the largest to what is below, where there is a larger one now.
__device__ inline double rescale_mass(double from, double to, double* sum) {
    const double f = std::exp(fall(from, to));
    if (from < to) {
        sum[sum_below] = f * (sum[sum_below] + sum[sum_at]);
        sum[sum_at] = 0;
    }
    return f;
}

template <class T>
struct SumExp {
    static constexpr int inputs = 1, references = 1, sums = 2;
    static constexpr bool settles = false;

    __device__ static T fill(Kinds, int) { return -infinite<T>(); }
    __device__ static void clear(Kinds, T* reference) { reference[0] = -infinite<T>(); }
    __device__ static void observe(Kinds, T x, T, T* reference) {
        if (x > reference[0]) reference[0] = x;
    }
    __device__ static Terms<T, sums> terms(Kinds, T x, T, const T* base) {
        const T d = x - base[0], e = std::exp(d);
        return d < 0 ? Terms<T, sums>{{e, T(0)}} : Terms<T, sums>{{T(0), e}};
    }
    __device__ static void rescale(Kinds, const T* from, const T* to, double* sum) {
        rescale_mass(static_cast<double>(from[0]), static_cast<double>(to[0]), sum);
    }
    __device__ static void finish(Kinds, const T* reference, const double* sum, double* result) {
        const double nan = nan_of(sum[sum_below] + sum[sum_at]);
        const double log_sum = sum[sum_at] > 0 ? log_of_sum(sum) : -HUGE_VAL;
        result[result_log_sum] = log_sum + nan;
        result[result_log_evidence] =
            (sum[sum_at] > 0 ? static_cast<double>(reference[0]) + log_sum : log_sum) + nan;
        result[result_sign] = (sum[sum_at] > 0 ? 1.0 : 0.0) + nan;
    }
};

// Sums b exp(a); elements of b = 0 count for nothing, whatever a is.
template <class T>
struct ScaledSumExp {
    static constexpr int inputs = 2, references = 1, sums = 3;
    static constexpr bool settles = true;

    __device__ static T fill(Kinds, int input) { return input == 0 ? -infinite<T>() : T(0); }
    __device__ static void clear(Kinds, T* reference) { reference[0] = -infinite<T>(); }
    __device__ static void observe(Kinds, T x, T y, T* reference) {
        if (y != 0 && x > reference[0]) reference[0] = x;
    }
    __device__ static Terms<T, sums> terms(Kinds, T x, T y, const T* base) {
        if (y == 0) return {{T(0), T(0), T(0)}};
        const T d = x - base[0], e = std::exp(d) * y;
        return d < 0 ? Terms<T, sums>{{e, T(0), y * y}} : Terms<T, sums>{{T(0), e, y * y}};
    }
    __device__ static void rescale(Kinds, const T* from, const T* to, double* sum) {
        rescale_mass(static_cast<double>(from[0]), static_cast<double>(to[0]), sum);
    }
    // With factors of both signs a sum may be anything: as finish_scaled of the CPU's.
    __device__ static void finish(Kinds, const T* reference, const double* sum, double* result) {
        const double rest = sum[sum_below], at = sum[sum_at], ratio = rest / at;
        double log_sum, sign;
        if (at == 0 || !(std::fabs(ratio) < 0.5)) {
            const double all = at + rest;
            log_sum = std::log(std::fabs(all));
            sign = all > 0 ? 1 : all < 0 ? -1 : all * 0;
        } else {
            log_sum = std::log(std::fabs(at)) + std::log1p(ratio);
            sign = at > 0 ? 1 : -1;
        }
        const double largest = static_cast<double>(reference[0]);
        result[result_log_evidence] = largest > -HUGE_VAL ? largest + log_sum : log_sum;
        result[result_sign] = sign;
        result[result_log_sum] = log_sum;
    }
};

template <class T>
struct LogitsEntropy {
    static constexpr int inputs = 1, references = 1, sums = 3;
    static constexpr bool settles = false;

    __device__ static T fill(Kinds, int) { return -infinite<T>(); }
    __device__ static void clear(Kinds, T* reference) { reference[0] = -infinite<T>(); }
    __device__ static void observe(Kinds, T x, T, T* reference) {
        if (x > reference[0]) reference[0] = x;
    }
    __device__ static Terms<T, sums> terms(Kinds, T x, T, const T* base) {
        const T d = x - base[0], e = std::exp(d), cross = e > 0 ? e * d : T(0);
        return d < 0 ? Terms<T, sums>{{e, T(0), cross}} : Terms<T, sums>{{T(0), e, cross}};
    }
    __device__ static void rescale(Kinds, const T* from_, const T* to_, double* sum) {
        const double from = static_cast<double>(from_[0]), to = static_cast<double>(to_[0]);
        const double mass = sum[sum_below] + sum[sum_at], f = rescale_mass(from, to, sum);
        sum[sum_q_log_q] = f > 0 ? f * (sum[sum_q_log_q] + fall(from, to) * mass) : 0.0;
    }
    __device__ static void finish(Kinds, const T* reference, const double* sum, double* result) {
        const bool some = sum[sum_at] > 0;
        const double s = sum[sum_below] + sum[sum_at], nan = nan_of(s);
        const double log_s = log_of_sum(sum);
        const double evidence =
            (some ? static_cast<double>(reference[0]) + log_s : -HUGE_VAL) + nan;
        const double entropy = (some ? not_negative(log_s - sum[sum_q_log_q] / s) : 0.0) + nan;
        result[result_log_evidence] = result[result_elbo] = evidence;
        result[result_entropy] = entropy;
        result[result_expected] = evidence - entropy;
        result[result_kl] = nan;
    }
};

template <class T>
struct ProbsEntropy {
    static constexpr int inputs = 1, references = 1, sums = 3;
    static constexpr bool settles = false;

    __device__ static T fill(Kinds, int) { return T(0); }
    __device__ static void clear(Kinds, T* reference) { reference[0] = infinite<T>(); }
    __device__ static void observe(Kinds, T x, T, T* reference) {
        if (x < reference[0]) reference[0] = x;
    }
    __device__ static Terms<T, sums> terms(Kinds, T x, T, const T*) {
        return {{x, T(0), x > 0 ? x * std::log(x) : T(0)}};
    }
    __device__ static void rescale(Kinds, const T*, const T*, double*) {}
    __device__ static void finish(Kinds, const T*, const double* sum, double* result) {
        const double s = sum[sum_below];
        result[result_entropy] = not_negative(std::log(s) - sum[sum_q_log_q] / s) + nan_of(s);
        result[result_log_evidence] = result[result_expected] = result[result_kl] =
            result[result_elbo] = 0;
    }
};

// (q, p), where p may be a log-joint. With e proportional to q and logarithms about the references:
// sums of e, e log e, e log p and p, from which every term of the bound follows.
template <class T>
struct Pair {
    static constexpr int inputs = 2, references = 2, sums = 5;
    static constexpr bool settles = true;

    __device__ static T fill(Kinds kinds, int input) {
        return (input == 0 ? kinds.q_logits : kinds.p_logits) ? -infinite<T>() : T(0);
    }
    __device__ static void clear(Kinds kinds, T* reference) {
        reference[0] = kinds.q_logits ? -infinite<T>() : infinite<T>();
        reference[1] = kinds.p_logits ? -infinite<T>() : infinite<T>();
    }
    __device__ static void observe(Kinds kinds, T q, T p, T* reference) {
        if (kinds.q_logits ? q > reference[0] : q < reference[0]) reference[0] = q;
        if (kinds.p_logits ? p > reference[1] : p < reference[1]) reference[1] = p;
    }
    __device__ static Terms<T, sums> terms(Kinds kinds, T q, T p, const T* base) {
        const T log_e = kinds.q_logits ? q - base[0] : std::log(q);
        const T e = kinds.q_logits ? std::exp(log_e) : q;
        const T log_p = kinds.p_logits ? p - base[1] : std::log(p);
        const T exp_p = kinds.p_logits ? std::exp(log_p) : p;
        const bool some = e > 0;  // zero mass times -inf is zero
        const T q_log_q = some ? e * log_e : T(0), q_log_p = some ? e * log_p : T(0);
        const bool at = kinds.q_logits && !(log_e < 0);
        return {{at ? T(0) : e, at ? e : T(0), q_log_q, q_log_p, exp_p}};
    }
    __device__ static void rescale(Kinds kinds, const T* from, const T* to, double* sum) {
        if (kinds.p_logits) {
            const double p_from = static_cast<double>(from[1]);
            const double d = fall(p_from, static_cast<double>(to[1]));
            // From -inf there is nothing to move: the sum is zero or -inf already. A fall that
            // overflows makes it infinite or NaN: see settle_overflow.
            if (p_from > -HUGE_VAL && d != 0)
                sum[sum_q_log_p] += d * (sum[sum_below] + sum[sum_at]);
            sum[sum_p] *= std::exp(d);
        }
        if (kinds.q_logits) {
            const double q_from = static_cast<double>(from[0]), q_to = static_cast<double>(to[0]);
            const double mass = sum[sum_below] + sum[sum_at], f = rescale_mass(q_from, q_to, sum);
            sum[sum_q_log_q] = f > 0 ? f * (sum[sum_q_log_q] + fall(q_from, q_to) * mass) : 0.0;
            sum[sum_q_log_p] = f > 0 ? f * sum[sum_q_log_p] : 0.0;
        }
    }
    __device__ static void finish(Kinds kinds, const T* reference, const double* sum,
                                  double* result) {
        const double mass = sum[sum_below] + sum[sum_at];
        const bool some = sum[sum_p] > 0;
        const double log_q = kinds.q_logits ? log_of_sum(sum) : std::log(mass);
        const double log_p = std::log(some ? sum[sum_p] : 1.0);
        const double base =
            kinds.p_logits ? or_zero_if_infinite(static_cast<double>(reference[1])) : 0.0;
        const double nan = nan_of(mass), any_nan = nan + nan_of(sum[sum_p]);
        const double entropy = not_negative(log_q - sum[sum_q_log_q] / mass) + nan;
        const double expected = base + sum[sum_q_log_p] / mass + any_nan;
        const double gap = (sum[sum_q_log_q] - sum[sum_q_log_p]) / mass;
        const double kl = not_negative(gap - log_q + log_p) + any_nan;
        result[result_log_evidence] = (some ? base + log_p : -HUGE_VAL) + any_nan;
        result[result_entropy] = (some ? entropy : 0.0) + nan;
        result[result_expected] = (some ? expected : -HUGE_VAL) + any_nan;
        result[result_kl] = (some ? kl : 0.0) + any_nan;
        result[result_elbo] = (some ? expected + entropy : -HUGE_VAL) + any_nan;
    }
};

// The terms of elements first to first + count - 1, added up pair by pair.
template <class Op, int first, int count, class T, int E>
__device__ inline Terms<T, Op::sums> sum_terms(Kinds kinds, const T (&x)[E], const T (&y)[E],
                                               const T* base) {
    if constexpr (count == 1) {
        return Op::terms(kinds, x[first], y[Op::inputs > 1 ? first : 0], base);
    } else {
        Terms<T, Op::sums> a = sum_terms<Op, first, count / 2>(kinds, x, y, base);
        const Terms<T, Op::sums> b =
            sum_terms<Op, first + count / 2, count - count / 2>(kinds, x, y, base);
        for (int k = 0; k < Op::sums; ++k) a.of[k] += b.of[k];
        return a;
    }
}

// Adds the terms of elements, eight at a time.
template <class Op, int first = 0, class T, int E>
__device__ inline void add_terms(Kinds kinds, const T (&x)[E], const T (&y)[E], const T* base,
                                 double* sum) {
    constexpr int count = E - first < 8 ? E - first : 8;
    const Terms<T, Op::sums> terms = sum_terms<Op, first, count>(kinds, x, y, base);
    for (int k = 0; k < Op::sums; ++k) sum[k] += static_cast<double>(terms.of[k]);
    if constexpr (first + count < E) add_terms<Op, first + count>(kinds, x, y, base, sum);
}

}  // namespace vbfast::cuda::arrays
