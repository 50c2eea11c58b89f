// CUDA as nvcc has it, or as tests/emulation/cuda.h has it on the CPU: what both have under one
// name.
#pragma once

#if !defined(VBFAST_EMULATES_CUDA)

#include <cuda_runtime.h>

#if defined(__CUDACC__)

#include <cstddef>

#include "cuda/errors.h"

namespace vbfast::cuda {

// The memory of the block that its launch asks for, from its beginning.
template <class T>
__device__ T* shared_memory() {
    extern __shared__ __align__(16) unsigned char memory_of_block[];
    return reinterpret_cast<T*>(memory_of_block);
}

// Runs a kernel in a stream. Throws Error if it cannot be started.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, std::size_t shared_bytes,
            cudaStream_t stream, Arguments... arguments) {
    constexpr std::size_t always_allowed = 48 << 10;
    if (shared_bytes > always_allowed)
        check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                   cudaFuncAttributeMaxDynamicSharedMemorySize,
                                   static_cast<int>(shared_bytes)),
              "asking for shared memory");
    kernel<<<grid, block, shared_bytes, stream>>>(static_cast<Parameters>(arguments)...);
    check(cudaGetLastError(), "starting a kernel");
}

}  // namespace vbfast::cuda

#endif  // __CUDACC__

#endif  // VBFAST_EMULATES_CUDA
