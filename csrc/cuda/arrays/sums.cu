// Sums of results over the slices of a call: a block adds up what the blocks of the call left.
#include "cuda/arrays/launches.h"
#include "cuda/arrays/settle.h"

namespace vbfast::cuda::arrays {

namespace {

__global__ void __launch_bounds__(block_threads)
    sum_partials(const double* partials, std::int64_t n, double* sums) {
    constexpr int warps = block_threads / 32;
    double* of_warps = shared_memory<double>();
    const int thread = static_cast<int>(threadIdx.x);
    const Lanes lanes{1, 32};
    for (int k = 0; k < result_numbers; ++k) {
        ExactSum own;
        double plain = 0;
        for (std::int64_t i = thread; i < n; i += block_threads) {
            const double value = partials[i * result_numbers + k];
            own.add(value);
            plain += value;
        }
        // Infinite terms have no rounding.
        const double infinite_sum = lanes.sum(plain), exact = own.total(lanes);
        if (thread % 32 == 0)
            of_warps[k * warps + thread / 32] = is_finite(infinite_sum) ? exact : infinite_sum;
    }
    __syncthreads();
    if (thread >= result_numbers) return;
    double sum = 0;
    for (int warp = 0; warp < warps; ++warp) sum += of_warps[thread * warps + warp];
    sums[thread] = sum;
}

}  // namespace

void launch_sums(const double* partials, std::int64_t n, double* sums, cudaStream_t stream) {
    launch(sum_partials, dim3(1), dim3(block_threads),
           sizeof(double) * result_numbers * block_threads / 32, stream, partials, n, sums);
}

}  // namespace vbfast::cuda::arrays
