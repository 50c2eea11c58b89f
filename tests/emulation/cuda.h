// CUDA on the CPU, for tests without a GPU: included before every unit of csrc/cuda.
//
// Threads of a block are fibres of one thread of the machine. Each runs until it meets a barrier or
// a shuffle, so that a race between two barriers shows as a result that depends on the order in
// which threads run: VBFAST_CUDA_ORDER is forward (the default), backward or shuffled. Shared and
// device memory begin as NaN. A barrier that some threads of a block never come to ends the process
// with a message, unless these have returned.
//
// Calls of the runtime are done when they return: what two streams do to each other does not show.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <new>
#include <random>
#include <string>
#include <vector>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

#define VBFAST_EMULATES_CUDA 1
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

// Those of the fibre that runs.
inline dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace vbfast::emulation {

constexpr int warp_size = 32;
constexpr std::size_t stack_bytes = 1 << 16;
constexpr std::size_t shared_bytes_limit = 227 << 10;  // of a block, as an H100 has it

// What a fibre waits for.
enum class State { runnable, at_block_barrier, at_warp_barrier, returned };

#if defined(__x86_64__)
// Keeps the registers that a call preserves on the stack, and goes on with another stack.
extern "C" void vbfast_switch_stacks(void** from, void* to);
asm(R"(
.text
.weak vbfast_switch_stacks
.type vbfast_switch_stacks, @function
vbfast_switch_stacks:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size vbfast_switch_stacks, .-vbfast_switch_stacks
)");
#endif

class Block;
inline Block* running = nullptr;

struct Fibre {
    State state = State::runnable;
    int parity = 0;  // of its shuffles
    std::unique_ptr<char[]> stack;
#if defined(__x86_64__)
    void* top = nullptr;
#else
    ucontext_t context;
#endif
    void* fake_stack = nullptr;  // AddressSanitizer's
};

inline void run_fibre();

// The threads of one block, and what they share.
class Block {
  public:
    void run(unsigned n_threads, std::size_t shared_bytes, const std::function<void()>& body,
             dim3 shape, std::vector<unsigned>& order) {
        if (shared_bytes > shared_bytes_limit) fail("too much shared memory");
        shared_.resize(shared_bytes_limit / sizeof(double) + 1);
        std::memset(shared_.data(), 0xff, shared_bytes);
        slots_.resize(2 * n_threads);
        while (fibres_.size() < n_threads) fibres_.emplace_back();
        body_ = &body;
        shape_ = shape;
        n_threads_ = live_ = n_threads;
        at_barrier_ = 0;
        at_warp_barrier_.assign((n_threads + warp_size - 1) / warp_size, 0);
        live_in_warp_.assign(at_warp_barrier_.size(), 0);
        for (unsigned thread = 0; thread < n_threads; ++thread) {
            start(fibres_[thread]);
            ++live_in_warp_[thread / warp_size];
        }
        running = this;
        while (live_ > 0) {
            bool moved = false;
            for (const unsigned thread : order)
                if (fibres_[thread].state == State::runnable) {
                    moved = true;
                    resume(thread);
                }
            if (!moved) fail("threads of a block wait for each other");
        }
        running = nullptr;
    }

    void* shared() { return shared_.data(); }

    void block_barrier() {
        current().state = State::at_block_barrier;
        ++at_barrier_;
        release();
        leave();
    }

    void warp_barrier() {
        current().state = State::at_warp_barrier;
        ++at_warp_barrier_[thread_ / warp_size];
        release();
        leave();
    }

    // Shares a value with the warp, and returns what `lane` shared. Two buffers are used in turn,
    // so that nobody overwrites what another one has still to read.
    template <class V>
    V shuffle(V value, int lane) {
        static_assert(sizeof(V) <= sizeof(double), "shuffles are of up to eight bytes");
        return exchange(value)(lane & (warp_size - 1));
    }

    // Shares a value with the warp, and returns a function from lanes to what they have shared.
    template <class V>
    auto exchange(const V& value) {
        static_assert(sizeof(V) <= sizeof(Slot));
        const Slot* slots = share(&value, sizeof value);
        warp_barrier();
        return [slots](int lane) {
            V result;
            std::memcpy(&result, slots + lane, sizeof result);
            return result;
        };
    }

    unsigned ballot(bool value) {
        const Slot* slots = share(&value, sizeof value);
        warp_barrier();
        unsigned bits = 0;
        for (int lane = 0; lane < warp_size; ++lane)
            bits |= static_cast<unsigned>(*reinterpret_cast<const bool*>(slots + lane)) << lane;
        return bits;
    }

    int lane() const { return static_cast<int>(thread_ % warp_size); }

    // The body of the fibre that has just begun. It does not return.
    void begin() {
        finish_switch(nullptr);
        (*body_)();
        Fibre& fibre = current();
        fibre.state = State::returned;
        --live_;
        --live_in_warp_[thread_ / warp_size];
        release();
        leave(true);
    }

    [[noreturn]] static void fail(const char* what) {
        std::fprintf(stderr, "CUDA emulation: %s\n", what);
        std::abort();
    }

  private:
    struct alignas(8) Slot {
        char bytes[32];
    };

    Fibre& current() { return fibres_[thread_]; }

    // Two buffers are used in turn, so that nobody overwrites what another one has still to read.
    Slot* share(const void* value, std::size_t size) {
        Fibre& fibre = current();
        const unsigned first = thread_ / warp_size * warp_size;
        Slot* slots = slots_.data() + fibre.parity * n_threads_ + first;
        if (first + warp_size > n_threads_) fail("a shuffle in a warp that is not full");
        std::memcpy(slots + thread_ % warp_size, value, size);
        fibre.parity ^= 1;
        return slots;
    }

    // Lets those go on who wait for nobody any more.
    void release() {
        if (at_barrier_ > 0 && at_barrier_ == live_) {
            at_barrier_ = 0;
            for (unsigned i = 0; i < n_threads_; ++i)
                if (fibres_[i].state == State::at_block_barrier) fibres_[i].state = State::runnable;
        }
        const unsigned warp = thread_ / warp_size;
        if (at_warp_barrier_[warp] > 0 && at_warp_barrier_[warp] == live_in_warp_[warp]) {
            at_warp_barrier_[warp] = 0;
            for (unsigned i = warp * warp_size; i < n_threads_ && i < (warp + 1) * warp_size; ++i)
                if (fibres_[i].state == State::at_warp_barrier) fibres_[i].state = State::runnable;
        }
    }

    void start(Fibre& fibre) {
        if (!fibre.stack) fibre.stack.reset(new char[stack_bytes]);
        fibre.state = State::runnable;
        fibre.parity = 0;
        fibre.fake_stack = nullptr;
#if defined(__x86_64__)
        auto end = reinterpret_cast<std::uintptr_t>(fibre.stack.get() + stack_bytes);
        void** top = reinterpret_cast<void**>(end / 16 * 16);
        *--top = nullptr;  // where run_fibre would return to
        *--top = reinterpret_cast<void*>(&run_fibre);
        for (int saved = 0; saved < 6; ++saved) *--top = nullptr;
        fibre.top = top;
#else
        getcontext(&fibre.context);
        fibre.context.uc_stack.ss_sp = fibre.stack.get();
        fibre.context.uc_stack.ss_size = stack_bytes;
        fibre.context.uc_link = nullptr;
        makecontext(&fibre.context, &run_fibre, 0);
#endif
    }

    void resume(unsigned thread) {
        thread_ = thread;
        Fibre& fibre = fibres_[thread];
        threadIdx =
            dim3(thread % shape_.x, thread / shape_.x % shape_.y, thread / (shape_.x * shape_.y));
#if defined(__SANITIZE_ADDRESS__)
        __sanitizer_start_switch_fiber(&own_fake_stack_, fibre.stack.get(), stack_bytes);
#endif
#if defined(__x86_64__)
        vbfast_switch_stacks(&own_top_, fibre.top);
#else
        swapcontext(&own_context_, &fibre.context);
#endif
#if defined(__SANITIZE_ADDRESS__)
        __sanitizer_finish_switch_fiber(own_fake_stack_, nullptr, nullptr);
#endif
    }

    // Back to run(), until the fibre is resumed.
    void leave(bool for_good = false) {
        Fibre& fibre = current();
        (void)for_good;
#if defined(__SANITIZE_ADDRESS__)
        __sanitizer_start_switch_fiber(for_good ? nullptr : &fibre.fake_stack, own_stack_,
                                       own_stack_bytes_);
#endif
#if defined(__x86_64__)
        vbfast_switch_stacks(&fibre.top, own_top_);
#else
        swapcontext(&fibre.context, &own_context_);
#endif
        finish_switch(fibre.fake_stack);
    }

    void finish_switch(void* fake_stack) {
#if defined(__SANITIZE_ADDRESS__)
        const void* stack;
        std::size_t size;
        __sanitizer_finish_switch_fiber(fake_stack, &stack, &size);
        own_stack_ = stack;
        own_stack_bytes_ = size;
#else
        (void)fake_stack;
#endif
    }

    std::vector<Fibre> fibres_;
    std::vector<double> shared_;
    std::vector<Slot> slots_;
    std::vector<unsigned> at_warp_barrier_, live_in_warp_;
    const std::function<void()>* body_ = nullptr;
    dim3 shape_;
    unsigned n_threads_ = 0, live_ = 0, at_barrier_ = 0, thread_ = 0;
#if defined(__x86_64__)
    void* own_top_ = nullptr;
#else
    ucontext_t own_context_;
#endif
    void* own_fake_stack_ = nullptr;
    const void* own_stack_ = nullptr;
    std::size_t own_stack_bytes_ = 0;
};

inline void run_fibre() {
    running->begin();
}

inline std::vector<unsigned> thread_order(unsigned n_threads) {
    std::vector<unsigned> order(n_threads);
    for (unsigned i = 0; i < n_threads; ++i) order[i] = i;
    const char* wanted = std::getenv("VBFAST_CUDA_ORDER");
    const std::string name = wanted ? wanted : "forward";
    if (name == "backward")
        for (unsigned i = 0; i < n_threads; ++i) order[i] = n_threads - 1 - i;
    else if (name == "shuffled")
        std::shuffle(order.begin(), order.end(), std::mt19937(n_threads));
    else if (name != "forward")
        Block::fail("VBFAST_CUDA_ORDER is forward, backward or shuffled");
    return order;
}

inline Block& block_memory() {
    static Block block;
    return block;
}

// Products of small matrices, each lane's numbers where the instruction has them: see PTX ISA,
// sections of mma.m16n8k8 and mma.m8n8k4. TF32 has the upper 19 bits of a number.
inline float as_tf32(float value) {
    unsigned bits;
    std::memcpy(&bits, &value, sizeof bits);
    bits &= 0xffffe000u;
    std::memcpy(&value, &bits, sizeof bits);
    return value;
}

template <class T, int n_a, int n_b>
struct Operands {
    T a[n_a], b[n_b];
};

inline void multiply_tf32(float (&c)[4], const float (&a)[4], const float (&b)[2]) {
    const Operands<float, 4, 2> own = {{as_tf32(a[0]), as_tf32(a[1]), as_tf32(a[2]), as_tf32(a[3])},
                                       {as_tf32(b[0]), as_tf32(b[1])}};
    const auto of_lane = running->exchange(own);
    const int g = running->lane() / 4, t = running->lane() % 4;
    for (int k = 0; k < 8; ++k) {
        const auto row = of_lane(g * 4 + k % 4);
        for (int i = 0; i < 4; ++i)
            c[i] += row.a[k / 4 * 2 + i / 2] * of_lane((2 * t + i % 2) * 4 + k % 4).b[k / 4];
    }
}

inline void multiply_float64(double (&c)[2], const double (&a)[1], const double (&b)[1]) {
    const auto of_lane = running->exchange(Operands<double, 1, 1>{{a[0]}, {b[0]}});
    const int g = running->lane() / 4, t = running->lane() % 4;
    for (int k = 0; k < 4; ++k)
        for (int i = 0; i < 2; ++i)
            c[i] = std::fma(of_lane(g * 4 + k).a[0], of_lane((2 * t + i) * 4 + k).b[0], c[i]);
}

}  // namespace vbfast::emulation

// ------------------------------------------------------------------------------- the language
inline void __syncthreads() {
    vbfast::emulation::running->block_barrier();
}
inline void __syncwarp(unsigned = 0xffffffffu) {
    vbfast::emulation::running->warp_barrier();
}
template <class V>
V __shfl_sync(unsigned, V value, int lane) {
    return vbfast::emulation::running->shuffle(value, lane);
}
template <class V>
V __shfl_xor_sync(unsigned, V value, int mask) {
    return vbfast::emulation::running->shuffle(value, vbfast::emulation::running->lane() ^ mask);
}
inline unsigned __ballot_sync(unsigned, bool value) {
    return vbfast::emulation::running->ballot(value);
}
inline int __popc(unsigned bits) {
    return __builtin_popcount(bits);
}
template <class V>
V atomicMin(V* address, V value) {
    const V old = *address;
    if (value < old) *address = value;
    return old;
}
template <class V>
V atomicAdd(V* address, V value) {
    const V old = *address;
    *address += value;
    return old;
}
template <class V>
V atomicOr(V* address, V value) {
    const V old = *address;
    *address |= value;
    return old;
}

// -------------------------------------------------------------------------------- the runtime
enum cudaError_t {
    cudaSuccess = 0,
    cudaErrorMemoryAllocation = 2,
    cudaErrorNoDevice = 100,
    cudaErrorInvalidDevice = 101
};
enum cudaMemcpyKind {
    cudaMemcpyHostToDevice,
    cudaMemcpyDeviceToHost,
    cudaMemcpyDeviceToDevice,
    cudaMemcpyDefault
};
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };
using cudaStream_t = void*;
using cudaEvent_t = void*;
struct cudaDeviceProp {
    char name[256];
    std::size_t totalGlobalMem;
    int major, minor, multiProcessorCount, l2CacheSize;
    std::size_t sharedMemPerBlockOptin;
};
constexpr unsigned cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2;

inline const char* cudaGetErrorString(cudaError_t) {
    return "an emulated error";
}
inline cudaError_t cudaGetDeviceCount(int* count) {
    *count = 1;
    return cudaSuccess;
}
inline cudaError_t cudaGetDevice(int* device) {
    *device = 0;
    return cudaSuccess;
}
inline cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
    *properties = {};
    std::strcpy(properties->name, "emulated on the CPU");
    properties->totalGlobalMem = std::size_t{1} << 34;
    // VBFAST_CUDA_CAPABILITY: 90, or 89 for one whose tensor cores are slow.
    const char* capability = std::getenv("VBFAST_CUDA_CAPABILITY");
    const int wanted = capability ? std::atoi(capability) : 90;
    properties->major = wanted / 10;
    properties->minor = wanted % 10;
    // Few and small, so that small problems have several chunks.
    properties->multiProcessorCount = 2;
    properties->l2CacheSize = 1 << 18;
    properties->sharedMemPerBlockOptin = vbfast::emulation::shared_bytes_limit;
    return cudaSuccess;
}
inline cudaError_t cudaDriverGetVersion(int* version) {
    *version = 13000;
    return cudaSuccess;
}
inline cudaError_t cudaRuntimeGetVersion(int* version) {
    *version = 13000;
    return cudaSuccess;
}
inline cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
    *free = *total = std::size_t{1} << 34;
    return cudaSuccess;
}
inline cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
    *memory = std::malloc(bytes);
    if (*memory) std::memset(*memory, 0xff, bytes);
    return *memory ? cudaSuccess : cudaErrorMemoryAllocation;
}
inline cudaError_t cudaFree(void* memory) {
    std::free(memory);
    return cudaSuccess;
}
inline cudaError_t cudaMallocAsync(void** memory, std::size_t bytes, cudaStream_t) {
    return cudaMalloc(memory, bytes);
}
inline cudaError_t cudaFreeAsync(void* memory, cudaStream_t) {
    return cudaFree(memory);
}
using cudaMemPool_t = void*;
enum cudaMemPoolAttr { cudaMemPoolAttrReleaseThreshold };
inline cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t*, int) {
    return cudaSuccess;
}
inline cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) {
    return cudaSuccess;
}
struct cudaPointerAttributes {
    int device;
};
inline cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void*) {
    attributes->device = 0;
    return cudaSuccess;
}
inline cudaError_t cudaMallocHost(void** memory, std::size_t bytes) {
    return cudaMalloc(memory, bytes);
}
inline cudaError_t cudaFreeHost(void* memory) {
    return cudaFree(memory);
}
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind,
                                   cudaStream_t) {
    std::memcpy(to, from, bytes);
    return cudaSuccess;
}
inline cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_pitch, const void* from,
                                     std::size_t from_pitch, std::size_t width, std::size_t height,
                                     cudaMemcpyKind, cudaStream_t) {
    for (std::size_t row = 0; row < height; ++row)
        std::memcpy(static_cast<char*>(to) + row * to_pitch,
                    static_cast<const char*>(from) + row * from_pitch, width);
    return cudaSuccess;
}
inline cudaError_t cudaMemsetAsync(void* memory, int value, std::size_t bytes, cudaStream_t) {
    std::memset(memory, value, bytes);
    return cudaSuccess;
}
// Streams have handles that are none of the default ones.
inline cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
    static std::uintptr_t last = 0xff;
    *stream = reinterpret_cast<cudaStream_t>(++last);
    return cudaSuccess;
}
inline cudaError_t cudaSetDevice(int device) {
    return device == 0 ? cudaSuccess : cudaErrorInvalidDevice;
}
inline cudaError_t cudaDeviceSynchronize() {
    return cudaSuccess;
}
inline cudaError_t cudaStreamDestroy(cudaStream_t) {
    return cudaSuccess;
}
inline cudaError_t cudaStreamSynchronize(cudaStream_t) {
    return cudaSuccess;
}
inline cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned = 0) {
    return cudaSuccess;
}
inline cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
    *event = nullptr;
    return cudaSuccess;
}
inline cudaError_t cudaEventDestroy(cudaEvent_t) {
    return cudaSuccess;
}
inline cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) {
    return cudaSuccess;
}
inline cudaError_t cudaEventSynchronize(cudaEvent_t) {
    return cudaSuccess;
}
inline cudaError_t cudaGetLastError() {
    return cudaSuccess;
}
template <class F>
cudaError_t cudaFuncSetAttribute(F*, cudaFuncAttribute, int) {
    return cudaSuccess;
}

namespace vbfast::cuda {

template <class T>
T* shared_memory() {
    return static_cast<T*>(emulation::running->shared());
}

inline void copy_async_16(void* to, const void* from) {
    if ((reinterpret_cast<std::uintptr_t>(to) | reinterpret_cast<std::uintptr_t>(from)) % 16 != 0)
        emulation::Block::fail("a copy of 16 bytes that are not aligned");
    std::memcpy(to, from, 16);
}
inline void commit_copies() {}
inline void wait_for_copies() {}

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, std::size_t shared_bytes,
            cudaStream_t, Arguments... arguments) {
    if (grid.y > 65535 || grid.z > 65535 || block.x * block.y * block.z > 1024)
        emulation::Block::fail("a grid or block that is too large");
    const std::function<void()> body = [&] { kernel(static_cast<Parameters>(arguments)...); };
    const unsigned n_threads = block.x * block.y * block.z;
    std::vector<unsigned> order = emulation::thread_order(n_threads);
    gridDim = grid;
    blockDim = block;
    for (unsigned z = 0; z < grid.z; ++z)
        for (unsigned y = 0; y < grid.y; ++y)
            for (unsigned x = 0; x < grid.x; ++x) {
                blockIdx = dim3(x, y, z);
                emulation::block_memory().run(n_threads, shared_bytes, body, block, order);
            }
}

}  // namespace vbfast::cuda
