// Lanes of SSE2, which every x86-64 processor has. Included inside the namespace of its target
// only.
#pragma once

#include <emmintrin.h>

template <class T>
struct Lanes;

template <>
struct Lanes<double> {
    using Scalar = double;
    using Mask = __m128d;
    static constexpr int width = 2;
    static constexpr int sums = 2;
    static constexpr bool has_lookup = false;  // see avx512.h
    __m128d v;

    static Lanes zero() { return {_mm_setzero_pd()}; }
    static Lanes set(double a) { return {_mm_set1_pd(a)}; }
    static Lanes load(const double* p) { return {_mm_loadu_pd(p)}; }
    void store(double* p) const { _mm_storeu_pd(p, v); }

    friend Lanes operator+(Lanes a, Lanes b) { return {_mm_add_pd(a.v, b.v)}; }
    friend Lanes operator-(Lanes a, Lanes b) { return {_mm_sub_pd(a.v, b.v)}; }
    friend Lanes operator*(Lanes a, Lanes b) { return {_mm_mul_pd(a.v, b.v)}; }
    friend Lanes operator/(Lanes a, Lanes b) { return {_mm_div_pd(a.v, b.v)}; }
    friend Lanes fma(Lanes a, Lanes b, Lanes c) { return a * b + c; }
    friend Lanes fnma(Lanes a, Lanes b, Lanes c) { return c - a * b; }
    friend Lanes max(Lanes a, Lanes b) { return {_mm_max_pd(a.v, b.v)}; }
    friend Lanes min(Lanes a, Lanes b) { return {_mm_min_pd(a.v, b.v)}; }
    friend Lanes sqrt(Lanes a) { return {_mm_sqrt_pd(a.v)}; }

    friend Mask less(Lanes a, Lanes b) { return _mm_cmplt_pd(a.v, b.v); }
    friend Mask equal(Lanes a, Lanes b) { return _mm_cmpeq_pd(a.v, b.v); }
    friend Mask not_less(Lanes a, Lanes b) { return _mm_cmpnlt_pd(a.v, b.v); }
    friend Lanes where(Mask m, Lanes a) { return {_mm_and_pd(m, a.v)}; }
    static Lanes select(Mask m, Lanes a, Lanes b) {
        return {_mm_or_pd(_mm_and_pd(m, a.v), _mm_andnot_pd(m, b.v))};
    }
    static unsigned bits(Mask m) { return static_cast<unsigned>(_mm_movemask_pd(m)); }

    // Added to |a| < 2^51 it rounds a to an integer n, and leaves n + bias in the lowest bits.
    static constexpr double integers = 0x1.8p52 + 1023;
    static Lanes power_of_two(Lanes shifted) {
        return {_mm_castsi128_pd(_mm_slli_epi64(_mm_castpd_si128(shifted.v), 52))};
    }
    // a = mantissa * 2^exponent with the mantissa in [1, 2), for normal positive a.
    static Lanes mantissa(Lanes a) {
        const __m128i fraction =
            _mm_and_si128(_mm_castpd_si128(a.v), _mm_set1_epi64x(0x000fffffffffffff));
        return {_mm_castsi128_pd(_mm_or_si128(fraction, _mm_castpd_si128(_mm_set1_pd(1.0))))};
    }
    static Lanes exponent(Lanes a) {
        const __m128i field = _mm_srli_epi64(_mm_castpd_si128(a.v), 52);
        const __m128i number = _mm_or_si128(field, _mm_castpd_si128(_mm_set1_pd(0x1p52)));
        return {_mm_sub_pd(_mm_castsi128_pd(number), _mm_set1_pd(0x1p52 + 1023))};
    }

    // c[i] += the sum of the lanes of a[i].
    static void add_sums(const Lanes* a, double* c) {
        const __m128d s =
            _mm_add_pd(_mm_unpacklo_pd(a[0].v, a[1].v), _mm_unpackhi_pd(a[0].v, a[1].v));
        _mm_storeu_pd(c, _mm_add_pd(_mm_loadu_pd(c), s));
    }

    // Accumulates lanes into float64 memory.
    void add_to(double* c) const { _mm_storeu_pd(c, _mm_add_pd(_mm_loadu_pd(c), v)); }

    // Rows i of `in` (at distance `stride`) become columns of `out`.
    static constexpr int columns = width;
    static void transpose_columns(const double* in, std::int64_t stride, double* out,
                                  std::int64_t out_stride) {
        transpose(in, stride, out, out_stride);
    }
    static void transpose(const double* in, std::int64_t stride, double* out,
                          std::int64_t out_stride) {
        const __m128d r0 = _mm_loadu_pd(in), r1 = _mm_loadu_pd(in + stride);
        _mm_storeu_pd(out, _mm_unpacklo_pd(r0, r1));
        _mm_storeu_pd(out + out_stride, _mm_unpackhi_pd(r0, r1));
    }
};

template <>
struct Lanes<float> {
    using Scalar = float;
    using Mask = __m128;
    static constexpr int width = 4;
    static constexpr int sums = 4;
    static constexpr bool has_lookup = false;  // see avx512.h
    __m128 v;

    static Lanes zero() { return {_mm_setzero_ps()}; }
    static Lanes set(float a) { return {_mm_set1_ps(a)}; }
    static Lanes load(const float* p) { return {_mm_loadu_ps(p)}; }
    void store(float* p) const { _mm_storeu_ps(p, v); }

    friend Lanes operator+(Lanes a, Lanes b) { return {_mm_add_ps(a.v, b.v)}; }
    friend Lanes operator-(Lanes a, Lanes b) { return {_mm_sub_ps(a.v, b.v)}; }
    friend Lanes operator*(Lanes a, Lanes b) { return {_mm_mul_ps(a.v, b.v)}; }
    friend Lanes operator/(Lanes a, Lanes b) { return {_mm_div_ps(a.v, b.v)}; }
    friend Lanes fma(Lanes a, Lanes b, Lanes c) { return a * b + c; }
    friend Lanes fnma(Lanes a, Lanes b, Lanes c) { return c - a * b; }
    friend Lanes max(Lanes a, Lanes b) { return {_mm_max_ps(a.v, b.v)}; }
    friend Lanes min(Lanes a, Lanes b) { return {_mm_min_ps(a.v, b.v)}; }
    friend Lanes sqrt(Lanes a) { return {_mm_sqrt_ps(a.v)}; }

    friend Mask less(Lanes a, Lanes b) { return _mm_cmplt_ps(a.v, b.v); }
    friend Mask equal(Lanes a, Lanes b) { return _mm_cmpeq_ps(a.v, b.v); }
    friend Mask not_less(Lanes a, Lanes b) { return _mm_cmpnlt_ps(a.v, b.v); }
    friend Lanes where(Mask m, Lanes a) { return {_mm_and_ps(m, a.v)}; }
    static Lanes select(Mask m, Lanes a, Lanes b) {
        return {_mm_or_ps(_mm_and_ps(m, a.v), _mm_andnot_ps(m, b.v))};
    }
    static unsigned bits(Mask m) { return static_cast<unsigned>(_mm_movemask_ps(m)); }

    static constexpr float integers = 0x1.8p23f + 127;
    static Lanes power_of_two(Lanes shifted) {
        return {_mm_castsi128_ps(_mm_slli_epi32(_mm_castps_si128(shifted.v), 23))};
    }
    static Lanes mantissa(Lanes a) {
        const __m128i fraction = _mm_and_si128(_mm_castps_si128(a.v), _mm_set1_epi32(0x007fffff));
        return {_mm_castsi128_ps(_mm_or_si128(fraction, _mm_castps_si128(_mm_set1_ps(1.0f))))};
    }
    static Lanes exponent(Lanes a) {
        const __m128i field = _mm_srli_epi32(_mm_castps_si128(a.v), 23);
        return {_mm_sub_ps(_mm_cvtepi32_ps(field), _mm_set1_ps(127))};
    }

    static void add_sums(const Lanes* a, double* c) {
        __m128 r0 = a[0].v, r1 = a[1].v, r2 = a[2].v, r3 = a[3].v;
        _MM_TRANSPOSE4_PS(r0, r1, r2, r3);
        Lanes{_mm_add_ps(_mm_add_ps(r0, r1), _mm_add_ps(r2, r3))}.add_to(c);
    }

    void add_to(double* c) const {
        _mm_storeu_pd(c, _mm_add_pd(_mm_loadu_pd(c), _mm_cvtps_pd(v)));
        const __m128d high = _mm_cvtps_pd(_mm_movehl_ps(v, v));
        _mm_storeu_pd(c + 2, _mm_add_pd(_mm_loadu_pd(c + 2), high));
    }

    static constexpr int columns = width;
    static void transpose_columns(const float* in, std::int64_t stride, float* out,
                                  std::int64_t out_stride) {
        transpose(in, stride, out, out_stride);
    }
    static void transpose(const float* in, std::int64_t stride, float* out,
                          std::int64_t out_stride) {
        __m128 r0 = _mm_loadu_ps(in), r1 = _mm_loadu_ps(in + stride);
        __m128 r2 = _mm_loadu_ps(in + 2 * stride), r3 = _mm_loadu_ps(in + 3 * stride);
        _MM_TRANSPOSE4_PS(r0, r1, r2, r3);
        _mm_storeu_ps(out, r0);
        _mm_storeu_ps(out + out_stride, r1);
        _mm_storeu_ps(out + 2 * out_stride, r2);
        _mm_storeu_ps(out + 3 * out_stride, r3);
    }
};

struct Blocking {
    static constexpr int row_vectors = 2;
    static constexpr int softmax_rows = 1;
    static constexpr int exponentials = 4;
    static constexpr int factor_columns = 4;
    static constexpr int factor_components = 4;
    static constexpr int diag_components = 2;
    static constexpr int distance_components = 4;
    static constexpr int moment_components = 4;
    static constexpr int moment_features = 2;
    static constexpr int moment_row_bytes = 1 << 10;
    static constexpr int triangle_features = 4;
    static constexpr int triangle_columns = 2;
    static constexpr int outer_rows = 4;
    static constexpr int outer_vectors = 2;
};
