// CUDA as nvcc has it, or as tests/emulation/cuda.h has it on the CPU: what both have under one
// name.
#pragma once

#if !defined(VBFAST_EMULATES_CUDA)

#include <cuda_runtime.h>

#if defined(__CUDACC__)

#include <cuda_pipeline_primitives.h>

#include <cstddef>

#include "cuda/errors.h"

namespace vbfast::cuda {

// The memory of the block that its launch asks for, from its beginning.
template <class T>
__device__ T* shared_memory() {
    extern __shared__ __align__(16) unsigned char memory_of_block[];
    return reinterpret_cast<T*>(memory_of_block);
}

// Copies 16 bytes of global memory to shared memory, while the thread goes on.
__device__ __forceinline__ void copy_async_16(void* to, const void* from) {
    __pipeline_memcpy_async(to, from, 16);
}
// The copies that the thread has begun so far are a batch, for which it may wait.
__device__ __forceinline__ void commit_copies() {
    __pipeline_commit();
}
__device__ __forceinline__ void wait_for_copies() {
    __pipeline_wait_prior(0);
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
