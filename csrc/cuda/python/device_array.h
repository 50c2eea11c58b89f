// Arrays on a device: borrowed from another library, or an array function's results.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "cuda/memory.h"

namespace vbfast::cuda {

// Uses a device for its lifetime.
class DeviceGuard {
  public:
    explicit DeviceGuard(int device) {
        check(cudaGetDevice(&before_), "asking for the device in use");
        check(cudaSetDevice(device), "using a device");
    }
    ~DeviceGuard() { cudaSetDevice(before_); }
    DeviceGuard(const DeviceGuard&) = delete;
    DeviceGuard& operator=(const DeviceGuard&) = delete;

  private:
    int before_ = 0;
};

// A stream of one call.
class CallStream {
  public:
    explicit CallStream(int device) : device_(device) {
        const DeviceGuard guard(device);
        stream_ = std::make_unique<Stream>();
    }

    int device() const { return device_; }
    cudaStream_t stream() const { return *stream_; }
    // Makes what comes wait for what is in another stream now.
    void wait_for(std::uintptr_t other) const;

  private:
    int device_;
    std::unique_ptr<Stream> stream_;
};

struct DeviceArray {
    char* data = nullptr;
    std::vector<std::int64_t> shape, strides;  // strides in bytes
    bool is_double = false;
    int device = 0;
    std::shared_ptr<void> owner;  // keeps the memory

    std::int64_t size() const {
        std::int64_t all = 1;
        for (const std::int64_t length : shape) all *= length;
        return all;
    }
    std::int64_t item_bytes() const { return is_double ? 8 : 4; }

    // New, C-contiguous.
    static DeviceArray empty(std::vector<std::int64_t> shape, bool is_double,
                             const CallStream& stream);
    static DeviceArray copy_of(const pybind11::array& array, const CallStream& stream);
    // Of DLPack, of either version; takes the capsule's content over.
    static DeviceArray from_capsule(const pybind11::capsule& capsule);
    // Of the members of `__cuda_array_interface__`.
    static DeviceArray borrow(std::uintptr_t data, std::vector<std::int64_t> shape,
                              const std::optional<std::vector<std::int64_t>>& strides,
                              bool is_double, int device, pybind11::object owner);

    DeviceArray broadcast_to(const std::vector<std::int64_t>& wanted) const;
    // Of a contiguous array.
    pybind11::array to_host(const CallStream& stream) const;
    pybind11::capsule to_capsule(bool versioned) const;
};

// The device whose memory is at an address; the one in use for none.
int device_of_address(std::uintptr_t address);

}  // namespace vbfast::cuda
