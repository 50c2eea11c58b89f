// Lanes of AVX2 with FMA. Included inside the namespace of its target only.
#pragma once

#include <immintrin.h>

template <class T>
struct Lanes;

template <>
struct Lanes<double> {
    using Scalar = double;
    using Mask = __m256d;
    static constexpr int width = 4;
    static constexpr int sums = 4;
    static constexpr bool has_lookup = false;  // see avx512.h
    __m256d v;

    static Lanes zero() { return {_mm256_setzero_pd()}; }
    static Lanes set(double a) { return {_mm256_set1_pd(a)}; }
    static Lanes load(const double* p) { return {_mm256_loadu_pd(p)}; }
    void store(double* p) const { _mm256_storeu_pd(p, v); }

    friend Lanes operator+(Lanes a, Lanes b) { return {_mm256_add_pd(a.v, b.v)}; }
    friend Lanes operator-(Lanes a, Lanes b) { return {_mm256_sub_pd(a.v, b.v)}; }
    friend Lanes operator*(Lanes a, Lanes b) { return {_mm256_mul_pd(a.v, b.v)}; }
    friend Lanes operator/(Lanes a, Lanes b) { return {_mm256_div_pd(a.v, b.v)}; }
    friend Lanes fma(Lanes a, Lanes b, Lanes c) { return {_mm256_fmadd_pd(a.v, b.v, c.v)}; }
    friend Lanes fnma(Lanes a, Lanes b, Lanes c) { return {_mm256_fnmadd_pd(a.v, b.v, c.v)}; }
    friend Lanes max(Lanes a, Lanes b) { return {_mm256_max_pd(a.v, b.v)}; }
    friend Lanes min(Lanes a, Lanes b) { return {_mm256_min_pd(a.v, b.v)}; }
    friend Lanes sqrt(Lanes a) { return {_mm256_sqrt_pd(a.v)}; }

    friend Mask less(Lanes a, Lanes b) { return _mm256_cmp_pd(a.v, b.v, _CMP_LT_OQ); }
    friend Mask equal(Lanes a, Lanes b) { return _mm256_cmp_pd(a.v, b.v, _CMP_EQ_OQ); }
    friend Mask not_less(Lanes a, Lanes b) { return _mm256_cmp_pd(a.v, b.v, _CMP_NLT_UQ); }
    friend Lanes where(Mask m, Lanes a) { return {_mm256_and_pd(m, a.v)}; }
    static Lanes select(Mask m, Lanes a, Lanes b) { return {_mm256_blendv_pd(b.v, a.v, m)}; }
    static unsigned bits(Mask m) { return static_cast<unsigned>(_mm256_movemask_pd(m)); }

    // Added to |a| < 2^51 it rounds a to an integer n, and leaves n + bias in the lowest bits.
    static constexpr double integers = 0x1.8p52 + 1023;
    static Lanes power_of_two(Lanes shifted) {
        return {_mm256_castsi256_pd(_mm256_slli_epi64(_mm256_castpd_si256(shifted.v), 52))};
    }
    static Lanes mantissa(Lanes a) {
        const __m256i fraction =
            _mm256_and_si256(_mm256_castpd_si256(a.v), _mm256_set1_epi64x(0x000fffffffffffff));
        return {_mm256_castsi256_pd(
            _mm256_or_si256(fraction, _mm256_castpd_si256(_mm256_set1_pd(1.0))))};
    }
    static Lanes exponent(Lanes a) {
        const __m256i field = _mm256_srli_epi64(_mm256_castpd_si256(a.v), 52);
        const __m256d magic = _mm256_set1_pd(0x1p52);
        const __m256i number = _mm256_or_si256(field, _mm256_castpd_si256(magic));
        return {_mm256_sub_pd(_mm256_castsi256_pd(number), _mm256_set1_pd(0x1p52 + 1023))};
    }

    static void add_sums(const Lanes* a, double* c) {
        const __m256d p = _mm256_hadd_pd(a[0].v, a[1].v), q = _mm256_hadd_pd(a[2].v, a[3].v);
        const __m256d s =
            _mm256_add_pd(_mm256_permute2f128_pd(p, q, 0x20), _mm256_permute2f128_pd(p, q, 0x31));
        _mm256_storeu_pd(c, _mm256_add_pd(_mm256_loadu_pd(c), s));
    }

    void add_to(double* c) const { _mm256_storeu_pd(c, _mm256_add_pd(_mm256_loadu_pd(c), v)); }

    static constexpr int columns = 4;
    static void transpose_columns(const double* in, std::int64_t stride, double* out,
                                  std::int64_t out_stride) {
        const auto pair_of = [&](int row, int column) {  // and the row after the next
            const double* p = in + row * stride + column;
            return _mm256_insertf128_pd(_mm256_castpd128_pd256(_mm_loadu_pd(p)),
                                        _mm_loadu_pd(p + 2 * stride), 1);
        };
        const __m256d a = pair_of(0, 0), b = pair_of(1, 0), c = pair_of(0, 2), d = pair_of(1, 2);
        _mm256_storeu_pd(out, _mm256_unpacklo_pd(a, b));
        _mm256_storeu_pd(out + out_stride, _mm256_unpackhi_pd(a, b));
        _mm256_storeu_pd(out + 2 * out_stride, _mm256_unpacklo_pd(c, d));
        _mm256_storeu_pd(out + 3 * out_stride, _mm256_unpackhi_pd(c, d));
    }
    static void transpose(const double* in, std::int64_t stride, double* out,
                          std::int64_t out_stride) {
        transpose_columns(in, stride, out, out_stride);
    }
};

template <>
struct Lanes<float> {
    using Scalar = float;
    using Mask = __m256;
    static constexpr int width = 8;
    static constexpr int sums = 4;
    static constexpr bool has_lookup = false;  // see avx512.h
    __m256 v;

    static Lanes zero() { return {_mm256_setzero_ps()}; }
    static Lanes set(float a) { return {_mm256_set1_ps(a)}; }
    static Lanes load(const float* p) { return {_mm256_loadu_ps(p)}; }
    void store(float* p) const { _mm256_storeu_ps(p, v); }

    friend Lanes operator+(Lanes a, Lanes b) { return {_mm256_add_ps(a.v, b.v)}; }
    friend Lanes operator-(Lanes a, Lanes b) { return {_mm256_sub_ps(a.v, b.v)}; }
    friend Lanes operator*(Lanes a, Lanes b) { return {_mm256_mul_ps(a.v, b.v)}; }
    friend Lanes operator/(Lanes a, Lanes b) { return {_mm256_div_ps(a.v, b.v)}; }
    friend Lanes fma(Lanes a, Lanes b, Lanes c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
    friend Lanes fnma(Lanes a, Lanes b, Lanes c) { return {_mm256_fnmadd_ps(a.v, b.v, c.v)}; }
    friend Lanes max(Lanes a, Lanes b) { return {_mm256_max_ps(a.v, b.v)}; }
    friend Lanes min(Lanes a, Lanes b) { return {_mm256_min_ps(a.v, b.v)}; }
    friend Lanes sqrt(Lanes a) { return {_mm256_sqrt_ps(a.v)}; }

    friend Mask less(Lanes a, Lanes b) { return _mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ); }
    friend Mask equal(Lanes a, Lanes b) { return _mm256_cmp_ps(a.v, b.v, _CMP_EQ_OQ); }
    friend Mask not_less(Lanes a, Lanes b) { return _mm256_cmp_ps(a.v, b.v, _CMP_NLT_UQ); }
    friend Lanes where(Mask m, Lanes a) { return {_mm256_and_ps(m, a.v)}; }
    static Lanes select(Mask m, Lanes a, Lanes b) { return {_mm256_blendv_ps(b.v, a.v, m)}; }
    static unsigned bits(Mask m) { return static_cast<unsigned>(_mm256_movemask_ps(m)); }

    static constexpr float integers = 0x1.8p23f + 127;
    static Lanes power_of_two(Lanes shifted) {
        return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(shifted.v), 23))};
    }
    static Lanes mantissa(Lanes a) {
        const __m256i fraction =
            _mm256_and_si256(_mm256_castps_si256(a.v), _mm256_set1_epi32(0x007fffff));
        return {_mm256_castsi256_ps(
            _mm256_or_si256(fraction, _mm256_castps_si256(_mm256_set1_ps(1.0f))))};
    }
    static Lanes exponent(Lanes a) {
        const __m256i field = _mm256_srli_epi32(_mm256_castps_si256(a.v), 23);
        return {_mm256_sub_ps(_mm256_cvtepi32_ps(field), _mm256_set1_ps(127))};
    }

    static void add_sums(const Lanes* a, double* c) {
        const __m256 q =
            _mm256_hadd_ps(_mm256_hadd_ps(a[0].v, a[1].v), _mm256_hadd_ps(a[2].v, a[3].v));
        const __m128 s = _mm_add_ps(_mm256_castps256_ps128(q), _mm256_extractf128_ps(q, 1));
        _mm256_storeu_pd(c, _mm256_add_pd(_mm256_loadu_pd(c), _mm256_cvtps_pd(s)));
    }

    void add_to(double* c) const {
        const __m256d low = _mm256_cvtps_pd(_mm256_castps256_ps128(v));
        const __m256d high = _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1));
        _mm256_storeu_pd(c, _mm256_add_pd(_mm256_loadu_pd(c), low));
        _mm256_storeu_pd(c + 4, _mm256_add_pd(_mm256_loadu_pd(c + 4), high));
    }

    static constexpr int columns = 4;
    static void transpose_columns(const float* in, std::int64_t stride, float* out,
                                  std::int64_t out_stride) {
        const auto rows_of = [&](int i) {  // i and i + 4
            return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(in + i * stride)),
                                        _mm_loadu_ps(in + (i + 4) * stride), 1);
        };
        const __m256 r0 = rows_of(0), r1 = rows_of(1), r2 = rows_of(2), r3 = rows_of(3);
        const __m256d a = _mm256_castps_pd(_mm256_unpacklo_ps(r0, r1));
        const __m256d b = _mm256_castps_pd(_mm256_unpackhi_ps(r0, r1));
        const __m256d c = _mm256_castps_pd(_mm256_unpacklo_ps(r2, r3));
        const __m256d d = _mm256_castps_pd(_mm256_unpackhi_ps(r2, r3));
        _mm256_storeu_ps(out, _mm256_castpd_ps(_mm256_unpacklo_pd(a, c)));
        _mm256_storeu_ps(out + out_stride, _mm256_castpd_ps(_mm256_unpackhi_pd(a, c)));
        _mm256_storeu_ps(out + 2 * out_stride, _mm256_castpd_ps(_mm256_unpacklo_pd(b, d)));
        _mm256_storeu_ps(out + 3 * out_stride, _mm256_castpd_ps(_mm256_unpackhi_pd(b, d)));
    }
    static void transpose(const float* in, std::int64_t stride, float* out,
                          std::int64_t out_stride) {
        for (int c = 0; c < width; c += columns)
            transpose_columns(in + c, stride, out + c * out_stride, out_stride);
    }
};

// 16 registers: blocks of 12 accumulators leave room for the operands.
struct Blocking {
    static constexpr int row_vectors = 2;
    static constexpr int softmax_rows = 1;
    static constexpr int exponentials = 2;
    static constexpr int factor_columns = 6;
    static constexpr int factor_components = 4;
    static constexpr int diag_components = 4;
    static constexpr int distance_components = 6;
    static constexpr int moment_components = 4;
    static constexpr int moment_features = 3;
    static constexpr int moment_row_bytes = 1 << 10;
    static constexpr int triangle_features = 4;
    static constexpr int triangle_columns = 2;
    static constexpr int outer_rows = 4;
    static constexpr int outer_vectors = 3;
};
