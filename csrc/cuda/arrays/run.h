// The array functions on arrays that are on the device.
#pragma once

#include <stdexcept>

#include "arrays/call.h"
#include "arrays/layout.h"
#include "cuda/platform.h"

namespace vbfast::cuda::arrays {

// Elements that lie so that no kernel steps through them.
class Unsupported : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

// Reduces and maps the slices of a layout, whose operands are on the device in use; it is
// simplified. As vbfast::arrays::run_call, and of the same meaning, but that an output must not
// overlap an input; `sums`, null or on the device, takes the sums of the results. Waits for the
// stream. Throws Unsupported and Error.
template <class T>
vbfast::arrays::Outcome run_call(const vbfast::arrays::Call& call, vbfast::arrays::Layout& layout,
                                 double* sums, cudaStream_t stream);

}  // namespace vbfast::cuda::arrays
