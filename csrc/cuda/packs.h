// A few numbers that are read or written together, 16 bytes at a time where there are as many.
#pragma once

#include <cstddef>

namespace vbfast::cuda {

template <class T, int n>
struct alignas(n * sizeof(T) % 16 == 0 ? 16 : (n * sizeof(T) % 8 == 0 ? 8 : sizeof(T))) Pack {
    T values[n];
};

template <int n, class T>
__device__ __forceinline__ void load(const T* from, T (&to)[n]) {
    const Pack<T, n> pack = *reinterpret_cast<const Pack<T, n>*>(from);
#pragma unroll
    for (int i = 0; i < n; ++i) to[i] = pack.values[i];
}

template <int n, class T>
__device__ __forceinline__ void store(const T (&from)[n], T* to) {
    Pack<T, n> pack;
#pragma unroll
    for (int i = 0; i < n; ++i) pack.values[i] = from[i];
    *reinterpret_cast<Pack<T, n>*>(to) = pack;
}

}  // namespace vbfast::cuda
