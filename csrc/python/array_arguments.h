// What arrays come to the array functions as, and what they are given: axes, checks, outputs.
// Arrays are float32 or float64.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <bitset>

#include "arrays/layout.h"

namespace vbfast::python {

using AxisSet = std::bitset<arrays::max_dimensions>;

// Which of so many dimensions are reduced: None is all. As in NumPy, 0-d arrays take axis 0 and -1.
AxisSet reduced_dimensions(pybind11::ssize_t n_dimensions, const pybind11::object& axis);

bool is_float64(const pybind11::array& a);

// The array, or a copy where its elements are not aligned.
pybind11::array aligned(const pybind11::array& a);

// A new array, of the rows-first or the columns-first order.
pybind11::array new_array(int n_dimensions, const pybind11::ssize_t* shape, bool is_double,
                          bool columns_first = false);

// A new array of the shape, type and order of another.
pybind11::array new_like(const pybind11::array& a);

}  // namespace vbfast::python
