// Rows that stay on the device between passes.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "cuda/memory.h"
#include "cuda/rows.h"

namespace vbfast::cuda {

// Where rows lie on the host, in the precision of the pass.
struct HostRows {
    const void* rows;
    std::int64_t n_rows, n_features;
    std::int64_t row_stride, feature_stride;  // bytes
};

// Copies rows to the device, features together. `packed` is memory for those that have gaps between
// features. It may be used again at once.
template <class T>
void copy_rows(const HostRows& from, T* to, std::vector<T>& packed, cudaStream_t stream);

class DeviceRows {
  public:
    virtual ~DeviceRows() = default;
    virtual const void* data() const = 0;
    // Copies rows to the host, one after the other: those from `first` on, or some.
    void read(std::int64_t first, std::int64_t count, void* to) const;
    void take(const std::int64_t* indices, std::int64_t count, void* to) const;
    std::int64_t n_rows, n_features;
    std::int64_t row_stride;  // elements; features lie together
    bool single;
    RowsFound found;
};

template <class T>
std::unique_ptr<DeviceRows> make_device_rows(const HostRows& rows);

// Rows that are on the device already. `owner` keeps their memory, which is read in the stream.
template <class T>
std::unique_ptr<DeviceRows> borrow_device_rows(const T* rows, std::int64_t n_rows,
                                               std::int64_t n_features, std::int64_t row_stride,
                                               std::shared_ptr<void> owner, cudaStream_t stream);

}  // namespace vbfast::cuda
