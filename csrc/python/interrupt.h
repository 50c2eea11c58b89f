// Lets Ctrl-C reach a kernel that runs without the GIL.
#pragma once

#include <pybind11/pybind11.h>

#include "threads.h"

namespace vbfast {

// Runs Python's signal handlers; true, with the error set, if one raised.
inline bool signal_raised(void*) {
    const pybind11::gil_scoped_acquire gil;
    return PyErr_CheckSignals() != 0;
}

constexpr Interrupt python_interrupt = {signal_raised, nullptr};

}  // namespace vbfast
