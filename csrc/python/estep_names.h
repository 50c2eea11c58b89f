// What names of the contract stand for: forms, moments and assignments.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "estep/request.h"

namespace vbfast::python {

namespace py = pybind11;

using estep::Assignment;
using estep::Form;
using estep::Moments;

using Float64 = py::array_t<double, py::array::c_style>;

using Shape = std::vector<py::ssize_t>;

// What a name of the contract stands for, and the shape of its array for K components of D
// features.
template <class E>
struct Shaped {
    E value;
    Shape (*shape)(py::ssize_t K, py::ssize_t D);
};

inline Shape of_none(py::ssize_t, py::ssize_t) {
    return {};
}
inline Shape of_numbers(py::ssize_t K, py::ssize_t) {
    return {K};
}
inline Shape of_rows(py::ssize_t K, py::ssize_t D) {
    return {K, D};
}
inline Shape of_matrix(py::ssize_t, py::ssize_t D) {
    return {D, D};
}
inline Shape of_matrices(py::ssize_t K, py::ssize_t D) {
    return {K, D, D};
}

// With the shapes of the coefficients.
inline const std::map<std::string, Shaped<Form>> forms = {
    {"full", {Form::full, of_matrices}},
    {"tied", {Form::tied, of_matrix}},
    {"diag", {Form::diag, of_rows}},
    {"spherical", {Form::spherical, of_numbers}},
    {"linear", {Form::linear, of_rows}}};
// With the shapes of the second moments.
inline const std::map<std::string, Shaped<Moments>> kinds_of_moments = {
    {"none", {Moments::none, of_none}},       {"first", {Moments::first, of_none}},
    {"diag", {Moments::diag, of_rows}},       {"spherical", {Moments::spherical, of_numbers}},
    {"pooled", {Moments::pooled, of_matrix}}, {"full", {Moments::full, of_matrices}}};
inline const std::map<std::string, Assignment> assignments = {
    {"posterior", Assignment::posterior}, {"hard", Assignment::hard}, {"given", Assignment::given}};

template <class E>
const E& parse(const std::map<std::string, E>& values, const std::string& name, const char* what) {
    const auto found = values.find(name);
    if (found == values.end()) throw py::value_error(std::string(what) + ": " + name);
    return found->second;
}

inline py::dtype precision(bool single) {
    return single ? py::dtype::of<float>() : py::dtype::of<double>();
}

inline void check_positive(std::int64_t value, const char* name) {
    if (value < 1)
        throw py::value_error(std::string(name) + " must be at least 1; got " +
                              std::to_string(value));
}

}  // namespace vbfast::python
