// Memory that passes work in.
#pragma once

#include <cstddef>

namespace vbfast::runtime {

// One growing allocation, in huge pages where the system has them to give: a tile is read in
// strides of whole groups of rows, which 4 KB pages turn into misses of the TLB, and pages that
// happen to share a set of L2 cost a third of a pass.
class Buffer {
  public:
    Buffer() = default;
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;
    ~Buffer();
    // At least `bytes`, aligned to a cache line; contents undefined.
    void* reserve(std::size_t bytes);

  private:
    void* memory_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace vbfast::runtime
