// The reductions of the array functions: states of slices, and results from them.
#pragma once

#include <mutex>

#include "array_slices.h"

namespace vbfast {

template <class T>
class Reductions {
  public:
    // Reports slices that fail a demand to `outcome`.
    Reductions(const ArrayCall& call, const Plan& plan, const Reducer<T>& reducer,
               ArrayOutcome& outcome)
        : call_(call), plan_(plan), reducer_(reducer), outcome_(outcome) {}

    int n_states() const { return reducer_.references + reducer_.sums; }

    // The states of no elements.
    void clear(double* state) const;

    // Writes scratch.state, over elements first to last - 1 of rows.
    void reduce_rows(SliceBlock block, std::int64_t first, std::int64_t last,
                     Scratch<T>& scratch) const;

    // Adds elements of columns to a state, one chunk after the other.
    void reduce_columns(SliceBlock block, std::int64_t first, std::int64_t last, double* state,
                        Scratch<T>& scratch) const;

    void merge(double* state, const double* other, SliceBlock block) const {
        reducer_.merge(state, other, plan_.plane, block.width);
    }

    // Writes scratch.results, weighted, and what the call asks for: one number a slice, and sums.
    // Returns whether a state has changed, which what is mapped already has not seen.
    bool finish(SliceBlock block, double* state, Scratch<T>& scratch);

  private:
    void settle_infinite(const Position& position, const double* state, double* results,
                         Scratch<T>& scratch) const;
    void check(const Position& position, const double* state);

    const ArrayCall& call_;
    const Plan& plan_;
    const Reducer<T>& reducer_;
    ArrayOutcome& outcome_;
    std::mutex mutex_;
};

extern template class Reductions<float>;
extern template class Reductions<double>;

}  // namespace vbfast
