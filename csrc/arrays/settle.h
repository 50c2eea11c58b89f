// Slices whose results the sums of the kernels do not tell: their elements are looked at once more,
// one by one, in float64. They are rare, and this is slow; ordinary slices pay nothing for it.
// `scratch` is the task's, which counts the elements.
#pragma once

#include "arrays/plan.h"
#include "arrays/scratch.h"

namespace vbfast::arrays {

// Whether the sums of b exp(a) about the largest a hold. They do not with an infinite factor, with
// one so large that an exponential taken for zero could count, or where the sum cancelled or
// rounded to nothing.
template <class T>
bool scaled_sums_hold(const double* state, std::int64_t plane);

// Writes the results of a sum of b exp(a) from terms whose exponents are kept apart: none overflows
// or is lost, and equal a count for no more than their factors do. Infinities are limits
// where there is one: an infinite a or b makes the sum infinite; infinities of both signs, or
// inf exp(-inf), make it NaN. Elements of b = 0 count for nothing, whatever a is.
template <class T>
void settle_scaled(const Plan& plan, const Position& slice, double* results, Scratch<T>& scratch);

// For a pair (q, logits of p) whose sum of q log p is not finite: true where that only overflowed.
// The results are written then, and the state is changed so that gradients follow from it, about
// the expected logit in the place of the largest.
template <class T>
bool settle_overflow(const Plan& plan, const Position& slice, bool q_logits, double* state,
                     double* results, Scratch<T>& scratch);

}  // namespace vbfast::arrays
