// The maps of the array functions: outputs of the shape of the input.
#pragma once

#include "arrays/call.h"
#include "arrays/plan.h"
#include "arrays/scratch.h"
#include "tuning.h"

namespace vbfast::arrays {

template <class T>
class Maps {
  public:
    Maps(const Call& call, const Plan& plan, const Mapper<T>& mapper)
        : call_(call), plan_(plan), mapper_(mapper) {}

    // Parameters of the slices of a block, in planes, from their states and finished results.
    void find_parameters(SliceBlock block, const double* state, const double* results,
                         T* parameters) const;

    // Writes elements first to last - 1.
    void map(SliceBlock block, std::int64_t first, std::int64_t last, const T* parameters,
             Scratch<T>& scratch) const {
        if (plan_.columns)
            map_columns(block, first, last, parameters, scratch);
        else
            map_rows(block, first, last, parameters, scratch);
    }

    // Reduces and maps whole slices; writes scratch.state.
    void fused(SliceBlock block, Scratch<T>& scratch) const;

    // Where the plan keeps exponentials. `keep` adds elements first to last - 1 to a state, and
    // leaves their exponentials in the output and what those refer to in `references`, which
    // begin at element 0. `scale`, in place of `map`, then scales them.
    void keep(SliceBlock block, std::int64_t first, std::int64_t last, T* references, double* state,
              Scratch<T>& scratch) const;
    void scale(SliceBlock block, std::int64_t first, std::int64_t last, const T* references,
               const T* parameters, Scratch<T>& scratch) const;

  private:
    void map_rows(SliceBlock block, std::int64_t first, std::int64_t last, const T* parameters,
                  Scratch<T>& scratch) const;
    void map_columns(SliceBlock block, std::int64_t first, std::int64_t last, const T* parameters,
                     Scratch<T>& scratch) const;
    // Whether the copies of a block's output hold all of it until it is scaled.
    bool stays_in_scratch() const { return plan_.n_elements <= tuning::column_chunk; }

    const Call& call_;
    const Plan& plan_;
    const Mapper<T>& mapper_;
};

extern template class Maps<float>;
extern template class Maps<double>;

}  // namespace vbfast::arrays
