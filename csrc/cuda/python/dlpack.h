// The structures of DLPack that arrays are handed over in (dmlc/dlpack, versions 0 and 1).
#pragma once

#include <cstdint>

namespace vbfast::cuda {

constexpr std::int32_t dl_cuda = 2, dl_cuda_managed = 13;
constexpr std::uint8_t dl_float = 2;
constexpr const char *dl_name = "dltensor", *dl_used_name = "used_dltensor";
constexpr const char *dl_versioned_name = "dltensor_versioned",
                     *dl_used_versioned_name = "used_dltensor_versioned";

struct DLTensor {
    void* data;
    struct {
        std::int32_t type, id;
    } device;
    std::int32_t ndim;
    struct {
        std::uint8_t code, bits;
        std::uint16_t lanes;
    } dtype;
    std::int64_t* shape;
    std::int64_t* strides;  // in elements; null for C-contiguous, before version 1.2
    std::uint64_t byte_offset;
};

struct DLManagedTensor {
    DLTensor tensor;
    void* context;
    void (*deleter)(DLManagedTensor*);
};

struct DLManagedTensorVersioned {
    struct {
        std::uint32_t major, minor;
    } version;
    void* context;
    void (*deleter)(DLManagedTensorVersioned*);
    std::uint64_t flags;
    DLTensor tensor;
};

}  // namespace vbfast::cuda
