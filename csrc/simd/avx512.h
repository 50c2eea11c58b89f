// Lanes of AVX-512 (F, DQ, VL, BW). Included inside the namespace of its target only.
#pragma once

#include <immintrin.h>

template <class T>
struct Lanes;

template <>
struct Lanes<double> {
    using Scalar = double;
    using Mask = __mmask8;
    static constexpr int width = 8;
    static constexpr int sums = 8;  // vectors that add_sums reduces together
    __m512d v;

    static Lanes zero() { return {_mm512_setzero_pd()}; }
    static Lanes set(double a) { return {_mm512_set1_pd(a)}; }
    static Lanes load(const double* p) { return {_mm512_loadu_pd(p)}; }
    void store(double* p) const { _mm512_storeu_pd(p, v); }

    friend Lanes operator+(Lanes a, Lanes b) { return {_mm512_add_pd(a.v, b.v)}; }
    friend Lanes operator-(Lanes a, Lanes b) { return {_mm512_sub_pd(a.v, b.v)}; }
    friend Lanes operator*(Lanes a, Lanes b) { return {_mm512_mul_pd(a.v, b.v)}; }
    friend Lanes operator/(Lanes a, Lanes b) { return {_mm512_div_pd(a.v, b.v)}; }
    friend Lanes fma(Lanes a, Lanes b, Lanes c) { return {_mm512_fmadd_pd(a.v, b.v, c.v)}; }
    friend Lanes fnma(Lanes a, Lanes b, Lanes c) { return {_mm512_fnmadd_pd(a.v, b.v, c.v)}; }
    friend Lanes max(Lanes a, Lanes b) { return {_mm512_max_pd(a.v, b.v)}; }
    friend Lanes min(Lanes a, Lanes b) { return {_mm512_min_pd(a.v, b.v)}; }
    friend Lanes sqrt(Lanes a) { return {_mm512_sqrt_pd(a.v)}; }

    friend Mask less(Lanes a, Lanes b) { return _mm512_cmp_pd_mask(a.v, b.v, _CMP_LT_OQ); }
    friend Mask equal(Lanes a, Lanes b) { return _mm512_cmp_pd_mask(a.v, b.v, _CMP_EQ_OQ); }
    friend Mask not_less(Lanes a, Lanes b) { return _mm512_cmp_pd_mask(a.v, b.v, _CMP_NLT_UQ); }
    friend Lanes where(Mask m, Lanes a) { return {_mm512_maskz_mov_pd(m, a.v)}; }
    static Lanes select(Mask m, Lanes a, Lanes b) { return {_mm512_mask_blend_pd(m, b.v, a.v)}; }
    static unsigned bits(Mask m) { return m; }

    // a * 2^floor(n) where `kept`, else zero.
    friend Lanes scale_floor_where(Mask kept, Lanes a, Lanes n) {
        return {_mm512_maskz_scalef_pd(kept, a.v, n.v)};
    }
    // The entry of a table of sixteen that the lowest bits of each number's representation name.
    static constexpr bool has_lookup = true;
    static Lanes lookup(const double* table, Lanes a) {
        return {_mm512_permutex2var_pd(_mm512_loadu_pd(table), _mm512_castpd_si512(a.v),
                                       _mm512_loadu_pd(table + 8))};
    }
    // a = mantissa * 2^exponent with the mantissa in [1, 2), for normal positive a.
    static Lanes mantissa(Lanes a) {
        return {_mm512_getmant_pd(a.v, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_src)};
    }
    static Lanes exponent(Lanes a) { return {_mm512_getexp_pd(a.v)}; }

    // c[i] += the sum of the lanes of a[i].
    static void add_sums(const Lanes* a, double* c) {
        const __m512d t0 = pair(a[0].v, a[1].v), t1 = pair(a[2].v, a[3].v);
        const __m512d t2 = pair(a[4].v, a[5].v), t3 = pair(a[6].v, a[7].v);
        const __m512d s = quarter(quarter(t0, t1), quarter(t2, t3));
        _mm512_storeu_pd(c, _mm512_add_pd(_mm512_loadu_pd(c), s));
    }

    // Accumulates lanes into float64 memory.
    void add_to(double* c) const { _mm512_storeu_pd(c, _mm512_add_pd(_mm512_loadu_pd(c), v)); }

    // Columns 0 to 3 of `width` rows of `in` (at distance `stride`) become rows of `out`. Rows are
    // loaded in parts, which takes no shuffles.
    static constexpr int columns = 4;
    static void transpose_columns(const double* in, std::int64_t stride, double* out,
                                  std::int64_t out_stride) {
        const auto pair_of = [&](int row) {
            return _mm512_insertf64x4(_mm512_castpd256_pd512(_mm256_loadu_pd(in + row * stride)),
                                      _mm256_loadu_pd(in + (row + 2) * stride), 1);
        };
        const __m512d r0 = pair_of(0), r1 = pair_of(1), r4 = pair_of(4), r5 = pair_of(5);
        const __m512d a = _mm512_unpacklo_pd(r0, r1), b = _mm512_unpackhi_pd(r0, r1);
        const __m512d c = _mm512_unpacklo_pd(r4, r5), d = _mm512_unpackhi_pd(r4, r5);
        _mm512_storeu_pd(out, _mm512_shuffle_f64x2(a, c, 0x88));
        _mm512_storeu_pd(out + out_stride, _mm512_shuffle_f64x2(b, d, 0x88));
        _mm512_storeu_pd(out + 2 * out_stride, _mm512_shuffle_f64x2(a, c, 0xdd));
        _mm512_storeu_pd(out + 3 * out_stride, _mm512_shuffle_f64x2(b, d, 0xdd));
    }
    // All of `width` columns.
    static void transpose(const double* in, std::int64_t stride, double* out,
                          std::int64_t out_stride) {
        for (int c = 0; c < width; c += columns)
            transpose_columns(in + c, stride, out + c * out_stride, out_stride);
    }

  private:
    static __m512d pair(__m512d a, __m512d b) {
        return _mm512_add_pd(_mm512_unpacklo_pd(a, b), _mm512_unpackhi_pd(a, b));
    }
    static __m512d quarter(__m512d a, __m512d b) {
        return _mm512_add_pd(_mm512_shuffle_f64x2(a, b, 0x88), _mm512_shuffle_f64x2(a, b, 0xdd));
    }
};

template <>
struct Lanes<float> {
    using Scalar = float;
    using Mask = __mmask16;
    static constexpr int width = 16;
    static constexpr int sums = 8;
    __m512 v;

    static Lanes zero() { return {_mm512_setzero_ps()}; }
    static Lanes set(float a) { return {_mm512_set1_ps(a)}; }
    static Lanes load(const float* p) { return {_mm512_loadu_ps(p)}; }
    void store(float* p) const { _mm512_storeu_ps(p, v); }

    friend Lanes operator+(Lanes a, Lanes b) { return {_mm512_add_ps(a.v, b.v)}; }
    friend Lanes operator-(Lanes a, Lanes b) { return {_mm512_sub_ps(a.v, b.v)}; }
    friend Lanes operator*(Lanes a, Lanes b) { return {_mm512_mul_ps(a.v, b.v)}; }
    friend Lanes operator/(Lanes a, Lanes b) { return {_mm512_div_ps(a.v, b.v)}; }
    friend Lanes fma(Lanes a, Lanes b, Lanes c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
    friend Lanes fnma(Lanes a, Lanes b, Lanes c) { return {_mm512_fnmadd_ps(a.v, b.v, c.v)}; }
    friend Lanes max(Lanes a, Lanes b) { return {_mm512_max_ps(a.v, b.v)}; }
    friend Lanes min(Lanes a, Lanes b) { return {_mm512_min_ps(a.v, b.v)}; }
    friend Lanes sqrt(Lanes a) { return {_mm512_sqrt_ps(a.v)}; }

    friend Mask less(Lanes a, Lanes b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ); }
    friend Mask equal(Lanes a, Lanes b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ); }
    friend Mask not_less(Lanes a, Lanes b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_NLT_UQ); }
    friend Lanes where(Mask m, Lanes a) { return {_mm512_maskz_mov_ps(m, a.v)}; }
    static Lanes select(Mask m, Lanes a, Lanes b) { return {_mm512_mask_blend_ps(m, b.v, a.v)}; }
    static unsigned bits(Mask m) { return m; }

    friend Lanes scale_floor_where(Mask kept, Lanes a, Lanes n) {
        return {_mm512_maskz_scalef_ps(kept, a.v, n.v)};
    }
    static constexpr bool has_lookup = true;
    static Lanes lookup(const float* table, Lanes a) {
        return {_mm512_permutexvar_ps(_mm512_castps_si512(a.v), _mm512_loadu_ps(table))};
    }
    static Lanes mantissa(Lanes a) {
        return {_mm512_getmant_ps(a.v, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_src)};
    }
    static Lanes exponent(Lanes a) { return {_mm512_getexp_ps(a.v)}; }

    static void add_sums(const Lanes* a, double* c) {
        const __m512 q0 = quad(pair(a[0].v, a[1].v), pair(a[2].v, a[3].v));
        const __m512 q1 = quad(pair(a[4].v, a[5].v), pair(a[6].v, a[7].v));
        const __m512 p = quarter(q0, q1);
        const __m512 s = quarter(p, p);
        const __m512d wide = _mm512_cvtps_pd(_mm512_castps512_ps256(s));
        _mm512_storeu_pd(c, _mm512_add_pd(_mm512_loadu_pd(c), wide));
    }

    void add_to(double* c) const {
        const __m512d low = _mm512_cvtps_pd(_mm512_castps512_ps256(v));
        const __m512d high = _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1));
        _mm512_storeu_pd(c, _mm512_add_pd(_mm512_loadu_pd(c), low));
        _mm512_storeu_pd(c + 8, _mm512_add_pd(_mm512_loadu_pd(c + 8), high));
    }

    static constexpr int columns = 4;
    static void transpose_columns(const float* in, std::int64_t stride, float* out,
                                  std::int64_t out_stride) {
        const auto rows_of = [&](int i) {  // i, i + 4, i + 8 and i + 12
            __m512 r = _mm512_castps128_ps512(_mm_loadu_ps(in + i * stride));
            r = _mm512_insertf32x4(r, _mm_loadu_ps(in + (i + 4) * stride), 1);
            r = _mm512_insertf32x4(r, _mm_loadu_ps(in + (i + 8) * stride), 2);
            return _mm512_insertf32x4(r, _mm_loadu_ps(in + (i + 12) * stride), 3);
        };
        const __m512 r0 = rows_of(0), r1 = rows_of(1), r2 = rows_of(2), r3 = rows_of(3);
        const __m512d a = _mm512_castps_pd(_mm512_unpacklo_ps(r0, r1));
        const __m512d b = _mm512_castps_pd(_mm512_unpackhi_ps(r0, r1));
        const __m512d c = _mm512_castps_pd(_mm512_unpacklo_ps(r2, r3));
        const __m512d d = _mm512_castps_pd(_mm512_unpackhi_ps(r2, r3));
        _mm512_storeu_ps(out, _mm512_castpd_ps(_mm512_unpacklo_pd(a, c)));
        _mm512_storeu_ps(out + out_stride, _mm512_castpd_ps(_mm512_unpackhi_pd(a, c)));
        _mm512_storeu_ps(out + 2 * out_stride, _mm512_castpd_ps(_mm512_unpacklo_pd(b, d)));
        _mm512_storeu_ps(out + 3 * out_stride, _mm512_castpd_ps(_mm512_unpackhi_pd(b, d)));
    }
    static void transpose(const float* in, std::int64_t stride, float* out,
                          std::int64_t out_stride) {
        // Four blocks of 4x4 within 128-bit lanes, then the lanes themselves.
        __m512 q[4][4];  // q[b][j]: columns j, j+4, j+8, j+12 of rows 4b..4b+3, one a 128-bit lane
        for (int b = 0; b < 4; ++b) {
            const float* p = in + 4 * b * stride;
            const __m512 r0 = _mm512_loadu_ps(p), r1 = _mm512_loadu_ps(p + stride);
            const __m512 r2 = _mm512_loadu_ps(p + 2 * stride);
            const __m512 r3 = _mm512_loadu_ps(p + 3 * stride);
            const __m512d lo01 = _mm512_castps_pd(_mm512_unpacklo_ps(r0, r1));
            const __m512d hi01 = _mm512_castps_pd(_mm512_unpackhi_ps(r0, r1));
            const __m512d lo23 = _mm512_castps_pd(_mm512_unpacklo_ps(r2, r3));
            const __m512d hi23 = _mm512_castps_pd(_mm512_unpackhi_ps(r2, r3));
            q[b][0] = _mm512_castpd_ps(_mm512_unpacklo_pd(lo01, lo23));
            q[b][1] = _mm512_castpd_ps(_mm512_unpackhi_pd(lo01, lo23));
            q[b][2] = _mm512_castpd_ps(_mm512_unpacklo_pd(hi01, hi23));
            q[b][3] = _mm512_castpd_ps(_mm512_unpackhi_pd(hi01, hi23));
        }
        for (int j = 0; j < 4; ++j) {
            const __m512 a = _mm512_shuffle_f32x4(q[0][j], q[1][j], 0x88);
            const __m512 b = _mm512_shuffle_f32x4(q[2][j], q[3][j], 0x88);
            const __m512 c = _mm512_shuffle_f32x4(q[0][j], q[1][j], 0xdd);
            const __m512 d = _mm512_shuffle_f32x4(q[2][j], q[3][j], 0xdd);
            _mm512_storeu_ps(out + j * out_stride, _mm512_shuffle_f32x4(a, b, 0x88));
            _mm512_storeu_ps(out + (j + 4) * out_stride, _mm512_shuffle_f32x4(c, d, 0x88));
            _mm512_storeu_ps(out + (j + 8) * out_stride, _mm512_shuffle_f32x4(a, b, 0xdd));
            _mm512_storeu_ps(out + (j + 12) * out_stride, _mm512_shuffle_f32x4(c, d, 0xdd));
        }
    }

  private:
    static __m512 pair(__m512 a, __m512 b) {
        return _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    }
    static __m512 quad(__m512 a, __m512 b) {
        const __m512d x = _mm512_castps_pd(a), y = _mm512_castps_pd(b);
        return _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(x, y)),
                             _mm512_castpd_ps(_mm512_unpackhi_pd(x, y)));
    }
    static __m512 quarter(__m512 a, __m512 b) {
        return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
    }
};

// 32 registers: blocks of 24 accumulators leave room for the operands.
struct Blocking {
    static constexpr int row_vectors = 4;        // vectors of rows that a group has
    static constexpr int softmax_rows = 4;       // of them at a time, in the softmax
    static constexpr int exponentials = 4;       // vectors of them that overlap
    static constexpr int factor_columns = 6;     // columns of a precision factor at a time
    static constexpr int factor_components = 4;  // components of few features at a time
    static constexpr int diag_components = 4;    // components at a time, diagonal log-joint
    static constexpr int distance_components = 6;
    static constexpr int moment_components = 4;  // block of the dense moments
    static constexpr int moment_features = 6;
    static constexpr int moment_row_bytes = 4 << 10;  // of rows that they are summed over at once
    static constexpr int triangle_features = 6;
    static constexpr int triangle_columns = 3;
    static constexpr int outer_rows = 8;  // block of the outer products: rows by vectors
    static constexpr int outer_vectors = 3;
};
