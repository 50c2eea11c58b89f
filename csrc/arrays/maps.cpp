#include "arrays/maps.h"

#include <algorithm>

#include "arrays/gather.h"
#include "runtime/numbers.h"

namespace vbfast::arrays {

namespace {

#include "kernels/arrays/parameters-inl.h"
#include "runtime/tuning.h"

}  // namespace

template <class T>
void Maps<T>::find_parameters(SliceBlock block, const double* states, const double* results,
                              T* parameters) const {
    const std::int64_t plane = plan_.plane;
    Position position = plan_.slice(block.first);
    for (std::int64_t i = 0; i < block.width; ++i, position.advance()) {
        const double* state = states + i;
        T* own = parameters + i;
        switch (call_.mapping) {
            case Mapping::softmax:
                softmax_parameters<T>(state, plane, own, plane);
                break;
            case Mapping::log_softmax:
                own[0] = static_cast<T>(state[0] * 0 == 0 ? state[0] : 0);
                own[plane] = static_cast<T>(results[result_log_sum * plane + i]);
                break;
            case Mapping::posterior_gradient:
                posterior_gradient_parameters<T>(state, plane, plan_.weight_of(position), own,
                                                 plane);
                break;
            default:  // of both kinds of q
                gradient_parameters<T>(state, plane, plan_.weight_of(position), own, plane);
        }
    }
}

template <class T>
void Maps<T>::map_rows(SliceBlock block, std::int64_t first, std::int64_t last, const T* parameters,
                       Scratch<T>& scratch) const {
    Position position = plan_.slice(block.first);
    for (std::int64_t i = 0; i < block.width; ++i, position.advance()) {
        T own[max_parameters];
        for (int k = 0; k < max_parameters; ++k) own[k] = parameters[k * plan_.plane + i];
        char* base[n_sliced];
        for (int k = 0; k < n_sliced; ++k)
            base[k] = plan_.present(k)
                          ? plan_.operand(k).data + position.offset(plan_.operand(k).outer)
                          : nullptr;
        for (std::int64_t begin = first; begin < last; begin += tuning::row_chunk) {
            const std::int64_t n = std::min(tuning::row_chunk, last - begin);
            T* at[n_sliced] = {nullptr, nullptr, nullptr, nullptr};
            for (int k = 0; k < n_sliced; ++k) {
                if (!plan_.present(k)) continue;
                T* values = scratch.values[k];
                at[k] = k < place_out0    ? gather_row(plan_, k, base[k], begin, n, values)
                        : plan_.direct[k] ? reinterpret_cast<T*>(base[k]) + begin
                                          : values;
            }
            mapper_.row(at[place_x], at[place_y], n, own, at[place_out0], at[place_out1],
                        plan_.non_temporal);
            for (int k = place_out0; k < n_sliced; ++k)
                if (plan_.present(k)) scatter_row(plan_, k, base[k], begin, n, at[k]);
            scratch.done(n);
        }
    }
}

template <class T>
void Maps<T>::map_columns(SliceBlock block, std::int64_t first, std::int64_t last,
                          const T* parameters, Scratch<T>& scratch) const {
    for (std::int64_t begin = first; begin < last; begin += tuning::column_chunk) {
        const std::int64_t n = std::min(tuning::column_chunk, last - begin);
        for (int k = 0; k < n_sliced; ++k) {
            if (!plan_.present(k)) continue;
            if (k < place_out0)
                gather_columns(plan_, k, block, begin, n, scratch);
            else
                point_to_rows(plan_, k, block, begin, n, scratch);
        }
        T* const* const* at = scratch.pointers;
        mapper_.columns(at[place_x], at[place_y], n, block.width, parameters, plan_.plane,
                        at[place_out0], at[place_out1], plan_.non_temporal);
        for (int k = place_out0; k < n_sliced; ++k)
            if (plan_.present(k)) scatter_columns(plan_, k, block, begin, n, scratch);
        scratch.done(n * block.width);
    }
}

template <class T>
void Maps<T>::fused(SliceBlock block, Scratch<T>& scratch) const {
    Position position = plan_.slice(block.first);
    for (std::int64_t i = 0; i < block.width; ++i, position.advance()) {
        T* at[n_sliced];
        for (int k = 0; k < n_sliced; ++k)
            at[k] = plan_.present(k) ? reinterpret_cast<T*>(plan_.operand(k).data +
                                                            position.offset(plan_.operand(k).outer))
                                     : nullptr;
        mapper_.fused(at[place_x], at[place_y], plan_.n_elements, plan_.prefetch_distance,
                      plan_.weight_of(position), at[place_out0], at[place_out1], plan_.non_temporal,
                      scratch.state + i, plan_.plane);
    }
}

template <class T>
void Maps<T>::keep(SliceBlock block, std::int64_t first, std::int64_t last, T* references,
                   double* state, Scratch<T>& scratch) const {
    T* const* const* at = scratch.pointers;
    for (std::int64_t begin = first; begin < last; begin += tuning::column_chunk) {
        const std::int64_t n = std::min(tuning::column_chunk, last - begin);
        gather_columns(plan_, place_x, block, begin, n, scratch);
        point_to_rows(plan_, place_out0, block, begin, n, scratch);
        mapper_.keep(at[place_x], n, block.width, plan_.prefetch_distance, state, plan_.plane,
                     at[place_out0], references + begin / tuning::column_chunk * plan_.plane);
        if (!stays_in_scratch()) scatter_columns(plan_, place_out0, block, begin, n, scratch);
        scratch.done(n * block.width);
    }
}

template <class T>
void Maps<T>::scale(SliceBlock block, std::int64_t first, std::int64_t last, const T* references,
                    const T* parameters, Scratch<T>& scratch) const {
    for (std::int64_t begin = first; begin < last; begin += tuning::column_chunk) {
        const std::int64_t n = std::min(tuning::column_chunk, last - begin);
        if (!stays_in_scratch()) gather_columns(plan_, place_out0, block, begin, n, scratch);
        mapper_.scale(n, block.width, references + begin / tuning::column_chunk * plan_.plane,
                      parameters, plan_.plane, scratch.pointers[place_out0]);
        scatter_columns(plan_, place_out0, block, begin, n, scratch);
        scratch.done(n * block.width);
    }
}

template class Maps<float>;
template class Maps<double>;

}  // namespace vbfast::arrays
