// Log-joints of components with a triangular factor, by tensor cores.
#pragma once

#include <optional>

#include "cuda/chunk.h"
#include "cuda/device.h"
#include "cuda/model.h"
#include "cuda/platform.h"

namespace vbfast::cuda {

// How many features a step of a product takes, and how many columns of a factor a warp keeps the
// products of. `step_length` is the length of a record of FactorSteps.
template <class T>
constexpr int step_features = sizeof(T) == 4 ? 8 : 4;
template <class T>
constexpr int kept_columns = sizeof(T) == 4 ? 64 : 32;
template <class T>
constexpr int step_length = step_features<T> * (2 + kept_columns<T>);

// Triangular factors of all components, as a stream of records.
//
// The columns of a factor go in blocks of kept_columns. Block b has a record for each step_features
// features i that its columns need, i < min(D, (b + 1) kept_columns):
//
//     centre_i for the features of the step, low_i likewise, then P_i,j,
//
// eight columns after the other, in each the numbers of lane 0, of lane 1 and so on as
// TensorCores::B has them, with zeros below the diagonal and beyond D. The mean is centre + low.
template <class T>
struct FactorSteps {
    const T* records;
    const T* offset;
    std::int64_t steps_per_component;
};

// Whether tensor cores are faster for D features. Few features have as many zeros as numbers in
// their tiles of a triangle, and centring them takes as long. The tensor cores of small GPUs are
// slow: three products of TF32 take longer there than one of float32, and float64 has few units
// either way. By operation counts, not yet by measurement. `wanted` says otherwise.
template <class T>
bool products_pay(int n_features, const DeviceInfo& device, std::optional<bool> wanted) {
    if (wanted) return *wanted;
    const bool large =
        (device.major == 8 || device.major == 9) ? device.minor == 0 : device.major == 10;
    return large && n_features >= (sizeof(T) == 4 ? 32 : 16);
}

struct ProductPlan {
    int warps;  // of a block of threads, each of 32 rows; 0 where rows do not fit in shared memory
    std::size_t shared_bytes;
};

template <class T>
ProductPlan plan_products(int n_features, std::size_t shared_bytes_limit);

// joint[k] = offset_k - 1/2 |(x - mean_k) P_k|^2.
template <class T>
void product_log_joint(const Chunk<T>& chunk, const FactorSteps<T>& model, int n_components,
                       const ProductPlan& plan, int multiprocessors, cudaStream_t stream);

}  // namespace vbfast::cuda
