#include "runtime/memory.h"

#include <new>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace vbfast::runtime {

namespace {

constexpr std::size_t huge_page = std::size_t{2} << 20;

std::size_t alignment(std::size_t size) {
    return size >= huge_page ? huge_page : cache_line;
}

void release(void* memory, std::size_t size) {
    if (memory) ::operator delete(memory, std::align_val_t{alignment(size)});
}

}  // namespace

Buffer::~Buffer() {
    release(memory_, size_);
}

void* Buffer::reserve(std::size_t bytes) {
    if (memory_ && bytes <= size_) return memory_;
    release(memory_, size_);
    memory_ = nullptr;
    // From a quarter of a huge page on, whole ones.
    const std::size_t unit = bytes > huge_page / 4 ? huge_page : cache_line;
    size_ = (bytes + unit - 1) / unit * unit;
    memory_ = ::operator new(size_, std::align_val_t{alignment(size_)});
#ifdef __linux__
    if (size_ >= huge_page) madvise(memory_, size_, MADV_HUGEPAGE);  // advice: may fail
#endif
    return memory_;
}

}  // namespace vbfast::runtime
