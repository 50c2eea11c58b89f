// The array functions: reductions and maps of strided float32 or float64 arrays, on all threads.
//
// Slices are cut into blocks and ranges (arrays/plan.h), and ranges merge in their order: results
// do not depend on the number of threads.
//
// A slice of up to row_chunk elements is reduced and mapped while it lies in the cache, with one
// exponential an element. The softmax of slices that lie side by side leaves its exponentials in
// the output, about a maximum that still rises, and scales them at the end: one more write of the
// output costs less than another exponential an element. Other maps, and longer slices, read their
// input and compute its exponentials twice.
#pragma once

#include "arrays/call.h"
#include "arrays/layout.h"

namespace vbfast::arrays {

// Reduces and maps the slices of a layout, which is simplified. Results and maps are scaled by
// weights (doubles), where the layout has some; a slice of weight zero counts as zeros whatever it
// holds. An output may be an input, but must not overlap one otherwise. Throws Interrupted, and
// std::bad_alloc.
template <class T>
Outcome run_call(const Call& call, Layout& layout);

extern template Outcome run_call<float>(const Call&, Layout&);
extern template Outcome run_call<double>(const Call&, Layout&);

}  // namespace vbfast::arrays
