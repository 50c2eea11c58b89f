#include "array_functions.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <mutex>
#include <vector>

#include "dispatch.h"

namespace vbfast {

template <>
const ArrayKernels<float>& array_kernels<float>() {
    return kernels().arrays->f32;
}
template <>
const ArrayKernels<double>& array_kernels<double>() {
    return kernels().arrays->f64;
}

namespace {

#include "kernels/array_parameters-inl.h"

constexpr std::int64_t max_width = column_width;  // slices of a block
constexpr std::int64_t block_elements = 1 << 15;  // of a block of rows, about
constexpr std::int64_t streamed_bytes = 1 << 24;  // outputs that no cache keeps
constexpr std::int64_t short_slice = 16;
constexpr std::int64_t parallel_elements = 1 << 14;  // below, waking threads costs more

constexpr double infinite = std::numeric_limits<double>::infinity();
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
    return (a + b - 1) / b;
}

template <class T>
class Run {
  public:
    Run(const ArrayCall& call, const Layout& layout)
        : call_(call),
          layout_(layout),
          reducer_(array_kernels<T>().reducers[static_cast<int>(call.reduction)]),
          mapper_(array_kernels<T>().mappers[static_cast<int>(call.mapping)]),
          n_slices_(layout.n_slices()),
          n_elements_(layout.n_elements()) {
        plan();
    }

    ArrayOutcome run();

  private:
    // Memory of one task.
    struct Scratch {
        std::vector<double> state, other, results;
        std::vector<T> parameters;
        std::vector<T> values[n_sliced];
        std::vector<const T*> pointers[2];
        std::vector<T*> targets[2];
        double sums[result_count] = {};
    };
    struct Block {
        std::int64_t first, width;
    };

    const Operand& operand(int place) const { return layout_.operands[place]; }
    bool present(int place) const { return operand(place).data != nullptr; }
    std::int64_t n_states() const { return reducer_.references + reducer_.sums; }
    Position slice(std::int64_t index) const { return {index, layout_.outer, layout_.n_outer}; }
    Position element(std::int64_t index) const {
        return {index, layout_.reduced, layout_.n_reduced};
    }

    void plan();
    Block block(std::int64_t index) const;
    void prepare(Scratch& scratch) const;
    void initialise(double* state) const;

    T* fetch_row(int place, char* base, std::int64_t first, std::int64_t n, T* values) const;
    void scatter_row(int place, char* base, std::int64_t first, std::int64_t n,
                     const T* values) const;
    void column_pointers(int place, Block block, std::int64_t first, std::int64_t n, T* values,
                         T** pointers) const;
    template <class Move>
    void each_of_columns(int place, Block block, std::int64_t first, std::int64_t n, T* values,
                         Move move) const;

    void reduce_rows(Block block, std::int64_t first, std::int64_t last, Scratch& scratch) const;
    void reduce_columns(Block block, std::int64_t first, std::int64_t last, Scratch& scratch) const;
    void reduce(Block block, std::int64_t first, std::int64_t last, Scratch& scratch) const {
        if (columns_)
            reduce_columns(block, first, last, scratch);
        else
            reduce_rows(block, first, last, scratch);
    }
    void map_rows(Block block, std::int64_t first, std::int64_t last, const T* parameters,
                  Scratch& scratch) const;
    void map_columns(Block block, std::int64_t first, std::int64_t last, const T* parameters,
                     Scratch& scratch) const;
    void map(Block block, std::int64_t first, std::int64_t last, const T* parameters,
             Scratch& scratch) const {
        if (columns_)
            map_columns(block, first, last, parameters, scratch);
        else
            map_rows(block, first, last, parameters, scratch);
    }
    void fused(Block block, Scratch& scratch) const;

    double weight_of(const Position& position) const;
    void finish(Block block, const double* state, Scratch& scratch, T* parameters);
    void settle_infinite(const Position& position, const double* state, double* results) const;
    void check(const Position& position, const double* state);
    void parameters_of(const double* state, const double* results, double weight,
                       T* parameters) const;

    RunStatus each(std::int64_t n_tasks, void (Run::*task)(std::int64_t, Scratch&));
    void whole_block(std::int64_t task, Scratch& scratch);
    void range_states(std::int64_t task, Scratch& scratch);
    void merge_ranges(std::int64_t task, Scratch& scratch);
    void map_range(std::int64_t task, Scratch& scratch);
    std::int64_t range_end(std::int64_t range) const {
        return std::min(n_elements_, (range + 1) * range_);
    }

    const ArrayCall& call_;
    const Layout& layout_;
    const Reducer<T>& reducer_;
    const Mapper<T>& mapper_;
    std::int64_t n_slices_, n_elements_;

    bool columns_ = false;   // neighbouring slices in lanes, else the elements of one
    bool adjacent_ = false;  // blocks keep within runs of the last outer dimension
    bool fused_ = false;
    bool stream_ = false;
    bool direct_[n_sliced] = {};  // kernels read or write the operand where it lies
    std::int64_t width_ = 1, plane_ = 16, run_ = 1, blocks_a_run_ = 1, n_blocks_ = 1;
    std::int64_t range_ = 1, n_ranges_ = 1;

    std::vector<double> states_;  // (range, block, state, plane), where slices are cut
    std::vector<T> parameters_;   // (block, parameter, plane), likewise
    std::vector<double> sums_;    // (task, Result)
    std::mutex mutex_;
    ArrayOutcome outcome_;
};

template <class T>
void Run<T>::plan() {
    constexpr std::int64_t size = sizeof(T);
    const int last = layout_.n_outer - 1;
    const bool row_direct =
        layout_.n_reduced == 0 || (layout_.n_reduced == 1 && operand(place_x).reduced[0] == size);
    adjacent_ = layout_.n_outer > 0 && operand(place_x).outer[last] == size &&
                layout_.outer[last] >= 4 && !(row_direct && n_elements_ > short_slice);
    columns_ = adjacent_ || (n_elements_ <= short_slice && n_slices_ >= 4);
    for (int i = 0; i < n_sliced; ++i) {
        if (!present(i)) continue;
        const Operand& a = operand(i);
        direct_[i] =
            columns_ ? (adjacent_ || layout_.n_outer == 1) && a.outer[last] == size
                     : layout_.n_reduced == 0 || (layout_.n_reduced == 1 && a.reduced[0] == size);
    }
    run_ = adjacent_ ? layout_.outer[last] : n_slices_;
    width_ = max_width;
    if (!columns_)
        width_ = std::clamp(block_elements / std::max<std::int64_t>(n_elements_, 1),
                            std::int64_t{1}, max_width);
    width_ = std::max<std::int64_t>(1, std::min(width_, run_));
    plane_ = ceil_div(width_, 16) * 16;
    blocks_a_run_ = ceil_div(run_, width_);
    n_blocks_ = n_slices_ / std::max<std::int64_t>(run_, 1) * blocks_a_run_;

    // Ranges of elements, where there are too few blocks to share.
    const std::int64_t smallest =
        columns_ ? ceil_div(4 * block_elements, width_ * column_chunk) * column_chunk
                 : block_elements / row_chunk * row_chunk;
    range_ = std::max<std::int64_t>(n_elements_, 1);
    if (n_blocks_ < 32 && n_elements_ > smallest) {
        const std::int64_t wanted = std::min(ceil_div(n_elements_, smallest),
                                             ceil_div(64, std::max<std::int64_t>(n_blocks_, 1)));
        const std::int64_t step = columns_ ? column_chunk : row_chunk;
        range_ = ceil_div(ceil_div(n_elements_, wanted), step) * step;
    }
    n_ranges_ = std::max<std::int64_t>(1, ceil_div(n_elements_, range_));

    fused_ = call_.maps && mapper_.fused && !columns_ && n_elements_ <= row_chunk;
    for (int i = 0; i < n_sliced; ++i) fused_ = fused_ && (direct_[i] || !present(i));
    const std::int64_t bytes =
        n_slices_ * n_elements_ * size * (present(place_out0) + present(place_out1));
    const char* out = operand(place_out0).data;
    stream_ = bytes >= streamed_bytes && out != operand(place_x).data &&
              out != operand(place_y).data && operand(place_out1).data != operand(place_x).data &&
              operand(place_out1).data != operand(place_y).data;
    if (!present(place_out1)) stream_ = bytes >= streamed_bytes && out != operand(place_x).data;
    // Scratch memory stays in the cache.
    for (int i = place_out0; i < n_sliced; ++i) stream_ = stream_ && (direct_[i] || !present(i));
}

template <class T>
typename Run<T>::Block Run<T>::block(std::int64_t index) const {
    const std::int64_t run = index / blocks_a_run_, piece = index % blocks_a_run_;
    const std::int64_t first = piece * width_;
    return {run * run_ + first, std::min(width_, run_ - first)};
}

template <class T>
void Run<T>::prepare(Scratch& scratch) const {
    scratch.state.resize(n_states() * plane_);
    scratch.results.resize(result_count * plane_);
    scratch.parameters.resize(max_parameters * plane_);
    if (columns_) {
        const std::int64_t rows = std::min(column_chunk, n_elements_);
        for (int i = 0; i < n_sliced; ++i)
            if (present(i) && !direct_[i]) scratch.values[i].resize(rows * plane_);
        for (int i = 0; i < 2; ++i) {
            scratch.pointers[i].resize(rows);
            scratch.targets[i].resize(rows);
        }
        return;
    }
    scratch.other.resize(2 * n_states() * 16);
    for (int i = 0; i < n_sliced; ++i)
        if (present(i) && !direct_[i]) scratch.values[i].resize(std::min(row_chunk, n_elements_));
}

template <class T>
void Run<T>::initialise(double* state) const {
    std::fill_n(state, n_states() * plane_, 0.0);
    for (int k = 0; k < reducer_.references; ++k)
        std::fill_n(state + k * plane_, plane_, reducer_.logits[k] ? -infinite : infinite);
}

// ------------------------------------------------------------------------------ moving elements

template <class T>
T* Run<T>::fetch_row(int place, char* base, std::int64_t first, std::int64_t n, T* values) const {
    if (direct_[place]) return reinterpret_cast<T*>(base) + first;
    Position position = element(first);
    for (std::int64_t i = 0; i < n; ++i, position.advance())
        values[i] = *reinterpret_cast<const T*>(base + position.offset(operand(place).reduced));
    return values;
}

template <class T>
void Run<T>::scatter_row(int place, char* base, std::int64_t first, std::int64_t n,
                         const T* values) const {
    if (direct_[place]) return;
    Position position = element(first);
    for (std::int64_t i = 0; i < n; ++i, position.advance())
        *reinterpret_cast<T*>(base + position.offset(operand(place).reduced)) = values[i];
}

// Calls move(element where it lies, its copy) for a chunk of neighbouring slices.
template <class T>
template <class Move>
void Run<T>::each_of_columns(int place, Block block, std::int64_t first, std::int64_t n, T* values,
                             Move move) const {
    const Operand& a = operand(place);
    Position across = slice(block.first);
    for (std::int64_t c = 0; c < block.width; ++c, across.advance()) {
        char* base = a.data + across.offset(a.outer);
        Position along = element(first);
        for (std::int64_t r = 0; r < n; ++r, along.advance())
            move(*reinterpret_cast<T*>(base + along.offset(a.reduced)), values[r * plane_ + c]);
    }
}

template <class T>
void Run<T>::column_pointers(int place, Block block, std::int64_t first, std::int64_t n, T* values,
                             T** pointers) const {
    if (!direct_[place]) {
        for (std::int64_t r = 0; r < n; ++r) pointers[r] = values + r * plane_;
        return;
    }
    const Operand& a = operand(place);
    char* base = a.data + slice(block.first).offset(a.outer);
    Position along = element(first);
    for (std::int64_t r = 0; r < n; ++r, along.advance())
        pointers[r] = reinterpret_cast<T*>(base + along.offset(a.reduced));
}

// --------------------------------------------------------------------------------- reductions

template <class T>
void Run<T>::reduce_rows(Block block, std::int64_t first, std::int64_t last,
                         Scratch& scratch) const {
    const std::int64_t states = n_states();
    double* total = scratch.other.data();
    double* part = total + states * 16;
    Position position = slice(block.first);
    for (std::int64_t i = 0; i < block.width; ++i, position.advance()) {
        char* base[2] = {nullptr, nullptr};
        for (int k = 0; k < reducer_.inputs; ++k)
            base[k] = operand(k).data + position.offset(operand(k).outer);
        const auto row = [&](std::int64_t begin, std::int64_t n, double* state,
                             std::int64_t plane) {
            const T* in[2] = {nullptr, nullptr};
            for (int k = 0; k < reducer_.inputs; ++k)
                in[k] = fetch_row(k, base[k], begin, n, scratch.values[k].data());
            reducer_.row(in[0], in[1], n, state, plane);
        };
        double* state = scratch.state.data() + i;
        if (last - first <= row_chunk) {
            row(first, last - first, state, plane_);
            continue;
        }
        row(first, row_chunk, total, 16);
        for (std::int64_t begin = first + row_chunk; begin < last; begin += row_chunk) {
            row(begin, std::min(row_chunk, last - begin), part, 16);
            reducer_.merge(total, part, 16, 1);
        }
        for (std::int64_t k = 0; k < states; ++k) state[k * plane_] = total[k * 16];
    }
}

template <class T>
void Run<T>::reduce_columns(Block block, std::int64_t first, std::int64_t last,
                            Scratch& scratch) const {
    initialise(scratch.state.data());
    for (std::int64_t begin = first; begin < last; begin += column_chunk) {
        const std::int64_t n = std::min(column_chunk, last - begin);
        for (int k = 0; k < reducer_.inputs; ++k) {
            T* values = scratch.values[k].data();
            if (!direct_[k])
                each_of_columns(k, block, begin, n, values,
                                [](T& there, T& copy) { copy = there; });
            column_pointers(k, block, begin, n, values,
                            const_cast<T**>(scratch.pointers[k].data()));
        }
        reducer_.columns(scratch.pointers[0].data(),
                         reducer_.inputs > 1 ? scratch.pointers[1].data() : nullptr, n, block.width,
                         scratch.state.data(), plane_);
    }
}

// ---------------------------------------------------------------------------------------- maps

template <class T>
void Run<T>::map_rows(Block block, std::int64_t first, std::int64_t last, const T* parameters,
                      Scratch& scratch) const {
    Position position = slice(block.first);
    for (std::int64_t i = 0; i < block.width; ++i, position.advance()) {
        T own[max_parameters];
        for (int k = 0; k < max_parameters; ++k) own[k] = parameters[k * plane_ + i];
        char* base[n_sliced];
        for (int k = 0; k < n_sliced; ++k)
            base[k] = present(k) ? operand(k).data + position.offset(operand(k).outer) : nullptr;
        for (std::int64_t begin = first; begin < last; begin += row_chunk) {
            const std::int64_t n = std::min(row_chunk, last - begin);
            T* at[n_sliced] = {nullptr, nullptr, nullptr, nullptr};
            for (int k = 0; k < n_sliced; ++k) {
                if (!present(k)) continue;
                T* values = scratch.values[k].data();
                at[k] = k < place_out0 ? fetch_row(k, base[k], begin, n, values)
                        : direct_[k]   ? reinterpret_cast<T*>(base[k]) + begin
                                       : values;
            }
            mapper_.row(at[place_x], at[place_y], n, own, at[place_out0], at[place_out1], stream_);
            for (int k = place_out0; k < n_sliced; ++k)
                if (present(k)) scatter_row(k, base[k], begin, n, at[k]);
        }
    }
}

template <class T>
void Run<T>::map_columns(Block block, std::int64_t first, std::int64_t last, const T* parameters,
                         Scratch& scratch) const {
    for (std::int64_t begin = first; begin < last; begin += column_chunk) {
        const std::int64_t n = std::min(column_chunk, last - begin);
        for (int k = 0; k < n_sliced; ++k) {
            if (!present(k)) continue;
            T* values = scratch.values[k].data();
            const bool input = k < place_out0;
            if (input && !direct_[k])
                each_of_columns(k, block, begin, n, values,
                                [](T& there, T& copy) { copy = there; });
            column_pointers(k, block, begin, n, values,
                            input ? const_cast<T**>(scratch.pointers[k].data())
                                  : scratch.targets[k - place_out0].data());
        }
        mapper_.columns(scratch.pointers[0].data(), scratch.pointers[1].data(), n, block.width,
                        parameters, plane_, scratch.targets[0].data(), scratch.targets[1].data(),
                        stream_);
        for (int k = place_out0; k < n_sliced; ++k)
            if (present(k) && !direct_[k])
                each_of_columns(k, block, begin, n, scratch.values[k].data(),
                                [](T& there, T& copy) { there = copy; });
    }
}

template <class T>
void Run<T>::fused(Block block, Scratch& scratch) const {
    Position position = slice(block.first);
    for (std::int64_t i = 0; i < block.width; ++i, position.advance()) {
        T* at[n_sliced];
        for (int k = 0; k < n_sliced; ++k)
            at[k] = present(k)
                        ? reinterpret_cast<T*>(operand(k).data + position.offset(operand(k).outer))
                        : nullptr;
        mapper_.fused(at[place_x], at[place_y], n_elements_, weight_of(position), at[place_out0],
                      at[place_out1], stream_, scratch.state.data() + i, plane_);
    }
}

// ------------------------------------------------------------------------------------- results

template <class T>
double Run<T>::weight_of(const Position& position) const {
    if (!present(place_weight)) return 1;
    const Operand& weight = operand(place_weight);
    return *reinterpret_cast<const double*>(weight.data + position.offset(weight.outer));
}

// What the sums cannot tell of a slice that has +inf among its logits.
template <class T>
void Run<T>::settle_infinite(const Position& position, const double* state, double* results) const {
    const bool scaled = call_.reduction == Reduction::scaled_sum_exp;
    const int joint = reducer_.references - 1;  // of x, or of y where there are two
    if (!reducer_.logits[joint] || !(state[joint * plane_] == infinite)) {
        // q that is +inf somewhere is no distribution.
        if (reducer_.references > 1 && reducer_.logits[0] && state[0] == infinite)
            for (const int k : {result_entropy, result_expected, result_kl, result_elbo})
                results[k * plane_] = not_a_number;
        return;
    }
    bool nan = false, positive = false, negative = false;
    const Operand& a = operand(reducer_.references > 1 ? place_y : place_x);
    Position along = element(0);
    for (std::int64_t i = 0; i < n_elements_; ++i, along.advance()) {
        const T value = *reinterpret_cast<const T*>(a.data + position.offset(a.outer) +
                                                    along.offset(a.reduced));
        T factor = 1;
        if (scaled)
            factor = *reinterpret_cast<const T*>(operand(place_y).data +
                                                 position.offset(operand(place_y).outer) +
                                                 along.offset(operand(place_y).reduced));
        if (factor == 0) continue;
        nan = nan || std::isnan(value) || std::isnan(factor);
        if (!(value == std::numeric_limits<T>::infinity())) continue;
        positive = positive || factor > 0;
        negative = negative || factor < 0;
    }
    nan = nan || (positive && negative);
    const bool sum = call_.reduction == Reduction::sum_exp || scaled;
    const double value = nan ? not_a_number : infinite;
    results[result_log_evidence * plane_] = value;
    if (sum) {
        results[result_log_sum * plane_] = value;
        results[result_sign * plane_] = nan ? not_a_number : positive ? 1 : -1;
        return;
    }
    if (reducer_.references == 1) results[result_entropy * plane_] = not_a_number;
    for (const int k : {result_expected, result_kl, result_elbo})
        results[k * plane_] = not_a_number;
}

template <class T>
void Run<T>::check(const Position& position, const double* state) {
    for (int k = 0; k < 2; ++k) {
        const double reference = state[k * plane_];
        double minimum = 0, sum = 1;
        if (call_.demands[k] == Demand::distribution) {
            const std::int64_t of_sum = reducer_.references + (k == 0 ? 0 : 3);
            minimum = reference;
            sum = state[of_sum * plane_];
        } else if (call_.demands[k] == Demand::proper) {
            const bool nothing = reference == -infinite && state[reducer_.references * plane_] == 0;
            const bool excused = reducer_.references > 1 && reducer_.logits[1] &&
                                 state[plane_] == -infinite && state[5 * plane_] == 0;
            if (reference == infinite) sum = infinite;
            if (nothing && !excused) sum = 0;
        } else {
            continue;
        }
        const bool off = std::abs(sum - 1) > sum_tolerance<T>;  // a NaN is no error
        if (!(minimum < 0) && !off) continue;
        const std::int64_t number = position.offset(operand(place_number).outer);
        const std::lock_guard<std::mutex> lock(mutex_);
        if (outcome_.bad_slice >= 0 && outcome_.bad_slice <= number) continue;
        outcome_.bad_slice = number;
        outcome_.bad_input = k;
        outcome_.bad_minimum = minimum;
        outcome_.bad_sum = sum;
    }
}

template <class T>
void Run<T>::parameters_of(const double* state, const double* results, double weight,
                           T* parameters) const {
    const double reference = state[0];
    const bool finite = reference * 0 == 0;
    switch (call_.mapping) {
        case Mapping::softmax:
            // SciPy's answer for a slice without a finite maximum is NaN.
            parameters[0] = static_cast<T>(finite ? reference : 0);
            parameters[plane_] = static_cast<T>(finite ? 1 / state[plane_] : not_a_number);
            break;
        case Mapping::log_softmax:
            parameters[0] = static_cast<T>(finite ? reference : 0);
            parameters[plane_] = static_cast<T>(results[result_log_sum * plane_]);
            break;
        case Mapping::posterior_gradient:
            posterior_gradient_parameters<T>(state, plane_, weight, parameters, plane_);
            break;
        default:
            gradient_parameters<T>(state, plane_, weight, parameters, plane_);
    }
}

template <class T>
void Run<T>::finish(Block block, const double* state, Scratch& scratch, T* parameters) {
    reducer_.finish(state, plane_, block.width, scratch.results.data());
    const bool checks = call_.demands[0] != Demand::nothing || call_.demands[1] != Demand::nothing;
    Position position = slice(block.first);
    for (std::int64_t i = 0; i < block.width; ++i, position.advance()) {
        double* results = scratch.results.data() + i;
        const double* own = state + i;
        const double weight = weight_of(position);
        if (own[0] == infinite || (reducer_.references > 1 && own[plane_] == infinite))
            settle_infinite(position, own, results);
        if (checks && weight != 0) check(position, own);
        if (!call_.allow_negative && results[result_sign * plane_] < 0)
            results[result_log_evidence * plane_] = not_a_number;
        if (parameters && !fused_) parameters_of(own, results, weight, parameters + i);
        if (present(place_weight))
            for (int k = 0; k < result_count; ++k)
                results[k * plane_] = weight == 0 ? 0 : weight * results[k * plane_];
        if (call_.wants_sums)
            for (int k = 0; k < result_count; ++k) scratch.sums[k] += results[k * plane_];
        for (int k = 0; k < call_.n_results; ++k) {
            const Operand& out = operand(place_result + k);
            char* to = out.data + position.offset(out.outer);
            const double value = results[call_.results[k] * plane_];
            if (call_.wide_results)
                *reinterpret_cast<double*>(to) = value;
            else
                *reinterpret_cast<T*>(to) = static_cast<T>(value);
        }
    }
}

// --------------------------------------------------------------------------------------- tasks

template <class T>
void Run<T>::whole_block(std::int64_t task, Scratch& scratch) {
    const Block own = block(task);
    if (fused_)
        fused(own, scratch);
    else
        reduce(own, 0, n_elements_, scratch);
    finish(own, scratch.state.data(), scratch, scratch.parameters.data());
    if (call_.maps && !fused_) map(own, 0, n_elements_, scratch.parameters.data(), scratch);
}

template <class T>
void Run<T>::range_states(std::int64_t task, Scratch& scratch) {
    const std::int64_t range = task / n_blocks_;
    reduce(block(task % n_blocks_), range * range_, range_end(range), scratch);
    std::copy(scratch.state.begin(), scratch.state.end(),
              states_.begin() + task * n_states() * plane_);
}

template <class T>
void Run<T>::merge_ranges(std::int64_t task, Scratch& scratch) {
    const Block own = block(task);
    const std::int64_t length = n_states() * plane_;
    double* state = states_.data() + task * length;
    for (std::int64_t range = 1; range < n_ranges_; ++range)
        reducer_.merge(state, states_.data() + (range * n_blocks_ + task) * length, plane_,
                       own.width);
    T* parameters = call_.maps ? parameters_.data() + task * max_parameters * plane_ : nullptr;
    finish(own, state, scratch, parameters);
}

template <class T>
void Run<T>::map_range(std::int64_t task, Scratch& scratch) {
    // From the end: what the reduction read last may still be in a cache.
    const std::int64_t range = n_ranges_ - 1 - task / n_blocks_, index = task % n_blocks_;
    map(block(index), range * range_, range_end(range),
        parameters_.data() + index * max_parameters * plane_, scratch);
}

template <class T>
RunStatus Run<T>::each(std::int64_t n_tasks, void (Run::*task)(std::int64_t, Scratch&)) {
    // Sums belong to tasks: which thread ran one must not matter.
    if (call_.wants_sums) sums_.assign(n_tasks * result_count, 0.0);
    const auto one = [&](std::int64_t index, Scratch& scratch) {
        std::fill_n(scratch.sums, result_count, 0.0);
        (this->*task)(index, scratch);
        if (call_.wants_sums)
            std::copy_n(scratch.sums, result_count, sums_.begin() + index * result_count);
    };
    RunStatus status = RunStatus::finished;
    if (n_tasks == 1 || n_slices_ * n_elements_ < parallel_elements) {
        Scratch scratch;
        prepare(scratch);
        for (std::int64_t index = 0; index < n_tasks; ++index) one(index, scratch);
    } else {
        const int threads = call_.num_threads > 0 ? call_.num_threads : get_num_threads();
        std::vector<std::unique_ptr<Scratch>> all(threads);
        status = parallel(n_tasks, threads, call_.interrupt,
                          [&](std::int64_t index, int worker, Region&) {
                              if (!all[worker]) {
                                  all[worker] = std::make_unique<Scratch>();
                                  prepare(*all[worker]);
                              }
                              one(index, *all[worker]);
                          });
    }
    if (call_.wants_sums)
        for (std::int64_t index = 0; index < n_tasks; ++index)
            for (int k = 0; k < result_count; ++k)
                outcome_.sums[k] += sums_[index * result_count + k];
    return status;
}

template <class T>
ArrayOutcome Run<T>::run() {
    if (n_slices_ == 0) return outcome_;
    if (n_ranges_ == 1) {
        outcome_.status = each(n_blocks_, &Run::whole_block);
        return outcome_;
    }
    states_.resize(n_ranges_ * n_blocks_ * n_states() * plane_);
    if (call_.maps) parameters_.resize(n_blocks_ * max_parameters * plane_);
    outcome_.status = each(n_ranges_ * n_blocks_, &Run::range_states);
    if (outcome_.status == RunStatus::finished)
        outcome_.status = each(n_blocks_, &Run::merge_ranges);
    if (outcome_.status == RunStatus::finished && call_.maps)
        outcome_.status = each(n_ranges_ * n_blocks_, &Run::map_range);
    return outcome_;
}

}  // namespace

template <class T>
ArrayOutcome run_array_call(const ArrayCall& call, Layout& layout) {
    layout.simplify();
    return Run<T>(call, layout).run();
}

template ArrayOutcome run_array_call<float>(const ArrayCall&, Layout&);
template ArrayOutcome run_array_call<double>(const ArrayCall&, Layout&);

}  // namespace vbfast
