// Lanes of Advanced SIMD on 64-bit Arm. Included inside the namespace of its target only.
#pragma once

#include <arm_neon.h>

template <class T>
struct Lanes;

template <>
struct Lanes<double> {
    using Scalar = double;
    using Mask = uint64x2_t;
    static constexpr int width = 2;
    static constexpr int sums = 2;
    static constexpr bool has_lookup = false;  // see avx512.h
    float64x2_t v;

    static Lanes zero() { return {vdupq_n_f64(0)}; }
    static Lanes set(double a) { return {vdupq_n_f64(a)}; }
    static Lanes load(const double* p) { return {vld1q_f64(p)}; }
    void store(double* p) const { vst1q_f64(p, v); }

    friend Lanes operator+(Lanes a, Lanes b) { return {vaddq_f64(a.v, b.v)}; }
    friend Lanes operator-(Lanes a, Lanes b) { return {vsubq_f64(a.v, b.v)}; }
    friend Lanes operator*(Lanes a, Lanes b) { return {vmulq_f64(a.v, b.v)}; }
    friend Lanes operator/(Lanes a, Lanes b) { return {vdivq_f64(a.v, b.v)}; }
    friend Lanes fma(Lanes a, Lanes b, Lanes c) { return {vfmaq_f64(c.v, a.v, b.v)}; }
    friend Lanes fnma(Lanes a, Lanes b, Lanes c) { return {vfmsq_f64(c.v, a.v, b.v)}; }
    friend Lanes max(Lanes a, Lanes b) { return {vmaxq_f64(a.v, b.v)}; }
    friend Lanes min(Lanes a, Lanes b) { return {vminq_f64(a.v, b.v)}; }
    friend Lanes sqrt(Lanes a) { return {vsqrtq_f64(a.v)}; }

    friend Mask less(Lanes a, Lanes b) { return vcltq_f64(a.v, b.v); }
    friend Mask equal(Lanes a, Lanes b) { return vceqq_f64(a.v, b.v); }
    friend Mask not_less(Lanes a, Lanes b) {
        return vreinterpretq_u64_u32(vmvnq_u32(vreinterpretq_u32_u64(vcltq_f64(a.v, b.v))));
    }
    friend Lanes where(Mask m, Lanes a) {
        return {vreinterpretq_f64_u64(vandq_u64(m, vreinterpretq_u64_f64(a.v)))};
    }
    static Lanes select(Mask m, Lanes a, Lanes b) { return {vbslq_f64(m, a.v, b.v)}; }
    static unsigned bits(Mask m) {
        return static_cast<unsigned>((vgetq_lane_u64(m, 0) & 1) | (vgetq_lane_u64(m, 1) & 2));
    }

    // Added to |a| < 2^51 it rounds a to an integer n, and leaves n + bias in the lowest bits.
    static constexpr double integers = 0x1.8p52 + 1023;
    static Lanes power_of_two(Lanes shifted) {
        return {vreinterpretq_f64_s64(vshlq_n_s64(vreinterpretq_s64_f64(shifted.v), 52))};
    }
    // a = mantissa * 2^exponent with the mantissa in [1, 2), for normal positive a.
    static Lanes mantissa(Lanes a) {
        const uint64x2_t fraction =
            vandq_u64(vreinterpretq_u64_f64(a.v), vdupq_n_u64(0x000fffffffffffff));
        return {vreinterpretq_f64_u64(vorrq_u64(fraction, vdupq_n_u64(0x3ff0000000000000)))};
    }
    static Lanes exponent(Lanes a) {
        const uint64x2_t field = vshrq_n_u64(vreinterpretq_u64_f64(a.v), 52);
        return {vsubq_f64(vcvtq_f64_u64(field), vdupq_n_f64(1023))};
    }

    // c[i] += the sum of the lanes of a[i].
    static void add_sums(const Lanes* a, double* c) {
        vst1q_f64(c, vaddq_f64(vld1q_f64(c), vpaddq_f64(a[0].v, a[1].v)));
    }

    // Accumulates lanes into float64 memory.
    void add_to(double* c) const { vst1q_f64(c, vaddq_f64(vld1q_f64(c), v)); }

    // Rows i of `in` (at distance `stride`) become columns of `out`.
    static constexpr int columns = width;
    static void transpose_columns(const double* in, std::int64_t stride, double* out,
                                  std::int64_t out_stride) {
        transpose(in, stride, out, out_stride);
    }
    static void transpose(const double* in, std::int64_t stride, double* out,
                          std::int64_t out_stride) {
        const float64x2_t r0 = vld1q_f64(in), r1 = vld1q_f64(in + stride);
        vst1q_f64(out, vtrn1q_f64(r0, r1));
        vst1q_f64(out + out_stride, vtrn2q_f64(r0, r1));
    }
};

template <>
struct Lanes<float> {
    using Scalar = float;
    using Mask = uint32x4_t;
    static constexpr int width = 4;
    static constexpr int sums = 4;
    static constexpr bool has_lookup = false;  // see avx512.h
    float32x4_t v;

    static Lanes zero() { return {vdupq_n_f32(0)}; }
    static Lanes set(float a) { return {vdupq_n_f32(a)}; }
    static Lanes load(const float* p) { return {vld1q_f32(p)}; }
    void store(float* p) const { vst1q_f32(p, v); }

    friend Lanes operator+(Lanes a, Lanes b) { return {vaddq_f32(a.v, b.v)}; }
    friend Lanes operator-(Lanes a, Lanes b) { return {vsubq_f32(a.v, b.v)}; }
    friend Lanes operator*(Lanes a, Lanes b) { return {vmulq_f32(a.v, b.v)}; }
    friend Lanes operator/(Lanes a, Lanes b) { return {vdivq_f32(a.v, b.v)}; }
    friend Lanes fma(Lanes a, Lanes b, Lanes c) { return {vfmaq_f32(c.v, a.v, b.v)}; }
    friend Lanes fnma(Lanes a, Lanes b, Lanes c) { return {vfmsq_f32(c.v, a.v, b.v)}; }
    friend Lanes max(Lanes a, Lanes b) { return {vmaxq_f32(a.v, b.v)}; }
    friend Lanes min(Lanes a, Lanes b) { return {vminq_f32(a.v, b.v)}; }
    friend Lanes sqrt(Lanes a) { return {vsqrtq_f32(a.v)}; }

    friend Mask less(Lanes a, Lanes b) { return vcltq_f32(a.v, b.v); }
    friend Mask equal(Lanes a, Lanes b) { return vceqq_f32(a.v, b.v); }
    friend Mask not_less(Lanes a, Lanes b) { return vmvnq_u32(vcltq_f32(a.v, b.v)); }
    friend Lanes where(Mask m, Lanes a) {
        return {vreinterpretq_f32_u32(vandq_u32(m, vreinterpretq_u32_f32(a.v)))};
    }
    static Lanes select(Mask m, Lanes a, Lanes b) { return {vbslq_f32(m, a.v, b.v)}; }
    static unsigned bits(Mask m) {
        const uint32_t weights[4] = {1, 2, 4, 8};
        return vaddvq_u32(vandq_u32(m, vld1q_u32(weights)));
    }

    static constexpr float integers = 0x1.8p23f + 127;
    static Lanes power_of_two(Lanes shifted) {
        return {vreinterpretq_f32_s32(vshlq_n_s32(vreinterpretq_s32_f32(shifted.v), 23))};
    }
    static Lanes mantissa(Lanes a) {
        const uint32x4_t fraction = vandq_u32(vreinterpretq_u32_f32(a.v), vdupq_n_u32(0x007fffff));
        return {vreinterpretq_f32_u32(vorrq_u32(fraction, vdupq_n_u32(0x3f800000)))};
    }
    static Lanes exponent(Lanes a) {
        const uint32x4_t field = vshrq_n_u32(vreinterpretq_u32_f32(a.v), 23);
        return {vsubq_f32(vcvtq_f32_u32(field), vdupq_n_f32(127))};
    }

    static void add_sums(const Lanes* a, double* c) {
        Lanes{vpaddq_f32(vpaddq_f32(a[0].v, a[1].v), vpaddq_f32(a[2].v, a[3].v))}.add_to(c);
    }

    void add_to(double* c) const {
        vst1q_f64(c, vaddq_f64(vld1q_f64(c), vcvt_f64_f32(vget_low_f32(v))));
        vst1q_f64(c + 2, vaddq_f64(vld1q_f64(c + 2), vcvt_high_f64_f32(v)));
    }

    static constexpr int columns = width;
    static void transpose_columns(const float* in, std::int64_t stride, float* out,
                                  std::int64_t out_stride) {
        transpose(in, stride, out, out_stride);
    }
    static void transpose(const float* in, std::int64_t stride, float* out,
                          std::int64_t out_stride) {
        const float32x4_t r0 = vld1q_f32(in), r1 = vld1q_f32(in + stride);
        const float32x4_t r2 = vld1q_f32(in + 2 * stride), r3 = vld1q_f32(in + 3 * stride);
        const float64x2_t a = vreinterpretq_f64_f32(vtrn1q_f32(r0, r1));
        const float64x2_t b = vreinterpretq_f64_f32(vtrn2q_f32(r0, r1));
        const float64x2_t c = vreinterpretq_f64_f32(vtrn1q_f32(r2, r3));
        const float64x2_t d = vreinterpretq_f64_f32(vtrn2q_f32(r2, r3));
        vst1q_f32(out, vreinterpretq_f32_f64(vtrn1q_f64(a, c)));
        vst1q_f32(out + out_stride, vreinterpretq_f32_f64(vtrn1q_f64(b, d)));
        vst1q_f32(out + 2 * out_stride, vreinterpretq_f32_f64(vtrn2q_f64(a, c)));
        vst1q_f32(out + 3 * out_stride, vreinterpretq_f32_f64(vtrn2q_f64(b, d)));
    }
};

// 32 registers of two or four lanes.
struct Blocking {
    static constexpr int row_vectors = 4;
    static constexpr int softmax_rows = 4;
    static constexpr int exponentials = 4;
    static constexpr int factor_columns = 6;
    static constexpr int factor_components = 4;
    static constexpr int diag_components = 4;
    static constexpr int distance_components = 6;
    static constexpr int moment_components = 4;
    static constexpr int moment_features = 6;
    static constexpr int moment_row_bytes = 1 << 10;
    static constexpr int triangle_features = 6;
    static constexpr int triangle_columns = 3;
    static constexpr int outer_rows = 8;
    static constexpr int outer_vectors = 3;
};
