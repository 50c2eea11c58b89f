#include "cuda/arrays/run.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "cuda/arrays/launches.h"
#include "cuda/memory.h"

namespace vbfast::cuda::arrays {

using vbfast::arrays::Call;
using vbfast::arrays::Layout;
using vbfast::arrays::Outcome;

namespace {

constexpr unsigned long long none = ~0ull;

bool lies_in_vectors(const vbfast::arrays::Operand& from, const Layout& layout, std::int64_t size) {
    bool aligned = layout.n_reduced == 1 && from.reduced[0] == size &&
                   reinterpret_cast<std::uintptr_t>(from.data) % 16 == 0;
    for (int d = 0; d < layout.n_outer; ++d) aligned = aligned && from.outer[d] % 16 == 0;
    return aligned;
}

DeviceCall make_call(const Call& call, const Layout& layout, std::int64_t size) {
    DeviceCall to{};
    to.n_outer = layout.n_outer;
    std::copy_n(layout.outer, layout.n_outer, to.outer);
    to.n_slices = layout.n_slices();
    to.n_elements = layout.n_elements();
    for (int place = 0; place < vbfast::arrays::n_places; ++place) {
        const vbfast::arrays::Operand& from = layout.operands[place];
        DeviceOperand& operand = to.operands[place];
        operand.data = from.data;
        if (from.data == nullptr && place != vbfast::arrays::place_number) continue;
        std::copy_n(from.outer, layout.n_outer, operand.outer);
        if (place >= vbfast::arrays::n_sliced) continue;
        operand.reduced = layout.n_reduced ? from.reduced[0] : 0;
        operand.vectors = lies_in_vectors(from, layout, size);
    }
    to.kinds.q_logits =
        call.reduction == Reduction::logits_logits || call.reduction == Reduction::logits_probs;
    to.kinds.p_logits =
        call.reduction == Reduction::logits_logits || call.reduction == Reduction::probs_logits;
    std::copy_n(call.demands, 2, to.demands);
    std::copy_n(call.tolerances, 2, to.tolerances);
    to.allow_negative = call.allow_negative;
    to.n_results = call.n_results;
    std::copy_n(call.results, call.n_results, to.results);
    to.wide_results = call.wide_results;
    return to;
}

// Whether threads that have neighbouring slices read neighbouring elements.
bool are_side_by_side(const Layout& layout, std::int64_t size) {
    const vbfast::arrays::Operand& x = layout.operands[vbfast::arrays::place_x];
    if (layout.n_outer == 0 || x.outer[layout.n_outer - 1] != size) return false;
    return layout.n_reduced == 0 || x.reduced[0] != size;
}

// Says of a slice that fails a demand how it does.
template <class T>
void describe(const Call& call, const Layout& layout, unsigned long long found, Outcome& outcome,
              cudaStream_t stream) {
    outcome.bad_slice = static_cast<std::int64_t>(found / 2);
    outcome.bad_input = static_cast<int>(found % 2);
    const vbfast::arrays::Operand& operand =
        layout.operands[vbfast::arrays::place_x + outcome.bad_input];
    const auto& numbers = layout.operands[vbfast::arrays::place_number].outer;
    // The index whose number that is: numbers count in the order of dimensions of falling strides.
    std::int64_t rest = outcome.bad_slice, offset = 0;
    std::vector<int> order(static_cast<std::size_t>(layout.n_outer));
    for (int d = 0; d < layout.n_outer; ++d) order[static_cast<std::size_t>(d)] = d;
    std::sort(order.begin(), order.end(), [&](int a, int b) { return numbers[a] > numbers[b]; });
    for (const int d : order) {
        offset += rest / numbers[d] * operand.outer[d];
        rest %= numbers[d];
    }
    const std::int64_t n = layout.n_elements();
    std::vector<T> elements(static_cast<std::size_t>(n));
    const std::int64_t stride = layout.n_reduced ? operand.reduced[0] : 0;
    if (stride >= static_cast<std::int64_t>(sizeof(T)))
        check(cudaMemcpy2DAsync(elements.data(), sizeof(T), operand.data + offset,
                                static_cast<std::size_t>(stride), sizeof(T),
                                static_cast<std::size_t>(n), cudaMemcpyDeviceToHost, stream),
              "a copy from the device");
    else
        for (std::int64_t i = 0; i < n; ++i)
            check(cudaMemcpyAsync(&elements[static_cast<std::size_t>(i)],
                                  operand.data + offset + i * stride, sizeof(T),
                                  cudaMemcpyDeviceToHost, stream),
                  "a copy from the device");
    check(cudaStreamSynchronize(stream), "a copy from the device");
    if (call.demands[outcome.bad_input] == Demand::proper) {
        const bool infinite =
            std::find(elements.begin(), elements.end(), static_cast<T>(HUGE_VAL)) != elements.end();
        outcome.bad_sum = infinite ? HUGE_VAL : 0;
        return;
    }
    for (const T element : elements) {
        outcome.bad_sum += static_cast<double>(element);
        outcome.bad_minimum = std::min(outcome.bad_minimum, static_cast<double>(element));
    }
}

}  // namespace

template <class T>
Outcome run_call(const Call& call, Layout& layout, double* sums, cudaStream_t stream) {
    Outcome outcome;
    layout.simplify();
    if (layout.n_outer > most_outer || layout.n_reduced > 1)
        throw Unsupported(
            "the backend 'cuda' reduces axes of an array on the device that one stride steps "
            "through; make the array C-contiguous, with the axes that are reduced last");
    if (layout.n_slices() == 0) {
        if (sums != nullptr)
            check(cudaMemsetAsync(sums, 0, result_numbers * sizeof(double), stream),
                  "clearing memory");
        check(cudaStreamSynchronize(stream), "clearing memory");
        return outcome;
    }
    constexpr int size = sizeof(T);
    DeviceCall on_device = make_call(call, layout, size);
    const Grid grid = plan_grid(on_device, size, are_side_by_side(layout, size));
    const bool demands = call.demands[0] != Demand::nothing || call.demands[1] != Demand::nothing;
    PooledMemory states, parameters, partials, bad;
    if (on_device.n_ranges > 1) {
        const std::int64_t slices = on_device.n_slices;
        on_device.states = states.reserve<double>(
            slices * on_device.n_ranges * count_of_state(call.reduction), stream);
        if (call.maps) on_device.parameters = parameters.reserve<T>(slices * n_parameters, stream);
    }
    if (sums != nullptr)
        on_device.partials = partials.reserve<double>(grid.n_finishing * result_numbers, stream);
    unsigned long long found = none;
    if (demands) {
        on_device.bad = bad.reserve<unsigned long long>(1, stream);
        check(cudaMemcpyAsync(on_device.bad, &found, sizeof found, cudaMemcpyHostToDevice, stream),
              "a copy to the device");
    }
    launch_call<T>(on_device, grid, call.reduction, call.maps ? &call.mapping : nullptr, stream);
    if (sums != nullptr) launch_sums(on_device.partials, grid.n_finishing, sums, stream);
    if (demands)
        check(cudaMemcpyAsync(&found, on_device.bad, sizeof found, cudaMemcpyDeviceToHost, stream),
              "a copy from the device");
    check(cudaStreamSynchronize(stream), "an array function");
    if (found != none) describe<T>(call, layout, found, outcome, stream);
    return outcome;
}

template Outcome run_call<float>(const Call&, Layout&, double*, cudaStream_t);
template Outcome run_call<double>(const Call&, Layout&, double*, cudaStream_t);

}  // namespace vbfast::cuda::arrays
