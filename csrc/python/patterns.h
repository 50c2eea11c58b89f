// Names of covariance types, and the shapes of what they shape.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <string>
#include <vector>

#include "linalg/pattern.h"

namespace vbfast::python {

namespace py = pybind11;

using Numbers = py::array_t<double, py::array::c_style | py::array::forcecast>;
using Lengths = std::vector<py::ssize_t>;

inline linalg::Pattern parse_pattern(const std::string& name) {
    if (name == "full") return linalg::Pattern::full;
    if (name == "tied") return linalg::Pattern::tied;
    if (name == "diag") return linalg::Pattern::diag;
    if (name == "spherical") return linalg::Pattern::spherical;
    throw py::value_error("covariance_type: " + name);
}

// The shape of degrees of freedom, and of what the pattern shapes.
inline Lengths shape_of_degrees(linalg::Pattern pattern, py::ssize_t K) {
    return pattern == linalg::Pattern::tied ? Lengths{} : Lengths{K};
}

inline Lengths shape_of_matrices(linalg::Pattern pattern, py::ssize_t K, py::ssize_t D) {
    switch (pattern) {
        case linalg::Pattern::full:
            return {K, D, D};
        case linalg::Pattern::tied:
            return {D, D};
        case linalg::Pattern::diag:
            return {K, D};
        default:
            return {K};
    }
}

// That of one of several components.
inline Lengths without_components(linalg::Pattern pattern, Lengths shape) {
    if (pattern != linalg::Pattern::tied) shape.erase(shape.begin());
    return shape;
}

}  // namespace vbfast::python
