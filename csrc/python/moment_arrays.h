// The statistics of a pass as arrays.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include "python/estep_names.h"
#include "python/interrupt.h"

namespace vbfast::python {

// Weight, first and second moments of K components of D features, None for second ones that are not
// summed. Raises ValueError where no moments are.
template <class Pass>
py::tuple moment_arrays(Pass& pass, const Shaped<Moments>& moments, py::ssize_t K, py::ssize_t D,
                        int num_threads) {
    if (moments.value == Moments::none) throw py::value_error("the pass adds up no statistics");
    py::array_t<double> weight(K), first({K, D}), second(moments.shape(K, D));
    double* pointers[3] = {weight.mutable_data(), first.mutable_data(), second.mutable_data()};
    without_gil([&](const runtime::Interrupt* interrupt) {
        pass.statistics(pointers[0], pointers[1], pointers[2], num_threads, interrupt);
    });
    py::object second_or_none = py::none();
    if (second.ndim() > 0) second_or_none = second;
    return py::make_tuple(weight, first, second_or_none);
}

}  // namespace vbfast::python
