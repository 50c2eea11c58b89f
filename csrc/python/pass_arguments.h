// Arguments that passes over the rows take, wherever they run.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "python/array_checks.h"

namespace vbfast::python {

// The bounds of partitions of all rows.
inline std::vector<std::int64_t> read_bounds(const std::vector<std::int64_t>& bounds) {
    if (bounds.size() < 2 || bounds.front() != 0 || !std::is_sorted(bounds.begin(), bounds.end()))
        throw pybind11::value_error("partition_bounds must ascend from 0, and be two at least");
    return bounds;
}

// The labels of `n_rows` rows, -1 for a row without a component.
inline const std::int64_t* read_labels(const pybind11::array& labels, pybind11::ssize_t n_rows,
                                       std::int64_t n_components) {
    check_packed(labels, "labels", {n_rows}, pybind11::dtype::of<std::int64_t>());
    const auto* first = static_cast<const std::int64_t*>(labels.data());
    const auto out_of_range = [n_components](std::int64_t label) {
        return label < -1 || label >= n_components;
    };
    if (std::any_of(first, first + n_rows, out_of_range))
        throw pybind11::value_error("labels must be in -1.." + std::to_string(n_components - 1));
    return first;
}

// The memory of an output of `n_rows` rows, or null for None.
inline void* output_memory(const pybind11::object& output, const char* name,
                           pybind11::ssize_t n_rows, std::vector<pybind11::ssize_t> row,
                           const pybind11::dtype& dtype) {
    if (output.is_none()) return nullptr;
    pybind11::array array = output.cast<pybind11::array>();
    row.insert(row.begin(), n_rows);
    check_packed(array, name, row, dtype);
    return array.mutable_data();
}

}  // namespace vbfast::python
