// Slices of which the sums of the kernels tell too little: their elements are looked at once more,
// one by one in float64. Rare, and so slow, but never so that ordinary slices would pay. `scratch`
// is the task's, told of each element.
#pragma once

#include "array_slices.h"

namespace vbfast {

// Whether the sums of b exp(a) about the largest a hold: neither infinite factors, nor such that
// exponentials taken for zero could have counted, nor a sum that cancelled or rounded to nothing.
template <class T>
bool scaled_sums_hold(const double* state, std::int64_t plane);

// Writes the results of a sum of b exp(a) from terms whose exponents are kept apart: none overflows
// or is lost, and equal a count for no more than their factors do. Infinities are limits,
// where there is one: b = inf or a = inf make the sum infinite, of both signs it is NaN, and so is
// inf exp(-inf). Elements of b = 0 count for nothing, whatever a is.
template <class T>
void settle_scaled(const Plan& plan, const Position& slice, double* results, Scratch<T>& scratch);

// Of a pair (q, logits of p) whose sum of q log p is not finite: true where it only overflowed. The
// results are written then, and the state such that gradients follow from it, about the expected
// logit in the place of the largest.
template <class T>
bool settle_overflow(const Plan& plan, const Position& slice, bool q_logits, double* state,
                     double* results, Scratch<T>& scratch);

}  // namespace vbfast
