// AVX-512 as far as csrc/simd/avx512.h uses it, lane by lane, for machines that lack it.
//
// Included before everything else in the units of the AVX-512 level (-include) when
// VBFAST_EMULATE_AVX512 is on: the kernels then run, and can be tested, with AVX-512's lane
// counts, blocking and rounding on any processor with AVX2. The meaning of every function is that
// of the Intel Intrinsics Guide.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include <immintrin.h>

namespace {

template <class T, int n>
struct EmulatedVector {
    T lane[n];
};
using EmulatedDoubles = EmulatedVector<double, 8>;
using EmulatedFloats = EmulatedVector<float, 16>;
struct EmulatedBits {
    unsigned char byte[64];
};

template <class To, class From>
inline To emulated_cast(From a) {
    To result;
    std::memcpy(&result, &a, sizeof(To));  // of a wider vector the lower part
    return result;
}

template <class T, int n, class Operation>
inline EmulatedVector<T, n> emulated_map(EmulatedVector<T, n> a, EmulatedVector<T, n> b,
                                         Operation operation) {
    for (int i = 0; i < n; ++i) a.lane[i] = operation(a.lane[i], b.lane[i]);
    return a;
}

template <class V>
inline V emulated_add(V a, V b) {
    return emulated_map(a, b, [](auto x, auto y) { return x + y; });
}
template <class V>
inline V emulated_sub(V a, V b) {
    return emulated_map(a, b, [](auto x, auto y) { return x - y; });
}
template <class V>
inline V emulated_mul(V a, V b) {
    return emulated_map(a, b, [](auto x, auto y) { return x * y; });
}
template <class V>
inline V emulated_div(V a, V b) {
    return emulated_map(a, b, [](auto x, auto y) { return x / y; });
}
// The second operand wherever the comparison does not hold, NaN included.
template <class V>
inline V emulated_max(V a, V b) {
    return emulated_map(a, b, [](auto x, auto y) { return x > y ? x : y; });
}
template <class V>
inline V emulated_min(V a, V b) {
    return emulated_map(a, b, [](auto x, auto y) { return x < y ? x : y; });
}
template <class V>
inline V emulated_sqrt(V a) {
    return emulated_map(a, a, [](auto x, auto) { return std::sqrt(x); });
}
template <class T, int n>
inline EmulatedVector<T, n> emulated_fmadd(EmulatedVector<T, n> a, EmulatedVector<T, n> b,
                                           EmulatedVector<T, n> c) {
    for (int i = 0; i < n; ++i) c.lane[i] = std::fma(a.lane[i], b.lane[i], c.lane[i]);
    return c;
}
template <class T, int n>
inline EmulatedVector<T, n> emulated_fnmadd(EmulatedVector<T, n> a, EmulatedVector<T, n> b,
                                            EmulatedVector<T, n> c) {
    for (int i = 0; i < n; ++i) c.lane[i] = std::fma(-a.lane[i], b.lane[i], c.lane[i]);
    return c;
}
template <class V, class T>
inline V emulated_set1(T a) {
    V result;
    for (T& lane : result.lane) lane = a;
    return result;
}

template <class T, int n>
inline unsigned emulated_compare(EmulatedVector<T, n> a, EmulatedVector<T, n> b, int predicate) {
    unsigned mask = 0;
    for (int i = 0; i < n; ++i) {
        const T x = a.lane[i], y = b.lane[i];
        const bool holds = predicate == _CMP_LT_OQ    ? x < y
                           : predicate == _CMP_EQ_OQ  ? x == y
                           : predicate == _CMP_NLT_UQ ? !(x < y)
                                                      : (__builtin_trap(), false);
        mask |= static_cast<unsigned>(holds) << i;
    }
    return mask;
}
template <class T, int n>
inline EmulatedVector<T, n> emulated_blend(unsigned mask, EmulatedVector<T, n> a,
                                           EmulatedVector<T, n> b) {
    for (int i = 0; i < n; ++i)
        if (mask >> i & 1) a.lane[i] = b.lane[i];
    return a;
}

template <class T, int n>
inline EmulatedVector<T, n> emulated_keep(unsigned mask, EmulatedVector<T, n> a) {
    return emulated_blend(~mask, a, EmulatedVector<T, n>{});
}

// a 2^floor(b) where the mask has a one, else zero.
template <class T, int n>
inline EmulatedVector<T, n> emulated_scalef(unsigned mask, EmulatedVector<T, n> a,
                                            EmulatedVector<T, n> b) {
    for (int i = 0; i < n; ++i) {
        const T exponent = std::floor(b.lane[i]);
        if (!(mask >> i & 1))
            a.lane[i] = 0;
        else if (std::fabs(exponent) < T(5000))
            a.lane[i] = std::ldexp(a.lane[i], static_cast<int>(exponent));
        else
            a.lane[i] *= std::exp2(exponent);
    }
    return a;
}
template <class V>
inline V emulated_getmant(V a) {  // of positive numbers, in [1, 2)
    for (auto& lane : a.lane) {
        int exponent;
        lane = 2 * std::frexp(lane, &exponent);
    }
    return a;
}
template <class T, int n>
inline EmulatedVector<T, n> emulated_getexp(EmulatedVector<T, n> a) {
    for (T& lane : a.lane) lane = std::logb(lane);
    return a;
}

// Among the 2n lanes of both tables.
inline EmulatedDoubles emulated_permutex2(EmulatedDoubles low, EmulatedBits index,
                                          EmulatedDoubles high) {
    std::uint64_t i[8];
    std::memcpy(i, &index, sizeof(i));
    EmulatedDoubles result;
    for (int j = 0; j < 8; ++j) result.lane[j] = (i[j] & 8 ? high : low).lane[i[j] & 7];
    return result;
}
inline EmulatedFloats emulated_permutex(EmulatedBits index, EmulatedFloats table) {
    std::uint32_t i[16];
    std::memcpy(i, &index, sizeof(i));
    EmulatedFloats result;
    for (int j = 0; j < 16; ++j) result.lane[j] = table.lane[i[j] & 15];
    return result;
}

// Lanes 0 and 1 (or 2 and 3) of every 128 bits of both, alternating.
template <class T, int n>
inline EmulatedVector<T, n> emulated_unpack(EmulatedVector<T, n> a, EmulatedVector<T, n> b,
                                            bool high) {
    constexpr int width = 16 / static_cast<int>(sizeof(T));
    EmulatedVector<T, n> result;
    for (int block = 0; block < n; block += width)
        for (int j = 0; j < width / 2; ++j) {
            const int from = block + j + (high ? width / 2 : 0);
            result.lane[block + 2 * j] = a.lane[from];
            result.lane[block + 2 * j + 1] = b.lane[from];
        }
    return result;
}
// Two of four blocks of 128 bits of each.
template <class V>
inline V emulated_shuffle_blocks(V a, V b, int control) {
    V result;
    for (int j = 0; j < 4; ++j) {
        const int from = control >> 2 * j & 3;
        std::memcpy(reinterpret_cast<char*>(&result) + 16 * j,
                    reinterpret_cast<const char*>(j < 2 ? &a : &b) + 16 * from, 16);
    }
    return result;
}

inline EmulatedDoubles emulated_widen(__m256 a) {
    float lane[8];
    _mm256_storeu_ps(lane, a);
    EmulatedDoubles result;
    for (int i = 0; i < 8; ++i) result.lane[i] = static_cast<double>(lane[i]);
    return result;
}
inline __m256 emulated_extract(EmulatedFloats a, int half) {
    return _mm256_loadu_ps(a.lane + 8 * half);
}

template <class V, class T>
inline V emulated_load(const T* p) {
    V result;
    std::memcpy(&result, p, sizeof(V));
    return result;
}
template <class V, class T>
inline void emulated_store(T* p, V a) {
    std::memcpy(p, &a, sizeof(V));
}

}  // namespace

#define __AVX512F__ 1
#define __m512d EmulatedDoubles
#define __m512 EmulatedFloats
#define __m512i EmulatedBits
#define _mm512_add_pd emulated_add
#define _mm512_add_ps emulated_add
#define _mm512_castpd_ps emulated_cast<EmulatedFloats>
#define _mm512_castpd_si512 emulated_cast<EmulatedBits>
#define _mm512_castps512_ps256 emulated_cast<__m256>
#define _mm512_castps_pd emulated_cast<EmulatedDoubles>
#define _mm512_castps_si512 emulated_cast<EmulatedBits>
#undef _mm512_cmp_pd_mask
#undef _mm512_cmp_ps_mask
#define _mm512_cmp_pd_mask emulated_compare
#define _mm512_cmp_ps_mask emulated_compare
#define _mm512_cvtps_pd emulated_widen
#define _mm512_div_pd emulated_div
#define _mm512_div_ps emulated_div
#undef _mm512_extractf32x8_ps
#define _mm512_extractf32x8_ps emulated_extract
#define _mm512_fmadd_pd emulated_fmadd
#define _mm512_fmadd_ps emulated_fmadd
#define _mm512_fnmadd_pd emulated_fnmadd
#define _mm512_fnmadd_ps emulated_fnmadd
#define _mm512_getexp_pd emulated_getexp
#define _mm512_getexp_ps emulated_getexp
#undef _mm512_getmant_pd
#undef _mm512_getmant_ps
#define _mm512_getmant_pd(a, interval, sign) emulated_getmant(a)
#define _mm512_getmant_ps(a, interval, sign) emulated_getmant(a)
#define _mm512_loadu_pd emulated_load<EmulatedDoubles>
#define _mm512_loadu_ps emulated_load<EmulatedFloats>
#define _mm512_mask_blend_pd emulated_blend
#define _mm512_mask_blend_ps emulated_blend
#define _mm512_maskz_mov_pd emulated_keep
#define _mm512_maskz_mov_ps emulated_keep
#define _mm512_maskz_scalef_pd emulated_scalef
#define _mm512_maskz_scalef_ps emulated_scalef
#define _mm512_max_pd emulated_max
#define _mm512_max_ps emulated_max
#define _mm512_min_pd emulated_min
#define _mm512_min_ps emulated_min
#define _mm512_mul_pd emulated_mul
#define _mm512_mul_ps emulated_mul
#define _mm512_permutex2var_pd emulated_permutex2
#define _mm512_permutexvar_ps emulated_permutex
#define _mm512_set1_pd emulated_set1<EmulatedDoubles, double>
#define _mm512_set1_ps emulated_set1<EmulatedFloats, float>
#define _mm512_setzero_pd() emulated_set1<EmulatedDoubles>(0.0)
#define _mm512_setzero_ps() emulated_set1<EmulatedFloats>(0.0f)
#undef _mm512_shuffle_f32x4
#undef _mm512_shuffle_f64x2
#define _mm512_shuffle_f32x4 emulated_shuffle_blocks
#define _mm512_shuffle_f64x2 emulated_shuffle_blocks
#define _mm512_sqrt_pd emulated_sqrt
#define _mm512_sqrt_ps emulated_sqrt
#define _mm512_storeu_pd emulated_store
#define _mm512_storeu_ps emulated_store
#define _mm512_stream_pd emulated_store
#define _mm512_stream_ps emulated_store
#define _mm512_sub_pd emulated_sub
#define _mm512_sub_ps emulated_sub
#define _mm512_unpacklo_pd(a, b) emulated_unpack(a, b, false)
#define _mm512_unpacklo_ps(a, b) emulated_unpack(a, b, false)
#define _mm512_unpackhi_pd(a, b) emulated_unpack(a, b, true)
#define _mm512_unpackhi_ps(a, b) emulated_unpack(a, b, true)
