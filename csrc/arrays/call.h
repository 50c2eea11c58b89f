// What an array function is asked for, and what it says besides its results.
#pragma once

#include <cstdint>

#include "kernels/arrays/table.h"
#include "runtime/threads.h"

namespace vbfast::arrays {

// How far from one the sum of a distribution may be, by the type that it was given in: the second
// number admits what has passed through float32. Python takes its numbers from here, too.
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

// A call, but for its operands, which a Layout has.
struct Call {
    Reduction reduction;
    bool maps = false;
    Mapping mapping = Mapping::softmax;
    bool new_outputs = false;  // nobody may have touched their pages yet
    Demand demands[2] = {Demand::nothing, Demand::nothing};
    double tolerances[2] = {0, 0};  // of sums of distributions
    bool allow_negative = true;     // else a negative sum of scaled exponentials gives NaN
    // Result results[i] goes to the operand at place_result + i, in the input's type or, if wide,
    // as double.
    int n_results = 0;
    int results[result_count];
    bool wide_results = false;
    bool wants_sums = false;  // of every Result, weighted, over the slices
    int num_threads = 0;
    const runtime::Interrupt* interrupt = nullptr;
};

// Sums of the results, and what was wrong with the inputs.
struct Outcome {
    double sums[result_count] = {};
    // The first slice that fails a demand, the input that does, and its minimum and sum.
    std::int64_t bad_slice = -1;
    int bad_input = 0;
    double bad_minimum = 0;
    double bad_sum = 0;
};

}  // namespace vbfast::arrays
