// What an array function is asked for, and what it says besides its results.
#pragma once

#include <cstdint>

#include "kernels/arrays/table.h"
#include "runtime/threads.h"

namespace vbfast::arrays {

// How far from one the sum of a distribution may be, by the type that it was given in. What has
// passed through float32 is within the second. Python takes its numbers from here, too.
constexpr double sum_tolerance(bool is_double) {
    return is_double ? 1e-6 : 1e-3;
}

// What an input must be.
enum class Demand : int {
    nothing,
    distribution,  // probabilities: no negative entry, a sum of one within the call's tolerance
    proper         // logits: neither +inf nor nothing but -inf, unless y is nothing but -inf too
};

// What softmax and log-softmax reduce. Softmax needs only the sum of exponentials, which the
// reduction of entropy finds at less cost.
constexpr Reduction reduction_of(Mapping mapping) {
    return mapping == Mapping::softmax ? Reduction::logits_entropy : Reduction::sum_exp;
}

struct Call {
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
    const runtime::Interrupt* interrupt = nullptr;
};

struct Outcome {
    double sums[result_count] = {};
    // The first slice that fails a demand, of input `bad_input`: a negative entry, or the sum.
    std::int64_t bad_slice = -1;
    int bad_input = 0;
    double bad_minimum = 0;
    double bad_sum = 0;
};

}  // namespace vbfast::arrays
