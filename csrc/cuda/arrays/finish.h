// From the state of a slice to its results.
#pragma once

#include "cuda/arrays/settle.h"

namespace vbfast::cuda::arrays {

// Remembers the slice if an input fails what the call demands of it, and is the first that does.
template <class Op, class T>
__device__ inline void check_demands(const DeviceCall& call, const Slice& slice,
                                     const State<Op, T>& state) {
    for (int k = 0; k < Op::inputs && k < 2; ++k) {
        if (call.demands[k] == Demand::nothing) continue;
        const double mass = k == 0 ? state.sum[sum_below] + state.sum[sum_at] : state.sum[sum_p];
        const T reference = state.reference[k < Op::references ? k : 0];
        bool wrong;
        if (call.demands[k] == Demand::distribution) {
            wrong = reference < 0 || std::fabs(mass - 1) > call.tolerances[k];  // no NaN is wrong
        } else {
            const bool nothing = reference == -infinite<T>() && mass == 0;
            const bool excused = Op::references > 1 && call.kinds.p_logits &&
                                 state.reference[1] == -infinite<T>() && state.sum[sum_p] == 0;
            wrong = reference == infinite<T>() || (nothing && !excused);
        }
        if (!wrong) continue;
        const auto number =
            static_cast<unsigned long long>(call.offset(vbfast::arrays::place_number, slice.at));
        atomicMin(call.bad, 2 * number + static_cast<unsigned long long>(k));
        return;
    }
}

// Writes the results of a slice, weighted, by one of its lanes, and returns them to all of them.
// All lanes of the warp call it; `there`: whether theirs is a slice of the call.
template <class Op, class T>
__device__ inline void finish_slice(const DeviceCall& call, const Slice& slice, Lanes lanes,
                                    bool there, State<Op, T>& state, double* result) {
    for (int k = 0; k < result_numbers; ++k) result[k] = 0;
    Op::finish(call.kinds, state.reference, state.sum, result);
    const bool infinite_reference = state.reference[0] == infinite<T>() ||
                                    (Op::references > 1 && state.reference[1] == infinite<T>());
    if constexpr (Op::settles) {
        bool unsettled;
        if constexpr (Op::references > 1)
            unsettled = call.kinds.p_logits && !is_finite(state.sum[sum_q_log_p]) &&
                        is_finite(state.reference[0]) && is_finite(state.reference[1]);
        else
            unsettled = !scaled_sums_hold(state.reference[0], state.sum);
        if (__ballot_sync(0xffffffffu, unsettled) != 0) {
            double settled[result_numbers];
            for (int k = 0; k < result_numbers; ++k) settled[k] = result[k];
            State<Op, T> changed = state;
            if constexpr (Op::references > 1)
                settle_overflow(call, slice, lanes, changed, settled);
            else
                settle_scaled<T>(call, slice, lanes, settled);
            if (unsettled) {
                state = changed;
                for (int k = 0; k < result_numbers; ++k) result[k] = settled[k];
            }
        }
    }
    if constexpr (!Op::settles || Op::references > 1)
        if (infinite_reference) settle_infinite(call, state, result);
    const double weight = slice.weight(call);
    const bool writes = there && lanes.rank() == 0;
    if (writes && weight != 0) check_demands(call, slice, state);
    if (!call.allow_negative && result[result_sign] < 0) result[result_log_evidence] = NAN;
    if (call.present(vbfast::arrays::place_weight))
        for (int k = 0; k < result_numbers; ++k) result[k] = weight == 0 ? 0 : weight * result[k];
    if (!writes) return;
    for (int k = 0; k < call.n_results; ++k) {
        const int place = vbfast::arrays::place_result + k;
        double value = 0;
        for (int j = 0; j < result_numbers; ++j)
            if (call.results[k] == j) value = result[j];  // the results stay in registers
        if (call.wide_results)
            *slice.data<double>(call, place) = value;
        else
            *slice.data<T>(call, place) = static_cast<T>(value);
    }
}

// Sums over the first lanes of the slices of a block: `own` is this thread's part. The warps that
// have slices are the first `warps`.
__device__ inline void write_partials(const DeviceCall& call, const double* own, int warps,
                                      double* shared) {
    const int thread = static_cast<int>(threadIdx.x);
    for (int k = 0; k < result_numbers; ++k) {
        const double sum = Lanes{1, 32}.sum(own[k]);
        if (thread % 32 == 0) shared[thread / 32 * result_numbers + k] = sum;
    }
    __syncthreads();
    if (thread >= result_numbers) return;
    double sum = shared[thread];
    for (int warp = 1; warp < warps; ++warp) sum += shared[warp * result_numbers + thread];
    call.partials[static_cast<std::int64_t>(blockIdx.x) * result_numbers + thread] = sum;
}

}  // namespace vbfast::cuda::arrays
