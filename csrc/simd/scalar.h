// One lane: for processors that no other header knows. Included inside the namespace of its target
// only.
#pragma once

#include <cmath>

template <class T>
struct Lanes {
    using Scalar = T;
    using Mask = bool;
    static constexpr int width = 1;
    static constexpr int sums = 1;
    static constexpr bool has_lookup = false;  // see avx512.h
    T v;

    static Lanes zero() { return {T(0)}; }
    static Lanes set(T a) { return {a}; }
    static Lanes load(const T* p) { return {*p}; }
    void store(T* p) const { *p = v; }

    friend Lanes operator+(Lanes a, Lanes b) { return {a.v + b.v}; }
    friend Lanes operator-(Lanes a, Lanes b) { return {a.v - b.v}; }
    friend Lanes operator*(Lanes a, Lanes b) { return {a.v * b.v}; }
    friend Lanes operator/(Lanes a, Lanes b) { return {a.v / b.v}; }
    friend Lanes fma(Lanes a, Lanes b, Lanes c) { return {a.v * b.v + c.v}; }
    friend Lanes fnma(Lanes a, Lanes b, Lanes c) { return {c.v - a.v * b.v}; }
    friend Lanes max(Lanes a, Lanes b) { return {a.v > b.v ? a.v : b.v}; }
    friend Lanes min(Lanes a, Lanes b) { return {a.v < b.v ? a.v : b.v}; }
    friend Lanes sqrt(Lanes a) { return {static_cast<T>(::sqrt(static_cast<double>(a.v)))}; }

    friend Mask less(Lanes a, Lanes b) { return a.v < b.v; }
    friend Mask equal(Lanes a, Lanes b) { return a.v == b.v; }
    friend Mask not_less(Lanes a, Lanes b) { return !(a.v < b.v); }
    friend Lanes where(Mask m, Lanes a) { return m ? a : zero(); }
    static Lanes select(Mask m, Lanes a, Lanes b) { return m ? a : b; }
    static unsigned bits(Mask m) { return m ? 1u : 0u; }

    // Added to |a| < 2^51 (2^22) it rounds a to an integer n; 2^n is zero where it is not normal.
    static constexpr T integers = T(sizeof(T) == 8 ? 0x1.8p52 : 0x1.8p23);
    static Lanes power_of_two(Lanes shifted) {
        const int n = static_cast<int>(shifted.v - integers);
        return {n > (sizeof(T) == 8 ? -1023 : -127) ? static_cast<T>(::ldexp(1.0, n)) : T(0)};
    }
    static Lanes mantissa(Lanes a) {
        int e;
        return {static_cast<T>(2 * ::frexp(static_cast<double>(a.v), &e))};
    }
    static Lanes exponent(Lanes a) {
        int e;
        ::frexp(static_cast<double>(a.v), &e);
        return {static_cast<T>(e - 1)};
    }

    static void add_sums(const Lanes* a, double* c) { c[0] += static_cast<double>(a[0].v); }
    void add_to(double* c) const { c[0] += static_cast<double>(v); }
    static constexpr int columns = width;
    static void transpose_columns(const T* in, std::int64_t stride, T* out,
                                  std::int64_t out_stride) {
        transpose(in, stride, out, out_stride);
    }
    static void transpose(const T* in, std::int64_t, T* out, std::int64_t) { out[0] = in[0]; }
};

struct Blocking {
    static constexpr int row_vectors = 4;
    static constexpr int softmax_rows = 4;
    static constexpr int exponentials = 4;
    static constexpr int factor_columns = 2;
    static constexpr int factor_components = 2;
    static constexpr int diag_components = 2;
    static constexpr int distance_components = 2;
    static constexpr int moment_components = 4;
    static constexpr int moment_features = 2;
    static constexpr int moment_row_bytes = 1 << 10;
    static constexpr int triangle_features = 2;
    static constexpr int triangle_columns = 2;
    static constexpr int outer_rows = 4;
    static constexpr int outer_vectors = 2;
};
