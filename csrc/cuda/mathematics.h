// Mathematics of single elements, the same on the host and on the device.
#pragma once

#include <cfloat>
#include <cmath>
#include <cstdint>

#include "cuda/platform.h"

namespace vbfast::cuda {

template <class T>
__host__ __device__ constexpr T infinite() {
    return static_cast<T>(HUGE_VAL);
}

template <class T>
__host__ __device__ inline bool is_finite(T value) {
    return value - value == T(0);
}

// The nearest finite number: infinity times a difference of zero would be NaN. NaN stays NaN.
template <class T>
__host__ __device__ inline T as_finite(double value) {
    constexpr double largest = sizeof(T) == 4 ? FLT_MAX : DBL_MAX;
    if (value > largest) return static_cast<T>(largest);
    return static_cast<T>(value < -largest ? -largest : value);
}

// The log-joint of a squared distance that is halved already. A square that is NaN, of a difference
// that overflowed and met a zero of the factor, is infinite.
template <class T>
__host__ __device__ inline T log_joint_of(T offset, T half_square) {
    return half_square < infinite<T>() ? offset - half_square : -infinite<T>();
}

// log sum_k exp(l_k) and the entropy of softmax(l), one l_k at a time.
//
// `sum` is sum_k exp(l_k - largest), and `spread` is sum_k exp(l_k - largest) (l_k - largest).
// Log-joints at +inf share the mass; of nothing but -inf the sum is zero.
template <class T>
struct LogSumExp {
    T largest = -infinite<T>();
    T sum = 0, spread = 0;
    int label = 0;  // the first k with the largest l_k

    __host__ __device__ void add(T l, int k) {
        if (!(l > -infinite<T>())) return;
        if (l > largest) {
            const T step = largest - l;  // -inf the first time
            const T e = std::exp(step);
            spread = e > 0 ? e * (spread + sum * step) : T(0);
            sum = sum * e + T(1);
            largest = l;
            label = k;
        } else {
            const T step = l == largest ? T(0) : l - largest;
            const T e = std::exp(step);
            sum += e;
            if (e > 0) spread += e * step;
        }
    }
    // exp(l - log sum).
    __host__ __device__ T responsibility(T l) const {
        if (!(l > -infinite<T>())) return T(0);
        return std::exp(l == largest ? T(0) : l - largest) / sum;
    }
    __host__ __device__ bool impossible() const { return !(sum > T(0)); }
    __host__ __device__ T log_evidence() const {
        return impossible() ? -infinite<T>() : largest + std::log(sum);
    }
    // Not negative.
    __host__ __device__ T entropy() const {
        if (impossible()) return T(0);
        const T h = std::log(sum) - spread / sum;
        return h > T(0) ? h : T(0);
    }
};

// mantissa 2^exponent, with a mantissa of 1/2 to 1 in size, or zero.
struct ScaledNumber {
    double mantissa;
    int exponent;
};

// sum_d x_d theta_d where terms, or sums of them, may be beyond T: the terms are added up relative
// to the largest one so far.
template <class T>
__host__ __device__ inline ScaledNumber scaled_product(const T* x, const T* theta,
                                                       std::int64_t theta_stride, int n_features) {
    ScaledNumber sum = {0, 0};
    for (int d = 0; d < n_features; ++d) {
        int of_x, of_theta;
        const double term = std::frexp(static_cast<double>(x[d]), &of_x) *
                            std::frexp(static_cast<double>(theta[d * theta_stride]), &of_theta);
        if (term == 0) continue;
        const int exponent = of_x + of_theta;
        if (sum.mantissa == 0 || exponent > sum.exponent) {
            sum.mantissa = std::ldexp(sum.mantissa, sum.exponent - exponent);
            sum.exponent = exponent;
        }
        sum.mantissa += std::ldexp(term, exponent - sum.exponent);
    }
    int more;
    sum.mantissa = std::frexp(sum.mantissa, &more);
    sum.exponent += more;
    return sum;
}

}  // namespace vbfast::cuda
