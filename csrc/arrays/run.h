// The array functions: reductions and maps of strided float32 or float64 arrays, on all threads.
//
// Slices are cut into blocks, and long slices of few into ranges of elements, at places that follow
// from the shape alone; ranges merge in order. So results do not depend on the number of threads.
//
// A slice of up to row_chunk elements is reduced and mapped while it lies in the cache, with one
// exponential an element. The softmax of slices that lie side by side leaves its exponentials in
// the output, about a maximum that still rises, and scales them at the end: one more write of the
// output costs less than another exponential an element. Other maps, and longer slices, read their
// input and compute its exponentials twice.
#pragma once

#include <cstdint>

#include "arrays/layout.h"
#include "kernels/arrays/table.h"
#include "runtime/threads.h"

namespace vbfast {

// The kernels of the level in use.
template <class T>
const ArrayKernels<T>& array_kernels();
template <>
const ArrayKernels<float>& array_kernels<float>();
template <>
const ArrayKernels<double>& array_kernels<double>();

// How far from one the sum of a distribution may be, by the type that it was given in: what has
// passed through float32 is within the second. Python has its numbers from here, too.
constexpr double sum_tolerance(bool is_double) {
    return is_double ? 1e-6 : 1e-3;
}

// What an input must be.
enum class Demand : int {
    nothing,
    distribution,  // probabilities: no negative entry, a sum of one within the call's tolerance
    proper         // logits: neither +inf nor nothing but -inf, unless y is nothing but -inf too
};

// What softmax and log-softmax reduce: softmax needs but the sum of exponentials, which the
// reductions of entropy have at less cost.
constexpr Reduction reduction_of(Mapping mapping) {
    return mapping == Mapping::softmax ? Reduction::logits_entropy : Reduction::sum_exp;
}

struct ArrayCall {
    Reduction reduction;
    bool maps = false;
    Mapping mapping = Mapping::softmax;
    bool new_outputs = false;  // whose pages may not have been touched
    Demand demands[2] = {Demand::nothing, Demand::nothing};
    double tolerances[2] = {0, 0};  // of sums of distributions
    bool allow_negative = true;     // a negative sum of scaled exponentials, else it becomes NaN
    // Which Result goes where place_result + i points to, of the input's type or always double.
    int n_results = 0;
    int results[result_count];
    bool wide_results = false;
    bool wants_sums = false;  // of every Result over the slices, times their weights
    int num_threads = 0;
    const Interrupt* interrupt = nullptr;
};

struct ArrayOutcome {
    double sums[result_count] = {};
    // The first slice that fails a demand, of input `bad_input`: a negative entry, or the sum.
    std::int64_t bad_slice = -1;
    int bad_input = 0;
    double bad_minimum = 0;
    double bad_sum = 0;
};

// Results and maps are scaled by weights (doubles), where the layout has some; a slice of weight
// zero counts as zeros whatever it holds. Outputs must not overlap inputs except by being them.
// Throws Interrupted, and what comes of a want of memory.
template <class T>
ArrayOutcome run_array_call(const ArrayCall& call, Layout& layout);

extern template ArrayOutcome run_array_call<float>(const ArrayCall&, Layout&);
extern template ArrayOutcome run_array_call<double>(const ArrayCall&, Layout&);

}  // namespace vbfast
