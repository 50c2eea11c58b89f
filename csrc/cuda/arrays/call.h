// What a kernel of the array functions is given.
//
// A slice is the elements that are reduced together, as in csrc/arrays: the layout, the reductions,
// the maps and the results are those of the CPU, and so is their meaning.
#pragma once

#include <cstdint>

#include "arrays/call.h"
#include "arrays/layout.h"
#include "cuda/platform.h"

namespace vbfast::cuda::arrays {

using vbfast::arrays::Demand;
using vbfast::arrays::Mapping;
using vbfast::arrays::Reduction;

constexpr int most_outer = 4;  // dimensions of slices, once those that can be joined are
// Threads of a block, and of one whose warps have slices of their own.
constexpr int block_threads = 256, lane_threads = 128;
constexpr int result_numbers = vbfast::arrays::result_count;
constexpr int n_parameters = vbfast::arrays::max_parameters;

// Bytes that a thread has in registers: of each input where a few lanes of a warp share a slice,
// or a warp has a longer one; of all inputs where a block has one.
constexpr int few_bytes = 32, many_bytes = 64, block_bytes = 64;
// A range is that many times what a block has in registers: no sum has more terms in a row.
constexpr int chunks_of_range = 8;

// Strides are in bytes. Without data, an operand is absent.
struct DeviceOperand {
    char* data;
    std::int64_t outer[most_outer];
    std::int64_t reduced;
    bool vectors;  // elements of a slice lie together, 16 bytes aligned
};

struct Kinds {
    bool q_logits, p_logits;  // of the inputs of a pair
};

struct DeviceCall {
    int n_outer;
    std::int64_t outer[most_outer];
    std::int64_t n_slices, n_elements;
    DeviceOperand operands[vbfast::arrays::n_places];
    Kinds kinds;
    Demand demands[2];
    double tolerances[2];
    bool allow_negative;
    int n_results;
    int results[result_numbers];
    bool wide_results;
    // Neighbouring threads of a block have `columns` neighbouring slices, a power of two up to 32.
    int columns;
    std::int64_t range, n_ranges;  // elements of a range, and ranges of a slice
    double* states;                // (slice, range, reference or sum), where there are several
    void* parameters;              // of maps: (slice, parameter), likewise
    double* partials;              // sums of results of a block of threads, or null
    // 2 * number of the first slice that fails a demand, plus the input that does.
    unsigned long long* bad;

    __device__ std::int64_t offset(int place, const std::int64_t (&at)[most_outer]) const {
        std::int64_t sum = 0;
        for (int d = 0; d < most_outer; ++d) sum += at[d] * operands[place].outer[d];
        return sum;
    }
    __device__ bool present(int place) const { return operands[place].data != nullptr; }
};

// The index of a slice, and where its elements are.
struct Slice {
    __device__ Slice(const DeviceCall& call, std::int64_t number) {
        // Loops whose ends are known when they are compiled: indices stay in registers.
        for (int d = most_outer - 1; d > 0; --d) {
            at[d] = 0;
            if (d >= call.n_outer) continue;
            at[d] = number % call.outer[d];
            number /= call.outer[d];
        }
        at[0] = number;
    }
    template <class T>
    __device__ T* data(const DeviceCall& call, int place) const {
        return reinterpret_cast<T*>(call.operands[place].data + call.offset(place, at));
    }
    __device__ double weight(const DeviceCall& call) const {
        using vbfast::arrays::place_weight;
        return call.present(place_weight) ? *data<const double>(call, place_weight) : 1.0;
    }

    std::int64_t at[most_outer];
};

}  // namespace vbfast::cuda::arrays
