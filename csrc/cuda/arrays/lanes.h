// Lanes of a warp that have a slice together, and elements in their registers.
#pragma once

#include "cuda/arrays/operations.h"

namespace vbfast::cuda::arrays {

// The lanes whose numbers agree but for the bits of low, 2 low, ..., high / 2. All lanes of the
// warp call the functions.
struct Lanes {
    int low, high;

    __device__ int rank() const { return static_cast<int>(threadIdx.x) % high / low; }
    __device__ int size() const { return high / low; }
    __device__ double sum(double value) const {
        for (int step = low; step < high; step *= 2)
            value += __shfl_xor_sync(0xffffffffu, value, step);
        return value;
    }
    template <class T>
    __device__ T largest(T value) const {
        for (int step = low; step < high; step *= 2) {
            const T other = __shfl_xor_sync(0xffffffffu, value, step);
            if (other > value) value = other;
        }
        return value;
    }
    template <class T>
    __device__ T least(T value) const {
        return -largest(-value);
    }
    template <class Op, class T>
    __device__ void share_references(Kinds kinds, T* reference) const {
        for (int step = low; step < high; step *= 2) {
            T other[2] = {T(0), T(0)};
            for (int k = 0; k < Op::references; ++k)
                other[k] = __shfl_xor_sync(0xffffffffu, reference[k], step);
            merge_references<Op>(kinds, other, reference);
        }
    }
    template <class Op, class T>
    __device__ static void merge_references(Kinds kinds, const T* other, T* reference) {
        if constexpr (Op::inputs == Op::references) {
            Op::observe(kinds, other[0], other[1], reference);
        } else {
            Op::observe(kinds, other[0], T(1), reference);  // a factor that counts
        }
    }
};

// References in T, sums in float64.
template <class Op, class T>
struct State {
    T reference[2] = {T(0), T(0)};
    double sum[5] = {0, 0, 0, 0, 0};

    __device__ explicit State(Kinds kinds) { Op::clear(kinds, reference); }

    // Moves the sums from other references to the state's own.
    __device__ void rescale(Kinds kinds, const T* from) {
        Op::rescale(kinds, from, reference, sum);
    }
};

// Threads take vectors of 16 bytes of a row in turn, whether or not it lies so that they can be
// loaded at once; of columns, elements in turn.
template <class T>
constexpr int vector_length = 16 / static_cast<int>(sizeof(T));

template <class T>
struct alignas(16) Vector {
    T of[vector_length<T>];
};

// Element i of a thread's registers in a chunk.
template <class T>
__device__ inline std::int64_t element_of(int i, int rank, int size, bool columns) {
    constexpr int V = vector_length<T>;
    return columns ? static_cast<std::int64_t>(i) * size + rank
                   : (static_cast<std::int64_t>(i / V) * size + rank) * V + i % V;
}

// Loads the elements of a chunk that are before `end`.
template <class T, int E>
__device__ inline void load(const DeviceOperand& operand, const char* slice, std::int64_t begin,
                            std::int64_t end, int rank, int size, bool columns, T fill,
                            T (&values)[E]) {
    constexpr int V = vector_length<T>;
    if (operand.vectors && !columns) {
        const T* row = reinterpret_cast<const T*>(slice);
#pragma unroll
        for (int i = 0; i < E; i += V) {
            const std::int64_t e = begin + element_of<T>(i, rank, size, false);
            if (e + V <= end) {
                const Vector<T> vector = *reinterpret_cast<const Vector<T>*>(row + e);
#pragma unroll
                for (int j = 0; j < V; ++j) values[i + j] = vector.of[j];
            } else {
#pragma unroll
                for (int j = 0; j < V; ++j) values[i + j] = e + j < end ? row[e + j] : fill;
            }
        }
        return;
    }
#pragma unroll
    for (int i = 0; i < E; ++i) {
        const std::int64_t e = begin + element_of<T>(i, rank, size, columns);
        values[i] = e < end ? *reinterpret_cast<const T*>(slice + e * operand.reduced) : fill;
    }
}

// Stores as many elements of a chunk, from a thread's element i on.
template <class T>
__device__ inline void store(const DeviceOperand& operand, char* slice, std::int64_t begin,
                             std::int64_t end, int i, int rank, int size, bool columns,
                             const Vector<T>& values) {
    constexpr int V = vector_length<T>;
    if (operand.vectors && !columns) {
        const std::int64_t e = begin + element_of<T>(i, rank, size, false);
        T* to = reinterpret_cast<T*>(slice) + e;
        if (e + V <= end) {
            *reinterpret_cast<Vector<T>*>(to) = values;
            return;
        }
#pragma unroll
        for (int j = 0; j < V; ++j)
            if (e + j < end) to[j] = values.of[j];
        return;
    }
#pragma unroll
    for (int j = 0; j < V; ++j) {
        const std::int64_t e = begin + element_of<T>(i + j, rank, size, columns);
        if (e < end) *reinterpret_cast<T*>(slice + e * operand.reduced) = values.of[j];
    }
}

// The elements of both inputs that a thread has of a chunk.
template <class Inputs, class T, int E>
struct Elements {
    T x[E], y[E];

    __device__ void load_chunk(const DeviceCall& call, const char* x_slice, const char* y_slice,
                               std::int64_t begin, std::int64_t end, int rank, int size, T x_fill,
                               T y_fill) {
        const bool columns = call.columns > 1;
        load(call.operands[vbfast::arrays::place_x], x_slice, begin, end, rank, size, columns,
             x_fill, x);
        if constexpr (Inputs::inputs > 1)
            load(call.operands[vbfast::arrays::place_y], y_slice, begin, end, rank, size, columns,
                 y_fill, y);
    }
};

}  // namespace vbfast::cuda::arrays
