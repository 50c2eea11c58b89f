#include "arrays/plan.h"

#include <algorithm>

#include "runtime/numbers.h"
#include "tuning.h"

namespace vbfast::arrays {

namespace {

// Whether an output takes the place of an input.
bool in_place(const Plan& plan) {
    for (const int out : {place_out0, place_out1})
        for (const int in : {place_x, place_y})
            if (plan.present(out) && plan.operand(out).data == plan.operand(in).data) return true;
    return false;
}

// How far after a chunk of a slice the next one lies, or after a slice the next slice, if all
// inputs agree.
std::int64_t find_prefetch_distance(const Plan& plan, std::int64_t size) {
    const Layout& layout = plan.layout;
    const auto bytes = [&](int place) -> std::int64_t {
        const Operand& a = plan.operand(place);
        if (!plan.direct[place]) return 0;
        if (plan.columns)
            return layout.n_reduced == 1 && plan.n_elements > tuning::column_chunk
                       ? tuning::column_chunk * a.reduced[0]
                       : 0;
        if (plan.n_elements > tuning::row_chunk) return tuning::row_chunk * size;
        return layout.n_outer > 0 ? a.outer[layout.n_outer - 1] : 0;
    };
    const std::int64_t distance = bytes(place_x);
    const bool agree = !plan.present(place_y) || bytes(place_y) == distance;
    return agree && distance % size == 0 ? distance / size : 0;
}

}  // namespace

Plan::Plan(const Call& call, const Layout& layout_, std::int64_t size, bool fuses, bool keeps)
    : layout(layout_), n_slices(layout_.n_slices()), n_elements(layout_.n_elements()) {
    const int last = layout.n_outer - 1;
    const auto is_row = [&](const Operand& a) {
        return layout.n_reduced == 0 || (layout.n_reduced == 1 && a.reduced[0] == size);
    };
    const bool adjacent = layout.n_outer > 0 && operand(place_x).outer[last] == size &&
                          layout.outer[last] >= 4 &&
                          !(is_row(operand(place_x)) && n_elements > tuning::short_slice);
    columns = adjacent || (n_elements <= tuning::short_slice && n_slices >= 4);
    bool all_direct = true, outputs_direct = true;
    for (int i = 0; i < n_sliced; ++i) {
        if (!present(i)) continue;
        const Operand& a = operand(i);
        direct[i] =
            columns ? (adjacent || layout.n_outer == 1) && a.outer[last] == size : is_row(a);
        all_direct = all_direct && direct[i];
        if (i >= place_out0) outputs_direct = outputs_direct && direct[i];
    }
    prefetch_distance = find_prefetch_distance(*this, size);
    run = adjacent ? layout.outer[last] : n_slices;
    width = tuning::column_width;
    if (!columns)
        width = std::clamp(tuning::block_elements / std::max<std::int64_t>(n_elements, 1),
                           std::int64_t{1}, tuning::column_width);
    width = std::max<std::int64_t>(1, std::min(width, run));
    plane = runtime::round_up(width, 16);
    blocks_a_run = runtime::ceil_div(run, width);
    n_blocks = n_slices / std::max<std::int64_t>(run, 1) * blocks_a_run;

    // Ranges of elements, where there are too few blocks to share.
    const std::int64_t step = columns ? tuning::column_chunk : tuning::row_chunk;
    const std::int64_t smallest =
        columns ? runtime::ceil_div(4 * tuning::block_elements, width * step) * step
                : tuning::block_elements / step * step;
    range = std::max<std::int64_t>(n_elements, 1);
    if (n_blocks < 32 && n_elements > smallest) {
        const std::int64_t wanted =
            std::min(runtime::ceil_div(n_elements, smallest),
                     runtime::ceil_div(64, std::max<std::int64_t>(n_blocks, 1)));
        range = runtime::round_up(runtime::ceil_div(n_elements, wanted), step);
    }
    n_ranges = std::max<std::int64_t>(1, runtime::ceil_div(n_elements, range));

    fused = call.maps && fuses && !columns && n_elements <= tuning::row_chunk && all_direct;
    kept = call.maps && keeps && columns;
    output_bytes = present(place_out0) ? n_slices * n_elements * size : 0;
    const std::int64_t written = output_bytes * (1 + present(place_out1));
    // Outputs that are not direct go through scratch memory, which stays in the cache.
    non_temporal = written >= tuning::non_temporal_bytes && outputs_direct && !in_place(*this);
}

double Plan::weight_of(const Position& slice) const {
    if (!present(place_weight)) return 1;
    const Operand& weight = operand(place_weight);
    return *reinterpret_cast<const double*>(weight.data + slice.offset(weight.outer));
}

}  // namespace vbfast::arrays
