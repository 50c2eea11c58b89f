// Errors of the CUDA runtime as exceptions.
#pragma once

#if !defined(VBFAST_EMULATES_CUDA)
#include <cuda_runtime_api.h>
#endif

#include <stdexcept>
#include <string>

namespace vbfast::cuda {

class Error : public std::runtime_error {
  public:
    Error(cudaError_t code, const char* what)
        : std::runtime_error(std::string("CUDA: ") + what + ": " + cudaGetErrorString(code)),
          code_(code) {}

    cudaError_t code() const { return code_; }

  private:
    cudaError_t code_;
};

// Throws Error unless a call succeeded; `what` says what it was for.
inline void check(cudaError_t status, const char* what) {
    if (status == cudaSuccess) return;
    cudaGetLastError();  // the runtime forgets it: the next check is of the next call
    throw Error(status, what);
}

}  // namespace vbfast::cuda
