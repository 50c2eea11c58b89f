// Products of small matrices by the tensor cores of a warp: the only place that knows how the
// numbers of a fragment lie over its lanes.
//
// Lane l has the group g = l / 4 and the place t = l % 4 in it. For a product C += A B of an (M, K)
// and a (K, N) matrix, `a_row(i)`, `a_column(i)` and so on say which number register i of a lane
// holds.
#pragma once

#include <cstring>

#include "cuda/platform.h"

namespace vbfast::cuda {

template <class T>
struct TensorCores;

// float32 by three products of TF32 (Fasi, Higham, Mikaitis and Pranesh 2021, with two terms). A
// number is the sum of two that have 11 bits each; what is left out of a product is about 2^-22 of
// it. Sums are float32.
template <>
struct TensorCores<float> {
    static constexpr int M = 16, N = 8, K = 8;
    static constexpr int a_registers = 4, b_registers = 2, c_registers = 4;

    __host__ __device__ static int a_row(int g, int i) { return g + i % 2 * 8; }
    __host__ __device__ static int a_column(int t, int i) { return t + i / 2 * 4; }
    __host__ __device__ static int b_row(int t, int i) { return t + i * 4; }
    __host__ __device__ static int c_row(int g, int i) { return g + i / 2 * 8; }
    __host__ __device__ static int c_column(int t, int i) { return 2 * t + i % 2; }

    struct A {
        float high[a_registers], low[a_registers];
        __device__ __forceinline__ void set(int i, float value) { split(value, high[i], low[i]); }
    };
    struct B {
        float high[b_registers], low[b_registers];
        __device__ __forceinline__ void set(int i, float value) { split(value, high[i], low[i]); }
    };

    __device__ __forceinline__ static void multiply_add(float (&c)[c_registers], const A& a,
                                                        const B& b) {
        multiply_add_once(c, a.low, b.high);
        multiply_add_once(c, a.high, b.low);
        multiply_add_once(c, a.high, b.high);
    }

  private:
    // The nearest number of 11 bits, and what it leaves.
    __device__ __forceinline__ static void split(float value, float& high, float& low) {
        unsigned bits;
        memcpy(&bits, &value, sizeof bits);
        bits = (bits + 0x1000u) & 0xffffe000u;
        memcpy(&high, &bits, sizeof bits);
        low = value - high;
    }

    __device__ __forceinline__ static void multiply_add_once(float (&c)[c_registers],
                                                             const float (&a)[a_registers],
                                                             const float (&b)[b_registers]) {
#if defined(VBFAST_EMULATES_CUDA)
        emulation::multiply_tf32(c, a, b);
#elif defined(__CUDA_ARCH__)
        asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
            "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
            : "r"(__float_as_uint(a[0])), "r"(__float_as_uint(a[1])), "r"(__float_as_uint(a[2])),
              "r"(__float_as_uint(a[3])), "r"(__float_as_uint(b[0])), "r"(__float_as_uint(b[1])));
#endif
    }
};

// float64, as it is.
template <>
struct TensorCores<double> {
    static constexpr int M = 8, N = 8, K = 4;
    static constexpr int a_registers = 1, b_registers = 1, c_registers = 2;

    __host__ __device__ static int a_row(int g, int) { return g; }
    __host__ __device__ static int a_column(int t, int) { return t; }
    __host__ __device__ static int b_row(int t, int) { return t; }
    __host__ __device__ static int c_row(int g, int) { return g; }
    __host__ __device__ static int c_column(int t, int i) { return 2 * t + i; }

    struct A {
        double values[a_registers];
        __device__ __forceinline__ void set(int i, double value) { values[i] = value; }
    };
    using B = A;

    __device__ __forceinline__ static void multiply_add(double (&c)[c_registers], const A& a,
                                                        const B& b) {
#if defined(VBFAST_EMULATES_CUDA)
        emulation::multiply_float64(c, a.values, b.values);
#elif defined(__CUDA_ARCH__)
        asm("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0, %1}, {%2}, {%3}, {%0, %1};"
            : "+d"(c[0]), "+d"(c[1])
            : "d"(a.values[0]), "d"(b.values[0]));
#endif
    }
};

}  // namespace vbfast::cuda
