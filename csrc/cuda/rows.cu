// One thread a number; at the speed of memory.
#include "cuda/rows.h"

#include "cuda/errors.h"
#include "cuda/mathematics.h"

namespace vbfast::cuda {

namespace {

// The fourth root of the range of T: squares of such numbers, and sums of millions of them, are in
// it.
template <class T>
constexpr double largest_ordinary = sizeof(T) == 4 ? 1e9 : 1e75;
template <class T>
constexpr double least_ordinary = sizeof(T) == 4 ? 1e-9 : 1e-75;

template <class T>
__global__ void look(const T* rows, std::int64_t row_stride, std::int64_t n_numbers, int n_features,
                     unsigned long long* first_bad, unsigned long long* largest) {
    unsigned long long bits = 0;
    const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
    for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
         i < n_numbers; i += step) {
        const std::int64_t row = i / n_features;
        const T x = rows[row * row_stride + i % n_features];
        if (!is_finite(x)) {
            atomicMin(first_bad, static_cast<unsigned long long>(row));
            continue;
        }
        const double size = std::fabs(static_cast<double>(x));
        if (size >= largest_ordinary<T>) bits |= 1;
        if (size >= least_ordinary<T>) bits |= 2;
    }
    if (bits) atomicOr(largest, bits);
}

}  // namespace

template <class T>
RowsFound look_at(const T* rows, std::int64_t row_stride, std::int64_t n_rows, int n_features,
                  unsigned long long* scratch, cudaStream_t stream) {
    unsigned long long found[2] = {static_cast<unsigned long long>(n_rows), 0};
    check(cudaMemcpyAsync(scratch, found, sizeof found, cudaMemcpyHostToDevice, stream),
          "a copy to the device");
    const std::int64_t n_numbers = n_rows * n_features;
    const std::int64_t blocks = (n_numbers + 1023) / 1024;
    if (blocks > 0)
        launch(look<T>, dim3(static_cast<unsigned>(blocks < 4096 ? blocks : 4096)), dim3(256), 0,
               stream, rows, row_stride, n_numbers, n_features, scratch, scratch + 1);
    check(cudaMemcpyAsync(found, scratch, sizeof found, cudaMemcpyDeviceToHost, stream),
          "a copy from the device");
    check(cudaStreamSynchronize(stream), "looking at the rows");
    return {static_cast<std::int64_t>(found[0]), (found[1] & 1) != 0 || (found[1] & 2) == 0};
}

template RowsFound look_at(const float*, std::int64_t, std::int64_t, int, unsigned long long*,
                           cudaStream_t);
template RowsFound look_at(const double*, std::int64_t, std::int64_t, int, unsigned long long*,
                           cudaStream_t);

}  // namespace vbfast::cuda
