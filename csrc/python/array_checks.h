// Whether arrays that memory is read from or written to are what a kernel takes them for.
#pragma once

#include <pybind11/numpy.h>

#include <vector>

namespace vbfast::python {

constexpr pybind11::ssize_t any_length = -1;

// Raises ValueError, with the name, unless an array has that shape.
void check_shape(const pybind11::array& a, const char* name,
                 const std::vector<pybind11::ssize_t>& shape);

// Raises ValueError, with the name, unless an array has that type, in this machine's byte order.
void check_dtype(const pybind11::array& a, const char* name, const pybind11::dtype& dtype);

// The same, and that its elements follow one another in memory, and are aligned.
void check_packed(const pybind11::array& a, const char* name,
                  const std::vector<pybind11::ssize_t>& shape, const pybind11::dtype& dtype);

}  // namespace vbfast::python
