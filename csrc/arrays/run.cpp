#include "arrays/run.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "arrays/halves.h"
#include "arrays/maps.h"
#include "arrays/reductions.h"
#include "runtime/compensated_sum.h"
#include "runtime/compiler.h"
#include "runtime/thread_count.h"
#include "runtime/tuning.h"

#if VBFAST_X86
#include <xmmintrin.h>
#endif

namespace vbfast::arrays {

namespace {

// How many tasks a thread takes at a time: one, but for new outputs. Where these have huge pages,
// all threads that come to a page at the same time clear it, in the end for one of them. Each
// thread therefore writes as much as such a page holds, unless too little is left to share.
std::int64_t tasks_a_turn(const Call& call, const Plan& plan, std::int64_t n_tasks, int threads) {
    constexpr std::int64_t huge_page = 1 << 21, turns = 8;
    if (!call.new_outputs) return 1;
    const std::int64_t bytes = std::max<std::int64_t>(1, plan.output_bytes / n_tasks);
    const std::int64_t wanted = (huge_page + bytes - 1) / bytes;
    return std::clamp(n_tasks / (turns * threads), std::int64_t{1}, wanted);
}

// Non-temporal stores are not ordered with those that follow, that of a task's end among them. The
// thread that made them has to order them before another one reads what they wrote.
void order_non_temporal_stores() {
#if VBFAST_X86
    _mm_sfence();
#endif
}

// The tasks of a call: one a block, or, where slices are cut into ranges, three rounds of them.
template <class T>
class Runner {
  public:
    Runner(const Call& call, const Layout& layout)
        : call_(call),
          mapper_(kernels<T>().mappers[static_cast<int>(call.mapping)]),
          plan_(call, layout, sizeof(T), mapper_.fused != nullptr, mapper_.keep != nullptr),
          reductions_(call, plan_, kernels<T>().reducers[static_cast<int>(call.reduction)],
                      outcome_),
          maps_(call, plan_, mapper_) {}

    Outcome run();

  private:
    using Task = void (Runner::*)(std::int64_t, Scratch<T>&);

    void each(std::int64_t n_tasks, Task task);
    void each_on_threads(std::int64_t n_tasks, int threads, Task task);
    void reduce(SliceBlock block, std::int64_t first, std::int64_t last, T* references,
                Scratch<T>& scratch);
    void map(SliceBlock block, std::int64_t first, std::int64_t last, const T* references,
             const T* parameters, Scratch<T>& scratch) const;
    void whole_block(std::int64_t task, Scratch<T>& scratch);
    void range_states(std::int64_t task, Scratch<T>& scratch);
    void merge_ranges(std::int64_t task, Scratch<T>& scratch);
    void map_range(std::int64_t task, Scratch<T>& scratch);
    T* references_of(std::int64_t block) {
        return references_.data() + block * plan_.kept_chunks() * plan_.plane;
    }

    const Call& call_;
    const Mapper<T>& mapper_;
    const Plan plan_;
    Outcome outcome_;
    Reductions<T> reductions_;
    const Maps<T> maps_;
    std::vector<double> states_;  // (range, block, state, plane), where slices are cut
    std::vector<T> parameters_;   // (block, parameter, plane), likewise
    std::vector<T> references_;   // (block, chunk, plane), likewise, where exponentials are kept
};

template <class T>
void Runner<T>::reduce(SliceBlock block, std::int64_t first, std::int64_t last, T* references,
                       Scratch<T>& scratch) {
    if (!plan_.columns) return reductions_.reduce_rows(block, first, last, scratch);
    const auto part = [&](std::int64_t begin, std::int64_t end, double* state) {
        reductions_.clear(state);
        if (plan_.kept)
            maps_.keep(block, begin, end, references, state, scratch);
        else
            reductions_.reduce_columns(block, begin, end, state, scratch);
    };
    const auto merge = [&](double* state, const double* other) {
        reductions_.merge(state, other, block);
    };
    reduce_by_halves(first, last, column_part<T>, scratch.state, scratch.halves,
                     reductions_.n_states() * plan_.plane, part, merge);
}

template <class T>
void Runner<T>::map(SliceBlock block, std::int64_t first, std::int64_t last, const T* references,
                    const T* parameters, Scratch<T>& scratch) const {
    if (plan_.kept)
        maps_.scale(block, first, last, references, parameters, scratch);
    else
        maps_.map(block, first, last, parameters, scratch);
}

template <class T>
void Runner<T>::whole_block(std::int64_t task, Scratch<T>& scratch) {
    const SliceBlock block = plan_.block(task);
    if (plan_.fused)
        maps_.fused(block, scratch);
    else
        reduce(block, 0, plan_.n_elements, scratch.references, scratch);
    const bool settled = reductions_.finish(block, scratch.state, scratch);
    // Outputs without elements may be null, as absent ones are.
    if (!call_.maps || plan_.n_elements == 0 || (plan_.fused && !settled)) return;
    maps_.find_parameters(block, scratch.state, scratch.results, scratch.parameters);
    map(block, 0, plan_.n_elements, scratch.references, scratch.parameters, scratch);
}

template <class T>
void Runner<T>::range_states(std::int64_t task, Scratch<T>& scratch) {
    const std::int64_t range = task / plan_.n_blocks, length = reductions_.n_states() * plan_.plane;
    const std::int64_t index = task % plan_.n_blocks;
    reduce(plan_.block(index), range * plan_.range, plan_.range_end(range), references_of(index),
           scratch);
    std::copy_n(scratch.state, length, states_.begin() + task * length);
}

template <class T>
void Runner<T>::merge_ranges(std::int64_t task, Scratch<T>& scratch) {
    const SliceBlock block = plan_.block(task);
    const std::int64_t length = reductions_.n_states() * plan_.plane;
    double* state = states_.data() + task * length;  // of the first range
    const auto state_of = [&](std::int64_t range) {
        return states_.data() + (range * plan_.n_blocks + task) * length;
    };
    for (std::int64_t step = 1; step < plan_.n_ranges; step *= 2)  // as arrays/halves.h
        for (std::int64_t range = 0; range + step < plan_.n_ranges; range += 2 * step)
            reductions_.merge(state_of(range), state_of(range + step), block);
    reductions_.finish(block, state, scratch);
    if (call_.maps)
        maps_.find_parameters(block, state, scratch.results,
                              parameters_.data() + task * max_parameters * plan_.plane);
}

template <class T>
void Runner<T>::map_range(std::int64_t task, Scratch<T>& scratch) {
    // From the end: what the reduction read last may still be in a cache.
    const std::int64_t range = plan_.n_ranges - 1 - task / plan_.n_blocks;
    const std::int64_t index = task % plan_.n_blocks;
    map(plan_.block(index), range * plan_.range, plan_.range_end(range), references_of(index),
        parameters_.data() + index * max_parameters * plan_.plane, scratch);
}

template <class T>
void Runner<T>::each(std::int64_t n_tasks, Task task) {
    const int threads = runtime::threads_for(
        plan_.n_slices * plan_.n_elements * tuning::element_operations, call_.num_threads);
    if (n_tasks > 1 && threads > 1) return each_on_threads(n_tasks, threads, task);
    Scratch<T> scratch(plan_, reductions_.n_states());
    runtime::CompensatedSum sums[result_count];
    runtime::parallel(n_tasks, 1, call_.interrupt,
                      [&](std::int64_t index, int worker, runtime::Region& region) {
                          scratch.begin(region, worker);
                          (this->*task)(index, scratch);
                          for (int k = 0; k < result_count; ++k) sums[k].add(scratch.sums[k]);
                      });
    for (int k = 0; k < result_count; ++k) outcome_.sums[k] += sums[k].value();
    if (plan_.non_temporal) order_non_temporal_stores();
}

template <class T>
void Runner<T>::each_on_threads(std::int64_t n_tasks, int threads, Task task) {
    // Sums are kept by task: which thread ran one must not matter.
    std::vector<double> sums(call_.wants_sums ? n_tasks * result_count : 0);
    std::vector<std::unique_ptr<Scratch<T>>> all(static_cast<std::size_t>(threads));
    const std::int64_t together = tasks_a_turn(call_, plan_, n_tasks, threads);
    auto turn = [&](std::int64_t number, int worker, runtime::Region& region) {
        if (!all[worker]) all[worker] = std::make_unique<Scratch<T>>(plan_, reductions_.n_states());
        Scratch<T>& scratch = *all[worker];
        const std::int64_t end = std::min(n_tasks, (number + 1) * together);
        for (std::int64_t index = number * together; index < end; ++index) {
            scratch.begin(region, worker);
            (this->*task)(index, scratch);
            if (call_.wants_sums)
                std::copy_n(scratch.sums, result_count, sums.begin() + index * result_count);
        }
        if (plan_.non_temporal) order_non_temporal_stores();
    };
    runtime::parallel((n_tasks + together - 1) / together, threads, call_.interrupt, turn);
    for (int k = 0; k < result_count; ++k) {
        runtime::CompensatedSum sum;
        for (std::size_t i = k; i < sums.size(); i += result_count) sum.add(sums[i]);
        outcome_.sums[k] += sum.value();
    }
}

template <class T>
Outcome Runner<T>::run() {
    if (plan_.n_slices == 0) return outcome_;
    if (plan_.n_ranges == 1) {
        each(plan_.n_blocks, &Runner::whole_block);
        return outcome_;
    }
    const std::int64_t n_tasks = plan_.n_ranges * plan_.n_blocks;
    states_.resize(n_tasks * reductions_.n_states() * plan_.plane);
    if (call_.maps) parameters_.resize(plan_.n_blocks * max_parameters * plan_.plane);
    references_.resize(plan_.n_blocks * plan_.kept_chunks() * plan_.plane);
    each(n_tasks, &Runner::range_states);
    each(plan_.n_blocks, &Runner::merge_ranges);
    if (call_.maps) each(n_tasks, &Runner::map_range);
    return outcome_;
}

}  // namespace

template <class T>
Outcome run_call(const Call& call, Layout& layout) {
    layout.simplify();
    return Runner<T>(call, layout).run();
}

template Outcome run_call<float>(const Call&, Layout&);
template Outcome run_call<double>(const Call&, Layout&);

}  // namespace vbfast::arrays
