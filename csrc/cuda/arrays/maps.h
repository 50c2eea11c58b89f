// The maps: outputs of the size of the input, from elements and the parameters of their slice,
// which are computed in float64 and rounded to T once.
#pragma once

#include "cuda/arrays/lanes.h"

namespace vbfast::cuda::arrays {

template <class T>
struct Parameters {
    T of[n_parameters];
};

struct NoMap {
    static constexpr int inputs = 0, outputs = 0;
};

// NaN for a slice without a finite maximum, as SciPy's.
template <class T>
struct SoftmaxMap {
    static constexpr int inputs = 1, outputs = 1;
    __device__ static Parameters<T> find(Kinds, const T* reference, const double* sum,
                                         const double*, double) {
        const bool finite = is_finite(reference[0]);
        const double scale = 1 / (sum[sum_below] + sum[sum_at]);
        return {{or_zero_if_infinite(reference[0]), finite ? static_cast<T>(scale) : T(NAN)}};
    }
    __device__ static void apply(Kinds, T x, T, const Parameters<T>& p, T* out) {
        out[0] = std::exp(x - p.of[0]) * p.of[1];
    }
};

template <class T>
struct LogSoftmaxMap {
    static constexpr int inputs = 1, outputs = 1;
    __device__ static Parameters<T> find(Kinds, const T* reference, const double*,
                                         const double* result, double) {
        return {{or_zero_if_infinite(reference[0]), static_cast<T>(result[result_log_sum])}};
    }
    __device__ static void apply(Kinds, T x, T, const Parameters<T>& p, T* out) {
        out[0] = (x - p.of[0]) - p.of[1];
    }
};

// The bound's gradient is zero in a slice of zero weight, or whose log-joint is -inf throughout.
// Where the bound is not finite otherwise, that in the logits of q is NaN; that in the log-joint is
// q, NaN only where q is.

// At the posterior the bound is stationary in q. Where there is none, the scale is NaN.
template <class T>
struct PosteriorGradientMap {
    static constexpr int inputs = 1, outputs = 2;
    __device__ static Parameters<T> find(Kinds, const T* reference, const double* sum,
                                         const double*, double weight) {
        const bool finite = is_finite(reference[0]);
        const double s = sum[sum_below] + sum[sum_at];
        double scale = weight / s;
        if (!finite) scale = reference[0] < 0 && s == 0 ? 0.0 : double(NAN);
        if (weight == 0) scale = 0;
        return {{or_zero_if_infinite(reference[0]), static_cast<T>(scale)}};
    }
    __device__ static void apply(Kinds, T x, T, const Parameters<T>& p, T* out) {
        out[0] = p.of[1] * T(0);
        out[1] = p.of[1] == 0 ? T(0) : std::exp(x - p.of[0]) * p.of[1];
    }
};

// With d = q logits - p0, or log q of probabilities, and b = log-joint - p1: the gradients are
// q (b - d - p3) and q = exp(d) p2. An element without mass has gradient zero, but NaN where p3 is,
// as in all of a slice whose bound is not finite.
template <class T>
struct GradientMap {
    static constexpr int inputs = 2, outputs = 2;
    __device__ static Parameters<T> find(Kinds, const T* reference, const double* sum,
                                         const double*, double weight) {
        const double mass = sum[sum_below] + sum[sum_at];
        const double gap = sum[sum_q_log_p] - sum[sum_q_log_q];
        const bool q_finite = is_finite(reference[0]);
        const bool finite =
            q_finite && is_finite(reference[1]) && is_finite(gap) && is_finite(sum[sum_p]);
        const bool skipped = weight == 0 || (reference[1] < 0 && sum[sum_p] == 0);
        const double scale = skipped ? 0.0 : q_finite ? weight / mass : double(NAN);
        const double mean = skipped ? 0.0 : finite ? gap / mass : double(NAN);
        return {{or_zero_if_infinite(reference[0]), finite ? reference[1] : T(0),
                 static_cast<T>(scale), static_cast<T>(mean)}};
    }
    __device__ static void apply(Kinds kinds, T x, T y, const Parameters<T>& p, T* out) {
        const T d = kinds.q_logits ? x - p.of[0] : std::log(x);
        const T e = kinds.q_logits ? std::exp(d) : x;
        const T q = p.of[2] == 0 ? T(0) : e * p.of[2];
        out[0] = q == 0 ? p.of[3] * T(0) : q * ((y - p.of[1]) - d - p.of[3]);
        out[1] = q;
    }
};

// Writes what a map makes of the elements of a chunk.
template <class Map, class T, int E>
__device__ inline void write_map(const DeviceCall& call, const Slice& slice,
                                 const Parameters<T>& parameters, const T (&x)[E], const T (&y)[E],
                                 std::int64_t begin, std::int64_t end, int rank, int size) {
    using vbfast::arrays::place_out0;
    constexpr int V = vector_length<T>, second = place_out0 + Map::outputs - 1;
    char* first_out = slice.data<char>(call, place_out0);
    char* second_out = slice.data<char>(call, second);
    const bool columns = call.columns > 1;
#pragma unroll
    for (int i = 0; i < E; i += V) {
        Vector<T> values[2];
#pragma unroll
        for (int j = 0; j < V; ++j) {
            T out[2];
            Map::apply(call.kinds, x[i + j], y[Map::inputs > 1 ? i + j : 0], parameters, out);
            for (int k = 0; k < Map::outputs; ++k) values[k].of[j] = out[k];
        }
        store(call.operands[place_out0], first_out, begin, end, i, rank, size, columns, values[0]);
        if constexpr (Map::outputs > 1)
            store(call.operands[second], second_out, begin, end, i, rank, size, columns, values[1]);
    }
}

}  // namespace vbfast::cuda::arrays
