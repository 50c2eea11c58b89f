// The kernels of the array functions. Every sum has an order that follows from the shape of the
// call and its strides alone; nothing is added up by atomics.
//
// Blocking: a slice that a warp has registers for is read once, by the fewest lanes that have; a
// longer one, or columns that lie side by side, by a block, from whose registers it is mapped if it
// fits them. What is longer yet is read in chunks, about references that rise, and once more by its
// map. Slices longer than a range are cut, so that few long ones fill the device, too: states of
// ranges are merged by one kernel and the map is another.
#pragma once

#include "cuda/arrays/finish.h"
#include "cuda/arrays/maps.h"

namespace vbfast::cuda::arrays {

using vbfast::arrays::place_out0;
using vbfast::arrays::place_x;
using vbfast::arrays::place_y;

template <class Op>
constexpr int state_numbers = Op::references + Op::sums;

template <class T, class Inputs>
constexpr int elements_of_block = block_bytes / static_cast<int>(sizeof(T)) / Inputs::inputs;

// Zero where sums are about an infinite reference.
template <class T>
struct Base {
    T of[2];
    __device__ explicit Base(const T* reference)
        : of{or_zero_if_infinite(reference[0]), or_zero_if_infinite(reference[1])} {}
};

template <class Op>
__device__ inline const char* second_input(const DeviceCall& call, const Slice& slice) {
    return Op::inputs > 1 ? slice.data<const char>(call, place_y) : nullptr;
}

// Whole slices of up to E elements for each of the `group` lanes that share one.
template <class T, class Op, class Map, int E>
__global__ void __launch_bounds__(lane_threads, Map::outputs > 0 ? 3 : 4)
    reduce_lanes(DeviceCall call, int group) {
    const Lanes lanes{1, group};
    const Kinds kinds = call.kinds;
    const int slices_of_block = lane_threads / group;
    std::int64_t number = static_cast<std::int64_t>(blockIdx.x) * slices_of_block +
                          static_cast<int>(threadIdx.x) / group;
    const bool there = number < call.n_slices;
    if (!there) number = call.n_slices - 1;  // all lanes take part in the shuffles
    const Slice slice(call, number);
    const int rank = lanes.rank(), size = lanes.size();
    const char* x_slice = slice.data<const char>(call, place_x);
    const char* y_slice = second_input<Op>(call, slice);
    const std::int64_t n = call.n_elements;
    Elements<Op, T, E> own;
    own.load_chunk(call, x_slice, y_slice, 0, n, rank, size, Op::fill(kinds, 0),
                   Op::fill(kinds, 1));
    State<Op, T> state(kinds);
#pragma unroll
    for (int i = 0; i < E; ++i)
        if (element_of<T>(i, rank, size, false) < n)
            Op::observe(kinds, own.x[i], own.y[Op::inputs > 1 ? i : 0], state.reference);
    lanes.share_references<Op>(kinds, state.reference);
    add_terms<Op>(kinds, own.x, own.y, Base<T>(state.reference).of, state.sum);
    for (int k = 0; k < Op::sums; ++k) state.sum[k] = lanes.sum(state.sum[k]);
    double result[result_numbers];
    finish_slice(call, slice, lanes, there, state, result);
    if constexpr (Map::outputs > 0) {
        const Parameters<T> parameters =
            Map::find(kinds, state.reference, state.sum, result, slice.weight(call));
        if (there) write_map<Map>(call, slice, parameters, own.x, own.y, 0, n, rank, size);
    }
    if (call.partials == nullptr) return;
    if (!there || rank > 0)
        for (int k = 0; k < result_numbers; ++k) result[k] = 0;
    write_partials(call, result, lane_threads / 32, shared_memory<double>());
}

// What the threads of a block exchange.
template <class T>
struct Exchange {
    T reference[block_threads / 32][32][2];
    double sum[block_threads / 32][32][5];
};

// A block's slices and elements: columns of it are neighbouring slices.
struct OwnPart {
    __device__ explicit OwnPart(const DeviceCall& call) {
        const int columns = call.columns, thread = static_cast<int>(threadIdx.x);
        const std::int64_t n_groups = (call.n_slices + columns - 1) / columns;
        group = static_cast<std::int64_t>(blockIdx.x) % n_groups;
        range = static_cast<std::int64_t>(blockIdx.x) / n_groups;
        number = group * columns + thread % columns;
        there = number < call.n_slices;
        if (!there) number = call.n_slices - 1;
        rank = thread / columns;
        size = block_threads / columns;
        begin = range * call.range;
        end = begin + call.range < call.n_elements ? begin + call.range : call.n_elements;
    }

    std::int64_t group, range, number, begin, end;
    int rank, size;
    bool there;
};

// Slices, or ranges of slices, a block each or several side by side.
template <class T, class Op, class Map>
__global__ void __launch_bounds__(block_threads, Map::outputs > 0 ? 1 : 2)
    reduce_blocks(DeviceCall call) {
    constexpr int E = elements_of_block<T, Op>, warps = block_threads / 32;
    const Kinds kinds = call.kinds;
    const OwnPart part(call);
    const Slice slice(call, part.number);
    const char* x_slice = slice.data<const char>(call, place_x);
    const char* y_slice = second_input<Op>(call, slice);
    const std::int64_t chunk = static_cast<std::int64_t>(part.size) * E;
    const bool columns = call.columns > 1;
    const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
    Elements<Op, T, E> own;
    const auto load_chunk = [&](std::int64_t begin) {
        own.load_chunk(call, x_slice, y_slice, begin, part.end, part.rank, part.size,
                       Op::fill(kinds, 0), Op::fill(kinds, 1));
    };
    State<Op, T> state(kinds);
    const auto observe = [&](std::int64_t begin) {
#pragma unroll
        for (int i = 0; i < E; ++i)
            if (begin + element_of<T>(i, part.rank, part.size, columns) < part.end)
                Op::observe(kinds, own.x[i], own.y[Op::inputs > 1 ? i : 0], state.reference);
    };
    const bool at_once = part.end - part.begin <= chunk;
    if (at_once) {
        load_chunk(part.begin);
        observe(part.begin);
    } else {
        for (std::int64_t begin = part.begin; begin < part.end; begin += chunk) {
            const T before[2] = {state.reference[0], state.reference[1]};
            load_chunk(begin);
            observe(begin);
            if (before[0] != state.reference[0] || before[1] != state.reference[1])
                state.rescale(kinds, before);
            add_terms<Op>(kinds, own.x, own.y, Base<T>(state.reference).of, state.sum);
        }
    }

    // The references of all threads with the same column, then their sums.
    auto& exchange = *shared_memory<Exchange<T>>();
    const Lanes in_warp{call.columns, 32};
    const T before[2] = {state.reference[0], state.reference[1]};
    in_warp.share_references<Op>(kinds, state.reference);
    for (int k = 0; k < 2; ++k) exchange.reference[warp][lane][k] = state.reference[k];
    __syncthreads();
    for (int w = 0; w < warps; ++w)
        Lanes::merge_references<Op>(kinds, exchange.reference[w][lane], state.reference);
    if (at_once)
        add_terms<Op>(kinds, own.x, own.y, Base<T>(state.reference).of, state.sum);
    else
        state.rescale(kinds, before);
    for (int k = 0; k < Op::sums; ++k) exchange.sum[warp][lane][k] = in_warp.sum(state.sum[k]);
    __syncthreads();
    for (int k = 0; k < Op::sums; ++k) {
        const auto of = [&](int w) { return exchange.sum[w][lane][k]; };
        state.sum[k] = ((of(0) + of(1)) + (of(2) + of(3))) + ((of(4) + of(5)) + (of(6) + of(7)));
    }
    if (call.n_ranges > 1) {
        if (part.there && part.rank == 0) {
            double* out =
                call.states + (part.number * call.n_ranges + part.range) * state_numbers<Op>;
            for (int k = 0; k < Op::references; ++k)
                out[k] = static_cast<double>(state.reference[k]);
            for (int k = 0; k < Op::sums; ++k) out[Op::references + k] = state.sum[k];
        }
        return;
    }
    __syncthreads();  // before what was exchanged is overwritten
    double result[result_numbers] = {};
    auto* parameters = reinterpret_cast<Parameters<T>*>(exchange.reference);
    if (warp == 0) {
        finish_slice(call, slice, in_warp, part.there, state, result);
        if constexpr (Map::outputs > 0)
            parameters[lane] =
                Map::find(kinds, state.reference, state.sum, result, slice.weight(call));
    }
    if constexpr (Map::outputs > 0) {
        __syncthreads();
        const Parameters<T> of_slice = parameters[lane];
        for (std::int64_t begin = part.begin; begin < part.end; begin += chunk) {
            if (!at_once) load_chunk(begin);
            if (part.there)
                write_map<Map>(call, slice, of_slice, own.x, own.y, begin, part.end, part.rank,
                               part.size);
        }
    }
    if (call.partials == nullptr) return;
    if (!part.there || part.rank > 0)
        for (int k = 0; k < result_numbers; ++k) result[k] = 0;
    write_partials(call, result, warps, exchange.sum[0][0]);
}

// Merges the ranges of a slice, a warp a slice, and finishes it. Lane i has ranges i, i + 32, ....
template <class T, class Op, class Map>
__global__ void __launch_bounds__(block_threads, 2) merge_ranges(DeviceCall call) {
    const Lanes lanes{1, 32};
    const Kinds kinds = call.kinds;
    std::int64_t number = static_cast<std::int64_t>(blockIdx.x) * (block_threads / 32) +
                          static_cast<int>(threadIdx.x) / 32;
    const bool there = number < call.n_slices;
    if (!there) number = call.n_slices - 1;
    const double* states = call.states + number * call.n_ranges * state_numbers<Op>;
    State<Op, T> state(kinds);
    const auto reference_of = [&](std::int64_t range, T* reference) {
        for (int k = 0; k < Op::references; ++k)
            reference[k] = static_cast<T>(states[range * state_numbers<Op> + k]);
    };
    for (std::int64_t range = lanes.rank(); range < call.n_ranges; range += 32) {
        T other[2] = {T(0), T(0)};
        reference_of(range, other);
        Lanes::merge_references<Op>(kinds, other, state.reference);
    }
    lanes.share_references<Op>(kinds, state.reference);
    ExactSum sums[Op::sums];
    for (std::int64_t range = lanes.rank(); range < call.n_ranges; range += 32) {
        State<Op, T> other(kinds);
        T from[2] = {T(0), T(0)};
        reference_of(range, from);
        for (int k = 0; k < 2; ++k) other.reference[k] = state.reference[k];
        for (int k = 0; k < Op::sums; ++k)
            other.sum[k] = states[range * state_numbers<Op> + Op::references + k];
        other.rescale(kinds, from);
        for (int k = 0; k < Op::sums; ++k) sums[k].add(other.sum[k]);
    }
    for (int k = 0; k < Op::sums; ++k) {
        const double plain = lanes.sum(sums[k].sum), exact = sums[k].total(lanes);
        state.sum[k] = is_finite(plain) ? exact : plain;
    }
    const Slice slice(call, number);
    double result[result_numbers];
    finish_slice(call, slice, lanes, there, state, result);
    if constexpr (Map::outputs > 0)
        if (there && lanes.rank() == 0)
            static_cast<Parameters<T>*>(call.parameters)[number] =
                Map::find(kinds, state.reference, state.sum, result, slice.weight(call));
    if (call.partials == nullptr) return;
    if (!there || lanes.rank() > 0)
        for (int k = 0; k < result_numbers; ++k) result[k] = 0;
    write_partials(call, result, block_threads / 32, shared_memory<double>());
}

// Maps the ranges of slices that merge_ranges has finished.
template <class T, class Map>
__global__ void __launch_bounds__(block_threads, 2) map_ranges(DeviceCall call) {
    constexpr int E = elements_of_block<T, Map>;
    const OwnPart part(call);
    if (!part.there) return;
    const Slice slice(call, part.number);
    const char* x_slice = slice.data<const char>(call, place_x);
    const char* y_slice = second_input<Map>(call, slice);
    const Parameters<T> parameters =
        static_cast<const Parameters<T>*>(call.parameters)[part.number];
    const std::int64_t chunk = static_cast<std::int64_t>(part.size) * E;
    for (std::int64_t begin = part.begin; begin < part.end; begin += chunk) {
        Elements<Map, T, E> own;
        own.load_chunk(call, x_slice, y_slice, begin, part.end, part.rank, part.size, T(0), T(0));
        write_map<Map>(call, slice, parameters, own.x, own.y, begin, part.end, part.rank,
                       part.size);
    }
}

}  // namespace vbfast::cuda::arrays
