// Memory of a task of the array functions.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>

#include "arrays/halves.h"
#include "arrays/plan.h"
#include "runtime/memory.h"
#include "runtime/numbers.h"
#include "runtime/threads.h"
#include "tuning.h"

namespace vbfast::arrays {

constexpr std::int64_t row_plane = 16;  // of the states of one slice

// All of it lies in one allocation: a call on few elements is over sooner than several take. It
// begins as zeros, since kernels finish whole vectors of states, the last lanes without a slice.
template <class T>
class Scratch {
  public:
    Scratch(const Plan& plan, int n_states)
        : memory_(std::make_unique<unsigned char[]>(lay_out(plan, n_states, nullptr))) {
        lay_out(plan, n_states, memory_.get());
    }

    double *state, *results;  // (state or Result, plane)
    double* halves;           // other states, see arrays/halves.h: (halving, state, plane), and of
                              // rows, whose own plane is 16, one more that the others go to
    T* parameters;            // (parameter, plane)
    T* references;            // (chunk, plane), kept with the exponentials of a whole block
    T* values[n_sliced];      // copies: a row, or (row, plane)
    T** pointers[n_sliced];   // to the rows of columns
    double sums[result_count] = {};

    // The task that works in this memory.
    void begin(runtime::Region& region, int worker) {
        region_ = &region;
        worker_ = worker;
        std::fill_n(sums, result_count, 0.0);
    }

    // Counts elements that are done, and from time to time asks whether the call is to end.
    void done(std::int64_t elements) {
        if ((until_asked_ -= elements) > 0) return;
        until_asked_ = tuning::interrupt_elements;
        if (runtime::stop_requested(*region_, worker_)) throw runtime::Interrupted();
    }

  private:
    // Points the arrays into memory, if there is any, and returns the bytes that they take.
    std::size_t lay_out(const Plan& plan, int n_states, unsigned char* memory) {
        const std::int64_t rows =
            std::min(plan.columns ? tuning::column_chunk : tuning::row_chunk, plan.n_elements);
        const int levels = halvings(plan.range, plan.columns ? column_part<T> : tuning::row_chunk);
        const std::int64_t others = plan.columns ? levels * plan.plane
                                    : levels > 0 ? (levels + 1) * row_plane
                                                 : 0;
        runtime::Arena arena(memory);
        arena.take(state, n_states * plan.plane);
        arena.take(results, result_count * plan.plane);
        arena.take(halves, others * n_states);
        arena.take(parameters, plan.present(place_out0) ? max_parameters * plan.plane : 0);
        arena.take(references, plan.n_ranges == 1 ? plan.kept_chunks() * plan.plane : 0);
        for (int i = 0; i < n_sliced; ++i) {
            const bool copied = plan.present(i) && !plan.direct[i];
            arena.take(values[i], copied ? rows * (plan.columns ? plan.plane : 1) : 0);
            arena.take(pointers[i], plan.columns ? rows : 0);
        }
        return arena.size();
    }

    std::unique_ptr<unsigned char[]> memory_;
    runtime::Region* region_ = nullptr;
    int worker_ = 0;
    std::int64_t until_asked_ = tuning::interrupt_elements;
};

}  // namespace vbfast::arrays
