// Device and pinned memory, streams and events, released by their owners.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "cuda/errors.h"
#include "cuda/platform.h"

namespace vbfast::cuda {

class Stream {
  public:
    Stream() { check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "a stream"); }
    ~Stream() { cudaStreamDestroy(stream_); }
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;
    operator cudaStream_t() const { return stream_; }
    void wait() const { check(cudaStreamSynchronize(stream_), "waiting for the device"); }

  private:
    cudaStream_t stream_ = nullptr;
};

// A moment in a stream.
class Event {
  public:
    Event() { check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "an event"); }
    ~Event() { cudaEventDestroy(event_); }
    Event(const Event&) = delete;
    Event& operator=(const Event&) = delete;
    void record(cudaStream_t stream) { check(cudaEventRecord(event_, stream), "an event"); }
    // Until what came before it is done; at once if it was never recorded.
    void wait() const { check(cudaEventSynchronize(event_), "waiting for the device"); }
    void hold_back(cudaStream_t stream) const {
        check(cudaStreamWaitEvent(stream, event_, 0), "an event");
    }

  private:
    cudaEvent_t event_ = nullptr;
};

// Device memory that grows: what was in it is lost then.
class Buffer {
  public:
    Buffer() = default;
    ~Buffer() { cudaFree(memory_); }
    Buffer(Buffer&& other) noexcept
        : memory_(std::exchange(other.memory_, nullptr)), size_(std::exchange(other.size_, 0)) {}
    Buffer& operator=(Buffer&& other) noexcept {
        std::swap(memory_, other.memory_);
        std::swap(size_, other.size_);
        return *this;
    }

    template <class T>
    T* reserve(std::int64_t count) {
        const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(T);
        if (bytes > size_) {
            cudaFree(memory_);
            memory_ = nullptr;
            size_ = 0;
            check(cudaMalloc(&memory_, bytes), "device memory");
            size_ = bytes;
        }
        return static_cast<T*>(memory_);
    }
    template <class T>
    T* as() const {
        return static_cast<T*>(memory_);
    }
    std::size_t size() const { return size_; }

  private:
    void* memory_ = nullptr;
    std::size_t size_ = 0;
};

// Device memory of the pool that the driver has: what a call needs and gives back.
class PooledMemory {
  public:
    PooledMemory() = default;
    ~PooledMemory() { release(); }
    PooledMemory(const PooledMemory&) = delete;
    PooledMemory& operator=(const PooledMemory&) = delete;

    // In the order of the stream, which has to outlive the memory.
    template <class T>
    T* reserve(std::int64_t count, cudaStream_t stream) {
        release();
        const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(T);
        check(cudaMallocAsync(&memory_, bytes > 0 ? bytes : 1, stream), "device memory");
        stream_ = stream;
        return static_cast<T*>(memory_);
    }

  private:
    void release() {
        if (memory_ != nullptr) cudaFreeAsync(memory_, stream_);
        memory_ = nullptr;
    }

    void* memory_ = nullptr;
    cudaStream_t stream_ = nullptr;
};

// Copies a vector to the device. It may be changed once the stream has been waited for.
template <class T>
const T* upload(Buffer& buffer, const std::vector<T>& values, cudaStream_t stream) {
    T* memory = buffer.reserve<T>(static_cast<std::int64_t>(values.size()));
    check(cudaMemcpyAsync(memory, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice,
                          stream),
          "a copy to the device");
    return memory;
}

}  // namespace vbfast::cuda
