// What an array function says of a slice that is no distribution.
#pragma once

#include <pybind11/pybind11.h>

#include <string>
#include <vector>

#include "arrays/call.h"

namespace vbfast::python {

// The index of a slice by its number, where slices have that shape.
std::string slice_name(std::int64_t number, const std::vector<std::int64_t>& outer_shape);

// Raises ValueError, with the name of the input and the index of its slice.
[[noreturn]] void raise_bad_slice(const arrays::Call& call, const arrays::Outcome& outcome,
                                  const std::string& where, const pybind11::tuple& names);

}  // namespace vbfast::python
