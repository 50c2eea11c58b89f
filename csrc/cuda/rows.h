// Rows on the device, and what is asked of them before the first pass.
#pragma once

#include <cstdint>

#include "cuda/platform.h"

namespace vbfast::cuda {

// What a look at rows finds.
struct RowsFound {
    std::int64_t first_bad;  // the first row that is not finite, or the number of rows
    bool extreme;            // squares of differences may leave the range of T
};

// Looks at rows (n_rows, n_features), and waits for the answer. `scratch` is two numbers on the
// device.
template <class T>
RowsFound look_at(const T* rows, std::int64_t row_stride, std::int64_t n_rows, int n_features,
                  unsigned long long* scratch, cudaStream_t stream);

}  // namespace vbfast::cuda
