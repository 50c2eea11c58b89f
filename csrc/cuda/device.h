// What there is to compute on.
#pragma once

#include <cstddef>
#include <string>

namespace vbfast::cuda {

struct Versions {
    int driver;   // the newest CUDA that the driver can run, 13000 for 13.0; 0 without a driver
    int runtime;  // the one that is linked in
};

struct DeviceInfo {
    int index;  // as the runtime counts
    std::string name;
    int major, minor;  // compute capability
    int multiprocessors;
    std::size_t total_bytes, free_bytes, l2_bytes;
    std::size_t shared_bytes;  // the most that a block may have
};

Versions query_versions();

// The device in use. Throws Error without a driver or a device, or if the driver is too old.
DeviceInfo query_device();

// Those that the kernels were compiled for, in CMake's words: "80-real,90-real", say.
std::string built_architectures();

}  // namespace vbfast::cuda
