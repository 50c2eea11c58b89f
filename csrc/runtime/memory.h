// Memory to work in.
#pragma once

#include <cstddef>
#include <cstdint>

namespace vbfast::runtime {

constexpr std::size_t cache_line = 64;

constexpr std::size_t aligned_size(std::size_t bytes) {
    return (bytes + cache_line - 1) / cache_line * cache_line;
}

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

// Cuts memory into consecutive arrays, each a whole number of cache lines. Without memory it only
// counts: the same code first finds the size and then lays out.
class Arena {
  public:
    explicit Arena(void* memory) : memory_(static_cast<char*>(memory)) {}

    // Points `array` at `count` elements; null for none of them, or without memory.
    template <class T>
    void take(T*& array, std::int64_t count) {
        array = memory_ != nullptr && count > 0 ? reinterpret_cast<T*>(memory_ + size_) : nullptr;
        size_ += aligned_size(static_cast<std::size_t>(count) * sizeof(T));
    }

    std::size_t size() const { return size_; }

  private:
    char* memory_;
    std::size_t size_ = 0;
};

}  // namespace vbfast::runtime
