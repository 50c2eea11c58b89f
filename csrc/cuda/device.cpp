#include "cuda/device.h"

#include <map>
#include <mutex>

#include "cuda/errors.h"

namespace vbfast::cuda {

namespace {

// Asked once a device: that takes longer than a small pass.
cudaDeviceProp properties_of(int index) {
    static std::mutex mutex;
    static std::map<int, cudaDeviceProp> known;
    const std::lock_guard<std::mutex> lock(mutex);
    auto found = known.find(index);
    if (found == known.end()) {
        cudaDeviceProp properties;
        check(cudaGetDeviceProperties(&properties, index), "asking for the device's properties");
        found = known.emplace(index, properties).first;
    }
    return found->second;
}

}  // namespace

Versions query_versions() {
    Versions versions{};
    check(cudaDriverGetVersion(&versions.driver), "asking for the driver's version");
    check(cudaRuntimeGetVersion(&versions.runtime), "asking for the runtime's version");
    return versions;
}

DeviceInfo query_device() {
    int count = 0;
    check(cudaGetDeviceCount(&count), "counting devices");
    DeviceInfo info{};
    check(cudaGetDevice(&info.index), "asking for the device in use");
    const cudaDeviceProp properties = properties_of(info.index);
    check(cudaMemGetInfo(&info.free_bytes, &info.total_bytes), "asking for the device's memory");
    info.name = properties.name;
    info.major = properties.major;
    info.minor = properties.minor;
    info.multiprocessors = properties.multiProcessorCount;
    info.l2_bytes = static_cast<std::size_t>(properties.l2CacheSize);
    info.shared_bytes = properties.sharedMemPerBlockOptin;
    return info;
}

std::string built_architectures() {
    return VBFAST_CUDA_ARCHITECTURES;
}

}  // namespace vbfast::cuda
