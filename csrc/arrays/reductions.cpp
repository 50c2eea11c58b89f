#include "arrays/reductions.h"

#include <cmath>

#include "arrays/gather.h"
#include "arrays/settle.h"
#include "runtime/numbers.h"
#include "tuning.h"

namespace vbfast::arrays {

namespace {

using runtime::infinity;
using runtime::not_a_number;

}  // namespace

template <class T>
void Reductions<T>::reduce_rows(SliceBlock block, std::int64_t first, std::int64_t last,
                                Scratch<T>& scratch) const {
    Position position = plan_.slice(block.first);
    for (std::int64_t i = 0; i < block.width; ++i, position.advance()) {
        char* base[2] = {nullptr, nullptr};
        for (int k = 0; k < reducer_.inputs; ++k)
            base[k] = plan_.operand(k).data + position.offset(plan_.operand(k).outer);
        const auto row = [&](std::int64_t begin, std::int64_t n, double* state,
                             std::int64_t plane) {
            const T* in[2] = {nullptr, nullptr};
            for (int k = 0; k < reducer_.inputs; ++k)
                in[k] = gather_row(plan_, k, base[k], begin, n, scratch.values[k]);
            reducer_.row(in[0], in[1], n, plan_.prefetch_distance, state, plane);
        };
        double* state = scratch.state + i;
        if (last - first <= tuning::row_chunk) {
            row(first, last - first, state, plan_.plane);
            continue;
        }
        const auto part = [&](std::int64_t begin, std::int64_t end, double* own) {
            row(begin, end - begin, own, row_plane);
            scratch.done(end - begin);
        };
        const auto merge = [&](double* own, const double* other) {
            reducer_.merge(own, other, row_plane, 1);
        };
        const std::int64_t length = n_states() * row_plane;
        double* total = scratch.halves;
        reduce_by_halves(first, last, tuning::row_chunk, total, total + length, length, part,
                         merge);
        for (int k = 0; k < n_states(); ++k) state[k * plan_.plane] = total[k * row_plane];
    }
}

template <class T>
void Reductions<T>::clear(double* state) const {
    std::fill_n(state, n_states() * plan_.plane, 0.0);
    for (int k = 0; k < reducer_.references; ++k)
        std::fill_n(state + k * plan_.plane, plan_.plane,
                    reducer_.logits[k] ? -infinity : infinity);
}

template <class T>
void Reductions<T>::reduce_columns(SliceBlock block, std::int64_t first, std::int64_t last,
                                   double* state, Scratch<T>& scratch) const {
    for (std::int64_t begin = first; begin < last; begin += tuning::column_chunk) {
        const std::int64_t n = std::min(tuning::column_chunk, last - begin);
        for (int k = 0; k < reducer_.inputs; ++k)
            gather_columns(plan_, k, block, begin, n, scratch);
        reducer_.columns(scratch.pointers[place_x], scratch.pointers[place_y], n, block.width,
                         plan_.prefetch_distance, state, plan_.plane);
        scratch.done(n * block.width);
    }
}

// The results of a slice that has +inf among its logits, which the sums do not tell.
template <class T>
void Reductions<T>::settle_infinite(const Position& position, const double* state, double* results,
                                    Scratch<T>& scratch) const {
    const int joint = reducer_.references - 1;  // of x, or of y where there are two
    if (!reducer_.logits[joint] || !(state[joint * plan_.plane] == infinity)) {
        // q that is +inf somewhere is no distribution.
        if (reducer_.references > 1 && reducer_.logits[0] && state[0] == infinity)
            for (const int k : {result_entropy, result_expected, result_kl, result_elbo})
                results[k * plan_.plane] = not_a_number;
        return;
    }
    bool nan = false;
    const Operand& a = plan_.operand(reducer_.references > 1 ? place_y : place_x);
    Position along = plan_.element(0);
    for (std::int64_t i = 0; i < plan_.n_elements; ++i, along.advance()) {
        scratch.done(1);
        const T value = *reinterpret_cast<const T*>(a.data + position.offset(a.outer) +
                                                    along.offset(a.reduced));
        nan = nan || std::isnan(value);
    }
    const double value = nan ? not_a_number : infinity;
    results[result_log_evidence * plan_.plane] = value;
    if (call_.reduction == Reduction::sum_exp) {
        results[result_log_sum * plan_.plane] = value;
        results[result_sign * plan_.plane] = nan ? not_a_number : 1;
        return;
    }
    if (reducer_.references == 1) results[result_entropy * plan_.plane] = not_a_number;
    for (const int k : {result_expected, result_kl, result_elbo})
        results[k * plan_.plane] = not_a_number;
}

template <class T>
void Reductions<T>::check(const Position& position, const double* state) {
    for (int k = 0; k < 2; ++k) {
        const double reference = state[k * plan_.plane];
        double minimum = 0, sum = 1;
        if (call_.demands[k] == Demand::distribution) {
            const std::int64_t of_sum = reducer_.references + (k == 0 ? 0 : 3);
            minimum = reference;
            sum = state[of_sum * plan_.plane];
        } else if (call_.demands[k] == Demand::proper) {
            const bool nothing =
                reference == -infinity && state[reducer_.references * plan_.plane] == 0;
            const bool excused = reducer_.references > 1 && reducer_.logits[1] &&
                                 state[plan_.plane] == -infinity && state[5 * plan_.plane] == 0;
            if (reference == infinity) sum = infinity;
            if (nothing && !excused) sum = 0;
        } else {
            continue;
        }
        const bool off = std::abs(sum - 1) > call_.tolerances[k];  // a NaN is no error
        if (!(minimum < 0) && !off) continue;
        const std::int64_t number = position.offset(plan_.operand(place_number).outer);
        const std::lock_guard<std::mutex> lock(mutex_);
        if (outcome_.bad_slice >= 0 && outcome_.bad_slice <= number) continue;
        outcome_.bad_slice = number;
        outcome_.bad_input = k;
        outcome_.bad_minimum = minimum;
        outcome_.bad_sum = sum;
    }
}

template <class T>
bool Reductions<T>::finish(SliceBlock block, double* state, Scratch<T>& scratch) {
    reducer_.finish(state, plan_.plane, block.width, scratch.results);
    const bool checks = call_.demands[0] != Demand::nothing || call_.demands[1] != Demand::nothing;
    const bool scaled = call_.reduction == Reduction::scaled_sum_exp;
    const bool to_logits = reducer_.references > 1 && reducer_.logits[1];
    const bool weighted = plan_.present(place_weight);
    bool settled = false;
    Position position = plan_.slice(block.first);
    for (std::int64_t i = 0; i < block.width; ++i, position.advance()) {
        double* results = scratch.results + i;
        double* own = state + i;
        const double weight = weighted ? plan_.weight_of(position) : 1;
        if (scaled) {
            if (!scaled_sums_hold<T>(own, plan_.plane))
                settle_scaled<T>(plan_, position, results, scratch);
        } else if (own[0] == infinity ||
                   (reducer_.references > 1 && own[plan_.plane] == infinity)) {
            settle_infinite(position, own, results, scratch);
        } else if (to_logits && !std::isfinite(own[4 * plan_.plane]) && std::isfinite(own[0]) &&
                   std::isfinite(own[plan_.plane])) {
            settled =
                settle_overflow<T>(plan_, position, reducer_.logits[0], own, results, scratch) ||
                settled;
        }
        if (checks && weight != 0) check(position, own);
        if (!call_.allow_negative && results[result_sign * plan_.plane] < 0)
            results[result_log_evidence * plan_.plane] = not_a_number;
        if (weighted)
            for (int k = 0; k < result_count; ++k)
                results[k * plan_.plane] = weight == 0 ? 0 : weight * results[k * plan_.plane];
        if (call_.wants_sums)
            for (int k = 0; k < result_count; ++k) scratch.sums[k] += results[k * plan_.plane];
        for (int k = 0; k < call_.n_results; ++k) {
            const Operand& out = plan_.operand(place_result + k);
            char* to = out.data + position.offset(out.outer);
            const double value = results[call_.results[k] * plan_.plane];
            if (call_.wide_results)
                *reinterpret_cast<double*>(to) = value;
            else
                *reinterpret_cast<T*>(to) = static_cast<T>(value);
        }
    }
    scratch.done(block.width);  // slices without elements take time, too
    return settled;
}

template class Reductions<float>;
template class Reductions<double>;

}  // namespace vbfast::arrays
